package loader

import (
	"fmt"
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/xlb-io/xlb/pkg/model"
)

const tableName = "xlb"

// ProtectVIPs keeps the frontends' packets out of conntrack where they pass the
// stack: a table `inet xlb` with one set per family, replaced in one
// transaction. Conntrack would call half of a connection that TC or XDP
// forwards invalid, and a firewall would drop it.
func (l *Loader) ProtectVIPs(frontends []model.Frontend) error {
	c, err := nftables.New()
	if err != nil {
		return fmt.Errorf("open nftables: %w", err)
	}
	table := &nftables.Table{Name: tableName, Family: nftables.TableFamilyINet}
	c.AddTable(table) // so that the deletion finds it
	c.DelTable(table)
	table = c.AddTable(table)
	for _, f := range []family{ipv4, ipv6} {
		if err := f.addRules(c, table, frontends); err != nil {
			return err
		}
	}
	if err := c.Flush(); err != nil {
		return fmt.Errorf("write nftables table inet %s: %w", tableName, err)
	}
	return nil
}

// removeFirewall removes the table, if it is there.
func removeFirewall() ([]string, error) {
	c, err := nftables.New()
	if err != nil {
		return nil, fmt.Errorf("open nftables: %w", err)
	}
	tables, err := c.ListTablesOfFamily(nftables.TableFamilyINet)
	if err != nil {
		return nil, nil // a kernel without nftables has no table of ours
	}
	for _, t := range tables {
		if t.Name != tableName {
			continue
		}
		c.DelTable(t)
		if err := c.Flush(); err != nil {
			return nil, fmt.Errorf("remove nftables table inet %s: %w", tableName, err)
		}
		return []string{"nftables table inet " + tableName}, nil
	}
	return nil, nil
}

// family is what differs between IPv4 and IPv6 in rules.
type family struct {
	set                 string
	nfproto             byte
	address             nftables.SetDatatype
	source, destination uint32 // offsets in the network header
	length              uint32
	is                  func(netip.Addr) bool
}

var (
	ipv4 = family{"frontends4", unix.NFPROTO_IPV4, nftables.TypeIPAddr, 12, 16, 4, netip.Addr.Is4}
	ipv6 = family{"frontends6", unix.NFPROTO_IPV6, nftables.TypeIP6Addr, 8, 24, 16, netip.Addr.Is6}
)

func (f family) addRules(c *nftables.Conn, table *nftables.Table, frontends []model.Frontend) error {
	set := &nftables.Set{
		Table: table, Name: f.set, Concatenation: true,
		KeyType: nftables.MustConcatSetType(f.address, nftables.TypeInetProto, nftables.TypeInetService),
	}
	var elements []nftables.SetElement
	for _, v := range frontends {
		if f.is(v.VIP) {
			elements = append(elements, nftables.SetElement{Key: concatKey(v)})
		}
	}
	if err := c.AddSet(set, elements); err != nil {
		return fmt.Errorf("add nftables set %s: %w", f.set, err)
	}
	accept := nftables.ChainPolicyAccept
	raw := func(name string, hook *nftables.ChainHook) *nftables.Chain {
		return c.AddChain(&nftables.Chain{
			Name: name, Table: table, Type: nftables.ChainTypeFilter,
			Hooknum: hook, Priority: nftables.ChainPriorityRaw, Policy: &accept,
		})
	}
	in, out := raw("prerouting", nftables.ChainHookPrerouting), raw("output", nftables.ChainHookOutput)
	for _, chain := range []*nftables.Chain{in, out} {
		for _, side := range []struct{ address, port uint32 }{{f.destination, 2}, {f.source, 0}} {
			c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: f.match(set, side.address, side.port)})
		}
	}
	return nil
}

// concatKey joins the parts of a key, each padded to four bytes.
func concatKey(f model.Frontend) []byte {
	key := f.VIP.AsSlice()
	key = append(key, byte(f.Protocol), 0, 0, 0)
	key = append(key, binaryutil.BigEndian.PutUint16(f.Port)...)
	return append(key, 0, 0)
}

func (f family) match(set *nftables.Set, address, port uint32) []expr.Any {
	// The four-byte registers begin at 8; the parts of the key lie in a row.
	const first = unix.NFT_REG32_00
	next := first + f.length/4
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{f.nfproto}},
		&expr.Payload{DestRegister: first, Base: expr.PayloadBaseNetworkHeader, Offset: address, Len: f.length},
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: next},
		&expr.Payload{DestRegister: next + 1, Base: expr.PayloadBaseTransportHeader, Offset: port, Len: 2},
		&expr.Lookup{SourceRegister: first, SetName: set.Name, SetID: set.ID},
		&expr.Notrack{},
	}
}
