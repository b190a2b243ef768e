package conformance

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"

	"smtpscope/protocol/trace"
)

const (
	ada   = "ada@example.org"
	grace = "grace@example.net"
	text  = "From: Ada <ada@example.org>\r\nTo: Grace <grace@example.net>\r\nSubject: Notes\r\n\r\nThe engine weaves.\r\n"

	accepted = trace.Accepted
	rejected = trace.Rejected
	failed   = trace.Failed
	unknown  = trace.Unknown
	partial  = trace.Partial
)

// What most dialogues consist of.
var (
	greet    = Script{"S: 220 mx.example.net ESMTP"}
	hello    = offering("SIZE 100000")
	mail     = Script{"C: MAIL FROM:<ada@example.org>*", "S: 250 2.1.0 ok"}
	rcpt     = Script{"C: RCPT TO:<grace@example.net>", "S: 250 2.1.5 ok"}
	data     = Script{"C: DATA", "S: 354 go"}
	envelope = join(mail, rcpt, data)
	deliver  = join(envelope, Script{"M", "S: 250 2.0.0 Ok: queued as 4F2C"})
	quit     = Script{"C: QUIT", "S: 221 2.0.0 bye"}
	upgrade  = Script{"C: STARTTLS", "S: 220 2.0.0 go", "TLS"}
)

func join(parts ...Script) Script { return slices.Concat(parts...) }

// ehlo is EHLO, and a reply with these keywords.
func ehlo(keywords ...string) Script {
	s := Script{"C: EHLO [127.0.0.1]"}
	for _, k := range append([]string{"mx.example.net"}, keywords...) {
		s = append(s, "S: 250-"+k)
	}
	s[len(s)-1] = strings.Replace(s[len(s)-1], "250-", "250 ", 1)
	return s
}

func offering(keywords ...string) Script { return join(greet, ehlo(keywords...)) }

func letter(data string, to ...string) map[string]any {
	return map[string]any{"from": ada, "to": to, "data": data}
}

func letters(all ...any) Plan { return Plan{"messages": all} }

func with(plan Plan, key string, value any) Plan {
	out := Plan{key: value}
	for k, v := range plan {
		out[k] = v
	}
	return out
}

func options(all ...any) Plan {
	o := map[string]any{}
	for i := 0; i < len(all); i += 2 {
		o[all[i].(string)] = all[i+1]
	}
	return Plan{"options": o}
}

func signIn(mechanism, username, password string) Plan {
	return Plan{"auth": map[string]any{"mechanism": mechanism, "username": username, "password": password}}
}

var starttls = Plan{"security": "starttls"}

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// ok is a session in which the one message arrives.
func ok() Want {
	return Want{Outcome: accepted, Phase: "quit", Message: said(text), Recipients: each(accepted)}
}

func said(message string) *string { return &message }

func each(all ...trace.Outcome) []trace.Outcome { return all }

// refusal is the outcome of a session that a reply decides.
func refusal(phase string, code int) Want {
	return Want{Outcome: rejected, Phase: phase, Error: trace.CodeRejected, Reply: code, Permanent: code >= 500}
}

func failure(phase string, code trace.ErrorCode, says string) Want {
	return Want{Outcome: failed, Phase: phase, Error: code, Says: says, Permanent: true}
}

// lost is the outcome when the server is gone.
func lost(phase string) Want { return Want{Outcome: failed, Phase: phase, Error: trace.CodeClosed} }

// Cases are all cases, in the order of Groups.
func Cases() []Case {
	return slices.Concat(replies(), greetings(), security(), signingIn(), messages(), grouped(), bodies(), chunks(), lmtp(), limits())
}

func replies() []Case {
	return []Case{
		{Group: 1, Name: "codes alone", Page: true, Want: ok(), Script: Script{"S: 220", "C: EHLO [127.0.0.1]", "S: 250", "C: MAIL FROM:<ada@example.org>", "S: 250",
			"C: RCPT TO:<grace@example.net>", "S: 250-a", "S: 250", "C: DATA", "S: 354", "M", "S: 250 ", "C: QUIT", "S: 221"}},

		{Group: 2, Name: "another code in the last line of EHLO's reply", Want: failure("ehlo", trace.CodeProtocol, "5321, 4.2"),
			Script: join(greet, Script{"C: EHLO [127.0.0.1]", "S: 250-mx.example.net", "S: 251 SIZE", "SILENCE"})},
		{Group: 2, Name: "250 folded into 550", Want: failure("rcpt", trace.CodeProtocol, "5321, 4.2"),
			Script: join(hello, mail, Script{"C: RCPT TO:<grace@example.net>", "S: 250-ok", "S: 550 no", "SILENCE"})},
		{Group: 2, Name: "no separator", Want: Want{Outcome: accepted, Phase: "quit", Message: said(text), Oddity: "no-separator"},
			Script: join(hello, Script{"C: MAIL FROM:<ada@example.org>*", "S: 250Ok"}, rcpt, data, Script{"M", "S: 250 ok"}, quit)},

		{Group: 3, Name: "bare LF", Want: Want{Outcome: accepted, Phase: "quit", Message: said(text), Oddity: "bare-lf"},
			Script: join(Script{`S~ 220-mx.example.net\n220 café\n`}, ehlo(), deliver, quit)},
		{Group: 3, Name: "UTF-8 in a greeting", Want: Want{Outcome: accepted, Phase: "quit", Oddity: "non-ascii", Shows: "Grüße 你好 🙂"},
			Script: join(Script{"S: 220 mx.example.net Grüße 你好 🙂"}, ehlo(), deliver, quit)},
		{Group: 3, Name: "a reply line of 2,000 octets", Want: Want{Outcome: accepted, Phase: "quit", Oddity: "long-line"},
			Script: join(hello, Script{"C: MAIL FROM:<ada@example.org>*", "S: 250 " + strings.Repeat("x", 1994)}, rcpt, data, Script{"M", "S: 250 ok"}, quit)},
		{Group: 3, Name: "a reply line without end", Want: failure("ehlo", trace.CodeProtocol, "is not an SMTP reply"),
			Script: join(greet, Script{"C: EHLO [127.0.0.1]", "S~ 250-" + strings.Repeat("x", 17<<10), "SILENCE"})},
		{Group: 3, Name: "a reply without end", Page: true, Want: failure("ehlo", trace.CodeProtocol, "is not an SMTP reply"),
			Script: join(greet, Script{"C: EHLO [127.0.0.1]", "S* 250-on and on"})},

		{Group: 4, Name: "escape sequences in a refusal", Page: true,
			Want:   Want{Outcome: rejected, Phase: "rcpt", Error: trace.CodeRejected, Reply: 550, Permanent: true, Says: `\x1b[2J\x1b]0;<b>gone</b>\x07`},
			Script: join(hello, mail, Script{"C: RCPT TO:<grace@example.net>", `S~ 550 5.1.1 \x1b[2J\x1b]0;<b>gone</b>\x07\r\n`}, quit)},
		{Group: 4, Name: "escape sequences in place of a reply", Want: failure("greeting", trace.CodeProtocol, `\x1b[31m`),
			Script: Script{`S~ \x1b[31mwelcome\x00\r\n`, "SILENCE"}},
		{Group: 4, Name: "control octets in keywords", Want: ok(),
			Script: join(greet, Script{"C: EHLO [127.0.0.1]", `S~ 250-mx\x07\r\n250-SI\x00ZE 5\r\n250 HELP\r\n`}, Script{"C: MAIL FROM:<ada@example.org>", "S: 250 ok"}, rcpt, data, Script{"M", "S: 250 ok"}, quit)},

		{Group: 8, Name: "a second reply behind EHLO's", Whole: true, Want: failure("", trace.CodeDesync, "rather than guess"),
			Script: join(greet, Script{"C: EHLO [127.0.0.1]", `S~ 250 mx.example.net\r\n250 surprise\r\n`, "SILENCE"})},
		{Group: 8, Name: "two replies to MAIL", Whole: true, Want: failure("", trace.CodeDesync, "rather than guess"),
			Script: join(hello, Script{"C: MAIL FROM:<ada@example.org>*", `S~ 250 ok\r\n250 ok\r\n`, "SILENCE"})},
	}
}

func greetings() []Case {
	return []Case{
		{Group: 5, Name: "421 for a greeting", Want: refusal("greeting", 421), Script: Script{"S: 421 4.3.2 busy", "CLOSE"}},
		{Group: 5, Name: "554 for a greeting", Page: true, Want: refusal("greeting", 554), Script: join(Script{"S: 554 no mail here"}, quit)},
		{Group: 5, Name: "521 for a greeting", Want: refusal("greeting", 521), Script: join(Script{"S: 521 no mail here"}, quit)},
		{Group: 5, Name: "a greeting of several lines", Want: ok(), Script: join(Script{"S: 220-mx.example.net", "S: 220-no spam", "S: 220 go"}, ehlo(), deliver, quit)},
		{Group: 5, Name: "421 to MAIL", Page: true, Want: refusal("mail", 421),
			Script: join(hello, Script{"C: MAIL FROM:<ada@example.org>*", "S: 421-4.3.2 shutting down", "S: 421 4.3.2 come back", "CLOSE"})},
		{Group: 5, Name: "421 before the next command", Want: refusal("", 421),
			Script: join(greet, Script{"C: EHLO [127.0.0.1]", `S~ 250 mx.example.net\r\n421 4.4.2 idle for too long\r\n`, "CLOSE"})},
		{Group: 5, Name: "421 to the message", Want: Want{Outcome: rejected, Phase: "message", Error: trace.CodeRejected, Reply: 421},
			Script: join(hello, envelope, Script{"M", "S: 421 4.3.2 shutting down", "CLOSE"})},
		{Group: 5, Name: "closed without a word", Want: lost("mail"), Script: join(hello, Script{"C: MAIL FROM:<ada@example.org>*", "CLOSE"})},

		{Group: 6, Name: "EHLO refused, HELO taken", Page: true, Want: ok(),
			Script: join(greet, Script{"C: EHLO [127.0.0.1]", "S: 502 what?", "C: HELO [127.0.0.1]", "S: 250 mx.example.net", "C: MAIL FROM:<ada@example.org>", "S: 250 ok"}, rcpt, data, Script{"M", "S: 250 ok"}, quit)},
		{Group: 6, Name: "no HELO after 421", Want: refusal("ehlo", 421), Script: join(greet, Script{"C: EHLO [127.0.0.1]", "S: 421 4.3.2 busy", "CLOSE"})},
		{Group: 6, Name: "no HELO after 451", Want: refusal("ehlo", 451), Script: join(greet, Script{"C: EHLO [127.0.0.1]", "S: 451 later"}, quit)},
		{Group: 6, Name: "no HELO after TLS", Want: refusal("ehlo", 502), Plan: starttls,
			Script: join(offering("STARTTLS"), upgrade, Script{"C: EHLO [127.0.0.1]", "S: 502 what?"}, quit)},
		{Group: 6, Name: "no HELO after the connection is lost", Want: lost("ehlo"), Script: join(greet, Script{"C: EHLO [127.0.0.1]", "CLOSE"})},
		{Group: 6, Name: "keywords in any case, AUTH= beside AUTH", Want: ok(), Plan: signIn("PLAIN", "ada", "engine"),
			Script: join(offering("auth=LOGIN", "sIzE 100000", "AUTH plain"), Script{"C: AUTH PLAIN " + b64("\x00ada\x00engine"), "S: 235 ok", fmt.Sprintf("C: MAIL FROM:<ada@example.org> SIZE=%d", len(text)), "S: 250 ok"},
				rcpt, data, Script{"M", "S: 250 ok"}, quit)},
	}
}

func security() []Case {
	return []Case{
		{Group: 7, Name: "what EHLO offered before TLS is forgotten", Page: true, Want: ok(), Plan: starttls,
			Script: join(offering("STARTTLS", "SIZE 10", "AUTH LOGIN"), upgrade, ehlo(), Script{"C: MAIL FROM:<ada@example.org>", "S: 250 ok"}, rcpt, data, Script{"M", "S: 250 ok"}, quit)},
		{Group: 7, Name: "octets behind the 220 of STARTTLS", Page: true, Whole: true, Want: failure("starttls", trace.CodeDesync, "CVE-2011-0411"), Plan: starttls,
			Script: join(offering("STARTTLS"), Script{"C: STARTTLS", `S~ 220 go\r\n250 injected\r\n`, "SILENCE"})},
		// The greeting passes for the reply to EHLO, that for the reply to MAIL, and so on, until DATA has none that it can have.
		{Group: 7, Name: "a greeting in TLS", Want: failure("data", trace.CodeDesync, "rather than guess"), Plan: starttls,
			Script: join(offering("STARTTLS"), upgrade, Script{"S: 220 mx.example.net again"}, ehlo(), mail, rcpt, Script{"C: DATA", "SILENCE"})},
		{Group: 7, Name: "STARTTLS not offered", Want: failure("starttls", trace.CodeUnsupported, "does not offer STARTTLS"), Plan: starttls, Script: join(hello, quit)},
		{Group: 7, Name: "STARTTLS refused", Want: refusal("starttls", 454), Plan: starttls,
			Script: join(offering("STARTTLS"), Script{"C: STARTTLS", "S: 454 4.7.0 TLS not available"}, quit)},
		{Group: 7, Name: "closed in place of a handshake", Want: lost("tls"), Plan: starttls,
			Script: join(offering("STARTTLS"), Script{"C: STARTTLS", "S: 220 go", "CLOSE"})},
		{Group: 7, Name: "clear text on a TLS port", Want: failure("tls", trace.CodeTLS, `"220 m`), Plan: Plan{"security": "tls"},
			Script: Script{"S? 220 mx.example.net ESMTP", "SILENCE"}},
	}
}

func signingIn() []Case {
	const user, password = "tim", "tanstaaftanstaaf"
	cancelled := Script{"C: *", "S: 501 5.7.0 cancelled"}
	noBase64 := failure("auth", trace.CodeProtocol, "not one line of base64")
	long := strings.Repeat("long", 1500)
	line := strings.Repeat("x", 9000) // 12,000 in base64
	return []Case{
		{Group: 9, Name: "an empty initial response", Want: ok(), Plan: signIn("EXTERNAL", "", ""),
			Script: join(offering("AUTH EXTERNAL"), Script{"C: AUTH EXTERNAL =", "S: 235 ok"}, deliver, quit)},
		{Group: 9, Name: "an initial response that is too long for a command line", Want: ok(), Plan: signIn("PLAIN", user, long),
			Script: join(offering("AUTH PLAIN"), Script{"C: AUTH PLAIN", "S: 334 ", "C: " + b64("\x00tim\x00"+long), "S: 235 ok"}, deliver, quit)},
		{Group: 9, Name: "lines of 12,000 octets in an exchange", Want: ok(), Plan: signIn("LOGIN", user, line),
			Script: join(offering("AUTH LOGIN"), Script{"C: AUTH LOGIN", "S: 334 " + b64(line), "C: " + b64(user), "S: 334 " + b64(line), "C: " + b64(line), "S: 235 ok"}, deliver, quit)},
		{Group: 9, Name: "a challenge that is not base64", Want: noBase64, Plan: signIn("CRAM-MD5", user, password),
			Script: join(offering("AUTH CRAM-MD5"), Script{"C: AUTH CRAM-MD5", "S: 334 <1@mx>"}, cancelled, quit)},
		{Group: 9, Name: "a challenge of two lines", Want: noBase64, Plan: signIn("CRAM-MD5", user, password),
			Script: join(offering("AUTH CRAM-MD5"), Script{"C: AUTH CRAM-MD5", "S: 334-PDFA", "S: 334 bXg+"}, cancelled, quit)},
		{Group: 9, Name: "a token refused in two steps", Page: true, Plan: signIn("XOAUTH2", user, password),
			Want:   Want{Outcome: rejected, Phase: "auth", Error: trace.CodeRejected, Reply: 535, Permanent: true, Says: `"401"`},
			Script: join(offering("AUTH XOAUTH2"), Script{"C: AUTH XOAUTH2 *", `S334 {"status":"401","schemes":"bearer"}`, "C: ", "S: 535 5.7.8 no"}, quit)},
		{Group: 9, Name: "a password refused once is not sent twice", Want: refusal("auth", 535), Plan: signIn("", user, password),
			Script: join(offering("AUTH CRAM-MD5 PLAIN LOGIN"), Script{"C: AUTH CRAM-MD5", "S334 <1@mx>", "C: *", "S: 535 5.7.8 no"}, quit)},
		{Group: 9, Name: "235 before the server has proved that it knows the password", Page: true,
			Want: failure("auth", trace.CodeProtocol, ""), Plan: signIn("SCRAM-SHA-256", user, password),
			Script: join(offering("AUTH SCRAM-SHA-256"), Script{"C: AUTH SCRAM-SHA-256 *", "S334 r={nonce}server,s=QSXCR+Q6sek8bf92,i=4096", "C: *", "S: 235 2.7.0 trust me"}, quit)},
		{Group: 9, Name: "235 to the first message of SCRAM", Want: failure("auth", trace.CodeProtocol, ""), Plan: signIn("SCRAM-SHA-256", user, password),
			Script: join(offering("AUTH SCRAM-SHA-256"), Script{"C: AUTH SCRAM-SHA-256 *", "S: 235 2.7.0 trust me"}, quit)},
		{Group: 9, Name: "a nonce of somebody else", Want: failure("auth", trace.CodeProtocol, ""), Plan: signIn("SCRAM-SHA-1", user, password),
			Script: join(offering("AUTH SCRAM-SHA-1"), Script{"C: AUTH SCRAM-SHA-1 *", "S334 r=server,s=QSXCR+Q6sek8bf92,i=4096"}, cancelled, quit)},
		{Group: 9, Name: "a signature of somebody else", Want: failure("auth", trace.CodeProtocol, ""), Plan: signIn("SCRAM-SHA-256", user, password),
			Script: join(offering("AUTH SCRAM-SHA-256"), Script{"C: AUTH SCRAM-SHA-256 *", "S334 r={nonce}server,s=QSXCR+Q6sek8bf92,i=4096", "C: *", "S334 v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="}, cancelled, quit)},
	}
}

func messages() []Case {
	large := letter(strings.Repeat("x", 2000)+"\r\n", grace)
	german := letter("Subject: x\r\n\r\nGrüße\r\n", grace)
	three := letter(text, "a@example.net", "b@example.net", "c@example.net")
	to := func(a, b, c string) Script {
		return Script{"C: RCPT TO:<a@example.net>", "S: " + a, "C: RCPT TO:<b@example.net>", "S: " + b, "C: RCPT TO:<c@example.net>", "S: " + c}
	}
	sized := Script{fmt.Sprintf("C: MAIL FROM:<ada@example.org> SIZE=%d", len(text)), "S: 250 ok"}
	plain := Script{"C: MAIL FROM:<ada@example.org>", "S: 250 ok"}
	rest := join(rcpt, data, Script{"M", "S: 250 ok"}, quit)
	return []Case{
		{Group: 10, Name: "SIZE not offered", Want: ok(), Script: join(offering("HELP"), plain, rest)},
		{Group: 10, Name: "SIZE without a number", Want: ok(), Script: join(offering("SIZE"), sized, rest)},
		{Group: 10, Name: "SIZE 0 is no limit", Want: ok(), Script: join(offering("SIZE 0"), sized, rest)},
		{Group: 10, Name: "SIZE beyond every number", Want: ok(), Script: join(offering("SIZE 99999999999999999999999999"), sized, rest)},
		{Group: 10, Name: "a message over SIZE", Page: true, Plan: letters(large), Script: join(offering("SIZE 1000"), quit),
			Want: Want{Outcome: rejected, Phase: "mail", Error: trace.CodeRejected, Permanent: true, Says: "2002 octets"}},
		{Group: 10, Name: "8-bit text without 8BITMIME", Plan: letters(german), Script: join(hello, quit), Want: failure("mail", trace.CodeUnsupported, "8BITMIME")},
		{Group: 10, Name: "an address beyond ASCII without SMTPUTF8", Plan: with(letters(letter(text, "grüße@example.net")), "options", map[string]any{"smtputf8": true}),
			Script: join(offering("8BITMIME"), quit), Want: failure("mail", trace.CodeUnsupported, "SMTPUTF8")},
		{Group: 10, Name: "REQUIRETLS without TLS", Plan: options("requiretls", true), Script: join(offering("REQUIRETLS"), quit), Want: failure("mail", trace.CodeUnsupported, "REQUIRETLS")},

		{Group: 11, Name: "251 accepts, 550 and 450 do not stop the others", Page: true, Plan: letters(three),
			Want:   Want{Outcome: partial, Phase: "rcpt", Error: trace.CodeRejected, Reply: 550, Permanent: true, Recipients: each(rejected, accepted, rejected), Message: said(text)},
			Script: join(hello, mail, to("550 5.1.1 unknown", "251 will forward to <b@example.org>", "450 4.2.1 later"), data, Script{"M", "S: 250 ok"}, quit)},
		{Group: 11, Name: "552 means too many recipients", Plan: letters(three),
			Want:   Want{Outcome: partial, Phase: "rcpt", Error: trace.CodeRejected, Reply: 552, Recipients: each(accepted, accepted, rejected), Message: said(text)},
			Script: join(hello, mail, to("250 ok", "250 ok", "552 too many recipients"), data, Script{"M", "S: 250 ok"}, quit)},
		{Group: 11, Name: "no recipient is left", Plan: letters(three), Script: join(hello, mail, to("550 a", "550 b", "550 c"), quit),
			Want: Want{Outcome: rejected, Phase: "rcpt", Error: trace.CodeRejected, Reply: 550, Permanent: true, Recipients: each(rejected, rejected, rejected)}},
		{Group: 11, Name: "the second message goes although the first is refused", Plan: letters(letter(text, grace), letter("again\r\n", grace)),
			Want:   Want{Outcome: partial, Phase: "mail", Error: trace.CodeRejected, Reply: 550, Permanent: true, Recipients: each(rejected, accepted), Message: said("again\r\n")},
			Script: join(hello, Script{"C: MAIL FROM:<ada@example.org>*", "S: 550 no"}, deliver, quit)},
	}
}

func grouped() []Case {
	two := letter(text, "a@example.net", "b@example.net")
	plan := with(letters(two), "options", map[string]any{"pipelining": true, "size": false})
	asked := Script{"C: MAIL FROM:<ada@example.org>", "C: RCPT TO:<a@example.net>", "C: RCPT TO:<b@example.net>", "C: DATA"}
	many := make([]string, 300)
	var manyAsked, manyAnswers Script
	for i := range many {
		many[i] = fmt.Sprintf("someone%03d@example.net", i)
		manyAsked = append(manyAsked, "C: RCPT TO:<"+many[i]+">", fmt.Sprintf("S: 250 2.1.5 %03d %s", i, strings.Repeat("x", 400)))
	}
	refusedPhase := func(phase string, code int, recipients ...trace.Outcome) Want {
		w := refusal(phase, code)
		w.Recipients = recipients
		return w
	}
	return []Case{
		{Group: 12, Name: "a group, and its replies in one piece", Page: true, Plan: plan,
			Want:   Want{Outcome: accepted, Phase: "quit", Recipients: each(accepted, accepted), Message: said(text)},
			Script: join(offering("PIPELINING"), asked, Script{`S~ 250 a\r\n250 b\r\n250 c\r\n354 d\r\n`, "M", "S: 250 ok"}, quit)},
		{Group: 12, Name: "every status of a group counts", Plan: plan,
			Want:   Want{Outcome: partial, Phase: "rcpt", Error: trace.CodeRejected, Reply: 550, Permanent: true, Recipients: each(accepted, rejected), Message: said(text)},
			Script: join(offering("PIPELINING"), asked, Script{"S: 250 a", "S: 250 b", "S: 550 c", "S: 354 d", "M", "S: 250 ok"}, quit)},
		{Group: 12, Name: "no recipient is left, yet 354", Plan: plan, Want: refusedPhase("rcpt", 550, rejected, rejected),
			Script: join(offering("PIPELINING"), asked, Script{"S: 250 a", "S: 550 b", "S: 550 c", "S: 354 d", `C~ .\r\n`, "S: 554 no valid recipients"}, quit)},
		{Group: 12, Name: "MAIL refused, and so all the rest", Plan: plan, Want: refusedPhase("mail", 550, rejected, rejected),
			Script: join(offering("PIPELINING"), asked, Script{"S: 550 a", "S: 503 b", "S: 503 c", "S: 503 d"}, quit)},
		{Group: 12, Name: "MAIL refused, and the connection closed", Plan: plan, Want: refusedPhase("mail", 550, rejected, rejected),
			Script: join(offering("PIPELINING"), asked, Script{"S: 550 go away", "CLOSE"})},
		{Group: 12, Name: "300 recipients, each answered at length", Plan: with(letters(letter(text, many...)), "options", map[string]any{"pipelining": true, "size": false}),
			Want:   Want{Outcome: accepted, Phase: "quit", Recipients: slices.Repeat(each(accepted), 300), Message: said(text)},
			Script: join(offering("PIPELINING"), Script{"C: MAIL FROM:<ada@example.org>", "S: 250 ok"}, manyAsked, manyAnswers, data, Script{"M", "S: 250 ok"}, quit)},
		{Group: 12, Name: "not offered, so one by one", Plan: plan,
			Want:   Want{Outcome: accepted, Phase: "quit", Message: said(text)},
			Script: join(offering(), Script{asked[0], "S: 250 a", asked[1], "S: 250 b", asked[2], "S: 250 c", asked[3], "S: 354 d", "M", "S: 250 ok"}, quit)},
	}
}

func bodies() []Case {
	body := func(group int, name, typed, wire string) Case {
		return Case{Group: group, Name: name, Plan: letters(letter(typed, grace)), Want: Want{Outcome: accepted, Phase: "quit"},
			Script: join(hello, envelope, Script{"C~ " + strings.Trim(fmt.Sprintf("%q", wire), `"`), "S: 250 ok"}, quit)}
	}
	smuggled := body(14, "an end of data in the middle, and a second message", "a\n.\nMAIL FROM:<eve@example.com>\r.\rb\r\n.\r\nc\r\r\n.\r\n",
		"a\r\n..\r\nMAIL FROM:<eve@example.com>\r\n..\r\nb\r\n..\r\nc\r\n\r\n..\r\n.\r\n")
	smuggled.Page = true
	raw := "a\n.\nMAIL FROM:<eve@example.com>\r.\rb\r\n.\r\n\x00ÿ."
	half := letter(strings.Repeat(strings.Repeat("x", 998)+"\r\n", 8<<10), grace)
	return []Case{
		{Group: 13, Name: "250 in place of 354", Want: failure("data", trace.CodeDesync, ""), Script: join(hello, mail, rcpt, Script{"C: DATA", "S: 250 ok", "SILENCE"})},
		{Group: 13, Name: "DATA refused", Want: refusal("data", 451), Script: join(hello, mail, rcpt, Script{"C: DATA", "S: 451 later"}, quit)},
		{Group: 13, Name: "message refused", Want: refusal("message", 554), Script: join(hello, envelope, Script{"M", "S: 554 5.6.0 spam"}, quit)},
		body(13, "dots", ".\r\n..\r\n.a\r\na.\r\n", "..\r\n...\r\n..a\r\na.\r\n.\r\n"),
		body(13, "nothing but a dot", ".", "..\r\n.\r\n"),
		body(13, "no line end at the end", "the end", "the end\r\n.\r\n"),
		body(13, "an empty message", "", ".\r\n"),

		smuggled,
		{Group: 14, Name: "BDAT keeps every octet", Plan: with(letters(letter(raw, grace)), "options",
			map[string]any{"chunking": true, "body": "binarymime", "size": false}),
			Want:   Want{Outcome: accepted, Phase: "quit", Message: said(raw)},
			Script: join(offering("CHUNKING", "BINARYMIME"), Script{"C: MAIL FROM:<ada@example.org> BODY=BINARYMIME", "S: 250 ok"}, rcpt, Script{fmt.Sprintf("B %d LAST", len(raw)), "S: 250 ok"}, quit)},

		{Group: 15, Name: "closed after the final dot", Page: true, Want: Want{Outcome: unknown, Phase: "message", Error: trace.CodeClosed, Says: "may have accepted it", Recipients: each(unknown)},
			Script: join(hello, envelope, Script{"M", "CLOSE"})},
		{Group: 15, Name: "closed in the middle of the last reply", Want: Want{Outcome: unknown, Phase: "message", Error: trace.CodeClosed, Says: "may have accepted it"},
			Script: join(hello, envelope, Script{"M", "S~ 250 2.0", "CLOSE"})},
		{Group: 15, Name: "no reply after the final dot", Want: Want{Outcome: unknown, Phase: "message", Error: trace.CodeProtocol, Says: "may have accepted it", Permanent: true},
			Script: join(hello, envelope, Script{"M", "S: thank you", "SILENCE"})},
		{Group: 15, Name: "421 in the middle of the message", Plan: letters(half), Want: Want{Outcome: rejected, Phase: "message", Error: trace.CodeRejected, Reply: 421},
			Script: join(offering(), envelope, Script{"C: xxx*", "S: 421 4.3.2 shutting down", "SILENCE"})},
	}
}

func chunks() []Case {
	const size = 4 << 20 // of one BDAT
	long := strings.Repeat(strings.Repeat("x", 126)+"\r\n", size/128) + "the rest\r\n"
	plan := func(texts ...string) Plan {
		var all []any
		for _, t := range texts {
			all = append(all, letter(t, grace))
		}
		return with(letters(all...), "options", map[string]any{"chunking": true, "size": false})
	}
	begin := join(offering("CHUNKING"), mail, rcpt)
	return []Case{
		{Group: 16, Name: "no 354 and no dots", Page: true, Plan: plan(".\r\n..\r\n"), Want: Want{Outcome: accepted, Phase: "quit", Message: said(".\r\n..\r\n")},
			Script: join(begin, Script{"B 7 LAST", "S: 250 ok"}, quit)},
		{Group: 16, Name: "nothing at all", Plan: plan(""), Want: Want{Outcome: accepted, Phase: "quit", Message: said("")},
			Script: join(begin, Script{"B 0 LAST", "S: 250 ok"}, quit)},
		{Group: 16, Name: "one reply for each chunk", Plan: plan(long), Want: Want{Outcome: accepted, Phase: "quit", Message: said(long)},
			Script: join(begin, Script{fmt.Sprint("B ", size), "S: 250 more", "B 10 LAST", "S: 250 ok"}, quit)},
		{Group: 16, Name: "no chunk after a refusal, but RSET", Plan: plan(long, "x\r\n"),
			Want:   Want{Outcome: partial, Phase: "message", Error: trace.CodeRejected, Reply: 552, Permanent: true, Recipients: each(rejected, accepted)},
			Script: join(begin, Script{fmt.Sprint("B ", size), "S: 552 too much", "C: RSET", "S: 250 ok"}, mail, rcpt, Script{"B 3 LAST", "S: 250 ok"}, quit)},
		{Group: 16, Name: "lost after the last chunk", Plan: plan("x\r\n"), Want: Want{Outcome: unknown, Phase: "message", Error: trace.CodeClosed, Says: "may have accepted it"},
			Script: join(begin, Script{"B 3 LAST", "CLOSE"})},
		{Group: 16, Name: "not offered, so DATA", Plan: plan(text), Want: ok(), Script: join(hello, deliver, quit)},
		{Group: 16, Name: "BINARYMIME without CHUNKING", Plan: with(letters(letter(text, grace)), "options", map[string]any{"chunking": true, "body": "binarymime"}),
			Want: failure("mail", trace.CodeUnsupported, "BINARYMIME"), Script: join(offering("BINARYMIME"), quit)},
	}
}

func lmtp() []Case {
	const a, b = "a@example.net", "b@example.net"
	plan := func(options map[string]any, to ...string) Plan {
		options["protocol"], options["size"] = "lmtp", false
		return with(letters(letter(text, to...)), "options", options)
	}
	hello := func(keywords ...string) Script {
		s := join(Script{"S: 220 mx.example.net LMTP"}, ehlo(append(keywords, "PIPELINING", "ENHANCEDSTATUSCODES")...))
		s[1] = "C: LHLO [127.0.0.1]"
		return s
	}
	to := func(address, reply string) Script { return Script{"C: RCPT TO:<" + address + ">", "S: " + reply} }
	return []Case{
		{Group: 17, Name: "a reply for each recipient that was accepted", Page: true, Plan: plan(map[string]any{}, a, grace, b),
			Want: Want{Outcome: partial, Phase: "rcpt", Error: trace.CodeRejected, Reply: 550, Permanent: true, Recipients: each(accepted, rejected, rejected), Message: said(text)},
			Script: join(hello(), mail, to(a, "250 ok"), to(grace, "550 5.1.1 unknown"), to(b, "250 ok"), data,
				Script{"M", "S: 250 2.1.5 a has it", "S: 452 4.2.2 b is full"}, quit)},
		{Group: 17, Name: "a recipient named twice", Plan: plan(map[string]any{}, a, a),
			Want:   Want{Outcome: partial, Error: trace.CodeRejected, Reply: 452, Recipients: each(accepted, rejected), Message: said(text)},
			Script: join(hello(), mail, to(a, "250 ok"), to(a, "250 ok"), data, Script{"M", `S~ 250 first\r\n452 4.2.2 second\r\n`}, quit)},
		{Group: 17, Name: "a reply for each recipient behind the last chunk", Plan: plan(map[string]any{"chunking": true}, a, b),
			Want:   Want{Outcome: accepted, Phase: "quit", Recipients: each(accepted, accepted), Message: said(text)},
			Script: join(hello("CHUNKING"), mail, to(a, "250 ok"), to(b, "250 ok"), Script{fmt.Sprintf("B %d LAST", len(text)), "S: 250 a", "S: 250 b"}, quit)},
		{Group: 17, Name: "lost between two replies", Plan: plan(map[string]any{}, a, b),
			Want:   Want{Outcome: partial, Error: trace.CodeClosed, Recipients: each(accepted, unknown), Message: said(text)},
			Script: join(hello(), mail, to(a, "250 ok"), to(b, "250 ok"), data, Script{"M", "S: 250 a", "CLOSE"})},
		{Group: 17, Name: "no HELO in LMTP", Plan: plan(map[string]any{}, a), Want: refusal("ehlo", 500),
			Script: Script{"S: 220 mx.example.net ESMTP", "C: LHLO [127.0.0.1]", "S: 500 what?", "C: QUIT", "S: 221 bye"}},
	}
}

func limits() []Case {
	one := func(to string) Plan { return letters(letter(text, to)) }
	refused := failure("connect", trace.CodeBadPlan, "5321")
	local := strings.Repeat("x", 64)
	domain := strings.Repeat("x.", 117) + "example" // 241 octets; a path also has the brackets
	two := letter(text, "a@example.net", "b@example.net")
	silent := func(name, phase string, s Script) Case {
		w := Want{Outcome: failed, Phase: phase, Error: trace.CodeTimeout}
		if phase == "message" {
			w.Outcome = unknown
		}
		return Case{Group: 20, Name: "silence " + name, Slow: true, Want: w, Script: append(s, "SILENCE")}
	}
	return []Case{
		{Group: 18, Name: "an enhanced code of another class", Want: Want{Outcome: rejected, Phase: "rcpt", Error: trace.CodeRejected, Reply: 550, Permanent: true, Oddity: "enhanced-mismatch"},
			Script: join(hello, mail, Script{"C: RCPT TO:<grace@example.net>", "S: 550 4.1.1 no"}, quit)},
		{Group: 18, Name: "an enhanced code at 354", Want: Want{Outcome: accepted, Phase: "quit", Oddity: "enhanced-mismatch"},
			Script: join(hello, mail, rcpt, Script{"C: DATA", "S: 354 2.0.0 go", "M", "S: 250 ok"}, quit)},

		{Group: 19, Name: "one mistake in LIMITS drops them all", Want: Want{Outcome: accepted, Phase: "quit", Recipients: each(accepted, accepted), Message: said(text)}, Plan: letters(two),
			Script: join(offering("LIMITS RCPTMAX=1 MAILMAX=many"), mail, Script{"C: RCPT TO:<a@example.net>", "S: 250 ok", "C: RCPT TO:<b@example.net>", "S: 250 ok"}, data, Script{"M", "S: 250 ok"}, quit)},
		{Group: 19, Name: "RCPTMAX=1 makes two transactions", Want: Want{Outcome: accepted, Phase: "quit", Recipients: each(accepted, accepted), Message: said(text + text)}, Plan: letters(two),
			Script: join(offering("LIMITS RCPTMAX=1"), mail, Script{"C: RCPT TO:<a@example.net>", "S: 250 ok"}, data, Script{"M", "S: 250 ok"},
				mail, Script{"C: RCPT TO:<b@example.net>", "S: 250 ok"}, data, Script{"M", "S: 250 ok"}, quit)},
		{Group: 19, Name: "xtext in ENVID and ORCPT", Want: ok(), Plan: with(one(`"a+b=c"@example.net`), "options", map[string]any{"size": false, "dsn": map[string]any{"envid": "1+1=2 yes", "ret": "hdrs", "notify": []string{"success"}}}),
			Script: join(offering("DSN"), Script{"C: MAIL FROM:<ada@example.org> RET=HDRS ENVID=1+2B1+3D2+20yes", "S: 250 ok",
				`C: RCPT TO:<"a+b=c"@example.net> NOTIFY=SUCCESS ORCPT=rfc822;"a+2Bb+3Dc"@example.net`, "S: 250 ok"}, data, Script{"M", "S: 250 ok"}, quit)},
		{Group: 19, Name: "CR LF in an address", Want: refused, Plan: one("grace@example.net>\r\nRSET")},
		{Group: 19, Name: "NUL in the name of EHLO", Want: refused, Plan: Plan{"ehlo": "page\x00.example"}},

		{Group: 20, Name: "a local-part of 64 octets", Want: ok(), Plan: one(local + "@example.net"),
			Script: join(hello, mail, Script{"C: RCPT TO:<" + local + "@example.net>", "S: 250 ok"}, data, Script{"M", "S: 250 ok"}, quit)},
		{Group: 20, Name: "a local-part of 65 octets", Want: refused, Plan: one(local + "x@example.net")},
		{Group: 20, Name: "a path of 256 octets", Want: ok(), Plan: one("abcdefghijkl@" + domain),
			Script: join(hello, mail, Script{"C: RCPT TO:<abcdefghijkl@" + domain + ">", "S: 250 ok"}, data, Script{"M", "S: 250 ok"}, quit)},
		{Group: 20, Name: "a path of 257 octets", Want: refused, Plan: one("abcdefghijklm@" + domain)},
		silent("in place of a greeting", "greeting", Script{}),
		silent("at MAIL", "mail", join(hello, Script{"C: MAIL FROM:<ada@example.org>*"})),
		silent("at RCPT", "rcpt", join(hello, mail, Script{"C: RCPT TO:<grace@example.net>"})),
		silent("at DATA", "data", join(hello, mail, rcpt, Script{"C: DATA"})),
		silent("after the final dot", "message", join(hello, envelope, Script{"M"})),
	}
}
