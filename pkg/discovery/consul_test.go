package discovery

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	stdlog "log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/xlb-io/xlb/internal/testlab"
	"github.com/xlb-io/xlb/pkg/model"
)

// agent is a real Consul agent that keeps everything in memory.
type agent struct {
	*server
	url   string
	token string
	http  *http.Client
}

// startAgent starts an agent; conf is its configuration in JSON, or empty.
func startAgent(t *testing.T, conf string) *agent {
	t.Helper()
	module, err := os.ReadFile("../../test/tools/consul/go.mod")
	if err != nil {
		t.Fatal(err)
	}
	path, err := filepath.Abs("../../build/tools/consul-" + string(regexp.MustCompile(`hashicorp/consul (v\S+)`).FindSubmatch(module)[1]))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Skip("consul is not built (test/tools/consul/build)")
	}
	ports := freePorts(t, 4)
	a := &agent{url: fmt.Sprintf("http://127.0.0.1:%d", ports[0]), http: http.DefaultClient}
	a.server = &server{t: t, out: new(testlab.Buffer), argv: []string{
		path, "agent", "-dev", "-bind=127.0.0.1", "-client=127.0.0.1", "-node=here", "-disable-host-node-id", "-node-meta=room:cellar",
		fmt.Sprintf("-http-port=%d", ports[0]), "-dns-port=-1", "-grpc-port=-1",
		fmt.Sprintf("-server-port=%d", ports[1]), fmt.Sprintf("-serf-lan-port=%d", ports[2]), fmt.Sprintf("-serf-wan-port=%d", ports[3]),
	}}
	if conf != "" {
		file := filepath.Join(t.TempDir(), "consul.json")
		write(t, file, conf)
		a.argv = append(a.argv, "-config-file="+file)
	}
	t.Cleanup(a.stop)
	return a
}

func (a *agent) start() {
	a.t.Helper()
	a.server.start(func() error {
		answer, err := a.do(http.MethodGet, "/v1/status/leader", nil)
		if err == nil && len(answer) < 4 {
			err = fmt.Errorf("no leader: %s", answer)
		}
		return err
	})
}

func (a *agent) do(method, path string, body any) ([]byte, error) {
	text, plain := body.([]byte)
	var err error
	if !plain {
		text, err = json.Marshal(body)
	}
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequest(method, a.url+path, bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	r.Header.Set("X-Consul-Token", a.token)
	response, err := a.http.Do(r)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s %s: %s: %s", method, path, response.Status, answer)
	}
	return answer, err
}

// put is what an operator or a program tells the agent.
func (a *agent) put(path string, body any) []byte {
	a.t.Helper()
	answer, err := a.do(http.MethodPut, path, body)
	if err != nil {
		a.t.Fatal(err)
	}
	return answer
}

type dict = map[string]any

// register adds an instance of web with a check that passes.
func (a *agent) register(id, address string, more dict) {
	a.t.Helper()
	r := dict{"Name": "web", "ID": id, "Address": address, "Port": 8080, "Check": dict{"CheckID": id, "TTL": "10m", "Status": "passing"}}
	for k, v := range more {
		r[k] = v
	}
	a.put("/v1/agent/service/register", r)
}

func consulOf(a *agent) model.Source {
	return model.Source{
		Type: model.SourceConsul, Backend: model.Backend{Weight: 1, Zone: "unknown"},
		Consul: model.ConsulSource{Address: a.url, Service: "web", Wait: time.Minute},
	}
}

// TestConsul follows a service through all that may happen to it.
func TestConsul(t *testing.T) {
	a := startAgent(t, "")
	a.start()
	source := consulOf(a)
	source.Backend.Address = portOnly(81)
	source.Backend.Tags = "found"
	source.Consul.ZoneMeta = "rack"
	f := follow(t, New(source))
	f.wants()

	a.register("one", "192.0.2.1", nil)
	f.wants("192.0.2.1:8080 zone=unknown tags=found")
	a.register("two", "2001:db8::2", dict{"Port": 0, "Meta": dict{"rack": "r2"}, "Tags": []string{"v2", "not,one"}, "Weights": dict{"Passing": 10, "Warning": 1}})
	f.wants("192.0.2.1:8080 zone=unknown tags=found", "[2001:db8::2]:81 weight=10 zone=r2 tags=found,v2")

	a.put("/v1/agent/check/fail/one", nil)
	f.wants("[2001:db8::2]:81 weight=10 zone=r2 tags=found,v2")
	a.put("/v1/agent/check/warn/one", nil)
	a.put("/v1/agent/check/pass/one", nil)
	f.wants("192.0.2.1:8080 zone=unknown tags=found", "[2001:db8::2]:81 weight=10 zone=r2 tags=found,v2")
	a.put("/v1/agent/service/maintenance/two?enable=true", nil)
	f.wants("192.0.2.1:8080 zone=unknown tags=found")

	// No address of its own: the node's. And one that cannot be used.
	a.register("three", "", dict{"Port": 99})
	a.register("four", "db.example.com", nil)
	got := f.until("a warning", func(a heard) bool { return len(a.warnings) > 0 })
	if want := "127.0.0.1:99 zone=unknown tags=found"; len(got.backends) != 2 || !strings.Contains(got.String(), want) {
		t.Errorf("with the node's address:\n%s\nwant %s", got, want)
	}
	if want := `instance four on here: "db.example.com" is not an IP address`; !strings.HasPrefix(got.warnings[0], want) {
		t.Errorf("warning is %q, want %s…", got.warnings[0], want)
	}
	for _, id := range []string{"one", "two", "three"} {
		a.put("/v1/agent/service/deregister/"+id, nil)
	}
	f.fails("no instance can be used: instance four")
	a.put("/v1/agent/service/deregister/four", nil)
	f.wants()
}

// TestConsulNodeMeta: what is said of the node holds for its instances.
func TestConsulNodeMeta(t *testing.T) {
	a := startAgent(t, "")
	a.start()
	a.register("one", "192.0.2.1", nil)
	source := consulOf(a)
	source.Consul.ZoneMeta, source.Consul.ServerIDMeta = "room", "quic_id"
	f := follow(t, New(source))
	f.wants("192.0.2.1:8080 zone=cellar")
	a.register("one", "192.0.2.1", dict{"Meta": dict{"quic_id": "0a0b", "room": "attic"}})
	f.wants("192.0.2.1:8080 zone=attic server_id=0a0b")
}

func TestConsulTags(t *testing.T) {
	a := startAgent(t, "")
	a.start()
	a.register("one", "192.0.2.1", dict{"Tags": []string{"v1", "ssd"}})
	a.register("two", "192.0.2.2", dict{"Tags": []string{"v2", "ssd"}})
	a.register("three", "192.0.2.3", dict{"Tags": []string{"v2"}})
	source := consulOf(a)
	source.Consul.Tags = []string{"v2", "ssd"}
	source.Consul.Datacenter = "dc1"
	follow(t, New(source)).wants("192.0.2.2:8080 zone=unknown tags=ssd,v2")
	source.Consul.Datacenter = "dc9"
	follow(t, New(source)).fails("No path to datacenter")
}

// TestConsulRestart: an agent that lost its state counts from the beginning,
// and what it hears then is heard here at once.
func TestConsulRestart(t *testing.T) {
	a := startAgent(t, "")
	a.start()
	for i := range 30 { // the index goes up
		a.put("/v1/kv/x", i)
	}
	a.register("one", "192.0.2.1", nil)
	f := follow(t, New(consulOf(a)))
	f.wants("192.0.2.1:8080 zone=unknown")
	a.stop()
	f.fails("")
	a.start()
	f.wants()
	a.register("two", "192.0.2.2", nil)
	f.wants("192.0.2.2:8080 zone=unknown")
}

// agentProxy passes questions to an agent, while it is open, and notes the indexes.
type agentProxy struct {
	*httptest.Server
	t     *testing.T
	gate  chan struct{}             // full while it is closed
	back  atomic.Int32              // answers with a lower index than the question
	asked atomic.Pointer[time.Time] // when the question came that has no answer yet
}

func (p *agentProxy) close() { p.gate <- struct{}{} }
func (p *agentProxy) open()  { <-p.gate }

// waits waits until a question has waited for long enough to have come to its end:
// the agent, or the gate if that is closed.
func (p *agentProxy) waits() {
	eventually(p.t, func() error {
		if at := p.asked.Load(); at == nil || time.Since(*at) < 200*time.Millisecond {
			return errors.New("no question waits")
		}
		return nil
	})
}

func newAgentProxy(t *testing.T, a *agent) *agentProxy {
	t.Helper()
	agent, err := url.Parse(a.url)
	must(t, err)
	p, reverse := &agentProxy{t: t, gate: make(chan struct{}, 1)}, httputil.NewSingleHostReverseProxy(agent)
	reverse.ErrorLog = stdlog.New(io.Discard, "", 0)
	reverse.ModifyResponse = func(r *http.Response) error {
		asked, _ := strconv.Atoi(r.Request.URL.Query().Get("index")) // none is 0
		now, err := strconv.Atoi(r.Header.Get("X-Consul-Index"))
		if now < asked {
			p.back.Add(1)
		}
		return err
	}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		now := time.Now()
		p.asked.Store(&now)
		defer p.asked.Store(nil)
		p.close()
		p.open()
		reverse.ServeHTTP(w, r)
	}))
	t.Cleanup(p.Server.Close)
	return p
}

// TestConsulRestored: a snapshot that is restored takes the index back while the
// agent runs and answers. What is restored is heard at once if a question waits at
// that time, and else when the wait of the next one is over.
func TestConsulRestored(t *testing.T) {
	a := startAgent(t, "")
	a.start()
	// In the catalogue alone: what the agent itself knows it would register again.
	remote := func(id, address string) {
		t.Helper()
		a.put("/v1/catalog/register", dict{"Node": "far", "Address": "192.0.2.9", "Service": dict{"ID": id, "Service": "web", "Address": address, "Port": 8080}})
	}
	one, two, three := "192.0.2.1:8080 zone=unknown", "192.0.2.2:8080 zone=unknown", "192.0.2.3:8080 zone=unknown"
	remote("one", "192.0.2.1")
	snapshot, err := a.do(http.MethodGet, "/v1/snapshot", nil)
	must(t, err)

	t.Run("while a question waits", func(t *testing.T) {
		remote("two", "192.0.2.2")
		proxy, source := newAgentProxy(t, a), consulOf(a)
		source.Consul.Address, source.Consul.Wait = proxy.URL, 10*time.Minute
		f := follow(t, New(source))
		f.wants(one, two)
		remote("three", "192.0.2.3")
		f.wants(one, two, three)
		proxy.waits()
		a.put("/v1/snapshot", snapshot)
		f.wants(one)
		remote("three", "192.0.2.3")
		f.wants(one, three)
	})
	t.Run("between two questions", func(t *testing.T) {
		proxy, source := newAgentProxy(t, a), consulOf(a)
		source.Consul.Address, source.Consul.Wait = proxy.URL, 2*time.Second
		f := follow(t, New(source))
		f.wants(one, three)
		proxy.waits()
		proxy.close()
		remote("two", "192.0.2.2")
		f.wants(one, two, three) // of the question that waited
		proxy.waits()
		a.put("/v1/snapshot", snapshot)
		proxy.open()
		f.wants(one)
		if proxy.back.Load() == 0 {
			t.Error("the index never went back")
		}
		remote("three", "192.0.2.3")
		f.wants(one, three)
	})
}

// TestConsulToken: a token that is refused is an error, and a new one in the
// file is taken without a restart.
func TestConsulToken(t *testing.T) {
	a := startAgent(t, `{"acl": {"enabled": true, "default_policy": "deny", "tokens": {"master": "1d1b2e0c-0000-4000-8000-000000000001"}}}`)
	a.token = "1d1b2e0c-0000-4000-8000-000000000001"
	a.start()
	eventually(t, func() error {
		_, err := a.do(http.MethodPut, "/v1/acl/policy", dict{"Name": "look", "Rules": `service_prefix "" { policy = "read" } node_prefix "" { policy = "read" }`})
		return err
	})
	a.put("/v1/acl/token", dict{"SecretID": "1d1b2e0c-0000-4000-8000-000000000002", "Policies": []dict{{"Name": "look"}}})
	a.register("one", "192.0.2.1", nil)

	source := consulOf(a)
	source.Consul.Token = "1d1b2e0c-0000-4000-8000-000000000002"
	follow(t, New(source)).wants("192.0.2.1:8080 zone=unknown")

	file := filepath.Join(t.TempDir(), "token")
	source.Consul.Token, source.Consul.TokenFile = "", file
	f := follow(t, New(source))
	f.fails("token: open " + file)
	write(t, file, "1d1b2e0c-0000-4000-8000-000000000009\n")
	if got := f.fails("consul answers 403 Forbidden: "); !strings.Contains(got.err.Error(), "ACL not found") {
		t.Errorf("error is %v", got.err)
	}
	write(t, file, "1d1b2e0c-0000-4000-8000-000000000002\n")
	f.wants("192.0.2.1:8080 zone=unknown")
}

// TestConsulTLS: the server is verified, by name too, and wants a certificate
// of the client.
func TestConsulTLS(t *testing.T) {
	ca := newAuthority(t)
	cert, key := ca.issue("server.dc1.consul")
	port := freePorts(t, 1)[0]
	a := startAgent(t, fmt.Sprintf(`{"ports": {"https": %d}, "ca_file": %q, "cert_file": %q, "key_file": %q, "verify_incoming_https": true}`, port, ca.File, cert, key))
	a.start()
	a.register("one", "192.0.2.1", nil)

	source := consulOf(a)
	source.Consul.Address = fmt.Sprintf("https://127.0.0.1:%d", port)
	tls := &source.Consul.TLS
	tls.ServerName = "server.dc1.consul"
	follow(t, New(source)).fails("certificate signed by unknown authority")
	tls.CA, tls.ServerName = ca.File, ""
	follow(t, New(source)).fails("doesn't contain any IP SANs")
	tls.ServerName = "server.dc1.consul"
	follow(t, New(source)).fails("certificate required")
	tls.Certificate, tls.Key = filepath.Join(t.TempDir(), "client.pem"), filepath.Join(t.TempDir(), "client.key")
	f := follow(t, New(source))
	f.fails("client certificate: open")
	clientCert, clientKey := ca.issue("xlb")
	copyFile(t, clientKey, tls.Key)
	copyFile(t, clientCert, tls.Certificate)
	f.wants("192.0.2.1:8080 zone=unknown")
	tls.CA, tls.ServerName, tls.Insecure = "", "", true
	follow(t, New(source)).wants("192.0.2.1:8080 zone=unknown")
}

func TestConsulSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "http.sock")
	a := startAgent(t, fmt.Sprintf(`{"addresses": {"http": "127.0.0.1 unix://%s"}}`, path))
	a.start()
	a.register("one", "192.0.2.1", nil)
	source := consulOf(a)
	source.Consul.Address = "unix://" + path
	follow(t, New(source)).wants("192.0.2.1:8080 zone=unknown")
}

func TestNextIndex(t *testing.T) {
	for _, c := range []struct {
		last, now uint64
		early     bool
		want      uint64
	}{
		{0, 5, true, 5}, {5, 5, false, 5}, {5, 5, true, 0}, {5, 9, true, 9}, {9, 5, false, 0}, {9, 0, false, 0}, {0, 0, true, 0},
	} {
		if got := nextIndex(c.last, c.now, c.early); got != c.want {
			t.Errorf("after %d and %d (early: %t) the index is %d, want %d", c.last, c.now, c.early, got, c.want)
		}
	}
}

// TestConsulQuestions looks at what is asked, and at answers that a real agent
// gives too rarely.
func TestConsulQuestions(t *testing.T) {
	const one = `[{"Node": {"Node": "n", "Address": "192.0.2.1"}, "Service": {"ID": "one", "Port": 80}}]`
	var asked atomic.Int32
	questions := make(chan string, 16)
	fake := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		questions <- r.URL.RequestURI()
		switch asked.Add(1) {
		case 1:
			w.Header().Set("X-Consul-Index", "7")
		case 2:
			w.Header().Set("X-Consul-Index", "3")
		case 4:
			w.Header().Set("X-Consul-Results-Filtered-By-ACLs", "true")
		case 5:
			http.Error(w, "rpc error: No cluster leader\nmore", http.StatusInternalServerError)
			return
		case 6:
			fmt.Fprint(w, "not JSON")
			return
		case 7:
			http.Redirect(w, r, "http://127.0.0.1:1/", http.StatusFound)
			return
		}
		fmt.Fprint(w, one)
	}))
	defer fake.Close()
	source := model.Source{Type: model.SourceConsul, Backend: model.Backend{Weight: 1}, Consul: model.ConsulSource{
		Address: fake.URL, Service: "a/b", Wait: 90 * time.Second,
		Datacenter: "dc2", Namespace: "team", Partition: "part",
	}}
	f := follow(t, New(source))
	for i, want := range []string{
		"/v1/health/service/a%2Fb?dc=dc2&ns=team&partition=part&passing=1",
		"/v1/health/service/a%2Fb?dc=dc2&index=7&ns=team&partition=part&passing=1&wait=90000ms",
		"/v1/health/service/a%2Fb?dc=dc2&ns=team&partition=part&passing=1", // it went backwards
	} {
		got := f.next()
		if q := <-questions; q != want || got.String() != "192.0.2.1:80" {
			t.Errorf("question %d is %s, and the answer:\n%s\nwant %s", i+1, q, got, want)
		}
	}
	f.fails("consul hides instances from this token")
	f.fails("consul answers 500 Internal Server Error: rpc error: No cluster leader")
	f.fails("answer of consul: invalid character")
	f.fails("consul answers 302 Found")
	f.wants("192.0.2.1:80")
}
