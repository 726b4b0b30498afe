package servers

import (
	"fmt"

	"github.com/xlb-io/xlb/internal/testlab"
)

// StartNginx starts nginx with that configuration of `http { … }`, which must
// listen at port; [Listen] helps. Its directory is the prefix of relative paths.
func StartNginx(n *testlab.Namespace, port uint16, http string) (*Server, error) {
	s, err := newServer(n, "nginx", port, root)
	if err != nil {
		return nil, err
	}
	text := fmt.Sprintf(`daemon off;
user root;
worker_processes 1;
pid nginx.pid;
error_log stderr warn;
events { worker_connections 1024; }
http {
access_log off;
client_body_temp_path temporary;
proxy_temp_path temporary;
fastcgi_temp_path temporary;
uwsgi_temp_path temporary;
scgi_temp_path temporary;
%s
}
`, http)
	conf, err := s.write("nginx.conf", text)
	if err != nil {
		return nil, err
	}
	s.args = []string{"nginx", "-p", s.Dir, "-c", conf, "-e", "stderr"}
	return s, s.Start()
}

// Listen is the directives by which an nginx server listens at port on every
// address, with these parameters, for example "ssl http2".
func Listen(port uint16, parameters string) string {
	return listens("listen %s "+parameters+";\n", port)
}
