// Package tunnel is the WebSocket subprotocol between the page and the proxy:
// one WebSocket carries one TCP connection. It holds the frame codec, the two
// halves as state machines that enforce order and credit, and the errors that
// the proxy reports, in words.
//
// Every frame is one binary message: a type byte, then the payload; integers are
// big-endian.
//
//	type      from    payload
//	1 OPEN    page    JSON, see [Open]: where to connect to; the first frame, once
//	2 STATUS  proxy   JSON, see [Status]: how far it got; "opened" once, after it only "sample"
//	3 PACKET  proxy   64-bit time (nanoseconds since 1970), then a captured IP packet
//	4 DATA    both    1 to MaxData bytes of the connection
//	5 CREDIT  both    32-bit count, not 0: so many more bytes of DATA may be sent
//	6 EOF     both    nothing: the sender sends no more DATA; once each way
//	7 ERROR   proxy   JSON, see [Error]: why it ends; the last frame
//
// Credit starts at 0 both ways and counts DATA payload bytes only. The page grants
// right after OPEN; the proxy grants, and may send DATA and EOF, once it has reported
// "opened". The page may send EOF at any time after OPEN. Whoever exceeds its
// credit, or grants so much that the counter would pass MaxCredit, breaks the
// protocol. An empty DATA frame would cost no credit, and a CREDIT of 0 would mean
// nothing: both are refused. No credit bounds PACKET, which may come at any time after OPEN, also
// after EOF: the proxy leaves packets out rather than let DATA wait for them.
//
// The package does no I/O and knows no WebSocket, no clock and no policy: drivers
// carry its messages, wait for credit and decide what may be dialed.
package tunnel

import "time"

// Subprotocol is the name to offer and to select in the WebSocket handshake
// (RFC 6455, 1.9).
const Subprotocol = "smtpscope.v1"

// Limits of a message. They hold for both directions.
const (
	// MaxData is the most payload that one DATA frame carries.
	MaxData = 256 << 10
	// MaxMessage is the largest message of all: a full DATA frame.
	MaxMessage = 1 + MaxData
	// MaxJSON is the longest JSON payload of OPEN, STATUS and ERROR.
	MaxJSON = 16 << 10
	// MaxPacket is the longest IP packet in a PACKET frame.
	MaxPacket = 65535
	// MaxCredit is the most credit that a sender may hold unused.
	MaxCredit = 1<<32 - 1
	// MaxHost is the longest host in OPEN; a domain name has at most 255 octets
	// (RFC 5321, 4.5.3.1.2).
	MaxHost = 255
	// MaxAddresses is how many addresses a STATUS names at most.
	MaxAddresses = 64
	// MaxText and MaxRule are the longest message and rule of an ERROR, in bytes; with
	// every byte escaped they fit into MaxJSON.
	MaxText = 2 << 10
	MaxRule = 256
)

// Open is the page's wish, the payload of OPEN.
type Open struct {
	// Host is a domain name or an IP address without brackets.
	Host string `json:"host"`
	Port int    `json:"port"`
	// Token is the permit of a proxy that asks for one.
	Token string `json:"token,omitempty"`
	// Wants names extra reports: WantTCPInfo, WantPackets.
	Wants []string `json:"wants,omitempty"`
}

// Values of Open.Wants.
const (
	WantTCPInfo = "tcpinfo"
	WantPackets = "packets"
)

// Stage is how far the proxy has got.
type Stage string

// The stages, a closed set, in the order in which they happen.
const (
	StageResolving Stage = "resolving" // looking the name up
	StageAddresses Stage = "addresses" // what the look-up gave
	StageDialing   Stage = "dialing"   // connecting to Address
	StageFailed    Stage = "failed"    // Address could not be connected; others may follow
	StageOpened    Stage = "opened"    // connected; DATA can flow
	StageSample    Stage = "sample"    // a measurement of the open connection
)

// Status is what the proxy measured, the payload of STATUS. Every field but Stage
// is absent until it is known.
type Status struct {
	Stage     Stage         `json:"stage"`
	Host      string        `json:"host,omitempty"`
	Port      int           `json:"port,omitempty"`
	Addresses []string      `json:"addresses,omitempty"` // what the name resolved to
	Address   string        `json:"address,omitempty"`   // the one dialed, address:port
	Local     string        `json:"local,omitempty"`     // the proxy's end, address:port
	Resolve   time.Duration `json:"resolve,omitempty"`   // time the look-up took, in nanoseconds
	Connect   time.Duration `json:"connect,omitempty"`   // SYN to established, or to the failure, in nanoseconds
	Problem   string        `json:"problem,omitempty"`   // of StageFailed: why, in words
	Session   string        `json:"session,omitempty"`   // the name of this tunnel in the proxy's log
	Sample    *Sample       `json:"sample,omitempty"`    // of StageSample, and of it only
}

// Sample is what the TCP of the proxy's system says of the connection to the target: the
// proxy is the sender. What the system does not know, or not yet, is 0 and absent. Times
// are in nanoseconds.
type Sample struct {
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
	SendWindow    int   `json:"sendWindow,omitempty"`    // octets that the target is ready to take
	ReceiveWindow int   `json:"receiveWindow,omitempty"` // octets that the target was told it may send
	// SendScale and ReceiveScale are the shifts that both windows have on the wire (RFC 7323, 2).
	SendScale    int `json:"sendScale,omitempty"`
	ReceiveScale int `json:"receiveScale,omitempty"`
}

// Packet is one captured IP packet of the connection, the payload of PACKET.
type Packet struct {
	Time time.Time // by the proxy's clock; nanoseconds count, the zone does not
	IP   []byte
}
