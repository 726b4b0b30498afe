package bpf_test

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/xlb-io/xlb/internal/testlab"
	"github.com/xlb-io/xlb/pkg/model"
)

// A UDP checksum that comes out as zero leaves as ones, in both families and
// both directions: zero would say that there is none.
func TestChecksumThatComesOutZero(t *testing.T) {
	p := newPlane(t, settings(), sizes(), standard())
	p.bothHooks(t, func(t *testing.T) {
		for _, w := range []way{wayTo(nat4), wayTo(nat6)} {
			inside(t, w.name, func(t *testing.T) {
				nat := p.expectRequest(t, w, datagram(), "flow_created")
				m := sumsToZero(t, w.forwardedEnds(nat))
				p.expectRequest(t, w, m)
				back := w.replyEnds(nat)
				back.src, back.dst = w.vip, w.client
				p.expectReply(t, w, sumsToZero(t, back), nat)
			})
		}
	})
}

// sumsToZero is a datagram whose checksum is zero, so sent as ones, between
// these ends.
func sumsToZero(t *testing.T, e ends) mold {
	t.Helper()
	for word := range 1 << 16 {
		m := word2(uint16(word))
		frame := m.pour(e)
		if binary.BigEndian.Uint16(frame[len(frame)-2-2:]) == 0xffff {
			return m
		}
	}
	t.Fatal("no datagram sums to zero")
	return mold{}
}

// word2 is a datagram of two bytes.
func word2(word uint16) mold {
	return mold{name: "udp", protocol: model.UDP, pour: func(e ends) []byte {
		return testlab.Build(e.link, ipWithTTL(e), udp(e.src.Port(), e.dst.Port()), testlab.Payload{byte(word >> 8), byte(word)})
	}}
}

func ipWithTTL(e ends) testlab.Layer {
	if e.src.Addr().Is4() {
		return testlab.IPv4{Src: e.src.Addr(), Dst: e.dst.Addr(), TTL: e.ttl}
	}
	return testlab.IPv6{Src: e.src.Addr(), Dst: e.dst.Addr(), HopLimit: e.ttl}
}

// Incremental update is right for every value of a 16-bit word, and so for
// every carry.
func TestChecksumOfEveryWord(t *testing.T) {
	p := newPlane(t, settings(), sizes(), standard())
	p.bothHooks(t, func(t *testing.T) {
		for _, w := range []way{wayTo(nat4), wayTo(nat6)} {
			inside(t, w.name, func(t *testing.T) {
				nat := p.expectRequest(t, w, datagram(), "flow_created")
				for word := 0; word < 1<<16; word += 13 {
					m := word2(uint16(word))
					_, out, err := p.run(w.request(m))
					if err != nil {
						t.Fatal(err)
					}
					if diff := testlab.Diff(w.forwarded(m, nat), out); diff != "" {
						t.Fatalf("word %#04x:\n%s", word, diff)
					}
				}
			})
		}
	})
}

// A wrong checksum stays wrong: the balancer must not vouch for what it did
// not verify.
func TestWrongChecksumStaysWrong(t *testing.T) {
	p := newPlane(t, settings(), sizes(), standard())
	p.bothHooks(t, func(t *testing.T) {
		for _, w := range []way{wayTo(nat4), wayTo(nat6)} {
			for _, m := range []mold{segment(testlab.SYN), datagram()} {
				inside(t, w.name+"/"+m.name, func(t *testing.T) {
					in := w.request(m)
					in.frame[len(in.frame)-1] ^= 0x10 // of the payload
					p.expect(t, in, want{
						reason: w.sends(), service: w.service, backend: w.number, events: m.created(),
						out: func() []byte {
							out := w.forwarded(m, p.flow(t, w.client, w.vip, m.protocol).NAT)
							out[len(out)-1] ^= 0x10
							return out
						},
					})
				})
			}
		}
	})
}

// IPv6 UDP without a checksum cannot be translated; IPv4 can, and keeps none
// (TestForward). Without translation it does not matter.
func TestNoChecksumIPv6(t *testing.T) {
	p := newPlane(t, settings(), sizes(), standard())
	bare := uncheckedMold("udp", 20)
	p.bothHooks(t, func(t *testing.T) {
		nat, dsr := wayTo(nat6), wayTo(dsr6)
		p.expect(t, nat.request(bare), want{reason: "pass_checksum"})
		source := p.expectRequest(t, nat, datagram(), "flow_created")
		p.expect(t, nat.request(bare), want{reason: "pass_checksum"})
		p.expect(t, nat.reply(bare, source), want{reason: "pass_checksum"})
		p.expect(t, dsr.request(bare), want{
			reason: dsr.sends(), service: dsr.service, backend: dsr.number, events: bare.created(),
			out: func() []byte { return dsr.forwarded(bare, netip.AddrPort{}) },
		})
	})
}

// A packet that would expire here is the stack's to answer; l2dsr is a bridge
// and leaves the TTL alone.
func TestTTL(t *testing.T) {
	p := newPlane(t, settings(), sizes(), standard())
	p.bothHooks(t, func(t *testing.T) {
		for _, w := range []way{wayTo(nat4), wayTo(nat6), wayTo(dsr4), wayTo(dsr6)} {
			inside(t, w.name, func(t *testing.T) {
				m := segment(testlab.SYN)
				if !w.nat() {
					p.expectRequest(t, w, withTTL(m, 1), "flow_created")
					p.expectRequest(t, w, withTTL(m, testlab.TTLZero))
					return
				}
				for _, ttl := range []int{1, testlab.TTLZero} {
					p.expect(t, w.request(withTTL(m, ttl)), want{reason: "pass_ttl"})
				}
				nat := p.expectRequest(t, w, withTTL(m, 2), "flow_created")
				for _, ttl := range []int{1, testlab.TTLZero} {
					p.expect(t, w.request(withTTL(m, ttl)), want{reason: "pass_ttl"})
					p.expect(t, w.reply(withTTL(m, ttl), nat), want{reason: "pass_ttl"})
				}
				p.expectRequest(t, w, withTTL(m, 255))
				p.expectReply(t, w, withTTL(m, 255), nat)
				p.expectReply(t, w, withTTL(m, 2), nat)
			})
		}
	})
}

// withTTL is the mold with another TTL on arrival; what it loses on the way
// out it loses here too.
func withTTL(m mold, ttl int) mold {
	pour := m.pour
	m.pour = func(e ends) []byte {
		if e.ttl == 64 {
			e.ttl = ttl
		} else {
			e.ttl = ttl - 1
		}
		return pour(e)
	}
	return m
}
