package book_test

import (
	"bytes"
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"smtpscope/protocol/book"
	"smtpscope/protocol/trace"
)

// The book travels with the first load of the page. A fifth of it explains IP,
// TCP, UDP and DNS, which cost 3 kB when compressed.
const maxSize = 58 << 10

// read returns the ids in the order of the file. A decoder into a map would
// hide both the order and a duplicate.
func read(t *testing.T) ([]string, map[string]book.Entry) {
	t.Helper()
	dec := json.NewDecoder(bytes.NewReader(book.JSON))
	dec.DisallowUnknownFields()
	open, err := dec.Token()
	require.NoError(t, err)
	require.Equal(t, json.Delim('{'), open)
	var ids []string
	entries := map[string]book.Entry{}
	for dec.More() {
		key, err := dec.Token()
		require.NoError(t, err)
		id := key.(string)
		var e book.Entry
		require.NoError(t, dec.Decode(&e), id)
		ids = append(ids, id)
		entries[id] = e
	}
	require.NotEmpty(t, ids)
	return ids, entries
}

func TestEntriesAreComplete(t *testing.T) {
	_, entries := read(t)
	section := regexp.MustCompile(`^(RFC [1-9]\d{0,4}(, (\d+|[A-Z])(\.\d+)*)?|(IANA|Postfix|Microsoft|Google|smtpscope), [A-Za-z][A-Za-z0-9_ -]+)$`)
	for id, e := range entries {
		for _, text := range []string{e.Title, e.Means, e.Section} {
			assert.NotEmpty(t, text, id)
			assert.Equal(t, strings.TrimSpace(text), text, id)
			assert.Regexp(t, `^[\x20-\x7e]+$`, text, id)
		}
		assert.Regexp(t, `\.$`, e.Means, "%s: a sentence ends with a full stop", id)
		assert.NotRegexp(t, `\.$`, e.Title, "%s: a title does not", id)
		assert.Regexp(t, section, e.Section, id)
		assert.LessOrEqual(t, len(e.Means), 140, "%s: keep it terse", id)
	}
}

func TestIDsAreSortedUniqueAndWellFormed(t *testing.T) {
	ids, _ := read(t)
	assert.True(t, slices.IsSorted(ids), "ids are in byte order")
	assert.Equal(t, slices.Compact(slices.Clone(ids)), ids, "no id twice")
	kinds := []string{
		"cert", "command", "dns", "enhanced", "error", "event", "field", "ip", "keyword",
		"mechanism", "param", "port", "reply", "state", "tcp", "tls", "udp",
	}
	for _, id := range ids {
		assert.Regexp(t, `^[a-z]+(\.[a-z0-9_-]+)+$`, id)
		kind, _, _ := strings.Cut(id, ".")
		assert.Contains(t, kinds, kind, id)
	}
}

func TestOneEntryPerLine(t *testing.T) {
	ids, _ := read(t)
	assert.Equal(t, len(ids)+2, bytes.Count(book.JSON, []byte("\n")), "so that a change is a one-line diff")
	assert.LessOrEqual(t, len(book.JSON), maxSize)
}

func TestRequiredEntries(t *testing.T) {
	required := map[string]string{
		"command": `auth data ehlo expn greeting helo help mail message noop other quit rcpt response rset starttls vrfy`,
		"reply": `211 214 220 221 235 250 251 252 2yz 334 354 3yz 421 432 450 451 452 454 455 4yz
			500 501 502 503 504 521 530 534 535 538 550 551 552 553 554 555 556 5yz`,
		"enhanced": `2.0.0 2.1.0 2.1.5 2.6.0 2.7.0 4.1.8 4.2.0 4.2.1 4.2.2 4.3.0 4.3.1 4.3.2 4.4.1 4.4.2 4.4.3 4.5.3 4.7.0 4.7.1
			5.0.0 5.1.0 5.1.1 5.1.2 5.1.3 5.1.7 5.1.8 5.1.10 5.2.1 5.2.2 5.3.0 5.3.4 5.4.4 5.4.6 5.5.1 5.5.2 5.5.4 5.6.0 5.6.7
			5.7.0 5.7.1 5.7.8 5.7.9 5.7.10 5.7.11 5.7.20 5.7.23 5.7.25 5.7.26 5.7.27 5.7.30
			class.2 class.4 class.5 subject.0 subject.1 subject.2 subject.3 subject.4 subject.5 subject.6 subject.7`,
		"keyword": `8bitmime auth binarymime chunking deliverby dsn enhancedstatuscodes etrn expn help limits mt-priority
			pipelining requiretls size smtputf8 starttls vrfy xclient xforward`,
		"param":     `auth body by envid mt-priority notify orcpt requiretls ret size smtputf8`,
		"mechanism": `cram-md5 digest-md5 external gssapi login ntlm oauthbearer plain scram-sha-1 scram-sha-256 scram-sha-256-plus xoauth2`,
		"port":      `25 2525 465 587`,
		"tcp.flag":  `ack cwr ece fin none psh rst syn urg`,
		"tcp.analysis": `acked-lost-segment duplicate-ack fast-retransmission keep-alive keep-alive-ack lost-segment out-of-order
			retransmission spurious-retransmission window-full window-update zero-window zero-window-probe zero-window-probe-ack`,
		"dns.type":    `a aaaa cname mx ns opt other ptr soa txt`,
		"cert":        `expired invalid not-yet-valid untrusted wrong-name`,
		"state":       `auth closed connect data desync greeted mail message quit rcpt ready refused tls`,
		"tls.version": `1.0 1.1 1.2 1.3 other`,
		"tls.record":  `alert application_data change_cipher_spec handshake`,
		"tls.group":   `secp256r1 secp384r1 secp521r1 x25519 x25519mlkem768 other`,
		"tls.suite": `tls_aes_128_gcm_sha256 tls_aes_256_gcm_sha384 tls_chacha20_poly1305_sha256
			tls_ecdhe_ecdsa_with_aes_128_gcm_sha256 tls_ecdhe_ecdsa_with_aes_256_gcm_sha384 tls_ecdhe_ecdsa_with_chacha20_poly1305_sha256
			tls_ecdhe_rsa_with_aes_128_gcm_sha256 tls_ecdhe_rsa_with_aes_256_gcm_sha384 tls_ecdhe_rsa_with_chacha20_poly1305_sha256 other`,
		"tls.alert": `bad_certificate certificate_expired certificate_revoked certificate_unknown close_notify decode_error
			decrypt_error handshake_failure illegal_parameter internal_error no_application_protocol protocol_version
			unexpected_message unknown_ca unrecognized_name unsupported_certificate other`,
	}
	for kind, names := range required {
		for _, name := range strings.Fields(names) {
			_, ok := book.Lookup(kind + "." + name)
			assert.True(t, ok, kind+"."+name)
		}
	}
}

// The vocabulary of the trace is explained in full, apart from what the program
// or its user did: those events speak for themselves.
func TestTraceVocabulary(t *testing.T) {
	for _, code := range []trace.ErrorCode{
		trace.CodeRefused, trace.CodeTimeout, trace.CodeNameNotFound, trace.CodeNoRoute, trace.CodeDenied,
		trace.CodeQuota, trace.CodeTooMany, trace.CodeShutdown, trace.CodeTLS, trace.CodeProtocol,
		trace.CodeDesync, trace.CodeClosed, trace.CodeUnsupported, trace.CodeRejected, trace.CodeBadPlan,
		trace.CodeCancelled, trace.CodeCrashed,
	} {
		_, ok := book.Lookup("error." + string(code))
		assert.True(t, ok, code)
	}
	for layer, kinds := range map[trace.Layer][]trace.Kind{
		trace.LayerTunnel: {trace.KindResolving, trace.KindAddresses, trace.KindDialing, trace.KindOpened},
		trace.LayerTLS:    {trace.KindStart, trace.KindRecord, trace.KindHandshake, trace.KindAlert},
		trace.LayerSMTP:   {trace.KindClosed, trace.KindDesync},
	} {
		for _, kind := range kinds {
			id := "event." + string(layer) + "." + string(kind)
			_, ok := book.Lookup(id)
			assert.True(t, ok, id)
		}
	}
}

func TestLookup(t *testing.T) {
	e, ok := book.Lookup("command.rcpt")
	require.True(t, ok)
	assert.Equal(t, "RCPT TO", e.Title)
	assert.Equal(t, "RFC 5321, 4.1.1.3", e.Section)
	assert.Contains(t, e.Means, "recipient")

	_, ok = book.Lookup("command.xyzzy")
	assert.False(t, ok)
}

func TestFirst(t *testing.T) {
	assert.Equal(t, "reply.250", book.First("nothing", "reply.250", "reply.2yz"))
	assert.Empty(t, book.First("nothing"))
	assert.Empty(t, book.First())
}

func TestReply(t *testing.T) {
	for code, want := range map[int]string{
		250: "reply.250",
		354: "reply.354",
		211: "reply.211",
		253: "reply.2yz",
		399: "reply.3yz",
		471: "reply.4yz",
		571: "reply.5yz",
		100: "field.reply-code",
		999: "field.reply-code",
		0:   "field.reply-code",
		-1:  "field.reply-code",
	} {
		assert.Equal(t, want, book.Reply(code), code)
	}
}

func TestEnhanced(t *testing.T) {
	for code, want := range map[string]string{
		"5.1.1":   "enhanced.5.1.1",
		"2.1.5":   "enhanced.2.1.5",
		"4.1.1":   "enhanced.subject.1",
		"5.7.509": "enhanced.subject.7",
		"5.9.9":   "enhanced.class.5",
		"4.12.1":  "enhanced.class.4",
		"3.9.9":   "field.enhanced-code",
		"":        "field.enhanced-code",
		"5":       "enhanced.class.5",
	} {
		assert.Equal(t, want, book.Enhanced(code), code)
	}
}
