package loader

import (
	"testing"

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

// The verifier accepts every program.
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
	probe.Close()
}
