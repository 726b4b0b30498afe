package backendhost

import "net/netip"

// Problem is something that keeps a server from working as a backend.
type Problem struct {
	What string `json:"what"`
	// Mend is a command line that mends it.
	Mend string `json:"mend"`

	// byHand: Apply refuses, as mending would touch what is the operator's.
	byHand bool
}

// item is one thing that a backend needs.
type item interface {
	// look says what is wrong; nil: nothing.
	look() (*Problem, error)
	// record is what it takes to bring back what there is now.
	record() (*record, error)
	// put mends what look found and says what it did. It may add to the record,
	// which is stored once before and once after.
	put(*record) (string, error)
	// keys are those of all records that this item may make.
	keys() []string
}

// items are what c needs, in the order in which they are put right: silence
// before there is something to be silent about, and the VIPs last, for then
// everything they need is there.
func items(c *Config, s *state) ([]item, error) {
	list := []item{upItem{"lo"}, upItem{c.Interface}}
	if c.has(netip.Addr.Is6) {
		list = append(list, ipv6Enabled("lo"), ipv6Enabled(c.Interface))
	}
	if c.has(netip.Addr.Is4) {
		list = append(list, arpIgnore(c.Interface), arpAnnounce(c.Interface), reversePath(c.Interface))
	}
	for _, v := range c.VIPs {
		list = append(list, conflictItem{v, c.Interface})
	}
	if c.Tunnels() {
		sizes, err := segmentSizes(c)
		if err != nil {
			return nil, err
		}
		if sizes != nil {
			list = append(list, &tableItem{c.VIPs, *sizes})
		}
		list = append(list, &hookItem{config: c, state: s})
	}
	for _, v := range c.VIPs {
		list = append(list, addressItem{v})
	}
	return list, nil
}
