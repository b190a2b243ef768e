package smtp

import "time"

// Size limits of RFC 5321, 4.5.3.1, in octets. Lines count their CRLF.
const (
	MaxLocalPart   = 64   // 4.5.3.1.1
	MaxDomain      = 255  // 4.5.3.1.2
	MaxPath        = 256  // 4.5.3.1.3, with the angle brackets
	MaxCommandLine = 512  // 4.5.3.1.4, without the parameters of service extensions
	MaxLegalReply  = 512  // 4.5.3.1.5, a longer reply line is accepted as OddityLongLine
	MaxTextLine    = 1000 // 4.5.3.1.6, without the dot that transparency adds
	// MaxAuthLine is what RFC 4954, 4 calls sufficient for a line of an AUTH
	// exchange. The AUTH command itself is held to MaxCommandLine.
	MaxAuthLine = 12288
)

// Limits of this client, set so that no real server meets them and no hostile one can exhaust memory.
const (
	// MaxParameters bounds the parameters of MAIL and RCPT together. Every
	// extension adds its own allowance to the 512 octets of the line
	// (RFC 5321, 4.5.3.1.4); all registered ones together stay far below.
	MaxParameters = 4096
	// MaxReplyLine has room for a challenge of MaxAuthLine.
	MaxReplyLine = 16 << 10
	// MaxReplyLines and MaxReply bound a multi-line reply.
	MaxReplyLines = 512
	MaxReply      = 64 << 10
	// MaxChunk is the most that one Output of a message, or of a chunk of BDAT, carries.
	MaxChunk = 64 << 10
	// MaxGroup and MaxGroupCommands bound the commands that wait for their replies
	// at once. A group is to fit into the TCP window of the server, "usually, but
	// not always, 4K octets" (RFC 2920, 3.1), and its replies, of MaxLegalReply
	// octets each, into that of a client that does not read while it writes:
	// 64 KiB without window scaling. Otherwise both sides could wait for each
	// other to read. The parameters of a service extension in the last command
	// that still found room come on top, and so do the octets of a BDAT, which ends
	// the group: a server whose replies all find room reads on.
	MaxGroup         = 4096
	MaxGroupCommands = 100
)

// How long to wait for the server, RFC 5321, 4.5.3.2. These are minimums for a
// client that delivers mail unattended, and what Deadline events carry.
const (
	WaitGreeting  = 5 * time.Minute  // 4.5.3.2.1
	WaitMail      = 5 * time.Minute  // 4.5.3.2.2
	WaitRcpt      = 5 * time.Minute  // 4.5.3.2.3
	WaitData      = 2 * time.Minute  // 4.5.3.2.4
	WaitDataBlock = 3 * time.Minute  // 4.5.3.2.5, for each chunk to be sent
	WaitFinalDot  = 10 * time.Minute // 4.5.3.2.6
	// WaitOther is for the commands that 4.5.3.2 does not name. The server
	// waits as long for the client (4.5.3.2.7).
	WaitOther = 5 * time.Minute
)

// WaitFor is how long the reply to a line, or to the final dot, may take.
func WaitFor(v Verb) time.Duration {
	switch v {
	case VerbMail:
		return WaitMail
	case VerbRcpt:
		return WaitRcpt
	case VerbData:
		return WaitData
	case VerbMessage, VerbBdat:
		return WaitFinalDot // which BDAT stands for when it is the last
	}
	return WaitOther
}
