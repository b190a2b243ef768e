package websock

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"syscall/js"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"smtpscope/protocol/tunnel"
)

const patience = 20 * time.Second

// fakeSource is a WebSocket whose far end is the test. It throws where browsers throw.
const fakeSource = `
return class WebSocket {
	static made = [];
	static onmade = null;
	constructor(url, protocols) {
		if (!/^wss?:/.test(url)) throw new SyntaxError("The URL '" + url + "' is invalid.");
		this.url = url; this.protocols = protocols; this.protocol = ""; this.readyState = 0;
		this.bufferedAmount = 0; this.binaryType = "blob"; this.closes = [];
		this.onopen = this.onmessage = this.onerror = this.onclose = null;
		WebSocket.made.push(this);
		queueMicrotask(() => WebSocket.onmade(this));
	}
	send(data) {
		if (this.readyState === 0) throw new Error("InvalidStateError: Still in CONNECTING state.");
		if (this.readyState !== 1) return;
		const copy = new Uint8Array(data); // what the caller does with its array later does not matter
		queueMicrotask(() => this.onsend(copy));
	}
	close(code, reason) {
		if (code !== undefined && code !== 1000 && (code < 3000 || code > 4999)) throw new Error("InvalidAccessError: " + code);
		this.closes.push(code);
		if (this.readyState < 2) this.readyState = 2;
	}
	fire(type, event) { const f = this["on" + type]; if (f) f.call(this, event); }
	open(protocol) { this.readyState = 1; this.protocol = protocol; this.fire("open", {}); }
	// One task of the event loop for every event, as in a browser.
	events(list) {
		const next = () => {
			if (list.length === 0) return;
			const e = list.shift();
			if (e.close) { this.readyState = 3; this.fire("error", {}); this.fire("close", e.close); }
			else this.fire("message", { data: e.data });
			setTimeout(next);
		};
		setTimeout(next);
	}
	// All events in one task, before anybody else runs.
	burst(list) {
		for (const e of list) {
			if (e.close) { this.readyState = 3; this.fire("error", {}); this.fire("close", e.close); }
			else this.fire("message", { data: e.data });
		}
	}
}`

// fake is one such WebSocket, with the proxy's half of the tunnel behind it.
type fake struct {
	t     *testing.T
	ws    js.Value
	half  *tunnel.Half
	sent  chan []byte // what the page sends
	event js.Value    // list under construction
}

// install replaces the global WebSocket for one test; the channel gets each one made.
func install(t *testing.T) <-chan *fake {
	class := js.Global().Get("Function").New(fakeSource).Invoke()
	old := js.Global().Get("WebSocket")
	js.Global().Set("WebSocket", class)
	made := make(chan *fake, 16)
	var funcs []js.Func
	onmade := js.FuncOf(func(_ js.Value, args []js.Value) any {
		f := &fake{t: t, ws: args[0], half: tunnel.NewProxy(), sent: make(chan []byte, 100_000), event: js.Global().Get("Array").New()}
		onsend := js.FuncOf(func(_ js.Value, args []js.Value) any {
			b := make([]byte, args[0].Length())
			js.CopyBytesToGo(b, args[0])
			f.sent <- b
			return nil
		})
		funcs = append(funcs, onsend)
		f.ws.Set("onsend", onsend)
		made <- f
		return nil
	})
	class.Set("onmade", onmade)
	t.Cleanup(func() {
		js.Global().Set("WebSocket", old)
		onmade.Release()
		for _, f := range funcs {
			f.Release()
		}
	})
	return made
}

func (f *fake) open() { f.ws.Call("open", tunnel.Subprotocol) }

func (f *fake) message(b []byte, err error) *fake {
	require.NoError(f.t, err)
	u := js.Global().Get("Uint8Array").New(len(b))
	js.CopyBytesToJS(u, b)
	f.event.Call("push", map[string]any{"data": u.Get("buffer")})
	return f
}

func (f *fake) status(s tunnel.Status) *fake { return f.message(f.half.AppendStatus(nil, s)) }
func (f *fake) packet(at int64, ip string) *fake {
	return f.message(f.half.AppendPacket(nil, tunnel.Packet{Time: time.Unix(at, 0), IP: []byte(ip)}))
}

func (f *fake) credit(n uint32) *fake     { return f.message(f.half.AppendCredit(nil, n)) }
func (f *fake) eof() *fake                { return f.message(f.half.AppendEOF(nil)) }
func (f *fake) err(e *tunnel.Error) *fake { return f.message(f.half.AppendError(nil, e)) }

func (f *fake) data(s string) *fake {
	b := append([]byte{0}, s...)
	return f.message(b, f.half.FrameData(b))
}

func (f *fake) closed(code int, reason string) *fake {
	f.event.Call("push", map[string]any{"close": map[string]any{"code": code, "reason": reason, "wasClean": code != 1006}})
	return f
}

// play lets what was listed happen, event by event; burst does it at once.
func (f *fake) play()  { f.run("events") }
func (f *fake) burst() { f.run("burst") }
func (f *fake) run(how string) {
	list := f.event
	f.event = js.Global().Get("Array").New()
	f.ws.Call(how, list)
}

// next is the next frame from the page, judged.
func (f *fake) next() tunnel.Frame {
	select {
	case b := <-f.sent:
		frame, err := f.half.Receive(b)
		require.NoError(f.t, err)
		return frame
	case <-time.After(patience):
		require.Fail(f.t, "the page sends nothing")
		panic("not reached")
	}
}

func (f *fake) closeCodes() (codes []int) {
	for i := range f.ws.Get("closes").Length() {
		code := -1
		if c := f.ws.Get("closes").Index(i); c.Type() == js.TypeNumber {
			code = c.Int()
		}
		codes = append(codes, code)
	}
	return codes
}

// attached are the handlers that the browser would still call.
func (f *fake) attached() (names []string) {
	for _, name := range []string{"onopen", "onmessage", "onerror", "onclose"} {
		if !f.ws.Get(name).IsNull() {
			names = append(names, name)
		}
	}
	return names
}

var wish = tunnel.Open{Host: "mx.example.net", Port: 25}

const url = "ws://proxy.test/tunnel"

type outcome struct {
	conn net.Conn
	err  error
}

// begin dials in the background.
func begin(ctx context.Context, report Report) <-chan outcome {
	done := make(chan outcome, 1)
	go func() {
		conn, err := Dial(ctx, url, wish, report)
		done <- outcome{conn, err}
	}()
	return done
}

// established is a connection with credit for what the page writes.
func established(t *testing.T, credit uint32) (net.Conn, *fake) {
	return establishedWith(t, credit, Report{})
}

func establishedWith(t *testing.T, credit uint32, report Report) (net.Conn, *fake) {
	made := install(t)
	done := begin(t.Context(), report)
	f := <-made
	f.open()
	require.Equal(t, tunnel.TypeOpen, f.next().Type)
	require.Equal(t, uint32(Window), f.next().Credit)
	f.status(tunnel.Status{Stage: tunnel.StageOpened, Address: "192.0.2.1:25", Local: "198.51.100.7:40000"})
	if credit > 0 {
		f.credit(credit)
	}
	f.play()
	o := <-done
	require.NoError(t, o.err)
	t.Cleanup(func() {
		assert.NoError(t, o.conn.Close())
		assert.Empty(t, f.attached(), "a handler is left behind")
		for _, code := range f.closeCodes() {
			assert.Equal(t, 1000, code)
		}
		o.conn.(*conn).mu.Lock()
		assert.Empty(t, o.conn.(*conn).events, "a js.Func is left behind")
		o.conn.(*conn).mu.Unlock()
	})
	return o.conn, f
}

var sample = tunnel.Status{Stage: tunnel.StageSample, Sample: &tunnel.Sample{State: "ESTABLISHED", RTT: time.Millisecond}}

func TestDial(t *testing.T) {
	made := install(t)
	var reported []string
	done := begin(t.Context(), Report{
		Status: func(s tunnel.Status) { reported = append(reported, string(s.Stage)) },
		Packet: func(p tunnel.Packet) { reported = append(reported, fmt.Sprintf("%s at %d", p.IP, p.Time.Unix())) },
	})
	f := <-made
	assert.Equal(t, url, f.ws.Get("url").String())
	assert.Equal(t, tunnel.Subprotocol, f.ws.Get("protocols").String())
	assert.Equal(t, "arraybuffer", f.ws.Get("binaryType").String())
	f.open()
	assert.Equal(t, &wish, f.next().Open)
	assert.Equal(t, uint32(Window), f.next().Credit)
	f.status(tunnel.Status{Stage: tunnel.StageResolving}).status(tunnel.Status{Stage: tunnel.StageDialing}).
		packet(1, "SYN").packet(2, "SYN, ACK").
		status(tunnel.Status{Stage: tunnel.StageOpened, Address: "192.0.2.1:25", Local: "198.51.100.7:40000"}).
		packet(3, "ACK").status(sample).data("220 ready\r\n")
	f.burst()
	o := <-done
	require.NoError(t, o.err)
	assert.Equal(t, []string{"resolving", "dialing", "SYN at 1", "SYN, ACK at 2", "opened", "ACK at 3", "sample"}, reported)
	assert.Equal(t, "192.0.2.1:25", o.conn.RemoteAddr().String())
	assert.Equal(t, "tcp", o.conn.RemoteAddr().Network())
	assert.Equal(t, "198.51.100.7:40000", o.conn.LocalAddr().String())
	b := make([]byte, 100)
	n, err := o.conn.Read(b)
	require.NoError(t, err)
	assert.Equal(t, "220 ready\r\n", string(b[:n]))
	reported = nil
	f.status(sample).packet(4, "PSH, ACK").data("x")
	f.play()
	_, err = o.conn.Read(b)
	require.NoError(t, err)
	assert.Equal(t, []string{"sample", "PSH, ACK at 4"}, reported, "they go on")
	require.NoError(t, o.conn.Close())
	assert.Equal(t, []int{1000}, f.closeCodes())
	assert.Empty(t, f.attached())
}

func TestDialFails(t *testing.T) {
	refused := &tunnel.Error{Code: tunnel.CodeRefused, Message: "mx.example.net refused the connection on port 25."}
	for _, tt := range []struct {
		name   string
		script func(*fake)
		says   string
		is     []error
		want   *tunnel.Error
	}{
		{"nobody there, or refused by HTTP", func(f *fake) { f.closed(1006, "").play() },
			"The tunnel at ws://proxy.test/tunnel could not be opened. Is smtpscope still running?", []error{tunnel.ErrLost}, nil},
		{"another subprotocol", func(f *fake) { f.ws.Call("open", "") }, "does not speak smtpscope.v1", []error{tunnel.ErrLost}, nil},
		{"ERROR and close", func(f *fake) { f.open(); f.read2(); f.err(refused).closed(1000, "refused").play() }, "", nil, refused},
		{"ERROR and close at once", func(f *fake) { f.open(); f.read2(); f.err(refused).closed(1000, "refused").burst() }, "", nil, refused},
		{"ERROR without close", func(f *fake) { f.open(); f.read2(); f.err(refused).play() }, "", nil, refused},
		{"lost while dialing", func(f *fake) {
			f.open()
			f.read2()
			f.status(tunnel.Status{Stage: tunnel.StageDialing}).closed(1006, "").play()
		},
			"lost before mx.example.net:25 was connected (close code 1006)", []error{tunnel.ErrLost, io.ErrUnexpectedEOF}, nil},
		{"text message", func(f *fake) { f.open(); f.event.Call("push", map[string]any{"data": "hello"}); f.play() },
			"", nil, &tunnel.Error{Code: tunnel.CodeBadRequest}},
		{"malformed frame", func(f *fake) { f.open(); f.message([]byte{42}, nil).play() }, "", nil, &tunnel.Error{Code: tunnel.CodeBadRequest}},
		{"message too long", func(f *fake) { f.open(); f.message(make([]byte, tunnel.MaxMessage+1), nil).play() }, "", nil, &tunnel.Error{Code: tunnel.CodeBadRequest}},
		{"DATA before opened", func(f *fake) { f.open(); f.message([]byte("\x04x"), nil).play() }, "", nil, &tunnel.Error{Code: tunnel.CodeBadRequest}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			made := install(t)
			done := begin(t.Context(), Report{})
			f := <-made
			tt.script(f)
			o := <-done
			require.Error(t, o.err)
			assert.Nil(t, o.conn)
			assert.Contains(t, o.err.Error(), tt.says)
			for _, target := range tt.is {
				assert.ErrorIs(t, o.err, target)
			}
			var got *tunnel.Error
			require.Equal(t, tt.want != nil, errors.As(o.err, &got))
			if tt.want != nil {
				assert.Equal(t, tt.want.Code, got.Code)
				if tt.want.Message != "" {
					assert.Equal(t, tt.want, got)
				}
				assert.NotErrorIs(t, o.err, tunnel.ErrLost)
			}
			assert.Empty(t, f.attached())
			for _, code := range f.closeCodes() {
				assert.Equal(t, 1000, code)
			}
		})
	}
}

// read2 takes OPEN and the first CREDIT.
func (f *fake) read2() { f.next(); f.next() }

func TestDialEndsWithItsContext(t *testing.T) {
	for _, tt := range []struct {
		name   string
		script func(*fake)
		says   string
	}{
		{"the socket never opens", func(*fake) {}, "The tunnel at ws://proxy.test/tunnel did not answer: is smtpscope still running?"},
		{"the proxy says nothing", func(f *fake) { f.open() }, "did not say in time whether mx.example.net:25 can be connected"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			made := install(t)
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
			defer cancel()
			done := begin(ctx, Report{})
			f := <-made
			tt.script(f)
			o := <-done
			assert.EqualError(t, o.err, o.err.Error())
			assert.Contains(t, o.err.Error(), tt.says)
			assert.ErrorIs(t, o.err, context.DeadlineExceeded)
			assert.ErrorIs(t, o.err, tunnel.ErrLost)
			assert.Equal(t, []int{1000}, f.closeCodes(), "no socket is left open")
			assert.Empty(t, f.attached())
		})
	}
	t.Run("called off", func(t *testing.T) {
		made := install(t)
		ctx, cancel := context.WithCancel(t.Context())
		done := begin(ctx, Report{})
		<-made
		cancel()
		o := <-done
		assert.ErrorIs(t, o.err, context.Canceled)
		assert.Contains(t, o.err.Error(), "called off")
		_, err := Dial(ctx, url, wish, Report{})
		assert.ErrorIs(t, err, context.Canceled)
		assert.Empty(t, made, "none is made in vain")
	})
	t.Run("not when it ends later", func(t *testing.T) {
		made := install(t)
		ctx, cancel := context.WithCancel(t.Context())
		done := begin(ctx, Report{})
		f := <-made
		f.open()
		f.read2()
		f.status(tunnel.Status{Stage: tunnel.StageOpened}).play()
		o := <-done
		require.NoError(t, o.err)
		cancel()
		f.data("still here").play()
		b := make([]byte, 100)
		n, err := o.conn.Read(b)
		require.NoError(t, err)
		assert.Equal(t, "still here", string(b[:n]))
		require.NoError(t, o.conn.Close())
	})
}

func TestDialRefusesAtOnce(t *testing.T) {
	made := install(t)
	_, err := Dial(t.Context(), "https://proxy.test/", wish, Report{})
	assert.ErrorContains(t, err, "The browser cannot open a tunnel to https://proxy.test/: The URL 'https://proxy.test/' is invalid.")
	assert.ErrorIs(t, err, tunnel.ErrLost)
	_, err = Dial(t.Context(), url, tunnel.Open{Host: "a", Port: 0}, Report{})
	var e *tunnel.Error
	require.ErrorAs(t, err, &e)
	assert.Equal(t, tunnel.CodeBadRequest, e.Code)
	assert.Contains(t, e.Message, "port 0")
	assert.Empty(t, made)
}

// Every message that came before the close is read, however slow the reader: 500 of 500.
func TestMessagesBeforeTheCloseAreAllRead(t *testing.T) {
	for _, how := range []string{"events", "burst"} {
		for _, ending := range []string{"EOF", "ERROR", "lost"} {
			t.Run(how+" "+ending, func(t *testing.T) {
				c, f := established(t, 0)
				var want bytes.Buffer
				for i := range 500 {
					line := fmt.Sprintf("250-line %d\r\n", i)
					want.WriteString(line)
					f.data(line)
				}
				switch ending {
				case "EOF":
					f.eof().closed(1000, "")
				case "ERROR":
					f.err(&tunnel.Error{Code: tunnel.CodeShutdown, Message: "The proxy is being stopped."}).closed(1001, "shutdown")
				case "lost":
					f.closed(1006, "")
				}
				f.run(how)
				var got bytes.Buffer
				b := make([]byte, 17)
				var err error
				for i := 0; err == nil; i++ {
					if i%100 == 0 {
						<-time.After(time.Millisecond) // slow
					}
					var n int
					n, err = c.Read(b)
					got.Write(b[:n])
				}
				assert.Equal(t, want.String(), got.String())
				_, again := c.Read(b)
				assert.Equal(t, err, again, "the end stays the end")
				_, werr := c.Write([]byte("x"))
				switch ending {
				case "EOF":
					assert.Equal(t, io.EOF, err)
					assert.ErrorIs(t, werr, io.ErrClosedPipe)
				case "ERROR":
					assert.Equal(t, &tunnel.Error{Code: tunnel.CodeShutdown, Message: "The proxy is being stopped."}, err)
					assert.Equal(t, err, werr)
				case "lost":
					assert.ErrorIs(t, err, io.ErrUnexpectedEOF)
					assert.ErrorIs(t, err, tunnel.ErrLost)
					assert.ErrorContains(t, err, "lost in mid-session (close code 1006)")
					assert.Equal(t, err, werr)
				}
			})
		}
	}
}

func TestCloseReasonIsKept(t *testing.T) {
	c, f := established(t, 0)
	f.closed(1011, "out of memory").play()
	_, err := c.Read(make([]byte, 1))
	assert.ErrorContains(t, err, `(close code 1011, "out of memory")`)
}

func TestReadingGrants(t *testing.T) {
	c, f := established(t, 0)
	b := make([]byte, 1000)
	read, granted := 0, 0
	for read < 3*Window {
		n := min(f.half.Sendable(), 10_000)
		require.Positive(t, n, "a reader that reads keeps the proxy sending")
		f.data(strings.Repeat("d", n)).play()
		for got := 0; got < n; {
			m, err := c.Read(b)
			require.NoError(t, err)
			got += m
		}
		read += n
		for len(f.sent) > 0 {
			granted += int(f.next().Credit)
		}
		require.LessOrEqual(t, granted, read, "no more than was read")
		require.Less(t, read-granted, Window/4+10_000)
	}
	// Nobody reads: the proxy may send one window, and a byte more is refused.
	for f.half.Sendable() > 0 {
		f.data(strings.Repeat("d", min(f.half.Sendable(), 50_000)))
	}
	f.message([]byte("\x04x"), nil).burst()
	var err error
	for err == nil {
		_, err = c.Read(b)
	}
	var e *tunnel.Error
	require.ErrorAs(t, err, &e)
	assert.Equal(t, tunnel.CodeCredit, e.Code)
	assert.Equal(t, []int{1000}, f.closeCodes())
}

func TestWritingWaitsForCredit(t *testing.T) {
	c, f := established(t, 10)
	text := bytes.Repeat([]byte("0123456789"), 30_000)
	wrote := make(chan error, 1)
	go func() {
		n, err := c.Write(text)
		if err == nil && n != len(text) {
			err = io.ErrShortWrite
		}
		wrote <- err
	}()
	var got bytes.Buffer
	got.Write(f.next().Data)
	assert.Equal(t, 10, got.Len())
	rng := rand.New(rand.NewPCG(1, 1))
	for got.Len() < len(text) {
		select {
		case err := <-wrote:
			require.Fail(t, "Write returned early", "%v", err)
		default:
		}
		credit := 1 + rng.IntN(100_000)
		f.credit(uint32(credit)).play()
		want := min(credit, len(text)-got.Len())
		for before := got.Len(); got.Len()-before < want; {
			frame := f.next() // Receive checks that it keeps to the credit
			assert.LessOrEqual(t, len(frame.Data), chunk)
			got.Write(frame.Data)
		}
	}
	require.NoError(t, <-wrote)
	assert.Equal(t, sha256.Sum256(text), sha256.Sum256(got.Bytes()))
}

func TestWritesDoNotMingle(t *testing.T) {
	c, f := established(t, 0)
	done := make(chan error, 2)
	for _, s := range []string{"aaaa", "bbbb"} {
		go func() {
			_, err := c.Write([]byte(s))
			done <- err
		}()
	}
	var got string
	for len(got) < 8 {
		f.credit(1).play()
		got += string(f.next().Data)
	}
	assert.Contains(t, []string{"aaaabbbb", "bbbbaaaa"}, got)
	assert.NoError(t, <-done)
	assert.NoError(t, <-done)
}

func TestWritingWaitsForTheBrowser(t *testing.T) {
	c, f := established(t, 1<<30)
	f.ws.Set("bufferedAmount", highWater+1)
	wrote := make(chan error, 1)
	go func() {
		_, err := c.Write([]byte("EHLO page.example\r\n"))
		wrote <- err
	}()
	select {
	case <-f.sent:
		require.Fail(t, "the browser is full")
	case <-time.After(10 * poll):
	}
	f.ws.Set("bufferedAmount", highWater)
	assert.Equal(t, "EHLO page.example\r\n", string(f.next().Data))
	assert.NoError(t, <-wrote)

	f.ws.Set("bufferedAmount", highWater+1)
	require.NoError(t, c.SetWriteDeadline(time.Now().Add(3*poll)))
	_, err := c.Write([]byte("x"))
	assert.ErrorIs(t, err, os.ErrDeadlineExceeded)
}

func TestDeadlines(t *testing.T) {
	c, f := established(t, 3)
	b := make([]byte, 10)
	soon := func() time.Time { return time.Now().Add(20 * time.Millisecond) }
	check := func(err error) {
		t.Helper()
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		var timeout net.Error
		require.ErrorAs(t, err, &timeout)
		assert.True(t, timeout.Timeout())
	}
	require.NoError(t, c.SetReadDeadline(soon()))
	_, err := c.Read(b)
	check(err)
	_, err = c.Read(b)
	check(err) // until it is set again
	f.data("220 ").play()
	require.NoError(t, c.SetReadDeadline(time.Time{}))
	n, err := c.Read(b)
	require.NoError(t, err)
	assert.Equal(t, "220 ", string(b[:n]))

	require.NoError(t, c.SetWriteDeadline(soon()))
	n, err = c.Write([]byte("QUIT\r\n"))
	check(err)
	assert.Equal(t, 3, n, "what went out before is counted")
	require.NoError(t, c.SetDeadline(time.Now().Add(-time.Second)))
	_, err = c.Read(b)
	check(err)
	_, err = c.Write(b)
	check(err)

	// One that is set while others wait counts for them; one that is put off does not strike.
	require.NoError(t, c.SetDeadline(time.Time{}))
	read, written := make(chan error, 1), make(chan error, 1)
	go func() { _, err := c.Read(b); read <- err }()
	go func() { _, err := c.Write(b); written <- err }()
	require.NoError(t, c.SetDeadline(soon()))
	check(<-read)
	check(<-written)
	require.NoError(t, c.SetReadDeadline(soon()))
	require.NoError(t, c.SetReadDeadline(time.Now().Add(time.Hour)))
	go func() { _, err := c.Read(b); read <- err }()
	select {
	case err := <-read:
		require.Fail(t, "the first deadline struck", "%v", err)
	case <-time.After(60 * time.Millisecond):
	}
	f.data("x").play()
	assert.NoError(t, <-read)
}

func TestCloseWrite(t *testing.T) {
	c, f := established(t, 100)
	half := c.(interface{ CloseWrite() error })
	_, err := c.Write([]byte("QUIT\r\n"))
	require.NoError(t, err)
	require.NoError(t, half.CloseWrite())
	require.NoError(t, half.CloseWrite(), "once more does no harm")
	assert.Equal(t, "QUIT\r\n", string(f.next().Data))
	assert.Equal(t, tunnel.TypeEOF, f.next().Type)
	assert.Empty(t, f.sent)
	_, err = c.Write([]byte("x"))
	assert.ErrorIs(t, err, io.ErrClosedPipe)
	f.data("221 bye\r\n").eof().closed(1000, "").play()
	b, err := io.ReadAll(c)
	require.NoError(t, err)
	assert.Equal(t, "221 bye\r\n", string(b))
}

func TestErrorInMidSession(t *testing.T) {
	c, f := established(t, 0)
	idle := &tunnel.Error{Code: tunnel.CodeTimeout, Message: "The session was idle."}
	written := make(chan error, 1)
	go func() { _, err := c.Write([]byte("NOOP\r\n")); written <- err }()
	f.data("250 ok\r\n").err(idle).closed(1000, "timeout").play()
	b, err := io.ReadAll(c)
	assert.Equal(t, "250 ok\r\n", string(b))
	assert.Equal(t, idle, err)
	assert.Equal(t, idle, <-written)
	assert.Equal(t, idle, c.(interface{ CloseWrite() error }).CloseWrite())
}

func TestClose(t *testing.T) {
	c, f := established(t, 0)
	f.data("unread").play()
	b := make([]byte, 10)
	_, err := c.Read(b[:1])
	require.NoError(t, err)
	require.NoError(t, c.SetDeadline(time.Now().Add(time.Hour)))
	written := make(chan error, 1)
	go func() { _, err := c.Write(b); written <- err }()
	require.NoError(t, c.Close())
	require.NoError(t, c.Close())
	assert.Equal(t, []int{1000}, f.closeCodes())
	assert.ErrorIs(t, <-written, net.ErrClosed)
	_, err = c.Read(b)
	assert.ErrorIs(t, err, net.ErrClosed)
	assert.ErrorIs(t, c.SetDeadline(time.Time{}), net.ErrClosed)
	assert.ErrorIs(t, c.(interface{ CloseWrite() error }).CloseWrite(), net.ErrClosed)
	assert.Empty(t, f.attached())
	f.data("late").closed(1000, "").burst() // must reach nobody
}

func TestCloseWakesAReader(t *testing.T) {
	c, _ := established(t, 0)
	read := make(chan error, 1)
	go func() { _, err := c.Read(make([]byte, 1)); read <- err }()
	require.NoError(t, c.Close())
	assert.ErrorIs(t, <-read, net.ErrClosed)
}

// What a proxy captured of the end comes before it closes the WebSocket, and Close waits for it, but not forever.
func TestCloseWaitsForTheLastPackets(t *testing.T) {
	for _, x := range []struct {
		name   string
		before func(f *fake) // what the proxy says
		after  func(f *fake) // and once this side is over
		want   []string
	}{
		{"they come", func(f *fake) { f.packet(1, "FIN").eof() }, func(f *fake) { f.packet(2, "ACK").packet(3, "FIN").closed(1000, "") }, []string{"FIN at 1", "ACK at 2", "FIN at 3"}},
		{"the target ends its side after this one", func(f *fake) { f.packet(1, "PSH") }, func(f *fake) { f.packet(2, "FIN").packet(3, "FIN").eof().closed(1000, "") }, []string{"PSH at 1", "FIN at 2", "FIN at 3"}},
		{"the tunnel breaks", func(f *fake) { f.packet(1, "FIN").eof() }, func(f *fake) { f.closed(1006, "") }, []string{"FIN at 1"}},
		{"they do not come", func(f *fake) { f.packet(1, "PSH") }, nil, []string{"PSH at 1"}},
	} {
		t.Run(x.name, func(t *testing.T) {
			var reported []string
			c, f := establishedWith(t, 0, Report{Packet: func(p tunnel.Packet) { reported = append(reported, fmt.Sprintf("%s at %d", p.IP, p.Time.Unix())) }})
			x.before(f.data("221 bye\r\n"))
			f.play()
			_, err := io.ReadFull(c, make([]byte, 9))
			require.NoError(t, err)
			require.Eventually(t, func() bool { return len(reported) > 0 }, patience, time.Millisecond)
			done := make(chan error, 1)
			go func() { done <- c.Close() }()
			assert.Equal(t, tunnel.TypeEOF, f.next().Type)
			if x.after != nil {
				assert.Empty(t, f.closeCodes(), "the proxy closes it")
				x.after(f)
				f.play()
			}
			select {
			case err := <-done:
				require.NoError(t, err)
			case <-time.After(patience):
				require.Fail(t, "Close hangs")
			}
			assert.Equal(t, x.want, reported)
			assert.Empty(t, f.attached())
			_, err = c.Read(make([]byte, 1))
			assert.ErrorIs(t, err, net.ErrClosed)
		})
	}
	t.Run("not where none are captured", func(t *testing.T) {
		c, f := established(t, 0)
		f.eof().play()
		_, err := c.Read(make([]byte, 1))
		require.Equal(t, io.EOF, err)
		require.NoError(t, c.Close())
		assert.Equal(t, []int{1000}, f.closeCodes())
		assert.Empty(t, f.sent, "and no EOF")
	})
}
