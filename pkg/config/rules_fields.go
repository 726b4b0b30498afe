package config

import (
	"github.com/xlb-io/xlb/pkg/model"
	"github.com/xlb-io/xlb/pkg/rules"
)

type (
	// rawRules is which packets are taken, and which backends they may have, as
	// it is written.
	rawRules struct {
		allow, deny    opt[[]opt[model.Origin]]
		steer          opt[[]opt[rawSteer]]
		rate           opt[rawRate]
		ratePerSource  opt[rawSourceRate]
		maxConnections opt[int]
	}
	rawSteer struct {
		from          opt[[]opt[model.Origin]]
		geoip         opt[string]
		countries     opt[[]opt[string]]
		continents    opt[[]opt[string]]
		to, defaultTo opt[rawSubset]
	}
	rawRate       struct{ perSecond, burst opt[int] }
	rawSourceRate struct {
		perSecond, burst, ipv4, ipv6 opt[int]
	}
)

// The largest limits: the data plane has 24 bits for a rate of sources.
const (
	maxRate        = 10_000_000
	maxConnections = 100_000_000
)

var (
	originKind = textOf("prefix or file", "an address, a prefix, or the name of a file with one a line", `^[^\x00-\x1f\x7f]+$`, origin)
	// An unknown code is refused where it is used, by name.
	countryKind = str("country", `^[A-Z]{2}$`, 2, "two capital letters of ISO 3166-1")
	rateLimit   = integer(0, maxRate)
)

// origin tells prefixes and file names apart by their form, so that a wrong
// prefix is not taken for a file that is not there.
func origin(s string) (model.Origin, *problem) {
	if rules.LooksLikePrefix(s) {
		p, err := rules.ParsePrefix(s)
		if err != nil {
			return model.Origin{}, &problem{message: err.Error()}
		}
		return model.Origin{Prefix: p}, nil
	}
	if !fileNameKind.valid(s) {
		return model.Origin{}, &problem{quote(s) + " is neither a prefix nor a file name", fileNameKind.limits}
	}
	return model.Origin{File: s}, nil
}

var steerKind = needed(object("steer", "Sources that go to a subset of the backends. Elements are asked in order, and the first that holds a packet's source decides.",
	of("from", listOf(originKind), func(s *rawSteer) *opt[[]opt[model.Origin]] { return &s.from }, about{
		doc: "Sources: addresses, prefixes, and files as in `allow`.", example: "[10.0.0.0/8, lists/office.txt]"}),
	of("geoip", fileNameKind.kind, func(s *rawSteer) *opt[string] { return &s.geoip }, about{
		doc: "A MaxMind database (`.mmdb`) that places sources in countries: one with `country.iso_code` and `continent.code`, or with `country_code`.", example: "GeoLite2-Country.mmdb"}),
	of("country", listOf(countryKind.kind), func(s *rawSteer) *opt[[]opt[string]] { return &s.countries }, about{
		doc: "With `geoip`: the countries.", example: "[DE, FR]"}),
	of("continent", listOf(enum(rules.Continents...)), func(s *rawSteer) *opt[[]opt[string]] { return &s.continents }, about{
		doc: "With `geoip`: the continents. Of a database that does not say, a country's continent is that of GeoNames.", example: "EU"}),
	of("to", subsetKind, func(s *rawSteer) *opt[rawSubset] { return &s.to }, about{
		doc: "The subset that they go to. While none of its backends is usable, the whole service is.", example: "{zone: eu}"}),
	of("default", subsetKind, func(s *rawSteer) *opt[rawSubset] { return &s.defaultTo }, about{
		doc: "In place of all others, in the last element: the subset of who is not steered.", defDoc: "the whole service", example: "{zone: us}"}),
))

var (
	burstField = about{doc: "How many may begin at once after a pause.", defDoc: "as many as in a second", example: "2000"}

	rateKind = shorthand(rateLimit,
		object("rate", "The long form of a limit. The short form is the number per second.",
			of("per_second", rateLimit, func(r *rawRate) *opt[int] { return &r.perSecond }, about{
				doc: "New flows a second; 0 is no limit.", example: "500"}),
			of("burst", integer(1, maxRate), func(r *rawRate) *opt[int] { return &r.burst }, burstField)),
		func(n opt[int]) rawRate { return rawRate{perSecond: n} })

	sourceRateKind = shorthand(rateLimit,
		object("rate_per_source", "The long form of a limit of each source. The short form is the number per second.",
			of("per_second", rateLimit, func(r *rawSourceRate) *opt[int] { return &r.perSecond }, about{
				doc: "New flows a second of one source; 0 is no limit.", example: "20"}),
			of("burst", integer(1, maxRate), func(r *rawSourceRate) *opt[int] { return &r.burst }, burstField),
			of("ipv4", integer(1, 32), func(r *rawSourceRate) *opt[int] { return &r.ipv4 }, about{
				doc: "Length of the IPv4 prefix that counts as one source.", def: sourceIPv4, example: "24"}),
			of("ipv6", integer(1, 128), func(r *rawSourceRate) *opt[int] { return &r.ipv6 }, about{
				doc: "The same of IPv6.", def: sourceIPv6, example: "56"})),
		func(n opt[int]) rawSourceRate { return rawSourceRate{perSecond: n} })
)

// What is one source: a network is often behind one IPv4 address, and seldom has
// less than a /64.
const (
	sourceIPv4 = 32
	sourceIPv6 = 64
)

var ruleFields = []field[rawCommon]{
	of("allow", listOf(originKind), func(c *rawCommon) *opt[[]opt[model.Origin]] { return &c.rules.allow }, about{
		doc: "Whom alone the service takes packets of: addresses, prefixes, and files with one a line (`#` and `;` begin comments), which are read again when they change. Everybody else's are dropped.", defDoc: "everybody", example: "[10.0.0.0/8, lists/customers.txt]"}),
	of("deny", listOf(originKind), func(c *rawCommon) *opt[[]opt[model.Origin]] { return &c.rules.deny }, about{
		doc: "Whose packets are dropped, also those of connections under way. Where `allow` holds a source too, the longer prefix decides, and of equal ones this.", example: "[192.0.2.0/24, lists/blocked.txt]"}),
	of("steer", listOf(steerKind), func(c *rawCommon) *opt[[]opt[rawSteer]] { return &c.rules.steer }, about{
		doc: "Which sources go to which of the backends. With `track: auto` each flow is then recorded, as with `always`.", example: "[{from: 10.0.0.0/8, to: {zone: eu}}, {default: {zone: us}}]"}),
	of("rate", rateKind, func(c *rawCommon) *opt[rawRate] { return &c.rules.rate }, about{
		doc: "Most new flows a second; what is beyond is dropped.", defDoc: "no limit", example: "{per_second: 5000, burst: 10000}"}),
	of("rate_per_source", sourceRateKind, func(c *rawCommon) *opt[rawSourceRate] { return &c.rules.ratePerSource }, about{
		doc: "The same of each source.", defDoc: "no limit", example: "{per_second: 20, ipv4: 24}"}),
	of("max_connections", integer(0, maxConnections), func(c *rawCommon) *opt[int] { return &c.rules.maxConnections }, about{
		doc: "Most flows, of TCP or UDP, that are open at a time; new ones beyond are dropped. 0 is no limit. Each flow is then recorded.", defDoc: "no limit", example: "10000"}),
}
