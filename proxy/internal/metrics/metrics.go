// Package metrics counts what the proxy does and shows the counts to Prometheus.
//
// Every label has few values, and the proxy chooses them: codes and rules of
// package tunnel and of the policies. Hosts, addresses of visitors and anything
// else that a page can choose never become labels, so strangers can
// neither fill the memory with time series nor be found in them. The package refuses to know who
// may read the counts: that is for whoever mounts Handler.
package metrics

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"smtpscope/protocol/tunnel"
)

// Metrics is safe for concurrent use. Each has a registry of its own: two proxies in one
// process do not add up.
type Metrics struct {
	registry *prometheus.Registry

	open     prometheus.Gauge
	ended    *prometheus.CounterVec
	refused  *prometheus.CounterVec
	errors   *prometheus.CounterVec
	up, down prometheus.Counter
	sent     prometheus.Counter
	lost     prometheus.Counter
	stalls   prometheus.Counter
	dial     prometheus.Histogram
	lookup   *prometheus.HistogramVec
}

// seconds has a boundary at 1, since a lost SYN shows as a connection that took just
// above one second (RFC 6298, 2.1), and ends where the proxy gives up.
var seconds = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2, 3, 5, 10, 20}

// New makes metrics that count from 0.
func New(version string) *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		open: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "smtpscope_tunnels_open", Help: "Tunnels that there are now, those that are still dialing included."}),
		ended: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "smtpscope_tunnels_ended_total", Help: "Tunnels that have ended, by who ended them: page, target or proxy."}, []string{"by"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "smtpscope_tunnels_refused_total", Help: "Requests for a tunnel that were answered by an HTTP status, by reason."}, []string{"reason"}),
		errors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "smtpscope_tunnel_errors_total", Help: "ERROR frames, by code, and by the rule where a rule denied it."}, []string{"code", "rule"}),
		stalls: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "smtpscope_credit_stalls_total", Help: "Times that a target was not read because its page had given no further credit."}),
		dial: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "smtpscope_dial_seconds", Help: "From the page's wish to the open connection, look-up included; failures are not in it.", Buckets: seconds}),
		lookup: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "smtpscope_lookup_seconds", Help: "Look-ups that were asked of a DNS server, by type and outcome.", Buckets: seconds}, []string{"type", "outcome"}),
	}
	bytes := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "smtpscope_tunnel_bytes_total", Help: "Payload carried, up to the targets and down to the pages."}, []string{"direction"})
	m.up, m.down = bytes.WithLabelValues("up"), bytes.WithLabelValues("down")
	packets := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "smtpscope_packets_total", Help: "Captured packets of tunnels that have ended: sent to the page, or lost because it was not ready for them."}, []string{"outcome"})
	m.sent, m.lost = packets.WithLabelValues("sent"), packets.WithLabelValues("lost")
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "smtpscope_build_info", Help: "1, with the version of the program.", ConstLabels: prometheus.Labels{"version": version}})
	build.Set(1)
	m.registry.MustRegister(m.open, m.ended, m.refused, m.errors, bytes, packets, m.stalls, m.dial, m.lookup, build,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Handler answers in the formats of Prometheus.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4})
}

// Who ended a tunnel.
const (
	ByPage   = "page"
	ByTarget = "target"
	ByProxy  = "proxy"
)

// TunnelStarted counts a page that has got its WebSocket.
func (m *Metrics) TunnelStarted() { m.open.Inc() }

// TunnelEnded counts its end. err is what the page was told; nil when nothing went wrong.
func (m *Metrics) TunnelEnded(by string, err *tunnel.Error) {
	m.open.Dec()
	m.ended.WithLabelValues(by).Inc()
	if err != nil {
		m.errors.WithLabelValues(string(err.Code), err.Rule).Inc()
	}
}

// TunnelRefused counts a request that got no WebSocket.
func (m *Metrics) TunnelRefused(reason string) { m.refused.WithLabelValues(reason).Inc() }

// Up and Down count payload bytes.
func (m *Metrics) Up(n int)   { m.up.Add(float64(n)) }
func (m *Metrics) Down(n int) { m.down.Add(float64(n)) }

// Stalled counts a target that has to wait for credit of its page.
func (m *Metrics) Stalled() { m.stalls.Inc() }

// Packets counts the captured packets of a tunnel.
func (m *Metrics) Packets(sent, lost int) {
	m.sent.Add(float64(sent))
	m.lost.Add(float64(lost))
}

// Dialed counts a connection to a target, and how long the page waited for it.
func (m *Metrics) Dialed(took time.Duration) { m.dial.Observe(took.Seconds()) }

// LookedUp counts a question to a DNS server. kind is the type of record, outcome how it was
// answered; the caller must have small sets of both.
func (m *Metrics) LookedUp(kind, outcome string, took time.Duration) {
	m.lookup.WithLabelValues(kind, outcome).Observe(took.Seconds())
}
