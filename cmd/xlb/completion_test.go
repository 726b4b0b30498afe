package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestCompletionCandidates(t *testing.T) {
	newSample().start(t)
	for _, c := range []struct{ line, want string }{
		{"st|", "status stats"},
		{"backend dr|", "drain"},
		{"help ba|", "backend backend-host"},
		{"flows --s|", "--service --socket"},
		{"flows --service web --s|", "--socket"},
		{"flows --service |", "dns web"},
		{"flows --service web --backend |", "10.0.0.11:8080 10.0.0.12:8080 [2001:db8::11]:8080"},
		{"backend drain |", "dns web"},
		{"backend drain web |", "10.0.0.11:8080 10.0.0.12:8080 [2001:db8::11]:8080"},
		{"backend drain --json web 10.0.0.12|", "10.0.0.12:8080"},
		{"backend weight web 10.0.0.11:8080 |", "reset"},
		{"map load |", "backends features quic_servers rules services sources subsets tables tunnels vips"},
		{"map dump se|", "service_loads service_outcome service_rates service_refused service_traffic service_upcalls services settings"},
		{"run --log-format |", "text json"},
		{"check -c |", ""},
		{"policy b|", "build bench"},
		{"policy new --lang |", "assemblyscript c go rust"},
		{"policy run --hook |", "flow weigh probe"},
		{"policy test |", ""},
		{"frobnicate |", ""},
		{"backend drain web x y |", ""},
	} {
		words := strings.Fields(strings.TrimSuffix(c.line, "|"))
		if strings.HasSuffix(c.line, " |") {
			words = append(words, "")
		}
		got := strings.Join(strings.Fields(xlb(t, append(words, completionFlag)...).ok(t)), " ")
		if got != c.want {
			t.Errorf("xlb %s completes to %q, want %q", c.line, got, c.want)
		}
	}
	// Nobody wants an error message in the middle of a line.
	noDaemon(t)
	same(t, xlb(t, "flows", "--service", "", completionFlag).ok(t), "")
}

// completes has a shell run the script as its line editor would. sta is what it
// offers for "xlb sta", in its own order.
func completes(t *testing.T, shell, sta, driver string) {
	t.Helper()
	path, err := exec.LookPath(shell)
	if err != nil {
		t.Skipf("%s is not installed", shell)
	}
	newSample().start(t)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "script"), []byte(xlb(t, "completion", shell).ok(t)), 0o600); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(self, filepath.Join(dir, "xlb")); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, "-c", driver)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), asCommand+"=1", "PATH="+dir+":"+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	same(t, string(out), "[xlb sta] "+sta+`
[xlb backend drain we] web
[xlb backend drain web ] 10.0.0.11:8080 10.0.0.12:8080 [2001:db8::11]:8080
[xlb flows --service=w] web
[xlb check -c scr] script
`)
}

func TestBashCompletion(t *testing.T) {
	completes(t, "bash", "status stats", `
set -u
source ./script
spec=$(complete -p xlb)
[[ $spec == "complete -F _xlb xlb" ]] || echo "not registered: $spec"
for line in "xlb sta" "xlb backend drain we" "xlb backend drain web " "xlb flows --service=w"; do
    COMP_LINE=$line COMP_POINT=${#line} COMPREPLY=()
    _xlb xlb
    echo "[$line] ${COMPREPLY[*]}"
done
# The rest of an address that was begun: bash splits words at ":".
line="xlb backend drain web 10.0.0.12:80" COMPREPLY=()
COMP_LINE=$line COMP_POINT=${#line}
_xlb xlb
[[ ${COMPREPLY[*]} == 8080 ]] || echo "[$line] ${COMPREPLY[*]}"
# Files are left to bash.
line="xlb check -c scr" COMPREPLY=()
COMP_LINE=$line COMP_POINT=${#line}
_xlb xlb
((${#COMPREPLY[@]} == 0)) && echo "[$line] $(compgen -f scr)"
`)
}

func TestZshCompletion(t *testing.T) {
	completes(t, "zsh", "status stats", `
compdef() { }
source ./script
compadd() { print -r -- "[$line] ${(P)2}" }
compset() { }
_files() { print -r -- "[$line] script" }
for line in "xlb sta" "xlb backend drain we" "xlb backend drain web " "xlb flows --service=w" "xlb check -c scr"; do
    words=("${(@s: :)line}")
    CURRENT=${#words}
    _xlb
done
`)
}

func TestFishCompletion(t *testing.T) {
	completes(t, "fish", "stats status", `
source ./script
for line in "xlb sta" "xlb backend drain we" "xlb backend drain web " "xlb flows --service=w" "xlb check -c scr"
    echo "[$line] "(complete --do-complete $line | string replace -- "--service=" "" | string join " ")
end
`)
}

// Scripts of shells that are not installed here must at least ask in the way
// that is answered.
func TestCompletionScripts(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish"} {
		if s := xlb(t, "completion", shell).ok(t); !strings.Contains(s, completionFlag) || !strings.HasSuffix(s, "\n") {
			t.Errorf("the script for %s:\n%s", shell, s)
		}
	}
}
