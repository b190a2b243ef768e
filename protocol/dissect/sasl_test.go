package dissect_test

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"smtpscope/protocol/dissect"
	"smtpscope/protocol/trace"
)

func plainResponse(line []byte) []trace.Field { return dissect.Response("PLAIN", 0, line) }

func scramChallenge(raw []byte) []trace.Field { return dissect.Challenge("SCRAM-SHA-256", raw) }

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

var responseExamples = []example{
	{"PLAIN", "AGFkYQBlbmdpbmU=\r\n", `
			response "AGFkYQBlbmdpbmU=" field.response
				delimiter "AG" (\x00) field.delimiter
				authcid "FkYQ" (ada) field.username
				delimiter "B" (\x00) field.delimiter
				password "lbmdpbmU=" (••••••••) field.password
			line end "\r\n" (CR LF) field.line-end`},
	{"PLAIN, for someone else", b64("grace\x00ada\x00engine") + "\r\n", `
			response "Z3JhY2UAYWRhAGVuZ2luZQ==" field.response
				authzid "Z3JhY2U" (grace) field.authzid
				delimiter "A" (\x00) field.delimiter
				authcid "YWRh" (ada) field.username
				delimiter "AG" (\x00) field.delimiter
				password "VuZ2luZQ==" (••••••••) field.password
			line end "\r\n" (CR LF) field.line-end`},
	{"PLAIN, malformed", b64("ada engine") + "\r\n", `
			response "YWRhIGVuZ2luZQ==" field.response
				rest "YWRhIGVuZ2luZQ==" (••••••••) field.rest
			line end "\r\n" (CR LF) field.line-end`},
	{"not base64", "AGFkYQBlbmdpbmU\r\n", `
			response "AGFkYQBlbmdpbmU" field.response
			line end "\r\n" (CR LF) field.line-end`},
	{"empty", "=\r\n", `
			response "=" (empty) field.response
			line end "\r\n" (CR LF) field.line-end`},
	{"cancel", "*\r\n", `
			cancel "*" field.cancel
			line end "\r\n" (CR LF) field.line-end`},
	{"nothing", "\r\n", `
			line end "\r\n" (CR LF) field.line-end`},
	{"star among others", "* \n", `
			response "* " field.response
			line end "\n" (LF) field.line-end`},
}

func TestResponse(t *testing.T) { run(t, plainResponse, outline, responseExamples) }

// What each mechanism says, with its secrets hidden.
func TestMechanisms(t *testing.T) {
	const clientFirst, nonce = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO", "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
	for _, c := range []struct {
		name, mechanism string
		turn            int // of a response, or -1 for a challenge
		text, want      string
	}{
		{"LOGIN, user", "login", 0, "ada", "user name=ada"},
		{"LOGIN, password", "LOGIN", 1, "engine", "password=••••••••"},
		{"LOGIN, prompt", "LOGIN", -1, "Username:", "prompt=Username:"},
		{"CRAM-MD5, challenge", "CRAM-MD5", -1, "<1896.697170952@postoffice.reston.mci.net>", "message identifier=<1896.697170952@postoffice.reston.mci.net>"},
		{"CRAM-MD5, RFC 2195", "CRAM-MD5", 0, "tim b913a602c7eda7a495b4e6e7334d3890", "user name=tim delimiter=SP digest=••••••••"},
		{"CRAM-MD5, no digest", "CRAM-MD5", 0, "tim", "rest=••••••••"},
		{"SCRAM, client first", "SCRAM-SHA-256", 0, clientFirst,
			`gs2-cb-flag=n delimiter=, delimiter=, username=n=user delimiter=, nonce=r=rOprNGfwEbeRWgbNEkqO`},
		{"SCRAM, bound to the channel", "SCRAM-SHA-256-PLUS", 0, "p=tls-exporter,a=grace,n=user,r=x",
			`gs2-cb-flag=p=tls-exporter delimiter=, gs2-authzid=a=grace delimiter=, username=n=user delimiter=, nonce=r=x`},
		{"SCRAM, server first", "SCRAM-SHA-256", -1, "r=" + nonce + ",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
			`nonce=r=` + nonce + ` delimiter=, salt=s=W22ZaJ0SNY7soEsUEjb6gQ== delimiter=, iteration-count=i=4096`},
		{"SCRAM, client final", "SCRAM-SHA-256", 1, "c=biws,r=" + nonce + ",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
			`channel-binding=c=biws delimiter=, nonce=r=` + nonce + ` delimiter=, proof=••••••••`},
		{"SCRAM, server final", "SCRAM-SHA-256", -1, "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=", "verifier=••••••••"},
		{"SCRAM, refused", "SCRAM-SHA-1", -1, "e=invalid-proof", "server-error=e=invalid-proof"},
		{"SCRAM, unknown attributes", "SCRAM-SHA-1", -1, "x=1,yy,", "attribute=•••••••• delimiter=, attribute=•••••••• delimiter=,"},
		{"XOAUTH2", "XOAUTH2", 0, "user=ada@example.org\x01auth=Bearer ya29.x\x01\x01", `user=ada@example.org delimiter=\x01 auth=•••••••• delimiter=\x01 delimiter=\x01`},
		{"OAUTHBEARER", "OAUTHBEARER", 0, "n,a=ada@example.org,\x01host=mx\x01port=587\x01auth=Bearer ya29.x\x01x=y\x01\x01",
			`gs2-cb-flag=n delimiter=, gs2-authzid=a=ada@example.org delimiter=, delimiter=\x01 host=mx delimiter=\x01 port=587 delimiter=\x01 auth=•••••••• delimiter=\x01 pair=•••••••• delimiter=\x01 delimiter=\x01`},
		{"OAUTHBEARER, refused", "OAUTHBEARER", -1, `{"status":"invalid_token"}`, `error={"status":"invalid_token"}`},
		{"OAUTHBEARER, give up", "OAUTHBEARER", 1, "\x01", `delimiter=\x01`},
		{"EXTERNAL", "EXTERNAL", 0, "ada@example.org", "authzid=ada@example.org"},
		{"ANONYMOUS", "ANONYMOUS", 0, "sirhc", "trace information=sirhc"},
		{"not ASCII", "LOGIN", 0, "Gödel\u202e\x1b", `user name=Gödel\u202e\x1b`},
	} {
		t.Run(c.name, func(t *testing.T) {
			line, fields := []byte(b64(c.text)+"\r\n"), []trace.Field(nil)
			if c.turn < 0 {
				line = []byte("334 " + string(line))
				fields = dissect.Challenge(c.mechanism, line)
			} else {
				fields = dissect.Response(c.mechanism, c.turn, line)
			}
			check(t, line, fields)
			var got []string
			for _, f := range fields {
				if f.Depth == 1 {
					got = append(got, f.Name+"="+f.Value)
				}
			}
			assert.Equal(t, c.want, strings.Join(got, " "))
		})
	}
}

// An exchange that nobody here knows is left whole.
func TestUnknownMechanism(t *testing.T) {
	line := []byte(b64("ada\x00engine") + "\r\n")
	assert.Len(t, dissect.Response("GSSAPI", 0, line), 2)
	assert.Len(t, dissect.Response("PLAIN", 1, line), 2, "PLAIN has one response")
	assert.Len(t, dissect.Challenge("GSSAPI", append([]byte("334 "), line...)), 4)
}

// Each part has the characters that hold its bits, of whatever lengths the parts are.
func TestPartsOfBase64(t *testing.T) {
	for user := range 12 {
		for password := range 12 {
			text := fmt.Sprintf("\x00%s\x00%s", strings.Repeat("u", user), strings.Repeat("p", password))
			line := []byte("AUTH PLAIN " + b64(text) + "\r\n")
			fields := dissect.Command(line)
			check(t, line, fields)
			for _, f := range fields {
				switch f.Name {
				case "authcid":
					require.Equal(t, strings.Repeat("u", user), f.Value)
					require.LessOrEqual(t, f.Len, int64((4*user+2)/3+1))
				case "password":
					require.Equal(t, "••••••••", f.Value)
				}
			}
		}
	}
}

// What may be a secret is never put into a value, where masking the bytes would miss it.
func TestSecretsStayInTheBytes(t *testing.T) {
	const secret = "engine-of-analysis"
	for _, text := range []string{
		"\x00ada\x00" + secret, secret, "ada " + secret, "user=ada\x01auth=Bearer " + secret + "\x01\x01", "n,,\x01auth=" + secret,
		"c=biws,r=x,p=" + secret, "v=" + secret, "\x01" + secret, "p=" + secret, "\x00" + secret, secret + "\x00" + secret + "\x00" + secret,
	} {
		for _, mechanism := range []string{"PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256-PLUS", "XOAUTH2", "OAUTHBEARER", "GSSAPI", ""} {
			line := b64(text) + "\r\n"
			fields := dissect.Response(mechanism, 1, []byte(line))
			if strings.Contains(text, "ada") || strings.Contains(text, "=") { // well-formed as an initial response of some mechanism
				fields = append(fields, dissect.Command([]byte("AUTH "+mechanism+" "+line))...)
			}
			for _, f := range fields {
				if f.Name == "user name" || f.Name == "authzid" { // LOGIN and CRAM-MD5 take anything for one
					continue
				}
				assert.NotContains(t, f.Value, secret, "%s %q: %s", mechanism, text, f.Name)
			}
		}
	}
}

func FuzzResponse(f *testing.F) {
	mechanisms := []string{"PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-256", "XOAUTH2", "OAUTHBEARER", "EXTERNAL", "ANONYMOUS", "X"}
	for i := range mechanisms {
		f.Add(uint8(i), []byte("n,a=ada,\x01n=ada,r=x,p=y\x00ada\x00engine"))
	}
	f.Fuzz(func(t *testing.T, mechanism uint8, text []byte) {
		name, number := mechanisms[int(mechanism)%len(mechanisms)], int(mechanism)/len(mechanisms)%3
		for _, line := range []string{b64(string(text)) + "\r\n", string(text)} {
			check(t, []byte(line), dissect.Response(name, number, []byte(line)))
			command := "AUTH " + name + " " + line
			check(t, []byte(command), dissect.Command([]byte(command)))
			reply := "334 " + line
			check(t, []byte(reply), dissect.Challenge(name, []byte(reply)))
		}
	})
}
