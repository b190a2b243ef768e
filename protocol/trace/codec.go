package trace

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// kinds are all the pairs of layer and kind, each with the type of its data;
// nil where an event of that kind has none.
var kinds = map[Layer]map[Kind]func() any{
	LayerTunnel: {
		KindResolving: data[TunnelData], KindAddresses: data[TunnelData], KindDialing: data[TunnelData],
		KindFailed: data[TunnelData], KindOpened: data[TunnelData],
	},
	LayerDNS: {KindQuery: data[PacketData], KindAnswer: data[PacketData], KindLookup: data[LookupData], KindPolicy: data[PolicyData]},
	LayerUDP: {KindDatagram: data[PacketData]},
	LayerTCP: {KindSegment: data[PacketData], KindAnalysis: data[AnalysisData], KindState: data[StateData], KindSample: data[SampleData]},
	LayerIP:  {KindPacket: data[PacketData]},
	LayerMail: {
		KindQueued: data[MailData], KindAttempt: data[MailData], KindDeferred: data[MailData],
		KindRelayed: data[MailData], KindBounced: data[MailData], KindDelivered: data[MailData],
	},
	LayerTLS: {
		KindStart: nil, KindRecord: data[RecordData], KindHandshake: data[HandshakeData], KindAlert: data[HandshakeData],
		KindDecrypted: data[DecryptedData],
	},
	LayerSMTP: {
		KindCommand: data[CommandData], KindResponse: data[CommandData], KindMessage: data[MessageData],
		KindReply: data[ReplyData], KindClosed: nil, KindDesync: nil,
	},
	LayerApp: {
		KindPause: data[PauseData], KindResume: data[PauseData], KindNote: nil, KindError: data[ErrorInfo],
	},
}

func data[T any]() any { return new(T) }

// isStream tells whether there can be a stream of that name.
func isStream(name string) bool {
	switch name {
	case WireOut, WireIn, TextOut, TextIn, TLSOut, TLSIn, Packets, Mail:
		return true
	}
	for _, text := range []string{TextOut, TextIn} {
		if number, ok := strings.CutPrefix(name, text+"."); ok {
			hop, err := strconv.Atoi(number)
			return err == nil && hop > 0 && name == Hop(text, hop)
		}
	}
	return false
}

// Decode reads a saved trace. It is strict: an unknown key, kind, source or
// version, an event out of order or a range outside its stream is an error that
// says where.
func Decode(b []byte) (*Trace, error) {
	var t Trace
	if err := decodeStrict(b, &t); err != nil {
		return nil, fmt.Errorf("trace: %w", err)
	}
	if t.V != Version {
		return nil, fmt.Errorf("trace: v is %d, this program reads version %d", t.V, Version)
	}
	if !slices.Contains([]Mode{ModeLab, ModePractice, ModeLive}, t.Meta.Mode) {
		return nil, fmt.Errorf("trace: meta.mode: unknown mode %q", t.Meta.Mode)
	}
	for name, s := range t.Streams {
		if !isStream(name) || s == nil {
			return nil, fmt.Errorf("trace: streams: unknown or empty stream %q", name)
		}
	}
	for i := range t.Events {
		if err := t.check(i); err != nil {
			return nil, fmt.Errorf("trace: events[%d]: %w", i, err)
		}
	}
	for i := range t.Findings {
		if err := t.Findings[i].check(len(t.Events)); err != nil {
			return nil, fmt.Errorf("trace: findings[%d]: %w", i, err)
		}
	}
	return &t, nil
}

func (f *Finding) check(events int) error {
	if !slices.Contains([]Severity{Chat, Note, Warn, Error}, f.Severity) {
		return fmt.Errorf("unknown severity %q", f.Severity)
	}
	if f.ID == "" || len(f.Events) == 0 {
		return errors.New("a finding has an id and at least one event")
	}
	for _, n := range f.Events {
		if n < 0 || n >= events {
			return fmt.Errorf("events: there is no event %d", n)
		}
	}
	return nil
}

func (t *Trace) check(i int) error {
	e := &t.Events[i]
	if e.N != i {
		return fmt.Errorf("n is %d, its position is %d", e.N, i)
	}
	if e.T < 0 {
		return errors.New("t is negative")
	}
	newData, ok := kinds[e.Layer][e.Kind]
	if !ok {
		return fmt.Errorf("unknown kind %q in layer %q", e.Kind, e.Layer)
	}
	if !slices.Contains([]Source{Observed, Measured, Captured, Simulated, Derived}, e.Src) {
		return fmt.Errorf("unknown src %q", e.Src)
	}
	if !slices.Contains([]Direction{"", Out, In}, e.Dir) {
		return fmt.Errorf("unknown dir %q", e.Dir)
	}
	switch {
	case newData == nil && e.Data != nil:
		return fmt.Errorf("data: %s/%s has none", e.Layer, e.Kind)
	case newData != nil:
		d := newData()
		if err := decodeStrict(e.Data, d); err != nil {
			return fmt.Errorf("data: %w", err)
		}
		if p, ok := d.(*PacketData); ok && !p.Fate.fits(e.Src) {
			return fmt.Errorf("data: fate %q of a packet that is %s", p.Fate, e.Src)
		}
	}
	size := int64(0)
	if e.At != nil {
		s, ok := t.Streams[e.At.Stream]
		if !ok {
			return fmt.Errorf("at: no stream %q", e.At.Stream)
		}
		if !within(e.At.Off, e.At.Len, s.Len()) {
			return fmt.Errorf("at: bytes %d to %d are outside %s, which has %d", e.At.Off, e.At.End(), e.At.Stream, s.Len())
		}
		size = e.At.Len
	}
	for j, f := range e.Fields {
		if !within(f.Off, f.Len, size) {
			return fmt.Errorf("fields[%d]: outside the event's bytes", j)
		}
	}
	for j, s := range e.Secret {
		if !within(s[0], s[1]-s[0], size) {
			return fmt.Errorf("secret[%d]: outside the event's bytes", j)
		}
	}
	return nil
}

// fits tells whether it is known what became of a packet exactly where that can be known.
func (f Fate) fits(s Source) bool {
	if s == Captured {
		return f == ""
	}
	return slices.Contains([]Fate{FateDelivered, FateLost, FateReordered, FateCorrupted, FateDuplicated}, f)
}

func within(off, n, size int64) bool { return off >= 0 && n >= 0 && off <= size && n <= size-off }

func decodeStrict(b []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("something follows the end of the JSON value")
	}
	return nil
}
