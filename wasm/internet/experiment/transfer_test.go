package experiment

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"smtpscope/protocol/trace"
)

// What is sent is delivered, to the last octet, whatever the link does to packets.
func TestEveryOctetIsDelivered(t *testing.T) {
	const size = 5 << 20
	seeds := 100
	if runtime.GOOS == "js" {
		seeds = 1
	}
	plan := planOf(t, base(settings{"link": settings{"delay": "5ms", "loss": .05, "reorder": .05, "duplicate": .01, "corrupt": .01}}))
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			message := letter + randomLines(seed, size)
			plan := *plan
			plan.Seed, plan.Messages = int64(seed), slices.Clone(plan.Messages)
			plan.Messages[0].Data = message
			lab(t, Config{Plan: &plan}, func(t *testing.T, e *Experiment) {
				require.NoError(t, e.Start(t.Context()))
				require.True(t, e.Run(never), "not over at %v", e.Elapsed())
				require.Equal(t, trace.Accepted, e.Result().Result.Outcome, "%+v", e.Result().Result.Error)
				requireFates(t, e.Result())
				boxes, err := e.mail.Mailboxes()
				require.NoError(t, err)
				require.Len(t, boxes, 1)
				require.Len(t, boxes[0].Messages, 1)
				got := withoutTraceInformation(t, boxes[0].Messages[0])
				assert.True(t, got == message, "%d octets were sent, %d are in the mailbox", len(message), len(got))
			})
		})
	}
}

// randomLines are n octets or somewhat more, in lines as long as RFC 5321, 4.5.3.1.6
// allows, of all octets but controls, many with a dot in front.
func randomLines(seed, n int) string {
	const longest = 998
	source := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	b := make([]byte, 0, n+longest+2)
	for len(b) < n {
		size := int(source.Uint64() % (longest + 1))
		from := len(b)
		b = b[:from+size]
		source.Read(b[from:])
		for i, octet := range b[from:] {
			if octet < ' ' {
				b[from+i] = '.'
			}
		}
		b = append(b, "\r\n"...)
	}
	return string(b)
}

// requireFates requires that something of everything that a link can do was done.
func requireFates(t *testing.T, tr *trace.Trace) {
	t.Helper()
	fates := map[trace.Fate]bool{trace.FateDelivered: true, trace.FateLost: true, trace.FateReordered: true, trace.FateDuplicated: true, trace.FateCorrupted: true}
	for _, e := range tr.Events {
		if e.Kind == trace.KindSegment {
			delete(fates, dataOf[trace.PacketData](t, e).Fate)
		}
		if len(fates) == 0 {
			return
		}
	}
	require.Empty(t, fates)
}

// withoutTraceInformation takes off what the server put on top (RFC 5321, 4.4).
func withoutTraceInformation(t *testing.T, delivered []byte) string {
	t.Helper()
	rest := string(delivered)
	for _, field := range []string{"Return-Path:", "Received:"} {
		require.True(t, strings.HasPrefix(rest, field))
		for more := true; more; more = strings.HasPrefix(rest, "\t") {
			_, rest, _ = strings.Cut(rest, "\r\n")
		}
	}
	return rest
}
