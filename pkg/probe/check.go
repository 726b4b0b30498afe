package probe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/xlb-io/xlb/pkg/model"
)

// DialFunc opens a connection, as [net.Dialer.DialContext] does.
type DialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// errLocal is wrapped by the reasons that say something about this host and
// nothing about the backend. Out of file descriptors, the load balancer would
// otherwise take down all backends at once.
var errLocal = errors.New("not probed")

// checker performs the check of one target, with nothing kept from one time to
// the next. It returns nil if the backend passed, and otherwise the reason as
// an operator reads it. The role is what the backend says it is, if the check
// asks. It gives up when ctx ends and leaves no socket open.
type checker interface {
	check(ctx context.Context) (role string, err error)
}

// newChecker returns the check of t, or nil if it needs none. Without dial it
// dials by the target's way.
func newChecker(t Target, dial DialFunc, ask PolicyFunc) checker {
	if unprobed(t.Probe) {
		return nil
	}
	if t.Via.Problem != "" {
		return failing{fmt.Errorf("%w: %s", errLocal, t.Via.Problem)}
	}
	if dial == nil {
		dial = t.Via.dial
	}
	conn := connector{dial: dial, addr: address(t), timeout: t.Probe.Timeout}
	talked := newSecurity(t.Probe.TLS, conn.host()) // of protocols without a Host
	switch p := t.Probe; p.Type {
	case model.ProbeTCP:
		return tcpCheck{conn}
	case model.ProbeTLS:
		return tlsCheck{conn, talked}
	case model.ProbeHTTP, model.ProbeHTTPS, model.ProbeHTTP2:
		return newHTTPCheck(conn, t)
	case model.ProbeGRPC:
		return newGRPCCheck(conn, p)
	case model.ProbeDNS:
		return guarded{newDNSCheck(conn, p.DNS)}
	case model.ProbeUDP:
		return newUDPCheck(conn, t)
	case model.ProbeICMP:
		return icmpCheck{conn}
	case model.ProbeMQTT:
		return guarded{mqttCheck{conn, p.MQTTVersion, p.Login, talked}}
	case model.ProbeRedis:
		return redisCheck{conn, p.Login, talked}
	case model.ProbePostgres:
		return guarded{newPostgresCheck(conn, p, talked)}
	case model.ProbeMySQL:
		return guarded{mysqlCheck{conn, p.Login, talked}}
	case model.ProbeSMTP:
		return smtpCheck{conn, talked}
	case model.ProbeExec:
		return newExecCheck(conn, t)
	case model.ProbeSendExpect:
		return newSendExpectCheck(conn, t, talked)
	case model.ProbePolicy:
		return policyCheck{conn, p.Policy, ask}
	default:
		return failing{fmt.Errorf("unknown probe type %q", p.Type)}
	}
}

// address is where t is probed.
func address(t Target) netip.AddrPort {
	to := t.Backend
	if !t.Via.direct() {
		to = t.Via.VIP
	}
	if t.Probe.Address.IsValid() {
		to = netip.AddrPortFrom(t.Probe.Address, to.Port())
	}
	if t.Probe.Port == 0 {
		return to
	}
	return netip.AddrPortFrom(to.Addr(), t.Probe.Port)
}

// failing is the check of a probe that cannot work.
type failing struct{ err error }

func (f failing) check(context.Context) (string, error) { return "", f.err }

// guarded is a check whose library may trip over what a backend says, which must
// not end the daemon.
type guarded struct{ checker }

func (g guarded) check(ctx context.Context) (role string, err error) {
	defer func() {
		if p := recover(); p != nil {
			role, err = "", errors.New(shorten(fmt.Sprintf("the check tripped over what the backend said: %v", p)))
		}
	}()
	return g.checker.check(ctx)
}
