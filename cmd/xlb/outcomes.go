package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/xlb-io/xlb/pkg/api"
	"github.com/xlb-io/xlb/pkg/maps"
)

// outcomeTable is what became of connections, of those that count it.
func outcomeTable(first ...column) *table {
	t := &table{columns: first}
	for _, name := range []string{"ATTEMPTS", "ANSWERED", "REFUSED", "UNANSWERED", "RESET", "RETRIED", "HANDSHAKE"} {
		t.columns = append(t.columns, column{name: name, align: right})
	}
	return t
}

func outcomeRow(o *api.Outcomes) []any {
	bad := func(n uint64) cell { return dropped(n, humanCount(n)) }
	handshake := ""
	if o.HandshakeSeconds > 0 {
		handshake = time.Duration(o.HandshakeSeconds * float64(time.Second)).Round(10 * time.Microsecond).String()
	}
	return []any{
		humanCount(o.Attempts), humanCount(o.Answered), bad(o.Refused), bad(o.Unanswered), bad(o.Reset), humanCount(o.Retried), handshake,
	}
}

// printOutcomes prints what became of connections, if anybody counts it.
func (e *env) printOutcomes(s api.Stats) {
	services := outcomeTable(column{name: "SERVICE", shrinks: true})
	for _, v := range s.Services {
		if v.Outcomes != nil {
			services.add(append([]any{v.Service}, outcomeRow(v.Outcomes)...)...)
		}
	}
	e.printSection(services)
	backends := outcomeTable(column{name: "SERVICE", shrinks: true}, column{name: "BACKEND"})
	for _, v := range s.Backends {
		if v.Outcomes != nil {
			backends.add(append([]any{orDash(v.Service), v.Address}, outcomeRow(v.Outcomes)...)...)
		}
	}
	e.printSection(backends)
}

// outcomes are those that the pinned maps hold, nil if the service counts none.
func (o *offline) outcomes(service, id uint32, read func(uint32) (maps.Outcomes, error)) (*api.Outcomes, error) {
	if !o.contents.Services[service].Outcomes {
		return nil, nil
	}
	c, err := read(id)
	if err != nil {
		return nil, err
	}
	return &api.Outcomes{
		Attempts: c.Attempts, Answered: c.Answered, Unanswered: c.Unanswered, Refused: c.Refused, Reset: c.Reset, Retried: c.Retried,
	}, nil
}

// failingLines say what a service makes of connections that fail.
func failingLines(f *api.Failing) (lines [][2]string) {
	if f == nil {
		return nil
	}
	if e := f.Eject; e != nil {
		var why []string
		if e.Consecutive > 0 {
			why = append(why, fmt.Sprintf("after %s in a row", plural(e.Consecutive, "failure")))
		}
		why = append(why, fmt.Sprintf("when %d%% of at least %d connections in %s fail", e.Failures, e.MinAttempts, seconds(e.WindowSeconds)))
		if e.Resets > 0 {
			why = append(why, fmt.Sprintf("or %d%% are reset", e.Resets))
		}
		lines = append(lines,
			[2]string{"eject", strings.Join(why, ", ")},
			[2]string{"", fmt.Sprintf("for %s, each time twice as long, up to %s; %d%% of the backends at most", seconds(e.TimeSeconds), seconds(e.MaxTimeSeconds), e.MaxEjected)},
			[2]string{"", fmt.Sprintf("then %s with %d%% of its weight", plural(e.Trials, "connection"), e.TrialWeight)})
	}
	if f.SynRetry > 0 {
		lines = append(lines, [2]string{"syn_retry", fmt.Sprintf("up to %s", plural(f.SynRetry, "other backend"))})
	}
	return lines
}
