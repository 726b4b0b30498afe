package config

import (
	"net/netip"
	"time"

	"github.com/xlb-io/xlb/pkg/model"
)

// The file as it is written. What is absent stays so until resolve fills it
// from `defaults:` and from the defaults of xlb.
type (
	rawFile struct {
		interfaces    opt[[]opt[string]]
		attach        opt[model.AttachMode]
		nextHop       opt[model.NextHop]
		gatewayMAC    opt[model.HardwareAddr]
		sources       opt[[]opt[netip.Addr]]
		tunnelSources opt[[]opt[netip.Prefix]]
		guePort       opt[uint16]
		natPorts      opt[model.PortRange]
		flowTableSize opt[int]
		tableSize     opt[int]
		maxServices   opt[int]
		maxFrontends  opt[int]
		maxBackends   opt[int]
		maxSources    opt[int]
		affinityTable opt[int]
		policyRate    opt[int]
		policySource  opt[int]
		zone          opt[string]
		probing       opt[rawProbing]
		policies      opt[[]named[rawPolicy]]
		defaults      opt[rawCommon]
		services      opt[[]named[rawService]]
	}
	rawService struct {
		frontends opt[[]opt[model.Frontend]]
		backends  opt[[]opt[rawBackend]]
		discover  opt[[]opt[rawSource]]
		common    rawCommon
	}
	// rawCommon is what a service can inherit.
	rawCommon struct {
		forward    opt[model.Forward]
		track      opt[model.Track]
		fail       opt[model.FailMode]
		policies   opt[[]opt[rawPolicyUse]]
		onOverload opt[model.OnOverload]
		probe      opt[rawProbe]
		timeouts   opt[rawTimeouts]
		selection  rawSelection
		rules      rawRules
		placement  rawPlacement
		role       rawRole
		watch      rawWatch
		outcomes   rawOutcomes
	}
	rawBackend struct {
		address  opt[netip.AddrPort]
		port     opt[uint16]
		weight   opt[uint16]
		zone     opt[string]
		tags     opt[[]opt[string]]
		priority opt[uint16]
		drain    opt[bool]
		critical opt[bool]
		serverID opt[string]
	}
	rawProbe struct {
		kind              opt[model.ProbeType]
		via               opt[model.ProbeVia]
		address           opt[netip.Addr]
		port              opt[uint16]
		interval, timeout opt[time.Duration]
		rise, fall        opt[int]
		pace              rawPace
		check             rawCheck
	}
	rawTimeouts struct {
		tcpSyn, tcpEstablished, tcpFin, tcpClosed, udp opt[time.Duration]
	}
)

// The defaults of xlb.
var (
	settings = model.Settings{
		Attach:            model.AttachAuto,
		NextHop:           model.NextHopFIB,
		GUEPort:           6080,
		NATPorts:          model.PortRange{First: 1024, Last: 32767},
		FlowTableSize:     1 << 20,
		TableSize:         65537,
		MaxServices:       1024,
		MaxFrontends:      4096,
		MaxBackends:       16384,
		MaxSources:        64,
		AffinityTableSize: 65536,
		PolicyRate:        20000, PolicyRatePerSource: 1000,
		Probing: model.Probing{Strategy: model.ProbePool, Workers: model.DefaultProbeWorkers},
	}
	timeouts = model.Timeouts{
		TCPSyn:         30 * time.Second,
		TCPEstablished: 15 * time.Minute,
		TCPFin:         2 * time.Minute,
		TCPClosed:      10 * time.Second,
		UDP:            time.Minute,
	}
	probe = model.Probe{
		Type:     model.ProbeTCP,
		Interval: 2 * time.Second,
		Jitter:   10,
		Timeout:  time.Second,
		Rise:     2,
		Fall:     3,
		HTTP:     model.HTTPProbe{Method: "GET", Path: "/"},
		DNS:      model.DNSProbe{Type: "A", RCode: "NOERROR"},

		MQTTVersion: model.MQTT311,
	}
)
