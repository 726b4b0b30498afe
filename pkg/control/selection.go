package control

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/xlb-io/xlb/pkg/api"
	"github.com/xlb-io/xlb/pkg/maps"
	"github.com/xlb-io/xlb/pkg/model"
	"github.com/xlb-io/xlb/pkg/probe"
)

// selectionOf is what the data plane is told of a service's selection.
func selectionOf(s model.Selection) maps.Selection {
	return maps.Selection{
		Schedule: s.Schedule, Hash: s.Hash,
		AffinityTimeout: s.Affinity.Timeout, AffinityIPv4: s.Affinity.IPv4, AffinityIPv6: s.Affinity.IPv6,
		OnePacket: s.OnePacket, QUICServerID: uint8(s.QUIC.ServerIDLength),
	}
}

// selectionText says what is beside the usual.
func selectionText(s maps.Selection) string {
	var text string
	if s.Schedule != model.Maglev {
		text += fmt.Sprintf(", schedule %s", s.Schedule)
	}
	if s.Hash != model.HashFiveTuple {
		text += fmt.Sprintf(", hash %s", s.Hash)
	}
	if s.AffinityTimeout > 0 {
		text += fmt.Sprintf(", affinity of IPv4 /%d and IPv6 /%d for %s", s.AffinityIPv4, s.AffinityIPv6, model.DurationText(s.AffinityTimeout))
	}
	if s.OnePacket {
		text += ", ops"
	}
	if s.QUICServerID > 0 {
		text += fmt.Sprintf(", QUIC server IDs of %d octets", s.QUICServerID)
	}
	return text
}

// shownSelection fills what the status shows of a service's selection.
func shownSelection(s model.Selection, out *api.Service) {
	out.Schedule, out.OnePacket = s.Schedule.String(), s.OnePacket
	if s.Hash != model.HashFiveTuple {
		out.Hash = s.Hash.String()
	}
	if a := s.Affinity; a.Timeout > 0 {
		out.Affinity = &api.Affinity{TimeoutSeconds: a.Timeout.Seconds(), IPv4: int(a.IPv4), IPv6: int(a.IPv6)}
	}
	if q := s.QUIC; q.ServerIDLength > 0 {
		out.QUIC = &api.QUIC{ServerIDLength: q.ServerIDLength, ConfigRotation: q.ConfigRotation}
	}
}

// quicServer is what connection IDs call a backend of the service, if anything.
func (s *ServiceState) quicServer(b BackendState) (maps.QUICServer, bool) {
	return maps.QUICServer{Service: s.ID, Config: uint8(s.Selection.QUIC.ConfigRotation), ID: b.ServerID}, b.ServerID != ""
}

// nameQUICServers gives the backends of a service, that are configured as in list,
// the names that connection IDs have for them.
func (r *round) nameQUICServers(s *ServiceState, list []model.Backend) {
	length := s.Selection.QUIC.ServerIDLength
	if length == 0 {
		return
	}
	names := make(map[netip.AddrPort]string, len(list))
	for i := len(list) - 1; i >= 0; i-- { // of one address the first counts
		names[list[i].Address] = list[i].QUICServerID(length)
	}
	for i := range s.Backends {
		b := &s.Backends[i]
		b.ServerID = names[b.Address]
		if len(b.ServerID) != 2*length {
			s.warnings = append(s.warnings, fmt.Sprintf("service %q: the server ID %s of backend %s has not %d octets; connection IDs do not lead there", s.Name, b.ServerID, b.Address, length))
			b.ServerID = ""
			continue
		}
		q, _ := s.quicServer(*b)
		if other, taken := r.plan.Contents.QUICServers[q]; taken {
			s.warnings = append(s.warnings, fmt.Sprintf("service %q: backends %s and %s have one server ID, %s; connection IDs lead to the first", s.Name, r.plan.Contents.Backends[other].Address, b.Address, b.ServerID))
			b.ServerID = ""
			continue
		}
		r.plan.Contents.QUICServers[q] = b.ID
	}
}

// checkServerID refuses a backend beside others whose server ID would lead nowhere.
func checkServerID(s model.Service, others []model.Backend, b model.Backend) error {
	length := s.Selection.QUIC.ServerIDLength
	switch {
	case length == 0 && b.ServerID != "":
		return api.Errorf(422, "the server ID has no effect: service %q has no quic", s.Name)
	case length == 0:
		return nil
	case b.ServerID != "" && len(b.ServerID) != 2*length:
		return api.Errorf(422, "server ID %s has %d octets, but service %q has server_id_length %d", b.ServerID, len(b.ServerID)/2, s.Name, length)
	}
	id := b.QUICServerID(length)
	if i := slices.IndexFunc(others, func(o model.Backend) bool { return o.QUICServerID(length) == id }); i >= 0 {
		return api.Errorf(422, "backend %s has the server ID %s already (give another)", others[i].Address, id)
	}
	return nil
}

// keepQUICServers keeps the names of backends of a service that are no longer
// configured, unless another has one now, or its IDs look different.
func (r *round) keepQUICServers(s *ServiceState, retired []BackendState) {
	for i := range retired {
		b := &retired[i]
		was, named := r.named[b.ID]
		now := maps.QUICServer{Service: s.ID, Config: uint8(s.Selection.QUIC.ConfigRotation), ID: was.ID}
		if !named || was != now || len(was.ID) != 2*s.Selection.QUIC.ServerIDLength {
			continue
		}
		if _, taken := r.plan.Contents.QUICServers[was]; !taken {
			r.plan.Contents.QUICServers[was] = b.ID
			b.ServerID = was.ID
		}
	}
}

// tellLatencies tells the data plane how fast backends answer probes, where it
// cannot measure how fast they open connections.
func (c *controller) tellLatencies() {
	if c.plan == nil {
		return
	}
	for i := range c.plan.Services {
		s := &c.plan.Services[i]
		if s.Selection.Schedule != model.LeastLatency || measuresLatency(s.Selection, s.Forward, s.Frontends) {
			continue
		}
		for _, b := range s.Backends {
			if status, ok := c.prober.Status(probe.Key{Service: s.Name, Backend: b.Address}); ok {
				c.data.SetLatency(b.ID, status.Smoothed)
			}
		}
	}
}

// measuresLatency says whether a service needs to know how fast its backends open
// connections, and the data plane can see it: by the answers to SYNs.
func measuresLatency(s model.Selection, forward model.Forward, frontends []model.Frontend) bool {
	return s.Schedule == model.LeastLatency && forward.RewritesPorts() && len(frontends) > 0 && frontends[0].Protocol == model.TCP
}
