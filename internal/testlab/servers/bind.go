package servers

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"

	"github.com/xlb-io/xlb/internal/testlab"
)

// BIND is a name server that serves one zone, with authority and to everybody.
type BIND struct {
	*Server
	zone   string
	serial uint32
}

// StartBIND starts a name server for a zone, for example "xlb.test", with records
// as in a zone file: a record a line, names relative to the zone, and a TTL of 1 s
// where there is none.
func StartBIND(n *testlab.Namespace, port uint16, zone string, records ...string) (*BIND, error) {
	s, err := newServer(n, "bind", port, root)
	if err != nil {
		return nil, err
	}
	b := &BIND{Server: s, zone: zone}
	conf, err := b.configure(`type primary; file "zone";`)
	if err == nil {
		err = b.write(records)
	}
	if err != nil {
		return nil, err
	}
	s.args = []string{"named", "-g", "-n", "1", "-c", conf}
	s.ready = b.serves
	return b, s.Start()
}

// configure writes the configuration, with what the zone is, and returns its path.
func (b *BIND) configure(zone string) (string, error) {
	return b.Server.write("named.conf", fmt.Sprintf(`options {
	directory %q;
	listen-on port %d { any; };
	listen-on-v6 port %[2]d { any; };
	pid-file none;
	session-keyfile none;
	recursion no;
	max-records-per-type 1000;
};
controls { };
zone %q { %s };
`, b.Dir, b.Port, b.zone, zone))
}

func (b *BIND) write(records []string) error {
	b.serial++
	_, err := b.Server.write("zone", fmt.Sprintf("$ORIGIN %s.\n$TTL 1\n@ IN SOA ns root %d 3600 600 86400 1\n@ IN NS ns\nns IN A 127.0.0.1\n%s\n",
		b.zone, b.serial, strings.Join(records, "\n")))
	return err
}

// SetRecords replaces all records. A server that runs serves them when the call
// returns; one that is stopped, when it is started again.
func (b *BIND) SetRecords(records ...string) error {
	if err := b.write(records); err != nil {
		return err
	}
	return b.reload(`type primary; file "zone";`, b.serves)
}

// LoseZone makes the server, running or stopped, a secondary whose primary is away
// and whose copy of the zone has expired: it answers SERVFAIL. SetRecords ends that.
func (b *BIND) LoseZone() error {
	return b.reload(`type secondary; primaries port 1 { 127.0.0.1; };`, b.fails)
}

// reload changes what the zone is, and waits until a server that runs is ready.
func (b *BIND) reload(zone string, ready func(context.Context) error) error {
	if _, err := b.configure(zone); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ready = ready
	if b.process == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), startup)
	defer cancel()
	return errors.Join(b.process.Signal(unix.SIGHUP), b.await(ctx, b.process))
}

// serves tells whether the zone is the one written last.
func (b *BIND) serves(ctx context.Context) error {
	m, err := b.ask(ctx)
	if err != nil {
		return err
	}
	for _, rr := range m.Answer {
		if soa, ok := rr.(*dns.SOA); ok && soa.Serial == b.serial {
			return nil
		}
	}
	return fmt.Errorf("it answers %s without the zone of serial %d", dns.RcodeToString[m.Rcode], b.serial)
}

// fails tells whether the server is without its zone.
func (b *BIND) fails(ctx context.Context) error {
	m, err := b.ask(ctx)
	if err == nil && m.Rcode != dns.RcodeServerFailure {
		err = fmt.Errorf("it answers %s", dns.RcodeToString[m.Rcode])
	}
	return err
}

// ask asks for the zone's SOA record.
func (b *BIND) ask(ctx context.Context) (*dns.Msg, error) {
	conn, err := b.Namespace.Dial(ctx, "tcp", b.local())
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return nil, err
		}
	}
	c := &dns.Conn{Conn: conn}
	if err := c.WriteMsg(new(dns.Msg).SetQuestion(dns.Fqdn(b.zone), dns.TypeSOA)); err != nil {
		return nil, err
	}
	return c.ReadMsg()
}
