package discovery

import (
	"os"
	"testing"

	"github.com/xlb-io/xlb/internal/testlab/servers"
)

// authority signs certificates for servers and clients.
type authority struct {
	*servers.Authority
	t *testing.T
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a, err := servers.NewAuthority(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return &authority{a, t}
}

// issue returns the files of a certificate for a DNS name, or an address, and
// of its key.
func (a *authority) issue(name string) (cert, key string) {
	a.t.Helper()
	pair, err := a.Issue(name, name)
	if err != nil {
		a.t.Fatal(err)
	}
	return pair.Certificate, pair.Key
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	content, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	write(t, to, string(content))
}
