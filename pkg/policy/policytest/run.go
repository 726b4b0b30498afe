package policytest

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/xlb-io/xlb/pkg/model"
	"github.com/xlb-io/xlb/pkg/policy"
)

// Outcome is what became of a vector.
type Outcome struct {
	Name string `json:"name"`
	// Line is where the vector stands in its file.
	Line   int  `json:"line"`
	Passed bool `json:"passed"`
	// Differences say in which ways the answer was not the wanted one.
	Differences []string `json:"differences,omitempty"`
	// Log is what the policy logged, if it did not pass.
	Log []string `json:"log,omitempty"`
}

// Run asks the policy of a bundle each vector, in order, each of a policy that was
// loaded anew. The error says that nothing could be asked.
func Run(ctx context.Context, b *policy.Bundle, vectors []Vector) ([]Outcome, error) {
	// Compiled once for all vectors.
	cache, err := os.MkdirTemp("", "xlb-policytest-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(cache)
	var outcomes []Outcome
	for i := range vectors {
		v := &vectors[i]
		log := &lines{}
		o := Outcome{Name: v.Name, Line: v.Line}
		o.Differences = v.run(ctx, b, cache, slog.New(log.handler()))
		if err := ctx.Err(); err != nil {
			return outcomes, err
		}
		if o.Passed = len(o.Differences) == 0; !o.Passed {
			o.Log = log.all()
		}
		outcomes = append(outcomes, o)
	}
	return outcomes, nil
}

// subject is what a vector's questions are asked of.
type subject struct {
	policy *policy.Policy
	// worker answers flow; nil until it is needed.
	worker *policy.Worker
	// refused is why there is no policy.
	refused error
}

func (v *Vector) run(ctx context.Context, b *policy.Bundle, cache string, log *slog.Logger) []string {
	options := policy.Options{CacheDir: cache, Log: log}
	if !v.now.IsZero() {
		options.Clock = clockFrom(v.now)
	}
	r, err := policy.NewRuntime(ctx, options)
	if err != nil {
		return []string{err.Error()}
	}
	defer r.Close(context.WithoutCancel(ctx))
	s := &subject{}
	defer s.close(context.WithoutCancel(ctx))
	config := v.config
	check, isValidate := v.ask.(*validate)
	if isValidate {
		config = check.config
	}
	s.policy, s.refused = r.LoadBundle(ctx, b, spec(b, config, v.timeout))
	if isValidate {
		return v.ask.ask(ctx, s)
	}
	if s.refused != nil {
		return []string{s.refused.Error()}
	}
	for name, entries := range v.tables {
		if err := s.policy.SetTable(name, entries); err != nil {
			return []string{err.Error()}
		}
	}
	for _, q := range v.before {
		q.ask(ctx, s)
	}
	return v.ask.ask(ctx, s)
}

// spec is an operator's part that fits the bundle: each of its subsets is there,
// and stands for the tag of its name.
func spec(b *policy.Bundle, config []byte, timeout time.Duration) model.Policy {
	s := model.Policy{
		Name: b.Manifest.Name, Path: b.Path, Config: config, Timeout: timeout,
		OnError: model.ErrorContinue, Subsets: map[string]model.Subset{},
	}
	for _, name := range b.Manifest.Subsets {
		s.Subsets[name] = model.Subset{Tag: name}
	}
	return s
}

// clockFrom returns a clock that shows t now.
func clockFrom(t time.Time) func() time.Time {
	began := time.Now()
	return func() time.Time { return t.Add(time.Since(began)) }
}

func (s *subject) close(ctx context.Context) {
	if s.worker != nil {
		s.worker.Close(ctx)
	}
	if s.policy != nil {
		s.policy.Close(ctx)
	}
}

// lines is a log that is shown to a person who knows what it is about.
type lines struct{ text bytes.Buffer }

func (l *lines) handler() slog.Handler {
	return slog.NewTextHandler(&l.text, &slog.HandlerOptions{
		Level: slog.LevelDebug,
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey || a.Key == "policy" {
				return slog.Attr{}
			}
			return a
		},
	})
}

func (l *lines) all() []string {
	return strings.FieldsFunc(l.text.String(), func(r rune) bool { return r == '\n' })
}

// failure compares an error with the part of its text that is wanted; nil wants
// none. ok says that there was none and none was wanted.
func failure(err error, want *string) (differences []string, ok bool) {
	switch {
	case err == nil && want == nil:
		return nil, true
	case err == nil:
		return []string{fmt.Sprintf("there is no error, want one with %q", *want)}, false
	case want == nil:
		return []string{err.Error()}, false
	case !strings.Contains(err.Error(), *want):
		return []string{fmt.Sprintf("the error is %q, want one with %q", err, *want)}, false
	}
	return nil, false
}

// compare adds a difference if got is not what is wanted; nil wants nothing.
func compare[T comparable](differences *[]string, what string, got T, want *T) {
	if want != nil && got != *want {
		*differences = append(*differences, fmt.Sprintf("%s is %v, want %v", what, got, *want))
	}
}
