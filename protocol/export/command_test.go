package export_test

import (
	"bytes"
	"context"
	"go/format"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"smtpscope/protocol/export"
	"smtpscope/protocol/session/realservers"
	"smtpscope/protocol/trace"
)

// tools are the formats that are commands, and what runs them.
var tools = []struct {
	format export.Format
	file   string
	run    []string
	needs  string
}{
	{export.Swaks, "session.sh", []string{"sh"}, "swaks"},
	{export.OpenSSL, "session.sh", []string{"sh"}, "openssl"},
	{export.Curl, "session.sh", []string{"sh"}, "curl"},
	{export.Python, "session.py", []string{"python3"}, "python3"},
	{export.Go, "session.go", []string{"go", "run"}, "go"},
}

// runTool runs an exported session in a folder of its own, and returns what it said.
func runTool(t *testing.T, format export.Format, tr *trace.Trace, password string, args ...string) (string, error) {
	t.Helper()
	for _, tool := range tools {
		if tool.format != format {
			continue
		}
		if _, err := exec.LookPath(tool.needs); err != nil {
			missing := tool.needs + " cannot run here: it is missing; run .ci/setup to fetch it"
			if os.Getenv("CI") == "true" {
				t.Fatal(missing)
			}
			t.Skip("NOT RUN: " + missing)
		}
		dir := t.TempDir()
		var source bytes.Buffer
		require.NoError(t, export.Write(&source, tr, export.Request{Format: format}))
		require.NoError(t, os.WriteFile(filepath.Join(dir, tool.file), source.Bytes(), 0o600))
		if format == export.Go {
			formatted, err := formatGo(source.Bytes())
			require.NoError(t, err, source.String())
			assert.Equal(t, formatted, source.String(), "as gofmt has it")
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		argv := append(append(append([]string{}, tool.run...), tool.file), args...)
		cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "SMTP_PASSWORD="+password)
		out, err := cmd.CombinedOutput()
		left, globErr := filepath.Glob(filepath.Join(dir, "*"))
		require.NoError(t, globErr)
		assert.Equal(t, []string{filepath.Join(dir, tool.file)}, left, "nothing but the session runs")
		return string(out), err
	}
	panic(format)
}

func formatGo(source []byte) (string, error) {
	out, err := format.Source(source)
	return string(out), err
}

// What a mailbox holds after a session is what it holds after the same session by
// another program.
func TestCommandsDeliverTheSame(t *testing.T) {
	server := realservers.ForTest(t, realservers.Postfix)
	implicit := map[string]any{"security": "tls", "target": map[string]any{"mode": "live", "host": server.Host, "port": server.SubmissionsPort}}
	as := func(mechanism string) map[string]any {
		return map[string]any{"auth": map[string]any{"mechanism": mechanism, "username": server.Username, "password": server.Password}}
	}
	with := func(all ...map[string]any) map[string]any {
		merged := map[string]any{}
		for _, m := range all {
			maps.Copy(merged, m)
		}
		return merged
	}
	message := func(from, data string) map[string]any {
		return map[string]any{"messages": []any{map[string]any{"from": from, "to": []string{server.Recipient}, "data": data}}}
	}
	const nasty = typed + "EOF\r\nEOF_\r\n'\r\n\"\"\"\r\n`touch pwned`\r\n$(touch pwned)\r\n%BODY% %s \\n\r\n\t\r\n \r\n\r\nFrom me\r\nGr\u00fc\u00dfe \u2028\r\n~.\r\nQ\r\n.\r\n"
	for _, x := range []struct {
		name  string
		edits map[string]any
		not   []export.Format
	}{
		{name: "STARTTLS and PLAIN", edits: with(as("PLAIN"), message(server.Username, nasty))},
		{name: "implicit TLS, LOGIN and the null path", edits: with(implicit, as("LOGIN"), message("", typed))},
		{name: "the best mechanism, control characters, no final line end", edits: with(as(""), message(server.Username, typed+"\x1b[31mred\x07"))},
		{name: "CRAM-MD5 and an address with all that a shell knows",
			edits: with(as("CRAM-MD5"), message("\"'; touch pwned; $(touch pwned)`touch pwned` \\\"\\\\\"@example.org", typed))},
		{name: "no TLS", edits: with(message(server.Username, typed), map[string]any{"security": "none", "auth": nil,
			"target": map[string]any{"mode": "live", "host": server.Host, "port": server.SMTPPort}}), not: []export.Format{export.OpenSSL}},
		{name: "another name, not verified, and notifications", edits: with(implicit, map[string]any{
			"tls":     map[string]any{"serverName": "other.example.net", "insecure": true},
			"options": map[string]any{"dsn": map[string]any{"notify": []string{"never"}, "ret": "hdrs", "envid": "a b"}}})},
		{name: "two messages in chunks and groups", edits: map[string]any{
			"options": map[string]any{"chunking": true, "pipelining": true},
			"messages": []any{
				map[string]any{"from": server.Username, "to": []string{server.Recipient, "nobody@example.net"}, "data": typed},
				map[string]any{"from": server.Username, "to": []string{server.Recipient}, "data": nasty}}}},
	} {
		t.Run(x.name, func(t *testing.T) {
			before, err := server.Messages(t.Context())
			require.NoError(t, err)
			tr, _ := live(t, server, x.edits)
			require.Contains(t, []trace.Outcome{trace.Accepted, trace.Partial}, tr.Result.Outcome, "%+v\n%s", tr.Result.Error, server.Log())
			after, err := server.Messages(t.Context())
			require.NoError(t, err)
			want := after[len(before):]
			require.NotEmpty(t, want)
			for _, tool := range tools {
				if slices.Contains(x.not, tool.format) {
					continue
				}
				t.Run(string(tool.format), func(t *testing.T) {
					out, err := runTool(t, tool.format, tr, server.Password)
					require.NoError(t, err, out)
					all, err := server.Messages(t.Context())
					require.NoError(t, err)
					got := all[len(after):]
					after = all
					if assert.Len(t, got, len(want), out) {
						for i := range want {
							assert.Equal(t, string(want[i]), string(got[i]), out)
						}
					}
				})
			}
		})
	}
}

// Of a long message the trace has only the head: whoever runs the command brings it.
func TestCommandsTakeALongMessageFromAFile(t *testing.T) {
	server := realservers.ForTest(t, realservers.Postfix)
	long := typed + strings.Repeat(strings.Repeat("x", 70)+"\r\n", 1500)
	path := filepath.Join(t.TempDir(), "it's a message.eml")
	require.NoError(t, os.WriteFile(path, []byte(long), 0o600))
	tr, _ := live(t, server, map[string]any{"messages": []any{map[string]any{"from": server.Username, "to": []string{server.Recipient}, "data": long}}})
	require.Equal(t, trace.Accepted, tr.Result.Outcome, "%+v", tr.Result.Error)
	for n, tool := range tools {
		t.Run(string(tool.format), func(t *testing.T) {
			out, err := runTool(t, tool.format, tr, server.Password, path)
			require.NoError(t, err, out)
			messages, err := server.Messages(t.Context())
			require.NoError(t, err)
			require.Len(t, messages, n+2)
			assert.True(t, long == string(messages[n+1]))
			_, err = runTool(t, tool.format, tr, server.Password)
			assert.Error(t, err, "the message is missing")
		})
	}
}

// A certificate that the session did not trust, they do not trust: nothing is sent.
func TestCommandsJudgeTheCertificate(t *testing.T) {
	server := realservers.ForTest(t, realservers.GoSMTP)
	tr, _ := live(t, server, map[string]any{"tls": map[string]any{"serverName": "other.example.net", "ca": []string{server.CA}}})
	require.Equal(t, "tls", tr.Result.Phase)
	for _, tool := range tools {
		out, err := runTool(t, tool.format, tr, server.Password)
		if tool.format == export.Swaks {
			assert.Contains(t, written(t, tr, export.Request{Format: export.Swaks}), "not the name")
			continue
		}
		assert.Error(t, err, out)
		assert.NotContains(t, out, "MAIL FROM", tool.format)
	}
}

// LMTP has a verdict for each recipient.
func TestCommandsSpeakLMTP(t *testing.T) {
	server := realservers.ForTest(t, realservers.GoSMTP)
	tr, _ := live(t, server, map[string]any{"security": "none", "auth": nil, "target": map[string]any{"mode": "live", "host": server.Host, "port": server.LMTPPort},
		"options":  map[string]any{"protocol": "lmtp"},
		"messages": []any{map[string]any{"from": server.Username, "to": []string{server.Recipient, server.Recipient}, "data": typed}}})
	require.Equal(t, trace.Accepted, tr.Result.Outcome, "%+v", tr.Result.Error)
	want, err := server.Messages(t.Context())
	require.NoError(t, err)
	out, err := runTool(t, export.Swaks, tr, "")
	require.NoError(t, err, out)
	got, err := server.Messages(t.Context())
	require.NoError(t, err)
	assert.Equal(t, append(want, want...), got)
}

// What a program cannot do, its comments say; what it can, they do not.
func TestCommandsSayWhatTheyLeaveOut(t *testing.T) {
	server := realservers.ForTest(t, realservers.GoSMTP)
	tr, _ := live(t, server, map[string]any{
		"auth": map[string]any{"mechanism": "", "username": server.Username, "password": server.Password},
		"options": map[string]any{"pipelining": true, "chunking": true, "requiretls": false, "priority": 3, "hold": "60",
			"deliverby": "120;R", "dsn": map[string]any{"notify": []string{"never"}}},
	})
	const all = "PIPELINING BDAT DSN DELIVERBY MT-PRIORITY FUTURERELEASE"
	for format, want := range map[export.Format]string{
		export.Swaks: strings.TrimPrefix(all, "PIPELINING "), export.Curl: all, export.OpenSSL: "PIPELINING",
		export.Python: "PIPELINING BDAT", export.Go: "PIPELINING BDAT",
	} {
		out := written(t, tr, export.Request{Format: format})
		var left []string
		for _, line := range strings.Split(out, "\n") {
			if _, what, ok := strings.Cut(line, "cannot do it: "); ok {
				for _, word := range strings.Fields(all) {
					if strings.Contains(what, word) {
						left = append(left, word)
						break
					}
				}
			}
		}
		assert.Equal(t, strings.Fields(want), left, format)
	}
}

// Tools take no address for an option.
func TestAddressLikeAnOption(t *testing.T) {
	plan := strings.ReplaceAll(strings.ReplaceAll(plainPlan, "ada@example.org", "--help@example.org"), "grace@", "-o@")
	tr := spoken(t, plan, "S: 220 hi")
	assert.Contains(t, written(t, tr, export.Request{Format: export.Swaks}), `--from '"--help"@example.org'`)
	assert.Contains(t, written(t, tr, export.Request{Format: export.Curl}), `--mail-rcpt '"-o"@example.net'`)
}

// A line end in a plan that was made by hand begins no line of its own.
func TestLineEndsInAPlanBeginNoLine(t *testing.T) {
	plan := strings.ReplaceAll(plainPlan, "mx.example.net", `mx\ntouch pwned`)
	plan = strings.ReplaceAll(plan, "ada", `a\r\ntouch pwned`)
	plan = strings.ReplaceAll(plan, "page.example", `p\ntouch pwned`)
	for _, tool := range tools {
		assert.NotRegexp(t, `(?m)^touch pwned`, written(t, spoken(t, plan, "S: 220 hi"), export.Request{Format: tool.format}), tool.format)
	}
}
