package maps

import (
	"bytes"
	"slices"
	"testing"
	"unsafe"

	"github.com/xlb-io/xlb/bpf"
)

func record(h bpf.Upcall, frame []byte) []byte {
	header := unsafe.Slice((*byte)(unsafe.Pointer(&h)), upcallHeader)
	return append(slices.Clone(header), frame...)
}

// A tag that stood beside the frame is back in it, before those that stand there.
func TestUpcallTag(t *testing.T) {
	frame := []byte("destinsource\x81\x00\x00\x05\x08\x00IP header and more")
	h := bpf.Upcall{Length: uint32(len(frame)), L3: 18, L4: 27, VlanProtocol: swap16(0x88a8), VlanTci: 0x6064}
	u := Upcall{Frame: []byte("of an earlier packet, which was longer than this one is")}
	if err := u.decode(record(h, frame)); err != nil {
		t.Fatal(err)
	}
	want := []byte("destinsource\x88\xa8\x60\x64\x81\x00\x00\x05\x08\x00IP header and more")
	if !bytes.Equal(u.Frame, want) || u.Network != 22 || u.Transport != 31 {
		t.Errorf("frame %q with headers at %d and %d", u.Frame, u.Network, u.Transport)
	}
}

// Whatever is in a record, what comes out of it holds together.
func FuzzUpcall(f *testing.F) {
	frame := bytes.Repeat([]byte{1}, 60)
	f.Add(record(bpf.Upcall{Length: 60, L3: 14, L4: 34}, frame))
	f.Add(record(bpf.Upcall{Length: 61, L3: 14, L4: 34}, frame))
	f.Add(record(bpf.Upcall{Length: 60, L3: 14, L4: 34, Tuple: 1 << 40, VlanProtocol: 0x81}, frame))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		var u Upcall
		if err := u.decode(b); err != nil {
			return
		}
		if u.Network < 14 || u.Transport < u.Network || u.Transport >= len(u.Frame) || !u.Source.IsValid() || !u.Destination.IsValid() {
			t.Errorf("decoded as %+v", u)
		}
	})
}
