package compare

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
)

// maxConnections of a proxy: far more than are opened, within the usual limits of
// open files at two descriptors and a pipe each.
const maxConnections = 4000

// haproxyRow is HAProxy with buffers of so many bytes: its usual ones make for
// the most connections, larger ones for the most bytes.
func haproxyRow(threads, buffer int) row {
	r := row{
		name: fmt.Sprintf("haproxy-%d", threads), what: fmt.Sprintf("HAProxy, mode tcp, nbthread %d, splice-auto", threads),
		needs: []string{"haproxy"}, way: proxied,
		start: func(_ context.Context, s *site) (balancer, error) {
			return balancer{}, s.proxy(s.haproxyConfig(threads, buffer), "haproxy", "-db", "-f")
		},
	}
	if buffer != usualBuffer {
		r.name += fmt.Sprintf("-%dk", buffer>>10)
		r.what += fmt.Sprintf(", tune.bufsize %d", buffer)
	}
	return r
}

// usualBuffer is HAProxy's own default.
const usualBuffer = 16384

func nginxRow(workers int) row {
	return row{
		name: fmt.Sprintf("nginx-%d", workers), what: fmt.Sprintf("nginx stream, worker_processes %d, reuseport", workers),
		way: proxied,
		start: func(_ context.Context, s *site) (balancer, error) {
			return balancer{}, s.proxy(s.nginxConfig(workers), "nginx", "-e", "stderr", "-c")
		},
	}
}

// proxy starts a program whose last argument is its configuration.
func (s *site) proxy(config, name string, args ...string) error {
	for _, f := range s.frontends() {
		if err := s.Balancer.AddAddresses("lo", netip.PrefixFrom(f.at.Addr(), 32)); err != nil {
			return err
		}
	}
	if err := s.freePorts(s.Balancer); err != nil {
		return err
	}
	path, err := s.write(name+".conf", config)
	if err != nil {
		return err
	}
	return s.run(s.Balancer, name, append(args, path)...)
}

func (s *site) haproxyConfig(threads, buffer int) string {
	var b strings.Builder
	fmt.Fprintf(&b, `global
	nbthread %d
	maxconn %d
	tune.bufsize %d
defaults
	mode tcp
	balance roundrobin
	option splice-auto
	option tcp-smart-accept
	option tcp-smart-connect
	timeout connect 5s
	timeout client 1m
	timeout server 1m
`, threads, maxConnections, buffer)
	for _, f := range s.frontends() {
		fmt.Fprintf(&b, "listen %s\n\tbind %s shards by-thread backlog 4096\n", f.name, f.at)
		for i, one := range f.backends {
			fmt.Fprintf(&b, "\tserver %d %s\n", i, one)
		}
	}
	return b.String()
}

func (s *site) nginxConfig(workers int) string {
	var b strings.Builder
	fmt.Fprintf(&b, `load_module /usr/lib/nginx/modules/ngx_stream_module.so;
daemon off;
worker_processes %d;
worker_rlimit_nofile %d;
pid %s;
error_log stderr warn;
events {
	worker_connections %d;
	multi_accept on;
}
stream {
	tcp_nodelay on;
	proxy_timeout 1m;
`, workers, 3*maxConnections, s.path("balancer.pid"), 2*maxConnections)
	for _, f := range s.frontends() {
		fmt.Fprintf(&b, "\tupstream %s {\n", f.name)
		for _, one := range f.backends {
			fmt.Fprintf(&b, "\t\tserver %s;\n", one)
		}
		// The buffer is allocated per connection: large pays for bulk only.
		buffer := "16k"
		if f.at.Port() == bulkPort {
			buffer = "256k"
		}
		fmt.Fprintf(&b, "\t}\n\tserver {\n\t\tlisten %s reuseport backlog=4096;\n\t\tproxy_buffer_size %s;\n\t\tproxy_pass %s;\n\t}\n",
			f.at, buffer, f.name)
	}
	fmt.Fprintln(&b, "}")
	return b.String()
}
