//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// bench measures all relays, one row after the other, and keeps what it found.
type bench struct {
	effort
	target *target
	relays []*contender
	files  int    // that may be open
	before string // the machine's load at the start
	lines  []line
}

// line is one line of the report: what each relay got, by its name. A relay without an entry was not measured.
type line struct {
	what  string
	cells map[string]string
}

func (b *bench) add(what string, cells map[string]string) {
	b.lines = append(b.lines, line{what, cells})
}

// present are the relays that can be run.
func (b *bench) present() []*contender {
	return slices.DeleteFunc(slices.Clone(b.relays), func(r *contender) bool { return r.missing != "" })
}

// running starts a relay for one measurement; direct has no process.
func (b *bench) running(r *contender) (*process, string, error) {
	if r.command == nil {
		return nil, "", nil
	}
	p, err := start(r, b.target.address())
	if err != nil {
		return nil, "", err
	}
	return p, p.listen, nil
}

func (b *bench) complain(r *contender, what string, err error) {
	fmt.Fprintf(os.Stderr, "%s, %s: %v\n", r.name, what, err)
}

// interleave starts all relays once and lets them take turns, round after round.
func (b *bench) interleave(ctx context.Context, what string, turn func(r *contender, p *process, listen string) error) {
	type player struct {
		r      *contender
		p      *process
		listen string
	}
	var all []player
	for _, r := range b.present() {
		p, listen, err := b.running(r)
		if err != nil {
			b.complain(r, what, err)
			continue
		}
		if p != nil {
			defer p.stop()
		}
		all = append(all, player{r, p, listen})
	}
	failed := make(map[*contender]bool)
	for range b.rounds {
		for _, c := range all {
			if ctx.Err() != nil || failed[c.r] {
				continue
			}
			if err := turn(c.r, c.p, c.listen); err != nil {
				b.complain(c.r, what, err)
				failed[c.r] = true
			}
		}
	}
}

// spent is the processor time that a relay used for something; 0 without a process.
func spent(p *process, f func() error) (time.Duration, error) {
	if p == nil {
		return 0, f()
	}
	before := p.cpu()
	err := f()
	return p.cpu() - before, err
}

// roundTrips sends 100 bytes and waits for them to come back.
func (b *bench) roundTrips(ctx context.Context) {
	times := make(map[string][]time.Duration)
	used, medians := make(map[string]time.Duration), make(map[string][]time.Duration)
	b.interleave(ctx, "round trips", func(r *contender, p *process, listen string) error {
		l, err := dial(r, listen, b.target.address(), 4<<10, 1<<30, true)
		if err != nil {
			return err
		}
		defer l.Close()
		if err := l.ask("echo"); err != nil {
			return err
		}
		message, answer := bytes.Repeat([]byte{'x'}, 100), make([]byte, 100)
		var round []time.Duration
		d, err := spent(p, func() error {
			for begin := time.Now(); time.Since(begin) < b.trips; {
				sent := time.Now()
				if _, err := l.Write(message); err != nil {
					return err
				}
				if _, err := io.ReadFull(l, answer); err != nil {
					return err
				}
				round = append(round, time.Since(sent))
			}
			return nil
		})
		if err != nil {
			return err
		}
		used[r.name] += d
		times[r.name] = append(times[r.name], round...)
		medians[r.name] = append(medians[r.name], quantile(round, 0.5))
		return nil
	})
	p50, p99, cpu := make(map[string]string), make(map[string]string), make(map[string]string)
	for name, all := range times {
		if name == "direct" {
			p50[name], p99[name] = us(quantile(medians[name], 0.5))+" in all", us(quantile(all, 0.99))+" in all"
			continue
		}
		cpu[name] = us(used[name] / time.Duration(len(all)))
		if len(times["direct"]) > 0 {
			p50[name] = us(quantile(medians[name], 0.5) - quantile(medians["direct"], 0.5))
			p99[name] = us(quantile(all, 0.99) - quantile(times["direct"], 0.99))
		}
	}
	b.add("added round-trip time, 100 bytes, p50, us", p50)
	b.add("the same, p99, us", p99)
	b.add("processor time of the relay per round trip, us", cpu)
}

// chunk is what a page sends at once in bulk.
const chunk = 64 << 10

// bulk moves bytes one way, then the other.
func (b *bench) bulkTransfers(ctx context.Context) {
	for _, way := range []string{"down", "up"} {
		rates, used := make(map[string][]float64), make(map[string][]time.Duration)
		b.interleave(ctx, way, func(r *contender, p *process, listen string) error {
			l, err := dial(r, listen, b.target.address(), 512<<10, 4<<20, true)
			if err != nil {
				return err
			}
			defer l.Close()
			_ = l.conn.SetDeadline(time.Now().Add(10 * patience))
			if err := l.ask("%s %d", way, b.effort.bulk); err != nil {
				return err
			}
			begin := time.Now()
			d, err := spent(p, func() error {
				if way == "down" {
					return drain(l, b.effort.bulk)
				}
				buf := make([]byte, chunk)
				for left := b.effort.bulk; left > 0; left -= chunk {
					if _, err := l.Write(buf); err != nil {
						return err
					}
				}
				return drain(l, int64(len("done\n")))
			})
			if err != nil {
				return err
			}
			rates[r.name] = append(rates[r.name], float64(b.effort.bulk)/1e6/time.Since(begin).Seconds())
			used[r.name] = append(used[r.name], d)
			return nil
		})
		rate, cpu := make(map[string]string), make(map[string]string)
		for name, all := range rates {
			rate[name] = fmt.Sprintf("%.0f", quantile(all, 0.5))
			if name != "direct" {
				cpu[name] = fmt.Sprintf("%.0f", quantile(used[name], 0.5).Seconds()*1000*float64(1<<30)/float64(b.effort.bulk))
			}
		}
		b.add(way+", MB/s", rate)
		b.add("processor time of the relay per GiB "+way+", ms", cpu)
	}
}

// drain reads n bytes.
func drain(l *link, n int64) error {
	buf := make([]byte, 256<<10)
	for n > 0 {
		k, err := l.Read(buf[:min(n, int64(len(buf)))])
		if n -= int64(k); n > 0 && err != nil {
			return err
		}
	}
	return nil
}

// churn opens links, has each answered once, and closes them, several at a time.
func (b *bench) churnLinks(ctx context.Context) {
	rates := make(map[string][]float64)
	b.interleave(ctx, "connections", func(r *contender, p *process, listen string) error {
		var all sync.WaitGroup
		var count atomic.Int64
		failures := make(chan error, 8)
		begin := time.Now()
		for range cap(failures) {
			all.Go(func() {
				for time.Since(begin) < b.effort.churn {
					l, err := dial(r, listen, b.target.address(), 4<<10, 1000, false)
					if err == nil {
						err = l.ask("echo")
						_ = l.Close()
					}
					if err != nil {
						failures <- err
						return
					}
					count.Add(1)
				}
			})
		}
		all.Wait()
		select {
		case err := <-failures:
			return err
		default:
		}
		rates[r.name] = append(rates[r.name], float64(count.Load())/time.Since(begin).Seconds())
		return nil
	})
	cells := make(map[string]string)
	for name, all := range rates {
		cells[name] = fmt.Sprintf("%.0f", quantile(all, 0.5))
	}
	b.add("connections per second", cells)
}

// idleTunnels holds links open after one round trip each.
func (b *bench) idleTunnels(ctx context.Context) {
	lines := make(map[int]map[string]string)
	for _, n := range b.effort.idle {
		lines[n] = make(map[string]string)
	}
	for _, r := range b.present() {
		if r.command == nil || ctx.Err() != nil {
			continue
		}
		p, listen, err := b.running(r)
		if err != nil {
			b.complain(r, "idle", err)
			continue
		}
		b.idleOn(ctx, r, p, listen, lines)
		p.stop()
	}
	for _, n := range b.effort.idle {
		b.add(fmt.Sprintf("memory per idle tunnel at %d, kB", n), lines[n])
	}
}

func (b *bench) idleOn(ctx context.Context, r *contender, p *process, listen string, lines map[int]map[string]string) {
	var links []*link
	defer func() {
		for _, l := range links {
			_ = l.Close()
		}
	}()
	warm, err := dial(r, listen, b.target.address(), 512, 1<<20, false) // what a relay sets up once is no tunnel's cost
	if err == nil {
		links = append(links, warm)
		err = warm.ask("echo")
	}
	if err != nil {
		b.complain(r, "the first idle tunnel", err)
		return
	}
	before := p.settled()
	for _, n := range b.effort.idle {
		if 2*n+100 > b.files {
			lines[n][r.name] = fmt.Sprintf("not measured: %d open files are allowed", b.files)
			continue
		}
		for len(links) < n && ctx.Err() == nil {
			l, err := dial(r, listen, b.target.address(), 512, 1<<20, false)
			if err == nil {
				links = append(links, l)
				err = l.ask("echo")
			}
			if err != nil {
				b.complain(r, fmt.Sprintf("idle tunnel %d", len(links)), err)
				lines[n][r.name] = fmt.Sprintf("fails at %d", len(links))
				return
			}
		}
		lines[n][r.name] = fmt.Sprintf("%.1f", float64(p.settled()-before)/1024/float64(n-1))
	}
}

// stalledTunnels offers much to a side that takes nothing, and sees how the relay grows.
func (b *bench) stalledTunnels(ctx context.Context) {
	for _, side := range []string{"page", "target"} {
		cells := make(map[string]string)
		for _, r := range b.present() {
			if r.command == nil || ctx.Err() != nil {
				continue
			}
			growth, err := b.stall(r, side)
			if err != nil {
				b.complain(r, "stalled "+side, err)
				continue
			}
			cells[r.name] = fmt.Sprintf("%.1f", float64(growth)/1e6)
		}
		b.add(fmt.Sprintf("growth when the %s takes nothing of %d MB, MB", side, b.offered/1e6), cells)
	}
}

func (b *bench) stall(r *contender, side string) (growth int64, err error) {
	p, listen, err := b.running(r)
	if err != nil {
		return 0, err
	}
	defer p.stop()
	warm, err := dial(r, listen, b.target.address(), 4<<10, 1<<20, false)
	if err != nil {
		return 0, err
	}
	defer warm.Close()
	if err := warm.ask("echo"); err != nil {
		return 0, err
	}
	before := p.settled()
	l, err := dial(r, listen, b.target.address(), 4<<10, 1<<31, false)
	if err != nil {
		return 0, err
	}
	defer l.Close()
	_ = l.conn.SetDeadline(time.Now().Add(10 * patience))
	progress := &b.target.progress
	if side == "page" {
		err = l.ask("down %d", b.offered)
	} else {
		err = l.ask("deaf")
		progress = new(atomic.Int64)
		var sending sync.WaitGroup
		defer sending.Wait()
		defer l.Close()
		sending.Go(func() {
			buf := make([]byte, chunk)
			for progress.Load() < b.offered {
				if _, err := l.Write(buf); err != nil {
					return
				}
				progress.Add(chunk)
			}
		})
	}
	if err != nil {
		return 0, err
	}
	most, last, same := int64(0), int64(-1), 0
	for same < 10 { // a second without progress: the sender has to wait, or is done
		time.Sleep(100 * time.Millisecond)
		most = max(most, p.memory())
		if now := progress.Load(); now != last {
			last, same = now, 0
		} else {
			same++
		}
	}
	if !p.alive() {
		return 0, errors.New("it died")
	}
	return most - before, nil
}

// ends looks at what a page learns of how a connection ends.
func (b *bench) endings(ctx context.Context) {
	refused, unknown, words, pageFirst, targetFirst := make(map[string]string), make(map[string]string), make(map[string]string), make(map[string]string), make(map[string]string)
	for _, r := range b.present() {
		if r.command == nil || ctx.Err() != nil {
			continue
		}
		refused[r.name] = b.failure(r, closedPort())
		unknown[r.name] = b.failure(r, "no-such-host.example.net:25")
		p, listen, err := b.running(r)
		if err != nil {
			b.complain(r, "endings", err)
			continue
		}
		n := 0
		for range b.words {
			if b.hears(r, listen) {
				n++
			}
		}
		words[r.name] = fmt.Sprintf("%d of %d", n, b.words)
		pageFirst[r.name] = yes(b.pageEndsFirst(r, listen))
		targetFirst[r.name] = yes(b.targetEndsFirst(r, listen))
		p.stop()
	}
	b.add("what the page gets when the target refuses", refused)
	b.add("when its name is unknown", unknown)
	b.add("last words before the target closes", words)
	b.add("half-close by the page, answer still comes", pageFirst)
	b.add("half-close by the target, page's bytes still arrive", targetFirst)
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// failure is what the page gets instead of a connection to target.
func (b *bench) failure(r *contender, target string) string {
	other := *r
	if len(r.path) > 1 && r.framing == plain {
		other.path = "/" + target
	}
	p, err := start(&other, target)
	if err != nil {
		return "does not start"
	}
	defer p.stop()
	l, err := dial(&other, p.listen, target, 4<<10, 1<<20, false)
	if err == nil {
		_ = l.conn.SetDeadline(time.Now().Add(patience))
		_, err = l.Read(make([]byte, 1))
		_ = l.Close()
	}
	var how *ending
	switch {
	case errors.As(err, &how):
		return how.how
	case errors.Is(err, os.ErrDeadlineExceeded):
		return "nothing"
	case err == nil:
		return "bytes"
	}
	return "cut off"
}

// hears tells whether the last words arrive in full.
func (b *bench) hears(r *contender, listen string) bool {
	l, err := dial(r, listen, b.target.address(), 4<<10, 1<<20, false)
	if err != nil {
		return false
	}
	defer l.Close()
	if l.ask("words") != nil {
		return false
	}
	if _, err := io.WriteString(l, "NOOP\r\n"); err != nil {
		return false
	}
	got := make([]byte, len(lastWords))
	n, _ := io.ReadFull(l, got)
	return string(got[:n]) == lastWords
}

// pageEndsFirst tells whether a page can say that it has sent all and still be answered.
func (b *bench) pageEndsFirst(r *contender, listen string) bool {
	l, err := dial(r, listen, b.target.address(), 4<<10, 1<<20, false)
	if err != nil {
		return false
	}
	defer l.Close()
	if l.ask("count") != nil || l.CloseWrite() != nil {
		return false
	}
	got, err := io.ReadAll(l)
	return err == nil && string(got) == "0 bytes\n"
}

// targetEndsFirst tells whether the page can go on after the target has sent all.
func (b *bench) targetEndsFirst(r *contender, listen string) bool {
	l, err := dial(r, listen, b.target.address(), 4<<10, 1<<20, false)
	if err != nil {
		return false
	}
	defer l.Close()
	if l.ask("after") != nil {
		return false
	}
	_ = l.conn.SetReadDeadline(time.Now().Add(300 * time.Millisecond)) // time for the end to pass through
	_, _ = l.Read(make([]byte, 1))
	_ = l.conn.SetReadDeadline(time.Now().Add(patience))
	before := b.target.progress.Load()
	if _, err := io.WriteString(l, "more"); err != nil {
		return false
	}
	for give := time.Now().Add(2 * time.Second); time.Now().Before(give); time.Sleep(20 * time.Millisecond) {
		if b.target.progress.Load() == before+4 {
			return true
		}
	}
	return false
}

// quantile of an unsorted sample, which it sorts.
func quantile[T int64 | float64 | time.Duration](all []T, q float64) T {
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return all[min(int(q*float64(len(all))), len(all)-1)]
}

func us(d time.Duration) string { return fmt.Sprintf("%.1f", float64(d)/1e3) }
