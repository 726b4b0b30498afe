package control

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/xlb-io/xlb/pkg/model"
	"github.com/xlb-io/xlb/pkg/policy"
)

// TestWeighFailing: what a policy said last holds while it fails, and no longer once
// it is ejected.
func TestWeighFailing(t *testing.T) {
	r := policyRuntime(t)
	// It does what the port of the first backend says.
	hostile, err := r.Load(t.Context(), model.Policy{Name: "hostile", Path: "../policy/testdata/hostile", OnError: model.ErrorContinue, Timeout: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer hostile.Close(context.Background())
	c := &controller{
		parts: parts{data: newMemory(), log: quiet()}, cfg: configOf(decidedBy("hostile")),
		weighing: map[string]bool{}, said: map[string]map[string]answers{}, answers: map[string]answers{},
	}
	c.inForce.Store(&policySet{"hostile": {Policy: hostile}})
	nine := uint16(9)
	last := answers{ap("10.0.0.1:80"): {Weight: &nine}}
	c.said["web"], c.answers["web"] = map[string]answers{"hostile": last}, last

	ask := func() map[string]answers {
		links := c.policies().links(c.cfg.Services[0], policy.HookWeigh)
		said := c.weigh(&weighing{service: "web", links: links, in: []policy.WeighInput{{Address: ap("10.0.0.1:4"), Weight: 1}}})
		c.weighed("web", said)
		return said
	}
	failures := 0
	for ; failures < 20; failures++ {
		if said := ask(); said["hostile"] != nil {
			break
		}
		if !c.answers["web"].equal(last) {
			t.Fatalf("after %d failures the last word does not hold: %v", failures+1, c.answers["web"])
		}
	}
	_, err = hostile.Weigh(t.Context(), []policy.WeighInput{{Address: ap("10.0.0.1:4"), Weight: 1}})
	if failures == 0 || !errors.Is(err, policy.ErrEjected) || !strings.Contains(err.Error(), "hostile") {
		t.Fatalf("after %d failures: %v", failures, err)
	}
	if len(c.answers["web"]) != 0 {
		t.Errorf("an ejected policy still has a say: %v", c.answers["web"])
	}
}
