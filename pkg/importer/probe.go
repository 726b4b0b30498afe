package importer

import (
	"strconv"
	"time"
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
	Command         []string `yaml:"command,flow,omitempty"`
	Interval        string   `yaml:"interval,omitempty"`
	IntervalFailing string   `yaml:"interval_failing,omitempty"`
	Timeout         string   `yaml:"timeout,omitempty"`
	Rise            int      `yaml:"rise,omitempty"`
	Fall            int      `yaml:"fall,omitempty"`
}

// within brings times into the limits of xlb: an interval of 100 ms to 1 h, a
// timeout of 10 ms to the interval.
func (p *Probe) within(w *work, at place, interval, timeout time.Duration) {
	fit := min(max(interval.Truncate(time.Millisecond), 100*time.Millisecond), time.Hour)
	if interval > 0 {
		if fit != interval {
			w.note(at, "interval "+short(interval), "a probe's interval is 100ms to 1h; it became %s", short(fit))
		}
		p.Interval = short(fit)
	} else {
		fit = 2 * time.Second // xlb's own
	}
	if timeout <= 0 {
		return
	}
	most := min(max(timeout.Truncate(time.Millisecond), 10*time.Millisecond), fit)
	if most != timeout {
		w.note(at, "timeout "+short(timeout), "a probe's timeout is at most its interval, and at least 10ms; it became %s", short(most))
	}
	p.Timeout = short(most)
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
