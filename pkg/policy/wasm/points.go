package wasm

import "fmt"

// FuelPoints is the number of places in the code that take fuel.
func (m *Module) FuelPoints() (int, error) {
	points := 0
	for i := range m.bodies {
		b := &m.bodies[i]
		s, err := m.survey(b, uint32(len(m.types[m.funcs[i]].Params))+b.count)
		if err != nil {
			return 0, fmt.Errorf("function %d: %w", len(m.Imports)+i, err)
		}
		points += len(s.costs)
		for r := (&reader{b: b.code}); !r.done(); {
			in := instruction{}
			r.instruction(&in)
			if in.op == opCall && in.index < uint32(len(m.Imports)) || in.op == opCallIndirect || bulkShift(in.op) >= 0 {
				points++
			}
		}
	}
	return points, nil
}
