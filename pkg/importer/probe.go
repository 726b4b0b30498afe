package importer

import (
	"strconv"
	"time"

	"github.com/xlb-io/xlb/pkg/model"
)

// Probe is a health check as the configuration file writes it.
type Probe struct {
	Type            string   `yaml:"type"`
	Address         string   `yaml:"address,omitempty"`
	Port            int      `yaml:"port,omitempty"`
	Method          string   `yaml:"method,omitempty"`
	Path            string   `yaml:"path,omitempty"`
	Host            string   `yaml:"host,omitempty"`
	Status          []any    `yaml:"status,flow,omitempty"`
	Body            string   `yaml:"body,omitempty"`
	User            string   `yaml:"user,omitempty"`
	Send            string   `yaml:"send,omitempty"`
	Expect          string   `yaml:"expect,omitempty"`
	Query           string   `yaml:"query,omitempty"`
	QueryType       string   `yaml:"query_type,omitempty"`
	TLS             bool     `yaml:"tls,omitempty"`
	Verify          *bool    `yaml:"verify,omitempty"`
	ServerName      string   `yaml:"server_name,omitempty"`
	CA              string   `yaml:"ca,omitempty"`
	Command         []string `yaml:"command,flow,omitempty"`
	Interval        string   `yaml:"interval,omitempty"`
	IntervalFailing string   `yaml:"interval_failing,omitempty"`
	Timeout         string   `yaml:"timeout,omitempty"`
	Rise            int      `yaml:"rise,omitempty"`
	Fall            int      `yaml:"fall,omitempty"`
}

// within brings times into the limits of xlb: intervals of 100 ms to 1 h, a timeout
// of 10 ms to the shorter of them. What is 0 is left to the default.
func (p *Probe) within(w *work, at place, interval, failing, timeout time.Duration) {
	fit := func(name string, d time.Duration) time.Duration {
		f := min(max(d.Truncate(time.Millisecond), 100*time.Millisecond), time.Hour)
		if f != d {
			w.note(at, name+" "+model.DurationText(d), "a probe's interval is 100ms to 1h; it became %s", model.DurationText(f))
		}
		return f
	}
	longest := 2 * time.Second // xlb's own
	if interval > 0 {
		longest = fit("interval", interval)
		p.Interval = model.DurationText(longest)
	}
	if failing > 0 {
		failing = fit("interval after a failure", failing)
		longest = min(longest, failing)
		p.IntervalFailing = model.DurationText(failing)
	}
	if timeout <= 0 {
		return
	}
	most := min(max(timeout.Truncate(time.Millisecond), 10*time.Millisecond), longest)
	if most != timeout {
		w.note(at, "timeout "+model.DurationText(timeout), "a probe's timeout is at most its interval, and at least 10ms; it became %s", model.DurationText(most))
	}
	p.Timeout = model.DurationText(most)
}

// statuses are status codes as the file writes them: numbers, and ranges as text.
func statuses(list ...string) []any {
	var out []any
	for _, s := range list {
		if n, err := strconv.Atoi(s); err == nil {
			out = append(out, n)
		} else {
			out = append(out, s)
		}
	}
	return out
}
