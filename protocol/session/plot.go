package session

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"

	"smtpscope/protocol/sasl"
	"smtpscope/protocol/smtp"
	"smtpscope/protocol/trace"
)

// plot is how far the plan has come. What to send next follows from it and the
// state of the client alone, so that it stays right whatever the user sends in between.
type plot struct {
	plan    *Plan
	binding func() []byte       // of the TLS connection, for SCRAM
	nfkc    func(string) string // Config.NFKC

	secure     bool // TLS is on
	verified   bool // and its certificate is trusted
	helo       bool // EHLO was refused
	signedIn   bool
	xclient    bool                    // nothing more is to be done about options.xclient
	xforward   bool                    // nor about options.xforward
	asked      int                     // lines of plan.commands that were sent
	asking     smtp.Verb               // of the next one of them, where that was handed out
	unreset    bool                    // a transaction was begun since the last RSET
	mechanism  sasl.Client             // of the exchange that is open
	postponed  *string                 // its initial response, where AUTH had no room for it
	challenge  *smtp.Reply             // the 334 to answer
	mails      int                     // transactions that were begun
	message    int                     // index of the current message
	from, to   int                     // those of its recipients that the current transaction is for
	recipient  int                     // index of the next one
	recipients []trace.RecipientResult // those that were answered
	kept       int                     // how many of them in earlier transactions
	judged     int                     // how many behind those have their reply to the message, in LMTP
	complete   bool                    // all of the message is out
	queueID    string                  // of the first transaction that was accepted
	octets     []byte                  // of the current message, when BDAT sends it
	octet      int                     // how many of them were sent
	abandoned  bool                    // nothing more of the current message can be done; it is finished when all of it is answered
	results    []trace.MessageResult

	accepted  *trace.ResultReply // to the last message that was accepted
	rejection *failure           // the first reply that refused a message or a recipient
	failure   *failure           // why the rest of the plan is not done; QUIT follows

	noted []string // what has been remarked upon
	notes []string // those of it that are not in the trace yet
}

// next is the command that the plan asks for now, and false when nothing is left
// to say. When commands are pending it is the one to send if they succeed.
func (p *plot) next(c *smtp.Client) (smtp.Command, bool) {
	p.asking = ""
	switch c.Ahead() {
	case smtp.StateGreeted:
		switch {
		case p.failure != nil:
			return smtp.Quit(), true
		case p.helo:
			return must(smtp.Helo(p.plan.EHLO)), true
		case p.plan.Options.Protocol == lmtp:
			return must(smtp.Lhlo(p.plan.EHLO)), true
		}
		return must(smtp.Ehlo(p.plan.EHLO)), true
	case smtp.StateReady:
		return p.ready(c.Server()), true
	case smtp.StateAuth:
		return p.respond(), true
	case smtp.StateMail, smtp.StateRcpt, smtp.StateChunks, smtp.StateFailed:
		return p.transaction(c.Server()), true
	case smtp.StateData:
		if p.abandoned { // no recipient is left, and the server wants the message all the same (RFC 2920, 3.1)
			return smtp.Message(nil), true
		}
		text, body := p.encoded(c.Server(), p.current())
		if body == binaryMIME { // the user chose DATA, which has no such message
			text = p.current().Data
		}
		return smtp.Message([]byte(text)), true
	case smtp.StateRefused:
		return smtp.Quit(), true
	}
	return smtp.Command{}, false
}

func must(c smtp.Command, err error) smtp.Command {
	if err != nil {
		panic(err) // ParsePlan has checked every argument
	}
	return c
}

// ready decides between transactions: upgrade, sign in, ask, next message, or leave.
func (p *plot) ready(server *smtp.Server) smtp.Command {
	p.conclude()
	o := p.plan.Options
	switch {
	case p.failure != nil:
		return smtp.Quit()
	case p.plan.Security == STARTTLS && !p.secure:
		if server.Offers("STARTTLS") {
			return smtp.StartTLS()
		}
		return p.giveUp(failure{phase: "starttls", code: trace.CodeUnsupported, permanent: true,
			message: "The server does not offer STARTTLS, and the plan asks for it: nothing was sent in clear. Try implicit TLS on port 465, or choose None to go on without encryption."})
	case !p.xclient:
		if c, ok := p.about(server, smtp.VerbXclient, o.XClient); ok {
			return c
		}
		p.xclient = true
		return p.ready(server)
	case p.plan.Auth != nil && !p.signedIn:
		return p.signIn(server)
	case !p.xforward:
		if c, ok := p.about(server, smtp.VerbXforward, o.XForward); ok {
			return c
		}
		p.xforward = true
		return p.ready(server)
	}
	if c, ok := p.ask(server); ok {
		p.asking = c.Verb
		return c
	}
	switch {
	case p.message == len(p.plan.Messages):
		return smtp.Quit()
	case o.RSET && p.unreset:
		return smtp.Rset()
	}
	if most := server.Limits().MailMax; most > 0 && p.mails >= most {
		return p.giveUp(failure{phase: "mail", code: trace.CodeUnsupported,
			message: fmt.Sprintf("The server's limit of mail transactions in one session is %d (MAILMAX, RFC 9422, 4.1). What is left of the plan was not sent: send it in another session.", most)})
	}
	return p.mail(server)
}

// ask is the next of plan.commands that can be sent to this server.
func (p *plot) ask(server *smtp.Server) (c smtp.Command, ok bool) {
	for ; p.asked < len(p.plan.Commands); p.asked++ {
		c = must(smtp.ParseCommand(p.plan.Commands[p.asked]))
		if c.Verb != smtp.VerbEtrn || server.Offers("ETRN") {
			return c, true
		}
		p.note("The server does not offer ETRN (RFC 1985): it is not asked to send its mail.")
	}
	return c, false
}

// about is XCLIENT or XFORWARD with what the server names of the attributes, and false when
// there is nothing to say.
func (p *plot) about(server *smtp.Server, verb smtp.Verb, attributes map[string]string) (c smtp.Command, ok bool) {
	if len(attributes) == 0 {
		return c, false
	}
	names, _ := server.Ext(string(verb))
	var known []string
	for _, name := range names {
		if value := attributes[strings.ToUpper(name)]; value != "" {
			known = append(known, name+"="+smtp.Xtext(value))
		}
	}
	if len(known) < len(attributes) {
		p.note(fmt.Sprintf("The attributes that the server takes from this client with %s (Postfix) are %q: the rest of the plan's is left out.", verb, strings.Join(names, " ")))
	}
	return smtp.Command{Verb: verb, Arg: strings.Join(known, " ")}, len(known) > 0
}

func (p *plot) giveUp(f failure) smtp.Command {
	p.failure = &f
	return smtp.Quit()
}

func (p *plot) signIn(server *smtp.Server) smtp.Command {
	offered, ok := server.Ext("AUTH")
	if !ok {
		words := "The server does not offer AUTH here. Leave the sign-in out, or use the submission ports 587 or 465."
		if !p.secure && p.plan.Security == None {
			words = "The server does not offer AUTH without TLS. Choose STARTTLS or implicit TLS."
		}
		return p.giveUp(failure{phase: "auth", code: trace.CodeUnsupported, permanent: true, message: words})
	}
	account := p.plan.account()
	account.Offered, account.NFKC = offered, p.nfkc
	if p.secure {
		account.Binding = p.binding()
	}
	name, err := sasl.Choose(account, p.plan.Auth.Mechanism, p.secure)
	if err == nil {
		p.mechanism, err = sasl.New(name, account)
	}
	if err != nil {
		return p.giveUp(*notPossible(err))
	}
	_, first, err := p.mechanism.Start()
	if err != nil {
		return p.giveUp(*notPossible(err))
	}
	var initial *string
	if first != nil {
		text := "=" // an empty initial response (RFC 4954, 4)
		if len(first) > 0 {
			text = base64.StdEncoding.EncodeToString(first)
		}
		initial = &text
	}
	c, err := smtp.Auth(name, initial)
	if err != nil { // too long for a command line: it answers the first, empty challenge (RFC 4954, 4)
		p.postponed, c = initial, must(smtp.Auth(name, nil))
	}
	return c
}

// chosen is the mechanism of an exchange that begins with this AUTH: nil when the user
// chose another one, whose challenges are then the user's to answer.
func chosen(planned sasl.Client, auth smtp.Command) sasl.Client {
	if words := strings.Fields(auth.Line()); planned != nil && len(words) > 1 {
		if name, _, err := planned.Start(); err == nil && strings.EqualFold(name, words[1]) {
			return planned
		}
	}
	return nil
}

func notPossible(err error) *failure {
	return &failure{phase: "auth", code: trace.CodeUnsupported, permanent: true, message: "Signing in is not possible: " + err.Error() + "."}
}

// cancel is the client's way out of an AUTH exchange (RFC 4954, 4).
func cancel() smtp.Command { return must(smtp.Response("*")) }

// response answers a challenge, unless it is too long for a line.
func (p *plot) response(base64 string) smtp.Command {
	c, err := smtp.Response(base64)
	if err != nil {
		p.failure = notPossible(err)
		return cancel()
	}
	return c
}

func (p *plot) respond() smtp.Command {
	if p.mechanism == nil || p.challenge == nil {
		return cancel()
	}
	if first := p.postponed; first != nil {
		p.postponed = nil
		return p.response(*first)
	}
	challenge, err := base64.StdEncoding.DecodeString(strings.TrimSpace(strings.Join(p.challenge.Lines, "")))
	if err != nil || len(p.challenge.Lines) != 1 {
		p.failure = &failure{phase: "auth", code: trace.CodeProtocol, permanent: true,
			message: "The server's challenge is not one line of base64 (RFC 4954, 4), so the exchange was cancelled."}
		return cancel()
	}
	answer, err := p.mechanism.Next(challenge)
	if err != nil {
		p.failure = &failure{phase: "auth", code: trace.CodeProtocol, permanent: true,
			message: "The server's challenge does not fit the mechanism, so the exchange was cancelled: " + smtp.Escape(err.Error()) + "."}
		return cancel()
	}
	return p.response(base64.StdEncoding.EncodeToString(answer))
}

// refusedAuth puts the refusal of a sign-in into words. That the credentials are invalid
// (RFC 4954, 6) is not always about a password: then the mechanism knows better.
func (p *plot) refusedAuth(r *smtp.Reply, quote *trace.ResultReply) *failure {
	f := rejected("auth", r, quote)
	if words := sasl.Refused(p.mechanism); words != "" && r.Code == 535 {
		f.message = strings.TrimSuffix(f.message, advice("auth", r)) + words
	}
	return f
}

func (p *plot) current() Message {
	if p.message < len(p.plan.Messages) {
		return p.plan.Messages[p.message]
	}
	return Message{}
}

func (p *plot) mail(server *smtp.Server) smtp.Command {
	m := p.current()
	p.to = p.from + fitting(server.Limits(), m.To[p.from:])
	if p.to < len(m.To) {
		p.note("The server limits the recipients of a mail transaction (LIMITS, RFC 9422): the message goes to some of them at a time.")
	}
	params, f := p.mailParams(server, m)
	if f != nil {
		p.reject(*f)
		return p.ready(server)
	}
	p.recipient, p.recipients, p.octet = p.from, p.recipients[:p.kept], 0
	return must(smtp.Mail(m.From, params...))
}

func (p *plot) transaction(server *smtp.Server) smtp.Command {
	m := p.current()
	switch {
	case p.failure != nil || p.abandoned && p.message+1 >= len(p.plan.Messages) && p.to >= len(m.To):
		return smtp.Quit()
	case p.abandoned || p.message >= len(p.plan.Messages):
		return smtp.Rset()
	case p.recipient < p.to:
		return must(smtp.RcptUTF8(m.To[p.recipient], p.rcptParams(server, m.To[p.recipient])...))
	}
	return p.content(server)
}

// sent takes in what was submitted.
func (p *plot) sent(cmd smtp.Command) {
	if p.asking != "" && p.asking == cmd.Verb {
		p.asked++
	}
	switch cmd.Verb {
	case smtp.VerbAuth:
		p.mechanism = chosen(p.mechanism, cmd)
	case smtp.VerbXclient:
		p.xclient = true
	case smtp.VerbXforward:
		p.xforward = true
	case smtp.VerbRset:
		p.unreset = false
	case smtp.VerbMail:
		p.unreset = true
		p.mails++
	case smtp.VerbRcpt:
		p.recipient++
	case smtp.VerbBdat:
		p.octet += len(cmd.Message)
	}
}

// heard takes in what a reply means for the plan.
func (p *plot) heard(phase string, state smtp.State, legal []smtp.Verb, cmd smtp.Command, r *smtp.Reply, quote *trace.ResultReply) {
	switch cmd.Verb {
	case smtp.VerbGreeting:
		if !r.Positive() {
			p.failure = rejected("greeting", r, quote)
		}
	case smtp.VerbEhlo, smtp.VerbLhlo:
		switch {
		case r.Positive():
		case r.Permanent() && state == smtp.StateGreeted && !p.helo && slices.Contains(legal, smtp.VerbHelo):
			p.helo = true
		default:
			p.failure = rejected("ehlo", r, quote)
		}
	case smtp.VerbHelo:
		if !r.Positive() {
			p.failure = rejected("ehlo", r, quote)
		}
	case smtp.VerbStartTLS:
		if !r.Positive() {
			p.failure = rejected("starttls", r, quote)
		}
	case smtp.VerbXclient:
		if r.Positive() {
			p.signedIn = false // the client is another one now
		} else {
			p.failure = rejected("ehlo", r, quote)
		}
	case smtp.VerbAuth, smtp.VerbResponse:
		switch {
		case r.Intermediate():
			p.challenge = r
		case r.Positive() && p.failure == nil && sasl.Unproven(p.mechanism) != "":
			p.failure = &failure{phase: "auth", code: trace.CodeProtocol, permanent: true, reply: quote, message: sasl.Unproven(p.mechanism)}
		case r.Positive():
			p.signedIn = true
		case p.failure == nil:
			p.failure = p.refusedAuth(r, quote)
		}
	case smtp.VerbMail:
		if !r.Positive() && state == smtp.StateReady { // else it came in the middle of a transaction, by the user's hand
			p.reject(*rejected("mail", r, quote))
		}
	case smtp.VerbRcpt:
		p.heardRecipient(state, cmd, r, quote)
	case smtp.VerbData:
		switch {
		case r.Intermediate():
			// The user may have asked again after a refusal.
			p.abandoned = p.abandoned && !slices.ContainsFunc(p.recipients[p.kept:], accepted)
		case state == smtp.StateRcpt:
			p.reject(*rejected("data", r, quote))
		}
	case smtp.VerbBdat:
		switch {
		case p.eachRecipient(cmd) && state != smtp.StateFailed:
			p.heardVerdict(state, r, quote)
		case r.Positive() && cmd.Final() && state == smtp.StateReady:
			p.accepted = quote
			p.finish(trace.Accepted, queueID(r))
		case !r.Positive() && (state == smtp.StateFailed || state == smtp.StateRcpt || state == smtp.StateChunks): // the last two before its end
			p.reject(*rejected("message", r, quote))
		}
	case smtp.VerbRset:
		if !r.Positive() && slices.Contains([]smtp.State{smtp.StateMail, smtp.StateRcpt, smtp.StateChunks, smtp.StateFailed}, state) {
			p.failure = &failure{phase: "mail", code: trace.CodeProtocol, permanent: r.Permanent(), reply: quote,
				message: fmt.Sprintf("The server answered %d to RSET, which it has no reason to refuse (RFC 5321, 4.1.1.5): what comes next would mix with the transaction before, so the session ended.", r.Code)}
		}
	case smtp.VerbMessage:
		switch {
		case p.abandoned: // it was nothing but the final dot
		case p.eachRecipient(cmd):
			p.heardVerdict(state, r, quote)
		case r.Positive():
			p.accepted = quote
			p.finish(trace.Accepted, queueID(r))
		default:
			p.reject(*rejected("message", r, quote))
		}
	}
	if r.Code == 421 && p.failure == nil { // at any moment, to any command or none (RFC 5321, 3.8)
		p.failure = rejected(phase, r, quote)
		if p.judged > 0 && slices.ContainsFunc(p.recipients[p.kept+p.judged:], accepted) {
			p.failure.unknown = true
			p.failure.message += " The whole message had been sent by then; look in the mailboxes of the other recipients before sending it again."
		}
	}
}

// eachRecipient reports that what this ended is answered once for each recipient (RFC 2033, 4.2).
func (p *plot) eachRecipient(cmd smtp.Command) bool {
	return p.plan.Options.Protocol == lmtp && cmd.Final() && p.complete
}

// heardVerdict takes what became of the message for the next recipient who was
// accepted. The state leaves StateMessage with the last one.
func (p *plot) heardVerdict(state smtp.State, r *smtp.Reply, quote *trace.ResultReply) {
	recipients := p.recipients[p.kept:]
	for p.judged < len(recipients) && !accepted(recipients[p.judged]) {
		p.judged++
	}
	if p.judged < len(recipients) {
		recipients[p.judged].Event = &quote.Event
		if !r.Positive() {
			recipients[p.judged].Outcome = trace.Rejected
		}
		p.judged++
	}
	switch {
	case !r.Positive() && p.rejection == nil:
		p.rejection = rejected("message", r, quote)
	case r.Positive():
		p.accepted = quote
		if p.queueID == "" {
			p.queueID = queueID(r)
		}
	}
	if state != smtp.StateReady {
		return
	}
	outcome := trace.Rejected
	if slices.ContainsFunc(recipients, accepted) {
		outcome = trace.Accepted
	}
	p.finish(outcome, p.queueID)
}

func (p *plot) heardRecipient(state smtp.State, cmd smtp.Command, r *smtp.Reply, quote *trace.ResultReply) {
	result := trace.RecipientResult{To: forwardPath(cmd.Arg), Outcome: trace.Accepted, Event: &quote.Event}
	if !r.Positive() {
		result.Outcome = trace.Rejected
		if p.rejection == nil {
			p.rejection = rejected("rcpt", r, quote)
		}
	}
	p.recipients = append(p.recipients, result)
	if len(p.recipients)-p.kept >= p.to-p.from && state == smtp.StateMail {
		p.abandoned = true // no recipient is left to deliver to
	}
}

// reject gives up the current message; f is why, unless something was refused before.
func (p *plot) reject(f failure) {
	if p.rejection == nil {
		p.rejection = &f
	}
	p.abandoned = true
}

// conclude finishes a transaction that was given up.
func (p *plot) conclude() {
	if p.abandoned {
		p.finish(trace.Rejected, "")
		p.abandoned = false
	}
}

// finish says what became of the transaction, and of the message when it was the last one for it.
func (p *plot) finish(o trace.Outcome, queueID string) {
	if p.message >= len(p.plan.Messages) {
		return
	}
	m := p.plan.Messages[p.message]
	if p.to <= p.from { // none was begun for the recipients that are left
		p.to = len(m.To)
	}
	for _, to := range m.To[min(p.from+len(p.recipients)-p.kept, p.to):p.to] {
		p.recipients = append(p.recipients, trace.RecipientResult{To: to, Outcome: o})
	}
	for i := range p.recipients[p.kept+p.judged:] {
		if r := &p.recipients[p.kept+p.judged+i]; r.Outcome == trace.Accepted {
			r.Outcome = o // what became of the message became of its recipients
		}
	}
	if p.queueID == "" {
		p.queueID = queueID
	}
	p.judged = 0
	if p.to < len(m.To) {
		p.from, p.kept = p.to, len(p.recipients)
		return
	}
	if slices.ContainsFunc(p.recipients, accepted) && slices.ContainsFunc(p.recipients, func(r trace.RecipientResult) bool { return !accepted(r) }) {
		o = trace.Partial
	}
	p.results = append(p.results, trace.MessageResult{Outcome: o, QueueID: p.queueID, Recipients: p.recipients})
	p.message, p.from, p.to, p.recipient, p.recipients, p.kept, p.queueID = p.message+1, 0, 0, 0, nil, 0, ""
	p.octets, p.octet = nil, 0
}

func accepted(r trace.RecipientResult) bool { return r.Outcome == trace.Accepted }

// verdict sums up. f is what ended the session early, nil when it ended by itself.
func (p *plot) verdict(phase string, f *failure) trace.Result {
	if f == nil {
		f = p.failure
	}
	p.conclude()
	if f == nil && p.message < len(p.plan.Messages) {
		f = &failure{code: trace.CodeCancelled, message: "The session ended before every message of the plan was sent."}
	}
	rest := trace.Failed
	if f != nil && f.unknown {
		rest = trace.Unknown
	}
	for p.message < len(p.plan.Messages) {
		p.finish(rest, "")
		rest = trace.Failed
	}
	r := trace.Result{Phase: phase, Messages: p.results, Reply: p.accepted}
	if f == nil || phase == "quit" && f.code == trace.CodeClosed {
		f = p.rejection
	}
	if f == nil {
		r.Outcome = trace.Accepted
		return r
	}
	if f.phase != "" {
		r.Phase = f.phase
	}
	r.Permanent, r.Error = f.permanent, f.info()
	if f.reply != nil {
		r.Reply = f.reply
	}
	some := slices.ContainsFunc(p.results, func(m trace.MessageResult) bool {
		return m.Outcome == trace.Accepted || m.Outcome == trace.Partial
	})
	switch {
	case some:
		r.Outcome = trace.Partial
	case f.unknown:
		r.Outcome = trace.Unknown
	case f.code == trace.CodeRejected:
		r.Outcome = trace.Rejected
	default:
		r.Outcome = trace.Failed
	}
	return r
}

// forwardPath is the address in the argument of RCPT as it was sent.
func forwardPath(arg string) string {
	_, path, _ := strings.Cut(arg, "<")
	path, _, _ = strings.Cut(path, ">")
	return smtp.Escape(path)
}
