package testlab

import (
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

func TestLeaksAreFound(t *testing.T) {
	for name, c := range map[string]struct {
		leak func(*testing.T) (mend func())
		want string
	}{
		"nothing": {func(*testing.T) func() { return func() {} }, ""},
		"file": {func(t *testing.T) func() {
			f, err := os.Open("/dev/null")
			must(t, err)
			return func() { f.Close() }
		}, "leaked file descriptor"},
		"socket": {func(t *testing.T) func() {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			must(t, err)
			return func() { l.Close() }
		}, "socket:["},
		"goroutine": {func(*testing.T) func() {
			stop, ended := make(chan struct{}), make(chan struct{})
			go func() {
				<-stop
				close(ended)
			}()
			return func() {
				close(stop)
				<-ended
			}
		}, "unexpected goroutines"},
		"namespace": {func(t *testing.T) func() {
			l := newLab(t)
			newNamespaceIn(t, l, "left")
			return func() { must(t, l.Close()) }
		}, "leaked network namespace"},
	} {
		t.Run(name, func(t *testing.T) {
			before, err := TakeSnapshot()
			must(t, err)
			mend := c.leak(t)
			err = before.Leaks(0)
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("want %q, got %v", c.want, err)
			}
			mend()
			if err := before.Leaks(5 * time.Second); err != nil {
				t.Errorf("mended: %v", err)
			}
		})
	}
}
