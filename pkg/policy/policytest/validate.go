package policytest

import (
	"context"
	"encoding/json"
)

// validate asks whether a configuration is accepted.
type validate struct {
	config json.RawMessage
	want   validateWant
}

type validateWant struct {
	Valid *bool   `yaml:"valid"`
	Error *string `yaml:"error"`
}

func newValidate(config json.RawMessage, want *rawWant) (question, error) {
	q := &validate{config: config}
	if err := want.into(&q.want); err != nil {
		return nil, err
	}
	if isValid := q.want.Valid != nil && *q.want.Valid; isValid == (q.want.Error != nil) {
		return nil, wrong(want.node, "want of validate is {valid: true} or {error: TEXT}")
	}
	return q, nil
}

func (q *validate) ask(_ context.Context, s *subject) []string {
	differences, _ := failure(s.refused, q.want.Error)
	return differences
}
