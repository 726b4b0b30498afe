package test

import (
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
)

// manual is a guide whose commands a shell runs, with the addresses and paths of a
// network.
type manual struct {
	n    *network
	text string
}

// manual reads a guide of docs/guides. Its backends are 10.0.0.11 and so on; replace
// has what else is another here, old and new in turn.
func (n *network) manual(name string, replace ...string) *manual {
	n.t.Helper()
	change := append([]string{"203.0.113.10", n.VIP4.String(), "interfaces: eth0", "interfaces: [" + strings.Join(n.Interfaces, ", ") + "]\ntable_size: 1009"}, replace...)
	for i, b := range n.Backends {
		change = append(change, fmt.Sprintf("10.0.0.%d", 11+i), b.IP4.String())
	}
	text := string(must(os.ReadFile("../docs/guides/" + name))(n.t))
	return &manual{n, strings.NewReplacer(change...).Replace(text)}
}

// block is the i-th block of a language.
func (m *manual) block(language string, i int) string {
	m.n.t.Helper()
	all := regexp.MustCompile("(?ms)^```"+language+"\n(.*?)^```$").FindAllStringSubmatch(m.text, -1)
	if i >= len(all) {
		m.n.t.Fatalf("the guide has %d blocks of %q, and not one more", len(all), language)
	}
	return all[i][1]
}

// run runs commands in a shell in a namespace of the network, with xlb in the path
// and, before everything else, what the test put into bin.
func (m *manual) run(in *testlab.Namespace, commands string) (output string, err error) {
	ctx, cancel := context.WithTimeout(m.n.t.Context(), 5*time.Minute)
	defer cancel()
	p := in.Command(ctx, "bash", "-u", "-o", "pipefail", "-s")
	p.Cmd.Dir = m.n.dir
	p.Cmd.Env = append(m.n.environment(), "PATH="+m.bin()+":"+filepath.Dir(binary)+":"+os.Getenv("PATH"))
	p.Cmd.Stdin = strings.NewReader(commands)
	out, err := p.Output()
	if e, ok := errors.AsType[*exec.ExitError](err); ok {
		err = fmt.Errorf("%w: %s", err, e.Stderr)
	}
	return string(out), err
}

func (m *manual) bin() string { return filepath.Join(m.n.dir, "bin") }

// root runs the i-th block of commands at the balancer, which must succeed.
func (m *manual) root(i int) (output string) {
	m.n.t.Helper()
	out, err := m.run(m.n.Balancer, "set -e\n"+m.block("sh root", i))
	if err != nil {
		m.n.t.Fatalf("the guide's commands: %v\n%s", err, out)
	}
	return out
}

// program puts a program into bin.
func (m *manual) program(name, text string) {
	m.n.t.Helper()
	err := errors.Join(os.MkdirAll(m.bin(), 0o700), os.WriteFile(filepath.Join(m.bin(), name), []byte(text), 0o700))
	if err != nil {
		m.n.t.Fatal(err)
	}
}

// needsPrograms skips a test where one is not installed.
func needsPrograms(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("%s is not installed (test/deps test)", name)
		}
	}
}
