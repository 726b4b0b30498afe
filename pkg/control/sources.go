package control

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/xlb-io/xlb/pkg/model"
)

// sourceRun is the run of source indexes of one family that new flows draw from.
type sourceRun struct{ first, n int }

func (s sourceRun) has(i uint32) bool { return int(i) >= s.first && int(i) < s.first+s.n }

// placeSources gives every source its index. A flow knows its source by index,
// so an address keeps the index it has, and one that is no longer wanted stays
// until no flow uses it. The data plane draws from a run of one family: IPv4
// grows from the lowest index up, IPv6 from the highest down.
func (r *round) placeSources() (runs map[bool]sourceRun, err error) {
	wanted := r.Settings.Sources
	if len(wanted) == 0 {
		wanted = r.AutoSources
	}
	wanted = slices.Clone(wanted)
	slices.SortFunc(wanted, netip.Addr.Compare)
	wanted = slices.Compact(wanted)

	taken := make(map[uint32]bool, len(r.Present.Sources))
	for i := range r.Present.Sources {
		taken[i] = true
	}
	runs = map[bool]sourceRun{}
	placed := map[netip.Addr]bool{}
	for _, is4 := range []bool{true, false} {
		place := &placement{round: r, up: is4, at: map[netip.Addr]uint32{}, taken: taken}
		for _, a := range wanted {
			if a.Is4() == is4 {
				place.wanted = append(place.wanted, a)
				placed[a] = true
			}
		}
		if err := place.place(); err != nil {
			return nil, err
		}
		run := place.run()
		runs[is4] = run
		for a, i := range place.at {
			r.plan.Contents.Sources[i] = a
			if run.has(i) {
				r.plan.DrawnFrom = append(r.plan.DrawnFrom, a)
			} else {
				r.plan.Warnings = append(r.plan.Warnings, fmt.Sprintf("source %s is not used for new flows until flows of removed sources have ended", a))
			}
		}
	}
	slices.SortFunc(r.plan.DrawnFrom, netip.Addr.Compare)
	for i, a := range r.Present.Sources {
		if !placed[a] && !r.IdleSources[a] {
			r.plan.Contents.Sources[i] = a
		}
	}
	return runs, nil
}

// placement is the placing of one family's sources.
type placement struct {
	*round
	wanted []netip.Addr
	up     bool
	at     map[netip.Addr]uint32
	taken  map[uint32]bool // indexes that Present or the plan holds
}

func (p *placement) place() error {
	for i := range p.Sizes.Sources {
		a, ok := p.Present.Sources[uint32(i)]
		if _, double := p.at[a]; ok && !double && slices.Contains(p.wanted, a) {
			p.at[a] = uint32(i)
		}
	}
	fresh := make([]netip.Addr, 0, len(p.wanted))
	for _, a := range p.wanted {
		if _, ok := p.at[a]; !ok {
			fresh = append(fresh, a)
		}
	}
	if len(fresh) > 0 && len(p.at) == 0 {
		p.start(fresh[0], len(fresh))
		fresh = fresh[min(len(p.at), len(fresh)):]
	}
	for _, a := range fresh {
		i, ok := p.beside()
		if !ok {
			i, ok = p.anywhere()
		}
		if !ok {
			return fmt.Errorf("source %s: more sources than the %d that the maps have room for, those with flows left included (raise max_sources and restart)",
				a, p.Sizes.Sources)
		}
		p.put(a, i)
	}
	// A source apart from the run that no flow uses can move to it.
	for _, a := range p.wanted {
		if p.run().has(p.at[a]) || !p.IdleSources[a] {
			continue
		}
		if i, ok := p.beside(); ok {
			p.put(a, i)
		}
	}
	return nil
}

func (p *placement) put(a netip.Addr, i uint32) {
	p.at[a] = i
	p.taken[i] = true
}

// start puts the first source where n of them fit, or most of them.
func (p *placement) start(a netip.Addr, n int) {
	best, most := -1, 0
	for k := range p.Sizes.Sources {
		from, room := p.index(k), 0
		for j := k; j < p.Sizes.Sources && room < n && !p.taken[p.index(j)]; j++ {
			room++
		}
		if room > most {
			best, most = int(from), room
		}
	}
	if best >= 0 {
		p.put(a, uint32(best))
	}
}

// index is the k-th index in the order of the family.
func (p *placement) index(k int) uint32 {
	if p.up {
		return uint32(k)
	}
	return uint32(p.Sizes.Sources - 1 - k)
}

// beside returns a free index next to the run.
func (p *placement) beside() (uint32, bool) {
	run := p.run()
	ends := []int{run.first + run.n, run.first - 1}
	if !p.up {
		slices.Reverse(ends)
	}
	for _, i := range ends {
		if run.n > 0 && i >= 0 && i < p.Sizes.Sources && !p.taken[uint32(i)] {
			return uint32(i), true
		}
	}
	return 0, false
}

func (p *placement) anywhere() (uint32, bool) {
	for k := range p.Sizes.Sources {
		if i := p.index(k); !p.taken[i] {
			return i, true
		}
	}
	return 0, false
}

// run is the longest run of indexes; of equal ones the lowest.
func (p *placement) run() (best sourceRun) {
	indexes := make([]int, 0, len(p.at))
	for _, i := range p.at {
		indexes = append(indexes, int(i))
	}
	slices.Sort(indexes)
	var now sourceRun
	for _, i := range indexes {
		if now.n > 0 && i == now.first+now.n {
			now.n++
		} else {
			now = sourceRun{i, 1}
		}
		if now.n > best.n {
			best = now
		}
	}
	return best
}

// sourcesOf returns the run that a service draws from; empty if it needs none.
func sourcesOf(s model.Service, runs map[bool]sourceRun) sourceRun {
	if s.Forward != model.NAT || len(s.Frontends) == 0 {
		return sourceRun{}
	}
	return runs[s.Frontends[0].VIP.Is4()]
}
