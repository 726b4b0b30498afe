package maps_test

import (
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/xlb-io/xlb/pkg/maps"
	"github.com/xlb-io/xlb/pkg/model"
)

// Services that the data plane cannot tell apart are no difference: rates are
// rounded to what fits a window, and say nothing without policies.
func TestServicesDiffer(t *testing.T) {
	service := func(mode model.OnOverload, upcalls, perSource uint32) maps.Service {
		return maps.Service{Forward: model.IPIP, Track: model.TrackAuto, Policy: mode, Upcalls: upcalls, UpcallsPerSource: perSource}
	}
	const carries, drops = model.OverloadContinue, model.OverloadDrop
	for name, c := range map[string]struct {
		a, b    maps.Service
		differs bool
	}{
		"same":                  {service(carries, 1000, 100), service(carries, 1000, 100), false},
		"another mode":          {service(carries, 1000, 100), service(drops, 1000, 100), true},
		"none":                  {service(carries, 1000, 100), service(0, 0, 0), true},
		"rates of none":         {service(0, 1000, 100), service(0, 0, 0), false},
		"another rate":          {service(drops, 1000, 100), service(drops, 2000, 100), true},
		"another source's rate": {service(drops, 1000, 100), service(drops, 1000, 200), true},
		"the same window":       {service(drops, 1000, 100), service(drops, 1013, 104), false},
		"the next window":       {service(drops, 1013, 100), service(drops, 1014, 100), true},
		"the least":             {service(drops, 0, 1), service(drops, 1, 14), false},
		"the most":              {service(drops, 976547, 100), service(drops, 1<<32-1, 100), false},
		"nothing valid":         {service(9, 1, 1), service(9, 1, 1), true},
	} {
		changes := maps.Diff(
			maps.Contents{Services: map[uint32]maps.Service{1: c.a}}, maps.Contents{Services: map[uint32]maps.Service{1: c.b}})
		if differs := changes.Len() > 0; differs != c.differs {
			t.Errorf("%s: differ: %t", name, differs)
		}
	}
}

func dumpJSON(t *testing.T, s *maps.Set, name string) string {
	t.Helper()
	d, err := s.Dump(name)
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(d.Entries)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// The daemon's heartbeat is there until it says that it goes.
func TestHeartbeat(t *testing.T) {
	s := newSet(t, testSizes)
	for _, c := range []struct {
		say  func() error
		want string
	}{{func() error { return nil }, `"away":true`}, {s.Heartbeat, `"away":false`}, {s.Away, `"away":true`}} {
		if err := c.say(); err != nil {
			t.Fatal(err)
		}
		if got := dumpJSON(t, s, "heartbeat"); !strings.Contains(got, c.want) {
			t.Errorf("heartbeat is shown as %s, want %s", got, c.want)
		}
	}
}

// A reader waits until there is something, its deadline passes, or it is closed.
func TestUpcallReader(t *testing.T) {
	s := newSet(t, testSizes)
	r, err := s.Upcalls()
	if err != nil {
		t.Fatal(err)
	}
	var u maps.Upcall
	r.SetDeadline(time.Now().Add(10 * time.Millisecond))
	if err := r.Read(&u); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("after the deadline: %v", err)
	}
	r.SetDeadline(time.Time{})
	flushed := make(chan error, 1)
	go func() { flushed <- r.Read(new(maps.Upcall)) }() // Flush wakes it if it waits already
	if err := r.Flush(); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-flushed:
		if !errors.Is(err, maps.ErrFlushed) {
			t.Errorf("a flushed reader returns %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("a flushed reader waits")
	}
	ended := make(chan error)
	go func() { ended <- r.Read(&u) }()
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if err := <-ended; !errors.Is(err, os.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	if got := dumpJSON(t, s, "upcalls"); got != `[{"key":"waiting_bytes","value":0}]` {
		t.Errorf("the ring buffer is shown as %s", got)
	}
}
