package api

import (
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/xlb-io/xlb/pkg/model"
)

// MaxDrain bounds the time of a drain, so that it is a [time.Duration] and a date.
const MaxDrain = 365 * 24 * time.Hour

// membership does those verbs on a backend that need nothing of before.
func (s *Server) membership(r *http.Request, service string, address netip.AddrPort, verb string) (any, error) {
	ctx, done := r.Context(), struct{}{}
	switch verb {
	case "disable":
		return done, s.daemon.SetDisabled(ctx, service, address, true)
	case "enable":
		return done, s.daemon.SetDisabled(ctx, service, address, false)
	case "add":
		b, err := decodeBackend(r, address)
		if err != nil {
			return nil, err
		}
		return done, s.daemon.AddBackend(ctx, service, b)
	case "rm":
		return done, s.daemon.RemoveBackend(ctx, service, address)
	}
	return nil, Errorf(http.StatusNotFound, "nothing called %q can be done to a backend (add, rm, drain, undrain, disable, enable, weight)", verb)
}

func decodeBackend(r *http.Request, address netip.AddrPort) (b model.Backend, err error) {
	var req BackendRequest
	if err := decodeBody(r, &req); err != nil {
		return b, err
	}
	weight := 1
	if req.Weight != nil {
		weight = *req.Weight
	}
	switch {
	case address.Port() == 0:
		return b, Errorf(http.StatusBadRequest, "backend %s has no port", address)
	case weight < 0 || weight > 65535:
		return b, Errorf(http.StatusBadRequest, "weight %d is not 0 to 65535", weight)
	case req.Priority < 0 || req.Priority > 255:
		return b, Errorf(http.StatusBadRequest, "priority %d is not 0 to 255", req.Priority)
	case !model.ValidZone(req.Zone):
		return b, Errorf(http.StatusBadRequest, "zone %q is not 1 to 63 bytes without control characters", req.Zone)
	case !model.ValidServerID(req.ServerID):
		return b, Errorf(http.StatusBadRequest, "server ID %q is not 1 to 15 octets in hexadecimal digits", req.ServerID)
	}
	for _, t := range req.Tags {
		if !model.ValidTag(t) {
			return b, Errorf(http.StatusBadRequest, "tag %q is not 1 to 63 bytes without commas, spaces and control characters", t)
		}
	}
	return model.Backend{
		Address: netip.AddrPortFrom(address.Addr().Unmap(), address.Port()), Weight: uint16(weight),
		Zone: req.Zone, Tags: model.TagsOf(req.Tags...), Priority: uint8(req.Priority), ServerID: strings.ToLower(req.ServerID),
	}, nil
}

// decodeDrain returns nil for a drain as the service is configured.
func decodeDrain(r *http.Request) (*time.Duration, error) {
	var req DrainRequest
	if err := decodeBody(r, &req); err != nil || req.AfterSeconds == nil {
		return nil, err
	}
	if *req.AfterSeconds < 0 || *req.AfterSeconds > MaxDrain.Seconds() {
		return nil, Errorf(http.StatusBadRequest, "after_seconds %.0f is not 0 to %.0f", *req.AfterSeconds, MaxDrain.Seconds())
	}
	after := time.Duration(*req.AfterSeconds * float64(time.Second))
	return &after, nil
}

// serviceVerb does one of the verbs on a service.
func (s *Server) serviceVerb(r *http.Request) (any, error) {
	name := r.PathValue("service")
	switch verb := r.PathValue("verb"); verb {
	case "add":
		var req ServiceRequest
		if err := decodeBody(r, &req); err != nil {
			return nil, err
		}
		return struct{}{}, s.daemon.AddService(r.Context(), name, req)
	case "rm":
		return struct{}{}, s.daemon.RemoveService(r.Context(), name)
	default:
		return nil, Errorf(http.StatusNotFound, "nothing called %q can be done to a service (add, rm)", verb)
	}
}

func (s *Server) zones(r *http.Request) (any, error) {
	return s.daemon.Zones(r.URL.Query().Get("service"))
}

func (s *Server) zoneVerb(r *http.Request) (any, error) {
	var req ZoneRequest
	if err := decodeBody(r, &req); err != nil {
		return nil, err
	}
	if req.Zone == "" {
		return nil, Errorf(http.StatusBadRequest, `give a zone, for example {"zone": "eu-1a"}`)
	}
	switch verb := r.PathValue("verb"); verb {
	case "disable", "enable":
		return struct{}{}, s.daemon.SetZone(r.Context(), req.Zone, req.Service, verb == "disable")
	default:
		return nil, Errorf(http.StatusNotFound, "nothing called %q can be done to a zone (disable, enable)", verb)
	}
}

func (s *Server) clearOverrides(r *http.Request) (any, error) {
	var f OverrideFilter
	if err := decodeBody(r, &f); err != nil {
		return nil, err
	}
	if f.Backend.IsValid() && f.Service == "" {
		return nil, Errorf(http.StatusBadRequest, "a backend needs its service")
	}
	return s.daemon.ClearOverrides(r.Context(), f.Service, f.Backend)
}
