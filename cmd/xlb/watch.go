package main

import (
	"bytes"
	"net/netip"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/xlb-io/xlb/pkg/api"
	"github.com/xlb-io/xlb/pkg/maps"
)

// rates is what happened between two looks at the counters, per second.
type rates struct {
	At time.Time `json:"at"`
	// Seconds between the two looks.
	Seconds  float64        `json:"seconds"`
	Reasons  []namedRate    `json:"reasons"`
	Events   []eventRate    `json:"events"`
	Services []serviceRates `json:"services"`
	Backends []backendRates `json:"backends"`
}

type rate struct {
	Packets float64 `json:"packets_per_second"`
	Bytes   float64 `json:"bytes_per_second"`
}

type namedRate struct {
	Name string `json:"name"`
	rate
}

type eventRate struct {
	Name      string  `json:"name"`
	PerSecond float64 `json:"per_second"`
}

type trafficRates struct {
	// Flows is the number of live flows, not a rate.
	Flows    int     `json:"flows"`
	NewFlows float64 `json:"new_flows_per_second"`
	Request  rate    `json:"request"`
	Reply    rate    `json:"reply"`
	Dropped  rate    `json:"dropped"`
}

type serviceRates struct {
	Service string `json:"service"`
	ID      uint32 `json:"id"`
	trafficRates
}

type backendRates struct {
	Service string         `json:"service"`
	Address netip.AddrPort `json:"address"`
	ID      uint32         `json:"id"`
	trafficRates
}

// watch shows rates until the context ends, which is no failure. Each look
// asks anew, so it outlives a restart of the daemon.
func (e *env) watch(c *cli.Context, interval time.Duration) error {
	before, err := e.stats(c)
	if err != nil {
		return err
	}
	tick := time.NewTicker(interval)
	defer tick.Stop()
	if !c.Bool("json") && e.isTerminal {
		e.printf("measuring for %s …\n", humanDuration(interval))
	}
	for first := true; ; first = false {
		select {
		case <-c.Context.Done():
			return nil
		case <-tick.C:
		}
		now, err := e.stats(c)
		if c.Context.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		r := ratesBetween(before, now)
		before = now
		if c.Bool("json") {
			if err := e.printLine(r); err != nil {
				return err
			}
			continue
		}
		if err := e.draw(r, c.Bool("all"), first); err != nil {
			return err
		}
	}
}

// draw shows rates on a fresh screen, or below what was printed before. All is
// written at once, or the screen would flicker.
func (e *env) draw(r rates, all, first bool) error {
	var page bytes.Buffer
	to := *e
	to.stdout = &page
	switch {
	case e.isTerminal:
		const homeAndClear = "\x1b[H\x1b[2J"
		page.WriteString(homeAndClear)
	case !first:
		page.WriteByte('\n')
	}
	to.printf("%s, rates over %s\n\n", r.At.Format(time.TimeOnly), humanDuration(time.Duration(r.Seconds*float64(time.Second))))
	to.printRates(r, all)
	_, err := e.stdout.Write(page.Bytes())
	return writeError(err)
}

func (e *env) printRates(r rates, all bool) {
	reasons := &table{columns: []column{{name: "REASON"}, {name: "PACKETS", align: right}, {name: "BITS", align: right}}}
	for _, v := range r.Reasons {
		if all || v.Packets > 0 {
			reasons.add(cell{v.Name, reasonStyle(v.Name)}, humanRate(v.Packets), humanBits(v.Bytes))
		}
	}
	if len(reasons.rows) == 0 {
		e.printf("no packets\n")
	} else {
		e.printTable(reasons, "")
	}
	events := &table{columns: []column{{name: "EVENT"}, {name: "RATE", align: right}}}
	for _, v := range r.Events {
		if all || v.PerSecond > 0 {
			events.add(v.Name, humanRate(v.PerSecond))
		}
	}
	e.printSection(events)
	services := trafficTable("BITS", column{name: "SERVICE", shrinks: true})
	for _, v := range r.Services {
		services.add(append([]any{v.Service}, ratesRow(v.trafficRates)...)...)
	}
	e.printSection(services)
	backends := trafficTable("BITS", column{name: "SERVICE", shrinks: true}, column{name: "BACKEND"})
	for _, v := range r.Backends {
		backends.add(append([]any{orDash(v.Service), v.Address}, ratesRow(v.trafficRates)...)...)
	}
	e.printSection(backends)
}

func ratesRow(t trafficRates) []any {
	drops := cell{text: humanRate(t.Dropped.Packets)}
	if t.Dropped.Packets > 0 {
		drops.style = red
	}
	return []any{
		humanCount(uint64(t.Flows)), humanRate(t.NewFlows),
		humanRate(t.Request.Packets), humanBits(t.Request.Bytes),
		humanRate(t.Reply.Packets), humanBits(t.Reply.Bytes), drops,
	}
}

func reasonStyle(name string) style {
	if maps.IsDrop(name) {
		return red
	}
	return plain
}

func ratesBetween(before, now api.Stats) rates {
	seconds := now.At.Sub(before.At).Seconds()
	r := rates{At: now.At, Seconds: seconds, Reasons: []namedRate{}, Events: []eventRate{}, Services: []serviceRates{}, Backends: []backendRates{}}
	reasons := byName(before.Reasons)
	for _, v := range now.Reasons {
		r.Reasons = append(r.Reasons, namedRate{v.Name, countRate(reasons[v.Name], v.Count, seconds)})
	}
	events := byName(before.Events)
	for _, v := range now.Events {
		r.Events = append(r.Events, eventRate{v.Name, perSecond(events[v.Name].Packets, v.Packets, seconds)})
	}
	services := map[uint32]api.Traffic{}
	for _, v := range before.Services {
		services[v.ID] = v.Traffic
	}
	for _, v := range now.Services {
		r.Services = append(r.Services, serviceRates{v.Service, v.ID, trafficRate(services[v.ID], v.Traffic, v.Flows, seconds)})
	}
	backends := map[uint32]api.Traffic{}
	for _, v := range before.Backends {
		backends[v.ID] = v.Traffic
	}
	for _, v := range now.Backends {
		r.Backends = append(r.Backends, backendRates{v.Service, v.Address, v.ID, trafficRate(backends[v.ID], v.Traffic, v.Flows, seconds)})
	}
	return r
}

func byName(list []api.Counter) map[string]api.Count {
	m := make(map[string]api.Count, len(list))
	for _, c := range list {
		m[c.Name] = c.Count
	}
	return m
}

func trafficRate(before, now api.Traffic, flows int, seconds float64) trafficRates {
	return trafficRates{
		Flows:    flows,
		NewFlows: perSecond(before.FlowsCreated, now.FlowsCreated, seconds),
		Request:  countRate(before.Request, now.Request, seconds),
		Reply:    countRate(before.Reply, now.Reply, seconds),
		Dropped:  countRate(before.Dropped, now.Dropped, seconds),
	}
}

func countRate(before, now api.Count, seconds float64) rate {
	return rate{perSecond(before.Packets, now.Packets, seconds), perSecond(before.Bytes, now.Bytes, seconds)}
}

// perSecond takes a counter that went back for one that began anew.
func perSecond(before, now uint64, seconds float64) float64 {
	if now < before {
		before = 0
	}
	if seconds <= 0 {
		return 0
	}
	return float64(now-before) / seconds
}
