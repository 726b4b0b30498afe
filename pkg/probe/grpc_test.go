package probe

import (
	"crypto/tls"
	"io"
	"net"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/xlb-io/xlb/pkg/model"
)

// serveGRPC runs a gRPC server with a health service, if that is given.
func serveGRPC(t *testing.T, h *health.Server, options ...grpc.ServerOption) net.Addr {
	t.Helper()
	l := listen(t, "127.0.0.1:0")
	s := grpc.NewServer(options...)
	if h != nil {
		healthpb.RegisterHealthServer(s, h)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.Serve(l)
	}()
	t.Cleanup(func() {
		s.Stop()
		<-done
	})
	return l.Addr()
}

func grpcTarget(addr net.Addr, service string) Target {
	tg := tcpTarget(addr)
	tg.Probe.Type, tg.Probe.GRPC.Service = model.ProbeGRPC, service
	return tg
}

func TestGRPC(t *testing.T) {
	noSocketLeft(t)
	h := health.NewServer()
	addr := serveGRPC(t, h)
	for _, c := range []struct {
		service string
		status  healthpb.HealthCheckResponse_ServingStatus
		want    string
	}{
		{"", healthpb.HealthCheckResponse_SERVING, ""},
		{"", healthpb.HealthCheckResponse_NOT_SERVING, "grpc: the health service says NOT_SERVING"},
		{"shop.v1.Cart", healthpb.HealthCheckResponse_SERVING, ""},
		{"shop.v1.Cart", healthpb.HealthCheckResponse_NOT_SERVING, "grpc: the health service says NOT_SERVING"},
	} {
		h.SetServingStatus(c.service, c.status)
		if got := run(t, grpcTarget(addr, c.service)); got != c.want {
			t.Errorf("%q %s: reason is %q, want %q", c.service, c.status, got, c.want)
		}
	}
	if got, want := run(t, grpcTarget(addr, "nobody")), `grpc: the health service does not know service "nobody"`; got != want {
		t.Errorf("reason is %q, want %q", got, want)
	}
	if got, want := run(t, grpcTarget(serveGRPC(t, nil), "")), "grpc: the server has no health service (grpc.health.v1)"; got != want {
		t.Errorf("reason is %q, want %q", got, want)
	}
}

func TestGRPCOverTLS(t *testing.T) {
	noSocketLeft(t)
	a, own := authority(t)
	h := health.NewServer()
	addr := serveGRPC(t, h, grpc.Creds(credentials.NewServerTLSFromCert(&own)))
	tg := grpcTarget(addr, "")
	tg.Probe.GRPC.Host = "db.example.com"
	tg.Probe.TLS = model.TLSProbe{Mode: model.TLSOn, CA: a.File}
	if reason := run(t, tg); reason != "" {
		t.Error(reason)
	}
	tg.Probe.TLS.CA = ""
	if got := run(t, tg); got != untrusted {
		t.Errorf("reason is %q, want %q", got, untrusted)
	}
	tg = grpcTarget(serveTLS(t, &tls.Config{Certificates: []tls.Certificate{own}}, nil), "")
	tg.Probe.TLS = model.TLSProbe{Mode: model.TLSOn, CA: a.File}
	if got, want := run(t, tg), "the backend does not offer HTTP/2 (ALPN h2)"; got != want {
		t.Errorf("reason is %q, want %q", got, want)
	}
}

func TestGRPCFailures(t *testing.T) {
	noSocketLeft(t)
	mute := tcpTarget(listen(t, "127.0.0.1:0").Addr())
	mute.Probe.Type, mute.Probe.Timeout = model.ProbeGRPC, 200*time.Millisecond
	if got, want := run(t, mute), "timeout after 200ms while waiting for the response"; got != want {
		t.Errorf("reason is %q, want %q", got, want)
	}
	closing := serve(t, func(conn net.Conn) { io.ReadFull(conn, make([]byte, 24)) })
	if got := run(t, grpcTarget(closing, "")); got == "" {
		t.Error("a server that closes passed")
	}
	refused := listen(t, "127.0.0.1:0")
	refused.Close()
	if got, want := run(t, grpcTarget(refused.Addr(), "")), "connect: connection refused"; got != want {
		t.Errorf("reason is %q, want %q", got, want)
	}
}
