package discovery

import (
	"context"
	"slices"
	"time"

	"github.com/xlb-io/xlb/pkg/model"
)

// Static is the source of the backends that the configuration lists. It sends
// them once.
func Static(service model.Service) ServiceSource {
	return &static{service: service.Name, backends: slices.Clone(service.Backends)}
}

type static struct {
	service  string
	backends []model.Backend
}

func (s *static) String() string { return "static" }

func (s *static) Run(ctx context.Context, updates chan<- Update) error {
	u := Update{Service: s.service, Source: s.String(), Backends: slices.Clone(s.backends), At: time.Now()}
	select {
	case updates <- u:
	case <-ctx.Done():
		return ctx.Err()
	}
	<-ctx.Done()
	return ctx.Err()
}
