package bpf

// The types that C and Go share, by their names in lib/types.h. Fields that C
// declares __be16 or __be32 are in network order here too.
type (
	Addr        = XdpAddr
	Affinity    = XdpAffinity
	AffinityKey = XdpAffinityKey
	Backend     = XdpBackend
	Count       = XdpCount
	Decision    = XdpDecision
	DecisionKey = XdpDecisionKey
	Event       = XdpEvent
	Flow        = XdpFlow
	FlowSet     = XdpFlowSet
	FlowState   = XdpFlowState
	Layout      = XdpLayout
	Load        = XdpLoad
	NextHop     = XdpNextHop
	Outcome     = XdpOutcome
	Outcomes    = XdpOutcomes
	PortLine    = XdpPortLine
	QuicKey     = XdpQuicKey
	RateKey     = XdpRateKey
	Reason      = XdpReason
	Refused     = XdpRefused
	RuleKey     = XdpRuleKey
	Service     = XdpService
	Source      = XdpSource
	Subset      = XdpSubset
	Syn         = XdpSyn
	Timeouts    = XdpTimeouts
	Traffic     = XdpTraffic
	Tunnel      = XdpTunnel
	Upcall      = XdpUpcall
	Vip         = XdpVip
	Vip4Bucket  = XdpVip4Bucket
	Vip4Key     = XdpVip4Key
	Vip6Bucket  = XdpVip6Bucket
	Vip6Key     = XdpVip6Key
	Vlan        = XdpVlan
)

// Numbers of lib/types.h whose enums have no name.
const (
	LayoutVersion = 4
	FlowWays      = 4
	PortCells     = 16

	ForwardNAT   = 1
	ForwardL2DSR = 2
	ForwardDNAT  = 3
	ForwardIPIP  = 4
	ForwardGUE   = 5

	TrackAuto   = 1
	TrackAlways = 2
	TrackNever  = 3

	// RateBits are those of a source's limit below the prefix length.
	RateBits    = 24
	RateMask    = 1<<RateBits - 1
	RateSources = 65536

	// What a rule says in place of a table's number.
	RuleDenied     = 1 << 31
	RuleNotAllowed = 1 << 30

	OverloadContinue = 1
	OverloadDrop     = 2

	OptionRules       = 1 << 0
	OptionRate        = 1 << 1
	OptionRateSource  = 1 << 2
	OptionConnections = 1 << 3
	OptionSchedule    = 1 << 4
	OptionHash        = 1 << 5
	OptionAffinity    = 1 << 6
	OptionOnePacket   = 1 << 7
	OptionQUIC        = 1 << 8
	OptionOutcomes    = 1 << 9
	OptionRetry       = 1 << 10

	ScheduleTable            = 0
	ScheduleRandom           = 1
	ScheduleRoundRobin       = 2
	ScheduleLeastConnections = 3
	ScheduleLeastLatency     = 4

	HashFiveTuple         = 0
	HashSource            = 1
	HashSourceDestination = 2
	HashDestinationPort   = 3

	// MaxRetries of a SYN.
	MaxRetries = 3

	DecisionSend = 1
	DecisionDrop = 2

	// UpcallFrame is the longest frame that goes to the daemon, UpcallWindow the
	// bits of nanoseconds for which a service's limits hold.
	UpcallFrame  = 9216
	UpcallWindow = 26

	// In milliseconds.
	DecisionLife  = 5000
	HeartbeatLife = 1000

	// InjectMark marks a packet that comes in again by the interface that the
	// bits of InjectInterface name.
	InjectMark      = 0x78700000
	InjectInterface = 0x000fffff

	// SlotMarked is the bit of a table's present backend that sends the packet
	// to the flow table.
	SlotMarked = 1 << 31

	// SourceClient is a flow's source that is no entry of sources.
	SourceClient = 0xffff

	VIPDNATBackend = 1 << 0
	// VIPElsewhere, in the value of a bucket's first cell, says that a key whose
	// first bucket this is lives in its second.
	VIPElsewhere = 1 << 15
	VIPCells     = 4
	FeatureDNAT  = 1 << 0

	// ProbeMark marks the packets of a probe that goes via the VIP; the bits of
	// ProbeBackend are the backend's number.
	ProbeMark    = 0x78600000
	ProbeBackend = 0x000fffff

	BackendServes = 1 << 0
	BackendIPv6   = 1 << 1
)
