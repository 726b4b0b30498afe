package maps

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
	return s.Apply(Diff(Contents{}, c))
}
