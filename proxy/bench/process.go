//go:build linux

package main

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// process is a relay that runs, with those that it has started.
type process struct {
	cmd    *exec.Cmd
	ended  chan struct{}
	listen string
	said   bytes.Buffer // the end of it helps when the relay does not start
}

// start runs a relay and waits until it accepts connections.
func start(r *contender, targetAddress string) (*process, error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	listen := l.Addr().String()
	_ = l.Close()
	p := &process{ended: make(chan struct{}), listen: listen}
	p.cmd = r.command(listen, targetAddress)
	p.cmd.Stdout, p.cmd.Stderr = nil, &tail{b: &p.said}
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = p.cmd.Wait()
		close(p.ended)
	}()
	for give := time.Now().Add(15 * time.Second); time.Now().Before(give); {
		if conn, err := net.Dial("tcp4", listen); err == nil {
			_ = conn.Close()
			return p, nil
		}
		select {
		case <-p.ended:
			return nil, fmt.Errorf("%s ended at once: %s", r.name, lastLine(p.said.String()))
		case <-time.After(20 * time.Millisecond):
		}
	}
	p.stop()
	return nil, fmt.Errorf("%s does not accept connections on %s: %s", r.name, listen, lastLine(p.said.String()))
}

// stop ends the relay with all that it has started.
func (p *process) stop() {
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	<-p.ended
}

func (p *process) alive() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// members are the process ids of the relay's process group.
func (p *process) members() (pids []string) {
	group := strconv.Itoa(p.cmd.Process.Pid)
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, name := range stats {
		if f := statFields(name); len(f) > 2 && f[2] == group {
			pids = append(pids, filepath.Base(filepath.Dir(name)))
		}
	}
	return pids
}

// statFields are the fields of a stat file from the state on; the process may have ended meanwhile.
func statFields(name string) []string {
	b, err := os.ReadFile(name)
	if err != nil {
		return nil
	}
	return strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
}

// memory is what the group occupies, pages that it shares among itself counted once. Pages of files, such as the
// program's own code, are not counted: the system can drop them.
func (p *process) memory() (bytes int64) {
	for _, pid := range p.members() {
		b, err := os.ReadFile("/proc/" + pid + "/smaps_rollup")
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(b)) {
			if rest, ok := strings.CutPrefix(line, "Pss_Anon:"); ok {
				kb, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
				bytes += kb << 10
			}
		}
	}
	return bytes
}

// cpu is the processor time that the group has used, those of it included that have ended.
func (p *process) cpu() (used time.Duration) {
	const tick = 10 * time.Millisecond // USER_HZ is 100 on every Linux that Go runs on
	for _, pid := range p.members() {
		if f := statFields("/proc/" + pid + "/stat"); len(f) > 14 {
			for _, ticks := range f[11:15] { // in user and system mode, then the same of children
				n, _ := strconv.Atoi(ticks)
				used += time.Duration(n) * tick
			}
		}
	}
	return used
}

// settled waits until memory has stopped changing.
func (p *process) settled() int64 {
	last, same := p.memory(), 0
	for range 40 {
		time.Sleep(250 * time.Millisecond)
		now := p.memory()
		if d := now - last; d < 0 {
			same, last = 0, now
		} else if d > now/100 {
			same, last = 0, now
		} else if same++; same == 4 {
			return now
		}
	}
	return last
}

// tail keeps the last of what is written.
type tail struct{ b *bytes.Buffer }

func (t *tail) Write(p []byte) (int, error) {
	if t.b.Len() > 64<<10 {
		t.b.Reset()
	}
	return t.b.Write(p)
}

func lastLine(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return lines[len(lines)-1]
}

// load is the machine's average over the last minute.
func load() string {
	b, _ := os.ReadFile("/proc/loadavg")
	return strings.Fields(string(b) + " unknown")[0]
}

// machine is the shape of what was measured on.
func machine() string {
	model, kernel, memory := "processor unknown", "", ""
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(b)) {
			if k, v, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(k) == "model name" {
				model = strings.TrimSpace(v)
				break
			}
		}
	}
	if b, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		kernel = strings.TrimSpace(string(b))
	}
	var info syscall.Sysinfo_t
	if syscall.Sysinfo(&info) == nil {
		memory = fmt.Sprintf("%d GB", (uint64(info.Totalram)*uint64(info.Unit))>>30)
	}
	return fmt.Sprintf("%d processors (%s), %s, Linux %s, %s", runtime.NumCPU(), model, memory, kernel, runtime.Version())
}
