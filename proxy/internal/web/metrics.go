package web

import (
	"errors"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// ServeMetrics serves handler at /metrics of a listener of its own, which ends with the
// server that it returns. It has no part in the routes of the page: behind a balancer all
// of those are public, however the program itself listens, and what the counts say of the
// use of a server is its operator's business.
//
// On loopback it answers to no other host name, as Guard does for the page, so that no web page
// reads the counts by rebinding its name. On a network scrapers use names that the program cannot know.
func ServeMetrics(l net.Listener, handler http.Handler, log *slog.Logger) *http.Server {
	guard := NewGuard(l.Addr().String(), nil)
	server := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			h := w.Header()
			h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
			h.Set("X-Content-Type-Options", "nosniff")
			h.Set("Referrer-Policy", "no-referrer")
			h.Set("Cross-Origin-Resource-Policy", "same-origin")
			switch {
			case guard.local && guard.checkHost(r) != nil:
				plain(w, http.StatusMisdirectedRequest, "Ask for the metrics by the address that --metrics names.\n")
			case r.URL.Path != "/metrics":
				plain(w, http.StatusNotFound, "There is nothing at this address. The metrics are at /metrics.\n")
			case r.Method != http.MethodGet && r.Method != http.MethodHead:
				h.Set("Allow", "GET, HEAD")
				plain(w, http.StatusMethodNotAllowed, "This address can only be read (GET, HEAD).\n")
			default:
				handler.ServeHTTP(w, r)
			}
		}),
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	go func() {
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			log.Error("metrics are no longer served", "error", err)
		}
	}()
	return server
}
