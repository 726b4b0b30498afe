package servers

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/xlb-io/xlb/internal/testlab"
)

// StartExim starts the mail server Exim, which greets as mail.example.com and
// takes no mail. With a certificate it offers STARTTLS.
func StartExim(n *testlab.Namespace, port uint16, tls Pair) (*Server, error) {
	s, err := newServer(n, "exim", port, root)
	if err != nil {
		return nil, err
	}
	// It changes to a user of its own by itself, who then works here.
	mail, err := accountOf("Debian-exim", "exim", "mail")
	if err != nil {
		return nil, err
	}
	if err := os.Chown(s.Dir, int(mail.uid), int(mail.gid)); err != nil {
		return nil, err
	}
	lines := []string{
		"primary_hostname = mail.example.com", fmt.Sprintf("daemon_smtp_ports = %d", port), "local_interfaces = <; 0.0.0.0 ; ::0",
		"spool_directory = " + s.Dir + "/spool", "log_file_path = " + s.Dir + "/%slog", "pid_file_path = " + s.Dir + "/pid",
		"host_lookup =", "rfc1413_query_timeout = 0s", "acl_smtp_rcpt = deny",
	}
	if tls != (Pair{}) {
		own, err := tls.copy(s)
		if err != nil {
			return nil, err
		}
		if err := errors.Join(os.Chmod(own.Certificate, 0o644), os.Chmod(own.Key, 0o644)); err != nil {
			return nil, err
		}
		lines = append(lines, "tls_advertise_hosts = *", "tls_certificate = "+own.Certificate, "tls_privatekey = "+own.Key)
	} else {
		lines = append(lines, "tls_advertise_hosts =")
	}
	lines = append(lines, "begin acl", "deny:", "  deny message = no mail here")
	conf, err := s.write("exim.conf", strings.Join(lines, "\n")+"\n")
	if err != nil {
		return nil, err
	}
	s.args = []string{"exim4", "-bdf", "-C", conf}
	return s, s.Start()
}
