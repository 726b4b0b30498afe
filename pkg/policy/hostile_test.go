package policy

import (
	"strings"
	"testing"
	"time"

	"github.com/xlb-io/xlb/pkg/model"
)

// hostile loads the policy that does harm, which may fail as often as it likes.
func hostile(t *testing.T, r *Runtime, config string) *Policy {
	p := load(t, r, "hostile", config, func(s *model.Policy) { s.Timeout = 200 * time.Millisecond })
	return p
}

// TestHostileFlow: whatever a module does, the call ends soon, the error says what
// it did, and the next call works.
func TestHostileFlow(t *testing.T) {
	r, _ := newLogged(t)
	tests := []struct {
		port uint16
		want string
	}{
		{1, "out of fuel (100000)"},
		{2, "out of fuel (100000)"},
		{4, "trap: unreachable in flow"},
		{5, "trap: log: 7 bytes at 0xfffa are not in the module's memory in flow"},
		{6, "trap: log: 4294967295 bytes at 0x0 are not in the module's memory"},
		{7, "out of fuel (100000)"},
		{8, "trap: integer divide by zero in flow"},
		{9, "trap: count: counter 1 of 1 in the manifest"},
		{10, "trap: table_lookup: table 4294967295 of 0 in the manifest"},
		{11, "out of fuel (100000)"},
		{12, "it ended itself with exit code 3"},
		{13, "out of fuel (100000)"},
		{14, "out of fuel (100000)"},
		{16, "trap: log: level 4 of 0 to 3"},
		{17, "trap: out of bounds memory access in flow"},
	}
	for _, tt := range tests {
		p := hostile(t, r, "")
		w := worker(t, p)
		start := time.Now()
		v, err := w.Flow(from(tt.port))
		took := time.Since(start)
		wants(t, err, `policy "test-hostile": flow: `, tt.want)
		if v != (Verdict{}) {
			t.Errorf("port %d: verdict %+v", tt.port, v)
		}
		if took > 2*time.Second {
			t.Errorf("port %d: it took %v", tt.port, took)
		}
		t.Logf("port %d: %v, %v", tt.port, took.Round(time.Microsecond), err)
		if v, err := w.Flow(from(999)); err != nil || v.Action != ActionContinue {
			t.Errorf("port %d, the next call: %+v %v", tt.port, v, err)
		}
		s := p.Stats()
		if h := s.Hooks[HookFlow]; h.Calls != 2 || h.Errors != 1 || !strings.Contains(h.LastError, tt.want) || h.Ejected {
			t.Errorf("port %d: %+v", tt.port, h)
		}
		if s.Restarts != 1 {
			t.Errorf("port %d: %d restarts", tt.port, s.Restarts)
		}
	}
}

// TestHostileMemory: a memory grows to its limit, and the module goes on.
func TestHostileMemory(t *testing.T) {
	p := hostile(t, newRuntime(t, Options{}), "")
	w := worker(t, p)
	for range sampled + 1 {
		if v, err := w.Flow(from(3)); err != nil || v != (Verdict{}) {
			t.Fatalf("%+v %v", v, err)
		}
	}
	// The control instance has one page.
	if s := p.Stats(); s.Instances != 2 || s.Memory != defaultMemory+page {
		t.Errorf("%d instances with %d bytes", s.Instances, s.Memory)
	}
}

// TestHostileVerdicts: a wrong verdict is an error, and the instance goes on.
func TestHostileVerdicts(t *testing.T) {
	p := hostile(t, newRuntime(t, Options{}), "")
	w := worker(t, p)
	for hash, want := range map[uint64]string{
		0xffffffffffffffff: "is no verdict",
		9<<32 | 3:          "the verdict is backend 9 of 4",
		1<<32 | 4:          "the verdict is subset 1 of 1",
	} {
		f := from(20)
		f.Hash = hash
		_, err := w.Flow(f)
		wants(t, err, want)
	}
	if s := p.Stats(); s.Restarts != 0 || s.Hooks[HookFlow].Errors != 3 {
		t.Errorf("%+v", s)
	}
}

// TestNoFiles: what WASI has of files answers as if there were none.
func TestNoFiles(t *testing.T) {
	w := worker(t, hostile(t, newRuntime(t, Options{}), ""))
	if v, err := w.Flow(from(15)); err != nil || v.Reason != uint16(errnoBadF) {
		t.Errorf("path_open: %+v %v", v, err)
	}
}

// TestHugeLogs: a module that logs without end writes a few lines, of limited length.
func TestHugeLogs(t *testing.T) {
	r, l := newLogged(t)
	p := hostile(t, r, "")
	worker(t, p).Flow(from(7))
	s := p.Stats()
	if s.LogLines < logBurst || s.LogLines > 2*logBurst || s.LogSuppressed == 0 {
		t.Errorf("%d lines, %d suppressed", s.LogLines, s.LogSuppressed)
	}
	for line := range strings.Lines(l.String()) {
		if len(line) > 2*maxLine {
			t.Errorf("a line of %d bytes", len(line))
		}
	}
	if n := strings.Count(l.String(), "policy=test-hostile"); n < logBurst {
		t.Errorf("%d lines with the policy's name", n)
	}
}

// TestOnErrorDrop: a policy that fails closed drops.
func TestOnErrorDrop(t *testing.T) {
	p := load(t, newRuntime(t, Options{}), "hostile", "", func(s *model.Policy) { s.OnError = model.ErrorDrop })
	if v, err := worker(t, p).Flow(from(4)); err == nil || v != (Verdict{Action: ActionDrop}) {
		t.Errorf("%+v %v", v, err)
	}
}

// TestHostileConfigure: what a module does when it is configured is told, and leaves
// the old configuration in force.
func TestHostileConfigure(t *testing.T) {
	p := hostile(t, newRuntime(t, Options{}), `{"n":40}`)
	w := worker(t, p)
	for config, want := range map[string]string{
		`{"n":10}`:   "validate: it did not end within 200ms",
		`{"n":11}`:   "validate: the answer: 16 bytes at 0x7fffffff are not in the module's memory",
		`{"n":12}`:   "validate: the answer is a text of 4294967295 bytes, of 1 to 4096",
		`{"n":13}`:   "validate: the answer is a text of 0 bytes, of 1 to 4096",
		`{"n":14}`:   "configure: it did not end within 200ms",
		`{"n":15}`:   "configure: trap: unreachable in configure",
		`{"n":true}`: "configure: the configuration is not what the policy's schema wants: at '/n': got boolean, want integer",
		`{"n":`:      "configure: the configuration is no JSON",
	} {
		err := p.Configure(t.Context(), []byte(config))
		wants(t, err, `policy "test-hostile": `, want)
		if v, err := w.Flow(from(999)); err != nil || v != (Verdict{}) {
			t.Errorf("after %s: %+v %v", config, v, err)
		}
		if got := string(p.Spec().Config); got != `{"n":40}` {
			t.Errorf("after %s: the configuration is %s", config, got)
		}
		if s := p.Stats(); s.ConfigError != err.Error() {
			t.Errorf("after %s: %q", config, s.ConfigError)
		}
	}
}

// TestHostileAlloc: an address of alloc is checked.
func TestHostileAlloc(t *testing.T) {
	for config, want := range map[string]string{
		`{"n":20}`: "alloc: no memory for 96 bytes",
		`{"n":21}`: "alloc: 96 bytes at 0x7ffffff8 are not in the module's memory",
		`{"n":22}`: "alloc: 0x1001 is not a multiple of 8",
	} {
		p := hostile(t, newRuntime(t, Options{}), config)
		_, err := p.Weigh(t.Context(), backends(9))
		wants(t, err, `policy "test-hostile": weigh: `, want)
	}
}
