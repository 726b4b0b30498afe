package test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/xlb-io/xlb/internal/testlab"
	"github.com/xlb-io/xlb/internal/testlab/servers"
	"github.com/xlb-io/xlb/pkg/api"
)

// TestGuideDatabase follows the guide to a PostgreSQL primary and its replica, from
// the users to the old primary that comes back as a replica.
func TestGuideDatabase(t *testing.T) {
	t.Parallel()
	needs(t, "psql")
	d := &database{network: newNetwork(t, testlab.TopologyOptions{Shape: testlab.OneArm, Backends: 2})}
	d.patience = 90 * time.Second // databases start slowly
	const port = 5432
	second := d.VIP4.Next()
	g := d.guide("database.md", "203.0.113.11", second.String(), "/etc/xlb/", d.dir+"/")
	d.writes, d.reads = netip.AddrPortFrom(d.VIP4, port), netip.AddrPortFrom(second, port)
	for i, b := range d.Backends {
		d.at[i] = netip.AddrPortFrom(b.IP4, port)
	}
	d.primary = must(servers.StartPostgres(d.Backends[0].Namespace, port, servers.PostgresOptions{Password: databasePassword}))(t)
	d.replica = must(d.primary.Replica(d.Backends[1].Namespace, port, d.Backends[0].IP4))(t)
	must(d.primary.SQL(g.block("sql", 0)))(t)
	d.eventually("the replica has the users", func() string {
		if n, err := d.replica.SQL("SELECT count(*) FROM pg_roles WHERE rolname IN ('xlb', 'app')"); err != nil || n != "2" {
			return fmt.Sprint(n, err)
		}
		return ""
	})
	d.run(fmt.Sprintf("interfaces: [%s]\ntable_size: 1009\nservices: {}\n", strings.Join(d.Interfaces, ", ")))
	d.write("table_size: 1009\n" + g.block("yaml", 0))
	if shown := g.steps(0); strings.Count(shown, "\nwrites ") != 2 || strings.Count(shown, "\nreads ") != 2 {
		t.Errorf("the backends are shown as\n%s", shown)
	}
	d.awaitServer(d.writes, 0, "primary")
	d.awaitServer(d.reads, 1, "replica")
	want := g.block("text", 0)
	d.eventually("the guide's client", func() string {
		if out, stderr, err := g.run(d.Client, g.block("sh client", 0)); err != nil || out != want {
			return fmt.Sprintf("prints %q, %s, %v, want %q", out, stderr, err, want)
		}
		return ""
	})

	if out := g.steps(1); !strings.Contains(out, fmt.Sprintf("reads %s: drained: its last flow has ended", d.at[1])) {
		t.Errorf("the drain says\n%s", out)
	}
	d.awaitServer(d.reads, 0, "primary")
	g.steps(2)
	d.awaitServer(d.reads, 1, "replica")

	d.guideFailover(g)
}

// guideFailover loses the primary as the guide says.
func (d *database) guideFailover(g guide) {
	t := d.t
	must(d.query(d.writes, "INSERT INTO notes VALUES ('last word') RETURNING text"))(t)
	if err := d.primary.Stop(); err != nil {
		t.Fatal(err)
	}
	must(d.replica.SQL(g.block("sql replica", 0)))(t)
	d.awaitServer(d.writes, 1, "primary")
	d.awaitServer(d.reads, 1, "primary")
	if n, err := d.query(d.reads, "SELECT count(*)::text FROM notes WHERE text = 'last word'"); err != nil || n != "1" {
		t.Errorf("what was written last: %s times, %v", n, err)
	}
	if err := d.primary.Start(); err != nil {
		t.Fatal(err)
	}
	d.eventually("there are two primaries", func() string {
		// Until the next probe the reason may be what the last but one failed by.
		if b := d.backend("writes", 0); b.State != api.StateHealthy || b.Role != "primary" || !strings.Contains(b.Reason, "became it later") {
			return b.State + " " + b.Role + ": " + b.Reason
		}
		return ""
	})
	d.awaitServer(d.writes, 1, "primary")
	if shown := g.steps(3); !strings.Contains(shown, "2 backends say that they are primary") || !strings.Contains(shown, "became it later") {
		t.Errorf("two primaries are shown as\n%s", shown)
	}

	// The old primary becomes a replica of the new one.
	if err := d.primary.Stop(); err != nil {
		t.Fatal(err)
	}
	must(d.replica.Replica(d.Backends[0].Namespace, d.primary.Port, d.at[1].Addr()))(t)
	d.awaitServer(d.reads, 0, "replica")
	d.awaitServer(d.writes, 1, "primary")
}
