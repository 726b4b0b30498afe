package discovery

import (
	"cmp"
	"fmt"
	"math"
	"net/netip"
	"slices"

	"github.com/xlb-io/xlb/pkg/model"
)

// instance is what is read of an entry of Consul's health endpoint.
type instance struct {
	Node struct {
		Node    string
		Address string
		Meta    map[string]string
	}
	Service struct {
		ID      string
		Address string
		Port    int
		Tags    []string
		Meta    map[string]string
		Weights struct{ Passing int }
	}
}

// backends turns instances into backends. Those that cannot be used are named
// in warnings; that none of several can be is an error.
func (c *consulSource) backends(instances []instance) (backends []model.Backend, warnings []string, err error) {
	for _, i := range instances {
		// Consul before 1.3 looks at one tag only.
		if !i.hasAll(c.query.Tags) {
			continue
		}
		b, err := c.of(i)
		if err != nil {
			warnings = append(warnings, fmt.Sprintf("instance %s on %s: %v", i.Service.ID, i.Node.Node, err))
			continue
		}
		backends = append(backends, b)
	}
	if len(backends) == 0 && len(warnings) > 0 {
		return nil, nil, fmt.Errorf("no instance can be used: %s", warnings[0])
	}
	return backends, warnings, nil
}

func (i instance) hasAll(tags []string) bool {
	for _, tag := range tags {
		if !slices.Contains(i.Service.Tags, tag) {
			return false
		}
	}
	return true
}

// of is the backend of one instance. What its registration does not say is as
// in the configuration.
func (c *consulSource) of(i instance) (model.Backend, error) {
	b := c.backend
	text := i.Service.Address
	if text == "" {
		text = i.Node.Address
	}
	a, err := netip.ParseAddr(text)
	if err != nil {
		return b, fmt.Errorf("%q is not an IP address, and names are not looked up (register the service with an address)", text)
	}
	port := int(b.Address.Port())
	if i.Service.Port != 0 {
		port = i.Service.Port
	}
	if port < 1 || port > math.MaxUint16 {
		return b, fmt.Errorf("port %d (register one, or set port)", port)
	}
	b.Address = netip.AddrPortFrom(a, uint16(port))
	if w := i.Service.Weights.Passing; w > 0 {
		b.Weight = uint16(min(w, math.MaxUint16))
	}
	b.Zone = cmp.Or(i.meta(c.query.ZoneMeta), b.Zone)
	b.ServerID = i.meta(c.query.ServerIDMeta)
	b.Tags = model.TagsOf(append(b.Tags.List(), labels(i.Service.Tags)...)...)
	return b, nil
}

// meta is what the instance's metadata, or else its node's, says under a key; empty
// without a key.
func (i instance) meta(key string) string {
	if key == "" {
		return ""
	}
	return cmp.Or(i.Service.Meta[key], i.Node.Meta[key])
}

// labels are those tags that can be one of a backend. Other programs keep whole
// rules in theirs.
func labels(tags []string) []string {
	return slices.DeleteFunc(slices.Clone(tags), func(tag string) bool { return !model.ValidTag(tag) })
}
