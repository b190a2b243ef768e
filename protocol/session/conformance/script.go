package conformance

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// Script is a server's side of a dialogue, a step each:
//
//	S: 220 hi      says this line
//	S? 220 hi      says this line, or as much of it as the client stays for
//	S~ 220 h       says these octets, with the escapes of Go, and no line end
//	S* 250-more    says this line again and again, until the client has left
//	S334 r={nonce} says 334 and this text in base64; {nonce} is that of the client's last SCRAM message
//	C: EHLO *      wants this line; a star at the end stands for anything
//	C~ .\r\n       wants these octets, with the escapes of Go
//	M              reads a message up to its final dot and takes the dots off that were put on (RFC 5321, 4.5.2)
//	B 7 LAST       wants BDAT with this argument and adds its octets to the message
//	TLS            does its half of a handshake
//	CLOSE          closes; whatever the client still says is right
//	RESET          resets the connection
//	SILENCE        says no more, and hears what the client still says
//
// At the end of a script the server closes, and the client has no more to say.
type Script []string

// Report is what a server saw.
type Report struct {
	Message string // what the client sent as messages, one after the other
	Err     error  // what did not go by the script
}

// limit ends a dialogue that hangs.
const limit = 20 * time.Second

// performance is one run of a script.
type performance struct {
	conn      net.Conn
	raw       net.Conn // below TLS
	r         *bufio.Reader
	identity  *tls.Config
	octetwise bool
	line      string // the last that the client said
	message   strings.Builder
}

// Perform plays the server's part on a connection and closes it. Octetwise, each octet is written by itself.
func (s Script) Perform(conn net.Conn, identity tls.Certificate, octetwise bool) Report {
	defer conn.Close()
	p := &performance{conn: conn, raw: conn, r: bufio.NewReader(conn), octetwise: octetwise,
		identity: &tls.Config{Certificates: []tls.Certificate{identity}}}
	for i, step := range s {
		over, err := p.step(step)
		if err != nil {
			return Report{p.message.String(), fmt.Errorf("step %d, %q: %w", i+1, step, err)}
		}
		if over {
			return Report{Message: p.message.String()}
		}
	}
	rest, err := p.close()
	if len(rest) > 0 {
		err = fmt.Errorf("at the end of the script the client still says %q", rest)
	}
	return Report{p.message.String(), err}
}

// close says that the server has no more to say, and returns the beginning of what the client still says.
func (p *performance) close() (rest []byte, err error) {
	if c, ok := p.conn.(interface{ CloseWrite() error }); ok {
		if err := c.CloseWrite(); err != nil {
			return nil, err
		}
	}
	rest, err = io.ReadAll(io.LimitReader(p.r, 1<<10))
	if err != nil {
		err = fmt.Errorf("the client does not close: %w", err)
	}
	return rest, err
}

func (p *performance) step(step string) (over bool, err error) {
	op, arg, _ := strings.Cut(step, " ")
	switch op {
	case "S:":
		return false, p.say(arg + "\r\n")
	case "S?":
		_ = p.say(arg + "\r\n") // the client may leave in the middle
		return false, nil
	case "S~":
		octets, err := unescape(arg)
		if err != nil {
			return false, err
		}
		return false, p.say(octets)
	case "S*":
		for err == nil {
			_, err = io.WriteString(p.conn, arg+"\r\n")
		}
		return true, nil
	case "S334":
		text := strings.ReplaceAll(arg, "{nonce}", p.nonce())
		return false, p.say("334 " + base64.StdEncoding.EncodeToString([]byte(text)) + "\r\n")
	case "C:":
		if p.line, err = p.readLine(); err != nil {
			return false, err
		}
		return false, wants(arg, p.line)
	case "C~":
		octets, err := unescape(arg)
		if err != nil {
			return false, err
		}
		got := make([]byte, len(octets))
		n, err := io.ReadFull(p.r, got)
		if string(got[:n]) != octets {
			return false, fmt.Errorf("the client said %q", got[:n])
		}
		return false, err
	case "M":
		for {
			line, err := p.readLine()
			if err != nil || line == "." {
				return false, err
			}
			p.message.WriteString(strings.TrimPrefix(line, ".") + "\r\n")
		}
	case "B":
		if p.line, err = p.readLine(); err != nil {
			return false, err
		}
		if err = wants("BDAT "+arg, p.line); err != nil {
			return false, err
		}
		size, _, _ := strings.Cut(arg, " ")
		n, err := strconv.ParseInt(size, 10, 64)
		if err != nil {
			return false, err
		}
		_, err = io.CopyN(&p.message, p.r, n)
		return false, err
	case "TLS":
		conn := tls.Server(p.conn, p.identity)
		p.conn, p.r = conn, bufio.NewReader(conn)
		return false, conn.Handshake()
	case "CLOSE":
		_, _ = p.close() // the client may end as it likes
		return true, nil
	case "RESET":
		if tcp, ok := p.raw.(*net.TCPConn); ok {
			return true, tcp.SetLinger(0) // Perform closes
		}
		return false, fmt.Errorf("a %T cannot be reset", p.raw)
	case "SILENCE":
		io.Copy(io.Discard, p.r) //nolint:errcheck // the client may end as it likes
		return true, nil
	}
	return false, fmt.Errorf("no step is called %q", op)
}

func (p *performance) say(octets string) error {
	n := len(octets)
	if p.octetwise {
		n = 1
	}
	for len(octets) > 0 {
		n = min(n, len(octets))
		if _, err := io.WriteString(p.conn, octets[:n]); err != nil {
			return err
		}
		octets = octets[n:]
	}
	return nil
}

// readLine reads a line and takes off its CRLF.
func (p *performance) readLine() (string, error) {
	line, err := p.r.ReadString('\n')
	if err != nil {
		return "", fmt.Errorf("the client said %q: %w", line, err)
	}
	text, ok := strings.CutSuffix(line, "\r\n")
	if !ok {
		return "", fmt.Errorf("the client said %q, whose line end is not CRLF", line)
	}
	return text, nil
}

// nonce is what stands behind r= in the base64 that ends the client's last line (RFC 5802, 5.1).
func (p *performance) nonce() string {
	last := p.line[strings.LastIndexByte(p.line, ' ')+1:]
	text, err := base64.StdEncoding.DecodeString(last)
	if err != nil {
		return ""
	}
	_, nonce, _ := bytes.Cut(text, []byte(",r="))
	return string(nonce)
}

func wants(pattern, line string) error {
	prefix, star := strings.CutSuffix(pattern, "*")
	if line == pattern || star && strings.HasPrefix(line, prefix) {
		return nil
	}
	return fmt.Errorf("the client said %q", line)
}

func unescape(s string) (string, error) {
	return strconv.Unquote(`"` + strings.ReplaceAll(s, `"`, `\"`) + `"`)
}
