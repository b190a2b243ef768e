package policy

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

type vector struct {
	Address  netip.Addr `json:"address"`
	Rule     string     `json:"rule"`
	Never    bool       `json:"never"`
	Why      string     `json:"why"`
	PeerErrs bool       `json:"peerErrs"`
}

func vectors(t *testing.T) []vector {
	t.Helper()
	data, err := os.ReadFile("testdata/vectors.json")
	require.NoError(t, err)
	var file struct {
		V       int      `json:"v"`
		About   string   `json:"about"`
		Vectors []vector `json:"vectors"`
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	require.NoError(t, dec.Decode(&file))
	require.Equal(t, 1, file.V)
	return file.Vectors
}

func TestVectors(t *testing.T) {
	for _, v := range vectors(t) {
		got := judge(v.Address)
		assert.Equal(t, v.Rule, got.Rule, "%s: %s", v.Address, v.Why)
		assert.Equal(t, v.Never, got.Never, "%s: %s", v.Address, v.Why)
	}
}

// The addresses that another proxy was found to let through must be among the vectors.
func TestVectorsHoldThePeersMistakes(t *testing.T) {
	peer := map[string]bool{}
	for _, v := range vectors(t) {
		if v.PeerErrs {
			assert.NotEmpty(t, v.Rule)
			peer[v.Address.String()] = true
		}
	}
	for _, address := range []string{"::ffff:127.0.0.1", "::ffff:169.254.169.254", "fd00::1", "64:ff9b::7f00:1", "2002:7f00:1::", "224.0.0.1", "ff02::1"} {
		assert.True(t, peer[address], "no vector for %s", address)
	}
}

// Every row has its first and last address judged by it, or by a longer one.
func TestRows(t *testing.T) {
	require.NotEmpty(t, rows)
	seen := map[netip.Prefix]bool{}
	for i, r := range rows {
		assert.Equal(t, r.Prefix, r.Prefix.Masked(), "host bits set")
		assert.False(t, seen[r.Prefix], "%s twice", r.Prefix)
		seen[r.Prefix] = true
		assert.NotEmpty(t, r.RFC, r.Prefix)
		assert.NotEmpty(t, r.Name, r.Prefix)
		if i > 0 {
			assert.LessOrEqual(t, r.Prefix.Bits(), rows[i-1].Prefix.Bits())
		}
		if r.Prefix.String() != "2000::/3" {
			assert.NotEmpty(t, r.Rule, r.Prefix)
		}
		found := lookup(r.Prefix.Addr())
		assert.True(t, found.Prefix.Contains(r.Prefix.Addr()) && found.Prefix.Bits() >= r.Prefix.Bits(), r.Prefix)
	}
	for _, s := range specialNames {
		assert.NotEmpty(t, s.RFC, s.Suffix)
		assert.NotEmpty(t, notPublicName("mx."+s.Suffix))
	}
}

// Whatever form carries it, a special IPv4 address stays special.
func TestCarriedAddresses(t *testing.T) {
	forms := map[string]func(v4 [4]byte) [16]byte{
		"::ffff:0:0/96":   func(v [4]byte) [16]byte { return [16]byte{10: 0xff, 0xff, v[0], v[1], v[2], v[3]} },
		"::/96":           func(v [4]byte) [16]byte { return [16]byte{12: v[0], v[1], v[2], v[3]} },
		"::ffff:0:0:0/96": func(v [4]byte) [16]byte { return [16]byte{8: 0xff, 0xff, 0, 0, v[0], v[1], v[2], v[3]} },
		"64:ff9b::/96":    func(v [4]byte) [16]byte { return [16]byte{0, 0x64, 0xff, 0x9b, 12: v[0], v[1], v[2], v[3]} },
		"64:ff9b:1::/48":  func(v [4]byte) [16]byte { return [16]byte{0, 0x64, 0xff, 0x9b, 0, 1, 12: v[0], v[1], v[2], v[3]} },
		"2002::/16":       func(v [4]byte) [16]byte { return [16]byte{0x20, 0x02, v[0], v[1], v[2], v[3]} },
		"2001::/32": func(v [4]byte) [16]byte {
			return [16]byte{0x20, 0x01, 12: ^v[0], ^v[1], ^v[2], ^v[3]}
		},
	}
	for _, v := range vectors(t) {
		if !v.Address.Is4() || v.Rule == "" {
			continue
		}
		for form, carry := range forms {
			address := netip.AddrFrom16(carry(v.Address.As4()))
			assert.False(t, judge(address).public(), "%s as %s is %s", v.Address, form, address)
			assert.False(t, judge(address.Unmap()).public(), "%s as %s is %s", v.Address, form, address)
		}
	}
}

func TestInvalidAddress(t *testing.T) {
	v := judge(netip.Addr{})
	assert.False(t, v.public())
	assert.True(t, v.Never)
}

func TestBrokenTableStopsTheProgram(t *testing.T) {
	assert.PanicsWithValue(t, `policy: addresses.json: json: unknown field "rule2"`, func() {
		mustParseAddresses([]byte(`{"v":1,"rows":[{"prefix":"10.0.0.0/8","rule2":"x"}]}`))
	})
}

func FuzzJudge(f *testing.F) {
	f.Add([]byte{127, 0, 0, 1})
	f.Add(netip.MustParseAddr("64:ff9b::7f00:1").AsSlice())
	f.Fuzz(func(t *testing.T, octets []byte) {
		address, ok := netip.AddrFromSlice(octets)
		if !ok {
			return
		}
		v := judge(address)
		assert.Equal(t, v.Rule == "", v.public())
		if v.public() {
			assert.Equal(t, v.public(), judge(address.Unmap()).public())
			assert.True(t, address.IsGlobalUnicast() || address.Is4In6())
			assert.False(t, address.Unmap().IsPrivate() || address.Unmap().IsLoopback() || address.Unmap().IsMulticast() || address.Unmap().IsLinkLocalUnicast())
		}
	})
}
