package internet

import "time"

// Fate is what a link did to a packet.
type Fate string

const (
	Delivered  Fate = "delivered"
	Lost       Fate = "lost"
	Duplicated Fate = "duplicated" // this packet is the copy that the link made of another
	Reordered  Fate = "reordered"  // held back, so that packets sent after it could overtake it
	Corrupted  Fate = "corrupted"  // delivered with one bit flipped
)

// Packet is an IP packet that was put on a link, or the copy that a link made of
// one. Times are since the lab's start.
type Packet struct {
	Seq     int           // position among all packets of the lab, from 0
	Sent    time.Duration // when the stack handed it to the link
	Arrives time.Duration // when it is at the other end; for a lost one, when it would have been
	From    string        // id of the host that sent it
	To      string        // id of the host at the other end of the link
	// Bytes are the IP packet as it arrives, header first; as it was sent when it
	// is lost. They may be kept but not changed.
	Bytes []byte
	Fate  Fate
	Held  time.Duration // how long it was held back; it can be corrupted besides
	Flip  *Flip         // what was corrupted, or nil
	Of    int           // Seq of the packet that a duplicate copies, -1 for any other
}

// Flip says which bit of a corrupted packet was flipped. One flipped bit never
// escapes the checksums of IP, TCP and UDP, which are one's complement sums.
type Flip struct {
	Offset int   // of the byte
	Mask   uint8 // the bit
}
