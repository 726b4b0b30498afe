package model

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// HookEvent is something of a backend that hooks can be told.
type HookEvent string

// The events: what a backend became.
const (
	HookHealthy   HookEvent = "healthy"
	HookUnhealthy HookEvent = "unhealthy"
	HookEjected   HookEvent = "ejected"
	HookDraining  HookEvent = "draining"
	HookDisabled  HookEvent = "disabled"
	// HookRole is another role.
	HookRole HookEvent = "role"
)

// Hook is a program or a web server that is told what becomes of a service's
// backends.
type Hook struct {
	// Command is a program's path and its arguments, or Webhook an http or https
	// URL; one of them is set.
	Command []string
	Webhook string
	// Headers are sent with each request to the webhook.
	Headers map[string]string
	// Events are those that it is told.
	Events []HookEvent
	// Timeout is that of a run or of one request.
	Timeout time.Duration
	// Retries is how often a request that failed is sent again.
	Retries int
}

// Wants says whether the hook is told of an event.
func (h Hook) Wants(e HookEvent) bool { return slices.Contains(h.Events, e) }

// Name tells an operator which hook it is, without what may be secret: the
// program's path, or scheme, host and path of the URL.
func (h Hook) Name() string {
	if len(h.Command) > 0 {
		return h.Command[0]
	}
	name, _, _ := strings.Cut(h.Webhook, "?")
	scheme, rest, ok := strings.Cut(name, "://")
	if !ok {
		return name
	}
	host, path, _ := strings.Cut(rest, "/")
	if _, after, found := strings.Cut(host, "@"); found {
		host = after
	}
	return fmt.Sprintf("%s://%s/%s", scheme, host, path)
}
