package test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/xlb-io/xlb/internal/testlab"
	"github.com/xlb-io/xlb/pkg/api"
)

// guide is a page of docs/guides, with the addresses and paths of a network.
type guide struct {
	n    *network
	text string
}

// guide reads a page whose VIP is 203.0.113.10 and whose backends are 10.0.0.11 and
// on. replace has what else is another here, old and new in turn.
func (n *network) guide(name string, replace ...string) guide {
	n.t.Helper()
	text := string(must(os.ReadFile("../docs/guides/" + name))(n.t))
	change := append([]string{"203.0.113.10", n.VIP4.String(), "interfaces: eth0", "interfaces: [" + strings.Join(n.Interfaces, ", ") + "]"}, replace...)
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

// block is the i-th block of a language.
func (g guide) block(language string, i int) string {
	g.n.t.Helper()
	return g.blocks(language, i+1)[i]
}

// steps runs the i-th block of the operator's commands, of which each must succeed in
// silence but for its output.
func (g guide) steps(i int) (output string) {
	g.n.t.Helper()
	out, stderr, err := g.run(g.n.Balancer, "set -e\n"+g.block("sh root", i))
	if err != nil || stderr != "" {
		g.n.t.Fatalf("the guide's commands: %v\n%s%s", err, out, stderr)
	}
	return out
}

// see runs the commands for a client and returns what they print.
func (g guide) see() string {
	g.n.t.Helper()
	out, stderr, err := g.run(g.n.Client, "set -e\n"+strings.Join(g.blocks("sh client", 1), ""))
	if err != nil {
		g.n.t.Fatalf("the guide's commands for a client: %v\n%s%s", err, out, stderr)
	}
	return out
}

// run runs commands in a shell in a namespace of the network, with xlb in the path
// and, before everything else, what [guide.program] put there.
func (g guide) run(in *testlab.Namespace, commands string) (stdout, stderr string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	var out, errs bytes.Buffer
	p := in.Command(ctx, "bash", "-u", "-o", "pipefail", "-s")
	p.Cmd.Dir = g.n.dir
	p.Cmd.Env = append(g.n.environment(), "PATH="+g.programs()+":"+filepath.Dir(binary)+":"+os.Getenv("PATH"))
	p.Cmd.Stdin, p.Cmd.Stdout, p.Cmd.Stderr = strings.NewReader(commands), &out, &errs
	err = p.Run()
	return out.String(), errs.String(), err
}

func (g guide) programs() string { return filepath.Join(g.n.dir, "programs") }

// program makes a program that the guide's commands find before all others.
func (g guide) program(name, text string) {
	g.n.t.Helper()
	err := errors.Join(os.MkdirAll(g.programs(), 0o700), os.WriteFile(filepath.Join(g.programs(), name), []byte(text), 0o700))
	if err != nil {
		g.n.t.Fatal(err)
	}
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
		host := n.Backends[i].IP4.String()
		if flows := must(n.pollFlows(api.FlowFilter{Backend: host}))(n.t); len(flows) > 0 {
			return fmt.Sprintf("%+v", flows)
		}
		return n.xlb("flows", "--backend", host, "--json")
	})
}
