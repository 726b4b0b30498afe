package discovery

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/xlb-io/xlb/pkg/model"
)

const (
	// etcdCheck is how often a watch that says nothing is doubted: a member that
	// hangs, or that lost the others, keeps its connections.
	etcdCheck = 30 * time.Second
	// etcdSteady is how long a member must have served for its loss to be no
	// reason to pause before the next is asked.
	etcdSteady = time.Second
)

// etcdSource reads the keys under a prefix and then watches them. A key holds
// one backend.
type etcdSource struct {
	backend model.Backend
	query   model.EtcdSource
	check   time.Duration
	next    int // the endpoint to ask
}

func newEtcd(s model.Source) Source {
	return &etcdSource{backend: s.Backend, query: s.Etcd, check: etcdCheck}
}

func (e *etcdSource) String() string {
	return fmt.Sprintf("etcd prefix %s at %s", e.query.Prefix, strings.Join(e.query.Endpoints, ", "))
}

// Run follows one endpoint, and when that fails the next. It ends when none is
// left to be tried.
func (e *etcdSource) Run(ctx context.Context, emit Emit) error {
	var failures []string
	for len(failures) < len(e.query.Endpoints) {
		endpoint, served := e.query.Endpoints[e.next], time.Time{}
		err := e.follow(ctx, endpoint, func(backends []model.Backend, warnings ...string) {
			if served.IsZero() {
				served = time.Now()
			}
			emit(backends, warnings...)
		})
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if !served.IsZero() && time.Since(served) > etcdSteady {
			failures = failures[:0]
		}
		failures = append(failures, fmt.Sprintf("%s: %v", endpoint, err))
		e.next = (e.next + 1) % len(e.query.Endpoints)
	}
	return errors.New(strings.Join(failures, "; "))
}

// follow reads all keys and applies what is written after that. It always
// begins with all: what was written meanwhile may be compacted, and the state
// may be another one, restored from a copy.
func (e *etcdSource) follow(ctx context.Context, endpoint string, emit Emit) error {
	c := newEtcdClient(e.query, endpoint)
	defer c.close()
	if err := c.authenticate(ctx); err != nil {
		return err
	}
	for {
		keys := etcdKeys{base: e.backend, values: make(map[string]etcdValue)}
		pairs, revision, err := c.read(ctx)
		if err != nil {
			return err
		}
		for _, p := range pairs {
			keys.put(p)
		}
		if err := keys.emit(emit); err != nil {
			return err
		}
		if err := e.watch(ctx, c, keys, revision, emit); !errors.Is(err, errCompacted) {
			return err
		}
	}
}

// watch applies what happens after a revision, until something fails.
func (e *etcdSource) watch(ctx context.Context, c *etcdClient, keys etcdKeys, revision int64, emit Emit) error {
	ctx, cancel := context.WithCancel(ctx)
	stream, err := c.watch(ctx, revision+1)
	if err != nil {
		cancel()
		return err
	}
	defer stream.wait()
	defer cancel()
	ticker := time.NewTicker(e.check)
	defer ticker.Stop()
	for {
		select {
		case m := <-stream.messages:
			for more := true; more; {
				if m.err != nil {
					return m.err
				}
				revision = max(revision, m.revision)
				keys.apply(m.events)
				// A burst is one answer.
				select {
				case m = <-stream.messages:
				default:
					more = false
				}
			}
		case <-ticker.C:
			now, err := c.revision(ctx)
			if err != nil {
				return err
			}
			if now < revision {
				return fmt.Errorf("revision went back from %d to %d (restored from a copy?)", revision, now)
			}
		case <-ctx.Done():
			return ctx.Err()
		}
		if err := keys.emit(emit); err != nil {
			return err
		}
	}
}

// etcdKeys is what is known of the keys under the prefix.
type etcdKeys struct {
	base   model.Backend
	values map[string]etcdValue
}

type etcdValue struct {
	backend model.Backend
	err     error
}

func (k etcdKeys) put(p etcdPair) {
	b, err := parseBackend(p.Value, k.base)
	k.values[string(p.Key)] = etcdValue{b, err}
}

func (k etcdKeys) apply(events []etcdEvent) {
	for _, e := range events {
		if e.Type == "DELETE" {
			delete(k.values, string(e.Pair.Key))
		} else {
			k.put(e.Pair)
		}
	}
}

// emit passes on what can be understood. That nothing can, of something, is an
// error.
func (k etcdKeys) emit(emit Emit) error {
	backends := make([]model.Backend, 0, len(k.values))
	var warnings []string
	for key, v := range k.values {
		if v.err != nil {
			warnings = append(warnings, fmt.Sprintf("key %s: %v", key, v.err))
		} else {
			backends = append(backends, v.backend)
		}
	}
	slices.Sort(warnings)
	if len(backends) == 0 && len(warnings) > 0 {
		return errors.New(warnings[0])
	}
	emit(backends, warnings...)
	return nil
}
