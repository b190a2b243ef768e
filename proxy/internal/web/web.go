// Package web is the HTTP face of smtpscope: the page, the API, the door to the
// tunnels. It decides who is served (which host names, which pages) and with
// which security headers; it refuses to know what goes through a tunnel, what
// may be dialed and how mail is stored.
package web

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"smtpscope/protocol/tunnel"
	"smtpscope/proxy/internal/lookup"
	"smtpscope/proxy/internal/policy"
	"smtpscope/proxy/internal/practice"
	"smtpscope/proxy/internal/quota"
)

const messagesPath = "/api/v1/practice/messages/"

// Config is what a server is made of.
type Config struct {
	Site   fs.FS        // the built page
	Guard  *Guard       // whom to serve
	Tunnel http.Handler // answers /tunnel
	Full   func() bool  // whether another tunnel would be too many; nil when there is no such limit
	Offer  Offer
	// Lookup answers the page's questions about the DNS; nil when there is nothing
	// to ask about. AdmitQuestion says whether that client may ask now; nil
	// admits everybody.
	Lookup        *lookup.Resolver
	AdmitQuestion func(remote string) (*quota.Tunnel, *tunnel.Error)
	// Message gives a stored message by its queue id, or fs.ErrNotExist. Nil
	// when there is no practice server.
	Message func(queueID string) ([]byte, error)
	Proxies []netip.Prefix // whose X-Forwarded-For is believed
	Logger  *slog.Logger   // nil means silence
}

// Offer is what this server can do for a page, the answer of /api/v1/config.
type Offer struct {
	Version  string         `json:"version"`
	Practice *practice.Info `json:"practice"` // null when there is none
	Live     policy.Live    `json:"live"`
	// Instrument is what this server measures of the connections that it makes.
	Instrument Instrument `json:"instrument"`
	Lookup     bool       `json:"lookup"` // set by New
}

// Instrument says what a page may ask for in its wishes (tunnel.Open.Wants).
type Instrument struct {
	TCPInfo bool   `json:"tcpinfo"`
	Why     string `json:"why,omitempty"` // there is no TCPInfo
	Packets bool   `json:"packets"`
	// WhyNoPackets is for people, like Why.
	WhyNoPackets string `json:"whyNoPackets,omitempty"`
}

// Web is the handler of all routes.
type Web struct {
	config   Config
	files    *files
	offer    []byte
	draining atomic.Bool
	misled   sync.Once // has been told that a header of proxies is not believed
}

// New prepares the files and the answers.
func New(cfg Config) (*Web, error) {
	built, err := newFiles(cfg.Site)
	if err != nil {
		return nil, err
	}
	cfg.Offer.Lookup = cfg.Lookup != nil
	offer, err := json.Marshal(cfg.Offer)
	if err != nil {
		return nil, fmt.Errorf("encode the answer of /api/v1/config: %w", err)
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Web{config: cfg, files: built, offer: append(offer, '\n')}, nil
}

// Server is an http.Server with this handler and deadlines for everything.
// Tunnels are not touched by them: hijacking a connection lifts its deadlines.
func (s *Web) Server() *http.Server {
	return &http.Server{
		Handler:           s,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      5 * time.Minute, // the page's WebAssembly over a poor line
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(s.config.Logger.Handler(), slog.LevelWarn),
	}
}

// Drain makes /readyz answer that no new work should come here.
func (s *Web) Drain() { s.draining.Store(true) }

// ServeHTTP implements http.Handler.
func (s *Web) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	r = s.from(r)
	s.secure(w, r)
	// Probes come with whatever host name the prober likes, and tell nothing.
	switch r.URL.Path {
	case "/healthz":
		s.get(w, r, func() { plain(w, http.StatusOK, "ok\n") })
		return
	case "/readyz":
		s.get(w, r, func() { s.ready(w) })
		return
	}
	if err := s.config.Guard.checkHost(r); err != nil {
		s.config.Logger.Info("request for another host refused", "remote", r.RemoteAddr)
		plain(w, http.StatusMisdirectedRequest, err.Error()+"\n")
		return
	}
	switch {
	case r.URL.Path == "/tunnel":
		s.config.Tunnel.ServeHTTP(w, r)
	case r.URL.Path == "/api/v1/config":
		s.get(w, r, func() { s.sendOffer(w) })
	case r.URL.Path == lookupPath:
		s.get(w, r, func() { s.sendLookup(w, r) })
	case r.URL.Path == mtaSTSPath:
		s.get(w, r, func() { s.sendMTASTS(w, r) })
	case strings.HasPrefix(r.URL.Path, messagesPath):
		s.get(w, r, func() { s.sendMessage(w, r) })
	default:
		s.get(w, r, func() { s.sendFile(w, r) })
	}
}

// secure sets the headers that every answer has, also the refusals.
func (s *Web) secure(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", s.contentSecurityPolicy(r))
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()")
	if len(s.config.Guard.origins) == 0 {
		return
	}
	// Pages of named origins use this server from where they are.
	h.Add("Vary", "Origin")
	if o := s.config.Guard.listed(r.Header.Get("Origin")); o != (Origin{}) {
		h.Set("Access-Control-Allow-Origin", o.String())
	}
}

func (s *Web) contentSecurityPolicy(r *http.Request) string {
	connect := "'self'"
	// Older browsers do not take 'self' to mean the WebSocket of the same host
	// too. An IPv6 address cannot be written as a source.
	if s.config.Guard.checkHost(r) == nil && !strings.ContainsFunc(r.Host, func(c rune) bool { return !isHostRune(c) }) {
		if address, err := netip.ParseAddr(hostname(r.Host)); err != nil || address.Is4() {
			connect += " ws://" + r.Host + " wss://" + r.Host
		}
	}
	ancestors := "'none'"
	if len(s.config.Guard.origins) > 0 {
		ancestors = "'self'"
		for _, o := range s.config.Guard.origins {
			ancestors += " " + o.String()
		}
	}
	return "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; connect-src " + connect +
		"; img-src 'self' data:; worker-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors " + ancestors
}

// get runs the answer for the methods that ask for something.
func (s *Web) get(w http.ResponseWriter, r *http.Request, answer func()) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		plain(w, http.StatusMethodNotAllowed, "This address can only be read (GET, HEAD).\n")
		return
	}
	answer()
}

func (s *Web) ready(w http.ResponseWriter) {
	if s.draining.Load() {
		plain(w, http.StatusServiceUnavailable, "draining\n")
		return
	}
	if s.config.Full != nil && s.config.Full() {
		plain(w, http.StatusServiceUnavailable, "full\n")
		return
	}
	plain(w, http.StatusOK, "ready\n")
}

func (s *Web) sendOffer(w http.ResponseWriter) {
	answer(w, http.StatusOK, "application/json", s.offer)
}

// sendMessage hands out a stored message. It is somebody's text, so the browser
// must neither guess a type for it nor show it as a page of this server.
func (s *Web) sendMessage(w http.ResponseWriter, r *http.Request) {
	const missing = "There is no message with this queue id. The practice server keeps the newest ones only, and none when it is stopped.\n"
	id := strings.TrimPrefix(r.URL.Path, messagesPath)
	if s.config.Message == nil {
		plain(w, http.StatusNotFound, "There is no practice server here.\n")
		return
	}
	message, err := s.config.Message(id)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		plain(w, http.StatusNotFound, missing)
		return
	case err != nil:
		s.config.Logger.Error("practice message not readable", "error", err)
		plain(w, http.StatusInternalServerError, "The message could not be read.\n")
		return
	}
	w.Header().Set("Content-Disposition", `attachment; filename="message.eml"`)
	w.Header().Set("Content-Security-Policy", "default-src 'none'; sandbox; frame-ancestors 'none'")
	answer(w, http.StatusOK, plainText, message)
}

func (s *Web) sendFile(w http.ResponseWriter, r *http.Request) {
	if s.files.serve(w, r) {
		return
	}
	if !s.files.built() && (r.URL.Path == "/" || r.URL.Path == "/"+indexFile) {
		plain(w, http.StatusServiceUnavailable, notBuilt)
		return
	}
	plain(w, http.StatusNotFound, "There is nothing at this address. The page is at /.\n")
}

const plainText = "text/plain; charset=utf-8"

// plain answers in words.
func plain(w http.ResponseWriter, status int, text string) {
	answer(w, status, plainText, []byte(text))
}

// answer sends what is true now, and perhaps not later.
func answer(w http.ResponseWriter, status int, contentType string, body []byte) {
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body)
}
