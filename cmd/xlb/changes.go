package main

import (
	"cmp"
	"fmt"
	"net/netip"
	"strings"

	"github.com/xlb-io/xlb/pkg/api"
	"github.com/xlb-io/xlb/pkg/maps"
)

// describe puts a difference of maps into words. name gives a service's name.
func describe(c maps.Changes, have, want maps.Contents, name func(uint32) string) []api.PlanChange {
	var out []api.PlanChange
	backend := func(id uint32) maps.Backend {
		if b, ok := want.Backends[id]; ok {
			return b
		}
		return have.Backends[id]
	}
	for _, s := range c.Sources {
		one := planChange("source", "", "", s.Key, s, netip.Addr.String)
		one.Key = cmp.Or(one.New, one.Old)
		out = append(out, one)
	}
	for _, s := range c.Services {
		out = append(out, planChange("service", name(s.Key), name(s.Key), s.Key, s, serviceText))
	}
	for _, v := range c.VIPs {
		if v.Key.Protocol == 0 && len(c.Sources) > 0 {
			continue // follows from the source
		}
		id := uint32(0)
		if v.New != nil {
			id = v.New.Service
		} else {
			id = v.Old.Service
		}
		service := ""
		if id != 0 {
			service = name(id)
		}
		out = append(out, planChange("frontend", service, v.Key.String(), 0, v, func(v maps.VIP) string { return vipText(v, name) }))
	}
	for _, b := range c.Backends {
		one := backend(b.Key)
		became := b.Old != nil && b.New != nil && (b.Old.Address != b.New.Address || b.Old.Service != b.New.Service)
		out = append(out, planChange("backend", name(one.Service), one.Address.String(), b.Key, b, func(v maps.Backend) string {
			text := "serves"
			if !v.Serves {
				text = "does not serve"
			}
			if became { // the number has a new owner
				text += fmt.Sprintf(" as %s of %s", v.Address, name(v.Service))
			}
			return text
		}))
	}
	for _, t := range c.Tables {
		change := planChange("table", name(t.Key), name(t.Key), t.Key, t, tableText)
		switch {
		case t.New != nil && t.Old != nil:
			change.Slots = len(*t.New)
			for i := range *t.New {
				if i >= len(*t.Old) || (*t.Old)[i] != (*t.New)[i] {
					change.Moved++
				}
			}
		case t.New != nil:
			change.Slots = len(*t.New)
		}
		out = append(out, change)
	}
	return out
}

func planChange[K comparable, V any](kind, service, key string, id uint32, c maps.Change[K, V], text func(V) string) api.PlanChange {
	p := api.PlanChange{Action: "change", Kind: kind, Service: service, Key: key, ID: id}
	if c.Old != nil {
		p.Old = text(*c.Old)
	} else {
		p.Action = "add"
	}
	if c.New != nil {
		p.New = text(*c.New)
	} else {
		p.Action = "delete"
	}
	return p
}

func serviceText(s maps.Service) string {
	text := "forward " + s.Forward.String()
	if s.Sources > 0 {
		text += fmt.Sprintf(", sources %d to %d", s.FirstSource, s.FirstSource+s.Sources-1)
	}
	t := s.Timeouts
	return text + fmt.Sprintf(", timeouts syn %s, established %s, fin %s, closed %s, udp %s", humanDuration(t.TCPSyn),
		humanDuration(t.TCPEstablished), humanDuration(t.TCPFin), humanDuration(t.TCPClosed), humanDuration(t.UDP))
}

func vipText(v maps.VIP, name func(uint32) string) string {
	var parts []string
	if v.Service != 0 {
		parts = append(parts, "service "+name(v.Service))
	}
	if v.Source != 0 {
		parts = append(parts, fmt.Sprintf("source number %d", v.Source-1))
	}
	return strings.Join(parts, ", ")
}

func tableText(t maps.Table) string {
	used := map[uint32]bool{}
	for _, id := range t {
		if id != 0 {
			used[id] = true
		}
	}
	return fmt.Sprintf("%s in %d slots", plural(len(used), "backend"), len(t))
}

// printChanges prints a line per change.
func (e *env) printChanges(changes []api.PlanChange) {
	signs := map[string]cell{"add": {"+", green}, "delete": {"-", red}, "change": {"~", yellow}}
	for _, c := range changes {
		sign, ok := signs[c.Action]
		if !ok {
			sign = cell{"?", plain}
		}
		what := ""
		if c.Service != "" && c.Service != c.Key {
			what = c.Service + " "
		}
		e.printf("%s %-8s %s\n", e.paint(sign.text, sign.style), c.Kind, printable(what+c.Key+detail(c)))
	}
}

// detail says what becomes of the thing.
func detail(c api.PlanChange) string {
	switch {
	case c.Kind == "table" && c.Action == "change":
		text := fmt.Sprintf(": %d of %d slots move", c.Moved, c.Slots)
		if c.Slots > 0 {
			text += fmt.Sprintf(" (%.1f%%)", 100*float64(c.Moved)/float64(c.Slots))
		}
		if c.Old != c.New {
			text += ", " + c.Old + " → " + c.New
		}
		return text
	case c.Old+c.New == c.Key, c.Old+c.New == "service "+c.Service:
		return "" // said already
	case c.Old != "" && c.New != "":
		return ": " + c.Old + " → " + c.New
	case c.Old+c.New != "":
		return ": " + c.Old + c.New
	}
	return ""
}
