package diagnose_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"smtpscope/protocol/diagnose"
	"smtpscope/protocol/trace"
)

const (
	port25   = `{"target":{"host":"mx.example.net","port":25},"security":"starttls"}`
	port465  = `{"target":{"host":"mx.example.net","port":465},"security":"tls"}`
	clear465 = `{"target":{"host":"mx.example.net","port":465},"security":"none"}`
	clear25  = `{"target":{"host":"mx.example.net","port":25},"security":"none"}`
	signIn   = `{"target":{"host":"mx.example.net","port":587},"security":"none","auth":{"mechanism":"","username":"ada"}}`

	greeting = "S: 220 mx.example.net ESMTP Postfix"
	ehlo     = "C: EHLO page.example"
	postfix  = "S: 250-mx.example.net|250-PIPELINING|250-SIZE 10240000|250-ETRN|250-ENHANCEDSTATUSCODES|250-8BITMIME|250-DSN|250-SMTPUTF8|250 CHUNKING"
)

// offering is a reply to EHLO with some lines more.
func offering(lines ...string) string {
	return strings.Replace(postfix, "|250-PIPELINING", "|250-"+strings.Join(append(lines, "PIPELINING"), "|250-"), 1)
}

// lacking is a reply to EHLO without one of its lines.
func lacking(keyword string) string {
	lines := strings.Split(postfix, "|")
	return strings.Join(slices.DeleteFunc(lines, func(l string) bool { return strings.HasPrefix(l[4:], keyword) }), "|")
}

// in plays a script in a session that has been greeted.
func in(s ...string) script { return append(script{"OPEN", greeting, ehlo}, s...) }

func certificate(edit func(c *trace.Certificate)) trace.Certificate {
	c := trace.Certificate{Subject: "CN=mx.example.net", Issuer: "CN=Example CA", Names: []string{"mx.example.net"},
		NotBefore: started.AddDate(0, -1, 0), NotAfter: started.AddDate(0, 2, 0), Key: "ECDSA P-256", Signature: "ECDSA-SHA256"}
	if edit != nil {
		edit(&c)
	}
	return c
}

// handshake is a good one, with an edit of it and of the server's certificate.
func handshake(edit func(h *trace.HandshakeData, c *trace.Certificate)) trace.HandshakeData {
	h := trace.HandshakeData{Version: "TLS 1.3", Suite: "TLS_AES_128_GCM_SHA256", ServerName: "mx.example.net", Verified: true,
		Chain: []trace.Certificate{certificate(nil), certificate(func(c *trace.Certificate) { c.Subject, c.Issuer = "CN=Example CA", "CN=Example Root" })}}
	if edit != nil {
		edit(&h, &h.Chain[0])
	}
	return h
}

func distrusted(reason string) func(h *trace.HandshakeData, c *trace.Certificate) {
	return func(h *trace.HandshakeData, _ *trace.Certificate) {
		h.Verified, h.Reason, h.Problem = false, reason, "The certificate is not valid: too many intermediates."
	}
}

func failed(phase string, code trace.ErrorCode) trace.Result {
	return trace.Result{Outcome: trace.Failed, Phase: phase, Error: &trace.ErrorInfo{Code: code, Message: "It failed."}}
}

var rejected = failed("rcpt", trace.CodeRejected)

// refusedMail is when a reply decided it.
var refusedMail = trace.Result{Outcome: trace.Rejected, Phase: "mail", Error: &trace.ErrorInfo{Code: trace.CodeRejected}, Reply: &trace.ResultReply{Code: 552}}

// ruleCase is about one rule: what it finds, or, without a severity, that it does not.
type ruleCase struct {
	id, name string
	session
	severity trace.Severity
	text     string
	events   []string // their texts
}

var cases = []ruleCase{
	{id: "slow-greeting", name: "over 5 s", session: session{script: script{"+8s", "OPEN", "+5.1s", greeting}},
		severity: trace.Note, text: "The greeting took 5.1 s.", events: []string{greeting[3:]}},
	{id: "slow-greeting", name: "connecting does not count", session: session{script: script{"+8s", "OPEN", "+5s", greeting}}},

	{id: "banner-name-mismatch", name: "two names", session: session{script: in("S: 250 smtp.example.net hello")},
		severity: trace.Note, text: "The server greets as mx.example.net and answers EHLO as smtp.example.net.",
		events: []string{greeting[3:], "250 smtp.example.net hello"}},
	{id: "banner-name-mismatch", name: "case and a final dot", session: session{script: in("S: 250 MX.example.net. hello")}},
	{id: "banner-name-mismatch", name: "a word that is no name", session: session{script: in("S: 250 Hello page.example")}},

	{id: "banner-leaks-version", name: "Exim", session: session{script: script{"OPEN", "S: 220 mx.example.net ESMTP Exim 4.96 Sun, 22 Nov 2026 10:00:00 +0000"}},
		severity: trace.Chat, text: `The greeting names a version: "220 mx.example.net ESMTP Exim 4.96 Sun, 22 Nov 2026 10:00:00 +0000".`,
		events: []string{"220 mx.example.net ESMTP Exim 4.96 Sun, 22 Nov 2026 10:00:00 +0000"}},
	{id: "banner-leaks-version", name: "Exchange", session: session{script: script{"OPEN", "S: 220 mx Microsoft ESMTP MAIL Service, Version: 10.0.17763.1 ready"}},
		severity: trace.Chat, text: `The greeting names a version: "220 mx Microsoft ESMTP MAIL Service, Version: 10.0.17763.1 ready".`,
		events: []string{"220 mx Microsoft ESMTP MAIL Service, Version: 10.0.17763.1 ready"}},
	{id: "banner-leaks-version", name: "Sendmail", session: session{script: script{"OPEN", "S: 220 mx ESMTP Sendmail 8.17.1/8.17.1; Sun"}},
		severity: trace.Chat, text: `The greeting names a version: "220 mx ESMTP Sendmail 8.17.1/8.17.1; Sun".`,
		events: []string{"220 mx ESMTP Sendmail 8.17.1/8.17.1; Sun"}},
	{id: "banner-leaks-version", name: "a prefix", session: session{script: script{"OPEN", "S: 220 mx (chasquid-v1.11.0rc1)"}},
		severity: trace.Chat, text: `The greeting names a version: "220 mx (chasquid-v1.11.0rc1)".`, events: []string{"220 mx (chasquid-v1.11.0rc1)"}},
	{id: "banner-leaks-version", name: "Gmail's id", session: session{script: script{"OPEN", "S: 220 mx.google.com ESMTP ffacd0b85a97d-42cb7f3b0d0si12345678f8f.123 - gsmtp"}}},
	{id: "banner-leaks-version", name: "addresses", session: session{script: script{"OPEN", "S: 220 1.2.3.4 ESMTP for [192.0.2.1] 198.51.100.25 and 4.5.example.org, 4."}}},
	{id: "banner-leaks-version", name: "none", session: session{script: script{"OPEN", greeting}}},

	{id: "wrong-tls-mode", name: "a greeting for TLS", session: session{plan: port465, script: script{"OPEN", "ALERT 220 mx ESMTP", "END"}},
		severity: trace.Error, text: `TLS was begun, and the server answered in the clear: "220 mx ESMTP".`, events: []string{"alert"}},
	{id: "wrong-tls-mode", name: "TLS for a greeting", session: session{plan: clear25, script: script{"OPEN", "S~ \x15\x03\x01", "DESYNC TLS", "END"}},
		severity: trace.Error, text: "The server sent a TLS record where a reply was expected.", events: []string{"TLS"}},
	{id: "wrong-tls-mode", name: "silence on 465", session: session{plan: clear465, script: script{"OPEN", "+5m", "END"}, result: failed("greeting", trace.CodeTimeout)},
		severity: trace.Error, text: "No greeting came on port 465 within 300.0 s.", events: []string{"error"}},
	{id: "wrong-tls-mode", name: "silence on 25", session: session{plan: clear25, script: script{"OPEN", "+5m", "END"}, result: failed("greeting", trace.CodeTimeout)}},
	{id: "wrong-tls-mode", name: "another alert", session: session{plan: port465, script: script{"OPEN", "ALERT \x15\x03\x03\x00\x02\x02\x28", "END"}}},

	{id: "no-starttls", name: "wanted", session: session{script: in(postfix)},
		severity: trace.Error, text: "STARTTLS is not offered on port 587, and this session wanted it.", events: []string{"250-mx.example.net"}},
	{id: "no-starttls", name: "not wanted", session: session{plan: clear25, script: in(postfix)},
		severity: trace.Warn, text: "STARTTLS is not offered on port 25.", events: []string{"250-mx.example.net"}},
	{id: "no-starttls", name: "HELO", session: session{plan: clear25, script: in("S: 500 what?", "C: HELO page.example", "S: 250 mx.example.net")},
		severity: trace.Warn, text: "STARTTLS is not offered on port 25.", events: []string{"250 mx.example.net"}},
	{id: "no-starttls", name: "offered", session: session{plan: clear25, script: in(offering("STARTTLS"))}},
	{id: "no-starttls", name: "in TLS nobody needs it", session: session{plan: port465, script: script{"OPEN", "TLS", greeting, ehlo, postfix}}},
	{id: "no-starttls", name: "LMTP", session: session{plan: clear25, script: script{"OPEN", greeting, "C: LHLO page.example", postfix}}},
	{id: "no-starttls", name: "stripped", session: session{plan: clear25, script: in(offering("XXXXXXXA"))}},

	{id: "starttls-stripped", name: "masked line", session: session{plan: clear25, script: in(offering("XXXXXXXA"))},
		severity: trace.Error, text: `The reply to EHLO lists "XXXXXXXA", which is no extension.`, events: []string{"250-mx.example.net"}},
	{id: "starttls-stripped", name: "masked greeting", session: session{plan: clear25, script: script{"OPEN", "S: 220 **********", ehlo, postfix}},
		severity: trace.Error, text: `The greeting is masked, "220 **********", and STARTTLS is not offered.`, events: []string{"250-mx.example.net"}},
	{id: "starttls-stripped", name: "masked command", session: session{script: in(offering("STARTTLS"), "C: STARTTLS", `S: 500 5.5.1 unrecognized: "XXXXXXXX"`)},
		severity: trace.Error, text: `The server did not get STARTTLS as it was sent: "500 5.5.1 unrecognized: "XXXXXXXX"".`,
		events: []string{`500 5.5.1 unrecognized: "XXXXXXXX"`}},
	{id: "starttls-stripped", name: "an extension of somebody's own", session: session{plan: clear25, script: in(offering("XCLIENT NAME", "XXX"))}},
	{id: "starttls-stripped", name: "masked greeting only", session: session{plan: clear25, script: script{"OPEN", "S: 220 **********", ehlo, offering("STARTTLS")}}},

	{id: "starttls-refused", name: "454", session: session{script: in(offering("STARTTLS"), "C: STARTTLS", "S: 454 4.7.0 TLS not available")},
		severity: trace.Error, text: `STARTTLS is offered, and was answered by "454 4.7.0 TLS not available".`, events: []string{"250-mx.example.net", "454 4.7.0 TLS not available"}},
	{id: "starttls-refused", name: "not offered", session: session{script: in(postfix, "C: STARTTLS", "S: 502 5.5.1 no")}},

	{id: "plaintext-after-220", name: "a reply before TLS", session: session{script: in(offering("STARTTLS"), "C: STARTTLS", "S: 220 2.0.0 go", "S~ 250 ok", "DESYNC bytes", "END")},
		severity: trace.Error, text: `More came in the clear behind the answer to STARTTLS: "250 ok".`, events: []string{"220 2.0.0 go"}},
	{id: "plaintext-after-220", name: "another desync", session: session{script: in(offering("STARTTLS"), "S~ oops", "DESYNC bytes", "END")}},

	{id: "weak-tls", name: "old version", session: session{script: in(postfix, "TLS"), tls: handshake(func(h *trace.HandshakeData, _ *trace.Certificate) { h.Version = "TLS 1.1" })},
		severity: trace.Warn, text: "Too weak by now: TLS 1.1.", events: []string{"handshake"}},
	{id: "weak-tls", name: "too old to go on", session: session{script: in(postfix, "HELLO TLS 1.0", "END")},
		severity: trace.Error, text: "Too weak by now: TLS 1.0.", events: []string{"alert"}},
	{id: "weak-tls", name: "suite, key and signature", session: session{script: in(postfix, "TLS"), tls: handshake(func(h *trace.HandshakeData, c *trace.Certificate) {
		h.Version, h.Suite, c.Key, c.Signature = "TLS 1.2", "TLS_RSA_WITH_AES_128_CBC_SHA", "RSA 1024", "SHA1-RSA"
	})},
		severity: trace.Warn, text: "Too weak by now: TLS_RSA_WITH_AES_128_CBC_SHA; RSA 1024 bit of CN=mx.example.net; SHA1-RSA on CN=mx.example.net.",
		events: []string{"handshake"}},
	{id: "weak-tls", name: "TLS 1.2 as it should be", session: session{script: in(postfix, "TLS"), tls: handshake(func(h *trace.HandshakeData, c *trace.Certificate) {
		h.Version, h.Suite, c.Key, c.Signature = "TLS 1.2", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "RSA 2048", "SHA256-RSA"
	})}},
	{id: "weak-tls", name: "a root's own signature", session: session{script: in(postfix, "TLS"), tls: handshake(func(h *trace.HandshakeData, _ *trace.Certificate) {
		h.Chain = append(h.Chain, certificate(func(c *trace.Certificate) { c.Subject, c.Issuer, c.Signature = "CN=Root", "CN=Root", "SHA1-RSA" }))
	})}},
	{id: "weak-tls", name: "an alert about something else", session: session{script: in(postfix, "HELLO TLS 1.2", "END")}},

	{id: "cert-name-mismatch", name: "ended the session", session: session{script: in(postfix, "ALERT", "END"), tls: handshake(distrusted("wrong-name"))},
		severity: trace.Error, text: `The certificate is for "mx.example.net", not for mx.example.net.`, events: []string{"alert"}},
	{id: "cert-name-mismatch", name: "between servers", session: session{plan: port25, script: in(postfix, "TLS"), tls: handshake(func(h *trace.HandshakeData, c *trace.Certificate) {
		h.Verified, h.Reason, c.Names = false, "wrong-name", nil
	})},
		severity: trace.Warn, text: "The certificate is for no name, not for mx.example.net.", events: []string{"handshake"}},
	{id: "cert-name-mismatch", name: "fits", session: session{script: in(postfix, "TLS"), tls: handshake(nil)}},

	{id: "cert-expired", name: "by a second", session: session{script: append(in(postfix), "+2s", "TLS"), tls: handshake(func(_ *trace.HandshakeData, c *trace.Certificate) { c.NotAfter = started.Add(time.Second) })},
		severity: trace.Error, text: "The certificate of CN=mx.example.net expired on 22 November 2026.", events: []string{"handshake"}},
	{id: "cert-expired", name: "an intermediate", session: session{plan: port25, script: in(postfix, "TLS"), tls: handshake(func(h *trace.HandshakeData, _ *trace.Certificate) {
		h.Chain[1].NotAfter = started.AddDate(-1, 0, 0)
	})},
		severity: trace.Warn, text: "The certificate of CN=Example CA expired on 22 November 2025.", events: []string{"handshake"}},
	{id: "cert-expired", name: "a root", session: session{script: in(postfix, "TLS"), tls: handshake(func(h *trace.HandshakeData, _ *trace.Certificate) {
		h.Chain[1].Issuer, h.Chain[1].NotAfter = h.Chain[1].Subject, started.AddDate(-1, 0, 0)
	})}},
	{id: "cert-expired", name: "in its last second", session: session{script: in(postfix, "TLS"), tls: handshake(func(_ *trace.HandshakeData, c *trace.Certificate) { c.NotAfter = started.Add(time.Second) })}},

	{id: "cert-not-yet-valid", name: "tomorrow", session: session{script: in(postfix, "TLS"), tls: handshake(func(_ *trace.HandshakeData, c *trace.Certificate) { c.NotBefore = started.AddDate(0, 0, 1) })},
		severity: trace.Error, text: "The certificate of CN=mx.example.net is valid only from 23 November 2026.", events: []string{"handshake"}},
	{id: "cert-not-yet-valid", name: "now", session: session{script: in(postfix, "TLS"), tls: handshake(func(_ *trace.HandshakeData, c *trace.Certificate) { c.NotBefore = started })}},

	{id: "cert-expires-soon", name: "in 13 days", session: session{script: in(postfix, "TLS"), tls: handshake(func(_ *trace.HandshakeData, c *trace.Certificate) {
		c.NotAfter = started.AddDate(0, 0, 14).Add(-time.Second)
	})},
		severity: trace.Warn, text: "The certificate of CN=mx.example.net expires on 6 December 2026, in 13 days.", events: []string{"handshake"}},
	{id: "cert-expires-soon", name: "in 14 days", session: session{script: in(postfix, "TLS"), tls: handshake(func(_ *trace.HandshakeData, c *trace.Certificate) { c.NotAfter = started.AddDate(0, 0, 14) })}},
	{id: "cert-expires-soon", name: "made for six days", session: session{script: in(postfix, "TLS"), tls: handshake(func(_ *trace.HandshakeData, c *trace.Certificate) {
		c.NotBefore, c.NotAfter = started.AddDate(0, 0, -3), started.AddDate(0, 0, 3)
	})}},
	{id: "cert-expires-soon", name: "expired already", session: session{script: in(postfix, "TLS"), tls: handshake(func(_ *trace.HandshakeData, c *trace.Certificate) { c.NotAfter = started.Add(-1) })}},

	{id: "cert-untrusted", name: "an authority of one's own", session: session{script: in(postfix, "ALERT", "END"), tls: handshake(distrusted("untrusted"))},
		severity: trace.Error, text: "The certificate of CN=mx.example.net is issued by CN=Example CA, which is no trusted authority here.", events: []string{"alert"}},
	{id: "cert-untrusted", name: "self-signed, between servers", session: session{plan: port25, script: in(postfix, "TLS"), tls: handshake(func(h *trace.HandshakeData, c *trace.Certificate) {
		distrusted("untrusted")(h, c)
		c.Issuer = c.Subject
	})},
		severity: trace.Warn, text: "The certificate of CN=mx.example.net is signed by itself.", events: []string{"handshake"}},
	{id: "cert-untrusted", name: "another reason", session: session{script: in(postfix, "ALERT", "END"), tls: handshake(distrusted("invalid"))},
		severity: trace.Error, text: "The certificate is not valid: too many intermediates.", events: []string{"alert"}},
	{id: "cert-untrusted", name: "wrong name", session: session{script: in(postfix, "ALERT", "END"), tls: handshake(distrusted("wrong-name"))}},

	{id: "incomplete-chain", name: "alone", session: session{script: in(postfix, "ALERT", "END"), tls: handshake(func(h *trace.HandshakeData, c *trace.Certificate) {
		distrusted("untrusted")(h, c)
		h.Chain = h.Chain[:1]
	})},
		severity: trace.Warn, text: "The server sent its own certificate alone, without that of CN=Example CA.", events: []string{"alert"}},
	{id: "incomplete-chain", name: "with an intermediate", session: session{script: in(postfix, "ALERT", "END"), tls: handshake(distrusted("untrusted"))}},
	{id: "incomplete-chain", name: "self-signed", session: session{script: in(postfix, "ALERT", "END"), tls: handshake(func(h *trace.HandshakeData, c *trace.Certificate) {
		distrusted("untrusted")(h, c)
		c.Issuer = c.Subject
		h.Chain = h.Chain[:1]
	})}},

	{id: "auth-before-tls", name: "beside STARTTLS", session: session{script: in(offering("STARTTLS", "AUTH PLAIN LOGIN"))},
		severity: trace.Note, text: "AUTH PLAIN LOGIN is offered before TLS.", events: []string{"250-mx.example.net"}},
	{id: "auth-before-tls", name: "and no STARTTLS", session: session{plan: clear25, script: in(offering("AUTH PLAIN LOGIN"))},
		severity: trace.Warn, text: "AUTH PLAIN LOGIN is offered before TLS.", events: []string{"250-mx.example.net"}},
	{id: "auth-before-tls", name: "used", session: session{plan: signIn, script: in(offering("STARTTLS", "AUTH PLAIN LOGIN"), "C: AUTH PLAIN ••••", "S: 235 2.7.0 ok")},
		severity: trace.Warn, text: "AUTH PLAIN LOGIN is offered before TLS, and the password went in the clear.", events: []string{"250-mx.example.net", "AUTH PLAIN ••••"}},
	{id: "auth-before-tls", name: "with a challenge", session: session{plan: signIn, script: in(offering("AUTH CRAM-MD5"), "C: AUTH CRAM-MD5", "S: 334 eA==", "C> eQ==", "S: 235 2.7.0 ok")},
		severity: trace.Note, text: "AUTH CRAM-MD5 is offered before TLS.", events: []string{"250-mx.example.net"}},
	{id: "auth-before-tls", name: "in TLS only", session: session{script: in(offering("STARTTLS"), "C: STARTTLS", "S: 220 2.0.0 go", "TLS", ehlo, offering("AUTH PLAIN"))}},

	{id: "auth-only-after-tls", name: "530", session: session{plan: clear25, script: in(offering("STARTTLS"), "C: MAIL FROM:<>", "S: 530 5.7.0 Must issue a STARTTLS command first")},
		severity: trace.Error, text: `Before TLS, which is offered, the answer to MAIL was "530 5.7.0 Must issue a STARTTLS command first".`,
		events: []string{"250-mx.example.net", "530 5.7.0 Must issue a STARTTLS command first"}},
	{id: "auth-only-after-tls", name: "538", session: session{plan: signIn, script: in(offering("STARTTLS", "AUTH PLAIN"), "C: AUTH PLAIN ••••", "S: 538 5.7.11 no")},
		severity: trace.Error, text: `Before TLS, which is offered, the answer to AUTH was "538 5.7.11 no".`, events: []string{"250-mx.example.net", "538 5.7.11 no"}},
	{id: "auth-only-after-tls", name: "nothing to sign in with", session: session{plan: signIn, script: in(offering("STARTTLS"), "C: QUIT", "S: 221 2.0.0 bye"), result: failed("auth", trace.CodeUnsupported)},
		severity: trace.Error, text: "Before TLS the server offers STARTTLS and no AUTH, and this session was to sign in without TLS.", events: []string{"250-mx.example.net"}},
	{id: "auth-only-after-tls", name: "530 for want of a sign-in", session: session{plan: clear25, script: in(offering("STARTTLS", "AUTH PLAIN"), "C: MAIL FROM:<>", "S: 530 5.7.0 Authentication required")}},
	{id: "auth-only-after-tls", name: "530 in TLS", session: session{script: in(offering("STARTTLS"), "C: STARTTLS", "S: 220 2.0.0 go", "TLS", ehlo, offering("AUTH PLAIN"), "C: MAIL FROM:<>", "S: 530 5.7.0 Authentication required")}},

	{id: "auth-changed", name: "other mechanisms", session: session{script: in(offering("STARTTLS", "AUTH CRAM-MD5"), "C: STARTTLS", "S: 220 2.0.0 go", "TLS", ehlo, offering("AUTH PLAIN LOGIN"))},
		severity: trace.Chat, text: "Before TLS the server offers AUTH CRAM-MD5, in TLS AUTH PLAIN LOGIN.", events: []string{"250-mx.example.net", "250-mx.example.net"}},
	{id: "auth-changed", name: "channel binding comes with TLS", session: session{script: in(offering("STARTTLS", "AUTH PLAIN SCRAM-SHA-256"), "C: STARTTLS", "S: 220 2.0.0 go", "TLS", ehlo,
		offering("AUTH SCRAM-SHA-256-PLUS SCRAM-SHA-256 PLAIN EXTERNAL"))}},
	{id: "auth-changed", name: "none before", session: session{script: in(offering("STARTTLS"), "C: STARTTLS", "S: 220 2.0.0 go", "TLS", ehlo, offering("AUTH PLAIN LOGIN"))}},

	{id: "auth-plain-only", name: "in TLS", session: session{plan: port465, script: script{"OPEN", "TLS", greeting, ehlo, offering("AUTH PLAIN LOGIN")}},
		severity: trace.Chat, text: "In TLS the server offers AUTH PLAIN LOGIN and nothing else.", events: []string{"250-mx.example.net"}},
	{id: "auth-plain-only", name: "and SCRAM", session: session{plan: port465, script: script{"OPEN", "TLS", greeting, ehlo, offering("AUTH PLAIN LOGIN SCRAM-SHA-256")}}},

	{id: "auth-equals-form", name: "beside the usual form", session: session{plan: port465, script: script{"OPEN", "TLS", greeting, ehlo, offering("AUTH PLAIN", "AUTH=PLAIN")}},
		severity: trace.Chat, text: `The reply to EHLO has a line "AUTH=PLAIN" too.`, events: []string{"250-mx.example.net"}},
	{id: "auth-equals-form", name: "alone", session: session{plan: port465, script: script{"OPEN", "TLS", greeting, ehlo, offering("auth=PLAIN")}},
		severity: trace.Warn, text: `The reply to EHLO offers AUTH only by a line "auth=PLAIN".`, events: []string{"250-mx.example.net"}},
	{id: "auth-equals-form", name: "the usual form", session: session{plan: port465, script: script{"OPEN", "TLS", greeting, ehlo, offering("AUTH PLAIN")}}},

	{id: "no-pipelining", name: "absent", session: session{script: in(lacking("PIPELINING")), result: trace.Result{Outcome: trace.Accepted, RoundTrips: 9}},
		severity: trace.Note, text: "PIPELINING is not offered: this session took 9 round trips.", events: []string{"250-mx.example.net"}},
	{id: "no-pipelining", name: "offered", session: session{script: in(postfix)}},
	{id: "no-pipelining", name: "HELO has no extensions", session: session{script: in("S: 500 what?", "C: HELO page.example", "S: 250 mx.example.net")}},

	{id: "pipelining-broken", name: "refused", session: session{script: in(postfix, "C: MAIL FROM:<>", "C: RCPT TO:<a@example.net>", "S: 250 2.1.0 ok", "S: 554 SMTP synchronization error")},
		severity: trace.Error, text: `PIPELINING is offered, and a group of commands was answered by "554 SMTP synchronization error".`,
		events: []string{"250-mx.example.net", "554 SMTP synchronization error"}},
	{id: "pipelining-broken", name: "lost", session: session{script: in(postfix, "C: MAIL FROM:<>", "C: RCPT TO:<a@example.net>", "C: DATA", "S: 250 2.1.0 ok", "END"), result: failed("rcpt", trace.CodeTimeout)},
		severity: trace.Error, text: "PIPELINING is offered, and 2 commands of a group were never answered.",
		events: []string{"250-mx.example.net", "RCPT TO:<a@example.net>", "DATA"}},
	{id: "pipelining-broken", name: "the last of a group may be slow", session: session{script: in(postfix, "C: MAIL FROM:<>", "C: DATA", "S: 250 2.1.0 ok", "END"), result: failed("data", trace.CodeTimeout)}},
	{id: "pipelining-broken", name: "a chunk is one command", session: session{script: in(postfix, "C: BDAT 5 LAST", "M", "END"), result: failed("message", trace.CodeTimeout)}},
	{id: "pipelining-broken", name: "every command was answered", session: session{script: in(postfix, "C: MAIL FROM:<>", "C: RCPT TO:<a@example.net>", "S: 250 2.1.0 ok", "S: 554 5.7.1 no")}},

	{id: "no-8bitmime", name: "absent", session: session{script: in(lacking("8BITMIME"))}, severity: trace.Note, text: "8BITMIME is not offered.", events: []string{"250-mx.example.net"}},
	{id: "no-8bitmime", name: "offered", session: session{script: in(postfix)}},
	{id: "no-8bitmime", name: "the reply in TLS counts", session: session{script: in(lacking("8BITMIME"), "C: STARTTLS", "S: 220 2.0.0 go", "TLS", ehlo, postfix)}},

	{id: "smtputf8-without-8bitmime", name: "alone", session: session{script: in(lacking("8BITMIME"))},
		severity: trace.Warn, text: "8BITMIME is not offered, and SMTPUTF8 is.", events: []string{"250-mx.example.net"}},
	{id: "smtputf8-without-8bitmime", name: "both", session: session{script: in(postfix)}},

	{id: "binarymime-without-chunking", name: "alone", session: session{script: in(strings.Replace(postfix, "CHUNKING", "BINARYMIME", 1))},
		severity: trace.Warn, text: "CHUNKING is not offered, and BINARYMIME is.", events: []string{"250-mx.example.net"}},
	{id: "binarymime-without-chunking", name: "both", session: session{script: in(offering("BINARYMIME"))}},

	{id: "enhanced-codes-missing", name: "not offered", session: session{script: in(lacking("ENHANCED"))},
		severity: trace.Chat, text: "ENHANCEDSTATUSCODES is not offered.", events: []string{"250-mx.example.net"}},
	{id: "enhanced-codes-missing", name: "offered and left out", session: session{script: in(postfix, "C: MAIL FROM:<>", "S: 250 ok", "C: RCPT TO:<a@example.net>", "S: 250 2.1.5 ok", "C: DATA", "S: 354 go", "M", "S: 250 done")},
		severity: trace.Note, text: `ENHANCEDSTATUSCODES is offered, and the answer to MAIL has no code: "250 ok".`, events: []string{"250-mx.example.net", "250 ok", "250 done"}},
	{id: "enhanced-codes-missing", name: "not asked of 354, 421 and QUIT", session: session{script: in(postfix, "C: MAIL FROM:<>", "S: 250 2.1.0 ok", "C: DATA", "S: 354 go", "M", "S: 421 closing", "C: QUIT", "S: 221 bye")}},

	{id: "no-size", name: "absent", session: session{script: in(lacking("SIZE"))}, severity: trace.Chat, text: "SIZE is not offered.", events: []string{"250-mx.example.net"}},
	{id: "no-size", name: "without a limit", session: session{script: in(strings.Replace(postfix, "SIZE 10240000", "SIZE", 1))}},

	{id: "size-below-message", name: "refused by the client", session: session{script: in(postfix, "C: QUIT", "S: 221 2.0.0 bye", "END"), result: failed("mail", trace.CodeRejected)},
		severity: trace.Error, text: "It failed.", events: []string{"250-mx.example.net"}},
	{id: "size-below-message", name: "refused by the server", session: session{script: in(postfix, "C: MAIL FROM:<> SIZE=20000000", "S: 552 5.3.4 too big"), result: refusedMail},
		severity: trace.Error, text: `The message is too large for the server: "552 5.3.4 too big".`, events: []string{"552 5.3.4 too big"}},
	{id: "size-below-message", name: "no limit named", session: session{script: in(lacking("SIZE"), "C: MAIL FROM:<>", "S: 552 too big"), result: refusedMail},
		severity: trace.Error, text: `The message is too large for the server: "552 too big".`, events: []string{"552 too big"}},
	{id: "size-below-message", name: "a full mailbox", session: session{script: in(postfix, "C: RCPT TO:<a@example.net>", "S: 552 5.2.2 quota"), result: rejected}},
	{id: "size-below-message", name: "MAIL refused for another reason", session: session{script: in(postfix, "C: MAIL FROM:<>", "S: 550 5.7.1 no"), result: refusedMail}},

	{id: "vrfy-discloses", name: "250", session: session{script: in(postfix, "C: VRFY ada", "S: 250 2.1.5 Ada <ada@example.net>")},
		severity: trace.Warn, text: `Without a sign-in the answer to VRFY was "250 2.1.5 Ada <ada@example.net>".`, events: []string{"250 2.1.5 Ada <ada@example.net>"}},
	{id: "vrfy-discloses", name: "252", session: session{script: in(postfix, "C: VRFY ada", "S: 252 2.0.0 ada")}},
	{id: "vrfy-discloses", name: "to its own", session: session{script: in(postfix, "C: AUTH PLAIN ••••", "S: 235 2.7.0 ok", "C: VRFY ada", "S: 250 2.1.5 ada")}},

	{id: "postmaster-refused", name: "unknown", session: session{script: in(postfix, "C: RCPT TO:<Postmaster@example.net>", "S: 550 5.1.1 no such user")},
		severity: trace.Warn, text: `Mail for postmaster was refused: "550 5.1.1 no such user".`, events: []string{"550 5.1.1 no such user"}},
	{id: "postmaster-refused", name: "of no domain", session: session{script: in(postfix, "C: RCPT TO:<postmaster>", "S: 501 5.1.3 syntax")},
		severity: trace.Warn, text: `Mail for postmaster was refused: "501 5.1.3 syntax".`, events: []string{"501 5.1.3 syntax"}},
	{id: "postmaster-refused", name: "of a domain elsewhere", session: session{script: in(postfix, "C: RCPT TO:<postmaster@example.com>", "S: 550 relay not permitted")}},
	{id: "postmaster-refused", name: "by policy", session: session{script: in(postfix, "C: RCPT TO:<postmaster@example.net>", "S: 554 5.7.1 no")}},
	{id: "postmaster-refused", name: "somebody else", session: session{script: in(postfix, "C: RCPT TO:<postmasters@example.net>", "S: 550 5.1.1 no such user")}},

	{id: "greylisting-likely", name: "451 4.7.1", session: session{script: in(postfix, "C: RCPT TO:<a@example.net>", "S: 451 4.7.1 try later", "C: RCPT TO:<b@example.net>", "S: 451 4.7.1 try later, too")},
		severity: trace.Note, text: `RCPT was put off: "451 4.7.1 try later".`, events: []string{"451 4.7.1 try later", "451 4.7.1 try later, too"}},
	{id: "greylisting-likely", name: "says so", session: session{script: in(postfix, "C: DATA", "S: 450 4.2.0 Greylisted")},
		severity: trace.Note, text: `DATA was put off: "450 4.2.0 Greylisted".`, events: []string{"450 4.2.0 Greylisted"}},
	{id: "greylisting-likely", name: "a full mailbox", session: session{script: in(postfix, "C: RCPT TO:<a@example.net>", "S: 452 4.2.2 full")}},
	{id: "greylisting-likely", name: "a domain that cannot be found", session: session{script: in(postfix, "C: RCPT TO:<a@example.net>", "S: 450 4.1.8 Domain not found")}},

	{id: "policy-vs-user", name: "5.7.1", session: session{script: in(postfix, "C: RCPT TO:<a@example.com>", "S: 554 5.7.1 Relay access denied"), result: rejected},
		severity: trace.Error, text: `RCPT was refused as a matter of policy: "554 5.7.1 Relay access denied".`, events: []string{"554 5.7.1 Relay access denied"}},
	{id: "policy-vs-user", name: "under the code of an unknown user", session: session{script: in(postfix, "C: RCPT TO:<a@example.net>", "S: 550 5.1.1 Blocked, see our blocklist"), result: rejected},
		severity: trace.Error, text: `RCPT was refused as a matter of policy: "550 5.1.1 Blocked, see our blocklist".`, events: []string{"550 5.1.1 Blocked, see our blocklist"}},
	{id: "policy-vs-user", name: "an unknown user", session: session{script: in(postfix, "C: RCPT TO:<a@example.net>", "S: 550 5.1.1 User unknown"), result: rejected}},
	{id: "policy-vs-user", name: "TLS first", session: session{script: in(postfix, "C: MAIL FROM:<>", "S: 530 5.7.0 STARTTLS first"), result: rejected}},

	{id: "slow-reply", name: "over 2 s", session: session{script: in("+100ms", postfix, "C: MAIL FROM:<>", "+2.2s", "S: 250 2.1.0 ok", "C: DATA", "+4s", "S: 354 go")},
		severity: trace.Note, text: "The answer to DATA took 4.0 s, the quickest one 0.1 s.", events: []string{"250 2.1.0 ok", "354 go"}},
	{id: "slow-reply", name: "in a group", session: session{script: in(postfix, "C: MAIL FROM:<>", "C: RCPT TO:<a@example.net>", "S: 250 2.1.0 ok", "+3s", "S: 250 2.1.5 ok")},
		severity: trace.Note, text: "The answer to RCPT took 3.0 s, the quickest one 0.0 s.", events: []string{"250 2.1.5 ok"}},
	{id: "slow-reply", name: "nothing was asked", session: session{script: in(postfix, "+5m", "S? 421 4.4.2 timeout")}},
	{id: "slow-reply", name: "a long way", session: session{script: in("+3s", postfix, "C: MAIL FROM:<>", "+5s", "S: 250 2.1.0 ok")}},
	{id: "slow-reply", name: "a message is looked at", session: session{script: in(postfix, "C: DATA", "S: 354 go", "M", "+10s", "S: 250 2.0.0 ok")}},
	{id: "slow-reply", name: "so is a chunk", session: session{script: in(postfix, "C: BDAT 5 LAST", "M", "+10s", "S: 250 2.0.0 ok")}},
	{id: "slow-reply", name: "a refused sign-in", session: session{script: in(postfix, "C: AUTH PLAIN ••••", "+5s", "S: 535 5.7.8 no")}},
	{id: "slow-reply", name: "the user thinks", session: session{script: in(postfix, "+1m", "C: MAIL FROM:<>", "S: 250 2.1.0 ok")}},
	{id: "slow-reply", name: "another connection", session: session{script: in(postfix, "HOP", "C: MAIL FROM:<>", "+9s", "S: 250 2.1.0 ok")}},

	{id: "malformed-reply", name: "accepted", session: session{script: in(postfix, "C: MAIL FROM:<>", "S: 250Ok")},
		severity: trace.Note, text: "The answer to MAIL is not by the grammar: no-separator.", events: []string{"250Ok"}},
	{id: "malformed-reply", name: "not accepted", session: session{script: in(postfix, "C: MAIL FROM:<>", "S~ oops", "DESYNC a reply starts with a code", "END"), result: failed("mail", trace.CodeProtocol)},
		severity: trace.Error, text: "The session ended because of what the server sent: a reply starts with a code.", events: []string{"a reply starts with a code"}},
	{id: "malformed-reply", name: "UTF-8 without SMTPUTF8", session: session{script: in(lacking("SMTPUTF8"), "C: MAIL FROM:<>", "S: 250 2.1.0 né")},
		severity: trace.Note, text: "The answer to MAIL is not by the grammar: non-ascii.", events: []string{"250 2.1.0 né"}},
	{id: "malformed-reply", name: "twice in one reply", session: session{script: in(lacking("SMTPUTF8"), "C: NOOP", "S: 250né")},
		severity: trace.Note, text: "The answer to NOOP is not by the grammar: no-separator.", events: []string{"250né"}},
	{id: "malformed-reply", name: "UTF-8 with it", session: session{script: in(postfix, "C: MAIL FROM:<>", "S: 250 2.1.0 né")}},
	{id: "malformed-reply", name: "refused in the middle of the message", session: session{script: in(postfix, "C: DATA", "S: 354 go", "M", "S: 552 5.3.4 too big", "DESYNC early", "END"), result: failed("message", trace.CodeRejected)}},

	{id: "early-talker", name: "a reply too many", session: session{script: in(postfix, "S? 250 2.0.0 ok", "DESYNC nothing asked", "END"), result: failed("mail", trace.CodeDesync)},
		severity: trace.Error, text: `The server sent "250 2.0.0 ok", which nothing had asked for.`, events: []string{"250 2.0.0 ok"}},
	{id: "early-talker", name: "421 may come at any time", session: session{script: in(postfix, "S? 421 4.3.2 closing", "EOF", "END"), result: failed("mail", trace.CodeRejected)}},

	{id: "closed-without-quit", name: "waiting", session: session{script: in(postfix, "C: RCPT TO:<a@example.net>", "EOF", "END"), result: failed("rcpt", trace.CodeClosed)},
		severity: trace.Error, text: "The connection was closed when RCPT TO:<a@example.net> was to be answered, and no 421 said why.", events: []string{"closed"}},
	{id: "closed-without-quit", name: "before the greeting", session: session{script: script{"OPEN", "EOF", "END"}, result: failed("greeting", trace.CodeClosed)},
		severity: trace.Error, text: "The connection was closed before the greeting, and no 421 said why.", events: []string{"closed"}},
	{id: "closed-without-quit", name: "when all was done", session: session{script: in(postfix, "C: RSET", "S: 250 2.0.0 ok", "EOF"), result: trace.Result{Outcome: trace.Accepted, Phase: "quit"}},
		severity: trace.Note, text: "The connection was closed behind the answer to RSET, and no 421 said why.", events: []string{"closed"}},
	{id: "closed-without-quit", name: "after QUIT", session: session{script: in(postfix, "C: QUIT", "S: 221 2.0.0 bye", "EOF"), result: trace.Result{Outcome: trace.Accepted, Phase: "quit"}}},
	{id: "closed-without-quit", name: "after 421", session: session{script: in(postfix, "C: MAIL FROM:<>", "S: 421 4.3.2 closing", "EOF", "END"), result: failed("mail", trace.CodeRejected)}},
	{id: "closed-without-quit", name: "by the proxy", session: session{script: in(postfix, "C: MAIL FROM:<>", "EOF", "END"), result: failed("mail", trace.CodeQuota)}},
}

func TestRules(t *testing.T) {
	found, silent := map[string]bool{}, map[string]bool{}
	for _, c := range slices.Concat(cases, domainCases) {
		t.Run(c.id+"/"+c.name, func(t *testing.T) {
			tr := c.trace(t)
			findings := diagnose.Findings(tr)
			i := slices.IndexFunc(findings, func(f trace.Finding) bool { return f.ID == c.id })
			if c.severity == "" {
				silent[c.id] = true
				assert.Negative(t, i, "%v", findings)
				return
			}
			found[c.id] = true
			require.GreaterOrEqual(t, i, 0, "%v", findings)
			f := findings[i]
			assert.Equal(t, c.severity, f.Severity)
			assert.Equal(t, c.text, f.Text)
			var texts []string
			for _, n := range f.Events {
				texts = append(texts, tr.Events[n].Text)
			}
			assert.Equal(t, c.events, texts)
		})
	}
	for _, id := range diagnose.IDs() {
		assert.True(t, found[id], "%s: a case in which it is found", id)
		assert.True(t, silent[id], "%s: a case in which it just is not", id)
	}
}

func ids(findings []trace.Finding) (list []string) {
	for _, f := range findings {
		list = append(list, string(f.Severity)+" "+f.ID)
	}
	return list
}

// The gravest come first, then the earliest; each comes once.
func TestOrder(t *testing.T) {
	s := session{plan: clear25, script: in("S: 250-mx.example.net|250 XYZ", "C: RCPT TO:<a@example.net>", "S: 554 5.7.1 no",
		"C: RCPT TO:<b@example.net>", "S: 554 5.7.1 no"), result: rejected}
	assert.Equal(t, []string{"error policy-vs-user", "warn no-starttls", "note no-pipelining", "note no-8bitmime",
		"chat enhanced-codes-missing", "chat no-size"}, ids(diagnose.Findings(s.trace(t))))
}

// What a well-kept server does is nothing to worry about.
func TestCleanSubmission(t *testing.T) {
	s := session{script: in(offering("STARTTLS"), "C: STARTTLS", "S: 220 2.0.0 Ready to start TLS", "TLS", ehlo, offering("AUTH PLAIN LOGIN"),
		"C: AUTH PLAIN ••••", "S: 235 2.7.0 Authentication successful", "C: MAIL FROM:<ada@example.org> SIZE=300", "C: RCPT TO:<grace@example.net>", "C: DATA",
		"S: 250 2.1.0 Ok", "S: 250 2.1.5 Ok", "S: 354 End data with <CR><LF>.<CR><LF>", "M", "S: 250 2.0.0 Ok: queued as 4F2C",
		"C: QUIT", "S: 221 2.0.0 Bye", "EOF"), tls: handshake(nil), result: trace.Result{Outcome: trace.Accepted, Phase: "quit"}}
	assert.Equal(t, []string{"chat auth-plain-only"}, ids(diagnose.Findings(s.trace(t))))
}

// Without TCP a server is blamed for nothing.
func TestUDP(t *testing.T) {
	s := session{plan: `{"target":{"host":"mx.example.net","port":25},"security":"none","lab":{"transport":"udp"}}`, script: in("S: 250 mx.example.net", "+1m", "EOF")}
	assert.Empty(t, diagnose.Findings(s.trace(t)))
}

// Text goes to terminals and pages.
func TestTextIsEscaped(t *testing.T) {
	s := session{script: in(postfix, "C: VRFY ada", "S: 250 \x1b[2J"+strings.Repeat("ä", 99))}
	f := diagnose.Findings(s.trace(t))
	i := slices.IndexFunc(f, func(f trace.Finding) bool { return f.ID == "vrfy-discloses" })
	assert.Equal(t, `Without a sign-in the answer to VRFY was "250 \x1b[2J`+strings.Repeat("ä", 56)+`…".`, f[i].Text)
}

// A saved trace is whatever somebody wrote.
func FuzzFindings(f *testing.F) {
	for _, c := range slices.Concat(cases, domainCases) {
		b, err := json.Marshal(c.trace(f))
		require.NoError(f, err)
		f.Add(b)
	}
	saved, err := os.ReadFile(filepath.Join("..", "trace", "testdata", "saved-by-the-page.json"))
	require.NoError(f, err)
	f.Add(saved)
	f.Add([]byte(`{"v":1,"meta":{"mode":"live","plan":7},"streams":{},"events":[{"n":0,"t":0,"layer":"smtp","kind":"reply","src":"derived","data":{"code":220,"verb":"greeting","answers":-1}}]}`))
	f.Add([]byte(`{"v":1,"meta":{"mode":"live"},"streams":{},"events":[],"result":{"outcome":"failed","phase":"greeting"}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		tr, err := trace.Decode(b)
		if err != nil {
			return
		}
		tr.Findings = diagnose.Findings(tr)
		again, err := json.Marshal(tr)
		require.NoError(t, err)
		_, err = trace.Decode(again)
		require.NoError(t, err, "findings have evidence that exists")
	})
}
