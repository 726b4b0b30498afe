package probe

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/xlb-io/xlb/pkg/model"
)

// postgresCheck passes if a client can log in and ask whether the server is in
// recovery, which gives its role. Without a user it only begins to log in, as
// somebody who need not exist: a server that asks for a password, or refuses that
// client, is alive; one that is starting up, or has no room, says so.
type postgresCheck struct {
	connector
	login    model.Login
	security security
	// base holds what is the same each time; it is copied.
	base *pgconn.Config
}

// unknownUser is who begins to log in where the configuration names nobody.
const unknownUser = "xlb"

func newPostgresCheck(c connector, p model.Probe, s security) checker {
	// The library takes only what ParseConfig made. That looks into the
	// environment, which is none of a probe's business, so that everything is set
	// afterwards.
	base, err := pgconn.ParseConfig("host=127.0.0.1 port=5432 user=xlb dbname=postgres sslmode=disable password=- connect_timeout=1 target_session_attrs=any")
	if err != nil {
		return failing{errors.New(shorten("postgres: " + err.Error()))}
	}
	base.Host, base.Port, base.User, base.Database = c.host(), c.addr.Port(), p.Login.User, p.Login.Database
	if base.Database == "" {
		base.Database = "postgres"
	}
	// TLS is ours: the library gets a connection that speaks it already.
	base.TLSConfig, base.Fallbacks, base.ConnectTimeout, base.SSLCertMode = nil, nil, 0, ""
	base.KerberosSrvName, base.KerberosSpn, base.RequireAuth, base.ChannelBinding = "", "", "", "prefer"
	base.RuntimeParams = map[string]string{"application_name": "xlb-probe"}
	base.MaxProtocolMessageBodyLen = maxAnswer
	base.LookupFunc = func(_ context.Context, host string) ([]string, error) { return []string{host}, nil }
	return postgresCheck{c, p.Login, s, base}
}

func (c postgresCheck) check(ctx context.Context) (role string, err error) {
	secret, err := password(c.login)
	if err != nil {
		return "", err
	}
	raw, done, err := c.connect(ctx)
	if err != nil {
		return "", err
	}
	defer done()
	conn, err := c.startTLS(ctx, raw)
	if err != nil {
		return "", err
	}
	if c.login.User == "" {
		return "", c.knock(ctx, conn)
	}
	config := c.base.Copy()
	config.Password, config.DialFunc = secret, pgconn.DialFunc(once(conn))
	server, err := pgconn.ConnectConfig(ctx, config)
	if err != nil {
		return "", c.refusal(ctx, phaseLogin, err)
	}
	defer server.Close(ctx)
	return c.role(ctx, server)
}

// startTLS asks for TLS, where that is wanted, in PostgreSQL's way.
func (c postgresCheck) startTLS(ctx context.Context, conn net.Conn) (net.Conn, error) {
	if c.security.probe.Mode == model.TLSOff {
		return conn, nil
	}
	const sslRequest = 80877103
	ask := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, 8), sslRequest)
	if _, err := conn.Write(ask); err != nil {
		return nil, c.reason(ctx, phaseSend, err)
	}
	answer := make([]byte, 1)
	if _, err := io.ReadFull(conn, answer); err != nil {
		return nil, c.reason(ctx, phaseTLS, err)
	}
	switch answer[0] {
	case 'S':
		return c.secure(ctx, conn, c.security)
	case 'N':
		return nil, errors.New("postgres: the server does not offer TLS")
	}
	return nil, errNotPostgres
}

var errNotPostgres = errors.New("postgres: the answer is not PostgreSQL's protocol")

// knock begins to log in and looks at the first answer.
func (c postgresCheck) knock(ctx context.Context, conn net.Conn) error {
	front := pgproto3.NewFrontend(conn, conn)
	front.SetMaxBodyLen(maxAnswer)
	front.Send(&pgproto3.StartupMessage{ProtocolVersion: pgproto3.ProtocolVersion30, Parameters: map[string]string{
		"user": unknownUser, "database": c.base.Database, "application_name": "xlb-probe",
	}})
	if err := front.Flush(); err != nil {
		return c.reason(ctx, phaseSend, err)
	}
	answer, err := front.Receive()
	if err != nil {
		return c.refusal(ctx, phaseHeader, err)
	}
	switch answer := answer.(type) {
	case pgproto3.AuthenticationResponseMessage:
		return nil
	case *pgproto3.ErrorResponse:
		if refusesClient(answer.Code) {
			return nil
		}
		return errors.New(shorten("postgres: " + answer.Message))
	}
	return errNotPostgres
}

// refusesClient tells whether an error is about who asks (SQLSTATE classes 28 and
// 3D, insufficient privilege), and not about the server.
func refusesClient(code string) bool {
	return strings.HasPrefix(code, "28") || strings.HasPrefix(code, "3D") || code == "42501"
}

func (c postgresCheck) role(ctx context.Context, server *pgconn.PgConn) (role string, err error) {
	results, err := server.Exec(ctx, "SELECT pg_catalog.pg_is_in_recovery()").ReadAll()
	switch {
	case err != nil:
		return "", c.refusal(ctx, phaseHeader, err)
	case len(results) != 1 || len(results[0].Rows) != 1 || len(results[0].Rows[0]) != 1:
		return "", errors.New("postgres: the answer to pg_is_in_recovery() is no single value")
	case string(results[0].Rows[0][0]) == "t":
		return model.RoleReplica, nil
	}
	return model.RolePrimary, nil
}

// refusal gives what the server said.
func (c postgresCheck) refusal(ctx context.Context, p phase, err error) error {
	if said, ok := errors.AsType[*pgconn.PgError](err); ok {
		return errors.New(shorten("postgres: " + said.Message))
	}
	if _, ok := errors.AsType[*pgproto3.ExceededMaxBodyLenErr](err); ok {
		return errNotPostgres
	}
	if failed, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		// Its own text repeats user, database and address.
		if inner := errors.Unwrap(errors.Unwrap(failed)); inner != nil && p == phaseLogin {
			err = fmt.Errorf("postgres: %w", inner)
		}
	}
	return c.reason(ctx, p, err)
}
