package model

import "time"

// SourceType is a kind of place where backends come from.
type SourceType string

// The source types.
const (
	// SourceDNS is the addresses (A, AAAA) of a name.
	SourceDNS SourceType = "dns"
	// SourceSRV is the targets of a service record (RFC 2782).
	SourceSRV SourceType = "srv"
	// SourceConsul is the instances of a service in Consul's catalogue.
	SourceConsul SourceType = "consul"
	// SourceFile is a file, or the files of a directory, in YAML or JSON.
	SourceFile SourceType = "file"
	// SourceEtcd is the keys under a prefix in etcd.
	SourceEtcd SourceType = "etcd"
	// SourceExec is a program that prints backends.
	SourceExec SourceType = "exec"
)

// OnEmpty is what becomes of the backends of a source that answers that there
// are none.
type OnEmpty uint8

// The modes for empty answers.
const (
	// EmptyKeep distrusts the answer: the last backends stay.
	EmptyKeep OnEmpty = iota + 1
	// EmptyAccept believes it.
	EmptyAccept
)

var emptyNames = map[OnEmpty]string{EmptyKeep: "keep", EmptyAccept: "accept"}

func (o OnEmpty) String() string { return nameOf(emptyNames, o) }

// MarshalText implements [encoding.TextMarshaler].
func (o OnEmpty) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (o *OnEmpty) UnmarshalText(b []byte) error {
	return parse(o, emptyNames, "mode for empty answers", b)
}

// Source is a place where backends of a service come from, beside the static
// ones.
type Source struct {
	// Name is unique in its service, and names the source where several are
	// shown; by default its type, with a number if there are several.
	Name string
	Type SourceType
	// Backend holds what the source does not say of a backend itself: port,
	// weight, zone, tags, priority. Its address is not set; its port is 0 if the
	// source must say it.
	Backend Backend
	// StaleFor is how long the last backends stay in use while the source fails;
	// 0: for ever.
	StaleFor time.Duration
	OnEmpty  OnEmpty
	// Debounce is how long a change waits for more of them; 0: not at all.
	Debounce time.Duration
	// Of these, the one that Type names is set.
	DNS    DNSSource
	SRV    SRVSource
	Consul ConsulSource
	File   FileSource
	Etcd   EtcdSource
	Exec   ExecSource
}

// Resolvers says who is asked for names.
type Resolvers struct {
	// Servers are addresses with port, asked in order until one answers; empty:
	// those of /etc/resolv.conf.
	Servers []string
	// Timeout is that of one query.
	Timeout time.Duration
	// MinTTL and MaxTTL bound how long an answer holds.
	MinTTL, MaxTTL time.Duration
}

// DNSSource asks for addresses.
type DNSSource struct {
	Resolvers
	// Name is fully qualified or not: there is no search list.
	Name string
	// IPv4 and IPv6 say which records are asked for, at least one.
	IPv4, IPv6 bool
}

// SRVSource asks for service records. Their priority becomes the tier, in the
// order of the priorities, and their weight the weight.
type SRVSource struct {
	Resolvers
	// Name is for example _mqtt._tcp.example.com.
	Name string
	// IPv4 and IPv6 say which addresses of the targets are used.
	IPv4, IPv6 bool
}

// TLSFiles are what a TLS client is told; names of files in PEM.
type TLSFiles struct {
	CA, Certificate, Key string
	// ServerName replaces the address's host; Insecure checks no certificate.
	ServerName string
	Insecure   bool
}

// ConsulSource asks a Consul agent for the passing instances of a service.
type ConsulSource struct {
	// Address is http://host:port or https://host:port, or unix:///path.
	Address string
	Service string
	// Tags that an instance must all have.
	Tags       []string
	Datacenter string
	// Namespace and Partition are Consul Enterprise's.
	Namespace, Partition string
	// Token or TokenFile is sent as X-Consul-Token; at most one is set.
	Token, TokenFile string
	// ZoneMeta and ServerIDMeta are the keys of the instance's metadata, or else its
	// node's, that name its zone and what connection IDs of QUIC call it.
	ZoneMeta, ServerIDMeta string
	// Wait is the longest blocking query.
	Wait time.Duration
	TLS  TLSFiles
}

// FileSource reads a file, or each *.yaml, *.yml and *.json of a directory.
type FileSource struct{ Path string }

// EtcdSource reads the keys that begin with Prefix.
type EtcdSource struct {
	// Endpoints are http://host:port or https://host:port.
	Endpoints []string
	Prefix    string
	// Username is empty without authentication; of Password and PasswordFile, of
	// which the first line counts, one is set otherwise.
	Username, Password, PasswordFile string
	TLS                              TLSFiles
}

// ExecSource runs a program.
type ExecSource struct {
	// Command is the program's path and its arguments.
	Command []string
	// Interval is the time between the starts; 0: it is kept running and prints
	// a document a line.
	Interval time.Duration
	// Timeout ends a run; not used if it is kept running.
	Timeout time.Duration
}
