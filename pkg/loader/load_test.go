package loader

import (
	"testing"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"

	"github.com/xlb-io/xlb/pkg/maps"
	"github.com/xlb-io/xlb/pkg/model"
)

func testSettings() model.Settings {
	return model.Settings{
		Attach: model.AttachAuto, NextHop: model.NextHopFIB,
		NATPorts:      model.PortRange{First: 1024, Last: 32767},
		FlowTableSize: 4096, TableSize: 251,
		MaxServices: 16, MaxFrontends: 16, MaxBackends: 64, MaxSources: 8,
	}
}

// The verifier accepts every program, and is far from its limit of a million
// instructions, so that the daemon starts at once.
func TestLoadPrograms(t *testing.T) {
	set, err := maps.New(maps.SizesOf(testSettings()))
	if err != nil {
		t.Fatal(err)
	}
	defer set.Close()
	p, err := LoadPrograms(set, testSettings())
	if err != nil {
		t.Fatalf("%+v", err)
	}
	defer p.Close()
	probe, err := LoadProbe(set, testSettings(), &netlink.LinkAttrs{Index: 1})
	if err != nil {
		t.Fatalf("%+v", err)
	}
	defer probe.Close()
	one := &programLoader{set: set, settings: testSettings()}
	defer one.programs.Close()
	inject, err := one.get(partInject)
	if err != nil {
		t.Fatalf("%+v", err)
	}
	for name, p := range map[string]*ebpf.Program{
		"inject": inject, "XDP": p.XDP, "generic XDP": p.Generic, "TC": p.TC, "companion": p.Companion, "probe": probe,
	} {
		info, err := p.Info()
		if err != nil {
			t.Fatal(err)
		}
		n, ok := info.VerifiedInstructions()
		if !ok || n > 400_000 {
			t.Errorf("%s: %d instructions verified (told: %t), want at most 400,000", name, n, ok)
		}
		t.Logf("%s: %d instructions verified", name, n)
	}
}
