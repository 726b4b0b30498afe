package maps_test

import (
	"testing"

	"github.com/xlb-io/xlb/pkg/maps"
)

func TestTableEqual(t *testing.T) {
	slots := func(of ...uint32) maps.Table { return maps.Table{Present: of} }
	marked := func(slot, previous uint32) maps.Table {
		return maps.Table{Present: []uint32{1, 2, 1, 2}, Marked: []maps.Mark{{Slot: slot, Previous: previous}}}
	}
	memory := slots(1, 2, 1, 2)
	for name, c := range map[string]struct {
		a, b maps.Table
		want bool
	}{
		"same memory":             {memory, memory, true},
		"same slots":              {memory, slots(1, 2, 1, 2), true},
		"another slot":            {memory, slots(1, 2, 1, 3), false},
		"same memory, shorter":    {memory, slots(memory.Present[:3]...), false},
		"same memory, other part": {slots(memory.Present[1:]...), slots(memory.Present[:3]...), false},
		"no slots":                {maps.Table{}, slots(), true},
		"no slots and some":       {slots(), memory, false},
		"same marks":              {marked(1, 3), marked(1, 3), true},
		"marked and not":          {marked(1, 3), memory, false},
		"another previous":        {marked(1, 3), marked(1, 4), false},
		"another marked":          {marked(1, 3), marked(2, 3), false},
	} {
		if c.a.Equal(c.b) != c.want || c.b.Equal(c.a) != c.want {
			t.Errorf("%s: equal is not %t", name, c.want)
		}
	}
}
