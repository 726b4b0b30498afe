package test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/xlb-io/xlb/internal/testlab"
	"github.com/xlb-io/xlb/internal/testlab/servers"
	"github.com/xlb-io/xlb/pkg/api"
)

// database is a PostgreSQL primary and its replica behind two VIPs.
type database struct {
	*network
	writes, reads    netip.AddrPort // VIPs
	primary, replica *servers.Postgres
	at               [2]netip.AddrPort // of the backends
	told             string            // what the hook heard
}

const databasePassword = "not a secret"

// newDatabase starts primary, replica and a load balancer before them, whose writes
// go to the primary and whose reads to the replica or, without one, to the primary.
func newDatabase(t *testing.T) *database {
	d := &database{network: newNetwork(t, testlab.TopologyOptions{Shape: testlab.OneArm, Backends: 2})}
	d.patience = 90 * time.Second // databases start slowly
	const port = 5432
	d.primary = must(servers.StartPostgres(d.Backends[0].Namespace, port, servers.PostgresOptions{Password: databasePassword}))(t)
	must(d.primary.SQL("CREATE TABLE notes (text text)"))(t)
	d.replica = must(d.primary.Replica(d.Backends[1].Namespace, port, d.Backends[0].IP4))(t)
	vip := d.VIP4.As4()
	vip[3]++
	d.writes, d.reads = netip.AddrPortFrom(d.VIP4, port), netip.AddrPortFrom(netip.AddrFrom4(vip), port)
	var backends []string
	for i := range d.at {
		d.at[i] = netip.AddrPortFrom(d.Backends[i].IP4, port)
		backends = append(backends, d.at[i].String())
	}
	d.told = filepath.Join(d.dir, "told")
	d.run(fmt.Sprintf(`
interfaces: %s
table_size: 1009
defaults:
  probe: {type: postgres, user: postgres, password: %q, interval: 500ms, interval_failing: 500ms, timeout: 500ms, rise: 1, fall: 3}
  on_change: {command: [/bin/sh, -c, 'echo "$XLB_SERVICE $XLB_EVENT $XLB_BACKEND $XLB_FROM $XLB_TO" >> "$1"', sh, %s]}
services:
  writes: {frontends: "tcp://%s", backends: [%s], role: primary, critical: true}
  reads:  {frontends: "tcp://%s", backends: [%s], role: replica, role_fallback: primary}
`, d.Interfaces[0], databasePassword, d.told, d.writes, strings.Join(backends, ", "), d.reads, strings.Join(backends, ", ")))
	return d
}

// connect opens a connection from the client to a VIP.
func (d *database) connect(vip netip.AddrPort) (*pgx.Conn, error) {
	config, err := pgx.ParseConfig(fmt.Sprintf("host=%s port=%d user=postgres dbname=postgres sslmode=disable connect_timeout=5", vip.Addr(), vip.Port()))
	if err != nil {
		return nil, err
	}
	config.Password = databasePassword
	config.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		return d.Client.Dial(ctx, network, address)
	}
	return pgx.ConnectConfig(context.Background(), config)
}

// query runs a query that has one value, on a connection of its own.
func (d *database) query(vip netip.AddrPort, query string) (value string, err error) {
	conn, err := d.connect(vip)
	if err != nil {
		return "", err
	}
	defer conn.Close(context.Background())
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return value, conn.QueryRow(ctx, query).Scan(&value)
}

// whoAnswers is the address of the server, with what it is.
const whoAnswers = "SELECT host(inet_server_addr()) || CASE WHEN pg_is_in_recovery() THEN ' replica' ELSE ' primary' END"

func (d *database) awaitServer(vip netip.AddrPort, i int, role string) {
	d.t.Helper()
	want := d.at[i].Addr().String() + " " + role
	d.eventually(fmt.Sprintf("%s is answered by %s", vip, want), func() string {
		got, err := d.query(vip, whoAnswers)
		if err != nil {
			return err.Error()
		}
		if got != want {
			return got
		}
		return ""
	})
}

const allNotes = "SELECT string_agg(text, ',' ORDER BY text) FROM notes"

// awaitNotes waits until readers see these notes.
func (d *database) awaitNotes(want string) {
	d.t.Helper()
	d.eventually("what was written can be read", func() string {
		got, err := d.query(d.reads, allNotes)
		if err != nil || got != want {
			return fmt.Sprint(got, err)
		}
		return ""
	})
}

// backend is `xlb backend show`.
func (d *database) backend(service string, i int) api.BackendDetail {
	d.t.Helper()
	return decode[api.BackendDetail](d.network, "backend", "show", service, d.at[i].String())
}

// service is a service of the status.
func (d *database) service(name string) (api.Service, api.Status) {
	d.t.Helper()
	status, err := d.poll()
	if err != nil {
		d.t.Fatal(err)
	}
	for _, s := range status.Services {
		if s.Name == name {
			return s, status
		}
	}
	d.t.Fatalf("no service %s", name)
	return api.Service{}, status
}

// TestDatabase: writes go to the primary and reads to the replica, with one check for
// both; reads fall back to the primary and return; and when the replica is promoted,
// writes follow with its next probe, connections to the old primary are cut, and it
// gets no more though it still says that it is the primary.
func TestDatabase(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	d.awaitServer(d.writes, 0, "primary")
	d.awaitServer(d.reads, 1, "replica")
	must(d.query(d.writes, "INSERT INTO notes VALUES ('kept') RETURNING text"))(t)
	d.awaitNotes("kept")
	if b := d.backend("reads", 1); b.Role != "replica" || b.Probe.Sharers != 2 || b.Probe.Result != "passed" || b.EffectiveWeight != 1 {
		t.Errorf("the replica of reads: %+v", b)
	}
	if b := d.backend("writes", 1); b.Role != "replica" || b.EffectiveWeight != 0 || b.Serves || b.Reason != "role replica; the service wants primary" {
		t.Errorf("the replica of writes: %+v", b)
	}

	// Without a replica the primary answers reads, and when it is back no longer.
	if err := d.replica.Kill(); err != nil {
		t.Fatal(err)
	}
	d.awaitServer(d.reads, 0, "primary")
	d.eventually("the status without a replica", func() string { // it follows the maps
		if s, status := d.service("reads"); !s.StandsIn || s.FailOpen || len(status.Reasons) > 0 || !status.Ready {
			return fmt.Sprintf("%+v, %v", s, status.Reasons)
		}
		return ""
	})
	if err := d.replica.Start(); err != nil {
		t.Fatal(err)
	}
	d.awaitServer(d.reads, 1, "replica")

	writer, err := d.connect(d.writes)
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close(context.Background())
	if _, err := writer.Exec(context.Background(), "INSERT INTO notes VALUES ('before')"); err != nil {
		t.Fatal(err)
	}
	d.awaitNotes("before,kept") // what a replica lacks is lost when it is promoted
	d.promote()
	d.awaitServer(d.writes, 1, "primary")
	d.awaitServer(d.reads, 1, "primary")
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if _, err := writer.Exec(ctx, "INSERT INTO notes VALUES ('lost')"); err == nil || ctx.Err() != nil {
		t.Errorf("the connection to the old primary lives on: %v", err)
	}
	if b := d.backend("reads", 0); b.Serves || b.EffectiveWeight != 0 {
		t.Errorf("the old primary of reads: %+v", b)
	}
	if b := d.backend("writes", 0); b.Serves || b.EffectiveWeight != 0 || !strings.Contains(b.Reason, "says that it is primary, but "+d.at[1].String()+" became it later") {
		t.Errorf("the old primary: %+v", b)
	}

	// It ends, and comes back as what it was.
	if err := d.primary.Stop(); err != nil {
		t.Fatal(err)
	}
	d.eventually("the old primary is down", func() string {
		if state := d.backend("writes", 0).State; state != api.StateUnhealthy {
			return state
		}
		return ""
	})
	if err := d.primary.Start(); err != nil {
		t.Fatal(err)
	}
	d.eventually("the old primary is there again", func() string {
		if b := d.backend("writes", 0); b.State != api.StateHealthy || b.Role != "primary" || b.EffectiveWeight > 0 {
			return b.State + " " + b.Reason
		}
		return ""
	})
	d.awaitServer(d.writes, 1, "primary")
	if got, err := d.query(d.writes, allNotes); err != nil || got != "before,kept" {
		t.Errorf("in the end there are %q, %v", got, err)
	}
	if _, status := d.service("writes"); len(status.Warnings) != 2 || !strings.Contains(status.Warnings[1], `"writes": 2 backends say that they are primary`) {
		t.Errorf("warnings %q", status.Warnings)
	}
	d.checkTold()
	d.restartWithoutPrimary()
}

// restartWithoutPrimary begins a new daemon while the new primary is away and the old
// one claims to be it: that must not get what is written now.
func (d *database) restartWithoutPrimary() {
	t := d.t
	d.daemons[len(d.daemons)-1].stop()
	if err := d.replica.Kill(); err != nil {
		t.Fatal(err)
	}
	daemon := d.launch() // which will not be ready: there is no primary
	d.eventually("the daemon answers", func() string {
		if s, err := d.poll(); err != nil || s.PID != daemon.Pid() || len(s.Services) < 2 {
			return fmt.Sprintf("process %d, %v", s.PID, err)
		}
		return ""
	})
	d.eventually("the new primary is down", func() string {
		old, b := d.backend("writes", 0), d.backend("writes", 1)
		if old.State != api.StateHealthy || old.EffectiveWeight > 0 || b.State != api.StateUnhealthy || b.Role != "primary" {
			return fmt.Sprintf("%+v, %+v", old, b)
		}
		return ""
	})
	if answer, err := d.query(d.writes, whoAnswers); err == nil {
		t.Errorf("writes are answered by %s", answer)
	}
	if err := d.replica.Start(); err != nil {
		t.Fatal(err)
	}
	d.awaitServer(d.writes, 1, "primary")
}

// promote makes the replica the primary, and counts the probes until writes go there:
// the one that may have asked before it, and the next.
func (d *database) promote() {
	d.t.Helper()
	if err := d.replica.Promote(); err != nil {
		d.t.Fatal(err)
	}
	first := d.backend("writes", 1)
	d.eventually("writes follow the promotion", func() string {
		b := d.backend("writes", 1)
		done := b.Probe.Streak - first.Probe.Streak
		if b.Role == "primary" && b.EffectiveWeight > 0 {
			d.t.Logf("writes follow after %d probes", done)
			return ""
		}
		if done > 2 || b.Probe.Result != "passed" {
			d.t.Fatalf("%d probes after the promotion writes do not follow: %+v", done, b)
		}
		return b.Role
	})
	for _, c := range d.backend("writes", 1).History {
		if c.Kind == api.ChangeRole && c.From == "replica" && c.To == "primary" {
			return
		}
	}
	d.t.Errorf("the history does not have it: %+v", d.backend("writes", 1).History)
}

// checkTold checks that the hook heard of the promotion, of both services.
func (d *database) checkTold() {
	d.t.Helper()
	text, err := os.ReadFile(d.told)
	if err != nil {
		d.t.Fatal(err)
	}
	for _, service := range []string{"writes", "reads"} {
		line := fmt.Sprintf("%s role %s replica primary\n", service, d.at[1])
		if strings.Count(string(text), line) != 1 {
			d.t.Errorf("the hook heard\n%s and not once %s", text, line)
		}
	}
}
