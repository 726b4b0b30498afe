package servers

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/xlb-io/xlb/internal/testlab"
)

// MariaDBOptions shape a MariaDB server.
type MariaDBOptions struct {
	// Users are names with their passwords, who may do everything.
	Users map[string]string
	// TLS, if not empty, is the server's certificate.
	TLS Pair
	// Settings are lines below [mariadbd].
	Settings []string
}

// StartMariaDB starts a MariaDB server. It takes about two seconds.
func StartMariaDB(n *testlab.Namespace, port uint16, o MariaDBOptions) (*Server, error) {
	who, err := accountOf("mysql")
	if err != nil {
		return nil, err
	}
	s, err := newServer(n, "mariadb", port, who)
	if err != nil {
		return nil, err
	}
	lines := []string{
		"[mariadbd]", "datadir = " + s.Dir + "/data", "socket = " + s.Dir + "/socket", "pid-file = " + s.Dir + "/pid", fmt.Sprintf("port = %d", port),
		"bind-address = *", "skip-name-resolve", "innodb-flush-log-at-trx-commit = 0", "innodb-log-file-size = 8M", "innodb-buffer-pool-size = 16M",
		"init-file = " + s.Dir + "/init.sql",
	}
	if o.TLS != (Pair{}) {
		own, err := o.TLS.copy(s)
		if err != nil {
			return nil, err
		}
		lines = append(lines, "ssl-cert = "+own.Certificate, "ssl-key = "+own.Key)
	}
	conf, err := s.write("my.cnf", strings.Join(append(lines, o.Settings...), "\n")+"\n")
	if err != nil {
		return nil, err
	}
	if err := bootstrap(s); err != nil {
		return nil, err
	}
	var sql strings.Builder
	for name, password := range o.Users {
		fmt.Fprintf(&sql, "CREATE USER IF NOT EXISTS '%s'@'%%' IDENTIFIED BY '%s';\nGRANT ALL ON *.* TO '%[1]s'@'%%';\n", name, password)
	}
	if _, err := s.write("init.sql", sql.String()); err != nil {
		return nil, err
	}
	s.args = []string{"mariadbd", "--defaults-file=" + conf}
	return s, s.Start()
}

// bootstrap makes the system's tables, as mariadb-install-db does; that one needs
// programs of other packages.
func bootstrap(s *Server) error {
	if err := errors.Join(os.Mkdir(s.Dir+"/data", 0o700), s.give(s.Dir+"/data")); err != nil {
		return err
	}
	sql := "CREATE DATABASE mysql;\nUSE mysql;\nSET @auth_root_socket = NULL, @skip_auth_anonymous = 1;\n"
	for _, name := range []string{"mysql_system_tables.sql", "mysql_performance_tables.sql", "mysql_system_tables_data.sql"} {
		text, err := os.ReadFile("/usr/share/mysql/" + name)
		if err != nil {
			return fmt.Errorf("%w (install it with: test/deps test)", err)
		}
		sql += string(text)
	}
	p := s.command("mariadbd", "--no-defaults", "--bootstrap", "--datadir="+s.Dir+"/data", "--innodb-log-file-size=8M", "--innodb-buffer-pool-size=16M")
	p.Cmd.Stdin = strings.NewReader(sql)
	if out, err := p.Output(); err != nil {
		return fmt.Errorf("mariadb in %s: %w %s", s.Namespace.Name, err, out)
	}
	return nil
}
