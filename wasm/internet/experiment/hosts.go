package experiment

import (
	"fmt"
	"slices"

	"smtpscope/protocol/session"
	"smtpscope/protocol/trace"
	"smtpscope/wasm/internet"
)

// Ids of the hosts of an experiment, besides those that every trace has.
const (
	hostDNS   = "dns"
	hostMX    = "mx"    // the recipients' mail server; where the page talks to it, trace.HostServer is
	hostRelay = "relay" // and a number
)

// The account at the submission server.
const (
	Username = "ada"
	Password = "enchantress"
)

// resolverDelay is the way to the DNS server, one way: it is next door to every
// host, and nothing happens to packets there, so that it can be told apart what a
// link does to mail.
const resolverDelay = "200us"

// place is a host, and the mail server that runs on it, if any.
type place struct {
	id, name, address string
	domains           []string // that it has mailboxes for
	submission        bool     // takes mail from its users
	relay             bool     // takes mail from anybody
	next              string   // where mail for others goes; "" for the MX of the domain
	quirks            session.Behaviour
}

// places are the hosts of a plan but for the DNS server, in the order in which
// the mail travels.
func places(p *session.Plan) []place {
	theirs := p.RecipientDomains()
	mx := place{id: hostMX, name: "mx." + theirs[0], address: "203.0.113.25", domains: theirs, quirks: p.Lab.Server}
	all := []place{{id: trace.HostClient, name: "this page", address: session.LabClient}}
	if p.Lab.Route == session.Direct {
		mx.id = trace.HostServer
		return append(all, mx)
	}
	ours := p.SenderDomain()
	server := place{id: trace.HostServer, name: "mail." + ours, address: "198.51.100.25", submission: true}
	if !slices.Contains(theirs, ours) { // else its mailboxes are at the MX
		server.domains = []string{ours}
	}
	all = append(all, server)
	if p.Lab.Route == session.Chain {
		for i := range p.Lab.Relays {
			all = append(all, place{id: fmt.Sprintf("%s%d", hostRelay, i+1), name: fmt.Sprintf("relay%d.example.com", i+1),
				address: fmt.Sprintf("198.51.100.%d", 101+i), relay: true})
		}
		for i := 1; i < len(all)-1; i++ {
			all[i].next = all[i+1].name
		}
	}
	return append(all, mx)
}

// zone is what the DNS server knows.
func zone(all []place) (records []internet.Record) {
	for _, p := range all {
		if p.id == trace.HostClient {
			continue
		}
		records = append(records, internet.Record{Name: p.name, Type: "A", Value: p.address})
		for _, d := range p.domains {
			records = append(records, internet.Record{Name: d, Type: "MX", Value: p.name, Preference: 10})
		}
	}
	return records
}
