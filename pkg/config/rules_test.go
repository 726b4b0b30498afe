package config

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/xlb-io/xlb/internal/testlab"
	"github.com/xlb-io/xlb/pkg/model"
)

// ruleFiles makes the files that the reference's examples name, and the present
// directory theirs.
func ruleFiles(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	db := &testlab.GeoDatabase{}
	db.Add("192.0.2.0/24", "country", []any{"iso_code", "DE"}, "continent", []any{"code", "EU"})
	for name, content := range map[string]string{
		"lists/office.txt":         "# the office\n192.0.2.0/24\n2001:db8::/32 ; both\n",
		"lists/customers.txt":      "192.0.2.1\n",
		"lists/blocked.txt":        "",
		"lists/wrong.txt":          "10.0.0.0/8\n10.0.0.0/33\n",
		"GeoLite2-Country.mmdb":    string(db.Bytes()),
		"lists/no-such-place.mmdb": "x",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
}

// ruleCompanions are, by group and key, what an example cannot do without.
var ruleCompanions = map[string]map[string]string{
	"steer": {
		"from": "      to: {zone: eu}\n", "to": "      from: 10.0.0.0/8\n",
		"geoip":     "      to: {zone: eu}\n      country: DE\n",
		"country":   "      to: {zone: eu}\n      geoip: GeoLite2-Country.mmdb\n",
		"continent": "      to: {zone: eu}\n      geoip: GeoLite2-Country.mmdb\n",
	},
	"rate":            {"burst": "    per_second: 1\n"},
	"rate_per_source": {"burst": "    per_second: 1\n", "ipv4": "    per_second: 1\n", "ipv6": "    per_second: 1\n"},
}

// ruled is a file of one service with these keys.
func ruled(keys ...string) string {
	return "interfaces: eth0\nservices:\n  w:\n    frontends: tcp://192.0.2.1:80\n    backends: 10.0.0.1\n    " + strings.Join(keys, "\n    ") + "\n"
}

func TestRules(t *testing.T) {
	ruleFiles(t)
	prefix := func(text string) model.Origin { return model.Origin{Prefix: netip.MustParsePrefix(text)} }
	for name, c := range map[string]struct {
		text string
		want model.Rules
	}{
		"none": {ruled(), model.Rules{}},
		"lists": {ruled("allow: [10.0.0.0/8, 2001:db8::1, lists/office.txt]", "deny: 10.0.0.7"), model.Rules{
			Allow: []model.Origin{prefix("10.0.0.0/8"), prefix("2001:db8::1/128"), {File: "lists/office.txt"}},
			Deny:  []model.Origin{prefix("10.0.0.7/32")},
		}},
		"an empty list": {ruled("allow: []"), model.Rules{Allow: []model.Origin{}}},
		"steer": {ruled("steer:", "- {from: [lists/office.txt, 10.0.0.0/8], to: {tag: a}}",
			"- {geoip: GeoLite2-Country.mmdb, country: [DE, FR], continent: AS, to: {zone: b, tag: c}}", "- default: {zone: d}"), model.Rules{
			Steer: []model.Steer{
				{From: []model.Origin{{File: "lists/office.txt"}, prefix("10.0.0.0/8")}, To: model.Subset{Tag: "a"}},
				{GeoIP: "GeoLite2-Country.mmdb", Countries: []string{"DE", "FR"}, Continents: []string{"AS"}, To: model.Subset{Zone: "b", Tag: "c"}},
			},
			Default: model.Subset{Zone: "d"},
		}},
		"limits": {ruled("rate: 500", "rate_per_source: {per_second: 20, burst: 5, ipv4: 24}", "max_connections: 7"), model.Rules{
			Rate: model.Rate{PerSecond: 500, Burst: 500}, RatePerSource: model.Rate{PerSecond: 20, Burst: 5}, SourceIPv4: 24, SourceIPv6: 64,
			MaxConnections: 7,
		}},
		"defaults": {"defaults: {deny: 10.0.0.0/8, rate: {per_second: 5, burst: 9}, rate_per_source: {per_second: 3, ipv6: 56}, max_connections: 2}\n" +
			ruled("rate: {per_second: 6}", "rate_per_source: {ipv4: 16}", "deny: 10.0.0.9", "max_connections: 0"), model.Rules{
			Deny: []model.Origin{prefix("10.0.0.9/32")}, Rate: model.Rate{PerSecond: 6, Burst: 9},
			RatePerSource: model.Rate{PerSecond: 3, Burst: 3}, SourceIPv4: 16, SourceIPv6: 56,
		}},
		"defaults taken back": {"defaults: {deny: 10.0.0.0/8, rate: 5, rate_per_source: {per_second: 3, ipv6: 56}}\n" + ruled("rate: 0", "rate_per_source: 0", "deny: []"), model.Rules{
			Deny: []model.Origin{},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := parse(t, c.text)
			if d := cmp.Diff(c.want, cfg.Services[0].Rules, comparePrefixes); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
			for _, file := range cfg.Services[0].Rules.Files() {
				if cfg.Networks[file] == nil {
					t.Errorf("%s was not read", file)
				}
			}
		})
	}
}

func TestRulesErrors(t *testing.T) {
	ruleFiles(t)
	for name, c := range map[string]struct{ text, want string }{
		"prefix":    {ruled("deny: [10.0.0.0/33]"), `x.yaml:6:12: deny: "10.0.0.0/33" is no address and no prefix (for example 192.0.2.0/24 or 2001:db8::/32)`},
		"host bits": {ruled("allow: 10.0.0.1/8"), `x.yaml:6:12: allow: 10.0.0.1/8 has bits set behind its prefix (the network is 10.0.0.0/8)`},
		"mapped":    {ruled("allow: '::ffff:10.0.0.1'"), `x.yaml:6:12: allow: ::ffff:10.0.0.1/128 is IPv4 in an IPv6 address, which no packet has (write it as IPv4)`},
		"no file":   {ruled("deny: [lists/missing.txt]"), `x.yaml:6:12: stat lists/missing.txt: no such file or directory (names are relative to the configuration file's directory)`},
		"twice": {ruled("deny: [lists/missing.txt]", "allow: lists/missing.txt"), lines(
			`x.yaml:6:12: stat lists/missing.txt: no such file or directory (names are relative to the configuration file's directory)`,
			`x.yaml:7:12: stat lists/missing.txt: no such file or directory (names are relative to the configuration file's directory)`)},
		"wrong line":   {ruled("deny: lists/wrong.txt"), `x.yaml:6:11: lists/wrong.txt:2: "10.0.0.0/33" is no address and no prefix (for example 192.0.2.0/24 or 2001:db8::/32) (correct the file; xlb takes it as a whole or not at all)`},
		"a directory":  {ruled("deny: lists"), `x.yaml:6:11: lists is no regular file (correct the file; xlb takes it as a whole or not at all)`},
		"a database":   {ruled("deny: GeoLite2-Country.mmdb"), `x.yaml:6:11: GeoLite2-Country.mmdb is a database, not a list of prefixes (use it in steer: as geoip:)`},
		"no database":  {ruled("steer: {geoip: lists/office.txt, country: DE, to: {tag: a}}"), `x.yaml:6:20: lists/office.txt is no MaxMind database (its name ends in .mmdb)`},
		"bad database": {ruled("steer: {geoip: lists/no-such-place.mmdb, country: DE, to: {tag: a}}"), `x.yaml:6:20: lists/no-such-place.mmdb: error opening database: invalid MaxMind DB file (correct the file; xlb takes it as a whole or not at all)`},
		"country": {ruled("steer: {geoip: GeoLite2-Country.mmdb, country: [UK, de, ZZ], to: {tag: a}}"), lines(
			`x.yaml:6:53: UK is no country (the United Kingdom is GB)`,
			`x.yaml:6:57: country: "de" is not a valid country (two capital letters of ISO 3166-1)`,
			`x.yaml:6:61: ZZ is no country (ISO 3166-1, for example DE or US)`)},
		"continent":       {ruled("steer: {geoip: GeoLite2-Country.mmdb, continent: Europe, to: {tag: a}}"), `x.yaml:6:54: continent: unknown value "Europe" (known: AF, AN, AS, EU, NA, OC, SA)`},
		"no place":        {ruled("steer: {geoip: GeoLite2-Country.mmdb, to: {tag: a}}"), `x.yaml:6:12: geoip without country or continent steers nobody (for example country: [DE, FR])`},
		"country of from": {ruled("steer: {from: 10.0.0.0/8, country: DE, to: {tag: a}}"), `x.yaml:6:12: country and continent have no effect on from: (they belong to geoip:)`},
		"neither":         {ruled("steer: {to: {tag: a}}"), `x.yaml:6:12: an element of steer has either from: or geoip: (or default: alone, in the last one)`},
		"no to":           {ruled("steer: {from: 10.0.0.0/8}"), `x.yaml:6:12: to is missing in steer (for example to: {zone: eu})`},
		"empty subset":    {ruled("steer: {from: 10.0.0.0/8, to: {}}"), `x.yaml:6:35: a subset names a tag, a zone, or both (for example {zone: eu})`},
		"default first":   {ruled("steer: [{default: {tag: a}}, {from: 10.0.0.0/8, to: {tag: b}}]"), `x.yaml:6:13: default is for the sources that no element before it holds (make it the last element of steer)`},
		"default with to": {ruled("steer: {default: {tag: a}, to: {tag: b}}"), `x.yaml:6:12: default stands alone in an element of steer (its value is the subset: default: {zone: us})`},
		"rate":            {ruled("rate: -1"), `x.yaml:6:11: rate: -1 is out of range (0 to 10000000)`},
		"burst alone": {ruled("rate: {burst: 5}", "rate_per_source: {burst: 5}"), lines(
			`x.yaml:6:12: rate: burst has no effect without per_second (add per_second)`,
			`x.yaml:7:23: rate_per_source: burst has no effect without per_second (add per_second)`)},
		"source alone": {ruled("rate_per_source: {ipv4: 5}"), `x.yaml:6:22: rate_per_source: ipv4 and ipv6 have no effect without per_second (add per_second)`},
		"cap without records": {ruled("max_connections: 5", "forward: l2dsr", "track: never"),
			`x.yaml:8:12: service "w" has max_connections, which counts recorded flows: track: never is impossible (remove track, or the limit)`},
		"one packet": {"interfaces: eth0\nservices:\n  w: {frontends: udp://192.0.2.1:80, backends: 10.0.0.1, forward: l2dsr, ops: true, rate: 5}\n",
			`x.yaml:3:79: service "w": a limit tells a new UDP flow by its record, and ops has none (remove ops, or rate, rate_per_source and max_connections)`},
		"udp rate without records": {"interfaces: eth0\ndefaults: {track: never, forward: l2dsr}\nservices:\n  w: {frontends: udp://192.0.2.1:80, backends: 10.0.0.1, rate_per_source: 5}\n",
			`x.yaml:4:3: service "w" has rate_per_source, which tells a new UDP flow by its record: track: never is impossible (remove track, or the limit)`},
	} {
		t.Run(name, func(t *testing.T) {
			got := refused(t, c.text)
			if d := cmp.Diff(c.want, got); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
}
