package probe

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/miekg/dns"

	"github.com/xlb-io/xlb/pkg/model"
)

// dnsCheck passes if the backend answers one question as expected. The question
// goes without EDNS0, which some servers refuse, so that an answer over UDP has 512
// bytes at most.
type dnsCheck struct {
	connector
	probe model.DNSProbe
	rtype uint16
	rcode int
}

func newDNSCheck(c connector, p model.DNSProbe) checker {
	rtype, ok := dns.StringToType[p.Type]
	if !ok {
		return failing{fmt.Errorf("unknown record type %q", p.Type)}
	}
	rcode, ok := dns.StringToRcode[p.RCode]
	if !ok {
		return failing{fmt.Errorf("unknown response code %q", p.RCode)}
	}
	if _, ok := dns.IsDomainName(p.Name); !ok {
		return failing{fmt.Errorf("%q is no domain name", p.Name)}
	}
	p.Name = dns.Fqdn(p.Name)
	return dnsCheck{c, p, rtype, rcode}
}

func (c dnsCheck) check(ctx context.Context) (role string, err error) { return "", c.exchange(ctx) }

func (c dnsCheck) exchange(ctx context.Context) error {
	network := "udp"
	if c.probe.TCP {
		network = "tcp"
	}
	raw, done, err := c.open(ctx, network)
	if err != nil {
		return err
	}
	defer done()
	conn := &dns.Conn{Conn: raw}
	question := new(dns.Msg).SetQuestion(c.probe.Name, c.rtype)
	if err := conn.WriteMsg(question); err != nil {
		return c.reason(ctx, phaseSend, err)
	}
	answer, err := conn.ReadMsg()
	for err == nil && answer.Id != question.Id { // not an answer to us
		answer, err = conn.ReadMsg()
	}
	if err != nil {
		if _, ok := errors.AsType[*dns.Error](err); ok {
			return errors.New("the answer is no DNS message")
		}
		return c.reason(ctx, phaseHeader, err)
	}
	return c.judge(question, answer)
}

func (c dnsCheck) judge(question, answer *dns.Msg) error {
	switch {
	case !answer.Response || len(answer.Question) > 0 && answer.Question[0].Qtype != question.Question[0].Qtype:
		return errors.New("the answer is to another question")
	case answer.Rcode != c.rcode:
		return fmt.Errorf("response code %s, expected %s", rcodeText(answer.Rcode), c.probe.RCode)
	case c.probe.Answer == "":
		return nil
	}
	for _, r := range answer.Answer {
		if r.Header().Rrtype == c.rtype && sameData(data(r), c.probe.Answer) {
			return nil
		}
	}
	if answer.Truncated {
		return errors.New("the answer is truncated (use transport: tcp)")
	}
	return errors.New(shorten(fmt.Sprintf("no %s record of the answer is %q", c.probe.Type, c.probe.Answer)))
}

func rcodeText(code int) string {
	if text, ok := dns.RcodeToString[code]; ok {
		return text
	}
	return fmt.Sprint(code)
}

// data is what a record says, as a zone file would: "192.0.2.1", "10 mail.example.com.".
func data(r dns.RR) string { return strings.TrimPrefix(r.String(), r.Header().String()) }

// sameData takes names with and without the dot at their end, and texts with and
// without quotes.
func sameData(a, b string) bool {
	bare := func(s string) string { return strings.TrimSuffix(strings.Trim(s, `"`), ".") }
	return strings.EqualFold(bare(a), bare(b))
}
