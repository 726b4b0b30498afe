package telemetry

import (
	"context"
	"net/http"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/xlb-io/xlb/pkg/api"
	"github.com/xlb-io/xlb/pkg/policy"
)

// source is what metrics are made of; an [api.Daemon] is one.
type source interface {
	Stats(ctx context.Context, f api.StatsFilter) (api.Stats, error)
	Policies() []api.Policy
}

// Handler answers with the metrics of a daemon, counted anew for each request.
func Handler(d source) http.Handler {
	r := prometheus.NewRegistry()
	r.MustRegister(&collector{d})
	return promhttp.HandlerFor(r, promhttp.HandlerOpts{})
}

// collector reads counters that others keep.
type collector struct{ source }

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("xlb_"+name, help, labels, nil)
}

var (
	packets       = describe("packets_total", "Packets seen, by how they left the data plane.", "reason")
	octets        = describe("bytes_total", "Bytes seen, from the Ethernet header on, by how they left the data plane.", "reason")
	events        = describe("events_total", "Things that happened in the data plane beside the end of a packet.", "event")
	upcalls       = describe("upcalls_total", "Packets of new flows that the daemon took to ask policies about, by what came of them.", "outcome")
	flows         = describe("service_flows", "Live flows of a service, counted some seconds ago.", "service")
	flowsCreated  = describe("service_flows_created_total", "New flows of a service.", "service")
	marked        = describe("service_marked_slots", "Slots of a service's table whose flows are recorded since a change.", "service")
	traffic       = describe("service_packets_total", "Packets of a service by direction: request, reply, dropped.", "service", "direction")
	usable        = describe("service_usable_backends", "Backends of a service that can take new flows.", "service")
	criticalDown  = describe("service_critical_down", "1 while a service that is marked critical has no usable backend, or a critical backend of it is down.", "service")
	trafficOctets = describe("service_bytes_total", "Bytes of a service by direction: request, reply, dropped.", "service", "direction")
	refused       = describe("service_refused_total", "Packets that a service's rules refused, by cause.", "service", "cause")

	connections   = describe("service_connections_total", "TCP connections of a service that counts them, by what became of them: attempt, answered, unanswered, refused, reset, retried.", "service", "outcome")
	ejected       = describe("service_ejected_backends", "Backends that are ejected because their connections failed.", "service")
	ejections     = describe("service_ejections_total", "How often a backend was ejected because its connections failed.", "service")
	attempts      = describe("backend_connections_total", "The same of one backend.", "service", "backend", "outcome")
	handshake     = describe("backend_handshake_seconds", "Smoothed time from SYN to SYN-ACK.", "service", "backend")
	probes        = describe("probes_total", "Health checks by how they ended: passed, failed, or skipped for this host's own reasons.", "outcome")
	probeChecks   = describe("probe_checks", "Health checks that are repeated; backends for which the same is asked share one.")
	probesRunning = describe("probes_running", "Health checks that run at this moment.")
	probeLate     = describe("probe_late_seconds", "By how much health checks start later than due.")

	hookChanges = describe("hook_changes_total", "Changes of backends that a program or web server was to be told: told, failed or dropped.", "hook", "outcome")
	hookRetries = describe("hook_retries_total", "Requests to a web server that were sent again.", "hook")
	hookWaiting = describe("hook_waiting", "Changes of backends that wait to be told.", "hook")

	sourceBackends = describe("source_backends", "Backends in the answer in use of a source of discovery.", "service", "source", "type")
	sourceState    = describe("source_state", "1 for the state that a source of discovery is in: waiting, ok, failing or stale.", "service", "source", "type", "state")
	sourceAnswered = describe("source_last_answer_timestamp_seconds", "When a source of discovery gave its last good answer.", "service", "source", "type")

	policyCalls    = describe("policy_calls_total", "Calls of a policy's hook.", "policy", "hook")
	policyErrors   = describe("policy_errors_total", "Calls of a policy's hook that failed.", "policy", "hook")
	policySkipped  = describe("policy_skipped_total", "Calls that were not made, because the policy failed too often.", "policy", "hook")
	policyEjected  = describe("policy_ejected", "1 while a policy is not asked, because it failed too often.", "policy", "hook")
	policyP50      = describe("policy_call_p50_seconds", "Time that half of the calls stay below.", "policy", "hook")
	policyP99      = describe("policy_call_p99_seconds", "Time that 99 of 100 calls stay below.", "policy", "hook")
	policyVerdicts = describe("policy_verdicts_total", "A policy's verdicts about new flows; those in mode shadow have no effect.", "policy", "mode", "action", "reason")
	policyOwn      = describe("policy_own_total", "A policy's own counter.", "policy", "counter")
	policyMemory   = describe("policy_memory_bytes", "Memory of all instances of a policy.", "policy")
)

// Describe implements [prometheus.Collector].
func (c *collector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		packets, octets, events, upcalls, flows, flowsCreated, marked, traffic, trafficOctets, usable, criticalDown, refused,
		probes, probeChecks, probesRunning, probeLate, hookChanges, hookRetries, hookWaiting,
		connections, ejected, ejections, attempts, handshake,
		sourceBackends, sourceState, sourceAnswered,
		policyCalls, policyErrors, policySkipped, policyEjected, policyP50, policyP99, policyVerdicts, policyOwn, policyMemory,
	} {
		to <- d
	}
}

// Collect implements [prometheus.Collector].
func (c *collector) Collect(to chan<- prometheus.Metric) {
	s, err := c.Stats(context.Background(), api.StatsFilter{Counting: true})
	if err != nil {
		to <- prometheus.NewInvalidMetric(packets, err)
		return
	}
	for _, n := range s.Reasons {
		count(to, packets, n.Packets, n.Name)
		count(to, octets, n.Bytes, n.Name)
	}
	for _, n := range s.Events {
		count(to, events, n.Packets, n.Name)
	}
	for _, n := range s.Upcalls.Counts() {
		count(to, upcalls, n.Packets, n.Name)
	}
	for _, one := range s.Services {
		if one.Service != "" { // what is no longer configured has no name to tell it by
			collectService(to, one)
			collectSources(to, one)
		}
	}
	for _, one := range s.Backends {
		if one.Service != "" && one.Outcomes != nil {
			collectBackend(to, one)
		}
	}
	collectProbes(to, s.Probes)
	for _, h := range s.Hooks {
		collectHook(to, h)
	}
	for _, p := range c.Policies() {
		collectPolicy(to, p)
	}
}

func collectService(to chan<- prometheus.Metric, s api.ServiceStats) {
	gauge(to, flows, float64(s.Flows), s.Service)
	gauge(to, marked, float64(s.MarkedSlots), s.Service)
	gauge(to, usable, float64(s.Usable), s.Service)
	if s.Critical {
		gauge(to, criticalDown, boolean(s.CriticalDown), s.Service)
	}
	count(to, flowsCreated, s.FlowsCreated, s.Service)
	for direction, n := range map[string]api.Count{"request": s.Request, "reply": s.Reply, "dropped": s.Dropped} {
		count(to, traffic, n.Packets, s.Service, direction)
		count(to, trafficOctets, n.Bytes, s.Service, direction)
	}
	for _, n := range s.Refused.Causes() {
		count(to, refused, n.Packets, s.Service, n.Cause)
	}
	if s.Outcomes == nil {
		return
	}
	for _, n := range s.Outcomes.Counts() {
		count(to, connections, n.Packets, s.Service, n.Name)
	}
	gauge(to, ejected, float64(s.Ejected), s.Service)
	count(to, ejections, s.Ejections, s.Service)
}

func collectBackend(to chan<- prometheus.Metric, b api.BackendStats) {
	for _, n := range b.Outcomes.Counts() {
		count(to, attempts, n.Packets, b.Service, b.Address.String(), n.Name)
	}
	if b.Outcomes.HandshakeSeconds > 0 {
		gauge(to, handshake, b.Outcomes.HandshakeSeconds, b.Service, b.Address.String())
	}
}

func collectProbes(to chan<- prometheus.Metric, p api.ProbeStats) {
	for outcome, n := range map[string]uint64{"passed": p.Passed, "failed": p.Failed, "skipped": p.Skipped} {
		count(to, probes, n, outcome)
	}
	gauge(to, probeChecks, float64(p.Checks))
	gauge(to, probesRunning, float64(p.Running))
	upTo, all := map[float64]uint64{}, uint64(0)
	for _, l := range p.Late {
		if all += l.Checks; l.UpToSeconds > 0 {
			upTo[l.UpToSeconds] = all
		}
	}
	to <- prometheus.MustNewConstHistogram(probeLate, all, p.LateSeconds, upTo)
}

func collectHook(to chan<- prometheus.Metric, h api.HookStats) {
	for outcome, n := range map[string]uint64{"told": h.Told, "failed": h.Failed, "dropped": h.Dropped} {
		count(to, hookChanges, n, h.Hook, outcome)
	}
	count(to, hookRetries, h.Retried, h.Hook)
	gauge(to, hookWaiting, float64(h.Waiting), h.Hook)
}

func collectSources(to chan<- prometheus.Metric, s api.ServiceStats) {
	for _, one := range s.Sources {
		gauge(to, sourceBackends, float64(one.Backends), s.Service, one.Name, one.Type)
		for _, state := range []string{api.SourceWaiting, api.SourceOK, api.SourceFailing, api.SourceStale} {
			gauge(to, sourceState, boolean(one.State == state), s.Service, one.Name, one.Type, state)
		}
		if one.Answered != nil {
			gauge(to, sourceAnswered, float64(one.Answered.UnixMilli())/1000, s.Service, one.Name, one.Type)
		}
	}
}

func collectPolicy(to chan<- prometheus.Metric, p api.Policy) {
	for _, name := range p.HookNames {
		h, hook := p.Stats.Hooks[name], string(name)
		count(to, policyCalls, h.Calls, p.Name, hook)
		count(to, policyErrors, h.Errors, p.Name, hook)
		count(to, policySkipped, h.Skipped, p.Name, hook)
		gauge(to, policyEjected, boolean(h.Ejected), p.Name, hook)
		collectTimes(to, p.Name, hook, h)
	}
	for _, v := range p.Verdicts {
		count(to, policyVerdicts, v.Count, p.Name, v.Mode.String(), v.Action.String(), reason(v))
	}
	for name, n := range p.Counters {
		count(to, policyOwn, n, p.Name, name)
	}
	gauge(to, policyMemory, float64(p.Memory), p.Name)
}

func collectTimes(to chan<- prometheus.Metric, name, hook string, h policy.HookStats) {
	if h.P50 == 0 {
		return
	}
	gauge(to, policyP50, h.P50.Seconds(), name, hook)
	gauge(to, policyP99, h.P99.Seconds(), name, hook)
}

func count(to chan<- prometheus.Metric, d *prometheus.Desc, n uint64, labels ...string) {
	to <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
}

func gauge(to chan<- prometheus.Metric, d *prometheus.Desc, v float64, labels ...string) {
	to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
}

func boolean(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// reason is a verdict's reason as a label: its number, which does not change when
// its text does.
func reason(v policy.VerdictStats) string { return strconv.Itoa(int(v.Reason)) }
