//go:build linux

package main

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
)

// names of all that is measured, in the order of the table.
var names = []string{"direct", "websockify", "wisp-js", "wsproxy", "node-websockify", "smtpscope"}

// contender is a relay from WebSocket to TCP that is measured, or direct, which is none.
type contender struct {
	name    string
	framing framing
	path    string // of the WebSocket, where the page names its target there
	files   []string
	command func(listen, target string) *exec.Cmd // nil: no relay at all
	missing string                                // why it cannot be measured
}

// lacks names what keeps the relay from being run.
func (r *contender) lacks() string {
	for _, name := range r.files {
		if _, err := os.Stat(name); err != nil {
			return err.Error() + "; run proxy/bench/setup"
		}
	}
	if r.command != nil {
		if c := r.command("127.0.0.1:0", "127.0.0.1:0"); c.Err != nil {
			return c.Err.Error()
		}
	}
	return ""
}

func port(address string) string {
	_, port, _ := net.SplitHostPort(address)
	return port
}

// contenders says how each is run; all of them with their own defaults, but without logs where
// these can be switched off, and on loopback only.
func contenders(program, fetched, target string) []*contender {
	modules := filepath.Join(fetched, "node_modules")
	debian, _ := filepath.Abs(filepath.Join(fetched, "debian"))
	loopback, _ := filepath.Abs("proxy/bench/loopback.cjs")
	node := func(script string, args ...string) *exec.Cmd {
		c := exec.Command("node", append([]string{filepath.Join(modules, script)}, args...)...)
		c.Env = append(os.Environ(), "NODE_OPTIONS=--require="+loopback)
		return c
	}
	return []*contender{
		{name: "direct"},
		{name: "websockify", framing: plain, files: []string{filepath.Join(debian, ".unpacked")},
			command: func(listen, target string) *exec.Cmd {
				c := exec.Command("/usr/bin/python3", "-m", "websockify", listen, target)
				lib := debian + "/usr/lib/x86_64-linux-gnu"
				c.Env = append(os.Environ(), "PYTHONPATH="+debian+"/usr/lib/python3/dist-packages", "LD_LIBRARY_PATH="+lib+":"+lib+"/blas:"+lib+"/lapack")
				return c
			}},
		{name: "wisp-js", framing: wisp, path: "/", files: []string{filepath.Join(modules, ".fetched")},
			command: func(listen, _ string) *exec.Cmd {
				return node("@mercuryworkshop/wisp-js/src/bin/server_cli.mjs", "--host", "127.0.0.1", "--port", port(listen), "--logging", "NONE", "--options", `{"allow_loopback_ips":true,"allow_private_ips":true}`)
			}},
		{name: "wsproxy", framing: plain, path: "/" + target, files: []string{filepath.Join(modules, ".fetched")},
			command: func(listen, _ string) *exec.Cmd {
				return node("wsproxy/index.js", "--port", port(listen))
			}},
		{name: "node-websockify", framing: plain, files: []string{filepath.Join(modules, ".fetched")},
			command: func(listen, target string) *exec.Cmd {
				script, _ := filepath.Abs(filepath.Join(modules, "@maximegris/node-websockify/websockify.js"))
				c := exec.Command("node", "-e", "require(process.argv[1])({source: process.argv[2], target: process.argv[3]})", script, listen, target)
				c.Env = append(os.Environ(), "NODE_OPTIONS=--require="+loopback)
				return c
			}},
		smtpscopeOf("smtpscope", program),
	}
}

// smtpscopeOf is a build of smtpscope.
func smtpscopeOf(name, program string) *contender {
	return &contender{name: name, framing: smtpscope, path: "/tunnel", files: []string{program},
		command: func(listen, target string) *exec.Cmd {
			return exec.Command(program, "--listen", listen, "--allow", target, "--max-tunnels", "20000", "--practice=false")
		}}
}
