package tunnel

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func askedPage() *Half {
	h := NewPage()
	must(h.AppendOpen(nil, Open{Host: "mx.example.net", Port: 25}))
	return h
}

func askedProxy() *Half {
	h := NewProxy()
	if _, err := h.Receive([]byte("\x01" + `{"host":"mx.example.net","port":25}`)); err != nil {
		panic(err)
	}
	return h
}

func openedProxy() *Half {
	h := askedProxy()
	must(h.AppendStatus(nil, Status{Stage: StageOpened}))
	return h
}

func openedPage() *Half {
	h := askedPage()
	if _, err := h.Receive([]byte("\x02" + `{"stage":"opened"}`)); err != nil {
		panic(err)
	}
	return h
}

func must(b []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return b
}

func mustCredit(t testing.TB, n uint32) []byte {
	b, err := appendCredit(nil, n)
	require.NoError(t, err)
	return b
}

// step is one frame in the life of a half, sent or received.
type step struct {
	name string
	do   func(*Half) error
}

func sends(name string, build func(*Half) ([]byte, error)) step {
	return step{"send " + name, func(h *Half) error { _, err := build(h); return err }}
}

func gets(name, message string) step {
	return step{"get " + name, func(h *Half) error { _, err := h.Receive([]byte(message)); return err }}
}

var (
	sendOpen   = sends("OPEN", func(h *Half) ([]byte, error) { return h.AppendOpen(nil, Open{Host: "a", Port: 25}) })
	sendSample = sends("STATUS sample", func(h *Half) ([]byte, error) {
		return h.AppendStatus(nil, Status{Stage: StageSample, Sample: &Sample{State: "ESTABLISHED"}})
	})
	sendStatus = func(s Stage) step {
		return sends("STATUS "+string(s), func(h *Half) ([]byte, error) { return h.AppendStatus(nil, Status{Stage: s}) })
	}
	sendPacket = sends("PACKET", func(h *Half) ([]byte, error) { return h.AppendPacket(nil, Packet{IP: []byte("ip")}) })
	sendData   = func(n int) step {
		return sends("DATA", func(h *Half) ([]byte, error) { return nil, h.FrameData(make([]byte, 1+n)) })
	}
	sendCredit = func(n uint32) step {
		return sends("CREDIT", func(h *Half) ([]byte, error) { return h.AppendCredit(nil, n) })
	}
	sendEOF   = sends("EOF", func(h *Half) ([]byte, error) { return h.AppendEOF(nil) })
	sendError = sends("ERROR", func(h *Half) ([]byte, error) { return h.AppendError(nil, &Error{Code: CodeRefused}) })
	getOpen   = gets("OPEN", "\x01"+`{"host":"a","port":25}`)
	getStatus = func(s Stage) step { return gets("STATUS "+string(s), "\x02"+`{"stage":"`+string(s)+`"}`) }
	getSample = gets("STATUS sample", "\x02"+`{"stage":"sample","sample":{"state":"ESTABLISHED"}}`)
	getPacket = gets("PACKET", "\x0312345678ip")
	getData   = func(n int) step { return gets("DATA", "\x04"+string(make([]byte, n))) }
	getCredit = func(n uint32) step {
		return gets("CREDIT", string(binary.BigEndian.AppendUint32([]byte{byte(TypeCredit)}, n)))
	}
	getEOF   = gets("EOF", "\x06")
	getError = gets("ERROR", "\x07"+`{"code":"refused","message":"m"}`)
)

func TestOrderAndCredit(t *testing.T) {
	for _, tt := range []struct {
		name  string
		half  func() *Half
		steps []step
		want  error // of the last step; the others must be fine
	}{
		{"a page's life", NewPage, []step{sendOpen, sendCredit(100), getStatus(StageResolving), getStatus(StageAddresses), getStatus(StageDialing),
			getStatus(StageDialing), getPacket, getStatus(StageOpened), getCredit(50), getData(60), sendData(50), sendCredit(10), getData(50),
			getSample, sendEOF, sendCredit(10), getData(10), getEOF, getCredit(5), getSample, sendCredit(5), getError}, nil},
		{"a proxy's life", NewProxy, []step{getOpen, getCredit(100), sendStatus(StageResolving), sendStatus(StageDialing), sendPacket, sendStatus(StageOpened),
			sendCredit(10), getData(10), sendData(100), sendEOF, sendCredit(10), getData(9), getEOF, sendSample, sendError}, nil},
		{"page ends its side before the proxy has dialed", NewPage, []step{sendOpen, sendEOF, getStatus(StageOpened), getCredit(1)}, nil},
		{"proxy refuses before OPEN", NewProxy, []step{sendError}, nil},
		{"page is refused before OPEN", NewPage, []step{getError}, nil},

		{"page sends DATA first", NewPage, []step{sendData(1)}, ErrOrder},
		{"page grants first", NewPage, []step{sendCredit(1)}, ErrOrder},
		{"page ends first", NewPage, []step{sendEOF}, ErrOrder},
		{"page opens twice", NewPage, []step{sendOpen, sendOpen}, ErrOrder},
		{"page sends STATUS", NewPage, []step{sendOpen, sendStatus(StageOpened)}, ErrOrder},
		{"page sends PACKET", NewPage, []step{sendOpen, sendPacket}, ErrOrder},
		{"page sends ERROR", NewPage, []step{sendOpen, sendError}, ErrOrder},
		{"page sends without credit", NewPage, []step{sendOpen, getStatus(StageOpened), sendData(1)}, ErrCredit},
		{"page sends more than credit", NewPage, []step{sendOpen, getStatus(StageOpened), getCredit(10), sendData(4), sendData(7)}, ErrCredit},
		{"page sends after EOF", NewPage, []step{sendOpen, getStatus(StageOpened), getCredit(10), sendEOF, sendData(1)}, ErrOrder},
		{"page ends twice", NewPage, []step{sendOpen, sendEOF, sendEOF}, ErrOrder},
		{"page sends after ERROR", NewPage, []step{sendOpen, getStatus(StageOpened), getCredit(10), getError, sendData(1)}, ErrOrder},
		{"page gets after ERROR", NewPage, []step{sendOpen, getStatus(StageOpened), getError, getEOF}, ErrOrder},
		{"page gets a second ERROR", NewPage, []step{getError, getError}, ErrOrder},
		{"page gets OPEN", NewPage, []step{sendOpen, getOpen}, ErrOrder},
		{"page gets STATUS before it asked", NewPage, []step{getStatus(StageResolving)}, ErrOrder},
		{"page gets DATA before opened", NewPage, []step{sendOpen, sendCredit(10), getData(1)}, ErrOrder},
		{"page gets CREDIT before opened", NewPage, []step{sendOpen, getCredit(1)}, ErrOrder},
		{"page gets EOF before opened", NewPage, []step{sendOpen, getEOF}, ErrOrder},
		{"page gets opened twice", NewPage, []step{sendOpen, getStatus(StageOpened), getStatus(StageOpened)}, ErrOrder},
		{"page gets dialing after opened", NewPage, []step{sendOpen, getStatus(StageOpened), getStatus(StageDialing)}, ErrOrder},
		{"page gets a sample before opened", NewPage, []step{sendOpen, getSample}, ErrOrder},
		{"page gets more than it granted", NewPage, []step{sendOpen, sendCredit(10), getStatus(StageOpened), getData(10), getData(1)}, ErrCredit},
		{"page gets DATA after EOF", NewPage, []step{sendOpen, sendCredit(10), getStatus(StageOpened), getEOF, getData(1)}, ErrOrder},
		{"page gets EOF twice", NewPage, []step{sendOpen, getStatus(StageOpened), getEOF, getEOF}, ErrOrder},
		{"page is granted too much", NewPage, []step{sendOpen, getStatus(StageOpened), getCredit(MaxCredit), getCredit(1)}, ErrCredit},
		{"page grants too much", NewPage, []step{sendOpen, sendCredit(MaxCredit), sendCredit(1)}, ErrCredit},

		{"proxy gets DATA first", NewProxy, []step{getData(1)}, ErrOrder},
		{"proxy gets CREDIT first", NewProxy, []step{getCredit(1)}, ErrOrder},
		{"proxy gets STATUS", NewProxy, []step{getOpen, getStatus(StageOpened)}, ErrOrder},
		{"proxy gets ERROR", NewProxy, []step{getOpen, getError}, ErrOrder},
		{"proxy gets PACKET", NewProxy, []step{getOpen, getPacket}, ErrOrder},
		{"proxy gets OPEN twice", NewProxy, []step{getOpen, getOpen}, ErrOrder},
		{"proxy gets DATA before it granted", NewProxy, []step{getOpen, getData(1)}, ErrCredit},
		{"proxy gets more than it granted", NewProxy, []step{getOpen, sendStatus(StageOpened), sendCredit(5), getData(6)}, ErrCredit},
		{"proxy is granted too much", NewProxy, []step{getOpen, getCredit(MaxCredit), getCredit(MaxCredit)}, ErrCredit},
		{"proxy spends and is granted again", NewProxy, []step{getOpen, getCredit(MaxCredit), sendStatus(StageOpened), sendData(1), getCredit(1)}, nil},
		{"proxy gets anything after its ERROR", NewProxy, []step{getOpen, sendError, getData(9), getEOF, getEOF, getOpen}, nil},
		{"proxy sends after ERROR", NewProxy, []step{getOpen, sendError, sendStatus(StageResolving)}, ErrOrder},
		{"proxy sends ERROR twice", NewProxy, []step{getOpen, sendError, sendError}, ErrOrder},
		{"proxy sends OPEN", NewProxy, []step{sendOpen}, ErrOrder},
		{"proxy sends STATUS first", NewProxy, []step{sendStatus(StageResolving)}, ErrOrder},
		{"proxy grants before opened", NewProxy, []step{getOpen, sendCredit(1)}, ErrOrder},
		{"proxy sends DATA before opened", NewProxy, []step{getOpen, getCredit(9), sendData(1)}, ErrOrder},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := tt.half()
			last := len(tt.steps) - 1
			for _, s := range tt.steps[:last] {
				require.NoError(t, s.do(h), s.name)
			}
			before := *h
			err := tt.steps[last].do(h)
			if tt.want == nil {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, tt.want)
			assert.Equal(t, before, *h, "what is refused changes nothing")
		})
	}
}

func TestViolationsCarryTheirCode(t *testing.T) {
	for _, tt := range []struct {
		name string
		step step
		code Code
	}{
		{"malformed", gets("", "\x05\x01"), CodeBadRequest},
		{"out of order", getOpen, CodeBadRequest},
		{"beyond credit", getData(1), CodeCredit},
		{"credit beyond counting", getCredit(MaxCredit), CodeCredit},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := openedProxy()
			require.NoError(t, getCredit(1).do(h))
			var e *Error
			require.ErrorAs(t, tt.step.do(h), &e)
			assert.Equal(t, tt.code, e.Code)
			assert.Contains(t, e.Message, "The page broke the tunnel's protocol")
		})
	}
}

func TestSendableAndReceivable(t *testing.T) {
	page := openedPage()
	assert.Zero(t, page.Sendable())
	require.NoError(t, getCredit(10).do(page))
	assert.Equal(t, 10, page.Sendable())
	require.NoError(t, getCredit(MaxCredit-10).do(page))
	assert.Equal(t, MaxData, page.Sendable())
	require.NoError(t, sendEOF.do(page))
	assert.Zero(t, page.Sendable())
	assert.True(t, page.SentEOF())
	assert.False(t, page.ReceivedEOF())

	require.NoError(t, sendCredit(7).do(page))
	assert.Equal(t, int64(7), page.Receivable())
	require.NoError(t, page.ReceiveData(4))
	require.NoError(t, page.ReceiveData(3))
	assert.Zero(t, page.Receivable())
	assert.ErrorIs(t, page.ReceiveData(1), ErrCredit)
	assert.ErrorIs(t, page.ReceiveData(0), ErrLength)
	assert.ErrorIs(t, page.ReceiveData(MaxData+1), ErrTooLong)
	require.NoError(t, getEOF.do(page))
	assert.True(t, page.ReceivedEOF())

	failed := openedPage()
	require.NoError(t, getCredit(10).do(failed))
	require.NoError(t, getError.do(failed))
	assert.Zero(t, failed.Sendable())
}

// wire carries the messages of one direction, whole and in order.
type wire struct{ messages [][]byte }

func (w *wire) put(b []byte) { w.messages = append(w.messages, b) }

// end is a driver in small: it sends a stream, grants a window, and notes what comes.
type end struct {
	half      *Half
	out       *wire
	stream    []byte // still to be sent
	window    int64
	ungranted int64 // taken, not granted again
	got       []byte
}

// TestInterleavings lets both halves talk over wires of any delay.
func TestInterleavings(t *testing.T) {
	for seed := range uint64(100) {
		interleave(t, rand.New(rand.NewPCG(seed, 1)).IntN, 5000)
	}
}

func FuzzInterleavings(f *testing.F) {
	f.Add([]byte("the bytes choose what happens next"))
	f.Fuzz(func(t *testing.T, choices []byte) {
		rest := rand.New(rand.NewPCG(uint64(len(choices)), 2))
		interleave(t, func(n int) int {
			if len(choices) == 0 { // fair, so that it comes to an end
				return rest.IntN(n)
			}
			c := int(choices[0])
			choices = choices[1:]
			return c % n
		}, 3000)
	})
}

func interleave(t *testing.T, choose func(int) int, size int) {
	t.Helper()
	up, down := &wire{}, &wire{}
	page := &end{half: NewPage(), out: up, window: int64(1 + choose(600))}
	proxy := &end{half: NewProxy(), out: down, window: int64(1 + choose(600))}
	fill := func() []byte {
		b := make([]byte, choose(250)*size/250)
		for i := range b {
			b[i] = byte(i * 7 / 3)
		}
		return b
	}
	page.stream, proxy.stream = fill(), fill()
	sentUp, sentDown := page.stream, proxy.stream

	up.put(must(page.half.AppendOpen(nil, Open{Host: "mx.example.net", Port: 25})))
	up.put(must(page.half.AppendCredit(nil, uint32(page.window))))

	step := func(e *end, in *wire) {
		switch choose(4) {
		case 0: // take a message
			if len(in.messages) == 0 {
				return
			}
			message := in.messages[0]
			in.messages = in.messages[1:]
			frame, err := e.half.Receive(message)
			require.NoError(t, err)
			switch frame.Type {
			case TypeOpen:
				e.out.put(must(e.half.AppendStatus(nil, Status{Stage: StageOpened})))
				e.out.put(must(e.half.AppendCredit(nil, uint32(e.window))))
			case TypeData:
				e.got = append(e.got, frame.Data...)
				e.ungranted += int64(len(frame.Data))
			}
			require.GreaterOrEqual(t, e.half.Receivable(), int64(0))
			require.LessOrEqual(t, e.half.Receivable()+e.ungranted, e.window)
		case 1: // send
			n := min(e.half.Sendable(), len(e.stream), 1+choose(200))
			if n == 0 {
				return
			}
			message := append([]byte{0}, e.stream[:n]...)
			require.NoError(t, e.half.FrameData(message))
			e.stream = e.stream[n:]
			e.out.put(message)
		case 2: // grant again
			if e.ungranted > 0 {
				n := 1 + choose(int(e.ungranted))
				e.ungranted -= int64(n)
				e.out.put(must(e.half.AppendCredit(nil, uint32(n))))
			}
		case 3: // end
			if len(e.stream) == 0 && !e.half.SentEOF() && (e == page || e.half.Opened()) {
				e.out.put(must(e.half.AppendEOF(nil)))
			}
		}
	}
	done := func() bool { return page.half.ReceivedEOF() && proxy.half.ReceivedEOF() }
	for range 400_000 {
		if done() {
			break
		}
		step(page, down)
		step(proxy, up)
	}
	require.True(t, done(), "both sides must get to the end")
	require.Equal(t, string(sentUp), string(proxy.got))
	require.Equal(t, string(sentDown), string(page.got))
}

// FuzzReceive gives a half anything, in any order: it must refuse or keep its accounts.
func FuzzReceive(f *testing.F) {
	f.Add([]byte("\x00\x17\x01{\"host\":\"a\",\"port\":25}\x05\x05\x00\x00\x01\x00\x02\x04x\x01\x06"))
	f.Add([]byte("\x01\x13\x02{\"stage\":\"opened\"}\x02\x04x\x01\x06"))
	f.Fuzz(func(t *testing.T, in []byte) {
		if len(in) == 0 {
			return
		}
		h := NewProxy()
		if in[0]&1 == 1 {
			h = askedPage()
			must(h.AppendCredit(nil, 64))
		}
		granted, taken := h.Receivable(), int64(0)
		for in = in[1:]; len(in) > 0; {
			n := min(int(in[0]), len(in)-1)
			message := in[1 : 1+n]
			in = in[1+n:]
			before := *h
			frame, err := h.Receive(message)
			if err != nil {
				var e *Error
				require.ErrorAs(t, err, &e)
				require.Contains(t, []Code{CodeBadRequest, CodeCredit}, e.Code)
				require.Equal(t, before, *h)
				continue
			}
			taken += int64(len(frame.Data))
			if frame.Type == TypeOpen {
				must(h.AppendStatus(nil, Status{Stage: StageOpened}))
				must(h.AppendCredit(nil, 64))
				granted += 64
			}
			require.Equal(t, granted-taken, h.Receivable())
			require.GreaterOrEqual(t, h.Receivable(), int64(0))
		}
	})
}
