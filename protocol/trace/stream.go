package trace

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// How much of a long message a stream keeps. What lies between is an elision
// whose length follows from the offsets around it.
const (
	BulkHead = 64 << 10
	BulkTail = 16 << 10
)

// Stream is an append-only run of bytes. Offsets count every byte that was
// appended, also those that were elided. The zero value is an empty stream.
type Stream struct {
	size  int64
	parts []part

	bulk     bool
	bulkFrom int64  // offset at which the bulk began
	tail     []byte // the last bytes of the bulk beyond BulkHead, at most 2 x BulkTail
}

type part struct {
	Off   int64  `json:"off"`
	Bytes []byte `json:"bytes"`
}

// Len is the offset of the next byte.
func (s *Stream) Len() int64 { return s.size }

// append returns the chunk that became visible: all of p, or what of it the
// head of a bulk still had room for.
func (s *Stream) append(p []byte) part {
	kept := p
	if s.bulk {
		room := max(BulkHead-(s.size-s.bulkFrom), 0)
		kept = p[:min(int64(len(p)), room)]
		s.tail = append(s.tail, p[len(kept):]...)
		if len(s.tail) > 2*BulkTail {
			s.tail = append(s.tail[:0], s.tail[len(s.tail)-BulkTail:]...)
		}
	}
	chunk := part{s.size, kept}
	s.keep(chunk)
	s.size += int64(len(p))
	return chunk
}

func (s *Stream) keep(c part) {
	if len(c.Bytes) == 0 {
		return
	}
	if n := len(s.parts); n > 0 {
		if last := &s.parts[n-1]; last.Off+int64(len(last.Bytes)) == c.Off {
			last.Bytes = append(last.Bytes, c.Bytes...)
			return
		}
	}
	s.parts = append(s.parts, part{c.Off, bytes.Clone(c.Bytes)})
}

// skip lengthens the stream by bytes that are not kept.
func (s *Stream) skip(n int64) { s.size += n }

// setBulk begins or ends a long message; ending it returns the tail that became visible.
func (s *Stream) setBulk(on bool) part {
	if on == s.bulk {
		return part{}
	}
	s.bulk = on
	if on {
		s.bulkFrom = s.size
		return part{}
	}
	keep := s.tail[max(0, len(s.tail)-BulkTail):]
	if s.size-s.bulkFrom-BulkHead <= int64(len(s.tail)) {
		keep = s.tail // it never grew past its buffer: nothing is elided
	}
	chunk := part{s.size - int64(len(keep)), keep}
	s.keep(chunk)
	s.tail = nil
	return chunk
}

// Bytes returns the bytes of [off, off+n) that were kept, and whether that is all of them.
func (s *Stream) Bytes(off, n int64) ([]byte, bool) {
	var out []byte
	for _, p := range s.parts {
		from := max(off, p.Off)
		to := min(off+n, p.Off+int64(len(p.Bytes)))
		if from < to {
			out = append(out, p.Bytes[from-p.Off:to-p.Off]...)
		}
	}
	return out, int64(len(out)) == n
}

// mask overwrites [off, off+n) wherever it was kept.
func (s *Stream) mask(off, n int64) {
	for _, p := range s.parts {
		from := max(off, p.Off)
		to := min(off+n, p.Off+int64(len(p.Bytes)))
		for i := from; i < to; i++ {
			p.Bytes[i-p.Off] = '*'
		}
	}
}

// overwrite puts b at off, wherever bytes were kept.
func (s *Stream) overwrite(off int64, b []byte) {
	for _, p := range s.parts {
		from, to := max(off, p.Off), min(off+int64(len(b)), p.Off+int64(len(p.Bytes)))
		if from < to {
			copy(p.Bytes[from-p.Off:to-p.Off], b[from-off:to-off])
		}
	}
}

func (s *Stream) clone() *Stream {
	c := &Stream{size: s.size}
	for _, p := range s.parts {
		c.parts = append(c.parts, part{p.Off, bytes.Clone(p.Bytes)})
	}
	return c
}

type elided struct {
	Len   int64  `json:"len"`
	Parts []part `json:"parts"`
}

// MarshalJSON writes a base64 string when the stream is whole, otherwise its
// length and the parts that were kept.
func (s *Stream) MarshalJSON() ([]byte, error) {
	switch {
	case s.size == 0:
		return []byte(`""`), nil
	case len(s.parts) == 1 && int64(len(s.parts[0].Bytes)) == s.size:
		return json.Marshal(s.parts[0].Bytes)
	}
	return json.Marshal(elided{s.size, s.parts})
}

// UnmarshalJSON reads either form and checks that parts are in order and inside the stream.
func (s *Stream) UnmarshalJSON(b []byte) error {
	*s = Stream{}
	if len(b) > 0 && b[0] == '"' {
		var whole []byte
		if err := json.Unmarshal(b, &whole); err != nil {
			return err
		}
		s.append(whole)
		return nil
	}
	var e elided
	if err := decodeStrict(b, &e); err != nil {
		return err
	}
	var at int64
	for i, p := range e.Parts {
		if p.Off < at || len(p.Bytes) == 0 || int64(len(p.Bytes)) > e.Len-p.Off {
			return fmt.Errorf("parts[%d] is out of order or reaches beyond len", i)
		}
		at = p.Off + int64(len(p.Bytes))
	}
	if e.Len < 0 {
		return fmt.Errorf("len is negative")
	}
	s.size, s.parts = e.Len, e.Parts
	return nil
}
