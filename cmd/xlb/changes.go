package main

import (
	"fmt"

	"github.com/xlb-io/xlb/pkg/api"
)

// printChanges prints a line per change.
func (e *env) printChanges(changes []api.PlanChange) {
	signs := map[string]cell{"add": {"+", green}, "delete": {"-", red}, "change": {"~", yellow}}
	for _, c := range changes {
		sign, ok := signs[c.Action]
		if !ok {
			sign = cell{"?", plain}
		}
		what := ""
		if c.Service != "" && c.Service != c.Key {
			what = c.Service + " "
		}
		e.printf("%s %-8s %s\n", e.paint(sign.text, sign.style), c.Kind, printable(what+c.Key+detail(c)))
	}
}

// detail says what becomes of the thing.
func detail(c api.PlanChange) string {
	switch {
	case c.Kind == "table" && c.Action == "change":
		text := fmt.Sprintf(": %d of %d slots move", c.Moved, c.Slots)
		if c.Slots > 0 {
			text += fmt.Sprintf(" (%.1f%%)", 100*float64(c.Moved)/float64(c.Slots))
		}
		if c.Old != c.New {
			text += ", " + c.Old + " → " + c.New
		}
		return text
	case c.Old+c.New == c.Key, c.Old+c.New == "service "+c.Service:
		return "" // said already
	case c.Old != "" && c.New != "":
		return ": " + c.Old + " → " + c.New
	case c.Old+c.New != "":
		return ": " + c.Old + c.New
	}
	return ""
}
