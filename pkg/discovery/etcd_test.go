package discovery

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/xlb-io/xlb/internal/testlab"
	"github.com/xlb-io/xlb/pkg/model"
)

// etcd is a real etcd of one member.
type etcd struct {
	*server
	url   string
	data  string
	token string
	http  *http.Client
}

func startEtcd(t *testing.T, args ...string) *etcd {
	t.Helper()
	e := newEtcdServer(t, "http", args...)
	e.start()
	return e
}

func newEtcdServer(t *testing.T, scheme string, args ...string) *etcd {
	t.Helper()
	return newEtcdCluster(t, 1, scheme, args...)[0]
}

// newEtcdCluster returns members that are not started.
func newEtcdCluster(t *testing.T, n int, scheme string, args ...string) (members []*etcd) {
	t.Helper()
	path, ports := installed(t, "etcd"), freePorts(t, 2*n)
	var peers []string
	for i := range n {
		peers = append(peers, fmt.Sprintf("m%d=http://127.0.0.1:%d", i, ports[n+i]))
	}
	for i := range n {
		name, peer, _ := strings.Cut(peers[i], "=")
		e := &etcd{url: fmt.Sprintf("%s://127.0.0.1:%d", scheme, ports[i]), data: filepath.Join(t.TempDir(), "data"), http: http.DefaultClient}
		e.server = &server{t: t, out: new(testlab.Buffer), argv: append([]string{
			path, "--name=" + name, "--data-dir=" + e.data, "--listen-client-urls=" + e.url, "--advertise-client-urls=" + e.url,
			"--listen-peer-urls=" + peer, "--initial-advertise-peer-urls=" + peer, "--initial-cluster=" + strings.Join(peers, ","), "--unsafe-no-fsync",
		}, args...)}
		t.Cleanup(e.stop)
		members = append(members, e)
	}
	return members
}

func (e *etcd) start() {
	e.t.Helper()
	e.server.start(func() error { return e.try("kv/range", dict{"key": []byte("x")}, nil) })
}

func (e *etcd) try(method string, request, answer any) error {
	body, err := json.Marshal(request)
	if err != nil {
		return err
	}
	r, err := http.NewRequest(http.MethodPost, e.url+"/v3/"+method, bytes.NewReader(body))
	if err != nil {
		return err
	}
	if e.token != "" {
		r.Header.Set("Authorization", e.token)
	}
	response, err := e.http.Do(r)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	switch {
	case err != nil:
		return err
	case response.StatusCode != http.StatusOK:
		return fmt.Errorf("%s: %s: %s", method, response.Status, text)
	case answer != nil:
		return json.Unmarshal(text, answer)
	}
	return nil
}

func (e *etcd) do(method string, request dict) {
	e.t.Helper()
	if err := e.try(method, request, nil); err != nil {
		e.t.Fatal(err)
	}
}

func (e *etcd) put(key, value string) {
	e.t.Helper()
	e.do("kv/put", dict{"key": []byte(key), "value": []byte(value)})
}

func (e *etcd) delete(key string) {
	e.t.Helper()
	e.do("kv/deleterange", dict{"key": []byte(key)})
}

// compact has etcd forget all before its present revision, which it returns.
func (e *etcd) compact() int64 {
	e.t.Helper()
	var answer struct{ Header etcdHeader }
	if err := e.try("kv/range", dict{"key": []byte("x")}, &answer); err != nil {
		e.t.Fatal(err)
	}
	e.do("kv/compaction", dict{"revision": fmt.Sprint(answer.Header.Revision), "physical": true})
	return answer.Header.Revision
}

func etcdOf(endpoints ...string) model.Source {
	return model.Source{
		Type: model.SourceEtcd, Backend: model.Backend{Address: portOnly(8080), Weight: 1, Zone: "unknown"},
		Etcd: model.EtcdSource{Endpoints: endpoints, Prefix: "/web/"},
	}
}

func backendJSON(address string) string { return fmt.Sprintf(`{"address": %q}`, address) }

// TestEtcd follows a prefix through all that may happen to it.
func TestEtcd(t *testing.T) {
	e := startEtcd(t)
	e.put("/other", backendJSON("192.0.2.99:80"))
	e.put("/web/one", backendJSON("192.0.2.1:80"))
	e.put("/web0", backendJSON("192.0.2.98:80")) // the first key after the prefix
	f := follow(t, New(etcdOf(e.url)))
	f.wants("192.0.2.1:80 zone=unknown")
	e.put("/web/two", `{"address": "192.0.2.2:80", "weight": 5, "zone": "north"}`)
	f.wants("192.0.2.1:80 zone=unknown", "192.0.2.2:80 weight=5 zone=north")
	e.put("/web/two", `{"address": "192.0.2.2:80", "weight": 6}`)
	f.wants("192.0.2.1:80 zone=unknown", "192.0.2.2:80 weight=6 zone=unknown")
	e.put("/web/two", "192.0.2.2") // the address alone, and the port of the configuration
	f.wants("192.0.2.1:80 zone=unknown", "192.0.2.2:8080 zone=unknown")
	e.put("/other", backendJSON("192.0.2.97:80"))
	e.put("/web/three", "{")
	a := f.until("a warning", func(a heard) bool { return len(a.warnings) > 0 })
	if len(a.backends) != 2 || !strings.HasPrefix(a.warnings[0], "key /web/three: ") {
		t.Errorf("with a key that cannot be understood:\n%s", a)
	}
	e.do("kv/deleterange", dict{"key": []byte("/web/o"), "range_end": []byte("/web0")}) // one, two and three
	f.wants()
	e.put("/web/four", "{")
	f.fails("key /web/four: ")
	e.delete("/web/four")
	f.wants()
}

// TestEtcdBurst: a thousand changes one after the other are heard to the last.
func TestEtcdBurst(t *testing.T) {
	e := startEtcd(t)
	f := follow(t, New(etcdOf(e.url)))
	f.wants()
	var want []string
	var puts []dict
	for i := range 100 {
		want = append(want, fmt.Sprintf("192.0.2.%d:80 zone=unknown", i))
		puts = append(puts, dict{"request_put": dict{"key": fmt.Appendf(nil, "/web/%d", i), "value": []byte(backendJSON(fmt.Sprintf("192.0.2.%d:80", i)))}})
	}
	e.do("kv/txn", dict{"success": puts})
	f.wants(want...)
	for i := range 99 {
		e.delete(fmt.Sprintf("/web/%d", i))
	}
	f.wants(want[99])
}

// TestEtcdRestart: while etcd is away nothing is lost, and what was written
// since and compacted is found by reading all again.
func TestEtcdRestart(t *testing.T) {
	e := startEtcd(t)
	e.put("/web/one", backendJSON("192.0.2.1:80"))
	e.put("/web/two", backendJSON("192.0.2.2:80"))
	proxy := newProxy(t, e.url)
	f := follow(t, New(etcdOf(proxy.url)))
	f.wants("192.0.2.1:80 zone=unknown", "192.0.2.2:80 zone=unknown")

	proxy.cut()
	f.fails(proxy.url + ": ")
	e.delete("/web/one")
	e.put("/web/three", backendJSON("192.0.2.3:80"))
	for i := range 50 {
		e.put("/noise", fmt.Sprint(i))
	}
	e.compact()
	proxy.mend()
	f.wants("192.0.2.2:80 zone=unknown", "192.0.2.3:80 zone=unknown")

	e.stop()
	f.fails(proxy.url + ": ")
	e.start()
	f.wants("192.0.2.2:80 zone=unknown", "192.0.2.3:80 zone=unknown")
	e.put("/web/four", backendJSON("192.0.2.4:80"))
	f.wants("192.0.2.2:80 zone=unknown", "192.0.2.3:80 zone=unknown", "192.0.2.4:80 zone=unknown")

	// A new cluster, as after a disaster: it counts from the beginning.
	e.stop()
	if err := os.RemoveAll(e.data); err != nil {
		t.Fatal(err)
	}
	e.start()
	f.wants()
	e.put("/web/five", backendJSON("192.0.2.5:80"))
	f.wants("192.0.2.5:80 zone=unknown")
}

// TestEtcdCompacted: a watch that begins too far back says so.
func TestEtcdCompacted(t *testing.T) {
	e := startEtcd(t)
	for i := range 10 {
		e.put("/web/one", fmt.Sprintf(`{"address": "192.0.2.%d:80"}`, i))
	}
	revision := e.compact()
	c := newEtcdClient(etcdOf(e.url).Etcd, e.url)
	defer c.close()
	stream, err := c.watch(t.Context(), revision-5)
	for err == nil {
		select {
		case m := <-stream.messages:
			err = m.err
		case <-time.After(patience):
			t.Fatal("the watch says nothing")
		}
	}
	if err != errCompacted {
		t.Errorf("error is %v, want that it is compacted", err)
	}
	if stream != nil {
		stream.wait()
	}
}

// TestEtcdHangs: a member that keeps its connections but says nothing more is
// found out, and another one is asked.
func TestEtcdHangs(t *testing.T) {
	one, two := startEtcd(t), startEtcd(t)
	one.put("/web/one", backendJSON("192.0.2.1:80"))
	two.put("/web/two", backendJSON("192.0.2.2:80"))
	s := newEtcd(etcdOf(one.url, two.url)).(*etcdSource)
	s.check = 200 * time.Millisecond
	f := follow(t, s)
	f.wants("192.0.2.1:80 zone=unknown")
	first := f.wants("192.0.2.1:80 zone=unknown")
	// A check is an answer, and after some it has served for a while.
	f.until("for a while", func(a heard) bool { return a.err == nil && a.at.Sub(first.at) > etcdSteady })
	one.signal(syscall.SIGSTOP)
	a := f.until("from the other member", func(a heard) bool {
		return a.err != nil || len(a.backends) == 1 && describe(a.backends[0]) == "192.0.2.2:80 zone=unknown"
	})
	if a.err != nil {
		t.Errorf("after %s: %v", a.at.Sub(first.at), a.err)
	}
	one.signal(syscall.SIGCONT)
	two.stop()
	f.wants("192.0.2.1:80 zone=unknown")
	one.stop()
	if got := f.fails("connection refused; "); !strings.Contains(got.err.Error(), one.url) || !strings.Contains(got.err.Error(), two.url) {
		t.Errorf("error is %v, want both endpoints in it", got.err)
	}
}

// TestEtcdSlowFailure: members that take their time to fail have not served, so
// after the last one the source has failed.
func TestEtcdSlowFailure(t *testing.T) {
	slow := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-time.After(etcdSteady + 100*time.Millisecond):
			http.Error(w, "busy", http.StatusServiceUnavailable)
		case <-r.Context().Done():
		}
	}))
	defer slow.Close()
	a := follow(t, New(etcdOf(slow.URL, slow.URL))).next()
	if want := slow.URL + ": 503 Service Unavailable: busy; " + slow.URL + ": 503 Service Unavailable: busy"; a.err == nil || a.err.Error() != want {
		t.Errorf("it said %s, want %s", a, want)
	}
}

// TestEtcdAlone: a member that has lost the others, and with them the say on
// what is so, does not count as an answer.
func TestEtcdAlone(t *testing.T) {
	members := newEtcdCluster(t, 3, "http")
	for _, m := range members[1:] {
		m.server.start(func() error { return nil }) // ready when the others are
	}
	members[0].start()
	members[0].put("/web/one", backendJSON("192.0.2.1:80"))
	f := follow(t, New(etcdOf(members[0].url))) // its watch is not doubted for 30 s
	f.wants("192.0.2.1:80 zone=unknown")
	members[1].stop()
	members[2].stop()
	f.fails("no leader")
	members[1].start()
	f.wants("192.0.2.1:80 zone=unknown")
}

// TestEtcdUser: a user that may read the prefix does, others get an error; a
// token that has run out is renewed.
func TestEtcdUser(t *testing.T) {
	e := startEtcd(t, "--auth-token-ttl=2")
	e.put("/web/one", backendJSON("192.0.2.1:80"))
	for _, user := range []string{"root", "xlb", "guest"} {
		e.do("auth/user/add", dict{"name": user, "password": user + " secret"})
	}
	e.do("auth/role/add", dict{"name": "root"})
	e.do("auth/role/add", dict{"name": "web"})
	e.do("auth/role/grant", dict{"name": "web", "perm": dict{"permType": "READ", "key": []byte("/web/"), "range_end": []byte("/web0")}})
	e.do("auth/user/grant", dict{"user": "root", "role": "root"})
	e.do("auth/user/grant", dict{"user": "xlb", "role": "web"})
	e.do("auth/enable", dict{})

	source := etcdOf(e.url)
	follow(t, New(source)).fails("user name is empty")
	source.Etcd.Username, source.Etcd.Password = "guest", "guest secret"
	follow(t, New(source)).fails("permission denied")
	source.Etcd.Username = "xlb"
	follow(t, New(source)).fails("user xlb: etcdserver: authentication failed, invalid user ID or password")
	source.Etcd.Password, source.Etcd.PasswordFile = "", filepath.Join(t.TempDir(), "password")
	follow(t, New(source)).fails("password: open ")
	write(t, source.Etcd.PasswordFile, "xlb secret\n")
	s := newEtcd(source).(*etcdSource)
	s.check = 3500 * time.Millisecond // the token has run out then
	f := follow(t, s)
	f.wants("192.0.2.1:80 zone=unknown")
	if a := f.next(); a.err != nil {
		t.Errorf("with a token that has run out: %v", a.err)
	}
	var token struct{ Token string }
	if err := e.try("auth/authenticate", dict{"name": "root", "password": "root secret"}, &token); err != nil {
		t.Fatal(err)
	}
	e.token = token.Token
	e.put("/web/two", backendJSON("192.0.2.2:80"))
	f.wants("192.0.2.1:80 zone=unknown", "192.0.2.2:80 zone=unknown")
}

func TestEtcdTLS(t *testing.T) {
	ca := newAuthority(t)
	cert, key := ca.issue("127.0.0.1")
	clientCert, clientKey := ca.issue("xlb")
	e := newEtcdServer(t, "https", "--cert-file="+cert, "--key-file="+key, "--trusted-ca-file="+ca.File, "--client-cert-auth")
	pair, err := tls.LoadX509KeyPair(clientCert, clientKey)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(readFile(t, ca.File))
	e.http = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}}}}
	defer e.http.CloseIdleConnections()
	e.start()
	e.put("/web/one", backendJSON("192.0.2.1:80"))

	source := etcdOf(e.url)
	follow(t, New(source)).fails("certificate signed by unknown authority")
	source.Etcd.TLS.CA = ca.File
	follow(t, New(source)).fails("remote error: tls: ") // it wants one of us
	source.Etcd.TLS.Certificate, source.Etcd.TLS.Key = clientCert, clientKey
	f := follow(t, New(source))
	f.wants("192.0.2.1:80 zone=unknown")
	e.put("/web/one", backendJSON("192.0.2.2:80"))
	f.wants("192.0.2.2:80 zone=unknown")
}

// TestEtcdWithoutGateway says what is missing.
func TestEtcdWithoutGateway(t *testing.T) {
	e := newEtcdServer(t, "http", "--enable-grpc-gateway=false")
	e.server.start(dialable(strings.TrimPrefix(e.url, "http://")))
	follow(t, New(etcdOf(e.url))).fails("--enable-grpc-gateway")
}

func TestPrefixEnd(t *testing.T) {
	for prefix, want := range map[string]string{"/web/": "/web0", "a\xff": "b", "\xff\xff": "\x00", "a": "b"} {
		if got := string(prefixEnd(prefix)); got != want {
			t.Errorf("keys with prefix %q end before %q, want %q", prefix, got, want)
		}
	}
}

// proxy passes connections on until it is cut.
type proxy struct {
	url string

	mu   sync.Mutex
	off  bool
	open map[net.Conn]bool
}

func newProxy(t *testing.T, to string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{url: "http://" + l.Addr().String(), open: make(map[net.Conn]bool)}
	var done sync.WaitGroup
	done.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", strings.TrimPrefix(to, "http://"))
			if err != nil || !p.add(client, server) {
				client.Close()
				continue
			}
			for _, ends := range [][2]net.Conn{{client, server}, {server, client}} {
				done.Go(func() {
					_, _ = io.Copy(ends[0], ends[1])
					ends[0].Close()
				})
			}
		}
	})
	t.Cleanup(func() {
		l.Close()
		p.cut()
		done.Wait()
	})
	return p
}

func (p *proxy) add(client, server net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.off {
		server.Close()
		return false
	}
	p.open[client], p.open[server] = true, true
	return true
}

// cut ends all connections, and refuses others.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.off = true
	for c := range p.open {
		c.Close()
	}
	clear(p.open)
}

func (p *proxy) mend() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.off = false
}
