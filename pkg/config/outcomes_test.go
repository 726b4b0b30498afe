package config

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/xlb-io/xlb/pkg/model"
)

// outcomesOf are the outcomes of the service `a` in a file.
func outcomesOf(t *testing.T, text string) model.Outcomes {
	t.Helper()
	return parse(t, "interfaces: eth0\n"+text).Services[0].Outcomes
}

func TestOutcomes(t *testing.T) {
	usual := eject
	quick := usual
	quick.Failures, quick.Time, quick.Resets = 30, time.Second, 60
	long := usual
	long.Time, long.MaxTime = time.Hour, time.Hour
	const a = "services:\n  a: {frontends: tcp://192.0.2.1:80, backends: [], "
	for _, c := range []struct {
		name, text string
		want       model.Outcomes
	}{
		{"nothing", a + "}", model.Outcomes{}},
		{"counted", a + "outcomes: true}", model.Outcomes{Count: true}},
		{"ejected", a + "eject: true}", model.Outcomes{Count: true, Eject: usual}},
		{"not ejected", a + "eject: false}", model.Outcomes{}},
		{"own limits", a + "eject: {failures: 30%, time: 1s, resets: 60%}}", model.Outcomes{Count: true, Eject: quick}},
		{"longer than the longest by default", a + "eject: {time: 1h}}", model.Outcomes{Count: true, Eject: long}},
		{"retried", a + "syn_retry: 2}", model.Outcomes{Count: true, Retries: 2}},
		{"inherited", "defaults: {eject: {failures: 30%, resets: 60%}, syn_retry: 1}\n" + a + "eject: {time: 1s}}", model.Outcomes{Count: true, Eject: quick, Retries: 1}},
		{"inherited and refused", "defaults: {eject: {failures: 30%}, syn_retry: 1}\n" + a + "eject: false, syn_retry: 0}", model.Outcomes{}},
		{"inherited off", "defaults: {eject: false}\n" + a + "eject: {failures: 30%, time: 1s, resets: 60%}}", model.Outcomes{Count: true, Eject: quick}},
		{"direct return", a + "forward: ipip, eject: true}", model.Outcomes{Count: true, Eject: usual}},
		{"inherited by UDP", "defaults: {eject: true, syn_retry: 1}\nservices:\n  a: {frontends: udp://192.0.2.1:53, backends: []}", model.Outcomes{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, outcomesOf(t, c.text)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestOutcomeErrors(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"values", lines("services:", "  a: {frontends: tcp://192.0.2.1:80, backends: [], syn_retry: 4, outcomes: yes, eject: {failures: 0%, max_ejected: 101%, trials: 0, resets: 50, window: 500ms}}"), lines(
			"x.yaml:3:63: syn_retry: 4 is out of range (0 to 3)",
			`x.yaml:3:76: outcomes: must be true or false, not "yes"`,
			"x.yaml:3:99: failures: 0% is out of range (1% to 100%)",
			"x.yaml:3:116: max_ejected: 101% is out of range (1% to 100%)",
			"x.yaml:3:130: trials: 0 is out of range (1 to 1000000)",
			`x.yaml:3:141: resets: 50 has no percent sign (write 50%)`,
			"x.yaml:3:153: window: 500ms is out of range (1s to 5m, whole seconds)")},
		{"no percentage", lines("services:", "  a: {frontends: tcp://192.0.2.1:80, backends: [], eject: {failures: half}}"),
			`x.yaml:3:70: failures: "half" is not a percentage (for example 50%)`},
		{"uncounted", lines("services:", "  a: {frontends: tcp://192.0.2.1:80, backends: [], outcomes: false, eject: true}"),
			"x.yaml:3:62: outcomes: false, but eject and syn_retry live by counting them (remove outcomes, or set eject: false and syn_retry: 0)"},
		{"UDP", lines("services:", "  a: {frontends: udp://192.0.2.1:53, backends: [], outcomes: true, eject: {time: 1s}, syn_retry: 1}"), lines(
			"x.yaml:3:52: outcomes is about TCP connections, and the service is UDP (remove it: a datagram that is not answered may be one that needs no answer)",
			"x.yaml:3:68: eject is about TCP connections, and the service is UDP (remove it: a datagram that is not answered may be one that needs no answer)",
			"x.yaml:3:87: syn_retry is about TCP connections, and the service is UDP (remove it: a datagram that is not answered may be one that needs no answer)")},
		{"no replies", lines("services:", "  a: {frontends: tcp://192.0.2.1:80, backends: [], forward: l2dsr, eject: {resets: 50%}, syn_retry: 1}"), lines(
			`x.yaml:3:84: service "a" forwards by l2dsr, where a backend's resets pass by: resets of eject is impossible (remove resets, or use forward: nat or dnat)`,
			`x.yaml:3:101: service "a" forwards by l2dsr, where nobody sees whether a SYN was refused or answered: syn_retry is impossible (set syn_retry: 0 here, or use forward: nat or dnat)`)},
		{"inherited without replies", lines("defaults: {syn_retry: 1}", "services:", "  a: {frontends: tcp://192.0.2.1:80, backends: [], forward: gue}"),
			`x.yaml:4:3: service "a" forwards by gue, where nobody sees whether a SYN was refused or answered: syn_retry is impossible (set syn_retry: 0 here, or use forward: nat or dnat)`},
		{"track never", lines("services:", "  a: {frontends: tcp://192.0.2.1:80, backends: [], forward: ipip, track: never, eject: true}"),
			`x.yaml:3:74: service "a" counts what becomes of connections, of which each is recorded for it: track: never is impossible (remove track, or set outcomes and eject to false here)`},
		{"forgotten too soon", lines("services:", "  a: {frontends: tcp://192.0.2.1:80, backends: [], syn_retry: 1, timeouts: {tcp_syn: 4s, tcp_closed: 1s}}"), lines(
			"x.yaml:3:63: syn_retry with timeouts.tcp_closed of 1s: the flow is forgotten before its SYN comes again (make it at least 5s, or set syn_retry: 0 here)",
			"x.yaml:3:63: syn_retry with timeouts.tcp_syn of 4s: the flow is forgotten before its SYN comes again (make it at least 5s, or set syn_retry: 0 here)")},
		{"times", lines("services:", "  a: {frontends: tcp://192.0.2.1:80, backends: [], eject: {max_time: 10s}}"),
			"x.yaml:3:70: max_time of 10s is shorter than the first ejection of 30s (make time shorter or max_time longer)"},
		{"inherited times", lines("defaults: {eject: {time: 20m, max_time: 10m}}", "services:", "  a: {frontends: tcp://192.0.2.1:80, backends: []}"),
			"x.yaml:2:41: max_time of 10m is shorter than the first ejection of 20m (make time shorter or max_time longer)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, refused(t, "interfaces: eth0\n"+c.text)); diff != "" {
				t.Errorf("mistakes (-want +got):\n%s", diff)
			}
		})
	}
}
