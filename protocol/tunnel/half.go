package tunnel

import (
	"errors"
	"fmt"
)

// What a half can find wrong beyond the form of a frame, to be matched with errors.Is.
var (
	ErrOrder  = errors.New("out of order")
	ErrCredit = errors.New("credit exceeded")
)

// Half is one end of a tunnel. It judges every frame that the driver sends or
// receives by the same rules, keeps the credit of both directions, and does
// nothing else: the driver must put what the Append methods return on the wire in that
// order, and hand every received message to Receive in order. It is not safe for
// concurrent use.
//
// The Append methods append one whole message to dst. Their errors are mistakes of
// the driver; dst is then returned as it was, and nothing has changed.
type Half struct {
	self, peer role
	senders    [2]sender // by role
	asked      bool      // OPEN has passed
	opened     bool      // STATUS "opened" has passed
	failed     bool      // ERROR has passed
}

type role int

const (
	rolePage role = iota
	roleProxy
)

func (r role) String() string {
	if r == rolePage {
		return "page"
	}
	return "proxy"
}

// sender is what one role may still send.
type sender struct {
	credit int64
	eof    bool
}

// NewPage returns the page's half. It sends OPEN first, CREDIT right after it.
func NewPage() *Half { return &Half{self: rolePage, peer: roleProxy} }

// NewProxy returns the proxy's half. It grants credit once it has reported "opened".
func NewProxy() *Half { return &Half{self: roleProxy, peer: rolePage} }

// pass judges a frame that goes from one role to the other, and keeps account of it.
// n is the payload of DATA or the count of CREDIT.
func (h *Half) pass(from role, t Type, n int64, stage Stage) error {
	if h.failed {
		if from == rolePage && h.self == roleProxy {
			return nil // sent before the page had seen the ERROR
		}
		return fmt.Errorf("%s frame: %w: ERROR is the last frame", t, ErrOrder)
	}
	if fromPage := from == rolePage; fromPage && (t == TypeStatus || t == TypePacket || t == TypeError) || !fromPage && t == TypeOpen {
		return fmt.Errorf("%s frame: %w: the %s does not send it", t, ErrOrder, from)
	}
	switch {
	case t == TypeError: // may come instead of anything
		h.failed = true
		return nil
	case t == TypeOpen && h.asked:
		return fmt.Errorf("%s frame: %w: sent twice", t, ErrOrder)
	case t == TypeOpen:
		h.asked = true
		return nil
	case !h.asked:
		return fmt.Errorf("%s frame: %w: OPEN is the first frame", t, ErrOrder)
	case from == roleProxy && !h.opened && (t == TypeData || t == TypeCredit || t == TypeEOF):
		return fmt.Errorf("%s frame: %w: STATUS %q comes before it", t, ErrOrder, StageOpened)
	}
	s, other := &h.senders[from], &h.senders[1-from]
	switch t {
	case TypeStatus:
		if h.opened != (stage == StageSample) {
			return fmt.Errorf("%s frame: %w: stage %q, opened %t", t, ErrOrder, stage, h.opened)
		}
		h.opened = h.opened || stage == StageOpened
	case TypeData:
		if s.eof {
			return fmt.Errorf("%s frame: %w: after EOF", t, ErrOrder)
		}
		if n > s.credit {
			return fmt.Errorf("%s frame: %w: %d bytes, credit for %d", t, ErrCredit, n, s.credit)
		}
		s.credit -= n
	case TypeCredit:
		if n > MaxCredit-other.credit {
			return fmt.Errorf("%s frame: %w: %d more on top of %d, at most %d", t, ErrCredit, n, other.credit, int64(MaxCredit))
		}
		other.credit += n
	case TypeEOF:
		if s.eof {
			return fmt.Errorf("%s frame: %w: sent twice", t, ErrOrder)
		}
		s.eof = true
	}
	return nil
}

// send takes what an encoder made and keeps it if the frame may be sent now.
func (h *Half) send(dst, message []byte, err error, t Type, n int64, stage Stage) ([]byte, error) {
	if err == nil {
		err = h.pass(h.self, t, n, stage)
	}
	if err != nil {
		return dst, err
	}
	return message, nil
}

// AppendOpen appends OPEN: the page's first frame.
func (h *Half) AppendOpen(dst []byte, o Open) ([]byte, error) {
	b, err := appendOpen(dst, o)
	return h.send(dst, b, err, TypeOpen, 0, "")
}

// AppendStatus appends STATUS. Of more than MaxAddresses addresses the first are kept.
func (h *Half) AppendStatus(dst []byte, s Status) ([]byte, error) {
	b, err := appendStatus(dst, s)
	return h.send(dst, b, err, TypeStatus, 0, s.Stage)
}

// AppendPacket appends PACKET.
func (h *Half) AppendPacket(dst []byte, p Packet) ([]byte, error) {
	b, err := appendPacket(dst, p)
	return h.send(dst, b, err, TypePacket, 0, "")
}

// AppendCredit appends CREDIT: the peer may send n more bytes of DATA.
func (h *Half) AppendCredit(dst []byte, n uint32) ([]byte, error) {
	b, err := appendCredit(dst, n)
	return h.send(dst, b, err, TypeCredit, int64(n), "")
}

// AppendEOF appends EOF: this half sends no more DATA.
func (h *Half) AppendEOF(dst []byte) ([]byte, error) {
	return h.send(dst, append(dst, byte(TypeEOF)), nil, TypeEOF, 0, "")
}

// AppendError appends ERROR, the last frame. Texts longer than MaxText and MaxRule are shortened.
func (h *Half) AppendError(dst []byte, e *Error) ([]byte, error) {
	b, err := appendError(dst, e)
	return h.send(dst, b, err, TypeError, 0, "")
}

// FrameData makes a DATA message in place: buf holds one byte of headroom, then the
// payload, and is the whole message afterwards.
func (h *Half) FrameData(buf []byte) error {
	n := len(buf) - 1
	if err := checkData(n); err != nil {
		return fmt.Errorf("%s frame: %w", TypeData, err)
	}
	if err := h.pass(h.self, TypeData, int64(n), ""); err != nil {
		return err
	}
	buf[0] = byte(TypeData)
	return nil
}

// Receive parses and judges a message from the peer. The error is an *Error with code
// CodeCredit or CodeBadRequest that wraps one of the named errors; the tunnel must
// then be closed. Frame.Data and Frame.Packet.IP alias message.
func (h *Half) Receive(message []byte) (Frame, error) {
	f, err := Parse(message)
	if err != nil {
		return Frame{}, h.violation(err)
	}
	n, stage := int64(0), Stage("")
	switch f.Type {
	case TypeData:
		n = int64(len(f.Data))
	case TypeCredit:
		n = int64(f.Credit)
	case TypeStatus:
		stage = f.Status.Stage
	}
	if err := h.pass(h.peer, f.Type, n, stage); err != nil {
		return Frame{}, h.violation(err)
	}
	return f, nil
}

// ReceiveData does for the next n bytes of a DATA message what Receive does for a whole
// one, for drivers that take the payload as it comes. The driver sees to MaxData.
func (h *Half) ReceiveData(n int) error {
	err := checkData(n)
	if err != nil {
		err = fmt.Errorf("%s frame: %w", TypeData, err)
	} else {
		err = h.pass(h.peer, TypeData, int64(n), "")
	}
	if err != nil {
		return h.violation(err)
	}
	return nil
}

func (h *Half) violation(err error) *Error {
	return Violation(h.peer.String(), err)
}

// Violation is the *Error for a peer that broke the protocol; who names it.
func Violation(who string, err error) *Error {
	e := &Error{Code: CodeBadRequest, cause: err}
	if errors.Is(err, ErrCredit) {
		e.Code = CodeCredit
	}
	e.Message = fmt.Sprintf("The %s broke the tunnel's protocol: %v. Page and proxy may be of different versions: reload the page.", who, err)
	return e
}

// Sendable is how many bytes the next DATA frame may carry, at most MaxData. It is 0
// before the peer granted credit and after EOF or ERROR.
func (h *Half) Sendable() int {
	if s := h.senders[h.self]; !s.eof && !h.failed {
		return int(min(s.credit, MaxData))
	}
	return 0
}

// Receivable is the credit that the peer has not used yet.
func (h *Half) Receivable() int64 { return h.senders[h.peer].credit }

// Opened tells whether STATUS "opened" has passed.
func (h *Half) Opened() bool { return h.opened }

// SentEOF tells whether this half has sent EOF.
func (h *Half) SentEOF() bool { return h.senders[h.self].eof }

// ReceivedEOF tells whether the peer has sent EOF.
func (h *Half) ReceivedEOF() bool { return h.senders[h.peer].eof }
