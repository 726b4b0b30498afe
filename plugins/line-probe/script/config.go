// Package script is a conversation with a server, line by line.
package script

import (
	"encoding/json"
	"errors"
	"regexp"
	"strconv"
)

// Limits of a script.
const (
	maxSteps = 16
	maxLines = 1000
)

// Script is what is said, step by step.
type Script []step

// step sends something, then reads lines until one is what it waits for.
type step struct {
	send   []byte
	expect *regexp.Regexp // nil: reads nothing
	refuse *regexp.Regexp // nil: refuses nothing
	lines  int            // the most it reads
	role   int            // the group of expect that is the role; -1: none
}

// Parse reads a configuration.
func Parse(text []byte) (Script, error) {
	var raw struct {
		Steps []struct {
			Send, Expect, Refuse string
			Lines                *int
		}
	}
	if err := json.Unmarshal(text, &raw); err != nil {
		return nil, err
	}
	if len(raw.Steps) == 0 || len(raw.Steps) > maxSteps {
		return nil, errors.New("steps: 1 to " + strconv.Itoa(maxSteps) + " of them")
	}
	var steps Script
	for i, r := range raw.Steps {
		s := step{send: []byte(r.Send), lines: 64, role: -1}
		where := "steps[" + strconv.Itoa(i) + "]."
		var err error
		if s.expect, err = pattern(r.Expect); err != nil {
			return nil, errors.New(where + "expect: " + err.Error())
		}
		if s.refuse, err = pattern(r.Refuse); err != nil {
			return nil, errors.New(where + "refuse: " + err.Error())
		}
		switch {
		case s.expect == nil && s.refuse != nil:
			return nil, errors.New(where + "refuse: goes with expect only")
		case s.expect == nil && r.Send == "":
			return nil, errors.New(where + "send or expect: there is neither")
		case s.expect != nil:
			s.role = s.expect.SubexpIndex("role")
		}
		if r.Lines != nil {
			s.lines = *r.Lines
		}
		if s.lines < 1 || s.lines > maxLines {
			return nil, errors.New(where + "lines: 1 to " + strconv.Itoa(maxLines))
		}
		steps = append(steps, s)
	}
	return steps, nil
}

// pattern compiles a regular expression; nil for none.
func pattern(text string) (*regexp.Regexp, error) {
	if text == "" {
		return nil, nil
	}
	return regexp.Compile(text)
}
