package demo

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

const (
	crashLasts = 4500 * time.Millisecond
	// deadFor is how long there is no daemon, at least.
	deadFor = 1500 * time.Millisecond
)

// crash kills the daemon in the middle of downloads and starts another.
func (d *demo) crash(ctx context.Context) error {
	d.Screen.Step("Crash: kill -9 of the daemon in the middle of downloads")
	l := startLoad(ctx, d.net.kinds, loadRate, 0)
	defer l.end()
	var downloads []*download
	for _, k := range d.net.web() {
		one, err := d.startDownload(ctx, k, crashLasts)
		if err != nil {
			return err
		}
		downloads = append(downloads, one)
	}
	if err := d.until(ctx, "the downloads are under way", patience, func() (bool, error) { return flowing(downloads, make([]int64, len(downloads))), nil }); err != nil {
		return err
	}
	alive := false
	d.show(l, func() string {
		word := "dead"
		if alive {
			word = "alive"
		}
		return fmt.Sprintf("%d downloads, daemon %s", running(downloads), word)
	})
	killed := time.Now()
	if err := d.killDaemon(); err != nil {
		return err
	}
	before := progress(downloads)
	if err := d.pause(ctx, deadFor); err != nil {
		return err
	}
	if !flowing(downloads, before) {
		d.figures.broken("the downloads stood still while the daemon was dead")
	}
	status, err := d.startDaemon(ctx)
	if err != nil {
		return fmt.Errorf("start the daemon again: %w", err)
	}
	alive = true
	d.figures.CrashMS = time.Since(killed).Milliseconds()
	if !status.Adopted {
		d.figures.broken("the restarted daemon did not take over what the dead one left")
	}
	if err := d.until(ctx, "the downloads end", patience, func() (bool, error) { return running(downloads) == 0, nil }); err != nil {
		return err
	}
	answers := l.end()
	d.judgeCrash(answers, downloads)
	d.say(ctx, "%d of %d downloads went on, every byte right; %d new requests failed.",
		len(downloads)-d.figures.CrashInterrupted, len(downloads), d.figures.CrashFailed)
	if status.Adopted {
		d.Screen.Say(fmt.Sprintf("A new daemon took over what the dead one left, and was ready after %.1f s.", float64(d.figures.CrashMS)/1000))
	}
	return nil
}

func (d *demo) killDaemon() error {
	if err := d.process.Signal(unix.SIGKILL); err != nil {
		return err
	}
	<-d.process.Done()
	d.client.Close()
	d.client = nil
	return nil
}

func (d *demo) judgeCrash(answers []answer, downloads []*download) {
	f := &d.figures
	f.CrashRequests, f.CrashDownloads = len(answers), len(downloads)
	var first error
	f.CrashFailed, first = failures(answers)
	f.noneFailed(f.CrashFailed, "around the crash of the daemon", first)
	if f.CrashInterrupted, first = interrupted(downloads); f.CrashInterrupted > 0 {
		f.broken("%d downloads were cut off by the crash of the daemon (the first: %v)", f.CrashInterrupted, first)
	}
}
