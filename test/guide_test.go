package test

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/xlb-io/xlb/internal/testlab"
	"github.com/xlb-io/xlb/pkg/api"
	"github.com/xlb-io/xlb/pkg/policy"
)

// TestGuide follows the guide to policies from nothing to a rule that runs: its own
// commands, its own configuration but for the addresses, and what it promises of both.
func TestGuide(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("wasm-ld"); err != nil {
		t.Skip("the guide builds a policy in C: needs clang and lld")
	}
	text := string(must(os.ReadFile("../docs/guides/write-a-policy.md"))(t))
	n := newNetwork(t, testlab.TopologyOptions{Shape: testlab.Routed, Backends: 2})
	begin := fmt.Sprintf("interfaces: [%s]\ntable_size: 1009\n", strings.Join(n.Interfaces, ", "))
	n.run(begin + "services: {}\n")

	shell := exec.Command("bash", "-euo", "pipefail", "-s")
	shell.Dir = n.dir
	shell.Env = append(os.Environ(), "PATH="+filepath.Dir(binary)+":"+os.Getenv("PATH"))
	shell.Stdin = strings.NewReader(blocks(text, "sh"))
	if out, err := shell.CombinedOutput(); err != nil {
		t.Fatalf("the guide's commands: %v\n%s", err, out)
	}
	bundle := filepath.Join(n.dir, "block-list")
	manifest := string(must(os.ReadFile(filepath.Join(bundle, "policy.yaml")))(t))
	hash := regexp.MustCompile(`(?m)^sha256: ([0-9a-f]{64})$`).FindStringSubmatch(manifest)
	if hash == nil {
		t.Fatalf("no hash in the manifest:\n%s", manifest)
	}
	blocked := filepath.Join(n.dir, "blocked.txt")
	if err := os.WriteFile(blocked, []byte(n.Client4.String()+"/32\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	config := begin + strings.NewReplacer(
		"/etc/xlb/policies/block-list", bundle, "0f…", `"`+hash[1]+`"`, "/etc/xlb/blocked.txt", blocked,
		"203.0.113.10", n.VIP4.String(), "10.0.0.11", n.Backends[0].IP4.String()+":8080", "10.0.0.12", n.Backends[1].IP4.String()+":8080",
	).Replace(blocks(text, "yaml"))
	n.write(config)
	for line := range strings.Lines(blocks(text, "sh root")) {
		n.xlb(strings.Fields(line)[1:]...)
	}

	page, rest := netip.AddrPortFrom(n.VIP4, 8080), netip.AddrPortFrom(n.VIP4, 80)
	if _, err := n.get(rest, 5*time.Second); err != nil {
		t.Errorf("in shadow mode a blocked client is refused: %v", err)
	}
	shown := decode[api.Policy](n, "policy", "show", "block-list")
	if shown.Counters["refused"] != 1 || len(shown.Verdicts) == 0 || shown.Verdicts[0].Mode.String() != "shadow" || shown.Verdicts[0].Action != policy.ActionDrop {
		t.Errorf("what it would have done: %+v, %v", shown.Verdicts, shown.Counters)
	}
	n.write(strings.Replace(config, "mode: shadow", "mode: enforce", 1))
	n.xlb("reload")
	if _, err := n.get(page, 5*time.Second); err != nil {
		t.Errorf("the status page: %v", err)
	}
	var timeout net.Error
	if _, err := n.get(rest, time.Second); !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("a blocked client's connection ended with %v", err)
	}
	// The list, and the module, change under it.
	if err := os.WriteFile(blocked, []byte("192.0.2.0/24\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	n.xlb("reload")
	n.xlb("policy", "reload", "block-list")
	if _, err := n.get(rest, 5*time.Second); err != nil {
		t.Errorf("no longer on the list: %v", err)
	}
}

// blocks are a document's blocks of a language, joined.
func blocks(text, language string) string {
	var b strings.Builder
	for _, m := range regexp.MustCompile("(?ms)^```"+language+"\n(.*?)^```$").FindAllStringSubmatch(text, -1) {
		b.WriteString(m[1])
	}
	return b.String()
}
