package backendhost

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"reflect"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// The table `inet xlb_backend` with one chain and a rule for each VIP:
//
//	ip saddr 203.0.113.10 tcp flags & syn == syn tcp option maxseg size set 1440
//
// The kernel never raises a segment size by such a rule.
const (
	tableName = "xlb_backend"
	chainName = "output"
)

// tableItem wants the table to hold exactly the rules for the VIPs.
type tableItem struct {
	vips  []netip.Addr
	sizes SegmentSizes
}

func (i *tableItem) size(vip netip.Addr) int {
	if vip.Is4() {
		return i.sizes.IPv4
	}
	return i.sizes.IPv6
}

func (i *tableItem) look() (*Problem, error) {
	t, err := readTable()
	if err != nil || i.matches(t) {
		return nil, err
	}
	what := "the table inet " + tableName + " has other rules than the VIPs need"
	if t == nil {
		what = "the backend announces TCP segments that are too long for the tunnel"
	}
	return &Problem{What: what, Mend: i.command()}, nil
}

// command replaces the table, as put does.
func (i *tableItem) command() string {
	var b strings.Builder
	fmt.Fprintf(&b, "nft 'table inet %s; delete table inet %s; table inet %s { chain %s { type filter hook output priority mangle; ",
		tableName, tableName, tableName, chainName)
	for _, v := range i.vips {
		word := "ip"
		if v.Is6() {
			word = "ip6"
		}
		fmt.Fprintf(&b, "%s saddr %s tcp flags & syn == syn tcp option maxseg size set %d; ", word, v, i.size(v))
	}
	return b.String() + "}; }'"
}

func (i *tableItem) record() (*record, error) { return &record{Table: &table{}}, nil }

func (i *tableItem) put(*record) (string, error) {
	c, err := nftables.New()
	if err != nil {
		return "", fmt.Errorf("open nftables: %w", err)
	}
	t := &nftables.Table{Name: tableName, Family: nftables.TableFamilyINet}
	c.AddTable(t) // so that the deletion finds it
	c.DelTable(t)
	t = c.AddTable(t)
	accept := nftables.ChainPolicyAccept
	chain := c.AddChain(&nftables.Chain{
		Name: chainName, Table: t, Type: nftables.ChainTypeFilter, Policy: &accept,
		Hooknum: nftables.ChainHookOutput, Priority: nftables.ChainPriorityMangle,
	})
	for _, v := range i.vips {
		c.AddRule(&nftables.Rule{Table: t, Chain: chain, Exprs: i.rule(v)})
	}
	if err := c.Flush(); err != nil {
		return "", fmt.Errorf("write nftables table inet %s: %w (nftables missing? choose --mss off and a smaller advmss on the routes)", tableName, err)
	}
	return "wrote the nftables table inet " + tableName + ": " + i.text(), nil
}

func (i *tableItem) text() string {
	var parts []string
	for _, v := range i.vips {
		parts = append(parts, fmt.Sprintf("%s announces segments of %d bytes", v, i.size(v)))
	}
	return strings.Join(parts, ", ")
}

func (i *tableItem) keys() []string { return []string{(&table{}).key()} }

// rule is in the words that nft(8) uses too, so that a rule made by hand is
// taken for the same.
func (i *tableItem) rule(vip netip.Addr) []expr.Any {
	const flagsAt, syn = 13, 0x02
	const kindMSS, sizeAt = 2, 2
	nfproto, at := byte(unix.NFPROTO_IPV4), uint32(12)
	if vip.Is6() {
		nfproto, at = unix.NFPROTO_IPV6, 8
	}
	address := vip.AsSlice()
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{nfproto}},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: at, Len: uint32(len(address))},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: address},
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.IPPROTO_TCP}},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: flagsAt, Len: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 1, Mask: []byte{syn}, Xor: []byte{0}},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{syn}},
		&expr.Immediate{Register: 1, Data: binaryutil.BigEndian.PutUint16(uint16(i.size(vip)))},
		&expr.Exthdr{SourceRegister: 1, Type: kindMSS, Offset: sizeAt, Len: 2, Op: expr.ExthdrOpTcpopt},
	}
}

// found is what the kernel holds of the table.
type found struct {
	chains []*nftables.Chain
	rules  []*nftables.Rule
}

func (i *tableItem) matches(t *found) bool {
	if t == nil || len(t.chains) != 1 || len(t.rules) != len(i.vips) {
		return false
	}
	c := t.chains[0]
	if c.Hooknum == nil || *c.Hooknum != *nftables.ChainHookOutput || c.Type != nftables.ChainTypeFilter {
		return false
	}
	for n, v := range i.vips {
		if !reflect.DeepEqual(t.rules[n].Exprs, i.rule(v)) {
			return false
		}
	}
	return true
}

// readTable returns nil if there is no such table.
func readTable() (*found, error) {
	c, err := nftables.New()
	if err != nil {
		return nil, fmt.Errorf("open nftables: %w", err)
	}
	tables, err := c.ListTablesOfFamily(nftables.TableFamilyINet)
	if errors.Is(err, fs.ErrPermission) {
		return nil, fmt.Errorf("list nftables tables: %w", err)
	}
	if err != nil {
		return nil, nil // a kernel without nftables has no table of ours
	}
	for _, t := range tables {
		if t.Name == tableName {
			return readChains(c, t)
		}
	}
	return nil, nil
}

func readChains(c *nftables.Conn, t *nftables.Table) (*found, error) {
	all, err := c.ListChainsOfTableFamily(nftables.TableFamilyINet)
	if err != nil {
		return nil, fmt.Errorf("list nftables chains: %w", err)
	}
	f := &found{}
	for _, chain := range all {
		if chain.Table.Name != t.Name {
			continue
		}
		f.chains = append(f.chains, chain)
		rules, err := c.GetRules(t, chain)
		if err != nil {
			return nil, fmt.Errorf("list nftables rules: %w", err)
		}
		f.rules = append(f.rules, rules...)
	}
	return f, nil
}

// table says that there was none.
type table struct{}

func (*table) key() string { return "table" }

func (*table) undo() (string, error) {
	t, err := readTable()
	if t == nil || err != nil {
		return "", err
	}
	c, err := nftables.New()
	if err != nil {
		return "", fmt.Errorf("open nftables: %w", err)
	}
	c.DelTable(&nftables.Table{Name: tableName, Family: nftables.TableFamilyINet})
	if err := c.Flush(); err != nil {
		return "", fmt.Errorf("remove nftables table inet %s: %w", tableName, err)
	}
	return "removed the nftables table inet " + tableName, nil
}
