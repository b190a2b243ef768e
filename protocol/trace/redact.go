package trace

import (
	"encoding/json"
	"slices"
)

// Redact returns a copy in which every secret byte reads '*'. Event texts and
// fields never hold secrets: whoever records masks them with Mask.
func (t *Trace) Redact() *Trace {
	c := *t
	c.Events = slices.Clone(t.Events)
	c.Streams = make(map[string]*Stream, len(t.Streams))
	for name, s := range t.Streams {
		c.Streams[name] = s.clone()
	}
	secrets := false
	for _, e := range c.Events {
		if e.At == nil {
			continue
		}
		for _, s := range e.Secret {
			c.mask(e.At.Stream, e.At.Off+s[0], s[1]-s[0])
			secrets = true
		}
	}
	if secrets {
		c.maskPackets()
	}
	return &c
}

// ipv4Header is as much of a packet as is no payload for certain.
const ipv4Header = 20

// maskPackets makes packets carry what the streams below them show now: a
// payload is copied from there. What carries something unknown loses its payload.
func (t *Trace) maskPackets() {
	for _, e := range t.Events {
		if e.At == nil || e.At.Stream != Packets {
			continue
		}
		var d PacketData
		if json.Unmarshal(e.Data, &d) != nil {
			continue
		}
		s, end := t.Streams[Packets], e.At.End()
		switch {
		case d.Carries != nil:
			from := t.Streams[d.Carries.Stream]
			if from == nil {
				continue
			}
			for _, p := range from.parts {
				a, b := max(p.Off, d.Carries.Off), min(p.Off+int64(len(p.Bytes)), d.Carries.End())
				if a < b {
					s.overwrite(end-d.Carries.Len+a-d.Carries.Off, p.Bytes[a-p.Off:b-p.Off])
				}
			}
		case e.Layer == LayerUDP || e.Layer == LayerIP:
			s.mask(e.At.Off+ipv4Header, e.At.Len-ipv4Header)
		case d.Segment != nil:
			s.mask(end-int64(d.Segment.Len), int64(d.Segment.Len))
		}
	}
}

// mask hides a range of a text stream, and of the wire stream below it as far as
// that carried the same bytes in clear.
func (t *Trace) mask(stream string, off, n int64) {
	hide := func(stream string, n int64) {
		if s := t.Streams[stream]; s != nil && n > 0 {
			s.mask(off, n)
		}
	}
	hide(stream, n)
	switch stream {
	case TextOut:
		hide(WireOut, min(n, t.clear(WireOut)-off))
	case TextIn:
		hide(WireIn, min(n, t.clear(WireIn)-off))
	}
}

// clear is the offset in a wire stream at which TLS starts, or its length.
func (t *Trace) clear(stream string) int64 {
	for _, e := range t.Events {
		if e.Layer == LayerTLS && e.Kind == KindStart && e.At != nil && e.At.Stream == stream {
			return e.At.Off
		}
	}
	if s := t.Streams[stream]; s != nil {
		return s.Len()
	}
	return 0
}

// Mask replaces the spans of a line by dots, eight for each whatever its length.
func Mask(line string, spans []Span) string {
	var out []byte
	at := int64(0)
	for _, s := range spans {
		from, to := min(max(s[0], at), int64(len(line))), min(s[1], int64(len(line)))
		if to <= from {
			continue
		}
		out = append(append(out, line[at:from]...), "••••••••"...)
		at = to
	}
	return string(append(out, line[at:]...))
}
