package lookup

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/miekg/dns"

	"smtpscope/protocol/tunnel"
)

// udpSize is what resolvers may send in one datagram without it being cut into
// fragments on the way (DNS flag day 2020; RFC 9715).
const udpSize = 1232

const resolvConf = "/etc/resolv.conf"

// systemServers are the resolvers that the machine is set up with.
func systemServers() ([]string, error) {
	return serversIn(resolvConf)
}

func serversIn(file string) ([]string, error) {
	conf, err := dns.ClientConfigFromFile(file)
	if err != nil || len(conf.Servers) == 0 {
		return nil, &tunnel.Error{Code: tunnel.CodeNoRoute,
			Message: fmt.Sprintf("This proxy knows no resolver, because %s names none. Its operator can name one with --resolver.", file)}
	}
	var out []string
	for _, server := range conf.Servers[:min(len(conf.Servers), maxServers)] {
		out = append(out, net.JoinHostPort(server, conf.Port))
	}
	return out, nil
}

// exchange asks one resolver after the other until one knows, and says for how
// long the answer is good. When none knows, the answer is the first failure that
// was told; an error means that nobody told anything.
func (r *Resolver) exchange(ctx context.Context, q question) (*Answer, time.Duration, error) {
	servers, err := r.servers()
	if err != nil {
		return nil, 0, err
	}
	var silence error
	for range rounds {
		var failure *Answer
		for _, server := range servers {
			answer, ttl, err := r.try(ctx, server, q)
			switch {
			case err != nil && silence == nil:
				silence = err
			case err != nil:
			case answer.RCode == "NOERROR" || answer.RCode == "NXDOMAIN":
				return answer, ttl, nil
			case failure == nil:
				failure = answer
			}
		}
		if failure != nil {
			return failure, failureTTL, nil
		}
	}
	return nil, 0, silent(q, silence)
}

// silent says in words that no resolver answered.
func silent(q question, err error) error {
	var timeout net.Error
	e := &tunnel.Error{Code: tunnel.CodeNoRoute, Message: fmt.Sprintf("%s could not be looked up: no resolver of this proxy can be reached, or what it answers is not DNS. Its operator can name another one with --resolver.", q.name)}
	if errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout() {
		e.Code = tunnel.CodeTimeout
		e.Message = fmt.Sprintf("%s could not be looked up: no resolver of this proxy answered in time. Try again; if it stays so, its operator can name another one with --resolver.", q.name)
	}
	return e
}

// try asks one resolver, by UDP and, if the answer was cut off, by TCP.
func (r *Resolver) try(ctx context.Context, server string, q question) (*Answer, time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, r.tryTimeout)
	defer cancel()
	started := time.Now()
	network := "udp"
	response, err := send(ctx, network, server, q)
	if err == nil && response.Truncated {
		network = "tcp"
		response, err = send(ctx, network, server, q)
	}
	if err != nil {
		return nil, 0, err
	}
	answer := r.read(response, q)
	answer.Network, answer.Took = network, time.Since(started)
	if address, err := netip.ParseAddrPort(server); err == nil && r.config.Policy.TellsResolver(address.Addr()) {
		answer.Server = server
	}
	return answer, lifetime(response), nil
}

// send asks and reads what answers that very question. Anything else that
// arrives on the way is passed over: it may be a forgery that came first.
func send(ctx context.Context, network, server string, q question) (*dns.Msg, error) {
	// A connected socket: the system lets in what comes from the resolver only,
	// and every question has a source port of its own.
	raw, err := (&net.Dialer{}).DialContext(ctx, network, server)
	if err != nil {
		return nil, err
	}
	defer raw.Close()
	if deadline, ok := ctx.Deadline(); ok {
		_ = raw.SetDeadline(deadline)
	}
	ask := new(dns.Msg).SetQuestion(dns.Fqdn(q.name), q.qtype)
	ask.SetEdns0(udpSize, false)
	ask.AuthenticatedData = true // say whether it is (RFC 6840, 5.7)
	conn := &dns.Conn{Conn: raw, UDPSize: udpSize}
	if err := conn.WriteMsg(ask); err != nil {
		return nil, err
	}
	for {
		wire, err := conn.ReadMsgHeader(nil)
		if err != nil {
			if network == "udp" && errors.Is(err, dns.ErrShortRead) {
				continue
			}
			return nil, err
		}
		response := new(dns.Msg)
		err = response.Unpack(wire)
		// What was cut off may end in the middle of a record; its head is enough.
		if answers(response, ask) && (err == nil || network == "udp" && response.Truncated) {
			return response, nil
		}
		if network != "udp" {
			return nil, fmt.Errorf("%s sent something else than an answer by TCP", server)
		}
	}
}

func answers(response, ask *dns.Msg) bool {
	return response.Response && response.Opcode == dns.OpcodeQuery && response.Id == ask.Id &&
		len(response.Question) == 1 && response.Question[0].Qtype == ask.Question[0].Qtype &&
		response.Question[0].Qclass == dns.ClassINET && strings.EqualFold(response.Question[0].Name, ask.Question[0].Name)
}

// lifetime is for how long an answer may be kept (RFC 2181, 5.2; RFC 2308, 5).
func lifetime(response *dns.Msg) time.Duration {
	if response.Rcode != dns.RcodeSuccess && response.Rcode != dns.RcodeNameError {
		return failureTTL
	}
	least := maxTTL
	negative := response.Rcode == dns.RcodeNameError || !hasRecord(response)
	if negative {
		least = maxNegative
		soa := false
		for _, record := range response.Ns {
			if s, ok := record.(*dns.SOA); ok {
				soa = true
				least = min(least, seconds(min(s.Hdr.Ttl, s.Minttl)))
			}
		}
		if !soa {
			return 0
		}
	}
	for _, record := range response.Answer {
		least = min(least, seconds(record.Header().Ttl))
	}
	return least
}

// hasRecord is true when there is more in the answer than aliases.
func hasRecord(response *dns.Msg) bool {
	for _, record := range response.Answer {
		if record.Header().Rrtype == response.Question[0].Qtype {
			return true
		}
	}
	return false
}

// seconds reads a TTL; one with the highest bit set means zero (RFC 2181, 8).
func seconds(ttl uint32) time.Duration {
	if ttl >= 1<<31 {
		return 0
	}
	return time.Duration(ttl) * time.Second
}
