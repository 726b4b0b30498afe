package discovery

import (
	"context"
	"time"

	"github.com/xlb-io/xlb/pkg/model"
)

// Source finds the backends of one service.
type Source interface {
	// Run sends a full snapshot each time the backends change, the first one
	// as soon as it knows them. An error that it can outlive, such as a server
	// that does not answer for a while, it sends as an Update with Err.
	//
	// Every send gives up when ctx ends, and so does Run, whose error then
	// means nothing. A Run that returns before is started again.
	Run(ctx context.Context, updates chan<- Update) error
	// String names the kind of source, in lower case: "static".
	String() string
}

// Update is what a source found.
type Update struct {
	Service string
	// Source is the kind of the source, by its name.
	Source string
	// Backends is the whole set, in the source's order. The receiver must not
	// change it.
	Backends []model.Backend
	// Err, when not nil, says that the source has failed; Backends is then
	// empty, and the last snapshot stays valid.
	Err error
	// At is when the source found it.
	At time.Time
}
