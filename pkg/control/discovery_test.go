package control

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/xlb-io/xlb/pkg/api"
	"github.com/xlb-io/xlb/pkg/discovery"
	"github.com/xlb-io/xlb/pkg/model"
)

// finder is a source of backends that tests feed.
type finder struct {
	service string
	feed    chan discovery.Update
}

func (f finder) String() string { return "test" }

func (f finder) Run(ctx context.Context, updates chan<- discovery.Update) error {
	for {
		select {
		case u := <-f.feed:
			u.Service, u.At = f.service, time.Now()
			select {
			case updates <- u:
			case <-ctx.Done():
				return ctx.Err()
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func TestDiscoveryDecides(t *testing.T) {
	feed := map[string]chan discovery.Update{"web": make(chan discovery.Update, 1), "b": make(chan discovery.Update, 1)}
	found := func(service string, backends ...string) {
		var list []model.Backend
		for _, b := range backends {
			list = append(list, model.Backend{Address: ap(b), Weight: 1})
		}
		feed[service] <- discovery.Update{Backends: list}
	}
	found("web", "10.0.0.7:80")
	d := start(t, newMemory(), web, func(p *parts) {
		p.source = func(s model.Service) discovery.ServiceSource { return finder{s.Name, feed[s.Name]} }
	})
	if got := d.states(t, "web"); len(got) != 1 || got["10.0.0.7:80"] != api.StateHealthy {
		t.Errorf("the first plan did not wait for discovery: %v", got)
	}
	feed["web"] <- discovery.Update{Err: errors.New("no answer")}
	eventually(t, func() string {
		r := strings.Join(d.status(t).Reasons, " ")
		return unless(r == "discovery_failed:web", "reasons %s", r)
	})
	if got := d.states(t, "web"); got["10.0.0.7:80"] != api.StateHealthy {
		t.Errorf("a failed source took its backends away: %v", got)
	}
	found("web", "10.0.0.8:80")
	eventually(t, func() string {
		got := d.states(t, "web")
		return unless(got["10.0.0.8:80"] == api.StateHealthy && len(d.status(t).Reasons) == 0, "%v", got)
	})
	d.write(t, web+"  b: {frontends: 'tcp://203.0.113.2:80', probe: none, backends: ['10.0.0.3:80']}\n")
	if err := d.Client.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := d.states(t, "web"); got["10.0.0.8:80"] != api.StateHealthy {
		t.Errorf("a reload forgot what discovery had found: %v", got)
	}
	found("b", "10.0.0.9:80")
	eventually(t, func() string {
		got := d.states(t, "b")
		return unless(got["10.0.0.9:80"] == api.StateHealthy, "%v", got)
	})
}
