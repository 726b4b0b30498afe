package importer

import (
	"strconv"
	"strings"
	"time"
)

// check translates a real server's checker. A probe is of all backends of a
// service, so the first one counts.
func (k *keepalived) check(v, r *block, s *Service) {
	for _, c := range r.inner {
		p := k.checker(v, c)
		if p == nil {
			continue
		}
		switch {
		case s.Probe == nil:
			s.Probe = p
		case !same(*s.Probe, *p):
			k.note(c.at, c.String(), "it differs from the one before, and a probe is of all backends of a service")
		}
	}
}

func same(a, b Probe) bool {
	a.Verify, b.Verify = nil, nil
	return a.Type == b.Type && a.Port == b.Port && a.Path == b.Path && a.Interval == b.Interval
}

func (k *keepalived) checker(v, c *block) *Probe {
	p := &Probe{Rise: 1}
	switch c.first() {
	case "TCP_CHECK":
		p.Type = "tcp"
	case "HTTP_GET", "SSL_GET":
		k.web(v, c, p)
	case "SMTP_CHECK":
		p.Type = "smtp"
	case "DNS_CHECK":
		p.Type, p.Query, p.QueryType = "dns", c.value("name"), strings.ToUpper(c.value("type"))
		if p.Query == "" {
			p.Query = "."
		}
		if p.QueryType == "" {
			p.QueryType = "SOA"
		}
	case "PING_CHECK":
		p.Type = "icmp"
	case "MISC_CHECK":
		p.Type = "exec"
		if path := c.find("misc_path"); path != nil {
			p.Command = strings.Fields(strings.Join(path.text[1:], " "))
			k.note(path.at, path.String(), "it runs as a probe of type exec: its exit status 0 is healthy, and it finds the backend in XLB_ADDRESS and XLB_PORT")
		}
		if d := c.find("misc_dynamic"); d != nil {
			k.note(d.at, d.String(), "an exit status is healthy or not; weights come from the operator, discovery or a policy")
		}
	case "UDP_CHECK":
		p.Type = "udp"
	case "BFD_CHECK", "FILE_CHECK":
		k.note(c.at, c.String(), "there is no such probe")
		return nil
	default:
		return nil
	}
	k.timing(v, c, p)
	return p
}

// web is a probe of a page. Of several the first counts.
func (k *keepalived) web(v, c *block, p *Probe) {
	p.Type, p.Host = "http", v.value("virtualhost")
	if c.first() == "SSL_GET" {
		no := false
		p.Type, p.Verify = "https", &no
	}
	if h := c.value("virtualhost"); h != "" {
		p.Host = h
	}
	seen := false
	for _, u := range c.inner {
		if u.first() != "url" {
			continue
		}
		if seen {
			k.note(u.at, "url { path "+u.value("path")+" }", "a probe asks for one page")
			continue
		}
		seen = true
		p.Path = u.value("path")
		if code := u.value("status_code"); code != "" {
			p.Status = statuses(code)
		} else {
			p.Status = statuses("200")
		}
		if h := u.value("virtualhost"); h != "" {
			p.Host = h
		}
		if d := u.find("digest"); d != nil {
			p.Status = nil
			k.note(d.at, d.String(), "a probe looks for a text (body:), not for a digest")
		}
	}
}

// timing: the delay loop is keepalived's interval, its retries the failures that
// take a server down.
func (k *keepalived) timing(v, c *block, p *Probe) {
	number := func(b *block, names ...string) (float64, place) {
		if f := b.find(names...); f != nil {
			n, _ := strconv.ParseFloat(f.arg(0), 64)
			return n, f.at
		}
		return 0, b.at
	}
	either := func(names ...string) (float64, place) {
		if n, at := number(c, names...); n > 0 {
			return n, at
		}
		return number(v, names...)
	}
	interval, at := either("delay_loop")
	if interval == 0 {
		interval = 60 // keepalived's own
	}
	timeout, _ := either("connect_timeout")
	if timeout == 0 {
		timeout = 5
	}
	p.within(k.work, at, seconds(interval), min(seconds(timeout), seconds(interval)))
	retry, _ := either("retry", "nb_get_retry")
	p.Fall = 1 + int(retry)
	if delay, at := either("delay_before_retry"); delay > 0 && delay != interval && retry > 0 {
		k.note(at, "delay_before_retry "+strconv.FormatFloat(delay, 'g', -1, 64), "the failures in a row (fall) are an interval apart")
	}
	if port, _ := number(c, "connect_port"); port > 0 {
		p.Port = int(port)
	}
	if ip := c.value("connect_ip"); ip != "" {
		p.Address = ip
	}
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
