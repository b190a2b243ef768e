package dissect_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"smtpscope/protocol/dissect"
	"smtpscope/protocol/trace"
)

// handshakeMessage puts a header in front of a body.
func handshakeMessage(kind byte, body string) string {
	return string([]byte{kind, 0, byte(len(body) >> 8), byte(len(body))}) + body
}

// certificateMessage is a Certificate of TLS 1.3 with one certificate, which has an extension.
func certificateMessage(t testing.TB) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(7), Issuer: pkix.Name{CommonName: "ignored: it signs itself"},
		Subject:   pkix.Name{Organization: []string{"Example"}, CommonName: "mx.example.net", Country: []string{"NO"}},
		DNSNames:  []string{"mx.example.net"},
		NotBefore: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), NotAfter: time.Date(2050, 6, 7, 0, 0, 0, 0, time.UTC),
	}, &x509.Certificate{Subject: pkix.Name{Organization: []string{"Gödel CA"}}}, &key.PublicKey, key)
	require.NoError(t, err)
	ocsp := "\x00\x05\x00\x07\x01\x00\x00\x03abc"
	entry := string([]byte{0, byte(len(der) >> 8), byte(len(der))}) + string(der) + "\x00\x0b" + ocsp
	return handshakeMessage(11, "\x00"+string([]byte{0, byte(len(entry) >> 8), byte(len(entry))})+entry)
}

var handshakeExamples = []example{
	{"encrypted_extensions", handshakeMessage(8, "\x00\x0b\x00\x10\x00\x07\x00\x05\x04smtp"), `
			encrypted_extensions "\b\x00\x00\r\x00\v\x00\x10\x00\a\x00\x05\x04smtp" (17 bytes) tls.handshake.encrypted_extensions
				msg_type "\b" (8 encrypted_extensions) tls.handshake.encrypted_extensions
				length "\x00\x00\r" (13) field.length
				extensions "\x00\v\x00\x10\x00\a\x00\x05\x04smtp" (11 bytes) field.extension
					length "\x00\v" (11) field.length
					application_layer_protocol_negotiation "\x00\x10\x00\a\x00\x05\x04smtp" (11 bytes) tls.extension.application_layer_protocol_negotiation
						extension_type "\x00\x10" (16 application_layer_protocol_negotiation) tls.extension.application_layer_protocol_negotiation
						length "\x00\a" (7) field.length
						length "\x00\x05" (5) field.length
						length "\x04" (4) field.length
						protocol_name "smtp" tls.extension.application_layer_protocol_negotiation`},
	{"certificate_request", handshakeMessage(13, "\x00\x00\x08\x00\x0d\x00\x04\x00\x02\x08\x07"), `
			certificate_request "\r\x00\x00\v\x00\x00\b\x00\r\x00\x04\x00\x02\b\a" (15 bytes) tls.handshake.certificate_request
				msg_type "\r" (13 certificate_request) tls.handshake.certificate_request
				length "\x00\x00\v" (11) field.length
				certificate_request_context "\x00" (0 bytes) field.request-context
				extensions "\x00\b\x00\r\x00\x04\x00\x02\b\a" (8 bytes) field.extension
					length "\x00\b" (8) field.length
					signature_algorithms "\x00\r\x00\x04\x00\x02\b\a" (8 bytes) tls.extension.signature_algorithms
						extension_type "\x00\r" (13 signature_algorithms) tls.extension.signature_algorithms
						length "\x00\x04" (4) field.length
						length "\x00\x02" (2) field.length
						algorithm "\b\a" (ed25519) tls.signature.ed25519`},
	{"empty certificate", handshakeMessage(11, "\x00\x00\x00\x00"), `
			certificate "\v\x00\x00\x04\x00\x00\x00\x00" (8 bytes) tls.handshake.certificate
				msg_type "\v" (11 certificate) tls.handshake.certificate
				length "\x00\x00\x04" (4) field.length
				certificate_request_context "\x00" (0 bytes) field.request-context
				length "\x00\x00\x00" (0) field.length`},
	{"certificate_verify", handshakeMessage(15, "\x04\x03\x00\x02xy"), `
			certificate_verify "\x0f\x00\x00\x06\x04\x03\x00\x02xy" (10 bytes) tls.handshake.certificate_verify
				msg_type "\x0f" (15 certificate_verify) tls.handshake.certificate_verify
				length "\x00\x00\x06" (6) field.length
				algorithm "\x04\x03" (ecdsa_secp256r1_sha256) tls.signature.ecdsa_secp256r1_sha256
				signature "\x00\x02xy" (2 bytes) field.signature`},
	{"finished", handshakeMessage(20, "hmac"), `
			finished "\x14\x00\x00\x04hmac" (8 bytes) tls.handshake.finished
				msg_type "\x14" (20 finished) tls.handshake.finished
				length "\x00\x00\x04" (4) field.length
				verify_data "hmac" field.verify-data`},
	{"unknown", handshakeMessage(99, "x"), `
			handshake "c\x00\x00\x01x" (5 bytes) tls.handshake.handshake
				msg_type "c" (99 handshake) tls.handshake.handshake
				length "\x00\x00\x01" (1) field.length
				body "x" (1 byte) field.rest`},
	{"two at once", handshakeMessage(20, "a") + "more", `
			finished "\x14\x00\x00\x01a" (5 bytes) tls.handshake.finished
				msg_type "\x14" (20 finished) tls.handshake.finished
				length "\x00\x00\x01" (1) field.length
				verify_data "a" field.verify-data
			rest "more" field.rest`},
	{"cut off", "\x0b\x00", `
			rest "\v\x00" field.rest`},
}

func TestHandshake(t *testing.T) { run(t, dissect.Handshake, outline, handshakeExamples) }

// values lists some fields of a certificate, by their names.
func values(fields []trace.Field) string {
	var out []string
	for _, f := range fields {
		switch f.Name {
		case "certificate", "issuer", "validity", "subject":
			if f.Depth > 0 {
				out = append(out, f.Name+"="+f.Value)
			}
		case "tbsCertificate", "version", "serialNumber", "signature", "subjectPublicKeyInfo", "signatureAlgorithm", "signatureValue", "DER":
			out = append(out, f.Name)
		}
	}
	return strings.Join(out, " ")
}

func TestCertificate(t *testing.T) {
	raw := []byte(certificateMessage(t))
	fields := dissect.Handshake(raw)
	check(t, raw, fields)
	assert.Equal(t, "certificate=mx.example.net tbsCertificate version serialNumber signature issuer=Gödel CA "+
		"validity=2026-01-02 to 2050-06-07 subject=mx.example.net subjectPublicKeyInfo signatureAlgorithm signatureValue", values(fields))
	assert.Equal(t, "\x00\x00\x03abc", text(raw, find(t, fields, "response"))[0:], "what the server says of revocation")
}

// A certificate of the first version has no version in it; what is no certificate stays whole.
func TestOddCertificates(t *testing.T) {
	for der, want := range map[string]string{
		"":                             "certificate=",
		"x":                            "certificate= DER",
		"\x30\x80\x00\x00":             "certificate= DER",
		"\x30\x02\x30\x00":             "certificate= tbsCertificate",
		"\x30\x05\x30\x03\x02\x01\x01": "certificate= tbsCertificate serialNumber",
		"\x30\x84\x00\x00\x00\x00":     "certificate= DER",
	} {
		raw := []byte(handshakeMessage(11, "\x00\x00\x00"+string([]byte{byte(len(der) + 5)})+"\x00\x00"+string([]byte{byte(len(der))})+der+"\x00\x00"))
		fields := dissect.Handshake(raw)
		check(t, raw, fields)
		assert.Equal(t, want, values(fields), "%q", der)
	}
}

// In the clear a handshake goes by TLS 1.2.
func TestHandshakeInTheClear(t *testing.T) {
	_, in, _ := handshake(t, tls.VersionTLS12)
	var names, all []string
	for _, record := range in {
		fields := dissect.Record(record)
		check(t, record, fields)
		if v := values(fields); v != "" {
			all = append(all, v)
		}
		for _, f := range fields {
			if f.Depth == 1 {
				names = append(names, f.Name)
			}
		}
	}
	assert.Contains(t, strings.Join(all, " "), "subject=mx.example.net")
	for _, name := range []string{"curve_type", "namedcurve", "public", "algorithm", "signature"} {
		assert.Contains(t, names, name, "of server_key_exchange")
	}

	for _, c := range []struct{ name, message, want string }{
		{"certificate_request", handshakeMessage(13, "\x01\x40\x00\x02\x08\x07\x00\x00"), "certificate_types supported_signature_algorithms certificate_authorities"},
		{"certificate_status", handshakeMessage(22, "\x01\x00\x00\x02ok"), "status_type response"},
		{"new_session_ticket", handshakeMessage(4, "\x00\x00\x00\x07\x00\x02xy"), "ticket_lifetime_hint ticket"},
		{"client_key_exchange by a curve", handshakeMessage(16, "\x02xy"), "ecdh_Yc"},
		{"client_key_exchange by RSA", handshakeMessage(16, "\x00\x02xy"), "exchange_keys"},
		{"client_key_exchange, odd", handshakeMessage(16, "\x07xy"), "body"},
		{"server_key_exchange by a prime", handshakeMessage(12, "\x00\x01p\x00\x01g\x00\x01y"), "body"},
		{"certificates that do not fit", handshakeMessage(11, "\x00\x00\x05\x00\x00\x03ab"), "length body"},
	} {
		t.Run(c.name, func(t *testing.T) {
			raw := []byte("\x16\x03\x03\x00" + string([]byte{byte(len(c.message))}) + c.message)
			fields := dissect.Record(raw)
			check(t, raw, fields)
			var names []string
			for _, f := range fields {
				if f.Depth == 1 {
					names = append(names, f.Name)
				}
			}
			require.Equal(t, []string{"msg_type", "length"}, names[:2])
			assert.Equal(t, c.want, strings.Join(names[2:], " "))
		})
	}
}

// The insides of what a client of today says.
func TestExtensionsOfAClientHello(t *testing.T) {
	out, _, _ := handshake(t, tls.VersionTLS13)
	fields := dissect.Record(out[0])
	suites := 0
	var got []string
	for _, f := range fields {
		switch f.Name {
		case "cipher_suite":
			suites++
		case "named_group", "algorithm", "ec_point_format", "status_type":
			got = append(got, f.Value)
		}
	}
	assert.Equal(t, 3, suites)
	for _, value := range []string{"X25519", "ecdsa_secp256r1_sha256", "rsa_pss_rsae_sha256", "0 uncompressed", "1"} {
		assert.True(t, slices.Contains(got, value), value)
	}
}

func FuzzHandshake(f *testing.F) {
	fuzz(f, dissect.Handshake, append(seedsOf(handshakeExamples), certificateMessage(f))...)
}
