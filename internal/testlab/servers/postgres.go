package servers

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/xlb-io/xlb/internal/testlab"
)

// PostgresOptions shape a PostgreSQL server.
type PostgresOptions struct {
	// Password is that of the superuser `postgres` and of the user `replicator`;
	// empty means that nobody is asked for one.
	Password string
	// TLS, if not empty, is the server's certificate.
	TLS Pair
	// Settings are lines of postgresql.conf.
	Settings []string
}

// Postgres is a PostgreSQL server. Its user and database are both `postgres`.
type Postgres struct {
	*Server
	options PostgresOptions
	bin     string
}

// StartPostgres starts a primary. It takes about three seconds.
func StartPostgres(n *testlab.Namespace, port uint16, o PostgresOptions) (*Postgres, error) {
	p, err := newPostgres(n, port, o)
	if err != nil {
		return nil, err
	}
	args := []string{"-D", p.data(), "-U", "postgres", "-A", "trust", "--no-sync", "-E", "UTF8", "--no-locale"}
	if _, err := p.do(p.bin+"/initdb", args...); err != nil {
		return nil, err
	}
	if err := p.configure(); err != nil {
		return nil, err
	}
	if err := p.Start(); err != nil {
		return nil, err
	}
	password := "NULL"
	if o.Password != "" {
		password = "'" + strings.ReplaceAll(o.Password, "'", "''") + "'"
	}
	_, err = p.SQL("CREATE ROLE replicator REPLICATION LOGIN PASSWORD " + password + "; ALTER ROLE postgres PASSWORD " + password)
	return p, err
}

// Replica starts a hot standby of p that follows it at that address, with a copy
// of its data.
func (p *Postgres) Replica(n *testlab.Namespace, port uint16, primary netip.Addr) (*Postgres, error) {
	r, err := newPostgres(n, port, p.options)
	if err != nil {
		return nil, err
	}
	quoted := strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(p.options.Password)
	from := fmt.Sprintf("host=%s port=%d user=replicator password='%s'", primary, p.Port, quoted)
	if _, err := r.do(r.bin+"/pg_basebackup", "-d", from, "-D", r.data(), "-R", "-X", "stream", "-c", "fast", "--no-sync"); err != nil {
		return nil, err
	}
	if err := r.configure(); err != nil {
		return nil, err
	}
	return r, r.Start()
}

// Promote makes a replica the primary of its own data.
func (p *Postgres) Promote() error {
	_, err := p.SQL("SELECT pg_promote(true, 30)")
	return err
}

// SQL runs statements in one transaction as superuser over the server's socket and
// returns what they print, a row each line.
func (p *Postgres) SQL(statements string) (string, error) {
	return p.do(p.bin+"/psql", "-h", p.Dir, "-p", fmt.Sprint(p.Port), "-U", "postgres", "-v", "ON_ERROR_STOP=1", "-qAtc", statements)
}

func newPostgres(n *testlab.Namespace, port uint16, o PostgresOptions) (*Postgres, error) {
	bin, err := postgresBin()
	if err != nil {
		return nil, err
	}
	who, err := accountOf("postgres")
	if err != nil {
		return nil, err
	}
	s, err := newServer(n, "postgres", port, who)
	if err != nil {
		return nil, err
	}
	p := &Postgres{Server: s, options: o, bin: bin}
	s.args = []string{bin + "/postgres", "-D", p.data()}
	s.stop = unix.SIGINT // "fast": it does not wait for its clients
	s.ready = func(context.Context) error {
		_, err := p.do(bin+"/pg_isready", "-q", "-h", p.Dir, "-p", fmt.Sprint(port))
		return err
	}
	return p, nil
}

// postgresBin is where the newest PostgreSQL of this machine has its programs.
func postgresBin() (string, error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil || len(found) == 0 {
		return "", errors.Join(errors.New("PostgreSQL is not installed (install it with: test/deps test)"), err)
	}
	return filepath.Dir(found[len(found)-1]), nil
}

func (p *Postgres) data() string { return filepath.Join(p.Dir, "data") }

// configure writes what differs from the defaults. Of a copy it replaces the
// primary's.
func (p *Postgres) configure() error {
	lines := append([]string{
		"listen_addresses = '*'", fmt.Sprintf("port = %d", p.Port), "unix_socket_directories = '" + p.Dir + "'",
		"shared_buffers = 16MB", "max_connections = 50", "fsync = off", "autovacuum = off", "max_wal_senders = 8", "wal_keep_size = 64MB",
		// What a replica of a test lacks, it shall ask for soon.
		"wal_retrieve_retry_interval = 200ms",
	}, p.options.Settings...)
	if p.options.TLS != (Pair{}) {
		own, err := p.options.TLS.copy(p.Server)
		if err != nil {
			return err
		}
		lines = append(lines, "ssl = on", "ssl_cert_file = '"+own.Certificate+"'", "ssl_key_file = '"+own.Key+"'")
	}
	method := "scram-sha-256"
	if p.options.Password == "" {
		method = "trust"
	}
	_, err1 := p.write("data/postgresql.conf", strings.Join(lines, "\n")+"\n")
	_, err2 := p.write("data/pg_hba.conf", fmt.Sprintf("local all all trust\nhost all all all %s\nhost replication all all %[1]s\n", method))
	err := errors.Join(err1, err2)
	if err == nil {
		err = os.Chmod(p.data(), 0o700)
	}
	return err
}
