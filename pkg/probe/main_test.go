package probe

import (
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/xlb-io/xlb/pkg/model"
)

func TestMain(m *testing.M) {
	if os.Getenv(serveVariable) != "" {
		serveConnections()
		return
	}
	goleak.VerifyTestMain(m)
}

// eventually polls until ok, or fails the test after ten seconds.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); {
		if time.Now().After(deadline) {
			t.Fatalf("not within 10 s: %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

// sockets counts the open sockets of this process.
func sockets(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, e := range entries {
		if to, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && strings.HasPrefix(to, "socket:") {
			n++
		}
	}
	return n
}

// noSocketLeft fails the test if it ends with more sockets than it has now.
// Call it before anything that opens some.
func noSocketLeft(t *testing.T) {
	before := sockets(t)
	t.Cleanup(func() {
		eventually(t, fmt.Sprintf("no more than %d open sockets", before), func() bool { return sockets(t) <= before })
	})
}

// target returns a target that is probed by TCP each second.
func target(service, backend string) Target {
	return Target{Service: service, Backend: netip.MustParseAddrPort(backend), Probe: model.Probe{
		Type: model.ProbeTCP, Interval: time.Second, Jitter: 10, Timeout: 500 * time.Millisecond, Rise: 1, Fall: 1,
	}}
}
