//go:build js && wasm

package bridge

import (
	"encoding/json"
	"runtime"
	"sync"
	"syscall/js"

	"smtpscope/protocol/trace"
)

// Message is what the page sent.
type Message struct{ value js.Value }

// Type says what the message asks for.
func (m Message) Type() string { return m.Text("type") }

// Text is a property of the message, "" when it is absent or no text.
func (m Message) Text(key string) string {
	if v := m.value.Get(key); v.Type() == js.TypeString {
		return v.String()
	}
	return ""
}

// Files are the octets that came beside the message's texts, which JSON would carry
// as base64.
func (m Message) Files() [][]byte {
	list := m.value.Get("files")
	if list.IsUndefined() {
		return nil
	}
	files := make([][]byte, list.Length())
	for i := range files {
		files[i] = make([]byte, list.Index(i).Get("byteLength").Int())
		js.CopyBytesToGo(files[i], list.Index(i))
	}
	return files
}

// Listen hands every message of the page to receive, one at a time and in order,
// and tells the page that it may send them. receive must not block.
func Listen(receive func(Message)) {
	js.Global().Set("smtpscopeReceive", js.FuncOf(func(_ js.Value, args []js.Value) any {
		receive(Message{args[0]})
		return nil
	}))
	Post("ready", nil)
}

// Post sends a message to the page. Values are what js.ValueOf takes.
func Post(typ string, values map[string]any) {
	js.Global().Call("postMessage", object(typ, values))
}

// PostJSON sends a message with one value, as the text of its JSON.
func PostJSON(typ, key string, value any) {
	b, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	Post(typ, map[string]any{key: string(b)})
}

// Done tells the page that a session has ended, what came of it, and the secrets
// of its TLS in NSS key log format, which are no part of the trace.
func Done(t *trace.Trace, keys []byte) {
	result, err := json.Marshal(t.Result)
	if err != nil {
		panic(err)
	}
	findings, err := json.Marshal(t.Findings)
	if err != nil {
		panic(err)
	}
	Post("done", map[string]any{"result": string(result), "findings": string(findings), "keys": string(keys)})
}

func object(typ string, values map[string]any) js.Value {
	o := js.Global().Get("Object").New()
	o.Set("type", typ)
	for k, v := range values {
		o.Set(k, v)
	}
	return o
}

// Sink is a trace.Sink that posts to the page. What is recorded without a wait
// in between travels as one message, because a message costs more than an event.
// The zero value posts when it is flushed, and only then.
type Sink struct {
	mu     sync.Mutex
	events []trace.Event
	bytes  []chunk
	dirty  chan struct{}
}

type chunk struct {
	stream string
	off    int64
	data   js.Value // Uint8Array
}

// NewSink returns a sink that posts from a goroutine of its own.
func NewSink() *Sink {
	s := &Sink{dirty: make(chan struct{}, 1)}
	go func() {
		for range s.dirty {
			runtime.Gosched() // the session's next command goes first
			s.Flush()
		}
	}()
	return s
}

// Event implements trace.Sink.
func (s *Sink) Event(e trace.Event) {
	s.mu.Lock()
	s.events = append(s.events, e)
	s.mu.Unlock()
	s.wake()
}

// Bytes implements trace.Sink.
func (s *Sink) Bytes(stream string, off int64, b []byte) {
	a := js.Global().Get("Uint8Array").New(len(b))
	js.CopyBytesToJS(a, b)
	s.mu.Lock()
	s.bytes = append(s.bytes, chunk{stream, off, a})
	s.mu.Unlock()
	s.wake()
}

func (s *Sink) wake() {
	select {
	case s.dirty <- struct{}{}:
	default:
	}
}

// Flush posts what is waiting.
func (s *Sink) Flush() {
	s.mu.Lock()
	events, bytes := s.events, s.bytes
	s.events, s.bytes = nil, nil
	s.mu.Unlock()
	if len(events) == 0 && len(bytes) == 0 {
		return
	}
	text := []byte("[]")
	if len(events) > 0 {
		var err error
		if text, err = json.Marshal(events); err != nil {
			panic(err)
		}
	}
	streams, transfer := js.Global().Get("Array").New(), js.Global().Get("Array").New()
	for _, c := range bytes {
		o := js.Global().Get("Object").New()
		o.Set("name", c.stream)
		o.Set("off", c.off)
		o.Set("bytes", c.data)
		streams.Call("push", o)
		transfer.Call("push", c.data.Get("buffer"))
	}
	js.Global().Call("postMessage", object("batch", map[string]any{"events": string(text), "streams": streams}), transfer)
}
