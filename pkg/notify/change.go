package notify

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strconv"
	"time"

	"github.com/xlb-io/xlb/pkg/model"
)

// Change is what a hook is told, in JSON. Fields are added, and none is removed or
// gets another meaning while Version stays.
type Change struct {
	// Version is 1.
	Version int `json:"version"`
	// Host is the load balancer's name.
	Host string    `json:"host"`
	At   time.Time `json:"at"`
	// Event is what happened: the state that the backend entered, or "role".
	Event   model.HookEvent `json:"event"`
	Service string          `json:"service"`
	Backend netip.AddrPort  `json:"backend"`
	// From and To are states or, with the event role, roles.
	From string `json:"from"`
	To   string `json:"to"`
	// State and Role are the backend's now; Reason is why it is in its state.
	State  string `json:"state"`
	Role   string `json:"role"`
	Reason string `json:"reason"`
	Zone   string `json:"zone"`
	// Critical: the service or the backend is marked so.
	Critical bool `json:"critical"`
	// Usable of Backends can take new flows of the service.
	Usable   int `json:"usable"`
	Backends int `json:"backends"`
}

const version = 1

// document is what a hook reads.
func (c Change) document() ([]byte, error) {
	text, err := json.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("encode the change: %w", err)
	}
	return append(text, '\n'), nil
}

// environment is the same for a program that does not read JSON.
func (c Change) environment() []string {
	return []string{
		"XLB_HOST=" + c.Host, "XLB_AT=" + c.At.Format(time.RFC3339Nano), "XLB_EVENT=" + string(c.Event),
		"XLB_SERVICE=" + c.Service, "XLB_BACKEND=" + c.Backend.String(), "XLB_FROM=" + c.From, "XLB_TO=" + c.To,
		"XLB_STATE=" + c.State, "XLB_ROLE=" + c.Role, "XLB_REASON=" + c.Reason, "XLB_ZONE=" + c.Zone,
		"XLB_CRITICAL=" + strconv.FormatBool(c.Critical), "XLB_USABLE=" + strconv.Itoa(c.Usable), "XLB_BACKENDS=" + strconv.Itoa(c.Backends),
	}
}
