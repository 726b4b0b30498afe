package demo

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestInProportion(t *testing.T) {
	for _, c := range []struct {
		counts []int
		ok     bool
	}{
		{[]int{80, 80, 240}, true},
		{[]int{95, 70, 235}, true},      // two deviations off
		{[]int{133, 133, 134}, false},   // weights without effect
		{[]int{240, 80, 80}, false},     // on the wrong backend
		{[]int{100, 0, 300}, false},     // one forgotten
		{[]int{1000, 800, 3200}, false}, // little, but too much of many
		{[]int{0, 0, 0}, true},          // the failures tell
	} {
		if err := inProportion(c.counts, []int{1, 1, 3}); (err == nil) != c.ok {
			t.Errorf("%v: %v", c.counts, err)
		}
	}
}

func TestJudgeFailover(t *testing.T) {
	at := func(ms int) time.Time { return time.UnixMilli(int64(ms)) }
	request := func(began, ended int, err error) answer { return answer{began: at(began), ended: at(ended), err: err} }
	refused := errors.New("refused")
	d := &demo{}
	later := d.judgeFailover([]answer{
		request(0, 10, nil), request(1, 11, refused), // before
		request(90, 110, refused), request(150, 160, refused), request(150, 160, nil), // hit
		request(301, 310, nil), request(302, 310, refused), // later
	}, at(100), at(300))
	if len(later) != 2 {
		t.Errorf("%d requests are later, want 2", len(later))
	}
	want := Figures{FailoverRequests: 3, FailoverFailed: 2, Problems: []string{"1 requests failed before the backend was killed (the first: refused)"}}
	if diff := cmp.Diff(want, d.figures, cmpopts.EquateEmpty()); diff != "" {
		t.Error(diff)
	}
}

func TestTail(t *testing.T) {
	var log tail
	for i := range 5000 {
		fmt.Fprintf(&log, "line %d\n", i)
	}
	lines := strings.Split(log.String(), "\n")
	if len(lines) != tailLines || lines[0] != "line 4980" || lines[tailLines-1] != "line 4999" {
		t.Errorf("%q", lines)
	}
	if cap(log.text) > 4*tailBytes {
		t.Errorf("keeps %d bytes", cap(log.text))
	}
}
