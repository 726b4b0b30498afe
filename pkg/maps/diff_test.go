package maps_test

import (
	"testing"

	"github.com/xlb-io/xlb/pkg/maps"
)

func TestTableEqual(t *testing.T) {
	memory := maps.Table{1, 2, 1, 2}
	for name, c := range map[string]struct {
		a, b maps.Table
		want bool
	}{
		"same memory":             {memory, memory, true},
		"same slots":              {memory, maps.Table{1, 2, 1, 2}, true},
		"another slot":            {memory, maps.Table{1, 2, 1, 3}, false},
		"same memory, shorter":    {memory, memory[:3], false},
		"same memory, other part": {memory[1:], memory[:3], false},
		"no slots":                {nil, maps.Table{}, true},
		"no slots and some":       {nil, memory, false},
	} {
		if c.a.Equal(c.b) != c.want || c.b.Equal(c.a) != c.want {
			t.Errorf("%s: equal is not %t", name, c.want)
		}
	}
}
