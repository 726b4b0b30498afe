package discovery

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/miekg/dns"
)

const (
	// ednsSize is the answer that fits the networks there are without fragments:
	// what DNS Flag Day 2020 agreed on.
	ednsSize = 1232
	// receiveSize is more, for servers that do not care.
	receiveSize = 4096
)

var (
	errReferral = errors.New("refers to other servers (it does not resolve for us)")
	longAgo     = time.Unix(1, 0)
)

// exchange asks one server, over TCP if the answer does not fit a datagram, and
// waits the timeout for each. Its answer has records, or says that there are
// none: a server that will not say is an error.
func exchange(ctx context.Context, server string, q dns.Question, timeout time.Duration) (*dns.Msg, error) {
	request := new(dns.Msg)
	request.Id, request.RecursionDesired, request.Question = dns.Id(), true, []dns.Question{q}
	request.SetEdns0(ednsSize, false)

	answer, err := ask(ctx, "udp", server, request, timeout)
	// A server from before EDNS0 understands the same without it (RFC 6891, 7).
	if err == nil && (answer.Rcode == dns.RcodeFormatError || answer.Rcode == dns.RcodeNotImplemented) && answer.IsEdns0() == nil {
		request.Extra = nil
		answer, err = ask(ctx, "udp", server, request, timeout)
	}
	if err == nil && answer.Truncated {
		answer, err = ask(ctx, "tcp", server, request, timeout)
		if err == nil && answer.Truncated {
			err = errors.New("truncated, even over TCP")
		}
	}
	if err != nil {
		return nil, err
	}
	switch {
	case answer.Rcode == dns.RcodeNameError, answer.Rcode == dns.RcodeSuccess && !refers(answer):
		return answer, nil
	case answer.Rcode == dns.RcodeSuccess:
		return nil, errReferral
	}
	return nil, fmt.Errorf("answers %s", rcode(answer.Rcode))
}

func rcode(code int) string {
	if name, ok := dns.RcodeToString[code]; ok {
		return name
	}
	return fmt.Sprintf("with the unknown code %d", code)
}

// refers tells a referral, which looks like "no records" but says nothing of
// the name: other servers are named, and no start of authority.
func refers(m *dns.Msg) bool {
	if m.Authoritative || m.RecursionAvailable || len(m.Answer) > 0 {
		return false
	}
	servers := false
	for _, rr := range m.Ns {
		switch rr.(type) {
		case *dns.SOA:
			return false
		case *dns.NS:
			servers = true
		}
	}
	return servers
}

// ask sends the request and waits for the answer to it. A datagram is sent
// once more after half the time.
func ask(ctx context.Context, network, server string, request *dns.Msg, timeout time.Duration) (*dns.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, network, server)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return nil, err
	}
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(longAgo) })()

	c := &dns.Conn{Conn: conn, UDPSize: receiveSize}
	question, err := request.Pack() // once: the timer may still run when the caller changes the request
	if err != nil {
		return nil, err
	}
	if _, err := c.Write(question); err != nil {
		return nil, err
	}
	datagram := network == "udp"
	if datagram {
		again := time.AfterFunc(timeout/2, func() { _, _ = c.Write(question) })
		defer again.Stop()
	}
	for {
		wire, err := c.ReadMsgHeader(nil)
		if errors.Is(err, dns.ErrShortRead) && datagram {
			continue
		}
		if err != nil {
			return nil, err
		}
		answer := new(dns.Msg)
		err = answer.Unpack(wire)
		switch {
		// Some servers cut a datagram off in the middle of a record.
		case err != nil && datagram && answer.Truncated && answer.Response && answer.Id == request.Id:
			return answer, nil
		case err == nil && answers(answer, request):
			return answer, nil
		case datagram: // from somebody who guesses, or older
			continue
		case err != nil:
			return nil, fmt.Errorf("not a DNS message: %w", err)
		}
		return nil, errors.New("answers another question")
	}
}

// answers tells whether m is the response to the request.
func answers(m, request *dns.Msg) bool {
	if !m.Response || m.Id != request.Id || len(m.Question) != 1 {
		// A server that does not understand a request may not repeat it.
		return m.Response && m.Id == request.Id && len(m.Question) == 0 && m.Rcode != dns.RcodeSuccess && m.Rcode != dns.RcodeNameError
	}
	asked, got := request.Question[0], m.Question[0]
	return got.Qtype == asked.Qtype && got.Qclass == asked.Qclass && strings.EqualFold(got.Name, asked.Name)
}
