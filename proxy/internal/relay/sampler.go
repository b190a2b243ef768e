package relay

import (
	"net"
	"slices"
	"sync"
	"time"

	"smtpscope/protocol/tunnel"
	"smtpscope/proxy/internal/tcpinfo"
)

const (
	// sampleEvery is the least time between two samples.
	sampleEvery = 100 * time.Millisecond
	// sampleShare bounds the samples of a long tunnel: between two of them there is at least this
	// part of its age, so that their number grows with the logarithm of it.
	sampleShare = 1000
)

// sampler reports what the system's TCP says of the connection to the target, whenever that has
// changed. A nil sampler reports nothing. Between samples it is a timer, no goroutine.
type sampler struct {
	read    func() (tunnel.Sample, error)
	send    func(tunnel.Sample)
	started time.Time

	mu    sync.Mutex
	timer *time.Timer // nil when stopped
	last  tunnel.Sample
}

func newSampler(read func() (tunnel.Sample, error), send func(tunnel.Sample)) *sampler {
	s := &sampler{read: read, send: send, started: time.Now()}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.timer = time.AfterFunc(sampleEvery, s.tick)
	s.sample()
	return s
}

// sampler begins to measure the target, if the page wants that and the system can tell.
func (l *line) sampler(target net.Conn) *sampler {
	if !slices.Contains(l.open.Wants, tunnel.WantTCPInfo) {
		return nil
	}
	read := func() (tunnel.Sample, error) { return tcpinfo.Read(target) }
	if _, err := read(); err != nil {
		l.log.Debug("nothing to measure", "error", err)
		return nil
	}
	return newSampler(read, func(s tunnel.Sample) { l.status(tunnel.Status{Stage: tunnel.StageSample, Sample: &s}) })
}

func (s *sampler) tick() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.timer == nil {
		return
	}
	s.sample()
	s.timer.Reset(max(sampleEvery, time.Since(s.started)/sampleShare))
}

// sample is to be called with mu held.
func (s *sampler) sample() {
	now, err := s.read()
	if err != nil || now == s.last {
		return
	}
	s.last = now
	s.send(now)
}

// stop ends the reports, with a last one if somebody is there to get it.
func (s *sampler) stop(last bool) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.timer == nil {
		return
	}
	s.timer.Stop()
	s.timer = nil
	if last {
		s.sample()
	}
}
