package session

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"smtpscope/protocol/sasl"
	"smtpscope/protocol/smtp"
	"smtpscope/protocol/trace"
)

// Plan says what a session shall do. Every key but target has a default.
type Plan struct {
	Target   Target   `json:"target"`
	Security Security `json:"security"` // default "starttls"
	TLS      TLS      `json:"tls"`
	EHLO     string   `json:"ehlo"` // default: the address literal (RFC 5321, 4.1.3) of this host
	Auth     *Auth    `json:"auth,omitempty"`
	// Commands are lines to be sent before the first message: VRFY, EXPN, HELP, NOOP,
	// ETRN or RSET. A server that refuses one goes on with the session all the same.
	Commands []string  `json:"commands,omitempty"`
	Messages []Message `json:"messages"` // none: look at the server and leave
	Options  Options   `json:"options"`
	Pace     Pace      `json:"pace"`
	// Of mode lab, and without meaning in the others.
	Link Link  `json:"link,omitzero"`
	Lab  Lab   `json:"lab,omitzero"`
	Seed int64 `json:"seed,omitzero"` // of all that is left to chance; default 1
}

// Target is the server to talk to. In mode live it may be a domain in place of a
// host: then its mail servers are tried as a sender would (RFC 5321, 5.1).
type Target struct {
	Mode   trace.Mode `json:"mode"` // lab, practice or live
	Host   string     `json:"host"` // default in practice: PracticeHost; in the lab: see Route
	Domain string     `json:"domain,omitzero"`
	Port   int        `json:"port"` // default: by security, 25, 587 or 465, and with a domain 25 or 465; with LMTP 24
}

// PracticeHost is the name under which the proxy offers its practice server.
const PracticeHost = "mail.practice.test"

// lmtpPort is registered for any private mail system, which LMTP within a house is.
const lmtpPort = 24

// Security says when TLS starts.
type Security string

const (
	None     Security = "none"
	STARTTLS Security = "starttls" // RFC 3207
	Implicit Security = "tls"      // RFC 8314
)

// TLS holds what the certificate is judged by.
type TLS struct {
	ServerName string   `json:"serverName"` // default: target.host, or the mail server of target.domain that is connected
	CA         []string `json:"ca"`         // PEM, trusted besides the usual roots
	Insecure   bool     `json:"insecure"`   // go on although the certificate is not trusted
}

// Auth is a sign-in (RFC 4954).
type Auth struct {
	Mechanism string `json:"mechanism"` // one that package sasl knows, or "" for the best that the server offers
	Username  string `json:"username"`  // EXTERNAL: the identity to act as; ANONYMOUS: what the server may note; both optional
	Password  string `json:"password"`  // XOAUTH2 and OAUTHBEARER: the access token; EXTERNAL and ANONYMOUS need none
}

// Message is one mail transaction.
type Message struct {
	From string   `json:"from"` // reverse-path, "" for the null path
	To   []string `json:"to"`   // forward-paths
	Data string   `json:"data"` // RFC 5322 text; line ends become CRLF
	// Alternatives are the same message for servers that take more than Data needs.
	Alternatives Alternatives `json:"alternatives,omitzero"`
}

// Alternatives are a message in encodings that need an extension. Options.Body says
// which is sent; when it is empty the first of BINARYMIME, 8BITMIME and
// Message.Data that can be.
type Alternatives struct {
	EightBit string `json:"8bitmime,omitzero"`   // RFC 6152
	Binary   string `json:"binarymime,omitzero"` // RFC 3030, 3: sent as it is, with options.chunking only
}

// Pace says where the session stops and waits for its user. With
// Options.Pipelining a group ends there: while the user steps, each command waits
// for the reply to the one before.
type Pace struct {
	Step        bool     `json:"step"`        // before every send
	Breakpoints []string `json:"breakpoints"` // "before:DATA", "after:EHLO"
}

// PlanError is what is wrong with a plan. It begins with the key's path.
type PlanError struct{ Problem string }

func (e *PlanError) Error() string { return "The plan cannot be run. " + e.Problem }

// ParsePlan reads a plan, fills in defaults and checks it. The error is a *PlanError.
func ParsePlan(b []byte) (*Plan, error) {
	p := Plan{Security: STARTTLS, Options: Options{Size: true, Protocol: "smtp"},
		Lab: Lab{Route: Direct, Relays: 2, Transport: "tcp"}, Seed: 1}
	if err := decode(b, &p); err != nil {
		return nil, &PlanError{err.Error() + "."}
	}
	p.fillIn()
	if err := p.check(); err != nil {
		return nil, &PlanError{strings.TrimSuffix(err.Error(), ".") + "."}
	}
	return &p, nil
}

func (p *Plan) fillIn() {
	if p.EHLO == "" {
		p.EHLO = "[127.0.0.1]"
		if p.Target.Mode == trace.ModeLab {
			p.EHLO = "[" + LabClient + "]"
		}
	}
	if p.Target.Host == "" && p.Target.Mode == trace.ModePractice {
		p.Target.Host = PracticeHost
	}
	if p.Target.Mode == trace.ModeLab {
		p.fillInLab()
	} else {
		p.Link, p.Lab, p.Seed = Link{}, Lab{}, 0
	}
	if p.Target.Port == 0 && p.Options.Protocol == lmtp {
		p.Target.Port = lmtpPort
	}
	if p.Target.Port == 0 && p.Target.Domain != "" && p.Security != Implicit {
		p.Target.Port = 25
	}
	if p.Target.Port == 0 {
		p.Target.Port = map[Security]int{None: 25, STARTTLS: 587, Implicit: 465}[p.Security]
	}
	if p.TLS.ServerName == "" {
		p.TLS.ServerName = p.Target.Host
	}
}

func (p *Plan) check() error {
	switch {
	case p.Target.Mode == "":
		return errors.New(`target.mode: missing; want "lab", "practice" or "live"`)
	case !slices.Contains([]trace.Mode{trace.ModeLab, trace.ModePractice, trace.ModeLive}, p.Target.Mode):
		return fmt.Errorf(`target.mode: %q is unknown; want "lab", "practice" or "live"`, p.Target.Mode)
	case p.Target.Domain != "" && p.Target.Mode != trace.ModeLive:
		return fmt.Errorf("target.domain: its mail servers are looked up in mode live only, and this is mode %s; say target.host", p.Target.Mode)
	case p.Target.Domain != "" && p.Target.Host != "":
		return errors.New("target.host, target.domain: both are there; say target.host for one mail server, or target.domain for those that take a domain's mail")
	case p.Target.Domain == "" && p.Target.Host == "":
		return errors.New("target.host: missing; name the mail server to talk to, or in mode live in target.domain the domain whose mail servers are meant")
	case p.Target.Port < 1 || p.Target.Port > 65535:
		return fmt.Errorf("target.port: %d is not a port; want 1 to 65535", p.Target.Port)
	case !slices.Contains([]Security{None, STARTTLS, Implicit}, p.Security):
		return fmt.Errorf(`security: %q is unknown; want "none", "starttls" or "tls"`, p.Security)
	}
	if err := p.checkDomain(); err != nil {
		return err
	}
	if err := p.Options.check(); err != nil {
		return err
	}
	switch {
	case p.Options.Protocol == lmtp && p.Target.Port == 25:
		return errors.New("target.port: LMTP must not be spoken on port 25 (RFC 2033, 5)")
	case p.Target.Mode == trace.ModeLive && len(p.Options.XClient)+len(p.Options.XForward) > 0:
		return errors.New("options.xclient, options.xforward: they are not sent to a live server, which would believe them; leave them out, or use the practice server")
	}
	for i, line := range p.Commands {
		c, err := smtp.ParseCommand(line)
		if err == nil && !slices.Contains(asks, c.Verb) {
			err = fmt.Errorf("%q is not for this list; want %s", line, joinVerbs(asks))
		}
		if err != nil {
			return fmt.Errorf("commands[%d]: %w", i, err)
		}
	}
	if err := p.checkLab(); err != nil {
		return err
	}
	if _, err := smtp.Ehlo(p.EHLO); err != nil {
		return fmt.Errorf("ehlo: %w", err)
	}
	for i, pem := range p.TLS.CA {
		if _, err := parseCA(pem); err != nil {
			return fmt.Errorf("tls.ca[%d]: %w", i, err)
		}
	}
	if p.Auth != nil && p.Auth.Mechanism != "" {
		account := p.account()
		account.NFKC = func(s string) string { return s } // whether there is one is for the session to say
		if _, err := sasl.New(p.Auth.Mechanism, account); err != nil {
			return fmt.Errorf("auth.mechanism: %w", err)
		}
		if p.Security == None && strings.HasSuffix(strings.ToUpper(p.Auth.Mechanism), "-PLUS") {
			return fmt.Errorf(`auth.mechanism: %s is bound to TLS, and security is "none"`, p.Auth.Mechanism)
		}
	}
	if err := p.checkAddresses(); err != nil {
		return err
	}
	for i, b := range p.Pace.Breakpoints {
		when, verb, ok := strings.Cut(b, ":")
		if !ok || verb == "" || (when != "before" && when != "after") {
			return fmt.Errorf(`pace.breakpoints[%d]: %q is not a breakpoint; want "before:DATA" or "after:EHLO"`, i, b)
		}
	}
	return nil
}

// checkDomain wants of target.domain what may stand behind the @ of an address, and no address literal.
func (p *Plan) checkDomain() error {
	domain := p.Target.Domain
	if domain == "" {
		return nil
	}
	if _, err := netip.ParseAddr(domain); err == nil || domain[0] == '[' {
		return fmt.Errorf("target.domain: %q is an address; say target.host", domain)
	}
	if _, err := smtp.Ehlo(domain); err != nil {
		return fmt.Errorf("target.domain: %w", err)
	}
	return nil
}

// asks are the verbs of Plan.Commands.
var asks = []smtp.Verb{smtp.VerbVrfy, smtp.VerbExpn, smtp.VerbHelp, smtp.VerbNoop, smtp.VerbEtrn, smtp.VerbRset}

func (p *Plan) checkAddresses() error {
	var declared []string
	if p.Options.SMTPUTF8 {
		declared = []string{"SMTPUTF8"}
	}
	check := func(address string, err error) error {
		if !p.Options.SMTPUTF8 && !isASCII(address) {
			return fmt.Errorf("%q has characters beyond ASCII, which needs SMTPUTF8 (RFC 6531): say options.smtputf8 true", address)
		}
		return err
	}
	for i, m := range p.Messages {
		_, err := smtp.Mail(m.From, declared...)
		if err := check(m.From, err); err != nil {
			return fmt.Errorf("messages[%d].from: %w", i, err)
		}
		if len(m.To) == 0 {
			return fmt.Errorf("messages[%d].to: empty; name at least one recipient", i)
		}
		for j, to := range m.To {
			_, err := smtp.RcptUTF8(to)
			if err := check(to, err); err != nil {
				return fmt.Errorf("messages[%d].to[%d]: %w", i, j, err)
			}
		}
	}
	return nil
}

// account is who signs in, and where.
func (p *Plan) account() sasl.Account {
	return sasl.Account{Username: p.Auth.Username, Password: p.Auth.Password, Host: p.Target.Host, Port: p.Target.Port}
}

// public is the plan as the trace keeps it, without the password.
func (p *Plan) public() json.RawMessage {
	c := *p
	if p.Auth != nil {
		a := *p.Auth
		a.Password = ""
		c.Auth = &a
	}
	c.Messages = slices.Clone(p.Messages)
	for i := range c.Messages {
		if m := &c.Messages[i]; len(m.Data) > trace.BulkHead {
			m.Data = m.Data[:trace.BulkHead] // the trace's meta is no second copy of a long message
		}
		c.Messages[i].Alternatives = Alternatives{}
	}
	return trace.Encode(&c)
}
