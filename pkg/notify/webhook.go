package notify

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"time"

	"github.com/xlb-io/xlb/pkg/model"
)

const (
	// firstPause and longestPause bound the time before a request is sent again.
	firstPause, longestPause = time.Second, time.Minute
	// maxAnswer is how much of an answer is read, so that its connection can be
	// used again.
	maxAnswer = 64 << 10
)

// sender sends requests to web servers.
type sender struct {
	client *http.Client
	// pause waits before the n-th repetition; false if ctx ended.
	pause func(ctx context.Context, n int) bool
}

func newSender() sender {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	return sender{pause: pause, client: &http.Client{
		Transport: transport,
		// A redirect is no success, and a POST is not to become a GET.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

func (s sender) close() { s.client.CloseIdleConnections() }

// pause waits 1 s, 2 s, 4 s and so on up to a minute, a tenth more or less.
func pause(ctx context.Context, n int) bool {
	d := longestPause
	if n < 7 {
		d = min(d, firstPause<<(n-1))
	}
	t := time.NewTimer(d - d/10 + rand.N(d/5))
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// errForGood is wrapped by errors that a repetition would not mend.
var errForGood = errors.New("not sent again")

// post tells a web server a change and says how often it had to be sent again.
func (s sender) post(ctx context.Context, h model.Hook, c Change) (retried int, err error) {
	text, err := c.document()
	if err != nil {
		return 0, err
	}
	for {
		err = s.once(ctx, h, text)
		if err == nil || errors.Is(err, errForGood) || retried == h.Retries {
			return retried, err
		}
		if !s.pause(ctx, retried+1) {
			return retried, err
		}
		retried++
	}
}

func (s sender) once(ctx context.Context, h model.Hook, text []byte) error {
	ctx, cancel := context.WithTimeout(ctx, h.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, h.Webhook, bytes.NewReader(text))
	if err != nil {
		return fmt.Errorf("%w: %w", errForGood, innermost(err))
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "xlb")
	for name, value := range h.Headers {
		req.Header.Set(name, value)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return fmt.Errorf("no answer within %s", h.Timeout)
		}
		return innermost(err)
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, maxAnswer)) // the status counts
	switch {
	case resp.StatusCode/100 == 2:
		return nil
	case resp.StatusCode == http.StatusRequestTimeout, resp.StatusCode == http.StatusTooManyRequests, resp.StatusCode >= 500:
		return fmt.Errorf("answered %s", resp.Status)
	}
	return fmt.Errorf("answered %s (%w)", resp.Status, errForGood)
}

// innermost leaves out the URL, which may hold a secret.
func innermost(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}
