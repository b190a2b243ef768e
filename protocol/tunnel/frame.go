package tunnel

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Type is the first byte of a message.
type Type byte

const (
	TypeOpen   Type = 1
	TypeStatus Type = 2
	TypePacket Type = 3
	TypeData   Type = 4
	TypeCredit Type = 5
	TypeEOF    Type = 6
	TypeError  Type = 7
)

func (t Type) String() string {
	names := [...]string{TypeOpen: "OPEN", TypeStatus: "STATUS", TypePacket: "PACKET", TypeData: "DATA",
		TypeCredit: "CREDIT", TypeEOF: "EOF", TypeError: "ERROR"}
	if t >= TypeOpen && int(t) < len(names) {
		return names[t]
	}
	return fmt.Sprintf("type %d", byte(t))
}

// Frame is one parsed message. Of the other fields only the one that Type names is set.
type Frame struct {
	Type   Type
	Open   *Open
	Status *Status
	Packet *Packet
	Data   []byte // part of the message that was parsed, not a copy
	Credit uint32
	Error  *Error
}

// What Parse can find wrong, to be matched with errors.Is.
var (
	ErrEmpty       = errors.New("empty message")
	ErrUnknownType = errors.New("unknown frame type")
	ErrLength      = errors.New("wrong length")
	ErrTooLong     = errors.New("too long")
	ErrJSON        = errors.New("not the JSON expected")
	ErrValue       = errors.New("value not allowed")
)

const packetHeader = 8 // the time

// Parse reads one message. Data and Packet.IP alias it.
func Parse(message []byte) (Frame, error) {
	if len(message) == 0 {
		return Frame{}, ErrEmpty
	}
	f := Frame{Type: Type(message[0])}
	p := message[1:]
	var err error
	switch f.Type {
	case TypeOpen:
		f.Open = new(Open)
		if err = parseJSON(p, f.Open, "host", "port", "token", "wants"); err == nil {
			err = f.Open.check()
		}
	case TypeStatus:
		f.Status = new(Status)
		if err = parseJSON(p, f.Status, "stage", "host", "port", "addresses", "address", "local", "resolve", "connect", "problem", "session", "sample"); err == nil {
			err = f.Status.check()
		}
	case TypePacket:
		switch {
		case len(p) <= packetHeader:
			err = fmt.Errorf("%w: %d bytes, need more than %d", ErrLength, len(p), packetHeader)
		case len(p) > packetHeader+MaxPacket:
			err = fmt.Errorf("%w: %d bytes, at most %d", ErrTooLong, len(p), packetHeader+MaxPacket)
		default:
			f.Packet = &Packet{Time: time.Unix(0, int64(binary.BigEndian.Uint64(p))), IP: p[packetHeader:]}
		}
	case TypeData:
		f.Data, err = p, checkData(len(p))
	case TypeCredit:
		if len(p) != 4 {
			err = fmt.Errorf("%w: %d bytes, need 4", ErrLength, len(p))
		} else if f.Credit = binary.BigEndian.Uint32(p); f.Credit == 0 {
			err = fmt.Errorf("%w: a credit of 0", ErrValue)
		}
	case TypeEOF:
		if len(p) != 0 {
			err = fmt.Errorf("%w: %d bytes, need none", ErrLength, len(p))
		}
	case TypeError:
		f.Error = new(Error)
		if err = parseJSON(p, f.Error, "code", "message", "rule", "retryAfter"); err == nil {
			err = f.Error.check()
		}
	default:
		return Frame{}, fmt.Errorf("%w %d", ErrUnknownType, message[0])
	}
	if err != nil {
		return Frame{}, fmt.Errorf("%s frame: %w", f.Type, err)
	}
	return f, nil
}

func checkData(n int) error {
	switch {
	case n <= 0:
		return fmt.Errorf("%w: no bytes", ErrLength)
	case n > MaxData:
		return fmt.Errorf("%w: %d bytes, at most %d", ErrTooLong, n, MaxData)
	}
	return nil
}

func (o *Open) check() error {
	switch {
	case o.Host == "":
		return fmt.Errorf("%w: no host", ErrValue)
	case len(o.Host) > MaxHost:
		return fmt.Errorf("%w: host of %d bytes, at most %d", ErrTooLong, len(o.Host), MaxHost)
	case !utf8.ValidString(o.Host):
		return fmt.Errorf("%w: host is not UTF-8", ErrValue)
	case strings.ContainsFunc(o.Host, func(r rune) bool { return !unicode.IsGraphic(r) || unicode.IsSpace(r) }):
		return fmt.Errorf("%w: host %q has spaces or control characters", ErrValue, o.Host)
	case o.Port < 1 || o.Port > 65535:
		return fmt.Errorf("%w: port %d, must be 1 to 65535", ErrValue, o.Port)
	}
	for _, want := range o.Wants {
		if want != WantTCPInfo && want != WantPackets {
			return fmt.Errorf("%w: wants %q, must be %q or %q", ErrValue, want, WantTCPInfo, WantPackets)
		}
	}
	return nil
}

func (s *Status) check() error {
	switch s.Stage {
	case StageResolving, StageAddresses, StageDialing, StageFailed, StageOpened, StageSample:
	default:
		return fmt.Errorf("%w: stage %q", ErrValue, s.Stage)
	}
	switch {
	case (s.Sample != nil) != (s.Stage == StageSample):
		return fmt.Errorf("%w: stage %q, has a sample: %t", ErrValue, s.Stage, s.Sample != nil)
	case s.Sample != nil && s.Sample.State == "":
		return fmt.Errorf("%w: sample without a state", ErrValue)
	}
	return nil
}

func (e *Error) check() error {
	switch {
	case !codes[e.Code]:
		return fmt.Errorf("%w: code %q", ErrValue, e.Code)
	case e.RetryAfter < 0:
		return fmt.Errorf("%w: retryAfter %d", ErrValue, e.RetryAfter)
	}
	return nil
}

// UnmarshalJSON is as strict as Parse.
func (s *Sample) UnmarshalJSON(b []byte) error {
	type plain Sample
	return parseJSON(b, (*plain)(s), "state", "rtt", "rttvar", "minRTT", "rto", "cwnd", "ssthresh", "mss", "unacked", "inFlight", "retransmits",
		"deliveryRate", "sendWindow", "receiveWindow", "sendScale", "receiveScale")
}

// parseJSON is stricter than encoding/json: the object's keys must be among those
// given, letter for letter, and none may come twice.
func parseJSON(b []byte, into any, keys ...string) error {
	if len(b) > MaxJSON {
		return fmt.Errorf("%w: JSON of %d bytes, at most %d", ErrTooLong, len(b), MaxJSON)
	}
	if !utf8.Valid(b) {
		return fmt.Errorf("%w: not UTF-8", ErrJSON)
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	if token, err := dec.Token(); err != nil || token != json.Delim('{') {
		return fmt.Errorf("%w: not an object", ErrJSON)
	}
	seen := make(map[string]bool)
	for dec.More() {
		token, err := dec.Token()
		if err != nil {
			return fmt.Errorf("%w: %v", ErrJSON, err)
		}
		key, _ := token.(string)
		if !slices.Contains(keys, key) {
			return fmt.Errorf("%w: unknown key %q", ErrJSON, key)
		}
		if seen[key] {
			return fmt.Errorf("%w: key %q twice", ErrJSON, key)
		}
		seen[key] = true
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return fmt.Errorf("%w: %v", ErrJSON, err)
		}
		if string(value) == "null" {
			return fmt.Errorf("%w: key %q is null", ErrJSON, key)
		}
	}
	// Unmarshal also finds what follows the object.
	if err := json.Unmarshal(b, into); err != nil {
		return fmt.Errorf("%w: %v", ErrJSON, err)
	}
	return nil
}

func appendJSON(dst []byte, t Type, v any) ([]byte, error) {
	b, err := json.Marshal(v)
	if err == nil && len(b) > MaxJSON {
		err = fmt.Errorf("%w: JSON of %d bytes, at most %d", ErrTooLong, len(b), MaxJSON)
	}
	if err != nil {
		return dst, fmt.Errorf("%s frame: %w", t, err)
	}
	return append(append(dst, byte(t)), b...), nil
}

func appendOpen(dst []byte, o Open) ([]byte, error) {
	if err := o.check(); err != nil {
		return dst, fmt.Errorf("%s frame: %w", TypeOpen, err)
	}
	return appendJSON(dst, TypeOpen, o)
}

// appendStatus names the first MaxAddresses addresses only, so that a name with
// very many still gives a STATUS that fits.
func appendStatus(dst []byte, s Status) ([]byte, error) {
	if err := s.check(); err != nil {
		return dst, fmt.Errorf("%s frame: %w", TypeStatus, err)
	}
	s.Addresses = s.Addresses[:min(len(s.Addresses), MaxAddresses)]
	s.Problem = shorten(s.Problem, MaxText)
	return appendJSON(dst, TypeStatus, s)
}

func appendPacket(dst []byte, p Packet) ([]byte, error) {
	if len(p.IP) == 0 || len(p.IP) > MaxPacket {
		return dst, fmt.Errorf("%s frame: %w: packet of %d bytes, must be 1 to %d", TypePacket, ErrLength, len(p.IP), MaxPacket)
	}
	dst = append(dst, byte(TypePacket))
	dst = binary.BigEndian.AppendUint64(dst, uint64(p.Time.UnixNano()))
	return append(dst, p.IP...), nil
}

func appendCredit(dst []byte, n uint32) ([]byte, error) {
	if n == 0 {
		return dst, fmt.Errorf("%s frame: %w: a credit of 0", TypeCredit, ErrValue)
	}
	return binary.BigEndian.AppendUint32(append(dst, byte(TypeCredit)), n), nil
}

// appendError shortens texts that would not fit: an ERROR must never fail to be sent.
func appendError(dst []byte, e *Error) ([]byte, error) {
	short := *e
	short.Message, short.Rule = shorten(e.Message, MaxText), shorten(e.Rule, MaxRule)
	if err := short.check(); err != nil {
		return dst, fmt.Errorf("%s frame: %w", TypeError, err)
	}
	return appendJSON(dst, TypeError, &short)
}

func shorten(s string, most int) string {
	if len(s) <= most {
		return s
	}
	const ellipsis = "…"
	n := most - len(ellipsis)
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + ellipsis
}
