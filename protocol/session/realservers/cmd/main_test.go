package main

import (
	"bufio"
	"encoding/json"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-smtp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"smtpscope/protocol/session/realservers"
)

// peer runs serve and talks to it as a test in another language would.
type peer struct {
	in    *io.PipeWriter
	lines *bufio.Scanner
	ended chan error
}

func start(t *testing.T, names ...string) *peer {
	inR, inW := io.Pipe()
	outR, outW := io.Pipe()
	p := &peer{in: inW, lines: bufio.NewScanner(outR), ended: make(chan error, 1)}
	go func() {
		err := serve(t.Context(), names, inR, outW)
		outW.CloseWithError(err)
		p.ended <- err
	}()
	t.Cleanup(func() { inW.Close() })
	return p
}

func (p *peer) read(t *testing.T, v any) {
	t.Helper()
	require.True(t, p.lines.Scan(), "output ended: %v", p.lines.Err())
	dec := json.NewDecoder(strings.NewReader(p.lines.Text()))
	dec.DisallowUnknownFields()
	require.NoError(t, dec.Decode(v), p.lines.Text())
}

func (p *peer) ask(t *testing.T, line string, v any) {
	t.Helper()
	_, err := io.WriteString(p.in, line+"\n")
	require.NoError(t, err)
	p.read(t, v)
}

func TestServe(t *testing.T) {
	p := start(t, "go-smtp")
	var s realservers.Server
	p.read(t, &s)
	assert.Equal(t, realservers.GoSMTP, s.Kind)
	assert.NotZero(t, s.SubmissionPort)
	assert.Contains(t, s.CA, "BEGIN CERTIFICATE")
	var ready struct{ Ready bool }
	p.read(t, &ready)
	assert.True(t, ready.Ready)

	var empty answer
	p.ask(t, "messages go-smtp", &empty)
	assert.Equal(t, [][]byte{}, empty.Messages)

	message := "Subject: one\r\n\r\nbody\r\n"
	address := net.JoinHostPort(s.Host, strconv.Itoa(s.SMTPPort))
	client, err := smtp.Dial(address)
	require.NoError(t, err)
	require.NoError(t, client.SendMail(s.Username, []string{s.Recipient}, strings.NewReader(message)))
	require.NoError(t, client.Close())
	var one answer
	p.ask(t, "messages go-smtp", &one)
	assert.Equal(t, [][]byte{[]byte(message)}, one.Messages)

	for _, line := range []string{"messages postfix", "mail go-smtp", ""} {
		var failed failure
		p.ask(t, line, &failed)
		assert.Contains(t, failed.Error, "messages NAME", line)
	}

	require.NoError(t, p.in.Close())
	select {
	case err := <-p.ended:
		require.NoError(t, err)
	case <-time.After(10 * time.Second):
		t.Fatal("serve did not end when its input did")
	}
	_, err = net.DialTimeout("tcp", address, time.Second)
	assert.Error(t, err, "the server still answers")
}

func TestServeNamesWhatIsMissing(t *testing.T) {
	t.Setenv("SMTPSCOPE_PEERS", t.TempDir())
	p := start(t, "postfix")
	var m missing
	p.read(t, &m)
	assert.Equal(t, realservers.Postfix, m.Name)
	assert.Contains(t, m.Missing, ".ci/setup")
}

func TestServeRefusesAnUnknownName(t *testing.T) {
	assert.ErrorContains(t, serve(t.Context(), []string{"sendmail"}, strings.NewReader(""), io.Discard), "sendmail")
}
