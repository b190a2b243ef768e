package mail

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hack-pad/hackpadfs/mem"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"smtpscope/protocol/session"
	"smtpscope/protocol/trace"
	"smtpscope/protocol/tunnel"
	"smtpscope/wasm/internet"
	"smtpscope/wasm/internet/labtest"
)

var start = time.Date(2026, time.January, 1, 0, 0, 0, 0, time.UTC)

const letter = "From: ada@example.org\r\nTo: bob@example.net\r\nSubject: hello\r\n\r\nHello, Bob.\r\n"

// The names of the world, and where they lead.
var hosts = []internet.HostConfig{
	{ID: "client", Address: "192.0.2.1"},
	{ID: "mail", Address: "192.0.2.25"},
	{ID: "mx", Address: "198.51.100.25"},
	{ID: "mx2", Address: "198.51.100.26"},
	{ID: "r1", Address: "203.0.113.1"},
	{ID: "r2", Address: "203.0.113.2"},
	{ID: "r3", Address: "203.0.113.3"},
	{ID: "dns", Address: "203.0.113.53", Zone: []internet.Record{
		{Name: "example.org", Type: "MX", Value: "mail.example.org", Preference: 10},
		{Name: "mail.example.org", Type: "A", Value: "192.0.2.25"},
		{Name: "example.net", Type: "MX", Value: "mx2.example.net", Preference: 20},
		{Name: "example.net", Type: "MX", Value: "mx.example.net", Preference: 10},
		{Name: "mx.example.net", Type: "A", Value: "198.51.100.25"},
		{Name: "mx2.example.net", Type: "A", Value: "198.51.100.26"},
		{Name: "silent.example", Type: "MX", Value: "."},
		{Name: "r1.example", Type: "A", Value: "203.0.113.1"},
		{Name: "r2.example", Type: "A", Value: "203.0.113.2"},
		{Name: "r3.example", Type: "A", Value: "203.0.113.3"},
		{Name: "lost.example", Type: "MX", Value: "nowhere.example", Preference: 10},
	}},
}

// Servers that tests start.
var (
	submission = Server{Name: "mail.example.org", Domains: []string{"example.org"}, Accounts: map[string]string{"ada": "engine"}}
	exchange   = Server{Name: "mx.example.net", Domains: []string{"example.net"}}
)

func quirky(s Server, q Quirks) Server {
	s.Quirks = q
	return s
}

// within runs a test in a lab.
func within(t *testing.T, c internet.Config, test func(*testing.T, *internet.Lab)) {
	t.Helper()
	c.Settle = labtest.Settle()
	l, err := internet.New(c)
	require.NoError(t, err)
	labtest.Bubble(t, func(t *testing.T) {
		defer l.Close()
		test(t, l)
	})
}

// world is a lab with mail servers, and what is known of it.
type world struct {
	*testing.T
	lab    *internet.Lab
	mail   *System
	events []string // "0s mail queued ada@example.org > bob@example.net"
	data   []trace.MailData
	texts  []string // of delivered
	hops   []*hop
	digest string // of the packets
	resets int    // TCP segments with RST
}

// hop hears a dialogue between two servers.
type hop struct {
	host, next string
	said       []string // commands, and replies behind a space
}

func (h *hop) Bytes(string, int64, []byte) {}

func (h *hop) Event(e trace.Event) {
	switch e.Kind {
	case trace.KindCommand:
		h.said = append(h.said, e.Text)
	case trace.KindReply:
		h.said = append(h.said, " "+e.Text)
	}
}

// scene is what a test sets up.
type scene struct {
	link    internet.Link
	links   []internet.Between
	seed    int64
	servers map[string]Server // by host
	steps   int               // after which the lab is closed; 0: when all is done
}

// run lets a client do something and the mail come to rest.
func (c scene) run(t *testing.T, client func(*world)) *world {
	t.Helper()
	w := &world{T: t}
	packets := sha256.New()
	if c.link.Delay == "" {
		c.link.Delay = "10ms"
	}
	config := internet.Config{Seed: c.seed, Start: start, Hosts: hosts, Link: c.link, Links: c.links, Tap: func(p internet.Packet) {
		if p.Bytes[9] == 6 && p.Bytes[20+13]&4 != 0 {
			w.resets++
		}
		fmt.Fprintf(packets, "%d %v %v %s %s %s %x\n", p.Seq, p.Sent, p.Arrives, p.From, p.To, p.Fate, p.Bytes)
	}}
	files, err := mem.NewFS()
	require.NoError(t, err)
	x509.SystemCertPool() // reads files: under Node.js the lab cannot see that somebody is busy
	within(t, config, func(t *testing.T, l *internet.Lab) {
		w.T, w.lab = t, l
		w.mail = New(Config{Now: l.Now, Files: files, Seed: c.seed, Event: w.event, Hop: w.hop, TLS: func(string) *tls.Config {
			return &tls.Config{Certificates: []tls.Certificate{certificate()}, Time: l.Now}
		}})
		for _, h := range hosts { // in an order
			if s, ok := c.servers[h.ID]; ok {
				s.Host = l.Host(h.ID)
				require.NoError(t, w.mail.Start(s))
			}
		}
		var done atomic.Bool
		go func() {
			defer done.Store(true)
			client(w)
		}()
		if c.steps > 0 {
			for range c.steps {
				l.Step()
			}
			return
		}
		require.True(t, l.Run(func() bool { return done.Load() && w.mail.Idle() }), "nothing is left to happen at %v", l.Elapsed())
		l.Run(func() bool { return false })
	})
	w.T, w.digest = t, fmt.Sprintf("%x", packets.Sum(nil))
	return w
}

func (w *world) event(kind trace.Kind, d trace.MailData, message []byte) {
	text := fmt.Sprintf("%v %s %s %s > %s", w.lab.Elapsed().Truncate(time.Second), d.Host, kind, d.From, strings.Join(d.To, " "))
	if d.Next != "" {
		text += " by " + d.Next
	}
	w.events, w.data, w.texts = append(w.events, text), append(w.data, d), append(w.texts, string(message))
}

func (w *world) hop(host, next string, conn net.Conn) (trace.Sink, int) {
	assert.True(w, strings.HasSuffix(conn.RemoteAddr().String(), ":25"))
	w.hops = append(w.hops, &hop{host: host, next: next})
	return w.hops[len(w.hops)-1], len(w.hops)
}

// inbox is the messages of a mailbox.
func (w *world) inbox(owner string) (messages []string) {
	all, err := w.mail.Mailboxes()
	require.NoError(w, err)
	for _, m := range all {
		if m.Owner == owner {
			for _, text := range m.Messages {
				messages = append(messages, string(text))
			}
		}
	}
	return messages
}

// first is the data of the first event of a kind.
func (w *world) first(kind trace.Kind) trace.MailData {
	for i, e := range w.events {
		if strings.Contains(e, " "+string(kind)+" ") {
			return w.data[i]
		}
	}
	w.Errorf("no event %s among %q", kind, w.events)
	return trace.MailData{}
}

// send runs a plan from the client's host: to is the server, the rest its keys.
func (w *world) send(to string, plan map[string]any) *trace.Trace {
	message := map[string]any{"from": "ada@example.org", "to": []string{"bob@example.net"}, "data": letter}
	all := map[string]any{"target": map[string]any{"mode": "live", "host": to, "port": 25}, "security": "none", "ehlo": "client.example",
		"tls": map[string]any{"ca": []string{authority()}}, "messages": []any{message}}
	for k, v := range plan {
		if _, of := message[k]; of {
			message[k] = v
		} else {
			all[k] = v
		}
	}
	p, err := session.ParsePlan(trace.Encode(all))
	if !assert.NoError(w, err) {
		return nil
	}
	return session.New(session.Config{Plan: p, Tool: "test", Now: w.lab.Now,
		Dial: func(ctx context.Context, t session.Target, _ func(tunnel.Status)) (net.Conn, error) {
			return w.lab.Host("client").Dial(ctx, "tcp", net.JoinHostPort(t.Host, fmt.Sprint(t.Port)))
		}}).Run(w.Context())
}

// submit sends a message through the sender's own server.
func (w *world) submit(plan map[string]any) *trace.Trace {
	all := map[string]any{"auth": map[string]any{"mechanism": "PLAIN", "username": "ada", "password": "engine"}} // SCRAM leaves something to chance
	for k, v := range plan {
		all[k] = v
	}
	return w.send("mail.example.org", all)
}

// talk says lines to a port of a host and returns the replies, greeting first. A
// message is one line that ends in a dot of its own.
func (w *world) talk(network, address string, lines ...string) (replies []string) {
	conn, err := w.lab.Host("client").Dial(w.Context(), network, address)
	if !assert.NoError(w, err) {
		return nil
	}
	defer conn.Close()
	return w.converse(conn, lines...)
}

func (w *world) converse(conn net.Conn, lines ...string) (replies []string) {
	r := bufio.NewReader(conn)
	conn.SetDeadline(w.lab.Now().Add(10 * time.Minute))
	for i := 0; ; i++ {
		text := ""
		for {
			l, err := r.ReadString('\n')
			if err != nil {
				return append(replies, text+"("+err.Error()+")")
			}
			text += l
			if len(l) < 4 || l[3] != '-' {
				break
			}
		}
		replies = append(replies, strings.TrimSuffix(text, "\r\n"))
		if i == len(lines) {
			return replies
		}
		if _, err := io.WriteString(conn, lines[i]+"\r\n"); err != nil {
			return append(replies, "("+err.Error()+")")
		}
	}
}

var signing = ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))

// certificate is one for all servers, that signs itself.
func certificate() tls.Certificate {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "lab"},
		DNSNames:  []string{"mail.example.org", "mx.example.net"},
		NotBefore: start.Add(-time.Hour), NotAfter: start.Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(nil, template, template, signing.Public(), signing)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: signing}
}

func authority() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate().Certificate[0]}))
}
