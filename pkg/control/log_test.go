package control

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/xlb-io/xlb/internal/testlab"
	"github.com/xlb-io/xlb/pkg/api"
)

func TestLog(t *testing.T) {
	log := &testlab.Buffer{}
	d := start(t, newMemory(), "  web: {frontends: 'tcp://203.0.113.1:80', fail: closed, probe: none, backends: ['10.0.0.1:80']}\n",
		func(p *parts) {
			p.log = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		})
	ctx, backend := t.Context(), ap("10.0.0.1:80")
	for _, step := range []struct {
		do   func(*api.Client) error
		want []string
	}{
		{func(*api.Client) error { return nil }, []string{`level=INFO msg="xlb is running" version=1.2.3`, `level=DEBUG msg="backend is healthy" service=web backend=10.0.0.1:80 probe=none`}},
		{func(c *api.Client) error { return c.SetWeight(ctx, "web", backend, 7) }, []string{`level=INFO msg="operator: weight" service=web backend=10.0.0.1:80 weight=7`}},
		{func(c *api.Client) error { return c.ResetWeight(ctx, "web", backend) }, []string{`level=INFO msg="operator: weight reset" service=web backend=10.0.0.1:80` + "\n"}},
		{func(c *api.Client) error { return c.Drain(ctx, "web", backend) }, []string{
			`level=INFO msg="operator: drain" service=web backend=10.0.0.1:80`, `level=WARN msg="no backend is usable: new flows are dropped" service=web fail=closed`}},
		{func(c *api.Client) error { return c.Undrain(ctx, "web", backend) }, []string{`level=INFO msg="the service has usable backends again" service=web usable=1`}},
	} {
		if err := step.do(d.Client); err != nil {
			t.Fatal(err)
		}
		for _, want := range step.want {
			eventually(t, func() string {
				return unless(strings.Count(log.String(), want) == 1, "want one line with %s in\n%s", want, log)
			})
		}
	}
	if strings.Contains(log.String(), `=""`) {
		t.Errorf("values that say nothing:\n%s", log)
	}
}
