package demo

import (
	"context"
	"fmt"
	"net/netip"
	"time"
)

const (
	// balanceRequests of every kind: enough for shares of a few per cent's
	// precision.
	balanceRequests = 400
	balanceRate     = 500
	// loadRate is the requests a second of the steps that follow.
	loadRate = 300
	// patience with what must happen soon.
	patience = 20 * time.Second
)

// balance sends requests of every kind and compares the backends' shares with
// their weights.
func (d *demo) balance(ctx context.Context) error {
	d.Screen.Step("Balance: real HTTP requests and UDP echoes, each a connection of its own")
	kinds := d.net.kinds
	l := startLoad(ctx, kinds, balanceRate, balanceRequests*len(kinds))
	defer l.end()
	d.show(l, nil)
	if err := d.until(ctx, "all requests are answered", time.Minute, func() (bool, error) { return l.ended(), nil }); err != nil {
		return err
	}
	answers := l.end()
	f := &d.figures
	f.Requests, f.PerBackend, f.Weights = len(answers), map[netip.Addr]int{}, map[netip.Addr]int{}
	var first error
	f.Failed, first = failures(answers)
	f.noneFailed(f.Failed, "while nothing was wrong", first)
	counts := make([][]int, len(kinds))
	for k := range kinds {
		counts[k] = make([]int, len(d.net.Backends))
	}
	for i, b := range d.net.Backends {
		f.PerBackend[b.IP4], f.Weights[b.IP4] = 0, weights[i]
		for _, a := range answers {
			if a.err == nil && a.backend == b.Name {
				counts[a.kind][i]++
				f.PerBackend[b.IP4]++
			}
		}
	}
	verdict := "as the weights 1:1:3 say"
	for k := range kinds {
		if err := inProportion(counts[k], weights); err != nil {
			f.broken("%s is out of balance: %v", kinds[k].name, err)
			verdict = "not as the weights 1:1:3 say"
		}
	}
	d.say(ctx, "Balanced %s: %s.", verdict, d.shares())
	return nil
}

func (d *demo) shares() string {
	var text string
	answered := d.figures.Requests - d.figures.Failed
	for i, b := range d.net.Backends {
		if i > 0 {
			text += ", "
		}
		text += fmt.Sprintf("%.1f%%", 100*float64(d.figures.PerBackend[b.IP4])/float64(max(1, answered)))
	}
	return text
}
