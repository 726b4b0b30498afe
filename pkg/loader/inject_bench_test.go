package loader

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"testing"

	"github.com/xlb-io/xlb/internal/testlab"
	"github.com/xlb-io/xlb/pkg/maps"
	"github.com/xlb-io/xlb/pkg/model"
)

// BenchmarkInject measures both ways of injection on native XDP over veth, up to
// the end of the packet, which the data plane drops for want of a backend: `live`
// runs the XDP program, `lo` sends it through lo to TC.
func BenchmarkInject(b *testing.B) {
	if os.Getuid() != 0 {
		b.Skip("network namespaces need root")
	}
	lab, err := testlab.New("inject")
	if err != nil {
		b.Fatal(err)
	}
	defer lab.Close()
	host, err := lab.Namespace("host")
	if err != nil {
		b.Fatal(err)
	}
	peer, err := lab.Namespace("peer")
	if err != nil {
		b.Fatal(err)
	}
	prefix := netip.MustParsePrefix("10.10.0.1/24")
	if err := lab.Veth(testlab.End{Namespace: host, Name: "up0", Addresses: []netip.Prefix{prefix}}, testlab.End{Namespace: peer, Name: "down0"}); err != nil {
		b.Fatal(err)
	}
	settings := testSettings()
	settings.Interfaces, settings.Attach = []string{"up0"}, model.AttachNative
	dir := fmt.Sprintf("%s-%d-inject", DefaultPinDir, os.Getpid())
	err = host.Do(func() error {
		l, err := Open(Options{PinDir: dir, Settings: settings})
		if err != nil {
			return err
		}
		defer Detach(dir, slog.New(slog.DiscardHandler))
		defer l.Close()
		return benchmarkInject(b, l, host)
	})
	if err != nil {
		b.Fatalf("%+v", err)
	}
}

func benchmarkInject(b *testing.B, l *Loader, host *testlab.Namespace) error {
	i, err := l.Injector()
	if err != nil {
		return err
	}
	defer i.Close()
	c := maps.Contents{}.Clone()
	c.VIPs[maps.VIPKey{Address: vip4.Addr(), Port: vip4.Port(), Protocol: model.TCP}] = maps.VIP{Service: 1}
	c.Services[1] = maps.Service{Forward: model.L2DSR}
	if err := l.Maps().Apply(maps.Diff(maps.Contents{}, c)); err != nil {
		return err
	}
	u := upcallOf(testlab.TCPPacket(comes, client4, vip4, testlab.SYN, ""), 0, client4, model.TCP)
	u.Service, u.XDP = 1, true
	for index := range i.native {
		u.Ifindex = index
	}
	for name, send := range map[string]func(*maps.Upcall) error{"live": i.runLive, "lo": i.sendThroughLo} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			// The kernel looks the interface up in the caller's namespace.
			err := host.Do(func() (err error) {
				for b.Loop() {
					if err = errors.Join(err, send(u)); err != nil {
						break
					}
				}
				return err
			})
			if err != nil {
				b.Fatal(err)
			}
		})
	}
	return nil
}
