package importer

import (
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// check translates a real server's checker. A probe is of all backends of a
// service, so the first one counts.
func (k *keepalived) check(v, r *block, s *Service) {
	around := &block{inner: slices.Concat(v.inner, r.inner)} // the real server's own lines win
	for _, c := range r.inner {
		p := k.checker(around, c)
		if p == nil {
			continue
		}
		switch {
		case s.Probe == nil:
			s.Probe = p
		case !reflect.DeepEqual(s.Probe, p):
			k.note(c.at, c.String(), "it differs from the one before, and a probe is of all backends of a service")
		}
	}
}

func (k *keepalived) checker(v, c *block) *Probe {
	p := &Probe{Rise: 1}
	retries := 1 // keepalived's own
	switch c.first() {
	case "TCP_CHECK":
		p.Type = "tcp"
	case "HTTP_GET", "SSL_GET":
		k.web(v, c, p)
	case "SMTP_CHECK":
		p.Type = "smtp"
	case "DNS_CHECK":
		retries = 3
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
		retries = 0
		p.Type = "exec"
		path := c.find("misc_path")
		if path == nil || path.arg(0) == "" {
			k.note(c.at, c.String(), "it has no misc_path")
			return nil
		}
		p.Command = strings.Fields(strings.Join(path.text[1:], " "))
		k.note(path.at, path.String(), "it runs as a probe of type exec: its exit status 0 is healthy, and it finds the backend in XLB_ADDRESS and XLB_PORT")
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
	k.leftovers(c, checkerLines)
	if host := c.find("host"); host != nil { // of SMTP_CHECK
		c = &block{words: c.words, inner: slices.Concat(c.inner, host.inner)}
	}
	k.timing(v, c, retries, p)
	return p
}

// web is a probe of a page. Of several the first counts.
func (k *keepalived) web(v, c *block, p *Probe) {
	p.Type = "http"
	if c.first() == "SSL_GET" {
		no := false
		p.Type, p.Verify = "https", &no
	}
	var url *block
	for _, u := range c.inner {
		switch {
		case u.first() != "url":
		case url != nil:
			k.note(u.at, "url { path "+u.value("path")+" }", "a probe asks for one page")
		default:
			url = u
		}
	}
	if url == nil {
		url = &block{}
	}
	k.leftovers(url, urlLines)
	p.Path = url.value("path")
	p.Status = statuses("200-299") // keepalived's own
	if codes := url.find("status_code"); codes != nil {
		p.Status = statuses(codes.text[1:]...)
	}
	if d := url.find("digest"); d != nil {
		k.note(d.at, d.String(), "a probe looks for a text (body:), not for a digest")
	}
	k.host((&block{inner: slices.Concat(v.inner, c.inner, url.inner)}).find("virtualhost"), p)
}

// host is the one that a page is asked of.
func (k *keepalived) host(b *block, p *Probe) {
	if b == nil {
		return
	}
	if p.Host, _, _ = strings.Cut(b.arg(0), ":"); !isName(p.Host) {
		k.note(b.at, b.String(), "host: of a probe is a name")
		p.Host = ""
	}
}

// timing: the delay loop is keepalived's interval, its retries the failures that
// take a server down.
func (k *keepalived) timing(v, c *block, retries int, p *Probe) {
	all := &block{words: c.words, inner: slices.Concat(v.inner, c.inner)} // the checker's own lines win
	number := func(names ...string) (float64, place, bool) {
		f := all.find(names...)
		if f == nil {
			return 0, c.at, false
		}
		n, err := strconv.ParseFloat(f.arg(0), 64)
		if err != nil || n < 0 {
			k.note(f.at, f.String(), "is no number")
			return 0, f.at, false
		}
		return n, f.at, true
	}
	interval, at, _ := number("delay_loop")
	if interval == 0 {
		interval = 60 // keepalived's own
	}
	timeout, _, _ := number("connect_timeout", "misc_timeout")
	if timeout == 0 {
		timeout = min(5, interval)
	}
	p.within(k.work, at, seconds(interval), 0, seconds(timeout))
	if n, _, ok := number("retry", "nb_get_retry"); ok {
		retries = int(min(n, 99))
	}
	p.Fall = 1 + retries
	if delay, at, _ := number("delay_before_retry"); delay > 0 && delay != interval && retries > 0 {
		k.note(at, "delay_before_retry "+strconv.FormatFloat(delay, 'g', -1, 64), "the failures in a row (fall) are an interval apart")
	}
	if port, at, ok := number("connect_port"); port >= 1 && port <= 65535 {
		p.Port = int(port)
	} else if ok {
		k.note(at, "connect_port", "a port is 1 to 65535")
	}
	if ip := c.find("connect_ip"); ip != nil {
		if a, err := netip.ParseAddr(ip.arg(0)); err == nil && unreachable(a) == "" {
			p.Address = a.Unmap().String()
		} else {
			k.note(ip.at, ip.String(), "a probe goes to an address of another host")
		}
	}
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
