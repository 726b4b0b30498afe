package servers

import (
	"context"
	"fmt"
	"net/netip"
	"strings"

	"github.com/xlb-io/xlb/internal/testlab"
)

// RedisOptions shape a Redis server.
type RedisOptions struct {
	// Password is that of the user `default` and towards the primary; empty
	// means none.
	Password string
	// ReplicaOf is the primary; the zero value means to be one.
	ReplicaOf netip.AddrPort
	// TLS, if not empty, is the server's certificate; its port then speaks TLS
	// alone.
	TLS Pair
	// Settings are lines of redis.conf.
	Settings []string
}

// Redis is a Redis server.
type Redis struct {
	*Server
	password string
	tls      bool
}

// StartRedis starts a primary or a replica, without waiting for the data of its
// primary.
func StartRedis(n *testlab.Namespace, port uint16, o RedisOptions) (*Redis, error) {
	s, err := newServer(n, "redis", port, root)
	if err != nil {
		return nil, err
	}
	r := &Redis{s, o.Password, o.TLS != Pair{}}
	lines := []string{
		fmt.Sprintf("port %d", port), "bind * -::*", "protected-mode no", "dir " + s.Dir, "save \"\"", "repl-diskless-sync-delay 0",
	}
	if o.TLS != (Pair{}) {
		lines[0] = fmt.Sprintf("port 0\ntls-port %d\ntls-cert-file %s\ntls-key-file %s\ntls-auth-clients no", port, o.TLS.Certificate, o.TLS.Key)
	}
	if o.Password != "" {
		lines = append(lines, "requirepass "+o.Password, "masterauth "+o.Password)
	}
	if o.ReplicaOf.IsValid() {
		lines = append(lines, fmt.Sprintf("replicaof %s %d", o.ReplicaOf.Addr(), o.ReplicaOf.Port()))
	}
	conf, err := s.write("redis.conf", strings.Join(append(lines, o.Settings...), "\n")+"\n")
	if err != nil {
		return nil, err
	}
	s.args = []string{"redis-server", conf}
	s.ready = func(context.Context) error {
		_, err := r.Command("PING")
		return err
	}
	return r, s.Start()
}

// Command runs one command with redis-cli and returns its answer; an answer that
// is an error is one.
func (r *Redis) Command(args ...string) (string, error) {
	all := []string{"-e", "-h", "127.0.0.1", "-p", fmt.Sprint(r.Port)}
	if r.password != "" {
		all = append(all, "--no-auth-warning", "-a", r.password)
	}
	if r.tls {
		all = append(all, "--tls", "--insecure")
	}
	return r.do("redis-cli", append(all, args...)...)
}
