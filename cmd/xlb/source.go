package main

import (
	"strings"

	"github.com/xlb-io/xlb/pkg/api"
)

// printSources prints where backends come from, and how that goes.
func (e *env) printSources(sources []api.Source, indent string) {
	if len(sources) == 0 {
		return
	}
	t := &table{columns: []column{
		{name: "SOURCE"}, {name: "TYPE"}, {name: "STATE"}, {name: "SINCE", align: right}, {name: "BACKENDS", align: right},
		{name: "ANSWERED", align: right}, {name: "WHERE", shrinks: true}, {name: "NOTE", shrinks: true},
	}}
	for _, s := range sources {
		answered := "never"
		if s.Answered != nil {
			answered = humanDuration(e.now().Sub(*s.Answered)) + " ago"
		}
		st := map[string]style{api.SourceOK: green, api.SourceWaiting: yellow, api.SourceFailing: yellow, api.SourceStale: red}[s.State]
		trouble := s.Error
		if trouble == "" {
			trouble = strings.Join(s.Warnings, "; ")
		}
		t.add(s.Name, s.Type, cell{s.State, st}, humanDuration(e.now().Sub(s.Since)), s.Backends, answered, s.Where, trouble)
	}
	e.printTable(t, indent)
}
