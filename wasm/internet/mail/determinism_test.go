package mail

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"smtpscope/protocol/trace"
	"smtpscope/wasm/internet"
	"smtpscope/wasm/internet/labtest"
)

// busy is a scene in which everything happens at once: two clients, three messages,
// servers that put off, refuse, time out and bounce, on links that lose packets.
func busy(seed int64) (scene, func(*world)) {
	c := scene{
		seed: seed, link: internet.Link{Delay: "15ms", Bandwidth: "10Mbit", Loss: 0.02, Reorder: 0.02, Duplicate: 0.02, Corrupt: 0.02},
		servers: map[string]Server{
			"mail": submission,
			"mx":   quirky(exchange, Quirks{Greylist: 20 * time.Minute, GreetingDelay: 3 * time.Second, Unknown: []string{"carol@example.net"}}),
			"r1":   {Name: "r1.example", Relay: true, Next: "r2.example"},
			"r2":   quirky(Server{Name: "r2.example", Relay: true}, Quirks{Down: 40 * time.Minute, NoPipelining: true}),
			"r3":   quirky(Server{Name: "r3.example", Domains: []string{"r3.example"}}, Quirks{Shutdown: "DATA"}),
		},
	}
	return c, func(w *world) {
		var clients sync.WaitGroup
		clients.Go(func() {
			w.submit(map[string]any{"to": []string{"bob@example.net", "carol@example.net", "dave@r3.example", "eve@nowhere.example"}})
			w.submit(nil)
		})
		clients.Go(func() { w.send("r1.example", map[string]any{"to": []string{"dave@example.net"}}) })
		clients.Wait()
	}
}

// all is everything that is known of a world when it has come to rest.
func (w *world) all(t *testing.T) string {
	boxes, err := w.mail.Mailboxes()
	require.NoError(t, err)
	b, err := json.Marshal([]any{w.events, w.data, w.texts, boxes})
	require.NoError(t, err)
	for _, h := range w.hops {
		b = fmt.Appendf(b, "\n%s %s %q", h.host, h.next, h.said)
	}
	return w.digest + "\n" + string(b)
}

func TestSameSeedSameMail(t *testing.T) {
	once := func(seed int64) string {
		c, client := busy(seed)
		return c.run(t, client).all(t)
	}
	first := once(7)
	labtest.UnderLoad(func() {
		for range labtest.Times(5) {
			require.Equal(t, first, once(7))
		}
	})
	assert.NotEqual(t, first, once(8))
}

func TestBusySceneIsBusy(t *testing.T) {
	c, client := busy(7)
	w := c.run(t, client)
	assert.Len(t, w.inbox("bob@example.net"), 2)
	assert.Len(t, w.inbox("dave@example.net"), 1)
	assert.Len(t, w.inbox("ada@example.org"), 3, "of carol, dave and eve")
	assert.Greater(t, len(w.hops), 30)
	for _, kind := range []trace.Kind{trace.KindQueued, trace.KindAttempt, trace.KindDeferred, trace.KindRelayed, trace.KindBounced, trace.KindDelivered} {
		w.first(kind)
	}
}

// A server that takes messages and sends them on at the same instant does so in an
// order: first it takes what has come.
func TestTakingComesBeforeSending(t *testing.T) {
	next := Server{Name: "r1.example", Relay: true, Next: "mx.example.net"}
	ahead := from + "\r\n" + to + "\r\nBDAT 3 LAST\r\nx\r\n"
	labtest.UnderLoad(func() {
		for range labtest.Times(20) {
			w := scene{servers: map[string]Server{"r1": next, "mx": exchange}}.run(t, func(w *world) {
				w.talk("tcp", "r1.example:25", ehlo, strings.TrimSuffix(strings.Repeat(ahead, 5), "\r\n"), "QUIT")
			})
			for i, e := range w.events[:5] {
				require.Equal(t, "0s r1 queued ada@example.org > bob@example.net", e, "%d", i)
			}
			require.Len(t, w.inbox("bob@example.net"), 5)
		}
	})
}

// When a lab is closed, whatever goes on in it ends, and nothing more is reported.
func TestCloseAtAnyTime(t *testing.T) {
	c, client := busy(7)
	whole := c.run(t, client)
	for _, c.steps = range []int{1, 3, 10, 30, 50, 70, 100, 150, 200, 300, 400, 700, 1000, 2000} {
		w := c.run(t, client)
		require.LessOrEqual(t, len(w.events), len(whole.events))
		for i, e := range w.events {
			assert.Equal(t, whole.events[i], e, "closed after %d steps", c.steps)
		}
	}
}
