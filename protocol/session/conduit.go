package session

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"sync"
	"time"

	"smtpscope/protocol/dissect"
	"smtpscope/protocol/trace"
)

// conduit is the connection as the trace sees it: what is read from and written
// to it is text, what it reads from and writes to the net.Conn is wire, and in
// between there may be TLS. Read and Write may run at the same time.
type conduit struct {
	rec *trace.Recorder
	raw net.Conn
	tls *tls.Conn // nil until TLS starts

	out, in records
}

func newConduit(rec *trace.Recorder, raw net.Conn) *conduit {
	return &conduit{rec: rec, raw: raw,
		out: records{dir: trace.Out, stream: trace.WireOut}, in: records{dir: trace.In, stream: trace.WireIn}}
}

// Read returns text and records it.
func (c *conduit) Read(p []byte) (int, error) {
	if c.tls == nil {
		n, err := (tap{c}).Read(p)
		c.rec.Append(trace.TextIn, p[:n])
		return n, err
	}
	n, err := c.tls.Read(p)
	// One read returns the content of one record (crypto/tls).
	c.in.flush(c.rec, c.rec.Append(trace.TextIn, p[:n]))
	return n, err
}

// Write sends text, which the caller has recorded at the given range.
func (c *conduit) Write(p []byte, at trace.Range) error {
	var err error
	if c.tls == nil {
		_, err = (tap{c}).Write(p)
	} else {
		_, err = c.tls.Write(p)
		c.out.flush(c.rec, at)
	}
	return err
}

// longMessage brackets the writes of a long message, of which the trace keeps head and tail.
func (c *conduit) longMessage(on bool) {
	c.rec.Bulk(trace.TextOut, on)
	c.rec.Bulk(trace.WireOut, on)
	c.out.longMessage(c.rec, on)
}

// handshake starts TLS; when it fails, the records so far are in the trace.
func (c *conduit) handshake(ctx context.Context, config *tls.Config) error {
	c.out.start(c.rec)
	c.in.start(c.rec)
	log := &keyLog{next: config.KeyLogWriter, secrets: map[string][]byte{}}
	config.KeyLogWriter = log
	t := tls.Client(tap{c}, config)
	err := t.HandshakeContext(ctx)
	state := t.ConnectionState()
	if err == nil {
		c.tls = t
	}
	sent, received := c.out.handshakeDone(c.rec, state), c.in.handshakeDone(c.rec, state)
	c.in.reveal(c.rec, state.CipherSuite, log.secrets[serverHandshakeSecret], received)
	c.out.reveal(c.rec, state.CipherSuite, log.secrets[clientHandshakeSecret], sent)
	return err
}

// Close ends TLS and the connection.
func (c *conduit) Close() error {
	if c.tls == nil {
		return c.raw.Close()
	}
	err := c.tls.Close()
	c.out.flush(c.rec, trace.Range{Stream: trace.TextOut, Off: c.rec.Len(trace.TextOut)})
	return err
}

// overhead is how many bytes of a record are not content, besides its header:
// explicit nonce, inner content type, tag. 0 where it depends on the content (CBC).
func overhead(s tls.ConnectionState) int {
	switch {
	case s.Version == tls.VersionTLS13:
		return 1 + 16 // RFC 8446, 5.2
	case s.CipherSuite == tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
		s.CipherSuite == tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256:
		return 16 // RFC 7905, 2
	case s.CipherSuite == tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
		s.CipherSuite == tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
		s.CipherSuite == tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
		s.CipherSuite == tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384:
		return 8 + 16 // RFC 5288, 3
	}
	return 0
}

// tap is the net.Conn below TLS: it records wire bytes.
type tap struct{ c *conduit }

func (t tap) Close() error                       { return t.c.raw.Close() }
func (t tap) LocalAddr() net.Addr                { return t.c.raw.LocalAddr() }
func (t tap) RemoteAddr() net.Addr               { return t.c.raw.RemoteAddr() }
func (t tap) SetDeadline(d time.Time) error      { return t.c.raw.SetDeadline(d) }
func (t tap) SetReadDeadline(d time.Time) error  { return t.c.raw.SetReadDeadline(d) }
func (t tap) SetWriteDeadline(d time.Time) error { return t.c.raw.SetWriteDeadline(d) }

func (t tap) Read(p []byte) (int, error) {
	n, err := t.c.raw.Read(p)
	t.c.rec.Append(trace.WireIn, p[:n])
	t.c.in.scan(t.c.rec, p[:n])
	return n, err
}

func (t tap) Write(p []byte) (int, error) {
	t.c.rec.Append(trace.WireOut, p)
	t.c.out.scan(t.c.rec, p)
	return t.c.raw.Write(p)
}

// records cuts one direction of the wire into TLS records (RFC 8446, 5.1) and
// maps them to the text that they carry.
type records struct {
	dir    trace.Direction
	stream string // of the wire

	mu        sync.Mutex
	on        bool
	handshake bool  // under way
	from      int64 // offset in the wire stream at which TLS starts
	sealed    int
	at        int64  // offset in the wire stream of the record being cut
	head      []byte // its header and, unless it is application data, its body
	want      int    // bytes of its body still to come
	cut       []record

	long bool // a long message is being sent
	seen int  // records of it that have an event of their own
	rest trace.Range
	data trace.RecordData // stands for the rest
}

type record struct {
	at   trace.Range
	head []byte
}

const (
	recordHeader    = 5
	recordMax       = 1<<14 + 256 // RFC 8446, 5.2
	applicationData = 23

	// longRecords is how many records of a long message get an event of their own.
	longRecords = 8
)

func (r *records) start(rec *trace.Recorder) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.on, r.handshake, r.from = true, true, rec.Len(r.stream)
	r.at = r.from
	r.add(rec, trace.KindStart, trace.Range{Stream: r.stream, Off: r.at}, nil, nil)
}

// handshakeDone writes what is left of the handshake, and returns it. In TLS 1.2 its
// records are never of the type application data, so such a one is the server's greeting.
func (r *records) handshakeDone(rec *trace.Recorder, state tls.ConnectionState) (left []sealedRecord) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.handshake = false
	r.sealed = overhead(state)
	if !state.HandshakeComplete || state.Version >= tls.VersionTLS13 {
		for _, c := range r.cut {
			n := r.add(rec, trace.KindRecord, c.at, dissect.Record(c.head), r.describe(c, nil))
			left = append(left, sealedRecord{n, c.at})
		}
		r.cut = nil
	}
	return left
}

// scan takes bytes of the wire. During the handshake whole records are written at
// once, later they wait for the text that they carry.
func (r *records) scan(rec *trace.Recorder, p []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.on && len(p) > 0 {
		if n := recordHeader - len(r.head); n > 0 {
			n = min(n, len(p))
			r.head, p = append(r.head, p[:n]...), p[n:]
			if len(r.head) < recordHeader {
				return
			}
			if r.want = bodyLen(r.head); r.want > recordMax {
				r.on = false // this is not TLS: the handshake fails and says so
				return
			}
		}
		n := min(r.want, len(p))
		if r.head[0] != applicationData {
			r.head = append(r.head, p[:n]...)
		}
		if r.want, p = r.want-n, p[n:]; r.want == 0 {
			at := trace.Range{Stream: r.stream, Off: r.at, Len: int64(recordHeader + bodyLen(r.head))}
			c := record{at, r.head}
			r.at, r.head = at.End(), nil
			if r.handshake && c.head[0] != applicationData {
				r.write(rec, c, nil)
			} else {
				r.cut = append(r.cut, c)
			}
		}
	}
}

func bodyLen(head []byte) int { return int(head[3])<<8 | int(head[4]) }

// flush writes the records that were cut as events and says which of the given
// text each of them carries. Outgoing text fills the records in order. Incoming
// text is the content of one record, the first whose length fits: those before
// it are tickets, and those after it are the next reads'.
func (r *records) flush(rec *trace.Recorder, text trace.Range) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, c := range r.cut {
		n := int64(bodyLen(c.head) - r.sealed)
		if r.sealed == 0 {
			n = text.Len // CBC hides the length of the content
		}
		carries := c.head[0] == applicationData && 0 < n && n <= text.Len
		if r.dir == trace.In {
			carries = carries && n == text.Len
		}
		if !carries {
			r.write(rec, c, nil)
			continue
		}
		r.write(rec, c, &trace.Range{Stream: text.Stream, Off: text.Off, Len: n})
		text.Off, text.Len = text.Off+n, text.Len-n
		if r.dir == trace.In {
			r.cut = r.cut[i+1:]
			return
		}
	}
	r.cut = nil
}

// longMessage folds the records of a long message but the first into one event.
func (r *records) longMessage(rec *trace.Recorder, on bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.long, r.seen = on, 0
	if !on && r.data.Count > 0 {
		r.add(rec, trace.KindRecord, r.rest, nil, r.data)
		r.data = trace.RecordData{}
	}
}

func (r *records) describe(c record, plain *trace.Range) trace.RecordData {
	d := trace.RecordData{Type: recordType(c.head[0]), Version: recordVersion(c.head), Plain: plain}
	if c.head[0] == applicationData {
		d.Sealed = r.sealed
		if plain == nil { // TLS 1.3 hides what else it says (RFC 8446, 5.2); an alert is two bytes long
			d.Type = "handshake"
			if r.sealed > 0 && bodyLen(c.head) == r.sealed+2 {
				d.Type = "alert"
			}
		}
	}
	return d
}

func (r *records) write(rec *trace.Recorder, c record, plain *trace.Range) {
	d := r.describe(c, plain)
	if plain != nil && r.long {
		if r.seen++; r.seen > longRecords {
			if r.data.Count == 0 {
				r.rest, r.data = c.at, d
			} else {
				r.rest.Len += c.at.Len
				r.data.Plain.Len += plain.Len
			}
			r.data.Count++
			return
		}
	}
	r.add(rec, trace.KindRecord, c.at, dissect.Record(c.head), d)
}

func (r *records) add(rec *trace.Recorder, kind trace.Kind, at trace.Range, fields []trace.Field, data any) int {
	e := trace.Event{Layer: trace.LayerTLS, Kind: kind, Dir: r.dir, Src: trace.Observed, At: &at, Fields: fields}
	e.From, e.To = ends(r.dir)
	if data != nil {
		e.Data = trace.Encode(data)
	}
	return rec.Add(e)
}

func ends(d trace.Direction) (from, to string) {
	if d == trace.In {
		return trace.HostServer, trace.HostClient
	}
	return trace.HostClient, trace.HostServer
}

func recordType(b byte) string {
	switch b {
	case 20:
		return "change_cipher_spec"
	case 21:
		return "alert"
	case 22:
		return "handshake"
	case applicationData:
		return "application_data"
	}
	return fmt.Sprintf("type %d", b)
}

func recordVersion(head []byte) string {
	return tls.VersionName(uint16(head[1])<<8 | uint16(head[2]))
}
