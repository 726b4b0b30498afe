package backendhost

// Findings are what Check found.
type Findings struct {
	OK       bool      `json:"ok"`
	Config   *Config   `json:"config"`
	Problems []Problem `json:"problems"`
	// Counters are packets by what became of them; nil without a tunnel.
	Counters []Counter `json:"counters,omitempty"`
}

// Check says what keeps this host from being as c wants it, and changes
// nothing. A nil configuration is the one applied last.
func Check(c *Config, d Dirs) (Findings, error) {
	s, err := load(d)
	if err != nil {
		return Findings{}, err
	}
	if c, err = complete(c, s); err != nil {
		return Findings{}, err
	}
	list, err := items(c, s)
	if err != nil {
		return Findings{}, err
	}
	f := Findings{Config: c, Problems: []Problem{}}
	for _, i := range list {
		p, err := i.look()
		if err != nil {
			return Findings{}, err
		}
		if p != nil {
			f.Problems = append(f.Problems, *p)
		}
	}
	f.OK = len(f.Problems) == 0
	if c.Tunnels() {
		f.Counters, err = counters(d)
	}
	return f, err
}

// Status is what was applied.
type Status struct {
	// Config is nil if nothing was.
	Config *Config `json:"config"`
	// Void: it was before the last boot, and is no more.
	Void     bool          `json:"void"`
	Tunnel   *Tunnel       `json:"tunnel,omitempty"`
	MSS      *SegmentSizes `json:"mss,omitempty"`
	Counters []Counter     `json:"counters,omitempty"`
}

// Show returns what was applied, and what the tunnel counted since.
func Show(d Dirs) (Status, error) {
	s, err := load(d)
	if err != nil || s.Config == nil {
		return Status{}, err
	}
	show := Status{Config: s.Config, Void: s.void, Tunnel: s.tunnel()}
	if s.void || !s.Config.Tunnels() {
		return show, nil
	}
	if show.MSS, err = segmentSizes(s.Config); err != nil {
		return show, err
	}
	show.Counters, err = counters(d)
	return show, err
}
