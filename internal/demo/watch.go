package demo

import (
	"context"
	"fmt"
	"time"
)

// view is what the table shows now.
type view struct {
	load *load
	// since: only requests that began later.
	since time.Time
	// note is the line below, after the numbers of requests; nil for none.
	note func() string
}

const (
	pollEvery = 10 * time.Millisecond
	drawEvery = 100 * time.Millisecond
)

// show makes the table count the requests of a load from now on.
func (d *demo) show(l *load, note func() string) {
	d.view = view{load: l, since: time.Now(), note: note}
}

// until waits for a condition, and draws meanwhile. What, such as "it is
// ready", is for the error.
func (d *demo) until(ctx context.Context, what string, within time.Duration, is func() (bool, error)) error {
	deadline := time.Now().Add(within)
	poll := time.NewTicker(pollEvery)
	defer poll.Stop()
	var drawn time.Time
	for {
		ok, err := is()
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			return err
		case ok:
			return nil
		case time.Now().After(deadline):
			return fmt.Errorf("not within %s: %s", within, what)
		}
		if time.Since(drawn) >= drawEvery {
			d.draw(ctx)
			drawn = time.Now()
		}
		if !next(ctx, poll.C) {
			return ctx.Err()
		}
	}
}

// pause lets the load run for a while.
func (d *demo) pause(ctx context.Context, length time.Duration) error {
	end := time.Now().Add(length)
	return d.until(ctx, "time passes", length+time.Minute, func() (bool, error) { return time.Now().After(end), nil })
}

// draw shows the table as it is now.
func (d *demo) draw(ctx context.Context) {
	if d.view.load == nil {
		return
	}
	// Without a daemon the states stay the last known.
	_ = d.look(ctx)
	d.Screen.Table(d.table())
}

func (d *demo) table() Table {
	l := d.view.load
	var t Table
	for _, k := range l.kinds {
		t.Counts = append(t.Counts, k.name)
	}
	for i, b := range d.net.Backends {
		t.Rows = append(t.Rows, Row{Name: b.Name, Address: b.IP4, Weight: weights[i], Counts: make([]int, len(l.kinds)),
			State: d.states[i].state, Reason: d.states[i].reason})
	}
	answered, failed := 0, 0
	for _, a := range l.sofar() {
		if a.began.Before(d.view.since) {
			continue
		}
		if a.err != nil {
			failed++
			continue
		}
		for i := range t.Rows {
			if t.Rows[i].Name == a.backend {
				t.Rows[i].Counts[a.kind]++
				answered++
			}
		}
	}
	for i := range t.Rows {
		n := 0
		for _, c := range t.Rows[i].Counts {
			n += c
		}
		t.Rows[i].Share = float64(n) / float64(max(1, answered))
	}
	t.Note = fmt.Sprintf("%d requests, %d failed", answered+failed, failed)
	if d.view.note != nil {
		t.Note += "; " + d.view.note()
	}
	return t
}

// say draws the last state of the table and ends it with a sentence.
func (d *demo) say(ctx context.Context, format string, args ...any) {
	d.draw(ctx)
	d.view = view{}
	d.Screen.Say(fmt.Sprintf(format, args...))
}
