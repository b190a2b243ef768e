package session

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"hash"
	"io"

	"golang.org/x/crypto/chacha20poly1305"

	"smtpscope/protocol/dissect"
	"smtpscope/protocol/trace"
)

const (
	handshakeContent = 22 // the type of content that handshake messages are (RFC 8446, 5.1)
	handshakeHeader  = 4  // type, 24 bits of length (RFC 8446, 4)
)

// Labels of the secrets that protect a handshake of TLS 1.3, as key logs have them (RFC 9850, 2.1).
const (
	clientHandshakeSecret = "CLIENT_HANDSHAKE_TRAFFIC_SECRET"
	serverHandshakeSecret = "SERVER_HANDSHAKE_TRAFFIC_SECRET"
)

// keyLog keeps the secrets of one connection, by their labels, and passes them on.
type keyLog struct {
	next    io.Writer // nil where nobody else wants them
	secrets map[string][]byte
}

// Write takes a line of a key log: label, client random, secret.
func (k *keyLog) Write(line []byte) (int, error) {
	if words := bytes.Fields(line); len(words) == 3 {
		if secret, err := hex.DecodeString(string(words[2])); err == nil {
			k.secrets[string(words[0])] = secret
		}
	}
	if k.next == nil {
		return len(line), nil
	}
	return k.next.Write(line)
}

// sealedRecord is a record of the handshake that only the two ends can read.
type sealedRecord struct {
	event int
	at    trace.Range
}

// reveal writes the handshake messages that one end sealed, up to its Finished:
// after that other keys hold (RFC 8446, 7.1). It ends early at a record that holds
// something else, such as an alert, or that the secret does not open. TLS 1.2 has no
// such secret, and seals nothing but Finished.
func (r *records) reveal(rec *trace.Recorder, suite uint16, secret []byte, sealed []sealedRecord) {
	if secret == nil || len(sealed) == 0 {
		return
	}
	open, err := opener(suite, secret)
	if err != nil {
		return
	}
	var (
		rest    []byte // of the content, not written yet
		carried []int  // the events of the records that it came in
	)
	for i, s := range sealed {
		content, err := open(uint64(i), rec.Bytes(s.at))
		if err != nil {
			return
		}
		// The type of the content follows it, and zeros may follow that (RFC 8446, 5.2).
		content = bytes.TrimRight(content, "\x00")
		last := len(content) - 1
		if last < 0 || content[last] != handshakeContent {
			return
		}
		rest, carried = append(rest, content[:last]...), append(carried, s.event)
		for len(rest) >= handshakeHeader {
			n := handshakeHeader + int(binary.BigEndian.Uint32(rest)&0xffffff)
			if n > len(rest) {
				break
			}
			if name := r.decrypted(rec, rest[:n], carried); name == "finished" {
				return
			}
			if rest, carried = rest[n:], []int{s.event}; len(rest) == 0 {
				carried = nil
			}
		}
	}
}

// decrypted writes one message, and returns its name.
func (r *records) decrypted(rec *trace.Recorder, message []byte, carried []int) string {
	stream := trace.TLSOut
	if r.dir == trace.In {
		stream = trace.TLSIn
	}
	at, fields := rec.Append(stream, message), dissect.Handshake(message)
	e := trace.Event{Layer: trace.LayerTLS, Kind: trace.KindDecrypted, Dir: r.dir, Src: trace.Derived, At: &at,
		Text: fields[0].Name + ", " + fields[0].Value, Fields: fields,
		Data: trace.Encode(trace.DecryptedData{Type: fields[0].Name, Records: carried})}
	e.From, e.To = ends(r.dir)
	rec.Add(e)
	return fields[0].Name
}

// opener returns what takes the protection off a record, given its number under
// these keys (RFC 8446, 5.2, 5.3 and 7.3).
func opener(suite uint16, secret []byte) (func(number uint64, record []byte) ([]byte, error), error) {
	newHash, size := sha256.New, 16
	switch suite {
	case tls.TLS_AES_256_GCM_SHA384:
		newHash, size = sha512.New384, 32
	case tls.TLS_CHACHA20_POLY1305_SHA256:
		size = 32
	}
	key, err := expandLabel(newHash, secret, "key", size)
	if err != nil {
		return nil, err
	}
	iv, err := expandLabel(newHash, secret, "iv", 12)
	if err != nil {
		return nil, err
	}
	aead, err := aeadOf(suite, key)
	if err != nil {
		return nil, err
	}
	return func(number uint64, record []byte) ([]byte, error) {
		nonce := bytes.Clone(iv)
		low := nonce[len(nonce)-8:]
		binary.BigEndian.PutUint64(low, binary.BigEndian.Uint64(low)^number)
		return aead.Open(nil, nonce, record[recordHeader:], record[:recordHeader])
	}, nil
}

func aeadOf(suite uint16, key []byte) (cipher.AEAD, error) {
	if suite == tls.TLS_CHACHA20_POLY1305_SHA256 {
		return chacha20poly1305.New(key)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// expandLabel is HKDF-Expand-Label without a context (RFC 8446, 7.1).
func expandLabel(newHash func() hash.Hash, secret []byte, label string, n int) ([]byte, error) {
	label = "tls13 " + label
	return hkdf.Expand(newHash, secret, string([]byte{0, byte(n), byte(len(label))})+label+"\x00", n)
}
