package main

import (
	"context"
	"net"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/xlb-io/xlb/pkg/policy"
)

// probeAnswer is a policy's word on a backend.
type probeAnswer struct {
	Hook    policy.Hook `json:"hook"`
	Healthy bool        `json:"healthy"`
	Role    string      `json:"role,omitempty"`
	Reason  string      `json:"reason,omitempty"`
}

func (e *env) askProbe(c *cli.Context) (policyAction, error) {
	address, err := endpointOption(c, "address", "10.0.0.11:6379")
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, p *policy.Policy) error {
		conn, err := (&net.Dialer{Timeout: p.Spec().Timeout}).DialContext(ctx, "tcp", address.String())
		if err != nil {
			return err
		}
		defer conn.Close()
		r, err := p.Probe(ctx, conn)
		if err != nil {
			return err
		}
		a := probeAnswer{policy.HookProbe, r.Healthy, r.Role, r.Reason}
		if c.Bool("json") {
			return e.printJSON(a)
		}
		e.printf("%s\n", a)
		return nil
	}, nil
}

func (a probeAnswer) String() string {
	parts := []string{"unhealthy", "", ""}
	if a.Healthy {
		parts[0] = "healthy"
	}
	if a.Role != "" {
		parts[1] = "role " + printable(a.Role)
	}
	parts[2] = printable(a.Reason)
	return strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), ", ")
}
