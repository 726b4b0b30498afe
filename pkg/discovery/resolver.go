package discovery

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/miekg/dns"

	"github.com/xlb-io/xlb/pkg/model"
)

const (
	resolvConf = "/etc/resolv.conf"
	// resolverPort is for those servers that /etc/resolv.conf names.
	resolverPort = "53"
)

// resolver asks name servers, in their order, until one has an answer.
type resolver struct {
	model.Resolvers
	conf string // read for each query if there are no Servers
}

func newResolver(r model.Resolvers) resolver { return resolver{Resolvers: r, conf: resolvConf} }

// query returns the first answer: records, or that there are none. The name is
// taken as it is, without a search list.
func (r resolver) query(ctx context.Context, name string, kind uint16) (*dns.Msg, error) {
	servers, err := r.servers()
	if err != nil {
		return nil, err
	}
	question := dns.Question{Name: dns.Fqdn(name), Qtype: kind, Qclass: dns.ClassINET}
	if _, ok := dns.IsDomainName(question.Name); !ok {
		return nil, fmt.Errorf("%q is not a domain name", name)
	}
	failures := make([]string, 0, len(servers))
	for _, server := range servers {
		m, err := exchange(ctx, server, question, r.Timeout)
		if err == nil {
			return m, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		failures = append(failures, fmt.Sprintf("%s: %v", server, inShort(err)))
	}
	return nil, fmt.Errorf("%s %s: %s", question.Name, dns.TypeToString[kind], strings.Join(failures, "; "))
}

// servers are those of the operator, or else of the machine as it is now: a
// lease may have brought others.
func (r resolver) servers() ([]string, error) {
	if len(r.Servers) > 0 {
		return r.Servers, nil
	}
	conf, err := dns.ClientConfigFromFile(r.conf)
	if err != nil {
		return nil, fmt.Errorf("name servers of this machine: %w", err)
	}
	if len(conf.Servers) == 0 {
		return nil, fmt.Errorf("%s names no server (add one, or set servers)", r.conf)
	}
	servers := make([]string, len(conf.Servers))
	for i, s := range conf.Servers {
		servers[i] = net.JoinHostPort(s, resolverPort)
	}
	return servers, nil
}

// inShort takes the addresses off a network error, which the caller names.
func inShort(err error) error {
	var op *net.OpError
	switch {
	case errors.As(err, &op) && op.Timeout():
		return errors.New("no answer in time")
	case errors.As(err, &op) && op.Op != "remote error": // which is what TLS calls the other side's word
		return op.Err
	}
	return err
}
