package policy

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"syscall"
	"time"

	"smtpscope/protocol/tunnel"
)

const (
	connectTimeout = 18 * time.Second // for all addresses of a name together
	// attemptDelay is the Connection Attempt Delay of RFC 8305, 5.
	attemptDelay = 250 * time.Millisecond
	// A name may have any number of addresses; a page must not make the proxy
	// knock at all of them.
	maxTries = 8
)

// step is what a try tells: that it dials now, if it may, and then how it ended.
type step struct {
	dialing bool
	address string // as it was judged; empty when it was not dialed
	conn    net.Conn
	err     error
	took    time.Duration // from the SYN to conn or err
	leave   func()        // undoes Reach; may be nil
}

// connect tries the addresses in their order, the next one when the last was
// denied, failed, or had its time alone (RFC 8305, 5). The first that answers
// wins, the others are called off, and all have ended when it returns. The
// error is the denial when all were denied, and otherwise the most telling failure.
//
// Only this goroutine reports, so that nothing can follow StageOpened.
func (a *attempt) connect(ctx context.Context, addresses []netip.AddrPort, judge func(netip.AddrPort) *tunnel.Error) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, a.policy.connectTimeout)
	defer cancel()
	var (
		won             net.Conn
		denial, failure *tunnel.Error
		tries, running  int
		steps           = make(chan step)
		alone           <-chan time.Time
	)
	next := func() {
		alone = nil
		if won != nil || tries == maxTries || len(addresses) == 0 || tries > 0 && ctx.Err() != nil {
			return
		}
		address := addresses[0]
		addresses = addresses[1:]
		tries++
		running++
		alone = time.After(attemptDelay)
		go func() { steps <- a.try(ctx, address, judge, steps) }()
	}
	next()
	for running > 0 {
		var s step
		select {
		case <-alone:
			next()
			continue
		case s = <-steps:
		}
		if s.dialing {
			if won == nil {
				a.report(tunnel.Status{Stage: tunnel.StageDialing, Host: a.host.String(), Port: a.port, Address: s.address})
			}
			continue
		}
		running--
		if s.err == nil && won == nil {
			won = s.conn
			cancel()
			a.report(tunnel.Status{
				Stage:   tunnel.StageOpened,
				Host:    a.host.String(),
				Port:    a.port,
				Address: won.RemoteAddr().String(),
				Local:   won.LocalAddr().String(),
				Connect: s.took,
			})
			continue
		}
		if s.leave != nil {
			s.leave()
		}
		if s.err == nil {
			_ = s.conn.Close() // it answered too late
		}
		if won != nil {
			continue
		}
		if e := tunnel.DialError(s.err, a.host.String(), a.port); e.Code == tunnel.CodeDenied {
			tries--
			if denial == nil {
				denial = e
			}
		} else {
			if s.address != "" && !errors.Is(s.err, context.Canceled) {
				a.report(tunnel.Status{Stage: tunnel.StageFailed, Host: a.host.String(), Port: a.port, Address: s.address, Connect: s.took, Problem: problem(s.err)})
			}
			if failure == nil || telling(e.Code) > telling(failure.Code) {
				failure = e
			}
		}
		next()
	}
	switch {
	case won != nil:
		return won, nil
	case failure != nil:
		return nil, failure
	}
	return nil, denial
}

// try dials one address. The judgement is made on what the system is about to
// connect to, and the clock starts right after it.
func (a *attempt) try(ctx context.Context, address netip.AddrPort, judge func(netip.AddrPort) *tunnel.Error, steps chan<- step) step {
	var s step
	var started time.Time
	dialer := &net.Dialer{Control: func(network, text string, socket syscall.RawConn) error {
		dialed, err := netip.ParseAddrPort(text)
		if err != nil {
			return denied(RuleUnjudgedAddress, "%q cannot be judged, so it is not dialed (rule %s).", text, RuleUnjudgedAddress)
		}
		if denial := judge(dialed); denial != nil {
			return denial
		}
		if s.leave != nil { // package net tries again when a socket connected to itself
			s.leave()
			s.leave = nil
		}
		if reach := a.policy.config.Reach; reach != nil {
			leave, denial := reach(ctx, dialed)
			if denial != nil {
				return denial
			}
			s.leave = leave
		}
		if a.watch != nil {
			port, err := bind(network, socket)
			if err != nil {
				return err
			}
			a.watch(port, dialed)
		}
		steps <- step{dialing: true, address: dialed.String()}
		if err := ctx.Err(); err != nil { // another one won in the meantime
			return err
		}
		s.address = dialed.String()
		started = time.Now()
		return nil
	}}
	s.conn, s.err = a.policy.dial(ctx, dialer, "tcp", address.String())
	if s.address != "" {
		s.took = time.Since(started)
	}
	return s
}

// telling ranks failures: a host that refuses is there; one that has no route
// often only lacks this family of addresses.
func telling(c tunnel.Code) int {
	switch c {
	case tunnel.CodeRefused, tunnel.CodeReset:
		return 3
	case tunnel.CodeTimeout:
		return 2
	case tunnel.CodeNoRoute:
		return 0
	}
	return 1
}

// problem says in the system's words why an address could not be connected.
func problem(err error) string {
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return "no answer"
	}
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno.Error()
	}
	return err.Error()
}
