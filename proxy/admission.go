package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"time"

	"smtpscope/protocol/tunnel"
	"smtpscope/proxy/internal/policy"
	"smtpscope/proxy/internal/quota"
	"smtpscope/proxy/internal/token"
)

// publicLimits are the defaults with --public. A person at a page does not notice
// them: a session with TLS and a short message takes 10 to 20 kB. A sender of spam does.
var publicLimits = map[string]string{
	"max-per-ip":     "4",
	"rate":           "10",
	"max-per-target": "16",
	"target-rate":    "60",
	"session-bytes":  "256kB",
	"hour-bytes":     "1MB",
	"idle":           "6m", // servers wait for 5 (RFC 5321, 4.5.3.2.7): their own 421 is seen
	"session":        "30m",
}

// practiceFactor is how many times as much a client may do when nothing leaves this
// machine, that is with the practice server and before it says what it wants: a class
// behind one address is one client.
const practiceFactor = 8

func (o *options) limitFlags(flags *flag.FlagSet) {
	flags.IntVar(&o.limits.ClientOpen, "max-per-ip", 0, "")
	flags.IntVar(&o.limits.ClientRate, "rate", 0, "")
	flags.IntVar(&o.limits.TargetOpen, "max-per-target", 0, "")
	flags.IntVar(&o.limits.TargetRate, "target-rate", 0, "")
	flags.Var((*quota.Size)(&o.limits.SessionBytes), "session-bytes", "")
	flags.Var((*quota.Size)(&o.limits.HourBytes), "hour-bytes", "")
	flags.StringVar(&o.tokenKey, "token-key", "", "")
	flags.Var(&o.proxies, "trusted-proxy", "")
}

// limitPublic sets what nobody has set.
func (o *options) limitPublic(flags *flag.FlagSet) error {
	if !o.public {
		return nil
	}
	given := map[string]bool{}
	flags.Visit(func(f *flag.Flag) { given[f.Name] = true })
	for name, value := range publicLimits {
		if given[name] {
			continue
		}
		if err := flags.Set(name, value); err != nil {
			return fmt.Errorf("--%s: %w", name, err)
		}
	}
	return nil
}

func (o *options) checkLimits() error {
	for _, l := range []struct {
		name  string
		value int
	}{{"max-per-ip", o.limits.ClientOpen}, {"rate", o.limits.ClientRate}, {"max-per-target", o.limits.TargetOpen}, {"target-rate", o.limits.TargetRate}} {
		if l.value < 0 {
			return fmt.Errorf("--%s %d: write a number above zero, or 0 for no limit", l.name, l.value)
		}
	}
	return nil
}

// admission decides who may open a tunnel now: for the practice server anybody who
// leaves others room, for others whoever has a token, if one is asked for, and
// something left of his quota.
type admission struct {
	isPractice     func(host string) bool
	key            *token.Key  // nil asks for no token
	doors          *quota.Gate // for WebSockets, whatever they are for
	practice, live *quota.Gate
	questions      *quota.Gate
	questionRate   int
}

// newAdmission keeps in accounts what replicas count together.
func newAdmission(o *options, isPractice func(host string) bool, accounts quota.Store) (*admission, error) {
	a := &admission{isPractice: isPractice}
	if o.tokenKey != "" {
		var err error
		if a.key, err = token.ReadKey(o.tokenKey); err != nil {
			return nil, err
		}
	}
	a.live = quota.New(quota.Config{Name: "live", Limits: o.limits, Session: o.session, Store: accounts})
	a.practice = quota.New(quota.Config{Name: "practice", Session: o.session, Store: accounts, Limits: quota.Limits{
		ClientRate: practiceFactor * o.limits.ClientRate,
	}})
	// What is protected are the places in this very program, so others need not know.
	a.doors = quota.New(quota.Config{Name: "doors", Session: o.session + time.Minute, Store: quota.NewMemory(nil), Limits: quota.Limits{
		ClientOpen: practiceFactor * o.limits.ClientOpen,
	}})
	a.questionRate = questionFactor * o.limits.ClientRate
	a.questions = quota.New(quota.Config{Name: "questions", Session: time.Minute, Store: accounts, Limits: quota.Limits{ClientRate: a.questionRate}})
	return a, nil
}

// enter is asked before a WebSocket is accepted.
func (a *admission) enter(remote string) (*quota.Tunnel, *tunnel.Error) {
	return a.doors.Open(clientOf(remote), nil)
}

// admit is asked when the page has said what it wants.
func (a *admission) admit(remote string, open tunnel.Open) (*quota.Tunnel, *tunnel.Error) {
	if a.isPractice(open.Host) {
		return a.practice.Open(clientOf(remote), nil)
	}
	var budget *quota.Budget
	if a.key != nil {
		var denial *tunnel.Error
		if budget, denial = a.key.Verify(open, time.Now()); denial != nil {
			return nil, denial
		}
	}
	return a.live.Open(clientOf(remote), budget)
}

// clientOf is who asks, from a request's RemoteAddr. All that cannot be read are one client.
func clientOf(remote string) netip.Addr {
	peer, _ := netip.ParseAddrPort(remote)
	return peer.Addr()
}

const tokenUsage = `smtpscope token makes a token for a proxy that was started with --token-key.

  smtpscope token --key FILE --target mx.example.net:25 --for 5m --bytes 1MB

  --key FILE                 the proxy's file: secrets, one a line; the first one signs
  --target HOST:PORT[,PORT]  where the token leads, written as for --allow
  --for DURATION             how long tunnels may be opened with it, at most 24h (default 5m)
  --bytes SIZE               what all of them together may send and receive (default 1MB)
`

// longestToken bounds --for: nothing can call a token back.
const longestToken = 24 * time.Hour

// mint is "smtpscope token".
func mint(args []string, now time.Time, stdout io.Writer) error {
	var target policy.Target
	size := quota.Size(1e6)
	flags := flag.NewFlagSet("smtpscope token", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	file := flags.String("key", "", "")
	flags.Func("target", "", func(text string) (err error) {
		target, err = policy.ParseTarget(text)
		return err
	})
	good := flags.Duration("for", 5*time.Minute, "")
	flags.Var(&size, "bytes", "")
	if err := flags.Parse(args); err != nil {
		return err
	}
	switch {
	case flags.NArg() > 0:
		return fmt.Errorf("%q is not a flag of smtpscope token", flags.Arg(0))
	case *file == "":
		return errors.New("--key is missing: name the file that the proxy has for --token-key")
	case target.String() == "":
		return errors.New("--target is missing: say where the token leads, as in --target mx.example.net:25")
	case *good <= 0 || *good > longestToken:
		return fmt.Errorf("--for %s: write a duration above zero and up to %s; a token cannot be called back", *good, longestToken)
	case size <= 0:
		return errors.New("--bytes 0: a token is for at least one byte, as in --bytes 1MB")
	}
	key, err := token.ReadKey(*file)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(stdout, key.Mint(target, size, now.Add(*good)))
	return err
}

func runToken(args []string, stdout, stderr io.Writer) int {
	err := mint(args, time.Now(), stdout)
	switch {
	case errors.Is(err, flag.ErrHelp):
		_, _ = io.WriteString(stdout, tokenUsage)
		return exitOK
	case err != nil:
		fmt.Fprintf(stderr, "smtpscope token: %v\nTry smtpscope token --help.\n", err)
		return exitUsage
	}
	return exitOK
}
