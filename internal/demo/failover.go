package demo

import (
	"context"
	"time"
)

// failover kills a backend under load, waits until its probe has taken it out,
// and brings it back.
func (d *demo) failover(ctx context.Context) error {
	const victim = 0
	name := d.net.Backends[victim].Name
	d.Screen.Step("Failover: " + name + " is killed under load, and its probe takes it out")
	l := startLoad(ctx, d.net.web(), loadRate, 0)
	defer l.end()
	d.show(l, nil)
	if err := d.pause(ctx, 500*time.Millisecond); err != nil {
		return err
	}
	d.show(l, nil)
	killed := time.Now()
	if err := d.net.kill(victim); err != nil {
		return err
	}
	err := d.until(ctx, name+" is taken out of service", patience, func() (bool, error) {
		err := d.look(ctx)
		return d.states[victim].out, err
	})
	if err != nil {
		return err
	}
	out := time.Now()
	d.figures.FailoverMS = out.Sub(killed).Milliseconds()
	if err := d.pause(ctx, 700*time.Millisecond); err != nil {
		return err
	}
	// The load goes on while the last requests of the first part end.
	after := startLoad(ctx, d.net.web(), loadRate, 0)
	defer after.end()
	answers := d.judgeFailover(l.end(), killed, out)
	d.say(ctx, "Out of service %d ms after its death; %d of %d requests failed until then.",
		d.figures.FailoverMS, d.figures.FailoverFailed, d.figures.FailoverRequests)

	d.show(after, nil)
	revived := time.Now()
	if err := d.net.revive(victim); err != nil {
		return err
	}
	err = d.until(ctx, name+" is back", patience, func() (bool, error) {
		err := d.look(ctx)
		return d.states[victim].up && after.since(revived, name), err
	})
	if err != nil {
		return err
	}
	took := time.Since(revived)
	if err := d.pause(ctx, 700*time.Millisecond); err != nil {
		return err
	}
	answers = append(answers, after.end()...)
	var first error
	d.figures.ReturnRequests = len(answers)
	d.figures.ReturnFailed, first = failures(answers)
	d.figures.noneFailed(d.figures.ReturnFailed, "after the dead backend was taken out", first)
	d.say(ctx, "%s was restarted and serves again after %d ms; %d requests failed.", name, took.Milliseconds(), d.figures.ReturnFailed)
	return nil
}

// judgeFailover counts the requests that the death could hit, and returns those
// that began after the backend was out.
func (d *demo) judgeFailover(answers []answer, killed, out time.Time) (later []answer) {
	var before, hit []answer
	for _, a := range answers {
		switch {
		case a.ended.Before(killed):
			before = append(before, a)
		case a.began.After(out):
			later = append(later, a)
		default:
			hit = append(hit, a)
		}
	}
	failed, first := failures(before)
	d.figures.noneFailed(failed, "before the backend was killed", first)
	d.figures.FailoverRequests = len(hit)
	d.figures.FailoverFailed, _ = failures(hit)
	return later
}
