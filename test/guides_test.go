package test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"
)

// guide is a page of docs/guides, with the addresses of a network.
type guide struct {
	n    *network
	text string
}

func (n *network) guide(name string) guide {
	n.t.Helper()
	text := string(must(os.ReadFile("../docs/guides/" + name))(n.t))
	change := []string{"203.0.113.10", n.VIP4.String(), "interfaces: eth0", "interfaces: [" + strings.Join(n.Interfaces, ", ") + "]"}
	for i, b := range n.Backends {
		change = append(change, fmt.Sprintf("10.0.0.%d", 11+i), b.IP4.String())
	}
	return guide{n, strings.NewReplacer(change...).Replace(text)}
}

// blocks are the blocks of a language, at least so many.
func (g guide) blocks(language string, least int) (all []string) {
	g.n.t.Helper()
	for _, m := range regexp.MustCompile("(?ms)^```"+language+"\n(.*?)^```$").FindAllStringSubmatch(g.text, -1) {
		all = append(all, m[1])
	}
	if len(all) < least {
		g.n.t.Fatalf("the guide has %d blocks of %q, want %d", len(all), language, least)
	}
	return all
}

// steps runs the i-th block of the operator's commands, of which each must succeed.
func (g guide) steps(i int) (output string) {
	g.n.t.Helper()
	for line := range strings.Lines(g.blocks("sh root", i+1)[i]) {
		output += g.n.xlb(strings.Fields(line)[1:]...)
	}
	return output
}

// see runs the commands for a client and returns what they print.
func (g guide) see() string {
	g.n.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	p := g.n.Client.Command(ctx, "bash", "-euo", "pipefail", "-s")
	p.Cmd.Stdin = strings.NewReader(strings.Join(g.blocks("sh client", 1), ""))
	out, err := p.Output()
	if err != nil {
		g.n.t.Fatalf("the guide's commands for a client: %v\n%s", err, out)
	}
	return string(out)
}

// needs skips a test where a program is not installed.
func needs(t *testing.T, programs ...string) {
	t.Helper()
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			t.Skipf("%s is not installed (test/deps test)", p)
		}
	}
}

// awaitStateAt waits until the backends at a host, one in each of its services, are
// in a state whose reason holds a text.
func (n *network) awaitStateAt(i int, state, reason string) {
	n.t.Helper()
	n.eventually(fmt.Sprintf("backend %d is %s", i+1, state), func() string {
		status, err := n.poll()
		if err != nil {
			return err.Error()
		}
		for _, s := range status.Services {
			for _, b := range s.Backends {
				if b.Address.Addr() == n.Backends[i].IP4 && (b.State != state || !strings.Contains(b.Reason, reason)) {
					return fmt.Sprintf("%s: %+v", s.Name, b)
				}
			}
		}
		return ""
	})
}

// awaitEmpty waits until no flow goes to a backend's host.
func (n *network) awaitEmpty(i int) {
	n.t.Helper()
	n.eventually(fmt.Sprintf("the last flow of backend %d", i+1), func() string {
		return n.xlb("flows", "--backend", n.Backends[i].IP4.String(), "--json")
	})
}
