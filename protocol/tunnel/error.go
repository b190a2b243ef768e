package tunnel

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
)

// Code is the machine's name for what went wrong. The set is closed.
type Code string

const (
	CodeRefused      Code = "refused"        // the target refused the connection
	CodeTimeout      Code = "timeout"        // something took too long: look-up, connecting, an idle or over-long session
	CodeNameNotFound Code = "name-not-found" // the name has no address
	CodeNoRoute      Code = "no-route"       // the network of the target cannot be reached
	CodeReset        Code = "reset"          // the established connection was torn down, without a proper close
	CodeDenied       Code = "denied"         // the proxy's policy forbids it; Rule names the rule
	CodeQuota        Code = "quota"          // allowed, but not so much so soon; see RetryAfter
	CodeTooMany      Code = "too-many"       // the proxy holds as many tunnels as it may
	CodeBadRequest   Code = "bad-request"    // a frame that is malformed or out of order
	CodeCredit       Code = "credit"         // more DATA than credit, or more credit than can be counted
	CodeShutdown     Code = "shutdown"       // the proxy is being stopped
)

var codes = map[Code]bool{
	CodeRefused: true, CodeTimeout: true, CodeNameNotFound: true, CodeNoRoute: true, CodeReset: true, CodeDenied: true,
	CodeQuota: true, CodeTooMany: true, CodeBadRequest: true, CodeCredit: true, CodeShutdown: true,
}

// Error is why a tunnel failed, the payload of ERROR. Message is plain English: what
// happened, where, what to check next.
type Error struct {
	Code    Code   `json:"code"`
	Message string `json:"message"`
	// Rule is the rule of the policy that denied the target.
	Rule string `json:"rule,omitempty"`
	// RetryAfter is when it is worth trying again, in seconds.
	RetryAfter int `json:"retryAfter,omitempty"`

	cause error
}

func (e *Error) Error() string { return e.Message }

// Unwrap gives the error that was classified; nil when the Error came over the wire.
func (e *Error) Unwrap() error { return e.cause }

// ErrLost is matched by errors about the tunnel itself, as opposed to the
// connection that it carries: the proxy does not answer, or has gone.
var ErrLost = errors.New("the tunnel was lost")

// DialError classifies what went wrong when host:port was looked up and dialed, and
// says so in plain English. An *Error inside err is returned as it is; nil gives nil.
func DialError(err error, host string, port int) *Error {
	if err == nil {
		return nil
	}
	var known *Error
	if errors.As(err, &known) {
		return known
	}
	e := &Error{cause: err}
	target := net.JoinHostPort(host, strconv.Itoa(port))
	say := func(code Code, format string, args ...any) *Error {
		e.Code, e.Message = code, fmt.Sprintf(format, args...)
		return e
	}
	var dns *net.DNSError
	var addr *net.AddrError
	var parse *net.ParseError
	isDNS := errors.As(err, &dns)
	switch {
	case errors.Is(err, context.Canceled):
		return say(CodeShutdown, "The attempt to connect to %s was called off before it was answered.", target)
	case isDNS && dns.IsNotFound:
		return say(CodeNameNotFound, "%s was not found in the DNS, or has no address there. Check the spelling of the name.", host)
	case isDNS && isTimeout(err):
		return say(CodeTimeout, "Looking up %s took too long: no DNS server answered. Try again; if it stays so, check the resolver of the machine that dials.", host)
	case isDNS && dns.IsTemporary:
		return say(CodeTimeout, "Looking up %s failed for now: its DNS servers gave no usable answer (%s). Try again later; if it stays so, check the DNS of that domain.", host, dns.Err)
	case isDNS:
		return say(CodeNameNotFound, "%s could not be looked up: %s. Check the spelling of the name.", host, dns.Err)
	case errors.As(err, &addr), errors.As(err, &parse):
		return say(CodeBadRequest, "%s is not an address that can be dialed: %v. Check host and port.", target, err)
	}
	switch kindOf(err) {
	case kindRefused:
		return say(CodeRefused, "%s refused the connection on port %d: nothing listens there, or a firewall rejects it. Check the port.", host, port)
	case kindNoRoute:
		return say(CodeNoRoute, "No route leads to %s: its network cannot be reached from the machine that dials, or a firewall says so. Check the address, and whether that machine has the kind of address (IPv4 or IPv6) that the target has.", target)
	case kindReset:
		return say(CodeReset, "%s dropped the connection while it was being made. A firewall, or a server under load, does this. Try again later.", target)
	case kindForbidden:
		return say(CodeNoRoute, "The system that dials does not permit a connection to %s. Check its firewall.", target)
	case kindExhausted:
		return say(CodeTooMany, "The machine that dials has no socket left for %s. Try again when other sessions have ended.", target)
	}
	if isTimeout(err) {
		hint := "Check host and port."
		if port == 25 {
			hint = "Many networks block port 25 outward: try port 587 or 465."
		}
		return say(CodeTimeout, "%s did not answer on port %d in time: the host is down, or a firewall drops what is sent to it. %s", host, port, hint)
	}
	return say(CodeNoRoute, "%s could not be reached: %v. Check host and port.", target, err)
}

// LostError classifies what ended an established connection to host:port other than
// a proper close. An *Error inside err is returned as it is; nil gives nil.
func LostError(err error, host string, port int) *Error {
	if err == nil {
		return nil
	}
	var known *Error
	if errors.As(err, &known) {
		return known
	}
	target := net.JoinHostPort(host, strconv.Itoa(port))
	e := &Error{Code: CodeReset, cause: err}
	switch kind := kindOf(err); {
	case kind == kindNoRoute:
		e.Code = CodeNoRoute
		e.Message = fmt.Sprintf("The route to %s was lost in mid-session. Check the network between, then try again.", target)
	case kind == kindReset:
		e.Message = fmt.Sprintf("%s reset the connection: it was dropped without a proper close. The server crashed or gave up, or a firewall cut in. What it sent before is complete; look at the server's log.", target)
	case isTimeout(err):
		e.Code = CodeTimeout
		e.Message = fmt.Sprintf("%s stopped answering in mid-session. The host or the network between has gone; try again.", target)
	default:
		e.Message = fmt.Sprintf("The connection to %s broke: %v. What it sent before is complete; try again.", target, err)
	}
	return e
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) ||
		kindOf(err) == kindTimeout || errors.As(err, &timeout) && timeout.Timeout()
}

// kind sorts the system's error numbers, which differ between systems.
type kind int

const (
	kindOther kind = iota
	kindRefused
	kindNoRoute
	kindReset
	kindTimeout
	kindForbidden
	kindExhausted
)

func kindOf(err error) kind {
	for _, row := range errnos {
		if errors.Is(err, row.err) {
			return row.kind
		}
	}
	return kindOther
}
