package policytest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"

	"github.com/xlb-io/xlb/pkg/policy"
)

// maxRepeat is the most that a question may be repeated.
const maxRepeat = 1_000_000

// Vector is a question with the answer that is wanted.
type Vector struct {
	Name string
	// Line and Column are where it stands in its file.
	Line, Column int

	config json.RawMessage
	tables map[string][]policy.TableEntry
	now    time.Time
	// timeout of the policy; 0: the default.
	timeout time.Duration
	before  []question
	ask     question
}

// question is something to ask, as often as it says.
type question interface {
	// ask returns in which ways the answer is not the wanted one.
	ask(ctx context.Context, s *subject) (differences []string)
}

// Load reads the vectors in a file. If the file was read but is wrong, the error
// joins an [*Error] for each mistake.
func Load(path string) ([]Vector, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("cannot read the test vectors: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("cannot read the test vectors: %w", err)
	}
	return Parse(path, data)
}

// Parse reads vectors. The name is used in errors only.
func Parse(name string, data []byte) ([]Vector, error) {
	var raw []rawVector
	if err := decode(name, data, &raw); err != nil {
		return nil, err
	}
	if len(raw) == 0 {
		return nil, &Error{File: name, Line: 1, Column: 1, Message: "the file holds no vector"}
	}
	var mistakes []error
	seen := map[string]bool{}
	vectors := make([]Vector, 0, len(raw))
	for i := range raw {
		v, err := raw[i].vector()
		switch {
		case err == nil && seen[v.Name]:
			err = wrong(raw[i].at, "a second vector is called %q", v.Name)
			fallthrough
		case err != nil:
			mistakes = append(mistakes, located(name, err))
		}
		seen[v.Name] = true
		vectors = append(vectors, v)
	}
	if len(mistakes) > 0 {
		return nil, errors.Join(mistakes...)
	}
	return vectors, nil
}

// rawVector is a vector as it stands in the file.
type rawVector struct {
	at ast.Node

	Name     string                         `yaml:"name"`
	Config   *jsonValue                     `yaml:"config"`
	Tables   map[string]map[string]rawValue `yaml:"tables"`
	Now      *text[time.Time, *time.Time]   `yaml:"now"`
	Before   []rawQuestion                  `yaml:"before"`
	Repeat   *int                           `yaml:"repeat"`
	Flow     *rawFlow                       `yaml:"flow"`
	Weigh    *rawWeigh                      `yaml:"weigh"`
	Probe    *rawProbe                      `yaml:"probe"`
	Validate *jsonValue                     `yaml:"validate"`
	Want     *rawWant                       `yaml:"want"`
}

// UnmarshalYAML implements [yaml.NodeUnmarshaler].
func (v *rawVector) UnmarshalYAML(n ast.Node) error {
	type plain rawVector
	v.at = n
	return yaml.NodeToValue(n, (*plain)(v), yaml.Strict())
}

// vector checks what the file says.
func (v *rawVector) vector() (Vector, error) {
	at := start(v.at).Position
	out := Vector{Name: v.Name, Line: at.Line, Column: at.Column, tables: v.entries()}
	if strings.TrimSpace(v.Name) == "" {
		return out, wrong(v.at, "a vector has no name")
	}
	if v.Want == nil {
		return out, wrong(v.at, "vector %q has no want", v.Name)
	}
	if v.Now != nil {
		out.now = v.Now.v
	}
	if v.Config != nil {
		out.config = v.Config.raw
	}
	if v.Probe != nil && v.Probe.Timeout != nil {
		out.timeout = time.Duration(v.Probe.Timeout.v)
	}
	for _, b := range v.Before {
		q, err := b.question()
		if err != nil {
			return out, err
		}
		out.before = append(out.before, q)
	}
	var err error
	out.ask, err = v.question()
	return out, err
}

// question is the only one of the vector.
func (v *rawVector) question() (question, error) {
	given := 0
	for _, is := range []bool{v.Flow != nil, v.Weigh != nil, v.Probe != nil, v.Validate != nil} {
		if is {
			given++
		}
	}
	switch {
	case given != 1:
		return nil, wrong(v.at, "vector %q must ask one thing: flow, weigh, probe or validate", v.Name)
	case v.Repeat != nil && (v.Probe != nil || v.Validate != nil):
		return nil, wrong(v.at, "repeat goes with flow and weigh only")
	case v.Validate != nil && (v.Config != nil || v.Tables != nil || v.Before != nil):
		return nil, wrong(v.at, "config, tables and before do not go with validate, which has the configuration itself")
	case v.Probe != nil:
		return v.Probe.question(v.Want)
	case v.Validate != nil:
		return newValidate(v.Validate.raw, v.Want)
	}
	return (&rawQuestion{v.at, v.Repeat, v.Flow, v.Weigh}).answered(v.Want)
}

func (v *rawVector) entries() map[string][]policy.TableEntry {
	out := map[string][]policy.TableEntry{}
	for name, entries := range v.Tables {
		list := []policy.TableEntry{}
		for key, value := range entries {
			list = append(list, policy.TableEntry{Key: key, Value: value.text})
		}
		slices.SortFunc(list, func(a, b policy.TableEntry) int { return strings.Compare(a.Key, b.Key) })
		out[name] = list
	}
	return out
}

// rawQuestion is one that may be asked more than once.
type rawQuestion struct {
	at ast.Node

	Repeat *int      `yaml:"repeat"`
	Flow   *rawFlow  `yaml:"flow"`
	Weigh  *rawWeigh `yaml:"weigh"`
}

// UnmarshalYAML implements [yaml.NodeUnmarshaler].
func (q *rawQuestion) UnmarshalYAML(n ast.Node) error {
	type plain rawQuestion
	q.at = n
	return yaml.NodeToValue(n, (*plain)(q), yaml.Strict())
}

func (q *rawQuestion) question() (question, error) {
	if (q.Flow == nil) == (q.Weigh == nil) {
		return nil, wrong(q.at, "what is asked before is one of flow and weigh")
	}
	return q.answered(nil)
}

// answered is the question with the wanted answer, if there is one.
func (q *rawQuestion) answered(want *rawWant) (question, error) {
	repeat := 1
	if q.Repeat != nil {
		repeat = *q.Repeat
	}
	if repeat < 1 || repeat > maxRepeat {
		return nil, wrong(q.at, "repeat is %d (want 1 to %d)", repeat, maxRepeat)
	}
	if q.Flow != nil {
		return q.Flow.question(repeat, want)
	}
	return q.Weigh.question(repeat, want)
}

// rawWant is read when it is known what it is an answer to.
type rawWant struct{ node ast.Node }

// UnmarshalYAML implements [yaml.NodeUnmarshaler].
func (w *rawWant) UnmarshalYAML(n ast.Node) error {
	w.node = n
	return nil
}

// into reads the answer; nobody wants one if w is nil.
func (w *rawWant) into(v any) error {
	if w == nil {
		return nil
	}
	return yaml.NodeToValue(w.node, v, yaml.Strict())
}

// rawValue is the value of a table's entry: a number or a word.
type rawValue struct{ text string }

// UnmarshalYAML implements [yaml.NodeUnmarshaler].
func (v *rawValue) UnmarshalYAML(n ast.Node) (err error) {
	v.text, err = scalar(n)
	return err
}
