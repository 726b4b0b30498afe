package probe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/smtp"
	"net/textproto"

	"github.com/xlb-io/xlb/pkg/model"
)

// smtpCheck passes if the server greets by 220, answers EHLO and, where that is
// asked for, does STARTTLS.
type smtpCheck struct {
	connector
	security security
}

func (c smtpCheck) check(ctx context.Context) (role string, err error) { return "", c.exchange(ctx) }

func (c smtpCheck) exchange(ctx context.Context) error {
	raw, done, err := c.connect(ctx)
	if err != nil {
		return err
	}
	defer done()
	var conn net.Conn = bounded{raw, new(int)}
	if c.security.probe.Mode == model.TLSOn {
		if conn, err = c.secure(ctx, conn, c.security); err != nil {
			return err
		}
	}
	client, err := smtp.NewClient(conn, c.host())
	if err != nil {
		return c.refusal(ctx, phaseGreet, err)
	}
	// We have no name that the server could look up: our address, as a literal.
	if err := client.Hello(literal(raw.LocalAddr())); err != nil {
		return c.refusal(ctx, phaseHeader, err)
	}
	if c.security.probe.Mode == model.TLSStart {
		if err := c.startTLS(ctx, client); err != nil {
			return err
		}
	}
	_ = client.Quit() // the server has shown that it lives
	return nil
}

func (c smtpCheck) startTLS(ctx context.Context, client *smtp.Client) error {
	if offered, _ := client.Extension("STARTTLS"); !offered {
		return errors.New("smtp: the server does not offer STARTTLS")
	}
	config, err := c.security.config()
	if err != nil {
		return err
	}
	err = client.StartTLS(config)
	if err == nil {
		return nil
	}
	if isTLS(err) {
		return c.reason(ctx, phaseTLS, err)
	}
	return c.refusal(ctx, phaseTLS, err)
}

// refusal gives what the server said.
func (c smtpCheck) refusal(ctx context.Context, p phase, err error) error {
	if said, ok := errors.AsType[*textproto.Error](err); ok && ctx.Err() == nil {
		return errors.New(shorten(fmt.Sprintf("smtp: %d %s", said.Code, said.Msg)))
	}
	if _, ok := errors.AsType[textproto.ProtocolError](err); ok || errors.Is(err, errTooLong) {
		return errors.New("smtp: the answer is not SMTP")
	}
	return c.reason(ctx, p, err)
}

// literal is an address as RFC 5321 (§4.1.3) writes it.
func literal(a net.Addr) string {
	at, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return "localhost"
	}
	if ip := at.Addr().Unmap(); ip.Is6() {
		return "[IPv6:" + plain(ip) + "]"
	}
	return "[" + at.Addr().Unmap().String() + "]"
}
