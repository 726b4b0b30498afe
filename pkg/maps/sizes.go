package maps

import (
	"fmt"
	"math/bits"

	"github.com/cilium/ebpf"

	"github.com/xlb-io/xlb/bpf"
	"github.com/xlb-io/xlb/pkg/model"
)

// Port cells per flow: with all flows in use one cell in four is taken, so that
// the search for a free port rarely meets another backend's.
const cellsPerFlow = 4

// Sizes are the capacities of the maps.
type Sizes struct {
	// Services and Backends count number 0, which is never used.
	Services, Backends int
	// Frontends includes the source addresses.
	Frontends, Sources int
	// Table is the number of slots of a service's table.
	Table int
	// Flows is a power of two.
	Flows int
	// Affinities is the number of clients whose backend is remembered; 0 counts
	// as 1.
	Affinities int
}

// Subsets is how many subsets of services can have a table. Their numbers follow
// those of the services: the first is Services.
func (s Sizes) Subsets() int { return s.Services + subsetsBeside }

// There is room for a subset of each service, and for these where services are few
// and steer to many.
const subsetsBeside = 63

// SizesOf returns the capacities that settings ask for.
func SizesOf(s model.Settings) Sizes {
	return Sizes{
		Services:  s.MaxServices + 1,
		Backends:  s.MaxBackends + 1,
		Frontends: s.MaxFrontends + s.MaxSources,
		Sources:   s.MaxSources,
		Table:     s.TableSize,
		Flows:     1 << bits.Len(uint(max(s.FlowTableSize, bpf.PortCells)-1)),

		Affinities: max(s.AffinityTableSize, 1),
	}
}

// apply sets the maps' sizes in a specification from the compiled object.
func (s Sizes) apply(spec *ebpf.CollectionSpec) error {
	for name, n := range map[string]int{
		vips4Name: vipBucketCount(s.Frontends), vips6Name: vipBucketCount(s.Frontends),
		servicesName: s.Services, tablesName: s.Services + s.Subsets(), subsetsName: s.Subsets(),
		rulesName: s.Services, serviceRatesName: s.Services, serviceRefusedName: s.Services,
		serviceTrafficName: s.Services, serviceUpcallsName: s.Services, serviceLoadsName: s.Services + s.Subsets(), serviceOutcomeName: s.Services,
		backendsName: s.Backends, backendTrafficName: s.Backends, backendLoadsName: s.Backends, backendOutcomeName: s.Backends,
		quicServersName: s.Backends, affinitiesName: max(s.Affinities, 1),
		sourcesName: s.Sources,
		flowsName:   s.Flows / bpf.FlowWays,
		portsName:   s.Flows * cellsPerFlow / bpf.PortCells,
	} {
		m := spec.Maps[name]
		if m == nil {
			return fmt.Errorf("compiled object has no map %q", name)
		}
		m.MaxEntries = uint32(n)
	}
	spec.Maps[tablesName].InnerMap.ValueSize = uint32(s.Table) * 8
	return nil
}

func sizesOf(layout bpf.Layout, m map[string]*ebpf.Map) Sizes {
	return Sizes{
		Services:  int(m[servicesName].MaxEntries()),
		Backends:  int(m[backendsName].MaxEntries()),
		Frontends: int(layout.Frontends),
		Sources:   int(m[sourcesName].MaxEntries()),
		Table:     int(layout.TableSize),
		Flows:     int(layout.FlowSets) * bpf.FlowWays,

		Affinities: int(m[affinitiesName].MaxEntries()),
	}
}
