package discovery

import (
	"context"
	"fmt"
	"time"

	"github.com/xlb-io/xlb/pkg/model"
)

// Source watches one place where backends of a service come from.
//
// All that sources have in common is done once, by the [Manager]: it keeps the
// last good answer, ends it after stale_for, distrusts empty ones, waits for
// more changes, runs a source that failed again after a pause that grows,
// checks, sorts and counts backends. So a source asks, and says what it heard.
type Source interface {
	// Run emits the whole set of backends as soon as it knows it, and again each
	// time it hears of it, changed or not: that tells how old the answer is. It
	// goes on until ctx ends, when its error means nothing.
	//
	// An error that makes the answer doubtful ends Run: the last answer stays in
	// use, and Run is called again after a pause, on the same Source, so what is
	// worth keeping between runs may be kept in it. A Run that returns nil has
	// failed as well. Run never sleeps off an error by itself.
	//
	// When Run returns nothing of it is left: no goroutine, process, file or
	// connection.
	Run(ctx context.Context, emit Emit) error
	// String says what is watched, for people, in a few words and without
	// secrets: "consul service web at http://127.0.0.1:8500".
	String() string
}

// pauser is a source that knows better than a clock when it is worth another
// run.
type pauser interface {
	// pause waits until then, at most for d, or until ctx ends.
	pause(ctx context.Context, d time.Duration)
}

// Emit takes an answer: all backends there are, in any order. It copies them
// and does not wait. It is called by one goroutine at a time, and not after Run
// has returned.
//
// Each backend begins as a copy of [model.Source].Backend, of which the source
// replaces what it knows better; the port is that of the copy unless the source
// says one. Warnings name single backends that could not be understood, and
// why; the others are used. An answer of which nothing can be understood is an
// error of Run instead.
type Emit func(backends []model.Backend, warnings ...string)

// kinds are the source types there are. A new one is a file with its
// constructor, and a line here. A constructor does nothing but take notes; what
// can fail happens in Run.
var kinds = map[model.SourceType]func(model.Source) Source{
	model.SourceDNS:    newDNS,
	model.SourceSRV:    newSRV,
	model.SourceConsul: newConsul,
	model.SourceFile:   newFile,
	model.SourceExec:   newExec,
	model.SourceEtcd:   newEtcd,
}

// New returns the source that s defines. One of a type that is not known fails
// whenever it runs.
func New(s model.Source) Source {
	if construct, ok := kinds[s.Type]; ok {
		return construct(s)
	}
	return unknown(s.Type)
}

type unknown model.SourceType

func (u unknown) String() string { return string(u) }

func (u unknown) Run(context.Context, Emit) error {
	return fmt.Errorf("this xlb has no sources of type %q", string(u))
}
