package demo

import "net/netip"

// Screen is where the demo shows what happens. Its methods are called one at a
// time.
type Screen interface {
	// Step begins a step with a sentence on what it does.
	Step(sentence string)
	// Say tells what just happened.
	Say(sentence string)
	// Table shows the backends. It is called some ten times a second; each
	// table takes the place of the one before, and the last before a Say or
	// a Step stays.
	Table(t Table)
}

// Table is what the backends do at a moment.
type Table struct {
	// Counts are the names of the columns of [Row.Counts].
	Counts []string
	Rows   []Row
	// Note is a line below the table.
	Note string
}

// Row is a backend.
type Row struct {
	Name    string
	Address netip.Addr
	Weight  int
	// State is the daemon's word, one of the State constants of package api,
	// and Reason its explanation. They are the last known while the daemon is
	// dead.
	State, Reason string
	// Counts are requests answered in this step.
	Counts []int
	// Share is its part of all answers of this step, 0 to 1.
	Share float64
}

// blank shows nothing.
type blank struct{}

func (blank) Step(string) {}
func (blank) Say(string)  {}
func (blank) Table(Table) {}
