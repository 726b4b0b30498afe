package main

import (
	"bytes"
	"testing"
	"time"
)

func TestTableOnANarrowTerminal(t *testing.T) {
	tab := &table{columns: []column{{name: "NAME"}, {name: "N", align: right}, {name: "EMPTY"}, {name: "WHY", shrinks: true}}}
	tab.add("a", 1, "", "short")
	tab.add("bé", 1000, "", "a reason that is much too long")
	for _, c := range []struct {
		width int
		want  string
	}{
		{0, "NAME     N  WHY\na        1  short\nbé    1000  a reason that is much too long\n"},
		{25, "NAME     N  WHY\na        1  short\nbé    1000  a reason tha…\n"},
		{5, "NAME     N  WHY\na        1  short\nbé    1000  a reaso…\n"},
	} {
		var out bytes.Buffer
		e := env{stdout: &out, width: c.width}
		e.printTable(tab, "")
		same(t, out.String(), c.want)
	}
}

func TestUnits(t *testing.T) {
	for got, want := range map[string]string{
		humanCount(9999): "9999", humanCount(10000): "10.0k", humanCount(999999): "1.00M", humanCount(1 << 63): "9.22E",
		humanBytes(1023): "1023 B", humanBytes(1024): "1.00 KiB", humanBytes(1<<20 - 1): "1.00 MiB", humanBytes(5 << 40): "5.00 TiB",
		humanRate(0): "0/s", humanRate(0.5): "0.5/s", humanRate(1500): "1.50k/s", humanRate(14.88e6): "14.9M/s",
		humanBits(125e6): "1.00 Gbit/s", humanBits(0): "0 bit/s",
		humanDuration(-time.Second): "0s", humanDuration(350 * time.Millisecond): "350ms", humanDuration(59 * time.Second): "59s",
		humanDuration(time.Hour): "1h", humanDuration(61 * time.Minute): "1h1m", humanDuration(50 * time.Hour): "2d2h",
		humanDuration(7 * 24 * time.Hour): "7d", plural(1, "flow"): "1 flow", plural(0, "flow"): "0 flows",
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
