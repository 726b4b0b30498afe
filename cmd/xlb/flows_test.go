package main

import (
	"errors"
	"strings"
	"testing"

	"github.com/xlb-io/xlb/pkg/api"
)

func TestFlows(t *testing.T) {
	newSample().start(t)
	same(t, xlb(t, "flows").ok(t), `
PROTO  CLIENT           VIP              SERVICE  BACKEND         NAT             STATE        IDLE  EXPIRES
tcp    192.0.2.7:40000  203.0.113.10:80  web      10.0.0.11:8080  192.0.2.1:1025  established    3s   59m57s
tcp    192.0.2.200:555  203.0.113.10:80  web      10.0.0.12:8080                  syn            0s      30s
`)
	for args, want := range map[string]int{
		"": 2, "--service web": 2, "--limit 1": 1, "--limit 0": 2, "--backend 10.0.0.11": 1, "--backend 10.0.0.12:8080": 1, "--backend 10.0.0.12:80": 0,
		"--client 192.0.2.0/24": 2, "--client 192.0.2.7/25": 1, "--client 192.0.2.200": 1, "--client 2001:db8::/32": 0, "--service dns": 0,
	} {
		out := xlb(t, append([]string{"flows", "--json"}, strings.Fields(args)...)...).ok(t)
		n := 0
		for _, line := range lines(out) {
			if line != "" {
				decode[api.Flow](t, line)
				n++
			}
		}
		if n != want {
			t.Errorf("xlb flows %s: %d flows, want %d", args, n, want)
		}
	}
	same(t, xlb(t, "flows", "--service", "dns").ok(t), "no flows match")
	xlb(t, "flows", "--service", "wbe").fails(t, 1, `xlb: there is no service "wbe" (did you mean web?)`)
}

func TestNoFlows(t *testing.T) {
	s := newSample()
	s.flows = nil
	s.start(t)
	same(t, xlb(t, "flows").ok(t), "there are no flows")
	same(t, xlb(t, "flows", "--json").ok(t), "")
}

func TestManyFlows(t *testing.T) {
	const n = 20000
	s := newSample()
	s.manyFlows(n)
	s.start(t)
	if got := len(lines(xlb(t, "flows").ok(t))); got != n+1 {
		t.Errorf("%d lines, want a header and %d flows", got, n)
	}
}

// Who pipes the flows into head wants no more of them.
func TestFlowsStopWhenNobodyReads(t *testing.T) {
	s := newSample()
	s.manyFlows(20000)
	s.start(t)
	w := &brokenPipe{}
	r := xlbIn(t, t.Context(), env{stdout: w}, "flows", "--json")
	r.fails(t, 1, "xlb: cannot write the output: broken pipe")
	if w.writes != 1 {
		t.Errorf("wrote %d times to a broken pipe", w.writes)
	}
}

type brokenPipe struct{ writes int }

func (b *brokenPipe) Write([]byte) (int, error) {
	b.writes++
	return 0, errors.New("broken pipe")
}

func TestWithoutDaemonAndMaps(t *testing.T) {
	socket := noDaemon(t)
	want := "xlb: no daemon answers at " + socket + " (is `xlb run` running?)"
	for _, command := range []string{"flows", "stats", "stats --watch", "status", "service ls", "backend ls", "backend drain web 10.0.0.11"} {
		xlb(t, strings.Fields(command)...).fails(t, 1, want)
	}
}

// TestUnknownBackendOfFlows: nobody named a service.
func TestUnknownBackendOfFlows(t *testing.T) {
	err := api.Errorf(404, "no backend 10.0.0.99")
	if got := unknownService(t.Context(), nil, "", err); got != err {
		t.Errorf("%v became %v", err, got)
	}
}
