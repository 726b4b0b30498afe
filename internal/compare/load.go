package compare

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	// webConnections are open at once, of one wrk thread.
	webConnections = 32
	// bulkStreams go to each backend.
	bulkStreams = 2
	// grace is for a client to come to its end.
	grace = 20 * time.Second
)

// wrkScript makes wrk tell its figures as JSON; percentiles beyond 99 it tells
// no other way. It has no function that is called while wrk measures.
const wrkScript = `done = function(summary, latency, requests)
	local e = summary.errors
	io.write(string.format('\n{"requests": %d, "micros": %d, "errors": %d, "p50": %d, "p99": %d, "p999": %d}\n',
		summary.requests, summary.duration, e.connect + e.read + e.write + e.status + e.timeout,
		latency:percentile(50), latency:percentile(99), latency:percentile(99.9)))
end
`

// webLoad is what wrk saw; latencies in microseconds.
type webLoad struct {
	Requests uint64  `json:"requests"`
	Micros   float64 `json:"micros"`
	Errors   uint64  `json:"errors"`
	P50      float64 `json:"p50"`
	P99      float64 `json:"p99"`
	P999     float64 `json:"p999"`
}

// wrk sends requests, each on a connection of its own or all on connections that
// stay.
func (s *site) wrk(ctx context.Context, keepAlive bool) (l webLoad, err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(s.options.Seconds)*time.Second+grace)
	defer cancel()
	script, err := s.write("wrk.lua", wrkScript)
	if err != nil {
		return l, err
	}
	args := []string{
		"--threads", "1", "--connections", fmt.Sprint(webConnections), "--duration", fmt.Sprintf("%ds", s.options.Seconds),
		"--latency", "--script", script,
	}
	if !keepAlive {
		args = append(args, "--header", "Connection: close")
	}
	out, err := s.Client.Command(ctx, "wrk", append(args, fmt.Sprintf("http://%s/", netip.AddrPortFrom(s.VIP4, webPort)))...).Output()
	if err != nil {
		return l, err
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &l); err != nil {
		return l, fmt.Errorf("wrk: %w in %q", err, out)
	}
	if l.Requests == 0 || l.Errors > 0 {
		return l, fmt.Errorf("wrk: %d requests, %d errors: %s", l.Requests, l.Errors, out)
	}
	return l, nil
}

// bulk sends bytes over streams to all backends at once, or gets them from there,
// and returns bytes and bytes per second, as the receivers saw them.
func (s *site) bulk(ctx context.Context, download bool) (bytes uint64, rate float64, err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(s.options.Seconds)*time.Second+grace)
	defer cancel()
	results := make([]bulkResult, backends)
	group, ctx := errgroup.WithContext(ctx)
	for i := range results {
		group.Go(func() (err error) {
			for {
				results[i], err = s.iperf(ctx, i, download)
				// Its server may still be at the end of the test before.
				if err == nil || ctx.Err() != nil || !strings.Contains(err.Error(), "server is busy") {
					return err
				}
				time.Sleep(20 * time.Millisecond)
			}
		})
	}
	if err := group.Wait(); err != nil {
		return 0, 0, err
	}
	for _, r := range results {
		if r.bytes == 0 {
			return 0, 0, errors.New("iperf3 moved nothing to or from one of the backends")
		}
		bytes += r.bytes
		rate += r.rate
	}
	return bytes, rate, nil
}

type bulkResult struct {
	bytes uint64
	rate  float64 // bytes per second
}

func (s *site) iperf(ctx context.Context, backend int, download bool) (bulkResult, error) {
	args := []string{
		"--client", s.bulkVIP(backend).String(), "--port", fmt.Sprint(bulkPort), "--parallel", fmt.Sprint(bulkStreams),
		"--json",
	}
	if s.options.BulkMB > 0 {
		args = append(args, "--bytes", fmt.Sprintf("%dM", max(1, s.options.BulkMB/backends)))
	} else {
		args = append(args, "--time", fmt.Sprint(s.options.Seconds))
	}
	if download {
		args = append(args, "--reverse")
	}
	out, err := s.Client.Command(ctx, "iperf3", args...).Output()
	var answer struct {
		Error string `json:"error"`
		End   struct {
			Received struct {
				Bytes         uint64  `json:"bytes"`
				BitsPerSecond float64 `json:"bits_per_second"`
			} `json:"sum_received"`
		} `json:"end"`
	}
	// A failed iperf3 says why in its JSON.
	if decoded := json.Unmarshal(out, &answer); err == nil {
		err = decoded
	}
	if answer.Error != "" {
		err = errors.New(answer.Error)
	}
	if err != nil {
		return bulkResult{}, fmt.Errorf("iperf3 with backend %d: %w", backend+1, err)
	}
	return bulkResult{answer.End.Received.Bytes, answer.End.Received.BitsPerSecond / 8}, nil
}
