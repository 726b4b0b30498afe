package probe

import (
	"bufio"
	"bytes"
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"log"
	"net"

	"github.com/go-sql-driver/mysql"

	"github.com/xlb-io/xlb/pkg/model"
)

// mysqlCheck passes if a client can log in and ask whether the server is read-only,
// which gives its role. Without a user it tries to log in as one that need not
// exist, and a server that denies that is alive. It does try: a server counts
// clients that leave before, and in the end takes none of their host.
type mysqlCheck struct {
	connector
	login    model.Login
	security security
}

// Errors of a server that are about who asks: access denied, with its kinds, and
// unknown database.
var deniesClient = map[uint16]bool{1044: true, 1045: true, 1049: true, 1251: true, 1524: true, 1698: true, 3118: true, 3955: true}

func (c mysqlCheck) check(ctx context.Context) (role string, err error) {
	config := mysql.NewConfig()
	if config.Passwd, err = password(c.login); err != nil {
		return "", err
	}
	if c.security.probe.Mode != model.TLSOff {
		if config.TLS, err = c.security.config(); err != nil {
			return "", err
		}
	}
	raw, done, err := c.connect(ctx)
	if err != nil {
		return "", err
	}
	defer done()
	conn, err := c.greeted(ctx, raw)
	if err != nil {
		return "", err
	}
	config.User, config.DBName = c.login.User, c.login.Database
	if config.User == "" {
		config.User = unknownUser
	}
	config.Net, config.Addr, config.DialFunc = "tcp", c.addr.String(), once(bounded{conn, new(int)})
	config.Logger = log.New(io.Discard, "", 0) // what it logs, it returns too
	connector, err := mysql.NewConnector(config)
	if err != nil {
		return "", errors.New(shorten("mysql: " + err.Error()))
	}
	server, err := connector.Connect(ctx)
	if err != nil {
		return "", c.refusal(ctx, phaseLogin, err)
	}
	defer server.Close()
	if c.login.User == "" {
		return "", nil
	}
	return c.role(ctx, server)
}

var errNotMySQL = errors.New("mysql: the answer is not MySQL's protocol")

// greeted is conn, once the first packet on it is a greeting, or an error: the
// library takes its parts to be where they belong.
func (c mysqlCheck) greeted(ctx context.Context, conn net.Conn) (net.Conn, error) {
	r := bufio.NewReaderSize(conn, 4+maxGreeting)
	head, err := r.Peek(5)
	if err != nil {
		return nil, c.reason(ctx, phaseGreet, err)
	}
	length := int(head[0]) | int(head[1])<<8 | int(head[2])<<16
	const refusal, version10 = 0xff, 10
	if length > maxGreeting || head[3] != 0 || head[4] != refusal && head[4] != version10 {
		return nil, errNotMySQL
	}
	packet, err := r.Peek(4 + length)
	if err != nil {
		return nil, c.reason(ctx, phaseGreet, err)
	}
	// Behind the version, which a zero ends: connection id, 8 bytes of salt, filler,
	// capabilities, charset, status, more capabilities, length of the salt, 10 zeros.
	const rest = 4 + 8 + 1 + 2 + 1 + 2 + 2 + 1 + 10
	end := bytes.IndexByte(packet[5:], 0)
	if head[4] == version10 && (end < 0 || len(packet) < 5+end+1+rest) || head[4] == refusal && length < 4 {
		return nil, errNotMySQL
	}
	return buffered{conn, r}, nil
}

// maxGreeting is more than any server says of itself.
const maxGreeting = 1024

// buffered is a connection of which some was read ahead.
type buffered struct {
	net.Conn
	r *bufio.Reader
}

func (b buffered) Read(p []byte) (int, error) { return b.r.Read(p) }

func (c mysqlCheck) role(ctx context.Context, server driver.Conn) (role string, err error) {
	rows, err := server.(driver.QueryerContext).QueryContext(ctx, "SELECT @@global.read_only + 0", nil)
	if err != nil {
		return "", c.refusal(ctx, phaseHeader, err)
	}
	defer rows.Close()
	row := make([]driver.Value, 1)
	if err := rows.Next(row); err != nil {
		return "", c.refusal(ctx, phaseHeader, err)
	}
	value := row[0]
	if text, ok := value.([]byte); ok {
		value = string(text)
	}
	if fmt.Sprint(value) == "0" {
		return model.RolePrimary, nil
	}
	return model.RoleReplica, nil
}

// refusal gives what the server said; nil where it only denies a client without
// credentials.
func (c mysqlCheck) refusal(ctx context.Context, p phase, err error) error {
	if said, ok := errors.AsType[*mysql.MySQLError](err); ok {
		if c.login.User == "" && deniesClient[said.Number] {
			return nil
		}
		return errors.New(shorten("mysql: " + said.Message))
	}
	switch {
	case ctx.Err() != nil:
		return c.reason(ctx, p, ctx.Err())
	case errors.Is(err, mysql.ErrNoTLS):
		return errors.New("mysql: the server does not offer TLS")
	case errors.Is(err, mysql.ErrMalformPkt), errors.Is(err, mysql.ErrPktSync), errors.Is(err, mysql.ErrOldProtocol), errors.Is(err, errTooLong):
		return errNotMySQL
	case errors.Is(err, mysql.ErrInvalidConn), errors.Is(err, driver.ErrBadConn):
		// The library says no more than that the connection is gone.
		return c.reason(ctx, p, io.EOF)
	case isTLS(err):
		return c.reason(ctx, phaseTLS, err)
	}
	return c.reason(ctx, p, err)
}

// bounded is a connection that has said maxAnswer bytes at most, for libraries
// that hold an answer in memory, however long it is.
type bounded struct {
	net.Conn
	read *int
}

var errTooLong = errors.New("the answer is too long")

func (b bounded) Read(p []byte) (int, error) {
	if *b.read >= maxAnswer {
		return 0, errTooLong
	}
	n, err := b.Conn.Read(p[:min(len(p), maxAnswer-*b.read)])
	*b.read += n
	return n, err
}
