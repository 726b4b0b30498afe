package main

import (
	"path/filepath"
	"testing"
)

func TestBackendHostUsage(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--forward", "l2dsr"}, `xlb: --vip is missing (--vip ADDRESS)`},
		{[]string{"--vip", "203.0.113.10"}, `xlb: --forward is missing (--forward l2dsr|ipip|gue)`},
		{[]string{"--vip", "vip", "--forward", "l2dsr"}, `xlb: --vip is "vip" (want an IP address)`},
		{[]string{"--vip", "127.0.0.1", "--forward", "l2dsr"}, `xlb: 127.0.0.1 cannot be a VIP (want a unicast address that is not link-local)`},
		{[]string{"--vip", "203.0.113.10", "--forward", "nat"}, `xlb: "nat" is not a valid value for --forward (how the balancer sends: l2dsr|ipip|gue)`},
		{[]string{"--vip", "203.0.113.10", "--forward", "l2dsr", "--from", "10.0.0.2"}, `xlb: --from is for tunnels, and l2dsr is none`},
		{[]string{"--vip", "203.0.113.10", "--forward", "l2dsr", "--hook", "tc"}, `xlb: --hook is for tunnels, and l2dsr is none`},
		{[]string{"--vip", "203.0.113.10", "--forward", "ipip"}, `xlb: --from is missing (--from BALANCER_ADDRESS): without it anybody could send packets under any client's address`},
		{[]string{"--vip", "203.0.113.10", "--forward", "ipip", "--from", "lb1"}, `xlb: --from is "lb1" (want an IP address or a prefix)`},
		{[]string{"--vip", "203.0.113.10", "--forward", "ipip", "--from", "10.0.0.2", "--gue-port", "1"}, `xlb: --gue-port is for gue, and this is ipip`},
		{[]string{"--vip", "203.0.113.10", "--forward", "gue", "--from", "10.0.0.2", "--gue-port", "0"}, `xlb: --gue-port is 0 (want 1 to 65535)`},
		{[]string{"--vip", "203.0.113.10", "--forward", "gue", "--from", "10.0.0.2", "--mss", "9"}, `xlb: the segment size "9" is neither auto nor off nor 536 to 65495`},
		{[]string{"--check", "--undo"}, `xlb: --check and --undo exclude each other`},
		{[]string{"--undo", "--vip", "203.0.113.10", "--forward", "l2dsr"}, `xlb: --undo takes no settings: it is about what was applied`},
	} {
		xlb(t, append([]string{"backend-host"}, c.args...)...).fails(t, exitUsage, c.want)
	}
}

func TestBackendHostWithoutState(t *testing.T) {
	dir := t.TempDir()
	state := []string{"--state-dir", dir}
	missing := "xlb: nothing says what this host is to be prepared for: " + filepath.Join(dir, "backend-host.json") +
		" does not exist (say --vip and --forward)"
	command := func(args ...string) result {
		return xlb(t, append(append([]string{"backend-host"}, args...), state...)...)
	}
	command().fails(t, exitUsage, missing)
	command("--check").fails(t, exitUsage, missing)
	same(t, command("--status").ok(t), "nothing was applied to this host")
	same(t, command("--status", "--json").ok(t), "{\n  \"config\": null,\n  \"void\": false\n}")
	same(t, command("--undo").ok(t), "nothing to undo")
	same(t, command("--undo", "--json").ok(t), "{\n  \"undone\": []\n}")
}
