package maps

import (
	"errors"
	"fmt"

	"github.com/xlb-io/xlb/bpf"
)

// Outcomes is what became of the TCP connections of a service or to a backend since
// its number has been its own. They are counted where [Service.Outcomes] is set.
type Outcomes struct {
	// Attempts are connections begun. One that tries several backends is an attempt
	// at each.
	Attempts uint64 `json:"attempts"`
	// Answered are those that the backend answered with SYN-ACK; where replies pass
	// the load balancer by, those in which the client went on.
	Answered uint64 `json:"answered"`
	// Unanswered are those whose SYN came again before any answer.
	Unanswered uint64 `json:"unanswered"`
	// Refused are RSTs that answered a SYN, Reset those in the midst of a connection
	// that neither side had closed: `nat` and `dnat` only.
	Refused uint64 `json:"refused"`
	Reset   uint64 `json:"reset"`
	// Retried are attempts that failed and went on with another backend.
	Retried uint64 `json:"retried"`
}

// Minus is what came since o was earlier.
func (o Outcomes) Minus(earlier Outcomes) Outcomes {
	return Outcomes{
		o.Attempts - earlier.Attempts, o.Answered - earlier.Answered, o.Unanswered - earlier.Unanswered,
		o.Refused - earlier.Refused, o.Reset - earlier.Reset, o.Retried - earlier.Retried,
	}
}

// BackendOutcomes returns what became of connections to a backend, by its number.
func (s *Set) BackendOutcomes(id uint32) (Outcomes, error) {
	return s.outcomes(backendOutcomeName, id)
}

// ServiceOutcomes returns what became of connections of a service, by its number.
func (s *Set) ServiceOutcomes(id uint32) (Outcomes, error) {
	return s.outcomes(serviceOutcomeName, id)
}

func (s *Set) outcomes(name string, id uint32) (Outcomes, error) {
	var perCPU []bpf.Outcomes
	if err := s.maps[name].Lookup(id, &perCPU); err != nil {
		return Outcomes{}, fmt.Errorf("read map %s, entry %d: %w", name, id, err)
	}
	return sumOutcomes(perCPU), nil
}

func sumOutcomes(perCPU []bpf.Outcomes) (o Outcomes) {
	for _, c := range perCPU {
		o.Attempts += c.Count[bpf.XdpOutcomeOUTCOME_ATTEMPTS]
		o.Answered += c.Count[bpf.XdpOutcomeOUTCOME_ANSWERED]
		o.Unanswered += c.Count[bpf.XdpOutcomeOUTCOME_UNANSWERED]
		o.Refused += c.Count[bpf.XdpOutcomeOUTCOME_REFUSED]
		o.Reset += c.Count[bpf.XdpOutcomeOUTCOME_RESET]
		o.Retried += c.Count[bpf.XdpOutcomeOUTCOME_RETRIED]
	}
	return o
}

// resetOutcomes forgets the counters of a number that gets a new owner.
func (s *Set) resetOutcomes(name string, id uint32) error {
	var perCPU []bpf.Outcomes
	err := s.maps[name].Lookup(id, &perCPU)
	if err == nil {
		clear(perCPU)
		err = s.maps[name].Put(id, perCPU)
	}
	if err != nil {
		return fmt.Errorf("reset map %s, entry %d: %w", name, id, err)
	}
	return nil
}

// encodeOutcomes puts what becomes of failed connections into a service.
func encodeOutcomes(s Service, out *bpf.Service) error {
	if s.Outcomes {
		out.Options |= bpf.OptionOutcomes
	}
	switch {
	case s.Retries < 0 || s.Retries > bpf.MaxRetries:
		return fmt.Errorf("the data plane retries a SYN up to %d times, not %d", bpf.MaxRetries, s.Retries)
	case s.Retries > 0 && !s.Outcomes:
		return errors.New("the data plane retries only where it counts outcomes")
	case s.Retries > 0 && !s.Forward.RewritesPorts():
		return fmt.Errorf("the data plane does not retry with %v", s.Forward)
	case s.Retries > 0:
		out.Options |= bpf.OptionRetry
		out.Retries = uint8(s.Retries)
	}
	return nil
}

func (s *Set) dumpServiceOutcomes() ([]DumpEntry, error) { return s.dumpOutcomes(serviceOutcomeName) }
func (s *Set) dumpBackendOutcomes() ([]DumpEntry, error) { return s.dumpOutcomes(backendOutcomeName) }

// dumpOutcomes leaves out the places that never counted anything.
func (s *Set) dumpOutcomes(name string) ([]DumpEntry, error) {
	var out []DumpEntry
	for id := range s.maps[name].MaxEntries() {
		o, err := s.outcomes(name, id)
		if err != nil {
			return nil, err
		}
		if o != (Outcomes{}) {
			out = append(out, DumpEntry{Key: id, Value: o})
		}
	}
	return out, nil
}
