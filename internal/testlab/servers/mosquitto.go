package servers

import (
	"errors"
	"fmt"
	"strings"

	"github.com/xlb-io/xlb/internal/testlab"
)

// MosquittoOptions shape a Mosquitto broker.
type MosquittoOptions struct {
	// Users are names with their passwords; without any, everybody may connect.
	Users map[string]string
	// TLS, if not empty, is the broker's certificate, and its port speaks TLS.
	TLS Pair
	// WebSocketPort, if not 0, speaks MQTT over WebSocket without TLS.
	WebSocketPort uint16
	// Settings are lines of mosquitto.conf, for example of a bridge. They follow
	// those of the listeners.
	Settings []string
}

// StartMosquitto starts an MQTT broker.
func StartMosquitto(n *testlab.Namespace, port uint16, o MosquittoOptions) (*Server, error) {
	// As root, Mosquitto changes to a user of its own, who may not read here.
	s, err := newServer(n, "mosquitto", port, root)
	if err != nil {
		return nil, err
	}
	lines := []string{"user root", "per_listener_settings false", "log_dest stderr", fmt.Sprintf("allow_anonymous %t", len(o.Users) == 0)}
	if len(o.Users) > 0 {
		passwords, err := mosquittoPasswords(s, o.Users)
		if err != nil {
			return nil, err
		}
		lines = append(lines, "password_file "+passwords)
	}
	lines = append(lines, fmt.Sprintf("listener %d", port))
	if o.TLS != (Pair{}) {
		lines = append(lines, "certfile "+o.TLS.Certificate, "keyfile "+o.TLS.Key)
	}
	if o.WebSocketPort != 0 {
		lines = append(lines, fmt.Sprintf("listener %d", o.WebSocketPort), "protocol websockets")
	}
	conf, err := s.write("mosquitto.conf", strings.Join(append(lines, o.Settings...), "\n")+"\n")
	if err != nil {
		return nil, err
	}
	s.args = []string{"mosquitto", "-c", conf}
	return s, s.Start()
}

func mosquittoPasswords(s *Server, users map[string]string) (string, error) {
	path, err := s.write("passwords", "")
	errs := []error{err}
	for name, password := range users {
		_, err := s.do("mosquitto_passwd", "-b", path, name, password)
		errs = append(errs, err)
	}
	return path, errors.Join(errs...)
}
