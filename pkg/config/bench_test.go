package config

import (
	"fmt"
	"strings"
	"testing"
)

// largeFile has the given number of services with as many backends each, half
// of them in the long form.
func largeFile(services, backends int) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "interfaces: eth0\nmax_services: %d\nmax_frontends: %d\nmax_backends: %d\nservices:\n", services, services, services*backends)
	for s := range services {
		fmt.Fprintf(&b, "  s%d:\n    frontends: tcp://192.0.2.1:%d\n    backends:\n", s, s+1)
		for i := range backends {
			address := fmt.Sprintf("10.%d.%d.%d", s/250, s%250, i%250)
			if i%2 == 0 {
				fmt.Fprintf(&b, "      - %s:8080\n", address)
			} else {
				fmt.Fprintf(&b, "      - {address: %s, port: 8080, weight: %d}\n", address, i)
			}
		}
	}
	return []byte(b.String())
}

// BenchmarkParse reads 1,000 services of 100 backends.
func BenchmarkParse(b *testing.B) {
	data := largeFile(1000, 100)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse("x.yaml", data); err != nil {
			b.Fatal(err)
		}
	}
}
