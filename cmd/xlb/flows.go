package main

import (
	"cmp"
	"context"
	"iter"
	"net/netip"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/urfave/cli/v2"

	"github.com/xlb-io/xlb/pkg/api"
)

func (e *env) flowsCommand() *cli.Command {
	return &cli.Command{
		Name:  "flows",
		Usage: "list live flows",
		Description: "A flow is a connection, or a UDP exchange, that keeps its backend. Flows are printed as they\n" +
			"are found, in no order, without holding the daemon or the traffic up. Without a daemon the\n" +
			"pinned maps are read, and services go by number (#1).",
		UsageText: "xlb flows --service web --limit 20\nxlb flows --client 192.0.2.0/24\nxlb flows --backend 10.0.0.11:8080 --json | wc -l",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "service", Usage: "only flows of the service `NAME`"},
			&cli.StringFlag{Name: "backend", Usage: "only flows to the backend `ADDRESS`, with or without a port"},
			&cli.StringFlag{Name: "client", Usage: "only flows from the client `ADDRESS` or network (192.0.2.0/24)"},
			&cli.IntFlag{Name: "limit", Usage: "stop after `N` flows, 0 for all"},
			jsonFlag(), socketFlag(), pinDirFlag(),
		},
		Action: func(c *cli.Context) error {
			filter, err := flowFilter(c)
			if err != nil {
				return err
			}
			return e.fallBack(c, func(ctx context.Context, client *api.Client) error {
				err := e.printFlows(c, client.Flows(ctx, filter))
				return unknownService(ctx, client, filter.Service, err)
			}, func(o *offline) error {
				return e.printFlows(c, o.flows(filter))
			})
		},
	}
}

func flowFilter(c *cli.Context) (api.FlowFilter, error) {
	f := api.FlowFilter{Service: c.String("service"), Limit: c.Int("limit")}
	if f.Limit < 0 {
		return f, usagef("--limit %d is negative", f.Limit)
	}
	if s := c.String("backend"); s != "" {
		f.Backend = strings.Trim(s, "[]")
		if ap, err := netip.ParseAddrPort(s); err == nil {
			f.Backend = ap.String()
		} else if _, err := netip.ParseAddr(f.Backend); err != nil {
			return f, usagef("--backend %q is not an address (for example 10.0.0.11, 10.0.0.11:8080 or [2001:db8::11]:8080)", s)
		}
	}
	if s := c.String("client"); s != "" {
		f.Client = strings.Trim(s, "[]")
		_, addrErr := netip.ParseAddr(f.Client)
		if p, err := netip.ParsePrefix(f.Client); err == nil {
			f.Client = p.Masked().String()
		} else if addrErr != nil {
			return f, usagef("--client %q is not an address or a network (for example 192.0.2.7 or 192.0.2.0/24)", s)
		}
	}
	return f, nil
}

func (e *env) printFlows(c *cli.Context, flows iter.Seq2[api.Flow, error]) error {
	if c.Bool("json") {
		for f, err := range flows {
			if err := cmp.Or(err, c.Context.Err()); err != nil {
				return err
			}
			if err := e.printLine(f); err != nil {
				return err
			}
		}
		return nil
	}
	// The first rows decide how wide the columns are; waiting for all of a
	// million would cost memory and patience.
	const look = 500
	t := &table{columns: []column{
		{name: "PROTO"}, {name: "CLIENT"}, {name: "VIP"}, {name: "SERVICE", shrinks: true}, {name: "BACKEND"}, {name: "NAT"},
		{name: "STATE"}, {name: "IDLE", align: right}, {name: "EXPIRES", align: right},
	}}
	var widths []int
	found := 0
	for f, err := range flows {
		if err := cmp.Or(err, c.Context.Err()); err != nil {
			return err
		}
		found++
		t.add(flowRow(f)...)
		if len(t.rows) < look && widths == nil {
			continue
		}
		if widths == nil {
			widths = e.startTable(t)
		}
		e.printRows(t, widths)
	}
	switch {
	case found == 0 && (c.String("service") != "" || c.String("backend") != "" || c.String("client") != ""):
		e.printf("no flows match\n")
	case found == 0:
		e.printf("there are no flows\n")
	case widths == nil:
		e.printRows(t, e.startTable(t))
	}
	return nil
}

func flowRow(f api.Flow) []any {
	nat := ""
	if f.NAT != nil {
		nat = f.NAT.String()
	}
	backend := "-"
	if f.Backend.IsValid() {
		backend = f.Backend.String()
	}
	short := func(s float64) string {
		return humanDuration(time.Duration(s * float64(time.Second)).Round(time.Second))
	}
	return []any{f.Protocol, f.Client, f.VIP, f.Service, backend, nat, f.State, short(f.IdleSeconds), short(f.ExpiresSeconds)}
}

// startTable prints the header of a table that is printed in parts.
func (e *env) startTable(t *table) []int {
	widths := t.widths()
	for i, c := range t.columns {
		if widths[i] == 0 {
			widths[i] = utf8.RuneCountInString(c.name)
		}
	}
	if e.width > 0 {
		t.fit(widths, e.width)
	}
	e.printRow(e.stdout, t.columns, widths, t.header(), "")
	return widths
}

// printRows prints the rows so far and forgets them.
func (e *env) printRows(t *table, widths []int) {
	for _, row := range t.rows {
		for i := range row {
			if !t.columns[i].shrinks {
				widths[i] = max(widths[i], utf8.RuneCountInString(row[i].text))
			}
		}
		e.printRow(e.stdout, t.columns, widths, row, "")
	}
	t.rows = t.rows[:0]
}
