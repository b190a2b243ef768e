// Package export writes what was recorded in the formats of other programs: packets
// for Wireshark, text and Markdown for people, a picture, and the same session as a
// command of another tool.
//
// It reads a trace and nothing else: it knows no sockets and runs no session.
package export

import (
	"fmt"
	"io"
	"slices"

	"smtpscope/protocol/trace"
)

// Format is a format to write.
type Format string

// The formats.
const (
	PCAPNG   Format = "pcapng"
	Text     Format = "text"
	Markdown Format = "markdown"
	SVG      Format = "svg"
	// The same session as a command of another program.
	Swaks   Format = "swaks"
	OpenSSL Format = "openssl"
	Curl    Format = "curl"
	Python  Format = "python"
	Go      Format = "go"
)

// Request says what to write of a trace.
type Request struct {
	Format Format
	// Host is where packets of a lab are captured, by its id.
	Host string
	// Secrets shows passwords, and adds Keys to the packets.
	Secrets bool
	Keys    []byte // TLS secrets of the session in NSS key log format
}

// Write writes a trace. Without Secrets, nothing of what it writes is secret.
func Write(w io.Writer, t *trace.Trace, r Request) error {
	if !r.Secrets {
		t, r.Keys = t.Redact(), nil
	}
	switch r.Format {
	case PCAPNG:
		c := capture(t, r.Host)
		c.Secrets = r.Keys
		return WritePCAPNG(w, c)
	case Text:
		return text(w, transcript(t, r.Secrets))
	case Markdown:
		return text(w, report(t, r.Secrets))
	case SVG:
		return text(w, ladder(t, r.Secrets))
	case Swaks, OpenSSL, Curl, Python, Go:
		return text(w, command(t, r.Format))
	}
	return fmt.Errorf("export: there is no format %q", r.Format)
}

// capture is what there is of packets, and in a session of which none was captured what there could have been.
func capture(t *trace.Trace, host string) Capture {
	switch {
	case t.Meta.Mode == trace.ModeLab:
		return Packets(t, host)
	case slices.ContainsFunc(t.Events, isCaptured):
		return Captured(t)
	}
	return Segments(t)
}

func text(w io.Writer, s string) error {
	_, err := io.WriteString(w, s)
	return err
}
