package experiment

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"smtpscope/protocol/trace"
)

// A session costs the round trips that its RFCs let it have, and no time but
// theirs and that of putting its packets on the line:
//
//	N x 2 x delay + 8 x octets / bandwidth
//
// where octets are those of all IP packets of the connection up to the last reply.
// In a dialogue with short messages one host is silent while the other speaks, so
// that they follow each other, but for a few acknowledgments.
func TestRoundTrips(t *testing.T) {
	// SYN; ACK, which the greeting answers; EHLO, MAIL, two RCPT, DATA, the message, QUIT.
	const plain = 9
	const (
		starttls = plain + 3 // STARTTLS, TLS 1.3 (RFC 8446, 2), and EHLO again (RFC 3207, 4.2)
		implicit = plain + 1 // TLS 1.3; its last message takes the place of the ACK
		saved    = 3         // MAIL, RCPT and DATA go out together (RFC 2920, 3.1)
	)
	for _, x := range []struct {
		security     string
		asked, never bool // PIPELINING: by the client; offered by the server
		want         int
	}{
		{security: "none", want: plain},
		{security: "none", asked: true, want: plain - saved},
		{security: "none", asked: true, never: true, want: plain},
		{security: "starttls", want: starttls},
		{security: "starttls", asked: true, want: starttls - saved},
		{security: "tls", want: implicit},
		{security: "tls", asked: true, want: implicit - saved},
	} {
		for _, delay := range []time.Duration{10 * time.Millisecond, 40 * time.Millisecond, 150 * time.Millisecond} {
			for _, bandwidth := range []int{0, 1_000_000} {
				t.Run(fmt.Sprintf("%s, pipelining %t, never %t, %v, %d bit", x.security, x.asked, x.never, delay, bandwidth), func(t *testing.T) {
					link := settings{"delay": delay.String()}
					if bandwidth > 0 {
						link["bandwidth"] = fmt.Sprintf("%dbit", bandwidth)
					}
					tr := run(t, base(settings{"security": x.security, "link": link, "lab": settings{"server": settings{"noPipelining": x.never}},
						"options":  settings{"pipelining": x.asked},
						"messages": []settings{{"from": "ada@example.org", "to": []string{"grace@example.net", "joan@example.net"}, "data": letter}}}))
					require.Equal(t, trace.Accepted, tr.Result.Outcome, "%+v", tr.Result.Error)
					assert.Equal(t, x.want, tr.Result.RoundTrips, "as the session counts")
					rounds, octets, began := roundsOf(t, tr)
					assert.Equal(t, x.want, rounds, "as the packets show")
					took := time.Duration(x.want) * 2 * delay
					if bandwidth > 0 {
						took += time.Duration(octets) * 8 * time.Second / time.Duration(bandwidth)
					}
					assert.InEpsilon(t, took, tr.Result.Elapsed-began, .05)
				})
			}
		}
	}
}

// roundsOf counts in the packets of the only connection how often the client has
// sent something and then the server: octets of the stream, a SYN, or the ACK
// that completes the handshake. Octets are those of all packets, began is when the
// first was sent. What comes after the session is left out.
func roundsOf(t *testing.T, tr *trace.Trace) (rounds, octets int, began time.Duration) {
	t.Helper()
	var before string // who spoke last
	for _, e := range tr.Events {
		if e.Kind != trace.KindSegment || time.Duration(e.T) >= tr.Result.Elapsed {
			continue
		}
		if before == "" {
			began = time.Duration(e.T)
		}
		octets += int(e.At.Len)
		s := dataOf[trace.PacketData](t, e).Segment
		completes := s.Flags == "ACK" && s.Seq == 1 && s.Ack == 1
		if s.Len == 0 && s.Flags != "SYN" && s.Flags != "SYN, ACK" && !completes {
			continue
		}
		if e.From == trace.HostServer && before == trace.HostClient {
			rounds++
		}
		before = e.From
	}
	return rounds, octets, began
}
