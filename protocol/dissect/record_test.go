package dissect_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"math/big"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"smtpscope/protocol/book"
	"smtpscope/protocol/dissect"
	"smtpscope/protocol/trace"
)

var recordExamples = []example{
	{"alert", "\x15\x03\x03\x00\x02\x02\x28", `
			type "\x15" (21 alert) tls.record.alert
			legacy_record_version "\x03\x03" (TLS 1.2) field.legacy-version
			length "\x00\x02" (2) field.length
			level "\x02" (2 fatal) field.alert-level
			description "(" (40 handshake_failure) tls.alert.handshake_failure`},
	{"warning", "\x15\x03\x03\x00\x02\x01\x64", `
			type "\x15" (21 alert) tls.record.alert
			legacy_record_version "\x03\x03" (TLS 1.2) field.legacy-version
			length "\x00\x02" (2) field.length
			level "\x01" (1 warning) field.alert-level
			description "d" (100 no_renegotiation) tls.alert.no_renegotiation`},
	{"unknown alert", "\x15\x03\x03\x00\x02\x07\xfe", `
			type "\x15" (21 alert) tls.record.alert
			legacy_record_version "\x03\x03" (TLS 1.2) field.legacy-version
			length "\x00\x02" (2) field.length
			level "\a" (7 unknown) field.alert-level
			description "\xfe" (254 unknown) tls.alert.unknown`},
	{"encrypted alert", "\x15\x03\x03\x00\x1a12345678901234567890123456", `
			type "\x15" (21 alert) tls.record.alert
			legacy_record_version "\x03\x03" (TLS 1.2) field.legacy-version
			length "\x00\x1a" (26) field.length
			encrypted_record "12345678901234567890123456" (encrypted payload, 26 bytes) field.encrypted-record`},
	{"change_cipher_spec", "\x14\x03\x03\x00\x01\x01", `
			type "\x14" (20 change_cipher_spec) tls.record.change_cipher_spec
			legacy_record_version "\x03\x03" (TLS 1.2) field.legacy-version
			length "\x00\x01" (1) field.length
			change_cipher_spec "\x01" tls.record.change_cipher_spec`},
	{"application data", "\x17\x03\x03\x00\x01xrest", `
			type "\x17" (23 application_data) tls.record.application_data
			legacy_record_version "\x03\x03" (TLS 1.2) field.legacy-version
			length "\x00\x01" (1) field.length
			encrypted_record "x" (encrypted payload, 1 byte) field.encrypted-record
			rest "rest" field.rest`},
	{"odd version", "\x17\x03\x63\x00\x00", `
			type "\x17" (23 application_data) tls.record.application_data
			legacy_record_version "\x03c" (0x0363) field.legacy-version
			length "\x00\x00" (0) field.length`},
	{"SMTP where TLS was due", "220 mx.example.net ESMTP\r\n", `
			not TLS "220 mx.example.net ESMTP\r\n" field.not-tls`},
	{"header cut off", "\x16\x03\x01\x00", `
			rest "\x16\x03\x01\x00" (incomplete record) field.rest`},
	{"payload cut off", "\x16\x03\x01\x00\x05\x01\x00", `
			type "\x16" (22 handshake) tls.record.handshake
			legacy_record_version "\x03\x01" (TLS 1.0) field.legacy-version
			length "\x00\x05" (5) field.length
			rest "\x01\x00" (incomplete record) field.rest`},
	{"encrypted Finished of TLS 1.2", "\x16\x03\x03\x00\x10\x00\x00\x00\x00\x00\x00\x00\x00\x9a\x8bsealed", `
			type "\x16" (22 handshake) tls.record.handshake
			legacy_record_version "\x03\x03" (TLS 1.2) field.legacy-version
			length "\x00\x10" (16) field.length
			fragment "\x00\x00\x00\x00\x00\x00\x00\x00\x9a\x8bsealed" (16 bytes) field.fragment`},
	{"two messages", "\x16\x03\x03\x00\x0b\x0c\x00\x00\x03abc\x0e\x00\x00\x00", `
			type "\x16" (22 handshake) tls.record.handshake
			legacy_record_version "\x03\x03" (TLS 1.2) field.legacy-version
			length "\x00\v" (11) field.length
			server_key_exchange "\f\x00\x00\x03abc" (7 bytes) tls.handshake.server_key_exchange
				msg_type "\f" (12 server_key_exchange) tls.handshake.server_key_exchange
				length "\x00\x00\x03" (3) field.length
				body "abc" (3 bytes) field.rest
			server_hello_done "\x0e\x00\x00\x00" (4 bytes) tls.handshake.server_hello_done
				msg_type "\x0e" (14 server_hello_done) tls.handshake.server_hello_done
				length "\x00\x00\x00" (0) field.length`},
	{"hello too short", "\x16\x03\x03\x00\x06\x01\x00\x00\x02\x03\x03", `
			type "\x16" (22 handshake) tls.record.handshake
			legacy_record_version "\x03\x03" (TLS 1.2) field.legacy-version
			length "\x00\x06" (6) field.length
			client_hello "\x01\x00\x00\x02\x03\x03" (6 bytes) tls.handshake.client_hello
				msg_type "\x01" (1 client_hello) tls.handshake.client_hello
				length "\x00\x00\x02" (2) field.length
				body "\x03\x03" (2 bytes) field.rest`},
}

func TestRecord(t *testing.T) { run(t, dissect.Record, outline, recordExamples) }

func TestFirstFragmentOfALongMessage(t *testing.T) {
	payload := "\x0b\x00\x03\xe8" + strings.Repeat("c", 600)
	raw := "\x16\x03\x03\x02\x5c" + payload
	fields := dissect.Record([]byte(raw))
	check(t, []byte(raw), fields)
	assert.Equal(t, "certificate", fields[3].Name)
	assert.Equal(t, "1004 bytes", fields[3].Value)
	last := fields[len(fields)-1]
	assert.Equal(t, "fragment", last.Name)
	assert.Equal(t, "field.fragment", last.Book)
}

// smallHello is a client_hello for mx.test: one suite, one group, two versions,
// one key share.
const smallHello = "\x16\x03\x01\x00\x5c" + "\x01\x00\x00\x58" + "\x03\x03" + "01234567890123456789012345678901" +
	"\x00" + "\x00\x02\x13\x01" + "\x01\x00" + "\x00\x2d" +
	"\x00\x00\x00\x0c\x00\x0a\x00\x00\x07mx.test" +
	"\x00\x0a\x00\x04\x00\x02\x00\x1d" +
	"\x00\x2b\x00\x05\x04\x03\x04\x03\x03" +
	"\x00\x33\x00\x08\x00\x06\x00\x1d\x00\x02xy"

// retryHello asks for P-256. Its random is the SHA-256 of "HelloRetryRequest"
// (RFC 8446, 4.1.3).
const retryHello = "\x16\x03\x03\x00\x38" + "\x02\x00\x00\x34" + "\x03\x03" +
	"\xcf\x21\xad\x74\xe5\x9a\x61\x11\xbe\x1d\x8c\x02\x1e\x65\xb8\x91" +
	"\xc2\xa2\x11\x16\x7a\xbb\x8c\x5e\x07\x9e\x09\xe2\xc8\xa8\x33\x9c" +
	"\x00" + "\x13\x02" + "\x00" + "\x00\x0c" +
	"\x00\x2b\x00\x02\x03\x04" + "\x00\x33\x00\x02\x00\x17"

func TestClientHelloInFull(t *testing.T) {
	run(t, dissect.Record, outline, []example{{"small", smallHello, `
			type "\x16" (22 handshake) tls.record.handshake
			legacy_record_version "\x03\x01" (TLS 1.0) field.legacy-version
			length "\x00\\" (92) field.length
			client_hello "\x01\x00\x00X\x03\x0301234567890123456789012345678901\x00\x00\x02\x13\x01\x01\x00\x00-\x00\x00\x00\f\x00\n\x00\x00\amx.test\x00\n\x00\x04\x00\x02\x00\x1d\x00+\x00\x05\x04\x03\x04\x03\x03\x003\x00\b\x00\x06\x00\x1d\x00\x02xy" (92 bytes) tls.handshake.client_hello
				msg_type "\x01" (1 client_hello) tls.handshake.client_hello
				length "\x00\x00X" (88) field.length
				legacy_version "\x03\x03" (TLS 1.2) field.legacy-version
				random "01234567890123456789012345678901" field.random
				legacy_session_id "\x00" (0 bytes) field.legacy
				cipher_suites "\x00\x02\x13\x01" (1 suite) field.cipher-suites
					length "\x00\x02" (2) field.length
					cipher_suite "\x13\x01" (TLS_AES_128_GCM_SHA256) tls.suite.tls_aes_128_gcm_sha256
				legacy_compression_methods "\x01\x00" (1 byte) field.legacy
				extensions "\x00-\x00\x00\x00\f\x00\n\x00\x00\amx.test\x00\n\x00\x04\x00\x02\x00\x1d\x00+\x00\x05\x04\x03\x04\x03\x03\x003\x00\b\x00\x06\x00\x1d\x00\x02xy" (45 bytes) field.extension
					length "\x00-" (45) field.length
					server_name "\x00\x00\x00\f\x00\n\x00\x00\amx.test" (16 bytes) tls.extension.server_name
						extension_type "\x00\x00" (0 server_name) tls.extension.server_name
						length "\x00\f" (12) field.length
						length "\x00\n" (10) field.length
						name_type "\x00" (0) tls.extension.server_name
						length "\x00\a" (7) field.length
						host_name "mx.test" tls.extension.server_name
					supported_groups "\x00\n\x00\x04\x00\x02\x00\x1d" (8 bytes) tls.extension.supported_groups
						extension_type "\x00\n" (10 supported_groups) tls.extension.supported_groups
						length "\x00\x04" (4) field.length
						length "\x00\x02" (2) field.length
						named_group "\x00\x1d" (X25519) tls.group.x25519
					supported_versions "\x00+\x00\x05\x04\x03\x04\x03\x03" (9 bytes) tls.extension.supported_versions
						extension_type "\x00+" (43 supported_versions) tls.extension.supported_versions
						length "\x00\x05" (5) field.length
						length "\x04" (4) field.length
						version "\x03\x04" (TLS 1.3) tls.version.1.3
						version "\x03\x03" (TLS 1.2) tls.version.1.2
					key_share "\x003\x00\b\x00\x06\x00\x1d\x00\x02xy" (12 bytes) tls.extension.key_share
						extension_type "\x003" (51 key_share) tls.extension.key_share
						length "\x00\b" (8) field.length
						length "\x00\x06" (6) field.length
						group "\x00\x1d" (X25519) tls.group.x25519
						key_exchange "\x00\x02xy" (public key, 2 bytes) tls.extension.key_share`}})
}

func TestHelloRetryRequest(t *testing.T) {
	fields := dissect.Record([]byte(retryHello))
	check(t, []byte(retryHello), fields)
	hrr := find(t, fields, "hello_retry_request")
	assert.Equal(t, "tls.handshake.hello_retry_request", hrr.Book)
	assert.Equal(t, "2 server_hello", find(t, fields, "msg_type").Value)
	assert.Equal(t, "TLS 1.3", find(t, fields, "selected_version").Value)
	group := find(t, fields, "selected_group")
	assert.Equal(t, "secp256r1", group.Value)
	assert.Equal(t, "tls.group.secp256r1", group.Book)
}

// A malformed extension is left whole, and the next one is still taken apart.
func TestMalformedExtension(t *testing.T) {
	for name, bad := range map[string]string{
		"server_name":                            "\x00\x00\x00\x05\x00\x09\x00\x00\x01",
		"supported_groups":                       "\x00\x0a\x00\x03\x00\x01\x00",
		"supported_versions":                     "\x00\x2b\x00\x02\x05\x03",
		"key_share":                              "\x00\x33\x00\x06\x00\x04\x00\x1d\x00\x09",
		"status_request":                         "\x00\x05\x00\x05\x01\x00\x01\x00\x00",
		"ec_point_formats":                       "\x00\x0b\x00\x02\x02\x00",
		"signature_algorithms":                   "\x00\x0d\x00\x05\x00\x03\x08\x04\x08",
		"application_layer_protocol_negotiation": "\x00\x10\x00\x05\x00\x03\x05ab",
		"psk_key_exchange_modes":                 "\x00\x2d\x00\x03\x01\x00\x01",
	} {
		t.Run(name, func(t *testing.T) {
			extensions := bad + "\x00\x17\x00\x00"
			body := "\x03\x03" + strings.Repeat("r", 32) + "\x00" + "\x00\x02\x13\x01" + "\x01\x00" + "\x00" + string([]byte{byte(len(extensions))}) + extensions
			raw := "\x16\x03\x01\x00" + string([]byte{byte(len(body) + 4)}) + "\x01\x00\x00" + string([]byte{byte(len(body))}) + body
			fields := dissect.Record([]byte(raw))
			check(t, []byte(raw), fields)
			i := slices.IndexFunc(fields, func(f trace.Field) bool { return f.Name == name })
			require.GreaterOrEqual(t, i, 0)
			assert.Equal(t, "extended_master_secret", fields[i+1].Name, "nothing is nested in the malformed one")
			assert.Equal(t, 2, fields[i].Depth)
		})
	}
}

// Records of real handshakes: what the fields say is what the two ends agreed on.
func TestRealHandshakes(t *testing.T) {
	for name, version := range map[string]uint16{"TLS 1.2": tls.VersionTLS12, "TLS 1.3": tls.VersionTLS13} {
		t.Run(name, func(t *testing.T) {
			out, in, state := handshake(t, version)

			hello := dissect.Record(out[0])
			assert.Equal(t, "mx.example.net", text(out[0], find(t, hello, "host_name")))
			assert.Equal(t, "tls.extension.server_name", find(t, hello, "server_name").Book)
			assert.Equal(t, "TLS 1.2", find(t, hello, "legacy_version").Value)
			assert.Contains(t, find(t, hello, "cipher_suites").Value, " suites")
			assert.Equal(t, name, find(t, hello, "version").Value, "the highest version comes first")
			assert.Equal(t, 32, int(find(t, hello, "random").Len))
			find(t, hello, "signature_algorithms")

			answer := dissect.Record(in[0])
			suite := find(t, answer, "cipher_suite")
			assert.Equal(t, tls.CipherSuiteName(state.CipherSuite), suite.Value)
			assert.Equal(t, "tls.suite."+strings.ToLower(suite.Value), suite.Book)

			var names []string
			for _, record := range slices.Concat(out, in) {
				fields := dissect.Record(record)
				check(t, record, fields)
				for _, f := range fields {
					names = append(names, f.Name)
				}
			}
			assert.Contains(t, names, "change_cipher_spec")
			assert.Contains(t, names, "encrypted_record")
			if version == tls.VersionTLS13 {
				assert.Equal(t, "X25519MLKEM768", find(t, hello, "named_group").Value)
				assert.Equal(t, "TLS 1.3", find(t, answer, "selected_version").Value)
				assert.Equal(t, "tls.version.1.3", find(t, answer, "selected_version").Book)
				group := find(t, answer, "group")
				assert.Equal(t, state.CurveID.String(), group.Value)
				assert.Equal(t, "tls.group.x25519mlkem768", group.Book)
				assert.NotContains(t, names, "certificate", "it is encrypted")
			} else {
				for _, message := range []string{"certificate", "server_key_exchange", "server_hello_done", "client_key_exchange"} {
					assert.Contains(t, names, message)
				}
				// The two encrypted Finished messages, in records of type handshake.
				assert.Equal(t, 2, count(names, "fragment"))
			}
		})
	}
}

// Every suite, group and alert that has a name here has its own entry, and only
// those that have none share one.
func TestNamesHaveEntries(t *testing.T) {
	// Asserts only on failure: it runs for every number there is.
	named := func(fields []trace.Field, name, kind string) bool {
		i := slices.IndexFunc(fields, func(f trace.Field) bool { return f.Name == name })
		f := fields[i]
		e, _ := book.Lookup(f.Book)
		other, _ := book.Lookup(kind + "other")
		named := !strings.HasPrefix(f.Value, "0x") && !strings.HasSuffix(f.Value, " unknown")
		if named == (e == other) || !strings.HasPrefix(f.Book, kind) {
			require.Fail(t, "not explained as it is named", "%s: %s", f.Value, f.Book)
		}
		return named
	}
	hello := func(suite, group uint16) []byte {
		body := []byte("\x03\x03" + strings.Repeat("r", 32) + "\x00")
		body = binary.BigEndian.AppendUint16(body, suite)
		body = append(body, "\x00\x00\x0a\x00\x33\x00\x06"...)
		body = binary.BigEndian.AppendUint16(body, group)
		body = append(body, "\x00\x02xy"...)
		return append([]byte{22, 3, 3, 0, byte(len(body) + 4), 2, 0, 0, byte(len(body))}, body...)
	}
	known := map[string]int{}
	for number := range 1 << 16 {
		fields := dissect.Record(hello(uint16(number), uint16(number)))
		if named(fields, "cipher_suite", "tls.suite.") {
			known["suites"]++
		}
		if named(fields, "group", "tls.group.") {
			known["groups"]++
		}
	}
	for number := range 1 << 8 {
		if named(dissect.Record([]byte{21, 3, 3, 0, 2, 2, byte(number)}), "description", "tls.alert.") {
			known["alerts"]++
		}
	}
	assert.Equal(t, map[string]int{"suites": 18, "groups": 9, "alerts": 28}, known)

	for _, s := range tls.CipherSuites() {
		assert.Equal(t, s.Name, find(t, dissect.Record(hello(s.ID, uint16(tls.X25519))), "cipher_suite").Value)
	}
	for _, g := range []tls.CurveID{tls.X25519MLKEM768, tls.X25519, tls.CurveP256, tls.CurveP384, tls.CurveP521} {
		assert.True(t, named(dissect.Record(hello(tls.TLS_AES_128_GCM_SHA256, uint16(g))), "group", "tls.group."), g)
	}
}

func find(t testing.TB, fields []trace.Field, name string) trace.Field {
	t.Helper()
	i := slices.IndexFunc(fields, func(f trace.Field) bool { return f.Name == name })
	require.GreaterOrEqual(t, i, 0, "no field %q", name)
	return fields[i]
}

func text(raw []byte, f trace.Field) string { return string(raw[f.Off : f.Off+f.Len]) }

func count(list []string, s string) int {
	n := 0
	for _, x := range list {
		if x == s {
			n++
		}
	}
	return n
}

// handshake returns the records that crossed, in each direction.
func handshake(t testing.TB, version uint16) (out, in [][]byte, state tls.ConnectionState) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "mx.example.net"},
		DNSNames:     []string{"mx.example.net"},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	parsed, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	roots := x509.NewCertPool()
	roots.AddCert(parsed)

	near, far := net.Pipe()
	deadline := time.Now().Add(10 * time.Second)
	require.NoError(t, near.SetDeadline(deadline))
	require.NoError(t, far.SetDeadline(deadline))
	tap := &tap{Conn: near}
	client := tls.Client(tap, &tls.Config{
		ServerName: "mx.example.net", RootCAs: roots, MinVersion: version, MaxVersion: version,
	})
	server := tls.Server(far, &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
	})
	var wg sync.WaitGroup
	wg.Go(func() {
		defer server.Close()
		b := make([]byte, 4)
		if _, err := server.Read(b); err == nil {
			_, _ = server.Write(b)
		}
	})
	_, err = client.Write([]byte("NOOP"))
	require.NoError(t, err)
	_, err = client.Read(make([]byte, 4))
	require.NoError(t, err)
	state = client.ConnectionState()
	// Without close_notify, for which nobody would be reading any more.
	require.NoError(t, near.Close())
	wg.Wait()
	return records(t, tap.out.Bytes()), records(t, tap.in.Bytes()), state
}

// tap keeps what crosses a connection.
type tap struct {
	net.Conn
	out, in bytes.Buffer
}

func (c *tap) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.out.Write(p[:n])
	return n, err
}

func (c *tap) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.in.Write(p[:n])
	return n, err
}

func records(t testing.TB, b []byte) [][]byte {
	t.Helper()
	var out [][]byte
	for len(b) >= 5 {
		n := 5 + int(binary.BigEndian.Uint16(b[3:]))
		if n > len(b) {
			break
		}
		out = append(out, b[:n:n])
		b = b[n:]
	}
	require.NotEmpty(t, out)
	return out
}
