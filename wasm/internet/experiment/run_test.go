package experiment

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/hack-pad/hackpadfs"
	"github.com/hack-pad/hackpadfs/mem"
	"github.com/stretchr/testify/require"

	"smtpscope/protocol/session"
	"smtpscope/protocol/trace"
	"smtpscope/wasm/internet/labtest"
)

// settings are a plan as JSON has it.
type settings map[string]any

// letter is a short message.
const letter = "From: Ada <ada@example.org>\r\nTo: Grace <grace@example.net>\r\nSubject: Notes on the engine\r\n" +
	"Date: Thu, 01 Jan 2026 00:00:00 +0000\r\nMessage-ID: <1@example.org>\r\n\r\n" +
	"The engine weaves algebraic patterns\r\njust as the loom weaves flowers and leaves.\r\n"

// base is a plan of the lab that more may be said of.
func base(more ...settings) settings {
	s := settings{
		"target": settings{"mode": "lab"}, "security": "none", "seed": 42, "link": settings{"delay": "40ms"},
		"messages": []settings{{"from": "ada@example.org", "to": []string{"grace@example.net"}, "data": letter}},
	}
	for _, m := range more {
		maps.Copy(s, m)
	}
	return s
}

// signedIn adds what the submission server asks for, by a mechanism that leaves nothing to chance.
var signedIn = settings{"auth": settings{"mechanism": "PLAIN", "username": Username, "password": Password}}

func planOf(t *testing.T, s settings) *session.Plan {
	t.Helper()
	p, err := session.ParsePlan(trace.Encode(s))
	require.NoError(t, err)
	return p
}

// lab runs a test with an experiment that has not started.
func lab(t *testing.T, c Config, test func(*testing.T, *Experiment)) {
	t.Helper()
	if c.Files == nil {
		c.Files = memory(t)
	}
	c.Tool, c.Settle = "smtpscope/test", labtest.Settle()
	// The first verification of a certificate reads files. Under Node.js that goes
	// on outside of Go, where the lab cannot see that somebody is busy.
	_, _ = x509.SystemCertPool()
	e, err := New(c)
	require.NoError(t, err)
	labtest.Bubble(t, func(t *testing.T) {
		defer e.Close()
		test(t, e)
	})
}

func memory(t *testing.T) hackpadfs.FS {
	t.Helper()
	files, err := mem.NewFS()
	require.NoError(t, err)
	return files
}

func never() bool { return false }

// run runs a plan to the end.
func run(t *testing.T, s settings) *trace.Trace {
	t.Helper()
	return play(t, planOf(t, s))
}

func play(t *testing.T, p *session.Plan) (tr *trace.Trace) {
	t.Helper()
	lab(t, Config{Plan: p}, func(t *testing.T, e *Experiment) {
		require.NoError(t, e.Start(t.Context()))
		require.True(t, e.Run(never), "not over at %v", e.Elapsed())
		tr = e.Result()
	})
	return tr
}

// digest sums up a trace.
func digest(t *testing.T, tr *trace.Trace) string {
	t.Helper()
	b, err := json.Marshal(tr)
	require.NoError(t, err)
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// packetsOf are the data of the events that are packets of a kind.
func packetsOf(t *testing.T, tr *trace.Trace, kind trace.Kind) (found []trace.PacketData) {
	t.Helper()
	for _, e := range tr.Events {
		if e.Kind == kind {
			found = append(found, dataOf[trace.PacketData](t, e))
		}
	}
	return found
}

func dataOf[T any](t *testing.T, e trace.Event) (d T) {
	t.Helper()
	require.NoError(t, json.Unmarshal(e.Data, &d))
	return d
}

// kindsOf are the kinds of the events of a layer, in order.
func kindsOf(tr *trace.Trace, layer trace.Layer) (kinds []string) {
	for _, e := range tr.Events {
		if e.Layer == layer {
			kinds = append(kinds, string(e.Kind))
		}
	}
	return kinds
}

func long(n int) string {
	line := "The quick brown fox jumps over the lazy dog, and over it again.\r\n"
	return letter + strings.Repeat(line, n/len(line)+1)[:n/len(line)*len(line)]
}

const roundTrip = 80 * time.Millisecond
