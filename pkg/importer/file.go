package importer

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
)

// Result is an xlb configuration.
type Result struct {
	// From is what it was made of: nginx, haproxy, keepalived or ipvs.
	From     string
	Services []*Service
	Notes    []Note

	interfaces []string
}

// Service is a service as the configuration file writes it; what is empty is
// left to xlb's default. See docs/CONFIGURATION.md for the keys.
type Service struct {
	Name           string            `yaml:"-"`
	Frontends      []string          `yaml:"frontends,flow"`
	Forward        string            `yaml:"forward,omitempty"`
	Schedule       string            `yaml:"schedule,omitempty"`
	Hash           string            `yaml:"hash,omitempty"`
	Affinity       *Affinity         `yaml:"affinity,flow,omitempty"`
	OPS            bool              `yaml:"ops,omitempty"`
	Backends       []Backend         `yaml:"backends,omitempty"`
	Discover       []Source          `yaml:"discover,omitempty"`
	Role           string            `yaml:"role,omitempty"`
	Probe          *Probe            `yaml:"probe,flow,omitempty"`
	Eject          *Eject            `yaml:"eject,flow,omitempty"`
	SynRetry       int               `yaml:"syn_retry,omitempty"`
	SlowStart      string            `yaml:"slow_start,omitempty"`
	MaxConnections int               `yaml:"max_connections,omitempty"`
	Allow          []string          `yaml:"allow,flow,omitempty"`
	Deny           []string          `yaml:"deny,flow,omitempty"`
	Timeouts       map[string]string `yaml:"timeouts,flow,omitempty"`
}

// Affinity keeps a client's connections at one backend.
type Affinity struct {
	Timeout string `yaml:"timeout"`
	IPv4    int    `yaml:"ipv4,omitempty"`
	IPv6    int    `yaml:"ipv6,omitempty"`
}

// Backend is a server.
type Backend struct {
	Address  string `yaml:"address"`
	Weight   *int   `yaml:"weight,omitempty"`
	Priority int    `yaml:"priority,omitempty"`
	Drain    bool   `yaml:"drain,omitempty"`
}

// Source is a name that the backends are asked of.
type Source struct {
	Type     string   `yaml:"type"`
	Name     string   `yaml:"name"`
	Port     int      `yaml:"port,omitempty"`
	Servers  []string `yaml:"servers,flow,omitempty"`
	MinTTL   string   `yaml:"min_ttl,omitempty"`
	MaxTTL   string   `yaml:"max_ttl,omitempty"`
	Weight   *int     `yaml:"weight,omitempty"`
	Priority int      `yaml:"priority,omitempty"`
}

// Eject takes a backend that refuses connections out for a time.
type Eject struct {
	Consecutive int    `yaml:"consecutive"`
	Time        string `yaml:"time"`

	// at and what are the setting, if it was given and is not a default.
	at   place
	what string
}

// YAML is the configuration file, with the notes as its first lines.
func (r *Result) YAML() ([]byte, error) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "# Made by `xlb import %s`.\n", r.From)
	slices.SortStableFunc(r.Notes, func(a, b Note) int { return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line)) })
	for _, n := range r.Notes {
		fmt.Fprintf(&b, "# no counterpart: %s\n", n)
	}
	services := yaml.MapSlice{}
	for _, s := range r.Services {
		services = append(services, yaml.MapItem{Key: s.Name, Value: s})
	}
	head, err := yaml.MarshalWithOptions(yaml.MapSlice{{Key: "interfaces", Value: r.interfaces}}, yaml.Flow(true))
	if err != nil {
		return nil, err
	}
	b.WriteString(strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(string(head)), "{"), "}") + "\n")
	body, err := yaml.MarshalWithOptions(yaml.MapSlice{{Key: "services", Value: services}}, yaml.IndentSequence(true))
	if err != nil {
		return nil, err
	}
	b.Write(bytes.TrimRight(body, "\n"))
	b.WriteByte('\n')
	return b.Bytes(), nil
}
