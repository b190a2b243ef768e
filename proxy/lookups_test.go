package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"smtpscope/protocol/tunnel"
	"smtpscope/proxy/internal/lookup"
)

// serveDNS is a DNS server on loopback for which example.net has the mail server
// mx.example.net, whose address is private. Two addresses of loopback are behind two.example.net.
func serveDNS(t *testing.T) string {
	t.Helper()
	packets, err := net.ListenPacket("udp4", "127.0.0.1:0")
	require.NoError(t, err)
	zone := map[string]string{
		"example.net. MX": "example.net. 60 MX 10 mx.example.net.", "mx.example.net. A": "mx.example.net. 60 A 10.0.0.1",
		"two.example.net. A": "two.example.net. 60 A 127.0.0.2\ntwo.example.net. 60 A 127.0.0.1",
	}
	ready, done := make(chan struct{}), make(chan error, 1)
	d := &dns.Server{PacketConn: packets, NotifyStartedFunc: func() { close(ready) }, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, ask *dns.Msg) {
		m := new(dns.Msg).SetReply(ask)
		for line := range strings.Lines(zone[ask.Question[0].Name+" "+dns.TypeToString[ask.Question[0].Qtype]]) {
			record, err := dns.NewRR(line)
			assert.NoError(t, err)
			m.Answer = append(m.Answer, record)
		}
		assert.NoError(t, w.WriteMsg(m))
	})}
	go func() { done <- d.ActivateAndServe() }()
	<-ready
	t.Cleanup(func() {
		assert.NoError(t, d.Shutdown())
		assert.NoError(t, <-done)
	})
	return packets.LocalAddr().String()
}

func TestLookups(t *testing.T) {
	p := startProgram(t, "--public", "--resolver", serveDNS(t), "--rate", "1", "--metrics", "127.0.0.1:0")
	status, text := p.get(t, "/api/v1/lookup?name=example.net&type=MX")
	require.Equal(t, http.StatusOK, status, text)
	var a lookup.Answer
	require.NoError(t, json.Unmarshal([]byte(text), &a))
	require.Len(t, a.Records, 1)
	assert.Equal(t, "mx.example.net", a.Records[0].Host)

	status, text = p.get(t, "/api/v1/lookup?name=mx.example.net&type=A")
	require.Equal(t, http.StatusOK, status, text)
	assert.Contains(t, text, `"withheld":1`)
	assert.NotContains(t, text, "10.0.0.1")

	// The same server is asked for what is dialed.
	e := p.open(t, "mx.example.net", 25).until(tunnel.TypeError).Error
	assert.Equal(t, "private", e.Rule, e.Message)

	for range questionFactor - 2 {
		status, text = p.get(t, "/api/v1/lookup?name=db.internal&type=A")
		require.Equal(t, http.StatusForbidden, status, text)
	}
	status, text = p.get(t, "/api/v1/lookup?name=example.net&type=MX")
	assert.Equal(t, http.StatusTooManyRequests, status)
	assert.Contains(t, text, fmt.Sprintf("One client may make %d look-ups a minute through this proxy.", questionFactor))

	address := regexp.MustCompile(`url=(http://\S+/metrics)`).FindStringSubmatch(p.stderr.String())
	require.NotNil(t, address, p.stderr)
	res, err := (&http.Client{Timeout: 10 * time.Second}).Get(address[1])
	require.NoError(t, err)
	defer res.Body.Close()
	counts, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	assert.Contains(t, string(counts), `smtpscope_lookup_seconds_count{outcome="NOERROR",type="MX"} 1`)
}

func TestLookupsAreOff(t *testing.T) {
	key := filepath.Join(t.TempDir(), "key")
	require.NoError(t, os.WriteFile(key, []byte(strings.Repeat("k", 64)+"\n"), 0o600))
	for name, args := range map[string][]string{"practice only": nil, "with tokens": {"--public", "--token-key", key}} {
		t.Run(name, func(t *testing.T) {
			p := startProgram(t, args...)
			status, _ := p.get(t, "/api/v1/lookup?name=example.net&type=MX")
			assert.Equal(t, http.StatusNotFound, status)
			_, config := p.get(t, "/api/v1/config")
			assert.Contains(t, config, `"lookup":false`)
		})
	}
}

func TestResolverFlag(t *testing.T) {
	for _, text := range []string{"", "192.0.2.53", "dns.example.net:53", "192.0.2.53:0", "2001:db8::53"} {
		_, err := parse([]string{"--resolver", text})
		require.ErrorContains(t, err, "as in 192.0.2.53:53", text)
	}
	t.Setenv("SMTPSCOPE_RESOLVER", "[2001:db8::53]:53")
	o, err := parse(nil)
	require.NoError(t, err)
	assert.Equal(t, "[2001:db8::53]:53", o.resolver.String())
}
