package relay

import (
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"smtpscope/protocol/tunnel"
)

// measured runs a sampler over a connection whose round-trip time the test sets, and keeps when what was reported.
type measured struct {
	step time.Duration // by which it grows whenever it is read

	mu   sync.Mutex
	rtt  time.Duration
	err  error
	sent []time.Duration // since the start
	rtts []time.Duration
}

func (m *measured) start() *sampler {
	began := time.Now()
	return newSampler(
		func() (tunnel.Sample, error) {
			m.mu.Lock()
			defer m.mu.Unlock()
			m.rtt += m.step
			return tunnel.Sample{State: "ESTABLISHED", RTT: m.rtt}, m.err
		},
		func(s tunnel.Sample) {
			m.mu.Lock()
			defer m.mu.Unlock()
			m.sent, m.rtts = append(m.sent, time.Since(began)), append(m.rtts, s.RTT)
		})
}

func (m *measured) set(rtt time.Duration, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.rtt, m.err = rtt, err
}

func TestSamplerReportsChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &measured{rtt: 1}
		s := m.start()
		after := func(d time.Duration) {
			time.Sleep(d)
			synctest.Wait()
		}
		after(time.Second) // nothing changes
		m.set(2, nil)
		after(10 * time.Millisecond)
		m.set(3, nil) // before anybody looked
		after(290 * time.Millisecond)
		m.set(4, errors.New("no answer"))
		after(time.Second)
		m.set(4, nil)
		after(time.Second)
		m.set(5, nil)
		s.stop(true)
		s.stop(true)
		m.set(6, nil)
		after(time.Second)
		assert.Equal(t, []time.Duration{1, 3, 4, 5}, m.rtts)
		assert.Equal(t, []time.Duration{0, 1100 * time.Millisecond, 2400 * time.Millisecond, 3300 * time.Millisecond}, m.sent)
	})
}

// What changes all the time is reported ten times a second, and more and more rarely as the tunnel ages.
func TestSamplerIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &measured{step: 1}
		s := m.start()
		time.Sleep(DefaultTotal)
		synctest.Wait()
		s.stop(true)
		for i := 1; i < len(m.sent)-1; i++ {
			require.GreaterOrEqual(t, m.sent[i]-m.sent[i-1], sampleEvery)
		}
		assert.Equal(t, 10*time.Second, m.sent[100])
		assert.InDelta(t, 1000+1000*4.28, len(m.sent), 50, "1,000 in the first 100 s, then 1,000 ln(7200/100)")
	})
}

func TestSamplerIsToldThatNobodyListens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &measured{rtt: 1}
		s := m.start()
		m.set(2, nil)
		s.stop(false)
		time.Sleep(time.Second)
		synctest.Wait()
		assert.Equal(t, []time.Duration{1}, m.rtts)
		(*sampler)(nil).stop(true) // what a page has that wants none
	})
}
