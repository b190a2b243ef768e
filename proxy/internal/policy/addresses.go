package policy

import (
	_ "embed"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// The table is data, so that programs in other languages can read it too;
// testdata/vectors.json says what each of them must make of it.
//
//go:embed addresses.json
var addressData []byte

// row is one block of addresses.
type row struct {
	Prefix netip.Prefix `json:"prefix"`
	Name   string       `json:"name"`
	RFC    string       `json:"rfc"`
	// Rule is the name that a denial carries; empty means public unicast.
	Rule string `json:"rule"`
	// Never marks what not even an --allow entry can open.
	Never bool `json:"never"`
	// IPv4At is the bit at which an IPv4 address begins that the address carries; 0 for none.
	IPv4At   int  `json:"ipv4At"`
	Inverted bool `json:"inverted"` // its bits are flipped
	AsIPv4   bool `json:"asIPv4"`   // what holds for the IPv4 address holds for this one
}

// specialName is a domain that is not in the public DNS.
type specialName struct {
	Suffix string `json:"suffix"`
	RFC    string `json:"rfc"`
}

// rows are in order of falling prefix length: the first match is the longest.
var rows, specialNames = mustParseAddresses(addressData)

func mustParseAddresses(data []byte) ([]row, []specialName) {
	var file struct {
		V     int           `json:"v"`
		About string        `json:"about"`
		Rows  []row         `json:"rows"`
		Names []specialName `json:"names"`
	}
	dec := json.NewDecoder(strings.NewReader(string(data)))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&file); err != nil {
		panic(fmt.Sprintf("policy: addresses.json: %v", err))
	}
	slices.SortStableFunc(file.Rows, func(a, b row) int { return b.Prefix.Bits() - a.Prefix.Bits() })
	return file.Rows, file.Names
}

// outside is the verdict on IPv6 space that no row names.
var outside = row{Name: "outside of global unicast", RFC: "RFC 4291, 2.4", Rule: "not-global-unicast"}

// verdict is what the table says of one address.
type verdict struct {
	row
	// carried is the IPv4 address inside, and by is the form that carries it,
	// when the verdict is on that one.
	carried netip.Addr
	by      string
}

// public is true for a public unicast address.
func (v verdict) public() bool { return v.Rule == "" }

// String says it in words that follow "is".
func (v verdict) String() string {
	special := fmt.Sprintf("a special address (%s, %s)", v.Name, v.RFC)
	if v.carried.IsValid() {
		return fmt.Sprintf("the %s form of %s, %s", v.by, v.carried, special)
	}
	return special
}

// judge looks an address up, and any IPv4 address that it carries before it.
func judge(addr netip.Addr) verdict {
	if !addr.IsValid() {
		return verdict{row: row{Name: "no address", Rule: "invalid", Never: true}}
	}
	if addr.Zone() != "" {
		return verdict{row: row{Name: "an address with a zone", RFC: "RFC 4007, 11", Rule: "scoped", Never: true}}
	}
	found := lookup(addr)
	if found.IPv4At == 0 {
		return verdict{row: found}
	}
	carried := carriedIPv4(addr, found)
	inner := judge(carried)
	if inner.public() && !found.AsIPv4 {
		return verdict{row: found}
	}
	inner.carried, inner.by = carried, found.Name
	return inner
}

func lookup(addr netip.Addr) row {
	for _, r := range rows {
		if r.Prefix.Contains(addr) {
			return r
		}
	}
	if addr.Is4() {
		return row{}
	}
	return outside
}

func carriedIPv4(addr netip.Addr, r row) netip.Addr {
	octets := addr.As16()
	at := r.IPv4At / 8
	bits := binary.BigEndian.Uint32(octets[at : at+4])
	if r.Inverted {
		bits = ^bits
	}
	var v4 [4]byte
	binary.BigEndian.PutUint32(v4[:], bits)
	return netip.AddrFrom4(v4)
}

// notPublicName tells why a name cannot be one of the public DNS, or "".
func notPublicName(name string) string {
	if !strings.Contains(name, ".") {
		return "it has no dot, so it is a name of the local network"
	}
	for _, s := range specialNames {
		if name == s.Suffix || strings.HasSuffix(name, "."+s.Suffix) {
			return fmt.Sprintf("names under %q are not in the public DNS (%s)", s.Suffix, s.RFC)
		}
	}
	return ""
}
