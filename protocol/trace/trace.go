// Package trace is the record of one session: an append-only list of events and
// the byte streams that they point into. Every layer writes it and every view
// reads it; whatever the page draws is a function of a trace alone.
//
// The package knows neither SMTP nor TLS nor sockets, and no clock: whoever
// records says what happened and when.
package trace

import (
	"encoding/json"
	"strconv"
	"time"
)

// Version is the value of "v" in a saved trace. A reader refuses any other.
const Version = 1

// Trace is a session, finished or not. The zero value is not useful; NewRecorder
// fills one and Decode reads one.
type Trace struct {
	V       int                `json:"v"`
	Meta    Meta               `json:"meta"`
	Streams map[string]*Stream `json:"streams"`
	Events  []Event            `json:"events"`
	// Result is nil until the session has ended.
	Result *Result `json:"result,omitempty"`
	// Findings are what package diagnose makes of the session, once it has ended.
	Findings []Finding `json:"findings,omitempty"`
}

// Meta says what was run, where and when.
type Meta struct {
	Tool    string    `json:"tool"` // "smtpscope/0.1.0"
	Mode    Mode      `json:"mode"`
	Started time.Time `json:"started"`
	// Plan is the plan that was run, its password left out.
	Plan  json.RawMessage `json:"plan,omitempty"`
	Seed  int64           `json:"seed,omitempty"`
	Hosts []Host          `json:"hosts"`
}

// Mode says where the bytes went.
type Mode string

const (
	ModeLab      Mode = "lab"
	ModePractice Mode = "practice"
	ModeLive     Mode = "live"
)

// Host is one lane of the ladder.
type Host struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	Address string `json:"address,omitempty"` // in a lab
}

// Ids of the hosts of every session. A lab has more: see protocol/session.
const (
	HostClient = "client" // this page
	HostProxy  = "proxy"  // the tunnel's far end; absent from a lab
	HostServer = "server" // the mail server that the page talks to
)

// Names of the streams. Wire is what crossed the connection, text is what SMTP
// said; they are the same bytes at the same offsets until TLS starts.
const (
	WireOut = "wire.out"
	WireIn  = "wire.in"
	TextOut = "text.out"
	TextIn  = "text.in"
	// TLS holds the handshake messages that TLS encrypted, one behind the other, in clear.
	TLSOut = "tls.out"
	TLSIn  = "tls.in"
	// Packets holds IP packets one behind the other, as they were sent. Of packets
	// beyond the first PacketsKept bytes only the first PacketHead bytes are kept.
	Packets = "packets"
	// Mail holds messages one behind the other, as mailboxes keep them.
	Mail = "mail"
)

// Hop is the name of a stream of text of a connection between two mail servers:
// TextOut is what its initiator said. The page's own connection is hop 0.
func Hop(stream string, hop int) string {
	if hop == 0 {
		return stream
	}
	return stream + "." + strconv.Itoa(hop)
}

// Limits of the stream Packets, in bytes, and of what has events, in packets.
const (
	PacketsKept = 4 << 20
	PacketHead  = 128
	// PacketsWithFields is how many packets are taken apart into fields. Beyond it
	// only those are that something happened to.
	PacketsWithFields = 1500
	// PacketsRecorded is how many packets have an event. Beyond it only those have
	// one that something happened to, or that begin or end a connection.
	PacketsRecorded = 30000
)

// Layer is the protocol that an event belongs to.
type Layer string

const (
	LayerTunnel Layer = "tunnel"
	LayerDNS    Layer = "dns"
	LayerIP     Layer = "ip"
	LayerUDP    Layer = "udp"
	LayerTCP    Layer = "tcp"
	LayerTLS    Layer = "tls"
	LayerSMTP   Layer = "smtp"
	LayerMail   Layer = "mail"
	LayerApp    Layer = "app"
)

// Kind says what happened, within a layer. The kinds below are all there are;
// Decode refuses any other.
type Kind string

const (
	// Layer tunnel, measured at the proxy. Data is the TunnelData that is known by then.
	KindResolving Kind = "resolving"
	KindAddresses Kind = "addresses"
	KindDialing   Kind = "dialing"
	KindFailed    Kind = "failed" // one address could not be connected; others may follow
	KindOpened    Kind = "opened"

	// Layer dns in a session with a domain's mail servers, measured: the proxy asked.
	KindLookup Kind = "lookup" // a question and its answer; LookupData
	KindPolicy Kind = "policy" // the MTA-STS policy of the domain; PolicyData

	// Packets, in a lab each at the time at which it was sent. At is its range of Packets,
	// Fields are those of dissect.Packet, Data is PacketData.
	KindQuery    Kind = "query"    // layer dns
	KindAnswer   Kind = "answer"   // layer dns
	KindDatagram Kind = "datagram" // layer udp
	KindSegment  Kind = "segment"  // layer tcp
	KindPacket   Kind = "packet"   // layer ip: fragments, ICMP, and what else is no datagram or segment

	// Layer tcp, besides segment.
	KindAnalysis Kind = "analysis" // what a host that captured a segment would make of it; AnalysisData, derived
	KindState    Kind = "state"    // the TCP of one host after it sent or took a segment; StateData
	KindSample   Kind = "sample"   // the TCP of the proxy's system, whenever it has changed; SampleData, measured

	// Layer mail: what becomes of a message between the mail servers. MailData.
	KindQueued    Kind = "queued"    // accepted, and to be sent on
	KindAttempt   Kind = "attempt"   // a server begins to send a message on
	KindDeferred  Kind = "deferred"  // not now: it is tried again at MailData.Retry
	KindRelayed   Kind = "relayed"   // the next server has accepted it
	KindBounced   Kind = "bounced"   // given up: its sender is told by a message (RFC 3464)
	KindDelivered Kind = "delivered" // in a mailbox; At is its range of Mail

	// Layer tls. A record maps a range of wire.* (At) to a range of text.* (RecordData.Plain).
	KindStart     Kind = "start"     // from this offset of wire.* on (At), bytes are TLS
	KindRecord    Kind = "record"    // RecordData
	KindHandshake Kind = "handshake" // the handshake is complete; HandshakeData
	KindAlert     Kind = "alert"     // a failed handshake or verification; HandshakeData as far as known
	KindDecrypted Kind = "decrypted" // an encrypted handshake message, opened with the session's own secrets: a range of tls.*; DecryptedData, derived

	// Layer smtp. At is the range of text.*.
	KindCommand  Kind = "command"  // CommandData
	KindResponse Kind = "response" // the client's line in an AUTH exchange; CommandData
	KindMessage  Kind = "message"  // the message text as it was sent, up to and including the final dot, or of one BDAT command; MessageData
	KindReply    Kind = "reply"    // ReplyData
	KindClosed   Kind = "closed"   // the server closed the connection
	KindDesync   Kind = "desync"   // replies can no longer be matched to commands

	// Layer app: what this program or its user did.
	KindPause  Kind = "pause"  // waiting for the user before a send; Text names what is pending
	KindResume Kind = "resume" // the user let it go on; PauseData says whether the pending send was edited
	KindNote   Kind = "note"   // advice in words, such as what a long silence usually means
	KindError  Kind = "error"  // what ended the session; ErrorInfo
)

// Direction of an event that carries bytes.
type Direction string

const (
	Out Direction = "out" // client to server
	In  Direction = "in"  // server to client
)

// Source is the provenance of an event.
type Source string

const (
	Observed  Source = "observed"  // bytes that this page sent or read
	Measured  Source = "measured"  // reported by the proxy
	Captured  Source = "captured"  // a real packet seen at the proxy
	Simulated Source = "simulated" // a packet of the lab's real stacks
	Derived   Source = "derived"   // inferred from the others
)

// Event is one thing that happened.
type Event struct {
	N     int       `json:"n"` // position in Trace.Events, from 0
	T     int64     `json:"t"` // nanoseconds since Meta.Started
	Layer Layer     `json:"layer"`
	Kind  Kind      `json:"kind"`
	Dir   Direction `json:"dir,omitempty"`
	Hop   int       `json:"hop,omitempty"`  // connection of layer smtp that it belongs to, 0 for the page's own
	From  string    `json:"from,omitempty"` // Host.ID
	To    string    `json:"to,omitempty"`   // Host.ID
	Src   Source    `json:"src"`
	At    *Range    `json:"at,omitempty"`
	// Text is the event in one line, safe to show: control bytes are escaped and
	// secrets are masked. It is the line on the wire for commands, and the first
	// line for replies.
	Text   string          `json:"text,omitempty"`
	Fields []Field         `json:"fields,omitempty"`
	Data   json.RawMessage `json:"data,omitempty"`
	// Secret marks spans of the bytes at At, relative to At.Off, that redaction masks.
	Secret []Span `json:"secret,omitempty"`
}

// Finding is a conclusion about the server or the session.
type Finding struct {
	ID       string   `json:"id"` // "no-starttls"; the entry "finding.no-starttls" of package book says what it means and what to do
	Severity Severity `json:"severity"`
	Text     string   `json:"text"`   // what was seen here, in a sentence; safe to show, like Event.Text
	Events   []int    `json:"events"` // the evidence: at least one event, in order
}

// Severity of a finding.
type Severity string

const (
	Chat  Severity = "chat"  // worth knowing
	Note  Severity = "note"  // unusual, harmless here
	Warn  Severity = "warn"  // will hurt somebody
	Error Severity = "error" // broke this session, or will break others
)

// Range is a run of bytes in a stream.
type Range struct {
	Stream string `json:"stream"`
	Off    int64  `json:"off"`
	Len    int64  `json:"len"`
}

// End is the offset of the first byte after the range.
func (r Range) End() int64 { return r.Off + r.Len }

// Span is a half-open interval [from, to), relative to the start of its event's range.
type Span [2]int64

// Field is a named part of an event's bytes. Off is relative to the event's range.
type Field struct {
	Name  string `json:"name"` // in the terms of the RFC: "forward-path", "local-part"
	Off   int64  `json:"off"`
	Len   int64  `json:"len"`
	Value string `json:"value,omitempty"` // shown in place of the bytes where these do not speak for themselves
	Depth int    `json:"depth,omitempty"` // nesting: local-part is one deeper than forward-path
	Book  string `json:"book,omitempty"`  // id of the entry in protocol/book that explains it
}
