package internet

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/dns/dnsmessage"
)

func TestLookup(t *testing.T) {
	within(t, config(Link{Delay: "10ms"}), func(t *testing.T, l *Lab) {
		h := l.Host("client")
		play(t, l, func() {
			mx, err := h.LookupMX(t.Context(), "Mail.Example")
			assert.NoError(t, err)
			assert.Equal(t, []*net.MX{{Host: "mx.mail.example.", Pref: 10}, {Host: "mx2.mail.example.", Pref: 20}}, mx)
			assert.Equal(t, 20*time.Millisecond, l.Elapsed())

			a, err := h.LookupA(t.Context(), mx[0].Host)
			assert.NoError(t, err)
			assert.Equal(t, []netip.Addr{netip.MustParseAddr("198.51.100.25")}, a)

			mx, err = h.LookupMX(t.Context(), "mx.mail.example")
			assert.NoError(t, err, "it exists")
			assert.Empty(t, mx, "and has no MX")

			for name, want := range map[string]string{
				"nowhere.example":              "no such name",
				"mail.example":                 "the name exists but has no address",
				"example":                      "the name exists but has no address", // RFC 8020
				"":                             "is not a domain name",
				"a..b":                         "is not a domain name",
				strings.Repeat("a", 64):        "is not a domain name",
				strings.Repeat("abcdefg.", 40): "is not a domain name",
			} {
				_, err := h.LookupA(t.Context(), name)
				var dns *net.DNSError
				if assert.ErrorAs(t, err, &dns, name) {
					assert.Contains(t, dns.Err, want, name)
					assert.Equal(t, !strings.HasPrefix(want, "is not"), dns.IsNotFound, name)
				}
			}
		})
	})
}

func TestLookupIsRepeated(t *testing.T) {
	lost := 0
	for seed := range 30 {
		var rec record
		c := config(Link{Delay: "10ms", Loss: 0.3, Duplicate: 0.2, Corrupt: 0.1, Reorder: 0.2})
		c.Seed = int64(seed)
		rec.on(&c)
		within(t, c, func(t *testing.T, l *Lab) {
			play(t, l, func() {
				a, err := l.Host("client").LookupA(t.Context(), "mx.mail.example")
				if err != nil {
					lost++
					return
				}
				assert.Len(t, a, 1)
			})
		})
	}
	assert.Less(t, lost, 20)
}

func TestLookupGivesUp(t *testing.T) {
	c := config(Link{Loss: 1})
	within(t, c, func(t *testing.T, l *Lab) {
		play(t, l, func() {
			_, err := l.Host("client").LookupA(t.Context(), "mx.mail.example")
			var dns *net.DNSError
			if assert.ErrorAs(t, err, &dns) {
				assert.True(t, dns.IsTimeout)
				assert.False(t, dns.IsNotFound)
			}
			assert.Equal(t, 30*time.Second, l.Elapsed())
		})
		assert.Equal(t, 4, l.packets)
	})
	c.Hosts = c.Hosts[:2]
	within(t, c, func(t *testing.T, l *Lab) {
		play(t, l, func() {
			_, err := l.Host("client").LookupMX(t.Context(), "mail.example")
			assert.ErrorContains(t, err, "this lab has no DNS server")
		})
	})
}

func TestLookupIsCalledOff(t *testing.T) {
	within(t, config(Link{Loss: 1}), func(t *testing.T, l *Lab) {
		play(t, l, func() {
			ctx, cancel := context.WithCancel(t.Context())
			go func() {
				l.Host("client").Sleep(t.Context(), 3*time.Second)
				cancel()
			}()
			_, err := l.Host("client").LookupA(ctx, "mx.mail.example")
			assert.ErrorIs(t, err, context.Canceled)
		})
		assert.Equal(t, 3*time.Second, l.Elapsed())
	})
}

func TestZoneIsChecked(t *testing.T) {
	many := make([]Record, 40)
	for i := range many {
		many[i] = Record{Name: "a.example", Type: "A", Value: "192.0.2.1"}
	}
	for _, c := range []struct {
		zone []Record
		want string
	}{
		{[]Record{{Name: "", Type: "A", Value: "192.0.2.1"}}, `zone[0].name: "" is not a domain name`},
		{[]Record{{Name: "a.example", Type: "A", Value: "192.0.2.1"}, {Name: "a.example", Type: "AAAA", Value: "2001:db8::1"}}, `zone[1].type: "AAAA" is not served here; want "A" or "MX"`},
		{[]Record{{Name: "a.example", Type: "A", Value: "2001:db8::1"}}, `zone[0].value: "2001:db8::1" is not an IPv4 address`},
		{[]Record{{Name: "a.example", Type: "MX", Value: ""}}, `zone[0].value: "" is not a domain name`},
		{[]Record{{Name: "a.example", Type: "MX", Value: "b.example", Preference: 70000}}, "zone[0].preference: 70000 is not between 0 and 65535"},
		{many, "zone: the 40 records of a.example. do not fit into a UDP answer of 512 octets"},
	} {
		_, err := newZone(c.zone)
		require.ErrorContains(t, err, c.want)
	}
}

func exchange(t *testing.T, z *zoneData, m dnsmessage.Message) dnsmessage.Message {
	t.Helper()
	q, err := m.Pack()
	require.NoError(t, err)
	b := z.answer(q)
	require.NotNil(t, b)
	var reply dnsmessage.Message
	require.NoError(t, reply.Unpack(b))
	assert.Equal(t, m.ID, reply.ID)
	assert.True(t, reply.Response)
	return reply
}

func TestServer(t *testing.T) {
	z, err := newZone([]Record{
		{Name: "mail.example", Type: "MX", Value: "mx.mail.example", Preference: 10},
		{Name: "mx.mail.example", Type: "A", Value: "198.51.100.25"},
		{Name: "nomail.example", Type: "MX", Value: ".", Preference: 0}, // RFC 7505
	})
	require.NoError(t, err)
	ask := func(name string, typ dnsmessage.Type) dnsmessage.Message {
		return dnsmessage.Message{Header: dnsmessage.Header{ID: 7, RecursionDesired: true},
			Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName(name), Type: typ, Class: dnsmessage.ClassINET}}}
	}
	reply := exchange(t, z, ask("MAIL.example.", dnsmessage.TypeMX))
	assert.True(t, reply.Authoritative)
	assert.True(t, reply.RecursionDesired)
	require.Len(t, reply.Answers, 1)
	require.Len(t, reply.Additionals, 1, "RFC 1035, 3.3.9")
	assert.Equal(t, &dnsmessage.AResource{A: [4]byte{198, 51, 100, 25}}, reply.Additionals[0].Body)

	reply = exchange(t, z, ask("nomail.example.", dnsmessage.TypeMX))
	require.Len(t, reply.Answers, 1)
	assert.Equal(t, ".", reply.Answers[0].Body.(*dnsmessage.MXResource).MX.String())

	reply = exchange(t, z, ask("mx.mail.example.", dnsmessage.TypeAAAA))
	assert.Equal(t, dnsmessage.RCodeSuccess, reply.RCode)
	assert.Empty(t, reply.Answers)
	assert.Equal(t, dnsmessage.RCodeNameError, exchange(t, z, ask("x.example.", dnsmessage.TypeA)).RCode)
	assert.Equal(t, dnsmessage.RCodeFormatError, exchange(t, z, dnsmessage.Message{Header: dnsmessage.Header{ID: 8}}).RCode)
	update := ask("mail.example.", dnsmessage.TypeMX)
	update.OpCode = 5
	assert.Equal(t, dnsmessage.RCodeNotImplemented, exchange(t, z, update).RCode)
	assert.Nil(t, z.answer(nil))
	response := dnsmessage.Message{Header: dnsmessage.Header{Response: true}}
	b, err := response.Pack()
	require.NoError(t, err)
	assert.Nil(t, z.answer(b), "two servers must not talk to each other for ever")
}

func FuzzServer(f *testing.F) {
	z, err := newZone([]Record{{Name: "a.example", Type: "A", Value: "192.0.2.1"}, {Name: "example", Type: "MX", Value: "a.example"}})
	require.NoError(f, err)
	q := dnsmessage.Message{Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName("example."), Type: dnsmessage.TypeMX, Class: dnsmessage.ClassINET}}}
	b, err := q.Pack()
	require.NoError(f, err)
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		reply := z.answer(b)
		if reply == nil {
			return
		}
		require.LessOrEqual(t, len(reply), dnsLimit)
		var m dnsmessage.Message
		require.NoError(t, m.Unpack(reply))
		require.True(t, m.Response)
	})
}
