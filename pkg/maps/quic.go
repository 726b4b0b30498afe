package maps

import (
	"cmp"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/cilium/ebpf"

	"github.com/xlb-io/xlb/bpf"
)

// QUICServer is how connection IDs of QUIC name a server of a service.
type QUICServer struct {
	Service uint32 `json:"service"`
	// Config is the configuration's number in an ID's first octet, 0 to 6.
	Config uint8 `json:"config"`
	// ID in hexadecimal digits, 1 to 15 octets. The data plane looks for those that
	// are as long as [Selection.QUICServerID] says.
	ID string `json:"id"`
}

func (q QUICServer) String() string {
	return fmt.Sprintf("server %s (configuration %d) of service %d", q.ID, q.Config, q.Service)
}

// CompareQUICServers orders by service, configuration, ID.
func CompareQUICServers(a, b QUICServer) int {
	return cmp.Or(cmp.Compare(a.Service, b.Service), cmp.Compare(a.Config, b.Config), cmp.Compare(a.ID, b.ID))
}

func (q QUICServer) encode() (bpf.QuicKey, error) {
	id, err := hex.DecodeString(q.ID)
	if err != nil || len(id) < 1 || len(id) > maxServerID || q.Config > 6 {
		return bpf.QuicKey{}, fmt.Errorf("%v (want 1 to %d octets, and a configuration from 0 to 6)", q, maxServerID)
	}
	key := bpf.QuicKey{Service: q.Service, Form: q.Config | uint8(len(id))<<3}
	copy(key.Id[:], id)
	return key, nil
}

func decodeQUICServer(k bpf.QuicKey) QUICServer {
	return QUICServer{k.Service, k.Form & 7, hex.EncodeToString(k.Id[:min(int(k.Form>>3), maxServerID)])}
}

func (s *Set) readQUICServers(c *Contents) error {
	return each(s.maps[quicServersName], quicServersName, func(k bpf.QuicKey, backend uint32) {
		c.QUICServers[decodeQUICServer(k)] = backend
	})
}

func (s *Set) putQUICServer(q QUICServer, backend *uint32) error {
	key, err := q.encode()
	if err != nil {
		return err
	}
	m := s.maps[quicServersName]
	if backend == nil {
		err = m.Delete(key)
		if errors.Is(err, ebpf.ErrKeyNotExist) {
			err = nil
		}
	} else {
		err = m.Put(key, *backend)
	}
	if err != nil {
		return fmt.Errorf("write map %s, %v: %w", quicServersName, q, err)
	}
	return nil
}
