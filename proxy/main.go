// Command smtpscope serves a page in which SMTP can be watched, the tunnel that
// carries its bytes to a mail server, and a practice mail server to begin with.
//
// It only reads the flags and joins the parts; each of them is a package below
// internal.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"smtpscope/protocol"
	"smtpscope/proxy/internal/capture"
	"smtpscope/proxy/internal/metrics"
	"smtpscope/proxy/internal/natsquota"
	"smtpscope/proxy/internal/policy"
	"smtpscope/proxy/internal/practice"
	"smtpscope/proxy/internal/quota"
	"smtpscope/proxy/internal/relay"
	"smtpscope/proxy/internal/tcpinfo"
	"smtpscope/proxy/internal/web"
	"smtpscope/site"
)

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// From the first signal on the next one has its usual effect: the end, at once.
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// options are the flags.
type options struct {
	listen     string
	allow      list[policy.Target]
	public     bool
	origins    list[web.Origin]
	practice   bool
	maxTunnels int
	idle       time.Duration
	session    time.Duration
	drain      time.Duration
	limits     quota.Limits
	tokenKey   string
	proxies    list[netip.Prefix]
	resolver   netip.AddrPort
	metrics    string
	nats       string
	log        string
	capture    bool
	version    bool
}

// list is a flag that may be given several times. One value may hold several
// entries with spaces between, which is how the environment gives them.
type list[T fmt.Stringer] struct {
	parse func(string) (T, error)
	items []T
}

func (l *list[T]) String() string {
	var texts []string
	for _, item := range l.items {
		texts = append(texts, item.String())
	}
	return strings.Join(texts, " ")
}

func (l *list[T]) Set(value string) error {
	entries := strings.Fields(value)
	if len(entries) == 0 {
		return errors.New("it is empty")
	}
	for _, text := range entries {
		item, err := l.parse(text)
		if err != nil {
			return err
		}
		l.items = append(l.items, item)
	}
	return nil
}

const usage = `smtpscope shows in a web page what an SMTP client and a mail server say to each other.

Start it without flags, open http://127.0.0.1:8025 and press Run. A practice mail
server is built in; nothing it is sent ever leaves this machine. Without further flags
no other server can be reached.

  smtpscope                                  the page and the practice server
  smtpscope --allow mx.example.net:25,587    and this mail server, on these ports
  smtpscope --allow localhost:2525           and a server of your own on this machine

What pages may connect to:
  --allow HOST:PORT[,PORT]   a mail server; repeat it for more. *.example.org:25 means every
                             name below example.org. A name reaches public addresses only;
                             for one in your own network allow its address as well:
                             --allow mx.lan:25 --allow 192.168.1.10:25
  --public                   any public address on the mail ports 25, 465, 587, 2525
  --practice=false           no practice server
  --resolver ADDRESS:PORT    the DNS server to ask (default: those of /etc/resolv.conf)

Who may use it:
  --listen ADDRESS:PORT      where the page is served (default 127.0.0.1:8025)
  --origin URL               scheme and host of another page that may open tunnels, or under
                             which this one is known; repeat it for more
  --token-key FILE           connect to mail servers only for pages with a token that was signed
                             with this key (see smtpscope token --help)
  --trusted-proxy NETWORK    believe the X-Forwarded-For of these; repeat it for more

Limits:
  --max-tunnels N            connections at one time (default 256)
  --idle DURATION            end a connection that carried nothing for so long (default 15m)
  --session DURATION         end a connection that lasted so long (default 2h)
  --rate N                   new connections a minute from one client
  --max-per-ip N             connections of one client at one time
  --target-rate N            new connections a minute to one mail server
  --max-per-target N         connections to one mail server at one time
  --session-bytes SIZE       what one connection may send and receive, as in 256kB or 1MB
  --hour-bytes SIZE          what one client may send and receive in an hour
                             The last six are off (0) without --public. With it they are 10, 4,
                             60, 16, 256kB and 1MB, --idle is 6m and --session 30m. A client is
                             an IPv4 address or an IPv6 /64.
  --drain DURATION           when stopped, wait so long for open connections (default 10s)

Who runs it:
  --metrics ADDRESS:PORT     counts for Prometheus at /metrics there, and nowhere else
  --nats URL                 count for the limits above together with other proxies, in a
                             key-value bucket of the NATS JetStream there
  --capture                  show pages the packets of their own connections, the SYN included;
                             the program needs the capability CAP_NET_RAW for it (Linux)
  --log text|json            form of the log on standard error (default text)
  --config FILE              settings, one a line: listen = 127.0.0.1:8025

  --version                  print the version
  --help                     print this

All can also be set in the environment: SMTPSCOPE_LISTEN, SMTPSCOPE_ALLOW,
SMTPSCOPE_MAX_TUNNELS and so on, or in the file of --config. Several values of --allow or
--origin have spaces between: SMTPSCOPE_ALLOW="mx.example.net:25,587 *.example.org:25". A
flag on the command line replaces what the environment says, and that what the file says.
`

// repeatable marks the type for settings files.
func (l *list[T]) repeatable() {}

// parse reads the arguments, and for what they leave out the environment and the settings file.
func parse(args []string) (*options, error) {
	o := &options{
		allow:   list[policy.Target]{parse: policy.ParseTarget},
		origins: list[web.Origin]{parse: web.ParseOrigin},
		proxies: list[netip.Prefix]{parse: web.ParseProxy},
	}
	flags := flag.NewFlagSet("smtpscope", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.StringVar(&o.listen, "listen", "127.0.0.1:8025", "")
	flags.Var(&o.allow, "allow", "")
	flags.BoolVar(&o.public, "public", false, "")
	flags.Var(&o.origins, "origin", "")
	flags.BoolVar(&o.practice, "practice", true, "")
	flags.IntVar(&o.maxTunnels, "max-tunnels", 256, "")
	// Longer than the practice server waits for a command, so that its own 421 is seen.
	flags.DurationVar(&o.idle, "idle", 15*time.Minute, "")
	flags.DurationVar(&o.session, "session", 2*time.Hour, "")
	flags.DurationVar(&o.drain, "drain", 10*time.Second, "")
	flags.Func("resolver", "", o.parseResolver)
	o.limitFlags(flags)
	flags.StringVar(&o.metrics, "metrics", "", "")
	flags.StringVar(&o.nats, "nats", "", "")
	flags.BoolVar(&o.capture, "capture", false, "")
	flags.StringVar(&o.log, "log", "text", "")
	flags.String("config", "", "") // read by settle
	flags.BoolVar(&o.version, "version", false, "")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	if flags.NArg() > 0 {
		return nil, fmt.Errorf("%q is not a flag; what may be dialed is given with --allow", flags.Arg(0))
	}
	if err := settle(flags); err != nil {
		return nil, err
	}
	if err := o.limitPublic(flags); err != nil {
		return nil, err
	}
	return o, o.check()
}

func (o *options) check() error {
	if _, _, err := net.SplitHostPort(o.listen); err != nil {
		return fmt.Errorf("--listen %q: write address and port, as in 127.0.0.1:8025 or [::1]:8025", o.listen)
	}
	if o.metrics != "" {
		if _, _, err := net.SplitHostPort(o.metrics); err != nil {
			return fmt.Errorf("--metrics %q: write address and port, as in 127.0.0.1:9025", o.metrics)
		}
	}
	if o.log != "text" && o.log != "json" {
		return fmt.Errorf("--log %q: it is text or json", o.log)
	}
	if o.maxTunnels < 1 {
		return fmt.Errorf("--max-tunnels %d: at least 1 is needed", o.maxTunnels)
	}
	if err := o.checkLimits(); err != nil {
		return err
	}
	for _, d := range []struct {
		name  string
		value time.Duration
	}{{"idle", o.idle}, {"session", o.session}, {"drain", o.drain}} {
		if d.value <= 0 {
			return fmt.Errorf("--%s %s: write a duration above zero, as in 90s or 15m", d.name, d.value)
		}
	}
	return nil
}

// run is the program. It serves until ctx ends and returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	if len(args) > 0 && args[0] == "token" {
		return runToken(args[1:], stdout, stderr)
	}
	o, err := parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		_, _ = io.WriteString(stdout, usage)
		return exitOK
	case err != nil:
		fmt.Fprintf(stderr, "smtpscope: %v\nTry smtpscope --help.\n", err)
		return exitUsage
	case o.version:
		fmt.Fprintf(stdout, "smtpscope %s\n", protocol.Version)
		return exitOK
	}
	var handler slog.Handler = slog.NewTextHandler(stderr, nil)
	if o.log == "json" {
		handler = slog.NewJSONHandler(stderr, nil)
	}
	log := slog.New(handler)
	if err := serve(ctx, o, stdout, log); err != nil {
		fmt.Fprintf(stderr, "smtpscope: %v\n", err)
		return exitFailed
	}
	return exitOK
}

func serve(ctx context.Context, o *options, stdout io.Writer, log *slog.Logger) error {
	// The address first: when it is taken nothing else needs to be started.
	listener, err := net.Listen("tcp", o.listen)
	if err != nil {
		return listenError(o.listen, "--listen", err)
	}
	defer listener.Close()
	counts := metrics.New(protocol.Version)
	if o.metrics != "" {
		l, err := net.Listen("tcp", o.metrics)
		if err != nil {
			return listenError(o.metrics, "--metrics", err)
		}
		defer web.ServeMetrics(l, counts.Handler(), log).Close()
		log.Info("metrics", "url", "http://"+l.Addr().String()+"/metrics")
	}

	rules := policy.Config{Allow: o.allow.items, Public: o.public, PracticeHost: practice.Host, Reach: quota.Reach, Resolver: o.dialResolver()}
	offer := web.Offer{Version: protocol.Version, Instrument: instrument(o.capture)}
	if offer.Instrument.Packets {
		rules.Watch = relay.Watch
	} else if o.capture {
		log.Warn("--capture: no packets will be shown", "why", offer.Instrument.WhyNoPackets)
	}
	var message func(string) ([]byte, error)
	if o.practice {
		mail, err := practice.Start(practice.Config{Logger: log})
		if err != nil {
			return err
		}
		defer func() {
			if err := mail.Close(); err != nil {
				log.Warn("practice server not closed cleanly", "error", err)
			}
		}()
		info := mail.Info()
		rules.Practice, offer.Practice, message = mail.Listeners(), &info, mail.Message
	}
	dialer := policy.New(rules)
	offer.Live = dialer.Live()

	var accounts quota.Store = quota.NewMemory(nil)
	if o.nats != "" {
		// A minute more than an account matters: the clocks of replicas differ.
		shared, err := connectAccounts(o.nats, max(time.Hour, o.session)+time.Minute, log)
		if err != nil {
			return fmt.Errorf("--nats: %w", err)
		}
		defer shared.Close()
		accounts = shared
	}
	entry, err := newAdmission(o, dialer.Practice, accounts)
	if err != nil {
		return err
	}
	guard := web.NewGuard(o.listen, o.origins.items)
	tunnels := relay.New(relay.Config{
		Dial:        dialer.Dial,
		CheckOrigin: guard.CheckOrigin,
		Enter:       entry.enter,
		Admit:       entry.admit,
		Logger:      log,
		Metrics:     counts,
		Idle:        o.idle,
		Total:       o.session,
		MaxTunnels:  o.maxTunnels,
		Packets:     offer.Instrument.Packets,
	})
	pages, err := web.New(web.Config{Site: site.Dist, Guard: guard, Tunnel: tunnels, Full: tunnels.Full, Offer: offer, Message: message, Proxies: o.proxies.items, Logger: log,
		Lookup: o.newLookup(dialer, counts), AdmitQuestion: entry.admitQuestion})
	if err != nil {
		return err
	}
	server := pages.Server()
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	fmt.Fprintf(stdout, "smtpscope is at %s — press Run there; Ctrl-C here ends it.\n", pageURL(listener.Addr()))
	if o.public && !isLoopback(listener.Addr()) {
		log.Warn("every visitor of this address can reach every public mail server through it", "listen", listener.Addr().String())
	}

	select {
	case err := <-failed:
		return fmt.Errorf("serving stopped: %w", err)
	case <-ctx.Done():
	}

	// Tunnels first: while they end, the server still says that it is draining.
	pages.Drain()
	log.Info("stopping", "tunnels", tunnels.Tunnels(), "drain", o.drain)
	drain, cancel := context.WithTimeout(context.Background(), o.drain)
	defer cancel()
	if err := tunnels.Shutdown(drain); err != nil {
		log.Warn("open sessions were cut off", "after", o.drain)
	}
	// What is left are answers to requests, which take no time.
	finish, cancelFinish := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancelFinish()
	if err := server.Shutdown(finish); err != nil {
		_ = server.Close()
	}
	return nil
}

// instrument is what can be measured on this system, and captured, if that is wanted.
func instrument(packets bool) (i web.Instrument) {
	if err := tcpinfo.Supported(); err != nil {
		i.Why = err.Error()
	}
	i.TCPInfo = i.Why == ""
	if !packets {
		i.WhyNoPackets = "the proxy was started without --capture"
	} else if err := capture.Prepare(); err != nil {
		i.WhyNoPackets = err.Error()
	}
	i.Packets = i.WhyNoPackets == ""
	return i
}

// connectAccounts has its limit so that a start without NATS ends in words, not in silence.
func connectAccounts(urls string, keep time.Duration, log *slog.Logger) (*natsquota.Store, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	return natsquota.Connect(ctx, urls, keep, log)
}

// listenError says what to do about an address that cannot be had.
func listenError(address, flag string, err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("%s is in use: another program, perhaps another smtpscope, listens there; end it, or choose another port with %s", address, flag)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("this user may not listen on %s: ports below 1024 often need permission; choose a higher one with %s", address, flag)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("%s is not an address of this machine; choose another with %s", address, flag)
	}
	return fmt.Errorf("listen on %s: %w; choose another address with %s", address, err, flag)
}

// pageURL is what to type into a browser on this machine.
func pageURL(a net.Addr) string {
	address, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return "http://" + a.String()
	}
	if address.Addr().IsUnspecified() {
		address = netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), address.Port())
	}
	return "http://" + address.String()
}

func isLoopback(a net.Addr) bool {
	address, err := netip.ParseAddrPort(a.String())
	return err == nil && address.Addr().IsLoopback()
}
