package config

import "testing"

// policyFile is a file with what stands under "policies:", from line 3 on, and a
// service that names a policy.
func policyFile(policies, service string) string {
	return "interfaces: eth0\npolicies:\n" + policies + "services:\n  web: {frontends: tcp://192.0.2.1:80, backends: [10.0.0.1], " + service + "}\n"
}

func TestPolicyErrors(t *testing.T) {
	const canary = "  canary: {path: canary}\n"
	for _, c := range []struct{ name, text, want string }{
		{"no path", policyFile("  canary: {fuel: 5}\n", "policies: canary"),
			"x.yaml:3:11: path is missing in policy (for example path: /etc/xlb/policies/canary)"},
		{"no value", policyFile("  canary:\n", "policies: []"), "x.yaml:3:3: canary: has no value (give one or remove the key)"},
		{"name", policyFile("  Canary: {path: x}\n", "policies: []"),
			"x.yaml:3:3: \"Canary\" is not a valid policy name (1 to 63 of `a-z`, `0-9`, `-`, `.`, `_`)"},
		{"hash", policyFile("  canary: {path: x, sha256: abc}\n", "policies: []"),
			`x.yaml:3:29: sha256: "abc" is not a valid SHA-256 (64 hexadecimal digits)`},
		{"sizes", policyFile("  a: {path: x, memory: 5}\n  b: {path: x, memory: 1KiB}\n  c: {path: x, memory: 2GiB}\n  d: {path: x, fuel: 0}\n", "policies: []"), lines(
			`x.yaml:3:24: memory: must be a text (size), not 5 (if it is meant so, quote it: "5")`,
			"x.yaml:4:24: memory: 1KiB is no multiple of 64KiB, the size of a WebAssembly page (for example 256KiB or 16MiB)",
			"x.yaml:5:24: memory: 2GiB is out of range (64KiB to 1GiB)",
			"x.yaml:6:22: fuel: 0 is out of range (1 to 100000000)")},
		{"subset", policyFile("  canary: {path: x, subsets: {near: {}}}\n", "policies: []"),
			`x.yaml:3:31: subset "near" of policy "canary" names neither a tag nor a zone (for example {tag: canary})`},
		{"unknown name", policyFile(canary, "policies: [canray]"), `x.yaml:5:73: unknown policy "canray" (did you mean "canary"?)`},
		{"unknown name, far", policyFile(canary, "policies: [geo]"), `x.yaml:5:73: unknown policy "geo" (known: canary)`},
		{"twice in a chain", policyFile(canary, "policies: [canary, {policy: canary, mode: shadow}]"),
			`x.yaml:5:81: policy "canary" stands twice in the chain (first at x.yaml:5:73)`},
		{"mode", policyFile(canary, "policies: {policy: canary, mode: observe}"),
			`x.yaml:5:95: mode: unknown value "observe" (known: enforce, shadow)`},
		{"overload without policies", policyFile(canary, "on_overload: drop"),
			"x.yaml:5:62: on_overload has no effect without policies (add policies: or remove on_overload)"},
		{"never tracked", policyFile(canary, "policies: canary, forward: l2dsr, track: never"),
			`x.yaml:5:103: service "web" has policies, whose decisions are kept in flow records: track: never is impossible (remove track)`},
		{"probe without policy", policyFile(canary, "probe: policy"),
			"x.yaml:5:69: probe: type policy needs policy (the name of one of policies:, for example policy: line-probe)"},
		{"probe of an unknown one", policyFile(canary, "probe: {type: policy, policy: geo}"), `x.yaml:5:92: unknown policy "geo" (known: canary)`},
		{"probe keys", policyFile(canary, "probe: {type: policy, policy: canary, path: /x}"),
			"x.yaml:5:100: probe: path has no effect with type policy (use type: http, https or http2, or remove path)"},
		{"policy of another type", policyFile(canary, "probe: {type: http, policy: canary}"),
			"x.yaml:5:82: probe: policy has no effect with type http (use type: policy or remove policy)"},
		{"tag", policyFile(canary, "policies: canary, defaults: 1"), `x.yaml:5:80: unknown key "defaults" in service (known: frontends, backends, discover, forward, track, fail, policies, on_overload, probe, timeouts, schedule, hash, affinity, ops, quic, allow, deny, steer, rate, rate_per_source, max_connections, subset, tiers, zones, panic_threshold, slow_start, drain_timeout, role, role_fallback, role_exclusive, outcomes, eject, syn_retry, on_change, critical)`},
	} {
		t.Run(c.name, func(t *testing.T) { equal(t, c.want, refused(t, c.text)) })
	}
}
