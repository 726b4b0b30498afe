package demo

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/xlb-io/xlb/pkg/api"
)

const (
	drainDownloads = 4
	drainLasts     = 3 * time.Second
)

// drain takes the heaviest backend out of service while it is in use.
func (d *demo) drain(ctx context.Context) error {
	const drained = 2
	name := d.net.Backends[drained].Name
	d.Screen.Step("Drain: " + name + " gets no new connections; those it has go on to their end")
	l := startLoad(ctx, d.net.web(), loadRate, 0)
	defer l.end()
	downloads, err := d.downloadsFrom(ctx, name, drainDownloads, drainLasts)
	if err != nil {
		return err
	}
	if err := d.steer(ctx, drained, func(service string, b api.Backend) error { return d.client.Drain(ctx, service, b.Address) }); err != nil {
		return fmt.Errorf("drain %s: %w", name, err)
	}
	since := time.Now()
	d.show(l, func() string { return fmt.Sprintf("%d downloads on %s", running(downloads), name) })
	if err := d.until(ctx, "the downloads end", patience, func() (bool, error) { return running(downloads) == 0, nil }); err != nil {
		return err
	}
	after := startLoad(ctx, d.net.web(), loadRate, 0)
	defer after.end()
	answers := l.end()
	strays := 0
	for _, a := range answers {
		if a.err == nil && a.backend == name && a.began.After(since) {
			strays++
		}
	}
	if strays > 0 {
		d.figures.broken("%d new requests went to the backend that was draining", strays)
	}
	cut, first := interrupted(downloads)
	if cut > 0 {
		d.figures.broken("%d downloads were cut off by the drain (the first: %v)", cut, first)
	}
	d.say(ctx, "%d of its %d downloads finished, every byte right; %d new requests went to it.", len(downloads)-cut, len(downloads), strays)

	d.show(after, nil)
	since = time.Now()
	if err := d.steer(ctx, drained, func(service string, b api.Backend) error { return d.client.Undrain(ctx, service, b.Address) }); err != nil {
		return fmt.Errorf("undrain %s: %w", name, err)
	}
	if err := d.until(ctx, name+" serves again", patience, func() (bool, error) { return after.since(since, name), nil }); err != nil {
		return err
	}
	if err := d.pause(ctx, 700*time.Millisecond); err != nil {
		return err
	}
	answers = append(answers, after.end()...)
	failed, first := failures(answers)
	d.figures.noneFailed(failed, "during drain and undrain", first)
	d.figures.DrainRequests, d.figures.DrainFailed = len(answers), failed+cut
	d.figures.DrainDownloads, d.figures.DrainInterrupted = len(downloads), cut
	d.say(ctx, "Undrained, it serves again; %d requests failed.", failed)
	return nil
}

// downloadsFrom starts downloads, in turn over IPv4 and IPv6, until so many
// come from one backend. Who serves is the balancer's choice, so others are
// started too, and ended.
func (d *demo) downloadsFrom(ctx context.Context, backend string, want int, lasts time.Duration) (kept []*download, err error) {
	web := d.net.web()
	for try := range 20 * want {
		l, err := d.startDownload(ctx, web[try%len(web)], lasts)
		if err != nil {
			return nil, err
		}
		if l.backend != backend {
			l.cancel()
			continue
		}
		if kept = append(kept, l); len(kept) == want {
			return kept, nil
		}
	}
	return nil, errors.New("the balancer gives " + backend + " no connections")
}
