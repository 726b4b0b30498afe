package servers

import (
	"fmt"

	"github.com/xlb-io/xlb/internal/testlab"
)

// StartDNSMasq starts dnsmasq as a name server that knows what the options say, as
// on its command line, for example "--host-record=www.example.com,192.0.2.1", and
// asks nobody else.
func StartDNSMasq(n *testlab.Namespace, port uint16, options ...string) (*Server, error) {
	s, err := newServer(n, "dnsmasq", port, root)
	if err != nil {
		return nil, err
	}
	s.args = append([]string{
		"dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--user=root", "--group=root",
		"--pid-file=" + s.Dir + "/pid", "--log-facility=-", fmt.Sprintf("--port=%d", port),
	}, options...)
	return s, s.Start()
}
