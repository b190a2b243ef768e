// Package token makes and checks the permits that a proxy with --token-key asks for:
// short-lived, for one target, for so many bytes, signed with HMAC-SHA-256.
//
// A token is "payload.signature", both base64url without padding: the payload is a
// small JSON object, the signature is over its encoded form. It narrows what the
// policy allows and never widens it, and it names nobody: whoever holds it may use it.
//
// The package keeps no account of what was used; that is package quota's part.
package token

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"smtpscope/protocol/tunnel"
	"smtpscope/proxy/internal/policy"
	"smtpscope/proxy/internal/quota"
)

// The rules that an error names.
const (
	RuleMissing   = "token-missing"
	RuleSignature = "token-signature"
	RuleExpired   = "token-expired"
	RuleTarget    = "token-target"
)

const (
	// shortestKey is the output of SHA-256, in bytes (RFC 2104, 3).
	shortestKey = 32
	longestText = 2 << 10
	// domain keeps signatures made for other purposes with the same key from being tokens.
	domain = "smtpscope token 1\n"
)

var encoding = base64.RawURLEncoding.Strict()

// Key signs tokens and checks them.
type Key struct {
	secrets [][]byte // the first one signs
}

// ReadKey reads a file with one secret a line. The first one signs and all are good
// for checking, so that a new one can be put in front before the old one is removed.
func ReadKey(path string) (*Key, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("token key: %w", err)
	}
	const advice = "make one with: openssl rand -base64 48"
	k := &Key{}
	for i, line := range bytes.Split(data, []byte("\n")) {
		secret := bytes.TrimSpace(line)
		switch {
		case len(secret) == 0:
		case len(secret) < shortestKey:
			return nil, fmt.Errorf("token key: line %d of %s has %d characters, and at least %d are needed; %s", i+1, path, len(secret), shortestKey, advice)
		default:
			k.secrets = append(k.secrets, secret)
		}
	}
	if len(k.secrets) == 0 {
		return nil, fmt.Errorf("token key: %s holds none; %s", path, advice)
	}
	return k, nil
}

// claims is the payload.
type claims struct {
	ID      string `json:"id"` // the account of its bytes
	Target  string `json:"target"`
	Expires int64  `json:"exp"` // seconds since 1970
	Bytes   int64  `json:"bytes"`
}

// Mint makes a token for a target, which is written as for --allow.
func (k *Key) Mint(target policy.Target, bytes quota.Size, expires time.Time) string {
	payload, err := json.Marshal(claims{ID: rand.Text(), Target: target.String(), Expires: expires.Unix(), Bytes: int64(bytes)})
	if err != nil {
		panic(err) // strings and numbers only
	}
	text := encoding.EncodeToString(payload)
	return text + "." + encoding.EncodeToString(sign(k.secrets[0], text))
}

func sign(secret []byte, text string) []byte {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(domain))
	mac.Write([]byte(text))
	return mac.Sum(nil)
}

// Verify checks the token of an OPEN at a time and returns the bytes that it is good for.
// Nothing of a token is read before its signature is known to be right.
func (k *Key) Verify(open tunnel.Open, now time.Time) (*quota.Budget, *tunnel.Error) {
	if open.Token == "" {
		return nil, denied(RuleMissing, "This proxy asks for a token, and the page sent none. Whoever runs the proxy makes one with: smtpscope token --key FILE --target %s", target(open))
	}
	c, err := k.read(open.Token)
	if err != nil {
		return nil, denied(RuleSignature, "The token is not one of this proxy: %v. Check that it was copied whole", err)
	}
	permitted, err := policy.ParseTarget(c.Target)
	if err != nil || c.ID == "" || c.Bytes <= 0 {
		return nil, denied(RuleSignature, "The token is signed, but this proxy does not understand it. It was made by another version of smtpscope; make a new one")
	}
	expires := time.Unix(c.Expires, 0)
	if !expires.After(now) {
		return nil, denied(RuleExpired, "The token was good until %s. Get a new one from whoever gave it to you", expires.UTC().Format(time.DateTime+" MST"))
	}
	if !permitted.Covers(open.Host, open.Port) {
		return nil, denied(RuleTarget, "The token was made for %s, not for %s. Use it there, or get one for this target", c.Target, target(open))
	}
	return &quota.Budget{ID: c.ID, Bytes: c.Bytes, Expires: expires}, nil
}

func (k *Key) read(text string) (c claims, err error) {
	if len(text) > longestText {
		return c, fmt.Errorf("it has %d characters, and none is longer than %d", len(text), longestText)
	}
	payload, signature, found := strings.Cut(text, ".")
	mac, err := encoding.DecodeString(signature)
	if !found || err != nil {
		return c, errors.New("it does not have the form of one")
	}
	if !k.signed(payload, mac) {
		return c, errors.New("its signature is wrong")
	}
	data, err := encoding.DecodeString(payload)
	if err != nil {
		return c, errors.New("it does not have the form of one")
	}
	return c, json.Unmarshal(data, &c)
}

// signed takes the same time for every wrong signature.
func (k *Key) signed(payload string, mac []byte) bool {
	good := false
	for _, secret := range k.secrets {
		good = hmac.Equal(sign(secret, payload), mac) || good
	}
	return good
}

// target writes what a page asked for as --allow and --target would have it.
func target(open tunnel.Open) string {
	t, err := policy.ParseTarget(net.JoinHostPort(open.Host, strconv.Itoa(open.Port)))
	if err != nil {
		return "that target"
	}
	return t.String()
}

func denied(rule, format string, args ...any) *tunnel.Error {
	return &tunnel.Error{Code: tunnel.CodeDenied, Rule: rule, Message: fmt.Sprintf(format, args...) + fmt.Sprintf(" (rule %s).", rule)}
}
