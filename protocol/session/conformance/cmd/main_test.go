package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestServe(t *testing.T) {
	in, stdin := io.Pipe()
	stdout, out := io.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- serve(in, out) }()
	answers := json.NewDecoder(stdout)

	var first started
	require.NoError(t, answers.Decode(&first))
	assert.Equal(t, "codes alone", first.Name)
	assert.Contains(t, string(first.Plan), fmt.Sprint(first.Port))
	for line := (map[string]any{}); line["ready"] == nil; {
		require.NoError(t, answers.Decode(&line))
	}

	conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", first.Port))
	require.NoError(t, err)
	defer conn.Close()
	greeting := make([]byte, 5)
	_, err = io.ReadFull(conn, greeting)
	require.NoError(t, err)
	assert.Equal(t, "220\r\n", string(greeting))
	_, err = io.WriteString(conn, "HELP\r\n")
	require.NoError(t, err)

	ask := func(line string) (r report) {
		_, err := io.WriteString(stdin, line+"\n")
		require.NoError(t, err)
		require.NoError(t, answers.Decode(&r))
		return r
	}
	assert.Contains(t, ask(fmt.Sprint("report ", first.Port)).Error, `the client said "HELP"`)
	for _, line := range []string{"report 1", "report", "messages x", ""} {
		assert.Contains(t, ask(line).Error, "report PORT", line)
	}
	require.NoError(t, stdin.Close())
	require.NoError(t, <-ended)
}

func TestServeEndsWithItsInput(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, serve(bytes.NewReader(nil), &out))
	assert.Contains(t, out.String(), `{"ready":true}`)
}
