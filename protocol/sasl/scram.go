package sasl

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"slices"
	"strconv"
	"strings"

	"github.com/emersion/go-sasl"
)

// What go-sasl has no name for either: SCRAM (RFC 5802, RFC 7677), and with channel binding.
const (
	scramSHA1       = "SCRAM-SHA-1"
	scramSHA256     = "SCRAM-SHA-256"
	scramSHA1Plus   = "SCRAM-SHA-1-PLUS"
	scramSHA256Plus = "SCRAM-SHA-256-PLUS"
)

// How often the server may have the password hashed. Below the least, which RFC 5802, 5.1
// has servers ask for, whoever listens can try many passwords a second. The most is far
// over what any server asks for, and takes a page three seconds.
const (
	minIterations = 4096
	maxIterations = 1_000_000
)

// What a server may say wrong.
var (
	errFirst  = errors.New("sasl: the server's first message is not nonce, salt and iteration count (RFC 5802, 7)")
	errNonce  = errors.New("sasl: the server's nonce does not continue this client's (RFC 5802, 5.1), so its message may be an old one")
	errServer = errors.New("sasl: the server could not prove that it knows the password (RFC 5802, 5): it may not be the one that you think it is")
)

// scramClient proves that the client knows the password without sending it, and wants the
// server to prove that it knows it too.
type scramClient struct {
	mechanism string
	hash      func() hash.Hash
	username  string // as it is sent
	password  string
	header    string // the GS2 header (RFC 5802, 7)
	binding   []byte
	nonce     string

	step      int
	authText  string // AuthMessage (RFC 5802, 3)
	signature []byte // the server's, as it must be
	verified  bool
	refusal   string // the server's server-error-value
}

func newScram(mechanism string, a Account) (Client, error) {
	username, err := prepare("user name", a.Username, a.NFKC)
	if err != nil {
		return nil, err
	}
	password, err := prepare("password", a.Password, a.NFKC)
	if err != nil {
		return nil, err
	}
	s := &scramClient{mechanism: mechanism, hash: sha1.New, password: password, nonce: rand.Text(),
		username: escaped(escaped(username, "=", "=3D"), ",", "=2C"), header: "n,,"}
	if mechanism == scramSHA256 || mechanism == scramSHA256Plus {
		s.hash = sha256.New
	}
	// "y" tells a server that offers channel binding that somebody took its offer
	// away on the way here (RFC 5802, 6).
	plus := func(m string) bool { return strings.HasPrefix(m, "SCRAM-") && strings.HasSuffix(m, "-PLUS") }
	switch {
	case plus(mechanism):
		s.header, s.binding = "p=tls-exporter,,", a.Binding
	case a.Binding != nil && !slices.ContainsFunc(a.Offered, func(m string) bool { return plus(strings.ToUpper(m)) }):
		s.header = "y,,"
	}
	return s, nil
}

func (s *scramClient) first() string { return "n=" + s.username + ",r=" + s.nonce }

func (s *scramClient) Start() (mechanism string, initial []byte, err error) {
	if s.header[0] == 'p' && s.binding == nil {
		return "", nil, fmt.Errorf("sasl: %s is bound to TLS by tls-exporter (RFC 9266), which needs TLS 1.3, or TLS 1.2 with the extended master secret", s.mechanism)
	}
	return s.mechanism, []byte(s.header + s.first()), nil
}

func (s *scramClient) Next(challenge []byte) ([]byte, error) {
	s.step++
	switch s.step {
	case 1:
		return s.proof(string(challenge))
	case 2:
		return nil, s.verify(string(challenge))
	}
	return nil, fmt.Errorf("sasl: %s has two challenges, but the server sent a third: %w", s.mechanism, sasl.ErrUnexpectedServerChallenge)
}

// proof answers server-first-message (RFC 5802, 7): nonce, salt, iteration count.
func (s *scramClient) proof(challenge string) ([]byte, error) {
	parts := strings.Split(challenge, ",")
	if len(parts) < 3 || !strings.HasPrefix(parts[0], "r=") || !strings.HasPrefix(parts[1], "s=") || !strings.HasPrefix(parts[2], "i=") {
		return nil, errFirst
	}
	nonce := parts[0][2:]
	salt, err := base64.StdEncoding.DecodeString(parts[1][2:])
	iterations, notNumber := strconv.Atoi(parts[2][2:])
	switch {
	case err != nil || notNumber != nil || len(salt) == 0:
		return nil, errFirst
	case !strings.HasPrefix(nonce, s.nonce) || len(nonce) == len(s.nonce):
		return nil, errNonce
	case iterations < minIterations || iterations > maxIterations:
		return nil, fmt.Errorf("sasl: the server asks for %d iterations; this client wants %d at least (RFC 5802, 5.1), and computes %d at most", iterations, minIterations, maxIterations)
	}
	salted, err := pbkdf2.Key(s.hash, s.password, salt, iterations, s.hash().Size()) // Hi (RFC 5802, 2.2)
	if err != nil {
		return nil, fmt.Errorf("sasl: the password cannot be salted: %w", err)
	}
	final := "c=" + base64.StdEncoding.EncodeToString(append([]byte(s.header), s.binding...)) + ",r=" + nonce
	s.authText = s.first() + "," + challenge + "," + final
	clientKey := s.mac(salted, "Client Key")
	stored := s.hash()
	stored.Write(clientKey)
	proof := s.mac(stored.Sum(nil), s.authText)
	for i := range proof {
		proof[i] ^= clientKey[i]
	}
	s.signature = s.mac(s.mac(salted, "Server Key"), s.authText)
	return []byte(final + ",p=" + base64.StdEncoding.EncodeToString(proof)), nil
}

// verify takes server-final-message (RFC 5802, 7).
func (s *scramClient) verify(challenge string) error {
	value, _, _ := strings.Cut(challenge, ",")
	if reason, refused := strings.CutPrefix(value, "e="); refused {
		s.refusal = reason
		return nil // the reply that refuses follows
	}
	if value != "v="+base64.StdEncoding.EncodeToString(s.signature) {
		return errServer
	}
	s.verified = true
	return nil
}

func (s *scramClient) mac(key []byte, text string) []byte {
	h := hmac.New(s.hash, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

func (s *scramClient) unproven() string {
	if s.verified {
		return ""
	}
	return "The server accepted the sign-in without proof that it knows the password, which " + s.mechanism + " demands (RFC 5802, 5): it may not be the one that you think it is. Nothing more was sent."
}

func (s *scramClient) refused() string {
	switch {
	case s.refusal == "":
		return ""
	case strings.Contains(s.refusal, "channel-binding"):
		return fmt.Sprintf("The server says %q: what it sees of TLS is not what this client sees, so somebody may be in between.", s.refusal)
	}
	return fmt.Sprintf("The server says %q. Check the user name and the password.", s.refusal)
}
