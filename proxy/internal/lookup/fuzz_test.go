package lookup

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"smtpscope/proxy/internal/policy"
)

// Whatever a resolver sends, what is told of it is bounded, can be written as
// JSON, and holds no address of the network inside.
func FuzzRead(f *testing.F) {
	ask := func(name string, qtype uint16) *dns.Msg { return new(dns.Msg).SetQuestion(name, qtype) }
	for _, m := range []*dns.Msg{
		zone("mx.example.net. 60 CNAME a.example.com.", "a.example.com. 60 A 192.0.1.25")(ask("mx.example.net.", dns.TypeA), "udp"),
		zone("mx.example.net. 60 A 10.0.0.1")(ask("mx.example.net.", dns.TypeA), "udp"),
		zone("example.net. 60 MX 0 .", "example.net. 60 MX 10 mx.example.net.")(ask("example.net.", dns.TypeMX), "udp"),
		zone(`example.net. 60 TXT "v=spf1 \255\"" "-all"`)(ask("example.net.", dns.TypeTXT), "udp"),
		zone("_25._tcp.mx.example.net. 60 TLSA 3 1 1 ABCDEF01")(ask("_25._tcp.mx.example.net.", dns.TypeTLSA), "udp"),
		zone("25.1.0.192.in-addr.arpa. 60 PTR mx.example.net.")(ask("25.1.0.192.in-addr.arpa.", dns.TypePTR), "udp"),
	} {
		wire, err := m.Pack()
		require.NoError(f, err)
		f.Add(wire)
	}
	r := New(Config{Policy: policy.New(policy.Config{Public: true})})
	f.Fuzz(func(t *testing.T, wire []byte) {
		m := new(dns.Msg)
		if m.Unpack(wire) != nil || len(m.Question) != 1 {
			return
		}
		a := r.read(m, question{plainName(m.Question[0].Name), m.Question[0].Qtype})
		assert.LessOrEqual(t, len(a.Records), maxRecords)
		assert.LessOrEqual(t, lifetime(m), maxTTL)
		size := 0
		for _, record := range a.Records {
			size += len(record.Name) + len(record.Data)
			if address, err := netip.ParseAddr(record.Address); err == nil {
				assert.True(t, address.IsGlobalUnicast() && !address.IsPrivate(), record.Address)
			}
		}
		assert.LessOrEqual(t, size, maxText)
		_, err := json.Marshal(a)
		assert.NoError(t, err)
	})
}

// A policy is either whole or none.
func FuzzPolicy(f *testing.F) {
	f.Add(goodPolicy)
	f.Add("version:STSv1\nmode:none\nmax_age:0")
	f.Add("mx:\x00\r\n:\n\n::")
	f.Fuzz(func(t *testing.T, text string) {
		p := &Policy{Text: text}
		if parsePolicy(p) != nil {
			return
		}
		assert.Contains(t, []string{"enforce", "testing", "none"}, p.Mode)
		assert.True(t, p.Mode == "none" || len(p.MX) > 0)
		assert.LessOrEqual(t, len(p.MX), maxMX)
		assert.LessOrEqual(t, p.MaxAge, maxAge)
		assert.Contains(t, text, "STSv1")
		for _, mx := range p.MX {
			assert.Equal(t, strings.TrimSpace(mx), mx)
		}
	})
}
