package demo

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/xlb-io/xlb/internal/testlab"
)

// downloadRate is in bytes a second: slow enough for a download to last, fast
// enough for a piece every few milliseconds.
const downloadRate = 256 << 10

// download is a long answer whose every byte is checked.
type download struct {
	// backend is the one that sends it.
	backend string

	got  atomic.Int64
	over chan struct{}
	err  error
	// cancel ends it early.
	cancel context.CancelFunc
}

// startDownload begins a download that lasts so long and returns when its
// first bytes are on the way.
func (d *demo) startDownload(ctx context.Context, k kind, lasts time.Duration) (*download, error) {
	size := int64(lasts.Seconds() * downloadRate)
	ctx, cancel := context.WithCancel(ctx)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("%sslow?bytes=%d&rate=%d", k.url, size, downloadRate), nil)
	if err != nil {
		cancel()
		return nil, err
	}
	response, err := d.net.patient.Do(request)
	if err != nil {
		cancel()
		return nil, fmt.Errorf("start a download: %w", err)
	}
	l := &download{backend: response.Header.Get(testlab.BackendHeader), over: make(chan struct{}), cancel: cancel}
	d.background.Go(func() {
		defer close(l.over)
		defer cancel()
		defer response.Body.Close()
		_, l.err = testlab.VerifyBody(&counted{response.Body, &l.got}, size)
	})
	return l, nil
}

// ended says whether the download is over, for good or ill.
func (l *download) ended() bool {
	select {
	case <-l.over:
		return true
	default:
		return false
	}
}

// counted counts what is read.
type counted struct {
	io.Reader
	n *atomic.Int64
}

func (c *counted) Read(b []byte) (int, error) {
	n, err := c.Reader.Read(b)
	c.n.Add(int64(n))
	return n, err
}

// running counts the downloads that are not over.
func running(all []*download) (n int) {
	for _, l := range all {
		if !l.ended() {
			n++
		}
	}
	return n
}

// progress is the number of bytes each download has got.
func progress(all []*download) []int64 {
	got := make([]int64, len(all))
	for i, l := range all {
		got[i] = l.got.Load()
	}
	return got
}

// flowing says whether every download has got more bytes than before.
func flowing(all []*download, before []int64) bool {
	for i, n := range progress(all) {
		if n <= before[i] {
			return false
		}
	}
	return true
}

// interrupted counts downloads, all over, that did not come to a right end.
func interrupted(all []*download) (n int, first error) {
	for _, l := range all {
		if l.err == nil {
			continue
		}
		if n == 0 {
			first = l.err
		}
		n++
	}
	return n, first
}
