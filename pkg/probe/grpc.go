package probe

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	health "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/xlb-io/xlb/pkg/model"
)

// grpcCheck passes if the backend's service grpc.health.v1.Health says SERVING.
type grpcCheck struct {
	connector
	service  string
	host     string
	security security
}

func newGRPCCheck(c connector, p model.Probe) checker {
	g := grpcCheck{connector: c, service: p.GRPC.Service, host: p.GRPC.Host}
	if g.host == "" {
		g.host = hostOf(c.addr, 0) // an authority has its port
	}
	g.security = newSecurity(p.TLS, g.host, "h2")
	if err := checkHost(g.host); err != nil {
		return failing{err}
	}
	return g
}

func (g grpcCheck) check(ctx context.Context) (role string, err error) {
	raw, done, err := g.connect(ctx)
	if err != nil {
		return "", err
	}
	defer done()
	conn, err := g.secure(ctx, raw, g.security)
	if err != nil {
		return "", err
	}
	creds := credentials.TransportCredentials(insecure.NewCredentials())
	if secure, ok := conn.(*tls.Conn); ok {
		if secure.ConnectionState().NegotiatedProtocol != "h2" {
			return "", errNoHTTP2
		}
		creds = encrypted{creds}
	}
	heard := &framed{Conn: conn}
	dial := once(heard)
	client, err := grpc.NewClient("passthrough:///backend",
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return dial(ctx, "", "") }),
		grpc.WithTransportCredentials(creds), grpc.WithAuthority(g.host), grpc.WithUserAgent("xlb-probe"),
		grpc.WithDisableServiceConfig(), grpc.WithDisableRetry(), grpc.WithNoProxy(), grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxAnswer)))
	if err != nil {
		return "", errors.New(shorten("grpc: " + err.Error()))
	}
	defer client.Close()
	answer, err := health.NewHealthClient(client).Check(ctx, &health.HealthCheckRequest{Service: g.service})
	if err != nil {
		return "", g.refusal(ctx, heard, err)
	}
	if answer.Status != health.HealthCheckResponse_SERVING {
		return "", fmt.Errorf("grpc: the health service says %s", answer.Status)
	}
	return "", nil
}

func (g grpcCheck) refusal(ctx context.Context, heard *framed, err error) error {
	if ctx.Err() != nil {
		return g.reason(ctx, phaseHeader, ctx.Err())
	}
	s := status.Convert(err)
	switch s.Code() {
	case codes.DeadlineExceeded:
		return g.reason(ctx, phaseHeader, context.DeadlineExceeded)
	case codes.NotFound:
		return fmt.Errorf("grpc: the health service does not know service %q", g.service)
	case codes.Unimplemented:
		return errors.New("grpc: the server has no health service (grpc.health.v1)")
	case codes.Unavailable:
		if cause := heard.cause(nil); cause != nil {
			return g.ended(ctx, cause)
		}
	}
	return errors.New(shorten(fmt.Sprintf("grpc: %s: %s", s.Code(), s.Message())))
}

// encrypted are the credentials of a connection that speaks TLS already. By them
// gRPC knows that its scheme is https.
type encrypted struct {
	credentials.TransportCredentials
}

func (e encrypted) ClientHandshake(_ context.Context, _ string, conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return conn, credentials.TLSInfo{CommonAuthInfo: credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity}}, nil
}

func (e encrypted) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "tls"}
}

func (e encrypted) Clone() credentials.TransportCredentials { return e }
