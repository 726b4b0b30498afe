package probe

import (
	"crypto/tls"
	"io"
	"net"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/xlb-io/xlb/pkg/model"
)

// serveFrames is a server of HTTP/2 that answers 204 to each request and tells the
// pseudo header fields.
func serveFrames(conn net.Conn, seen chan<- map[string]string) {
	if _, err := io.ReadFull(conn, make([]byte, len(http2.ClientPreface))); err != nil {
		return
	}
	framer := http2.NewFramer(conn, conn)
	framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	if framer.WriteSettings() != nil {
		return
	}
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			return
		}
		request, ok := frame.(*http2.MetaHeadersFrame)
		if !ok {
			continue
		}
		fields := map[string]string{}
		for _, f := range request.Fields {
			fields[f.Name] = f.Value
		}
		seen <- fields
		framer.WriteHeaders(http2.HeadersFrameParam{StreamID: request.StreamID, EndHeaders: true, EndStream: true, BlockFragment: []byte{0x89}}) // :status 204
	}
}

// The request says how it came, and what is asked for by whom.
func TestHTTP2Request(t *testing.T) {
	noSocketLeft(t)
	a, own := authority(t)
	seen := make(chan map[string]string, 1)
	for scheme, addr := range map[string]net.Addr{
		"https": serveTLS(t, &tls.Config{Certificates: []tls.Certificate{own}, NextProtos: []string{"h2"}}, func(c *tls.Conn) { serveFrames(c, seen) }),
		"http":  serve(t, func(c net.Conn) { serveFrames(c, seen) }),
	} {
		tg := tcpTarget(addr)
		tg.Probe.Type, tg.Probe.HTTP = model.ProbeHTTP2, model.HTTPProbe{Method: "HEAD", Path: "/up/{service}", Host: "db.example.com"}
		if scheme == "https" {
			tg.Probe.TLS = model.TLSProbe{Mode: model.TLSOn, CA: a.File}
		}
		if reason := run(t, tg); reason != "" {
			t.Errorf("%s: %s", scheme, reason)
			continue
		}
		got := <-seen
		for name, want := range map[string]string{":scheme": scheme, ":authority": "db.example.com", ":method": "HEAD", ":path": "/up/web", "user-agent": "xlb-probe"} {
			if got[name] != want {
				t.Errorf("%s: %s is %q, want %q", scheme, name, got[name], want)
			}
		}
	}
}
