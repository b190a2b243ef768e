package trace

import (
	"sync"
	"time"
)

// Sink hears what is recorded, as it is recorded and in that order. Calls come
// one at a time; b is only valid during the call.
type Sink interface {
	Event(Event)
	Bytes(stream string, off int64, b []byte)
}

// Recorder appends to a Trace. It may be used from several goroutines.
type Recorder struct {
	mu    sync.Mutex
	trace *Trace
	now   func() time.Time
	start time.Time
	sink  Sink
}

// NewRecorder starts a trace at now(). A nil sink is allowed.
func NewRecorder(meta Meta, now func() time.Time, sink Sink) *Recorder {
	r := &Recorder{now: now, start: now(), sink: sink}
	meta.Started = r.start.UTC()
	r.trace = &Trace{V: Version, Meta: meta, Events: []Event{}, Streams: map[string]*Stream{
		WireOut: {}, WireIn: {}, TextOut: {}, TextIn: {},
	}}
	return r
}

// stream finds a stream, or begins one.
func (r *Recorder) stream(name string) *Stream {
	s := r.trace.Streams[name]
	if s == nil {
		s = &Stream{}
		r.trace.Streams[name] = s
	}
	return s
}

// Meta is the meta of the trace.
func (r *Recorder) Meta() Meta { return r.trace.Meta }

// Elapsed is the time since the trace began.
func (r *Recorder) Elapsed() time.Duration { return r.now().Sub(r.start) }

// Add appends an event, fills in its N and T, and returns N.
func (r *Recorder) Add(e Event) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	e.N, e.T = len(r.trace.Events), int64(r.Elapsed())
	r.trace.Events = append(r.trace.Events, e)
	if r.sink != nil {
		r.sink.Event(e)
	}
	return e.N
}

// Append adds bytes to a stream and returns where they are.
func (r *Recorder) Append(stream string, b []byte) Range {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.stream(stream)
	at := Range{stream, s.Len(), int64(len(b))}
	r.show(stream, s.append(b))
	return at
}

// Packet adds a packet to the stream of packets, or only its head where enough
// of them have been kept.
func (r *Recorder) Packet(b []byte) Range {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.stream(Packets)
	at := Range{Packets, s.Len(), int64(len(b))}
	kept := b
	if at.Off >= PacketsKept {
		kept = b[:min(len(b), PacketHead)]
	}
	r.show(Packets, s.append(kept))
	s.skip(int64(len(b) - len(kept)))
	return at
}

// Skip lengthens a stream by bytes that are not kept.
func (r *Recorder) Skip(stream string, n int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stream(stream).skip(n)
}

// Bulk tells that the bytes appended to a stream from now on belong to a long
// message, of which only head and tail are kept, or no longer do.
func (r *Recorder) Bulk(stream string, on bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.show(stream, r.stream(stream).setBulk(on))
}

func (r *Recorder) show(stream string, c part) {
	if r.sink != nil && len(c.Bytes) > 0 {
		r.sink.Bytes(stream, c.Off, c.Bytes)
	}
}

// Len is the number of bytes that were appended to a stream.
func (r *Recorder) Len(stream string) int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.stream(stream).Len()
}

// Bytes returns a copy of what a range of the streams kept.
func (r *Recorder) Bytes(at Range) []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	b, _ := r.stream(at.Stream).Bytes(at.Off, at.Len)
	return b
}

// Finish sets the result and returns the trace. What is recorded after it
// happened when the session was over: the lab's servers work on.
func (r *Recorder) Finish(result Result) *Trace {
	r.mu.Lock()
	defer r.mu.Unlock()
	result.Elapsed = r.Elapsed()
	if result.Messages == nil {
		result.Messages = []MessageResult{}
	}
	r.trace.Result = &result
	return r.trace
}
