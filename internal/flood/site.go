package flood

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"github.com/xlb-io/xlb/internal/testlab"
)

// site is all that a run makes.
type site struct {
	lab    *testlab.Lab
	beds   map[way]*bed
	planes map[way]*dataPlane
	// filled: the flow table of oursNew is full.
	filled bool
	// softirqs are the CPUs' schedstat files of ksoftirqd.
	softirqs map[int]string
}

// newSite makes what the rows need.
func newSite(ctx context.Context, wanted []row, queues int) (*site, error) {
	s := &site{beds: map[way]*bed{}, planes: map[way]*dataPlane{}}
	if err := s.make(ctx, wanted, queues); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

func (s *site) make(ctx context.Context, wanted []row, queues int) (err error) {
	if s.softirqs, err = softirqThreads(); err != nil {
		return err
	}
	if s.lab, err = testlab.New("flood"); err != nil {
		return err
	}
	for _, r := range wanted {
		if err := ctx.Err(); err != nil {
			return err
		}
		if s.beds[r.way] == nil {
			if err := s.makeWay(ctx, r.way, queues); err != nil {
				return fmt.Errorf("set up %s: %w", r.name, err)
			}
		}
	}
	return nil
}

// makeWay makes a bed for each of the kernel's ways, and one for all programs.
func (s *site) makeWay(ctx context.Context, w way, queues int) (err error) {
	switch w {
	case forwards:
		if s.beds[w], err = newBed(s.lab, "kernel", queues); err == nil {
			err = s.beds[w].balancer.AddRoute(vips, router)
		}
		return err
	case nftables:
		if s.beds[w], err = newBed(s.lab, "nftables", queues); err == nil {
			err = s.translate(ctx, s.beds[w])
		}
		return err
	}
	for _, other := range []way{program, ours, oursNew} {
		if s.beds[other] != nil {
			s.beds[w] = s.beds[other]
		}
	}
	if s.beds[w] == nil {
		if s.beds[w], err = newBed(s.lab, "xdp", queues); err != nil {
			return err
		}
	}
	if w != program {
		s.planes[w], err = newDataPlane()
	}
	return err
}

// translate makes the kernel rewrite destinations.
func (s *site) translate(ctx context.Context, b *bed) error {
	nft := b.balancer.Command(ctx, "nft", "-f", "-")
	nft.Cmd.Stdin = strings.NewReader(ruleset())
	_, err := nft.Output()
	return err
}

func ruleset() string {
	var choices []string
	for i := range uint32(backendCount) {
		choices = append(choices, fmt.Sprintf("%d: %s", i, addTo(firstBackend, i)))
	}
	return fmt.Sprintf(`table ip flood {
	chain prerouting {
		type nat hook prerouting priority dstnat;
		ip daddr %s tcp dport %d dnat to jhash ip saddr . tcp sport mod %d map { %s }
	}
}
`, kernelVIP.Addr(), kernelVIP.Port(), backendCount, strings.Join(choices, ", "))
}

// possible says why a row cannot be measured here, or nothing.
func (r row) possible() string {
	if r.way != nftables {
		return ""
	}
	if _, err := exec.LookPath("nft"); err != nil {
		return "nft is not installed"
	}
	// One table for all namespaces, and not ours to enlarge.
	most, err := os.ReadFile("/proc/sys/net/netfilter/nf_conntrack_max")
	var n int
	if err == nil {
		_, err = fmt.Sscan(string(most), &n)
	}
	if err == nil && n < 2*r.traffic.flows {
		return fmt.Sprintf("nf_conntrack_max is %d, less than twice its flows", n)
	}
	return ""
}

// close removes everything; each namespace only after what runs in it.
func (s *site) close() error {
	var errs []error
	closed := map[*bed]bool{}
	for _, b := range s.beds {
		if b != nil && !closed[b] {
			closed[b] = true
			errs = append(errs, b.close())
		}
	}
	for _, d := range s.planes {
		if d != nil {
			d.close()
		}
	}
	if s.lab != nil {
		errs = append(errs, s.lab.Close())
	}
	return errors.Join(errs...)
}
