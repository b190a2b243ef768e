package web

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"smtpscope/proxy/internal/policy"
	"smtpscope/proxy/internal/practice"
)

func built() fstest.MapFS {
	files := fstest.MapFS{".gitkeep": {}, "favicon.svg": {Data: []byte("<svg/>")}}
	for name, text := range map[string]string{
		"index.html": "<!doctype html>", "assets/page-AB12.js": "page()", "assets/page-AB12.css": "p{}", "assets/live-CD34.wasm": "\x00asm",
	} {
		files[name] = &fstest.MapFile{Data: []byte(text)}
		files[name+".br"] = &fstest.MapFile{Data: []byte("br:" + text)}
		files[name+".gz"] = &fstest.MapFile{Data: []byte("gz:" + text)}
	}
	return files
}

const goodID = "abcdefghijklmnopqrstuvwxyz"

func testConfig(origins ...string) Config {
	var list []Origin
	for _, text := range origins {
		o, err := ParseOrigin(text)
		if err != nil {
			panic(err)
		}
		list = append(list, o)
	}
	return Config{
		Site:   built(),
		Guard:  NewGuard("127.0.0.1:8025", list),
		Tunnel: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusTeapot) }),
		Offer: Offer{
			Version:    "0.1.0",
			Practice:   &practice.Info{Host: "mail.practice.test", Ports: practice.Ports{SMTP: 25, Submission: 587, Submissions: 465, LMTP: 24}, Username: "ada", Password: "engine", CA: "PEM", Tricks: []practice.Trick{{To: "reject@example.net", Reply: "550 5.1.1 No"}}},
			Live:       policy.Live{Allow: []string{"mx.example.net:25"}},
			Instrument: Instrument{TCPInfo: true, WhyNoPackets: "not asked for"},
		},
		Message: func(id string) ([]byte, error) {
			switch id {
			case goodID:
				return []byte("Return-Path: <>\r\n\r\n<script>alert(1)</script>\xff"), nil
			case "broken":
				return nil, errors.New("secret path is not readable")
			}
			return nil, fs.ErrNotExist
		},
	}
}

func get(t *testing.T, cfg Config, target string, change ...func(*http.Request)) *http.Response {
	t.Helper()
	s, err := New(cfg)
	require.NoError(t, err)
	return ask(s, target, change...)
}

func ask(h http.Handler, target string, change ...func(*http.Request)) *http.Response {
	r := httptest.NewRequest(http.MethodGet, target, nil)
	r.Host = "127.0.0.1:8025"
	for _, c := range change {
		c(r)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func body(t *testing.T, res *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return string(b)
}

func header(name, value string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set(name, value) }
}

func host(name string) func(*http.Request) { return func(r *http.Request) { r.Host = name } }

func method(name string) func(*http.Request) { return func(r *http.Request) { r.Method = name } }

func TestFiles(t *testing.T) {
	const hashed = "public, max-age=31536000, immutable"
	tests := []struct{ path, accept, text, contentType, coding, cache string }{
		{"/", "", "<!doctype html>", "text/html; charset=utf-8", "", "no-cache"},
		{"/", "gzip, deflate, br, zstd", "br:<!doctype html>", "text/html; charset=utf-8", "br", "no-cache"},
		{"/index.html", "gzip", "gz:<!doctype html>", "text/html; charset=utf-8", "gzip", "no-cache"},
		{"/assets/page-AB12.js", "br", "br:page()", "text/javascript; charset=utf-8", "br", hashed},
		{"/assets/page-AB12.css", "br;q=0.1, gzip;q=0.2", "gz:p{}", "text/css; charset=utf-8", "gzip", hashed},
		{"/assets/live-CD34.wasm", "br", "br:\x00asm", "application/wasm", "br", hashed},
		{"/assets/live-CD34.wasm", "identity", "\x00asm", "application/wasm", "", hashed},
		{"/favicon.svg", "br", "<svg/>", "image/svg+xml", "", "no-cache"},
	}
	for _, tt := range tests {
		t.Run(tt.path+" "+tt.accept, func(t *testing.T) {
			res := get(t, testConfig(), tt.path, header("Accept-Encoding", tt.accept))
			assert.Equal(t, http.StatusOK, res.StatusCode)
			assert.Equal(t, tt.text, body(t, res))
			assert.Equal(t, tt.contentType, res.Header.Get("Content-Type"))
			assert.Equal(t, tt.coding, res.Header.Get("Content-Encoding"))
			assert.Equal(t, tt.cache, res.Header.Get("Cache-Control"))
			assert.EqualValues(t, len(tt.text), res.ContentLength)
			if tt.path == "/favicon.svg" {
				assert.Empty(t, res.Header.Get("Vary"), "there is one form only")
			} else {
				assert.Equal(t, "Accept-Encoding", res.Header.Get("Vary"))
			}
		})
	}
}

func TestValidators(t *testing.T) {
	s, err := New(testConfig())
	require.NoError(t, err)
	tags := map[string]bool{}
	for _, accept := range []string{"identity", "br", "gzip"} {
		res := ask(s, "/", header("Accept-Encoding", accept))
		tag := res.Header.Get("ETag")
		require.Regexp(t, `^"[A-Za-z0-9_-]{22}(-br|-gzip)?"$`, tag)
		assert.False(t, tags[tag], "forms must not share a tag")
		tags[tag] = true

		res = ask(s, "/", header("Accept-Encoding", accept), header("If-None-Match", tag))
		assert.Equal(t, http.StatusNotModified, res.StatusCode)
		assert.Empty(t, body(t, res))
		assert.Equal(t, "no-cache", res.Header.Get("Cache-Control"))
		res = ask(s, "/", header("Accept-Encoding", accept), header("If-None-Match", `"other"`))
		assert.Equal(t, http.StatusOK, res.StatusCode)
	}
	changed := testConfig()
	changed.Site.(fstest.MapFS)["index.html"] = &fstest.MapFile{Data: []byte("<!doctype html>new")}
	res := get(t, changed, "/", header("Accept-Encoding", "identity"))
	assert.False(t, tags[res.Header.Get("ETag")])
}

func TestHead(t *testing.T) {
	res := get(t, testConfig(), "/assets/live-CD34.wasm", method(http.MethodHead), header("Accept-Encoding", "br"))
	assert.Equal(t, http.StatusOK, res.StatusCode)
	assert.EqualValues(t, len("br:\x00asm"), res.ContentLength)
	assert.Empty(t, body(t, res))
}

func TestNegotiate(t *testing.T) {
	both := []string{"br", "gzip"}
	tests := []struct {
		header string
		have   []string
		want   string
	}{
		{"", both, ""},
		{"br", both, "br"},
		{"BR", both, "br"},
		{"gzip, br", both, "br"},
		{"gzip;q=1.0, br;q=0.5", both, "gzip"},
		{"br;q=0, gzip", both, "gzip"},
		{"br ; q=0.8 , gzip ; Q=0.9", both, "gzip"},
		{"*", both, "br"},
		{"*;q=0", both, ""},
		{"gzip;q=0, *", both, "br"},
		{"identity, br;q=0.5", both, ""},
		{"identity;q=0, gzip;q=0.1", both, "gzip"},
		{"identity;q=0", both, ""},
		{"br", []string{"gzip"}, ""},
		{"br;q=2, gzip", both, "gzip"},
		{"br;q=NaN, gzip", both, "gzip"},
		{"br;q=-1", both, ""},
		{"br;q=, gzip;level=9", both, ""},
		{",,br,,", both, "br"},
		{"deflate, zstd", both, ""},
	}
	for _, tt := range tests {
		assert.Equal(t, tt.want, negotiate([]string{tt.header}, tt.have), "Accept-Encoding: %s", tt.header)
	}
	assert.Equal(t, "br", negotiate([]string{"gzip", "br"}, both), "two header lines are one list")
}

func FuzzNegotiate(f *testing.F) {
	f.Add("gzip;q=1.0, br;q=0.5, *;q=0")
	f.Fuzz(func(t *testing.T, text string) {
		assert.Contains(t, []string{"", "br", "gzip"}, negotiate([]string{text}, []string{"br", "gzip"}))
	})
}

func TestNothingElse(t *testing.T) {
	for _, path := range []string{
		"/nothing", "/assets", "/assets/", "/assets/page-AB12.js.br", "/index.html.gz", "/.gitkeep", "/../web.go", "/assets/../index.html", "//", "/%2e%2e/x",
		"/api", "/api/v1", "/api/v1/config/", "/api/v1/practice/messages", "/tunnel/", "/healthz/x", "/metrics", "/favicon.ico",
	} {
		res := get(t, testConfig(), path)
		assert.Equal(t, http.StatusNotFound, res.StatusCode, path)
		assert.Equal(t, "text/plain; charset=utf-8", res.Header.Get("Content-Type"), path)
		assert.NotEmpty(t, body(t, res))
	}
}

func TestPageNotBuilt(t *testing.T) {
	cfg := testConfig()
	cfg.Site = fstest.MapFS{".gitkeep": {}}
	for _, path := range []string{"/", "/index.html"} {
		res := get(t, cfg, path)
		assert.Equal(t, http.StatusServiceUnavailable, res.StatusCode)
		assert.Equal(t, "text/plain; charset=utf-8", res.Header.Get("Content-Type"))
		assert.Equal(t, "The page is not built. Run `make build`.\n", body(t, res))
	}
	assert.Equal(t, http.StatusNotFound, get(t, cfg, "/x").StatusCode)
	assert.Equal(t, http.StatusOK, get(t, cfg, "/api/v1/config").StatusCode)
}

func TestMethods(t *testing.T) {
	for _, path := range []string{"/", "/api/v1/config", "/api/v1/practice/messages/" + goodID, "/healthz", "/readyz", "/nothing"} {
		for _, m := range []string{http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodOptions, "BREW"} {
			res := get(t, testConfig(), path, method(m))
			assert.Equal(t, http.StatusMethodNotAllowed, res.StatusCode, "%s %s", m, path)
			assert.Equal(t, "GET, HEAD", res.Header.Get("Allow"))
		}
	}
}

func TestConfigAnswer(t *testing.T) {
	res := get(t, testConfig(), "/api/v1/config")
	assert.Equal(t, "application/json", res.Header.Get("Content-Type"))
	assert.Equal(t, "no-store", res.Header.Get("Cache-Control"))
	assert.JSONEq(t, `{"version":"0.1.0",
		"practice":{"host":"mail.practice.test","ports":{"smtp":25,"submission":587,"submissions":465,"lmtp":24},"username":"ada","password":"engine","ca":"PEM",
			"tricks":[{"to":"reject@example.net","reply":"550 5.1.1 No"}]},
		"live":{"public":false,"allow":["mx.example.net:25"]},"instrument":{"tcpinfo":true,"packets":false,"whyNoPackets":"not asked for"},"lookup":false}`, body(t, res))

	cfg := testConfig()
	cfg.Offer = Offer{Version: "0.1.0", Live: policy.New(policy.Config{}).Live(), Instrument: Instrument{Why: "not here", Packets: true}}
	assert.JSONEq(t, `{"version":"0.1.0","practice":null,"live":{"public":false,"allow":[]},"instrument":{"tcpinfo":false,"why":"not here","packets":true},"lookup":false}`, body(t, get(t, cfg, "/api/v1/config")))
}

func TestMessage(t *testing.T) {
	res := get(t, testConfig(), "/api/v1/practice/messages/"+goodID)
	assert.Equal(t, http.StatusOK, res.StatusCode)
	assert.Equal(t, "Return-Path: <>\r\n\r\n<script>alert(1)</script>\xff", body(t, res))
	assert.Equal(t, "text/plain; charset=utf-8", res.Header.Get("Content-Type"))
	assert.Equal(t, "nosniff", res.Header.Get("X-Content-Type-Options"))
	assert.Equal(t, "no-store", res.Header.Get("Cache-Control"))
	assert.Equal(t, `attachment; filename="message.eml"`, res.Header.Get("Content-Disposition"))
	assert.Equal(t, "default-src 'none'; sandbox; frame-ancestors 'none'", res.Header.Get("Content-Security-Policy"))

	for _, id := range []string{"", "x", goodID + "/..", goodID + "x"} {
		res = get(t, testConfig(), "/api/v1/practice/messages/"+id)
		assert.Equal(t, http.StatusNotFound, res.StatusCode, id)
	}
	res = get(t, testConfig(), "/api/v1/practice/messages/broken")
	assert.Equal(t, http.StatusInternalServerError, res.StatusCode)
	assert.NotContains(t, body(t, res), "secret")

	cfg := testConfig()
	cfg.Message = nil
	assert.Equal(t, http.StatusNotFound, get(t, cfg, "/api/v1/practice/messages/"+goodID).StatusCode)
}

func TestSecurityHeadersAreOnEveryAnswer(t *testing.T) {
	cfg := testConfig()
	cfg.Tunnel = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { http.Error(w, "no", http.StatusForbidden) })
	for _, path := range []string{"/", "/assets/page-AB12.js", "/api/v1/config", "/api/v1/practice/messages/" + goodID, "/api/v1/lookup?name=x", "/api/v1/mta-sts?domain=x", "/healthz", "/readyz", "/tunnel", "/nothing"} {
		for _, name := range []string{"127.0.0.1:8025", "evil.example"} {
			res := get(t, cfg, path, host(name))
			csp := res.Header.Get("Content-Security-Policy")
			assert.Contains(t, csp, "default-src 'none'", path)
			assert.Contains(t, csp, "frame-ancestors 'none'", path)
			assert.NotContains(t, csp, "unsafe-inline")
			assert.NotContains(t, csp, "evil")
			assert.Equal(t, "nosniff", res.Header.Get("X-Content-Type-Options"), path)
			assert.Equal(t, "no-referrer", res.Header.Get("Referrer-Policy"), path)
			assert.Equal(t, "same-origin", res.Header.Get("Cross-Origin-Resource-Policy"), path)
			assert.NotEmpty(t, res.Header.Get("Permissions-Policy"), path)
		}
	}
}

func TestContentSecurityPolicy(t *testing.T) {
	const rest = "; img-src 'self' data:; worker-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors "
	const start = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; connect-src 'self'"
	csp := func(cfg Config, name string) string {
		return get(t, cfg, "/", host(name)).Header.Get("Content-Security-Policy")
	}
	assert.Equal(t, start+" ws://127.0.0.1:8025 wss://127.0.0.1:8025"+rest+"'none'", csp(testConfig(), "127.0.0.1:8025"))
	assert.Equal(t, start+" ws://localhost wss://localhost"+rest+"'none'", csp(testConfig(), "localhost"))
	assert.Equal(t, start+rest+"'none'", csp(testConfig(), "[::1]:8025"))
	assert.Equal(t, start+" ws://localhost wss://localhost"+rest+"'self' https://docs.example", csp(testConfig("https://docs.example"), "localhost"))
	assert.Equal(t, start+rest+"'none'", csp(testConfig(), "localhost;script-src *"), "the Host header must not write directives")
}

func TestHost(t *testing.T) {
	tests := []struct {
		listen, origin, host string
		ok                   bool
	}{
		{"127.0.0.1:8025", "", "127.0.0.1:8025", true},
		{"127.0.0.1:8025", "", "localhost:8025", true},
		{"127.0.0.1:8025", "", "LOCALHOST.:9000", true},
		{"127.0.0.1:8025", "", "[::1]:8025", true},
		{"127.0.0.1:8025", "", "[::1]", true},
		{"127.0.0.1:8025", "", "evil.example:8025", false},
		{"127.0.0.1:8025", "", "localhost.evil.example", false},
		{"127.0.0.1:8025", "", "127.0.0.1.evil.example", false},
		{"127.0.0.1:8025", "", "192.168.1.5:8025", false},
		{"127.0.0.1:8025", "", "", false},
		{"127.0.0.1:8025", "https://scope.example", "scope.example", true},
		{"127.0.0.1:8025", "https://scope.example:444", "scope.example", true},
		{"127.0.0.1:8025", "https://scope.example", "evil.example", false},
		{"localhost:8025", "", "localhost:8025", true},
		{"localhost:8025", "", "192.168.1.5:8025", false},
		{"[::1]:8025", "", "[::1]:8025", true},
		{"[::1]:8025", "", "evil.example", false},
		{"0.0.0.0:8025", "", "192.168.1.5:8025", true},
		{"0.0.0.0:8025", "", "localhost:8025", true},
		{"0.0.0.0:8025", "", "evil.example:8025", false},
		{":8025", "", "[2001:db8::1]:8025", true},
		{":8025", "", "", false},
		{":8025", "", "evil.example", false},
		{"scope.lan:8025", "", "scope.lan:8025", true},
		{"scope.lan:8025", "", "evil.example:8025", false},
	}
	for _, tt := range tests {
		cfg := testConfig()
		if tt.origin != "" {
			cfg = testConfig(tt.origin)
		}
		cfg.Guard = NewGuard(tt.listen, cfg.Guard.origins)
		for _, path := range []string{"/", "/api/v1/config", "/tunnel"} {
			res := get(t, cfg, path, host(tt.host))
			assert.Equal(t, !tt.ok, res.StatusCode == http.StatusMisdirectedRequest, "listen %s, host %s, %s: %d", tt.listen, tt.host, path, res.StatusCode)
			if !tt.ok && tt.host != "" {
				assert.Contains(t, body(t, res), "--origin https://")
			}
		}
		for _, probe := range []string{"/healthz", "/readyz"} {
			assert.Equal(t, http.StatusOK, get(t, cfg, probe, host(tt.host)).StatusCode)
		}
	}
	res := get(t, testConfig(), "/", host("<script>"))
	assert.Equal(t, http.StatusMisdirectedRequest, res.StatusCode)
	assert.NotContains(t, body(t, res), "<script>")
}

func TestCheckOrigin(t *testing.T) {
	tests := []struct {
		name    string
		listen  string
		origins []string
		host    string
		origin  []string
		says    string // "" when the page may
	}{
		{"own page", "127.0.0.1:8025", nil, "127.0.0.1:8025", []string{"http://127.0.0.1:8025"}, ""},
		{"own page by name", "127.0.0.1:8025", nil, "localhost:8025", []string{"http://localhost:8025"}, ""},
		{"own page by IPv6", "[::1]:8025", nil, "[::1]:8025", []string{"http://[::1]:8025"}, ""},
		{"default port", "0.0.0.0:80", nil, "192.0.2.1:80", []string{"http://192.0.2.1"}, ""},
		{"behind a proxy with TLS", "127.0.0.1:8025", []string{"https://scope.example"}, "scope.example", []string{"https://scope.example"}, ""},
		{"named page", "127.0.0.1:8025", []string{"https://docs.example"}, "127.0.0.1:8025", []string{"https://docs.example"}, ""},
		{"named page, capitals", "127.0.0.1:8025", []string{"HTTPS://Docs.Example:443/"}, "127.0.0.1:8025", []string{"https://docs.example"}, ""},
		{"missing", "127.0.0.1:8025", nil, "127.0.0.1:8025", nil, "one Origin header"},
		{"two", "127.0.0.1:8025", nil, "127.0.0.1:8025", []string{"http://127.0.0.1:8025", "http://evil.example"}, "one Origin header"},
		{"null", "127.0.0.1:8025", nil, "127.0.0.1:8025", []string{"null"}, "names none"},
		{"file", "127.0.0.1:8025", nil, "127.0.0.1:8025", []string{"file://"}, "names none"},
		{"empty", "127.0.0.1:8025", nil, "127.0.0.1:8025", []string{""}, "names none"},
		{"other site", "127.0.0.1:8025", nil, "127.0.0.1:8025", []string{"https://evil.example"}, "--origin https://evil.example"},
		{"other port", "127.0.0.1:8025", nil, "127.0.0.1:8025", []string{"http://127.0.0.1:3000"}, "--origin http://127.0.0.1:3000"},
		{"named page, other scheme", "127.0.0.1:8025", []string{"https://docs.example"}, "127.0.0.1:8025", []string{"http://docs.example"}, "--origin http://docs.example"},
		{"named page, other port", "127.0.0.1:8025", []string{"https://docs.example"}, "127.0.0.1:8025", []string{"https://docs.example:444"}, "may not open tunnels"},
		{"below a named page", "127.0.0.1:8025", []string{"https://docs.example"}, "127.0.0.1:8025", []string{"https://a.docs.example"}, "may not open tunnels"},
		{"rebound name", "127.0.0.1:8025", nil, "evil.example:8025", []string{"http://evil.example:8025"}, "does not answer to the name evil.example"},
		{"rebound name, on the network", "0.0.0.0:8025", nil, "evil.example:8025", []string{"http://evil.example:8025"}, "does not answer to the name evil.example"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var list []Origin
			for _, text := range tt.origins {
				o, err := ParseOrigin(text)
				require.NoError(t, err)
				list = append(list, o)
			}
			r := httptest.NewRequest(http.MethodGet, "/tunnel", nil)
			r.Host = tt.host
			r.Header["Origin"] = tt.origin
			err := NewGuard(tt.listen, list).CheckOrigin(r)
			if tt.says == "" {
				assert.NoError(t, err)
				return
			}
			require.Error(t, err)
			assert.Contains(t, err.Error(), tt.says)
		})
	}
}

func TestParseOrigin(t *testing.T) {
	for text, want := range map[string]string{
		"https://docs.example":      "https://docs.example",
		"https://Docs.Example:443/": "https://docs.example",
		"http://192.0.2.1:80":       "http://192.0.2.1",
		"http://[::1]:8000":         "http://[::1]:8000",
		"https://docs.example:80":   "https://docs.example:80",
	} {
		o, err := ParseOrigin(text)
		require.NoError(t, err, text)
		assert.Equal(t, want, o.String())
	}
	for text, says := range map[string]string{
		"":                               "write scheme and host",
		"*":                              "one by one",
		"https://*.example":              "one by one",
		"docs.example":                   "write scheme and host",
		"docs.example:443":               "write scheme and host",
		"ftp://docs.example":             "http or https",
		"https://docs.example/page":      "ends after host and port",
		"https://docs.example?x":         "ends after host and port",
		"https://u@docs.example":         "ends after host and port",
		"https://docs.example;x":         "no host has",
		"https://docs.example https://x": "write scheme and host",
		"https://":                       "write scheme and host",
		"https://:443":                   "write scheme and host",
		"null":                           "write scheme and host",
	} {
		_, err := ParseOrigin(text)
		require.Error(t, err, text)
		assert.Contains(t, err.Error(), says, text)
	}
}

func TestNamedPagesMayReadTheAPI(t *testing.T) {
	cfg := testConfig("https://docs.example")
	res := get(t, cfg, "/api/v1/config", header("Origin", "https://docs.example"))
	assert.Equal(t, "https://docs.example", res.Header.Get("Access-Control-Allow-Origin"))
	assert.Contains(t, res.Header.Values("Vary"), "Origin")
	res = get(t, cfg, "/api/v1/config", header("Origin", "https://evil.example"))
	assert.Empty(t, res.Header.Get("Access-Control-Allow-Origin"))
	assert.Contains(t, res.Header.Values("Vary"), "Origin")
	res = get(t, testConfig(), "/api/v1/config", header("Origin", "https://docs.example"))
	assert.Empty(t, res.Header.Get("Access-Control-Allow-Origin"))
}

func TestProbes(t *testing.T) {
	s, err := New(testConfig())
	require.NoError(t, err)
	assert.Equal(t, "ok\n", body(t, ask(s, "/healthz")))
	assert.Equal(t, http.StatusOK, ask(s, "/readyz").StatusCode)
	s.Drain()
	assert.Equal(t, http.StatusServiceUnavailable, ask(s, "/readyz").StatusCode)
	assert.Equal(t, http.StatusOK, ask(s, "/healthz").StatusCode, "a draining server is alive")
	assert.Equal(t, http.StatusOK, ask(s, "/").StatusCode)
}

func TestTunnelIsHandedOn(t *testing.T) {
	assert.Equal(t, http.StatusTeapot, get(t, testConfig(), "/tunnel").StatusCode)
}

func TestServerHasDeadlines(t *testing.T) {
	s, err := New(testConfig())
	require.NoError(t, err)
	server := s.Server()
	for name, d := range map[string]time.Duration{
		"header": server.ReadHeaderTimeout, "read": server.ReadTimeout, "write": server.WriteTimeout, "idle": server.IdleTimeout,
	} {
		assert.Positive(t, d, name)
	}
	assert.Positive(t, server.MaxHeaderBytes)
}

func TestLongHeadersAreRefused(t *testing.T) {
	s, err := New(testConfig())
	require.NoError(t, err)
	server := httptest.NewUnstartedServer(nil)
	server.Config = s.Server()
	server.Start()
	defer server.Close()
	req, err := http.NewRequest(http.MethodGet, server.URL, nil)
	require.NoError(t, err)
	req.Header.Set("X-Long", strings.Repeat("x", 64<<10))
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	assert.Equal(t, http.StatusRequestHeaderFieldsTooLarge, res.StatusCode)
}

// A client that sends its request a byte at a time is cut off; the deadline is shortened, the
// server is the one that serves.
func TestSlowRequestIsCutOff(t *testing.T) {
	s, err := New(testConfig())
	require.NoError(t, err)
	server := httptest.NewUnstartedServer(nil)
	server.Config = s.Server()
	server.Config.ReadHeaderTimeout = 50 * time.Millisecond
	server.Start()
	defer server.Close()
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(20*time.Second)))
	_, err = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ")
	require.NoError(t, err)
	answer, err := io.ReadAll(conn)
	require.NoError(t, err, "the server must end it")
	assert.NotContains(t, string(answer), "200")
}

// unseekable is a file system that only reads.
type unseekable struct{ fs.FS }

func (u unseekable) Open(name string) (fs.File, error) {
	f, err := u.FS.Open(name)
	if _, isDir := f.(fs.ReadDirFile); err != nil || isDir {
		return f, err
	}
	return struct{ fs.File }{f}, nil
}

func TestFilesThatCannotSeek(t *testing.T) {
	cfg := testConfig()
	cfg.Site = unseekable{cfg.Site}
	res := get(t, cfg, "/", header("Accept-Encoding", "br"))
	assert.Equal(t, "br:<!doctype html>", body(t, res))
}

func TestRange(t *testing.T) {
	res := get(t, testConfig(), "/assets/live-CD34.wasm", header("Accept-Encoding", "br"), header("Range", "bytes=0-1"))
	assert.Equal(t, http.StatusPartialContent, res.StatusCode)
	assert.Equal(t, "br", body(t, res))
	assert.EqualValues(t, 2, res.ContentLength)
	res = get(t, testConfig(), "/assets/live-CD34.wasm", header("Range", "bytes=900-"))
	assert.Equal(t, http.StatusRequestedRangeNotSatisfiable, res.StatusCode)
}

func TestUnreadableSite(t *testing.T) {
	cfg := testConfig()
	cfg.Site = brokenFS{}
	_, err := New(cfg)
	require.ErrorContains(t, err, "read the built page")
}

type brokenFS struct{}

func (brokenFS) Open(string) (fs.File, error) { return nil, errors.New("disk on fire") }

// Over a real connection: what httptest's recorder does not show.
func TestOverTheWire(t *testing.T) {
	s, err := New(testConfig())
	require.NoError(t, err)
	server := httptest.NewUnstartedServer(nil)
	server.Config = s.Server()
	server.Start()
	defer server.Close()
	client := &http.Client{Transport: &http.Transport{DisableCompression: true}, Timeout: 10 * time.Second}
	defer client.CloseIdleConnections()
	req, err := http.NewRequest(http.MethodGet, server.URL+"/assets/live-CD34.wasm", nil)
	require.NoError(t, err)
	req.Header.Set("Accept-Encoding", "br")
	res, err := client.Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	assert.EqualValues(t, len("br:\x00asm"), res.ContentLength, "the page shows progress by the length")
	assert.Empty(t, res.TransferEncoding)
	assert.Equal(t, "br:\x00asm", body(t, res))

	res, err = client.Get(server.URL + "/api/v1/config")
	require.NoError(t, err)
	defer res.Body.Close()
	var offer map[string]json.RawMessage
	require.NoError(t, json.NewDecoder(res.Body).Decode(&offer))
	assert.Len(t, offer, 5)
	assert.True(t, strings.HasPrefix(res.Header.Get("Content-Security-Policy"), "default-src 'none'"))
}
