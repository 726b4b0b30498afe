package maps

import (
	"maps"
	"slices"
)

// CopyFrom fills a new set with the decided contents of one of other sizes, so
// that traffic goes on while the control plane makes its first plan. Tables are
// resampled; flows and counters are not copied.
func (s *Set) CopyFrom(old *Set) error {
	c, err := old.Read()
	if err != nil {
		return err
	}
	for id, t := range c.Tables {
		c.Tables[id] = t.resample(s.Sizes().Table)
	}
	c.moveSubsets(s.Sizes().Services - old.Sizes().Services)
	return s.Apply(Diff(Contents{}, c))
}

// moveSubsets adds by to the numbers of subsets' tables, which begin behind those
// of the services.
func (c Contents) moveSubsets(by int) {
	if by == 0 {
		return
	}
	moved := func(number uint32) uint32 { return uint32(int(number) + by) }
	subsets, tables := map[uint32]Subset{}, map[uint32]Table{}
	for number, one := range c.Subsets {
		subsets[moved(number)] = one
		if t, ok := c.Tables[number]; ok {
			tables[moved(number)] = t
			delete(c.Tables, number)
		}
		delete(c.Subsets, number)
	}
	maps.Copy(c.Subsets, subsets)
	maps.Copy(c.Tables, tables)
	for id, rules := range c.Rules {
		rules = slices.Clone(rules)
		for i := range rules {
			if rules[i].Table != 0 {
				rules[i].Table = moved(rules[i].Table)
			}
		}
		c.Rules[id] = rules
	}
}
