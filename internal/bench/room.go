package bench

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/cilium/ebpf"

	"github.com/xlb-io/xlb/pkg/loader"
	"github.com/xlb-io/xlb/pkg/maps"
	"github.com/xlb-io/xlb/pkg/model"
)

// roomKind is a state of a flow table. Scenarios that need different ones take
// turns, so each state has a data plane of its own.
type roomKind int

const (
	steady   roomKind = iota // established flows
	large                    // the same, and room for a million
	counting                 // the same of what counts outcomes: beside the others' there is no room for all
	fresh                    // empty; new flows come and are forgotten
	full                     // as many flows as go in
	empty                    // none, and none comes
)

// largerBy is how many times the large room's flow table is larger.
const largerBy = 4

// room is the data plane, loaded, with a flow table.
type room struct {
	kind     roomKind
	set      *maps.Set
	programs *loader.Programs
	// The data plane's own, to empty between scenarios.
	flowMap, portMap *ebpf.Map
	// What stands between a new flow and the ring buffer.
	limitMap, heartbeatMap *ebpf.Map
	upcalls                *maps.UpcallReader
	flows                  int
	contents               maps.Contents
}

// room returns the room of that kind. It is called within the namespace.
func (st *stage) room(kind roomKind) (*room, error) {
	if r := st.rooms[kind]; r != nil {
		return r, nil
	}
	r := &room{kind: kind, flows: st.flowTable}
	if kind == large {
		r.flows *= largerBy
	}
	st.rooms[kind] = r // the stage closes it, half made or whole
	if err := r.load(st.contents); err != nil {
		return nil, fmt.Errorf("load the data plane with room for %d flows: %w", r.flows, err)
	}
	return r, r.open()
}

func (r *room) close() error {
	var errs []error
	if r.upcalls != nil {
		errs = append(errs, r.upcalls.Close())
	}
	for _, m := range []*ebpf.Map{r.flowMap, r.portMap, r.limitMap, r.heartbeatMap} {
		if m != nil {
			errs = append(errs, m.Close())
		}
	}
	if r.programs != nil {
		errs = append(errs, r.programs.Close())
	}
	if r.set != nil {
		errs = append(errs, r.set.Close())
	}
	return errors.Join(errs...)
}

func (r *room) load(all map[model.Forward]maps.Contents) (err error) {
	sizes := maps.Sizes{Table: tableSize, Flows: r.flows, Affinities: 1 << 20}
	for _, c := range all {
		sizes.Frontends, sizes.Sources = max(sizes.Frontends, len(c.VIPs)), max(sizes.Sources, len(c.Sources))
		for id := range c.Services {
			sizes.Services = max(sizes.Services, int(id)+1)
		}
		for id := range c.Backends {
			sizes.Backends = max(sizes.Backends, int(id)+1)
		}
	}
	if r.set, err = maps.New(sizes); err != nil {
		return err
	}
	r.programs, err = loader.LoadPrograms(r.set, model.Settings{
		NextHop: model.NextHopFIB, NATPorts: model.PortRange{First: 1024, Last: 32767},
	})
	return err
}

// begin puts a forwarding mode's services in the place of another's and empties
// the flow table. The daemon is away.
func (r *room) begin(c maps.Contents) error {
	if err := r.set.Away(); err != nil {
		return err
	}
	if err := r.set.Apply(maps.Diff(r.contents, c)); err != nil {
		return err
	}
	r.contents = c
	return r.forget()
}

// open gets at the flow table and the ports, which only the data plane writes.
func (r *room) open() error {
	info, err := r.programs.XDP.Info()
	if err != nil {
		return fmt.Errorf("ask for the program's maps: %w", err)
	}
	ids, _ := info.MapIDs()
	for _, id := range ids {
		m, err := ebpf.NewMapFromID(id)
		if err != nil {
			return fmt.Errorf("open map %d: %w", id, err)
		}
		info, err := m.Info()
		if err != nil {
			return errors.Join(err, m.Close())
		}
		switch info.Name {
		case "flows":
			r.flowMap = m
		case "ports":
			r.portMap = m
		case "service_upcalls":
			r.limitMap = m
		case "heartbeat":
			r.heartbeatMap = m
		default:
			if err := m.Close(); err != nil {
				return err
			}
		}
	}
	if r.flowMap == nil || r.portMap == nil || r.limitMap == nil || r.heartbeatMap == nil {
		return errors.New("the data plane has no maps called flows, ports, service_upcalls and heartbeat")
	}
	r.upcalls, err = r.set.Upcalls()
	return err
}

// listen makes the daemon there for good, the ring buffer empty and the service's
// limit unused.
func (r *room) listen(service uint32) error {
	const never = uint64(1 << 62) // a heartbeat that is not past in a century
	if err := errors.Join(r.heartbeatMap.Put(uint32(0), never), r.limitMap.Put(service, uint64(0))); err != nil {
		return err
	}
	r.upcalls.SetDeadline(time.Unix(1, 0)) // long ago: it waits for nothing
	var u maps.Upcall
	for {
		err := r.upcalls.Read(&u)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// forget empties the flow table.
func (r *room) forget() error {
	if err := zero[[256]byte](r.flowMap); err != nil {
		return err
	}
	return zero[[64]byte](r.portMap)
}

// zero overwrites an array map whose values have the size of V.
func zero[V any](m *ebpf.Map) error {
	const chunk = 4096
	keys, values := make([]uint32, chunk), make([]V, chunk)
	for at := uint32(0); at < m.MaxEntries(); at += chunk {
		n := min(chunk, m.MaxEntries()-at)
		for i := range n {
			keys[i] = at + i
		}
		if _, err := m.BatchUpdate(keys[:n], values[:n], nil); err != nil {
			return fmt.Errorf("empty %s: %w", m, err)
		}
	}
	return nil
}
