package internet

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Whoever asks first, calls are tried in one order, and no program goes on before
// all of them were tried: it could ask for more at any moment.
func TestCallsAreAnsweredInOrder(t *testing.T) {
	c := config(Link{})
	c.Settle = func() {}
	l, err := New(c)
	require.NoError(t, err)
	defer l.Close()
	client, mx := l.Host("client"), l.Host("mx")
	first := &socket{host: client, id: 1}
	type ask struct {
		socket *socket
		kind   kind
		detail string
	}
	want := []ask{
		{&socket{host: client}, callWrite, "tcp a"}, {&socket{host: client}, callWrite, "tcp b"},
		{first, callSet, ""}, {first, callRead, ""}, {first, callWrite, ""}, {first, callClose, ""},
		{&socket{host: client, id: 2}, callRead, ""},
		{&socket{host: mx, id: 1}, callRead, ""},
	}
	for range 100 {
		var tried []ask
		var posted []*call
		for _, i := range rand.Perm(len(want)) {
			posted = append(posted, &call{socket: want[i].socket, kind: want[i].kind, detail: want[i].detail, done: make(chan struct{}),
				try: func(*call) bool {
					tried = append(tried, want[i])
					for _, c := range posted {
						select {
						case <-c.done:
							t.Error("a program was let go too early")
						default:
						}
					}
					return true
				}})
		}
		for _, c := range posted {
			require.True(t, l.post(c))
		}
		require.True(t, l.answer())
		require.Equal(t, want, tried)
		for _, c := range posted {
			<-c.done
		}
		require.False(t, l.answer())
	}
}

// A call that has to wait is tried again when its socket is ready for that kind of call.
func TestCallsWait(t *testing.T) {
	c := config(Link{})
	c.Settle = func() {}
	l, err := New(c)
	require.NoError(t, err)
	defer l.Close()
	s := &socket{host: l.Host("client"), id: 1}
	tries, ready := 0, false
	read := &call{socket: s, kind: callRead, done: make(chan struct{}), try: func(*call) bool { tries++; return ready }}
	l.post(read)
	assert.False(t, l.answer())
	assert.False(t, l.answer())
	assert.Equal(t, 1, tries)
	s.wake(callWrite)
	assert.False(t, l.answer())
	assert.Equal(t, 1, tries)
	s.wake(callRead)
	assert.False(t, l.answer())
	assert.Equal(t, 2, tries, "once, though it was not ready after all")
	ready = true
	s.wake(callRead)
	assert.True(t, l.answer())
	<-read.done
}
