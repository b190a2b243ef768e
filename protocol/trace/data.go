package trace

import (
	"encoding/json"
	"time"
)

// What Event.Data holds, by kind. All durations are nanoseconds.

// TunnelData belongs to the events of layer tunnel.
type TunnelData struct {
	Host      string        `json:"host,omitempty"`
	Port      int           `json:"port,omitempty"`
	Addresses []string      `json:"addresses,omitempty"` // what the name resolved to
	Address   string        `json:"address,omitempty"`   // the one dialed
	Local     string        `json:"local,omitempty"`     // the proxy's end, address:port
	Resolve   time.Duration `json:"resolve,omitempty"`   // time the look-up took
	Connect   time.Duration `json:"connect,omitempty"`   // SYN to established, or to the failure
	Session   string        `json:"session,omitempty"`   // the name of this tunnel in the proxy's log
	// Problem says in words why Address could not be connected, in tunnel/failed.
	Problem string `json:"problem,omitempty"`
	// Direct is true when there was no proxy: the program itself dialed.
	Direct bool `json:"direct,omitempty"`
}

// LookupData belongs to dns/lookup: what a resolver said to the proxy.
type LookupData struct {
	Name string `json:"name"` // as it was asked: for PTR the one below arpa
	Type string `json:"type"` // A, AAAA, MX, PTR, TLSA or TXT
	// RCode is NOERROR also when there is no such record, and NXDOMAIN when
	// there is nothing at the name and below it. It is empty when nobody answered: see Problem.
	RCode   string           `json:"rcode"`
	Records []ResourceRecord `json:"records"` // those of an alias first, then those that it leads to
	// AD says that the resolver vouches for the answer by DNSSEC. That is worth
	// as much as the way to the resolver is.
	AD bool `json:"ad"`
	// Notes are what the resolver adds about a failure (RFC 8914).
	Notes []string `json:"notes,omitempty"`
	// Withheld counts the records that the proxy's policy does not tell, Omitted those
	// beyond the size that is kept.
	Withheld int           `json:"withheld,omitempty"`
	Omitted  int           `json:"omitted,omitempty"`
	Server   string        `json:"server,omitempty"`  // the resolver, where that may be told
	Network  string        `json:"network,omitempty"` // udp, or tcp after an answer that was cut off
	Took     time.Duration `json:"took"`              // from the question to its answer, when it was asked
	// Cached says that nobody was asked now; Age is how old the answer is. The
	// TTLs are what is left of them.
	Cached bool          `json:"cached"`
	Age    time.Duration `json:"age,omitempty"`
	// Problem says in words why there is no answer; the proxy itself leaves it empty.
	Problem string `json:"problem,omitempty"`
}

// ResourceRecord is one record of the DNS. Data is its value as zone files have it, so
// that every byte beyond printable ASCII is escaped; the fields after it are the
// same value in parts.
type ResourceRecord struct {
	Name string `json:"name"`
	Type string `json:"type"`
	TTL  uint32 `json:"ttl"` // in seconds
	Data string `json:"data"`

	Address    string `json:"address,omitempty"`    // A, AAAA
	Host       string `json:"host,omitempty"`       // MX, PTR, CNAME; "." is the root
	Preference uint16 `json:"preference,omitempty"` // MX
	// Text is that of a TXT record, its strings joined without a space between
	// (RFC 7208, 3.3). What is no UTF-8 in it is replaced.
	Text string `json:"text,omitempty"`
}

// PolicyData belongs to dns/policy: what a domain's MTA-STS host serves (RFC 8461), which is what
// mail servers are the domain's and whether senders must insist on verified TLS.
type PolicyData struct {
	Domain string `json:"domain"`
	URL    string `json:"url,omitempty"`
	Status int    `json:"status,omitempty"` // of HTTP; absent when there was no answer
	Text   string `json:"text,omitempty"`
	// Mode is enforce, testing or none; it is empty when there is no valid policy.
	Mode   string   `json:"mode,omitempty"`
	MX     []string `json:"mx,omitempty"`
	MaxAge int      `json:"maxAge,omitempty"` // in seconds
	// Problem says in words why a sender would find no policy here.
	Problem string        `json:"problem,omitempty"`
	Took    time.Duration `json:"took"`
}

// PacketData belongs to the events that are packets. Of one that was captured nobody knows what
// became of it before or after: it has no Arrives and no Fate, and T is when the page was told of it.
type PacketData struct {
	Arrives int64 `json:"arrives,omitempty"` // T at which it reached To; where it was lost, T at which it would have
	Fate    Fate  `json:"fate,omitempty"`
	// Captured is when it passed the proxy, by the clock there. That may differ from
	// the clock of Meta.Started.
	Captured time.Time `json:"captured,omitzero"`
	// Held is how long a reordered packet was held back, in nanoseconds.
	Held int64 `json:"held,omitempty"`
	// Of is the event of the packet that this is a copy of.
	Of *int `json:"of,omitempty"`
	// Flip is the bit that changed on the way; the bytes at At are those that were sent.
	Flip *Flip `json:"flip,omitempty"`
	// Segment is what TCP says, in a tcp/segment whose headers could be read.
	Segment *SegmentData `json:"segment,omitempty"`
	// Carries is the range of a wire.* or text.* stream that its payload is.
	Carries *Range `json:"carries,omitempty"`
}

// Fate is what a link did to a packet.
type Fate string

const (
	FateDelivered  Fate = "delivered"
	FateLost       Fate = "lost"
	FateReordered  Fate = "reordered"  // held back, so that later packets overtook it
	FateCorrupted  Fate = "corrupted"  // delivered with one bit flipped
	FateDuplicated Fate = "duplicated" // a second delivery; of a copy
)

// Flip is a bit of a packet: the octet, counted from the IP header on, and its mask.
type Flip struct {
	Offset int  `json:"offset"`
	Mask   byte `json:"mask"`
}

// SegmentData is a TCP segment as its sender sees it, or where it was captured as the
// proxy does. Seq and Ack count from the initial sequence numbers, windows are in octets
// with the scale applied.
type SegmentData struct {
	Flow    int    `json:"flow"`  // number of the connection, in the order of their SYNs
	Flags   string `json:"flags"` // "SYN, ACK"
	Seq     uint32 `json:"seq"`
	Ack     uint32 `json:"ack,omitempty"`
	Window  uint32 `json:"window"`
	Len     int    `json:"len"`               // of the payload
	Options string `json:"options,omitempty"` // "mss 1460, sack, ts, ws 7"
	// InFlight is how much its sender has sent and not seen acknowledged, with this segment; derived.
	InFlight uint32 `json:"inFlight"`
	// Again is the event of the first segment that carried the first octet of this one; absent when it is new.
	Again *int `json:"again,omitempty"`
}

// AnalysisData belongs to tcp/analysis: what a program such as Wireshark that
// captures at a host remarks upon. It sees what the host sees, so it may be wrong.
type AnalysisData struct {
	Packet int      `json:"packet"` // event of the segment
	Host   string   `json:"host"`   // where it is captured
	Marks  []string `json:"marks"`  // "retransmission", "duplicate-ack": dissect.Marks
	// DuplicateACK counts the duplicates of this acknowledgment so far.
	DuplicateACK int `json:"duplicateACK,omitempty"`
}

// StateData belongs to tcp/state. It comes from the stack itself. Windows are in
// octets, but congestion windows in segments, as this stack counts.
type StateData struct {
	Host   string `json:"host"`
	Flow   int    `json:"flow"`
	Packet int    `json:"packet"` // event of the segment that was sent or taken
	Name   string `json:"name"`   // "ESTABLISHED" (RFC 9293, 3.3.2)

	CongestionWindow   int    `json:"cwnd"`               // segments that may be under way (RFC 5681)
	SlowStartThreshold int    `json:"ssthresh,omitempty"` // segments; absent as long as nothing was lost
	Congestion         string `json:"congestion"`         // "open", "disorder", "fast recovery", "SACK recovery", "timeout recovery"
	RTO                int64  `json:"rto"`                // nanoseconds (RFC 6298)
	SRTT               int64  `json:"srtt,omitempty"`     // nanoseconds, absent until measured
	RTTVar             int64  `json:"rttvar,omitempty"`
	// Inner is there only where the stack tells it: when a segment was taken on an established connection.
	Inner *InnerData `json:"inner,omitempty"`
}

// InnerData is the part of StateData that the stack does not tell at all times.
type InnerData struct {
	Outstanding   int `json:"outstanding"`   // segments under way by the sender's estimate (RFC 6675)
	InFlight      int `json:"inFlight"`      // octets sent and not acknowledged
	SendWindow    int `json:"sendWindow"`    // octets that the peer is ready to take
	ReceiveWindow int `json:"receiveWindow"` // octets that the peer was told it may send
	SendBuffered  int `json:"sendBuffered"`  // octets that the program wrote and the peer has not acknowledged
	Unread        int `json:"unread"`        // octets that arrived and the program has not read
	MSS           int `json:"mss"`           // octets of the largest payload
}

// SampleData belongs to tcp/sample: what TCP_INFO says at the proxy, which is the sender.
// What the system does not know, or not yet, is absent. Windows are in octets, but the
// congestion window in segments, as the system counts.
type SampleData struct {
	State string `json:"state"` // "ESTABLISHED" (RFC 9293, 3.3.2)

	RTT    time.Duration `json:"rtt,omitempty"` // smoothed (RFC 6298, 2)
	RTTVar time.Duration `json:"rttvar,omitempty"`
	MinRTT time.Duration `json:"minRTT,omitempty"` // the smallest of late
	RTO    time.Duration `json:"rto,omitempty"`    // the retransmission timer

	CongestionWindow   int `json:"cwnd,omitempty"`     // segments
	SlowStartThreshold int `json:"ssthresh,omitempty"` // segments; absent as long as nothing was lost
	MSS                int `json:"mss,omitempty"`      // octets of the largest payload

	Unacked     int   `json:"unacked,omitempty"`     // segments under way
	InFlight    int64 `json:"inFlight,omitempty"`    // octets in them
	Retransmits int   `json:"retransmits,omitempty"` // segments sent again since the first SYN

	DeliveryRate  int64 `json:"deliveryRate,omitempty"`  // octets per second, the newest measurement
	SendWindow    int   `json:"sendWindow,omitempty"`    // octets that the server is ready to take
	ReceiveWindow int   `json:"receiveWindow,omitempty"` // octets that the server was told it may send
	// SendScale and ReceiveScale are the shifts that both windows have on the wire (RFC 7323, 2).
	SendScale    int `json:"sendScale,omitempty"`
	ReceiveScale int `json:"receiveScale,omitempty"`
}

// MailData belongs to the events of layer mail.
type MailData struct {
	Host    string   `json:"host"`    // id of the mail server that says so
	QueueID string   `json:"queueID"` // at that server
	From    string   `json:"from"`    // reverse-path, "" for the null path
	To      []string `json:"to"`      // forward-paths that this is about
	Size    int      `json:"size,omitempty"`
	// Attempt counts from 1.
	Attempt int `json:"attempt,omitempty"`
	// Next names the server that the message goes to, by its domain name.
	Next string `json:"next,omitempty"`
	// Hop is the number of the connection on which an attempt went, 0 when there was none: see Hop.
	Hop int `json:"hop,omitempty"`
	// Reason is why it is deferred or bounced: the reply, or what happened to the connection.
	Reason string `json:"reason,omitempty"`
	// Retry is the T of the next attempt.
	Retry int64 `json:"retry,omitempty"`
	// Mailbox is whose, in mail/delivered.
	Mailbox string `json:"mailbox,omitempty"`
}

// RecordData belongs to tls/record.
type RecordData struct {
	Type    string `json:"type"`    // "handshake", "application_data", "change_cipher_spec", "alert"
	Version string `json:"version"` // of the record header: "TLS 1.2" also in TLS 1.3 (RFC 8446, 5.1)
	// Plain is the range of text.* that the record carries, absent for handshake records.
	Plain *Range `json:"plain,omitempty"`
	// Sealed is how much of the record is not content: explicit nonce, inner type, tag.
	Sealed int `json:"sealed,omitempty"`
	// Count is more than 1 when this event stands for a run of similar records of a long message.
	Count int `json:"count,omitempty"`
}

// DecryptedData belongs to tls/decrypted.
type DecryptedData struct {
	Type    string `json:"type"`    // "encrypted_extensions", "certificate", "certificate_verify", "finished" (RFC 8446, 4)
	Records []int  `json:"records"` // events of the records that carried it
}

// HandshakeData belongs to tls/handshake and tls/alert.
type HandshakeData struct {
	Started    int64         `json:"started"`           // T of the first byte of the handshake
	Version    string        `json:"version,omitempty"` // "TLS 1.3"
	Suite      string        `json:"suite,omitempty"`   // "TLS_CHACHA20_POLY1305_SHA256"
	Group      string        `json:"group,omitempty"`   // "X25519MLKEM768"
	ServerName string        `json:"serverName,omitempty"`
	ALPN       string        `json:"alpn,omitempty"`
	Resumed    bool          `json:"resumed,omitempty"`
	RoundTrips int           `json:"roundTrips,omitempty"`
	Chain      []Certificate `json:"chain,omitempty"` // as the server sent it
	// Verified is true when the chain leads to a trusted root and the name fits.
	Verified bool `json:"verified"`
	// Problem says in words why the certificate is not trusted; with
	// tls.insecure in the plan the session goes on nevertheless.
	Problem string `json:"problem,omitempty"`
	// Reason is the short code of Problem: "untrusted", "wrong-name", "expired", "not-yet-valid", "invalid".
	Reason string `json:"reason,omitempty"`
}

// Certificate is one link of the chain.
type Certificate struct {
	Subject   string    `json:"subject"`
	Issuer    string    `json:"issuer"`
	Names     []string  `json:"names,omitempty"` // subjectAltName: DNS names and IP addresses
	NotBefore time.Time `json:"notBefore"`
	NotAfter  time.Time `json:"notAfter"`
	Key       string    `json:"key"`       // "ECDSA P-256", "RSA 2048", "Ed25519"
	Signature string    `json:"signature"` // "ECDSA-SHA256"
	SHA256    string    `json:"sha256"`    // fingerprint of the DER form, lower-case hexadecimal
	DER       []byte    `json:"der"`
}

// CommandData belongs to smtp/command and smtp/response.
type CommandData struct {
	Verb string `json:"verb"`
	// Raw marks a line that the state machine was told not to judge.
	Raw bool `json:"raw,omitempty"`
	// Edited marks a line that the user changed before it was sent.
	Edited bool `json:"edited,omitempty"`
	// Deadline is how long the client waits for the reply (RFC 5321, 4.5.3.2).
	Deadline time.Duration `json:"deadline,omitempty"`
}

// MessageData belongs to smtp/message.
type MessageData struct {
	Started int64 `json:"started"` // T of the first byte; the event itself is written after the last
	Size    int64 `json:"size"`    // octets of the message as RFC 1870 counts them: with CRLF, without dot-stuffing
	Stuffed int   `json:"stuffed"` // lines that got a second dot (RFC 5321, 4.5.2)
	// Normalized counts line ends that were not CRLF and became CRLF, the added final one included.
	Normalized int  `json:"normalized"`
	Edited     bool `json:"edited,omitempty"`
}

// ReplyData belongs to smtp/reply.
type ReplyData struct {
	Code     int      `json:"code"`
	Enhanced string   `json:"enhanced,omitempty"`
	Lines    []string `json:"lines"` // text of each line without code, separator and line end; control bytes escaped
	// Answers is the event of the command that this replies to; nil for the greeting and for unsolicited replies.
	Answers *int `json:"answers,omitempty"`
	// Verb of the command answered, "greeting" for the greeting, "" when unsolicited.
	Verb string `json:"verb,omitempty"`
	// Oddities are deviations that were accepted, as ids: "bare-lf", "no-separator", "long-line", "enhanced-mismatch".
	Oddities []string `json:"oddities,omitempty"`
	// State of the client after this reply, and the verbs that are legal in it.
	State string   `json:"state"`
	Legal []string `json:"legal,omitempty"`
	// Extensions are the EHLO keywords, when this is the reply to EHLO.
	Extensions []Extension `json:"extensions,omitempty"`
}

// Extension is one line of an EHLO reply.
type Extension struct {
	Keyword string   `json:"keyword"` // upper case
	Params  []string `json:"params,omitempty"`
}

// PauseData belongs to app/pause and app/resume.
type PauseData struct {
	Verb   string `json:"verb"`
	Edited bool   `json:"edited,omitempty"`
}

// ErrorInfo says why a session failed; it is the data of app/error and part of the result.
type ErrorInfo struct {
	Code    ErrorCode `json:"code"`
	Message string    `json:"message"`        // plain English: what happened, where, what to do next
	Rule    string    `json:"rule,omitempty"` // the rule of the proxy's policy that denied it
	// RetryAfter is in seconds, when the proxy named it.
	RetryAfter int `json:"retryAfter,omitempty"`
}

// ErrorCode is a closed set.
type ErrorCode string

const (
	// From the tunnel.
	CodeRefused      ErrorCode = "refused"
	CodeTimeout      ErrorCode = "timeout"
	CodeNameNotFound ErrorCode = "name-not-found"
	CodeNoRoute      ErrorCode = "no-route"
	CodeDenied       ErrorCode = "denied"
	CodeQuota        ErrorCode = "quota"
	CodeTooMany      ErrorCode = "too-many"
	CodeShutdown     ErrorCode = "shutdown"
	// In the page.
	CodeTLS         ErrorCode = "tls"
	CodeProtocol    ErrorCode = "protocol"
	CodeDesync      ErrorCode = "desync"
	CodeClosed      ErrorCode = "closed"
	CodeUnsupported ErrorCode = "unsupported"
	CodeRejected    ErrorCode = "rejected"
	CodeBadPlan     ErrorCode = "bad-plan"
	CodeCancelled   ErrorCode = "cancelled"
	CodeCrashed     ErrorCode = "crashed"
)

// Outcome of a session, a message or a recipient.
type Outcome string

const (
	Accepted Outcome = "accepted"
	Partial  Outcome = "partial"
	Rejected Outcome = "rejected"
	Failed   Outcome = "failed"
	// Unknown: the connection was lost after the final dot, so the message may have been accepted.
	Unknown Outcome = "unknown"
)

// Result is the verdict, the same for a person, a test and another program.
type Result struct {
	Outcome Outcome `json:"outcome"`
	// Phase is where it ended: connect greeting ehlo starttls tls auth mail rcpt data message quit.
	Phase     string `json:"phase"`
	Permanent bool   `json:"permanent"` // the same attempt will fail again
	// Reply decided the outcome; nil when none did.
	Reply *ResultReply `json:"reply,omitempty"`
	// Error is nil when the outcome is accepted.
	Error      *ErrorInfo      `json:"error,omitempty"`
	Messages   []MessageResult `json:"messages"`
	RoundTrips int             `json:"roundTrips"`
	Elapsed    time.Duration   `json:"elapsed"`
}

// ResultReply is a reply as the result quotes it.
type ResultReply struct {
	Code     int      `json:"code"`
	Enhanced string   `json:"enhanced,omitempty"`
	Lines    []string `json:"lines"`
	Event    int      `json:"event"`
}

// MessageResult is the verdict on one message of the plan.
type MessageResult struct {
	Outcome    Outcome           `json:"outcome"`
	QueueID    string            `json:"queueID,omitempty"`
	Recipients []RecipientResult `json:"recipients"`
}

// RecipientResult is the verdict on one recipient. Event is the reply's, absent when RCPT was not sent.
type RecipientResult struct {
	To      string  `json:"to"`
	Outcome Outcome `json:"outcome"`
	Event   *int    `json:"event,omitempty"`
}

// Encode turns the data of an event into JSON. It panics on values that cannot
// be encoded, which the types of this file never are.
func Encode(data any) json.RawMessage {
	b, err := json.Marshal(data)
	if err != nil {
		panic(err)
	}
	return b
}
