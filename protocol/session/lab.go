package session

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"smtpscope/protocol/trace"
)

// Link is how any two hosts of a lab are joined. Its values are judged by the
// lab, which knows what it can simulate.
type Link struct {
	Delay     string  `json:"delay"`     // one way, "40ms"; default 1 us
	Bandwidth string  `json:"bandwidth"` // per second, "64kbit", "10Mbit"; default without limit
	Loss      float64 `json:"loss"`      // probabilities, 0 to 1, for each packet
	Reorder   float64 `json:"reorder"`
	Duplicate float64 `json:"duplicate"`
	Corrupt   float64 `json:"corrupt"`
	MTU       int     `json:"mtu"` // octets of the largest IP packet; default 1500
}

// Lab is the internet of mode "lab": who takes part in it, and how its mail
// server behaves.
type Lab struct {
	Route     Route     `json:"route"`     // default "direct"
	Relays    int       `json:"relays"`    // between the two ends of a chain, 1 to MaxRelays; default 2
	Transport string    `json:"transport"` // "tcp", or "udp" to see what breaks without TCP; default "tcp"
	Server    Behaviour `json:"server"`    // of the recipients' mail server
}

// Route is the way that mail takes from the page to the recipients' mail server.
type Route string

const (
	Direct     Route = "direct"     // the page looks up the MX of target.host and talks to it
	Submission Route = "submission" // the page's own server takes the message and relays it
	Chain      Route = "chain"      // and that hands it to another, and so on
)

// LabClient is the address of the page's host in a lab.
const LabClient = "192.0.2.10"

// MaxRelays is the length of the longest chain.
const MaxRelays = 4

// Behaviour is what a lesson wants of a mail server. The zero value has no quirks.
type Behaviour struct {
	GreetingDelay string   `json:"greetingDelay"` // "8s" of silence before the greeting
	Greylist      string   `json:"greylist"`      // "10m" in which an unknown sender and recipient are put off (RFC 6647)
	Down          string   `json:"down"`          // "45m" from the start in which nothing listens
	Shutdown      string   `json:"shutdown"`      // verb that is answered by 421 and the end of the connection: MAIL, RCPT or DATA
	MailboxFull   bool     `json:"mailboxFull"`   // 452 4.2.2 to RCPT
	Unknown       []string `json:"unknown"`       // recipients that do not exist: 550 5.1.1
	NoPipelining  bool     `json:"noPipelining"`
	NoSTARTTLS    bool     `json:"noSTARTTLS"`
	Size          int      `json:"size"`     // largest message in octets (RFC 1870); default 50 MB
	ReadRate      string   `json:"readRate"` // "16kbit" per second that the server reads; default without limit
	// ReceiveBuffer is how many octets its TCP keeps for a server that does not read them; default: it grows as needed.
	ReceiveBuffer int `json:"receiveBuffer"`
}

func (p *Plan) fillInLab() {
	l := p.Lab
	if p.Target.Host == "" {
		p.Target.Host = l.entry(p)
	}
	if p.Target.Port == 0 && l.Route == Direct && p.Security != Implicit && p.Options.Protocol != lmtp {
		p.Target.Port = 25
	}
}

// entry is the name that the page sends mail to: a domain, whose MX is looked up, or a server.
func (l Lab) entry(p *Plan) string {
	if l.Route == Direct {
		return p.RecipientDomains()[0]
	}
	return "mail." + p.SenderDomain()
}

// RecipientDomains are the domains of all recipients, "example.net" if there are none.
func (p *Plan) RecipientDomains() (domains []string) {
	for _, m := range p.Messages {
		for _, to := range m.To {
			if d := domain(to); d != "" && !slices.Contains(domains, d) {
				domains = append(domains, d)
			}
		}
	}
	if len(domains) == 0 {
		domains = []string{"example.net"}
	}
	return domains
}

// SenderDomain is the domain of the first reverse-path that has one, else "example.org".
func (p *Plan) SenderDomain() string {
	for _, m := range p.Messages {
		if d := domain(m.From); d != "" {
			return d
		}
	}
	return "example.org"
}

// domain is that of an address in lower case, "" where it is none that the DNS could have.
func domain(address string) string {
	i := strings.LastIndexByte(address, '@')
	d := strings.ToLower(address[i+1:])
	if i < 0 || strings.HasPrefix(d, "[") {
		return ""
	}
	return d
}

func (p *Plan) checkLab() error {
	if p.Target.Mode != trace.ModeLab {
		return nil
	}
	l := p.Lab
	switch {
	case !slices.Contains([]Route{Direct, Submission, Chain}, l.Route):
		return fmt.Errorf(`lab.route: %q is unknown; want "direct", "submission" or "chain"`, l.Route)
	case l.Relays < 1 || l.Relays > MaxRelays:
		return fmt.Errorf("lab.relays: %d is not between 1 and %d", l.Relays, MaxRelays)
	case !slices.Contains([]string{"tcp", "udp"}, l.Transport):
		return fmt.Errorf(`lab.transport: %q is unknown; want "tcp" or "udp"`, l.Transport)
	case l.Transport == "udp" && p.Security != None:
		return fmt.Errorf(`security: TLS needs a stream of bytes in order, which lab.transport "udp" is not; say "none"`)
	case p.Options.Protocol == lmtp && (l.Route != Direct || l.Transport == "udp"):
		return fmt.Errorf(`options.protocol: in the lab only the recipients' own server speaks LMTP, over TCP; say lab.route "direct", or use the practice server`)
	case l.Transport == "udp" && l.Route != Direct:
		return fmt.Errorf(`lab.route: with lab.transport "udp" there is only "direct"`)
	case !slices.Contains([]string{"", "MAIL", "RCPT", "DATA"}, l.Server.Shutdown):
		return fmt.Errorf(`lab.server.shutdown: %q; want "MAIL", "RCPT" or "DATA"`, l.Server.Shutdown)
	case l.Server.Size < 0:
		return fmt.Errorf("lab.server.size: %d is negative", l.Server.Size)
	}
	for key, text := range map[string]string{"greetingDelay": l.Server.GreetingDelay, "greylist": l.Server.Greylist, "down": l.Server.Down} {
		if _, err := LabDuration(text); err != nil {
			return fmt.Errorf("lab.server.%s: %w", key, err)
		}
	}
	return nil
}

// maxLabDuration keeps a lab's time within what a calendar of mail knows.
const maxLabDuration = 7 * 24 * time.Hour

// LabDuration reads a time of Behaviour, "" for none. It is 0 to 7 days.
func LabDuration(text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(text)
	switch {
	case err != nil:
		return 0, fmt.Errorf(`%q is not a duration; write it like "90s" or "10m"`, text)
	case d < 0 || d > maxLabDuration:
		return 0, fmt.Errorf("%s is not between 0 and %v", text, maxLabDuration)
	}
	return d, nil
}
