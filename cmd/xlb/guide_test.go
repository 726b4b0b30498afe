package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/xlb-io/xlb/pkg/policy"
)

// shellBlock is a block of shell in a guide. One that is marked "sh root" needs a
// daemon, and is only checked for commands that are there.
var shellBlock = regexp.MustCompile("(?ms)^```sh( root)?\n(.*?)^```$")

// outputBlock is what commands of a guide print.
var outputBlock = regexp.MustCompile("(?ms)^```\n(.*?)^```$")

// guideCommands are the shell blocks of a guide: those to run, joined in order, and
// the lines of those that need a daemon.
func guideCommands(text string) (script string, daemon []string) {
	for _, m := range shellBlock.FindAllStringSubmatch(text, -1) {
		if m[1] == "" {
			script += m[2]
		} else {
			daemon = append(daemon, lines(m[2])...)
		}
	}
	return script, daemon
}

func TestGuideToPolicies(t *testing.T) {
	needs(t, "bash", "patch", "wasm-ld")
	needsClang(t)
	text := policyGuide(t)
	script, _ := guideCommands(text)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	if err := os.Symlink(self, filepath.Join(bin, "xlb")); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("bash", "-euo", "pipefail", "-s")
	cmd.Dir = t.TempDir()
	cmd.Stdin = strings.NewReader(script)
	cmd.Env = append(os.Environ(), asCommand+"=1", "PATH="+bin+":"+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	wants := []string{"it cannot do that yet\n", "block-list: 7 vectors, 0 failed\n", "flow      "}
	for _, m := range outputBlock.FindAllStringSubmatch(shellBlock.ReplaceAllString(text, ""), -1) {
		wants = append(wants, m[1])
	}
	if len(wants) < 4 {
		t.Error("the guide shows no output")
	}
	for _, want := range wants {
		if !strings.Contains(string(out), "\n"+want) {
			t.Errorf("the guide's commands do not print %q:\n%s", want, out)
		}
	}
}

func policyGuide(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/guides/write-a-policy.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestGuideCommandsAreThere(t *testing.T) {
	_, daemon := guideCommands(policyGuide(t))
	if len(daemon) == 0 {
		t.Fatal("no blocks that need a daemon")
	}
	app := (&env{}).app()
	for _, line := range daemon {
		words := strings.Fields(line)
		if len(words) == 0 || words[0] != "xlb" {
			t.Errorf("%q is no command of xlb", line)
			continue
		}
		if err := parseLine(app, words[1:]).check(app); err != nil {
			t.Errorf("%s: %v", line, err)
		}
	}
}

// The page about bundles knows the manifest's keys, and its example is one.
func TestBundlePage(t *testing.T) {
	text, err := os.ReadFile("../../docs/policy-bundle.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "```yaml\n")
	example, rest, _ := strings.Cut(rest, "```")
	if _, err := policy.ParseManifest("example", []byte(example)); err != nil {
		t.Error(err)
	}
	keys, _, _ := strings.Cut(rest, "## ")
	var told []string
	for _, row := range regexp.MustCompile("(?m)^\\| (`.*?`) \\|").FindAllStringSubmatch(keys, -1) {
		for _, key := range strings.Split(row[1], ", ") {
			told = append(told, strings.Trim(key, "`"))
		}
	}
	slices.Sort(told)
	_, err = policy.ParseManifest("x", []byte("name: x\nabi: 1\nmodule: x\nno-such-key: 1"))
	if want := "(known: " + strings.Join(told, ", ") + ")"; err == nil || !strings.HasSuffix(err.Error(), want) {
		t.Errorf("%v\nthe page has %s", err, want)
	}
}
