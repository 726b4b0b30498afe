package discovery

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/xlb-io/xlb/internal/statefile"
	"github.com/xlb-io/xlb/pkg/model"
)

// cache keeps the last answers in a file, so that a daemon that is started
// while a source is down has the backends that its predecessor had. It is an
// aid: what goes wrong with it is logged, and nothing else.
type cache struct {
	path string
	log  *slog.Logger

	mu      sync.Mutex
	answers map[workerKey]cachedAnswer
	write   *time.Timer // nil while the file holds the answers
	older   bool        // the file has them, with times that are past
	written sync.WaitGroup
	closed  bool
}

type cachedAnswer struct {
	Service  string          `json:"service"`
	Source   string          `json:"source"`
	At       time.Time       `json:"at"`
	Backends []model.Backend `json:"backends"`
}

// cacheDelay is how long answers are gathered before the file is written.
const cacheDelay = time.Second

func openCache(path string, log *slog.Logger) *cache {
	c := &cache{path: path, log: log, answers: map[workerKey]cachedAnswer{}}
	data, err := os.ReadFile(path)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			log.Warn("cannot read the last answers of discovery", "error", err)
		}
		return c
	}
	var list []cachedAnswer
	if err := json.Unmarshal(data, &list); err != nil {
		log.Warn("cannot read the last answers of discovery", "file", path, "error", err)
		return c
	}
	for _, a := range list {
		c.answers[workerKey{a.Service, a.Source}] = a
	}
	return c
}

// Cached returns, by the names of the services, the backends that a manager with
// that cache would begin with, and, in words, for which sources it has none.
func Cached(path string, services []model.Service, log *slog.Logger) (found map[string][]model.Backend, missing []string) {
	c := openCache(path, log)
	frontends := frontendsOf(services)
	found = make(map[string][]model.Backend, len(services))
	for _, s := range services {
		found[s.Name], _ = join(s, frontends, func(source string) []model.Backend {
			backends, at := c.get(workerKey{s.Name, source})
			if at.IsZero() {
				missing = append(missing, fmt.Sprintf("service %q: source %q has not answered yet", s.Name, source))
			}
			return backends
		})
	}
	return found, missing
}

func (c *cache) get(key workerKey) ([]model.Backend, time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	a, ok := c.answers[key]
	if !ok {
		return nil, time.Time{}
	}
	return a.Backends, a.At
}

func (c *cache) put(key workerKey, backends []model.Backend, at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.answers[key] = cachedAnswer{Service: key.service, Source: key.source, At: at, Backends: backends}
	c.later()
}

// renew notes that an answer was heard once more. That alone is written at the end
// only: the file may be large.
func (c *cache) renew(key workerKey, at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if a, ok := c.answers[key]; ok {
		a.At, c.older = at, true
		c.answers[key] = a
	}
}

// retain forgets sources that are no longer configured.
func (c *cache) retain(services map[string]*watched) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for key := range c.answers {
		if s := services[key.service]; s == nil || s.workers[key.source] == nil {
			delete(c.answers, key)
			c.later()
		}
	}
}

// later writes the file soon. The caller holds the lock.
func (c *cache) later() {
	if c.write != nil || c.closed {
		return
	}
	c.written.Add(1)
	c.write = time.AfterFunc(cacheDelay, func() {
		defer c.written.Done()
		c.save()
	})
}

// close writes what is not written yet.
func (c *cache) close() {
	c.mu.Lock()
	due := c.older && !c.closed
	c.closed = true
	if c.write != nil && c.write.Stop() {
		due = true
		c.written.Done()
	}
	c.mu.Unlock()
	c.written.Wait() // one that has begun may be older
	if due {
		c.save()
	}
}

// save replaces the file, so that a crash leaves the old or the new one.
func (c *cache) save() {
	c.mu.Lock()
	c.write, c.older = nil, false
	list := make([]cachedAnswer, 0, len(c.answers))
	for _, a := range c.answers {
		list = append(list, a)
	}
	c.mu.Unlock()
	slices.SortFunc(list, func(a, b cachedAnswer) int {
		return cmp.Or(cmp.Compare(a.Service, b.Service), cmp.Compare(a.Source, b.Source))
	})
	data, err := json.Marshal(list)
	if err == nil {
		err = statefile.Replace(c.path, append(data, '\n'))
	}
	if err != nil {
		c.log.Warn("cannot keep the last answers of discovery", "error", err)
	}
}
