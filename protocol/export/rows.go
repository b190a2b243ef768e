package export

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"smtpscope/protocol/smtp"
	"smtpscope/protocol/trace"
)

// row is what of a trace is one thing to a reader: a reply of many lines is one, and
// so is a TLS handshake with all its records. What carries the text of a row has none
// of its own, unless something happened to it.
type row struct {
	n        int // from 1; 0 for a pause
	event    *trace.Event
	events   []int // that are this row, in order
	t        int64 // when it began
	from, to string
	bad      bool     // a handshake or connection that did not come about
	fate     string   // what a link did to a packet, where it did not arrive as it was sent
	main     string   // what was said, or what the row stands for
	par      string   // particulars of that
	note     string   // a remark
	lines    []string // what was said, in full
}

// said tells whether a row is what client or server say.
func (r row) said() bool {
	switch r.event.Kind {
	case trace.KindCommand, trace.KindResponse, trace.KindMessage, trace.KindReply:
		return true
	}
	return false
}

// reader turns events into rows.
type reader struct {
	t       *trace.Trace
	secrets bool
	list    []*row
	number  int
	dials   map[string]*row // connections that are being made, by address; "" while the name is looked up
	opened  *row            // the connection, until it has been measured
	tls     *row            // the handshake, until it is over
	shaken  *row            // the handshake that is over
	pause   *row
	queries map[string]*row
	asked   *row // of the DNS at the side of the session
}

// rowsOf reads a trace. What secrets hide shows only when they are asked for.
func rowsOf(t *trace.Trace, secrets bool) []*row {
	r := reader{t: t, secrets: secrets, queries: map[string]*row{}, dials: map[string]*row{}}
	for i := range t.Events {
		r.read(&t.Events[i])
	}
	return r.list
}

// rowOf finds the row of an event.
func rowOf(rows []*row, event int) *row {
	for _, r := range rows {
		if slices.Contains(r.events, event) {
			return r
		}
	}
	return nil
}

func (r *reader) add(e *trace.Event) *row {
	row := &row{event: e, events: []int{e.N}, t: e.T, from: e.From, to: e.To, main: e.Text}
	if e.Kind != trace.KindPause {
		r.number++
		row.n = r.number
	}
	r.list = append(r.list, row)
	return row
}

// fold makes an event part of a row, which it may begin.
func (r *reader) fold(into **row, e *trace.Event) *row {
	if *into == nil {
		*into = r.add(e)
	} else {
		(*into).events = append((*into).events, e.N)
	}
	return *into
}

func (r *reader) read(e *trace.Event) {
	switch e.Layer {
	case trace.LayerTunnel:
		r.readTunnel(e)
	case trace.LayerTLS:
		r.readTLS(e)
	case trace.LayerSMTP:
		r.readSMTP(e)
	case trace.LayerApp:
		r.readApp(e)
	case trace.LayerDNS:
		if e.Kind == trace.KindLookup || e.Kind == trace.KindPolicy {
			r.readLookup(e)
			return
		}
		question, _, _ := strings.Cut(e.Text, "?")
		if e.Kind == trace.KindQuery {
			row := r.add(e)
			row.note = "not answered"
			r.queries[e.From+question] = row
			return
		}
		row := r.queries[e.To+question]
		delete(r.queries, e.To+question)
		r.fold(&row, e).main, row.note, row.event = e.Text, "", e
	case trace.LayerMail:
		r.add(e).main = mailWords(r.t, e)
	case trace.LayerTCP:
		switch {
		case e.Kind == trace.KindSegment:
			r.readPacket(e)
		case e.Kind == trace.KindSample && r.opened != nil:
			r.readFirstSample(e)
		}
	default:
		r.readPacket(e)
	}
}

// readTunnel gives every address that is dialed a row, the first one together with the look-up.
func (r *reader) readTunnel(e *trace.Event) {
	d := data[trace.TunnelData](e)
	if e.Kind == trace.KindResolving {
		r.giveUp()
	}
	row := r.dials[d.Address]
	if row == nil {
		row = r.dials[""]
	}
	r.fold(&row, e)
	row.event, row.main, row.from, row.to = e, e.Text, trace.HostClient, trace.HostServer
	delete(r.dials, "")
	r.dials[d.Address] = row
	switch e.Kind {
	case trace.KindFailed:
		row.bad = true
		delete(r.dials, d.Address)
	case trace.KindOpened:
		row.main, row.par = "TCP connection to "+d.Address, "1 round trip, "+duration(int64(d.Connect))
		r.opened = row
		delete(r.dials, d.Address)
		r.giveUp()
	}
}

// giveUp ends the attempts that nobody waits for any more.
func (r *reader) giveUp() {
	for _, row := range r.dials {
		row.bad, row.note = true, "given up"
	}
	clear(r.dials)
}

// readFirstSample tells a connection whose SYN was lost (RFC 6298, 5.7), which took no mere round trip.
func (r *reader) readFirstSample(e *trace.Event) {
	d, row := data[trace.SampleData](e), r.opened
	r.opened = nil
	if d.Retransmits == 0 {
		return
	}
	times := "twice"
	if d.Retransmits > 1 {
		times = strconv.Itoa(d.Retransmits+1) + " times"
	}
	row.par, row.note = duration(int64(data[trace.TunnelData](row.event).Connect)), "its SYN was sent "+times
	if d.RTT > 0 {
		row.note += "; the round trip is " + duration(int64(d.RTT))
	}
}

// readLookup adds what begins a session with a domain, and in one row what was asked besides.
func (r *reader) readLookup(e *trace.Event) {
	if d := data[trace.LookupData](e); d.Type == "MX" {
		r.add(e).par = remarks(d.Took > 0, duration(int64(d.Took)), d.AD, "DNSSEC")
		return
	}
	row := r.fold(&r.asked, e)
	row.main = count(int64(len(row.events)), "more answer") + " of the DNS"
	row.lines = append(append([]string{row.main}, row.lines[min(1, len(row.lines)):]...), e.Text)
}

func (r *reader) readTLS(e *trace.Event) {
	switch e.Kind {
	case trace.KindStart, trace.KindDecrypted:
		row := r.fold(&r.tls, e)
		row.main, row.from, row.to = "TLS handshake", trace.HostClient, trace.HostServer
	case trace.KindHandshake, trace.KindAlert:
		d, row := data[trace.HandshakeData](e), r.fold(&r.tls, e)
		r.tls, r.shaken, row.event = nil, row, e
		if e.Kind == trace.KindAlert {
			row.bad, row.main, row.note = true, "TLS handshake failed", d.Problem
			return
		}
		row.main = fmt.Sprintf("%s handshake, %s", d.Version, count(int64(max(d.RoundTrips, 1)), "round trip"))
		row.par = d.Suite
		if d.Group != "" {
			row.par = d.Group + ", " + d.Suite
		}
		if row.note = "certificate trusted"; !d.Verified {
			row.note = "certificate not trusted: " + d.Problem
		}
	case trace.KindRecord:
		d := data[trace.RecordData](e)
		switch {
		case d.Plain != nil:
		case r.tls != nil:
			r.fold(&r.tls, e)
		case d.Type == "handshake" && r.shaken != nil: // a session ticket (RFC 8446, 4.6.1)
			r.fold(&r.shaken, e)
		default:
			row := r.add(e)
			row.main, row.par = "TLS "+strings.ReplaceAll(d.Type, "_", " "), count(e.At.Len, "byte")
		}
	}
}

func (r *reader) readSMTP(e *trace.Event) {
	row := r.add(e)
	switch e.Kind {
	case trace.KindCommand, trace.KindResponse:
		d := data[trace.CommandData](e)
		if r.secrets && len(e.Secret) > 0 && e.At != nil {
			row.main = r.line(e)
		}
		row.lines, row.note = []string{row.main}, remarks(d.Raw, "sent raw", d.Edited, "edited")
	case trace.KindMessage:
		d := data[trace.MessageData](e)
		row.t, row.main, row.par = d.Started, "message text", count(d.Size, "byte")
		row.note = remarks(d.Stuffed > 0, count(int64(d.Stuffed), "line")+" dot-stuffed", d.Edited, "edited")
		row.lines = r.quote(e)
	case trace.KindReply:
		d := data[trace.ReplyData](e)
		for i, line := range d.Lines {
			separator := "-"
			if i == len(d.Lines)-1 {
				separator = " "
			}
			row.lines = append(row.lines, strings.TrimSuffix(strconv.Itoa(d.Code)+separator+line, " "))
		}
		if r.secrets && len(e.Secret) > 0 && e.At != nil {
			row.lines = strings.Split(r.line(e), "\n")
			row.main = row.lines[0]
		}
		several := count(int64(len(d.Lines)), "line")
		if len(d.Extensions) > 0 {
			several = count(int64(len(d.Extensions)), "keyword")
		}
		row.note = remarks(len(d.Lines) > 1, several, len(d.Oddities) > 0, "odd: "+strings.Join(d.Oddities, ", "))
	}
}

func (r *reader) readApp(e *trace.Event) {
	switch e.Kind {
	case trace.KindPause:
		r.pause = r.add(e)
	case trace.KindResume:
		if r.pause != nil {
			r.pause.main = "paused by the user"
			if r.t.Meta.Mode != trace.ModeLab { // where time stood still
				r.pause.main += " for " + duration(e.T-r.pause.t)
			}
			r.fold(&r.pause, e)
			r.pause = nil
		}
	default:
		r.add(e).bad = e.Kind == trace.KindError
	}
}

// readPacket adds what is no mere carrier of text: what opens and closes a
// connection, what was sent again, and what did not arrive.
func (r *reader) readPacket(e *trace.Event) {
	d := data[trace.PacketData](e)
	fate := map[trace.Fate]string{trace.FateLost: "lost on the link", trace.FateCorrupted: "dropped: a flipped bit"}[d.Fate]
	if fate == "" && d.Of == nil {
		s := d.Segment
		if e.Layer == trace.LayerUDP || s != nil && s.Again == nil && !strings.HasPrefix(s.Flags, "SYN") && !strings.Contains(s.Flags, "FIN") && !strings.Contains(s.Flags, "RST") {
			return
		}
	}
	row := r.add(e)
	row.fate = fate
	if d.Of != nil {
		row.main = "a copy that the link made"
		return
	}
	if s := d.Segment; s != nil {
		row.main = fmt.Sprintf("%s  seq %d", strings.ReplaceAll(s.Flags, ", ", " "), s.Seq)
		if s.Ack > 0 {
			row.main += fmt.Sprintf(" ack %d", s.Ack)
		}
		if s.Len > 0 {
			row.main += fmt.Sprintf(" len %d", s.Len)
		}
		if s.Again != nil {
			row.main = "retransmission, " + row.main
		}
		row.par = s.Options
	}
}

// line is what an event has, control characters escaped.
func (r *reader) line(e *trace.Event) string {
	b, _ := r.t.Streams[e.At.Stream].Bytes(e.At.Off, e.At.Len)
	lines := strings.Split(strings.TrimSuffix(string(b), "\r\n"), "\r\n")
	for i := range lines {
		lines[i] = smtp.Escape(lines[i])
	}
	return strings.Join(lines, "\n")
}

// quotedSize is how much of a message is shown.
const quotedSize = 4096

func (r *reader) quote(e *trace.Event) []string {
	if e.At == nil {
		return nil
	}
	b, _ := r.t.Streams[e.At.Stream].Bytes(e.At.Off, min(e.At.Len, quotedSize))
	lines := strings.Split(strings.TrimSuffix(strings.ReplaceAll(string(b), "\r\n", "\n"), "\n"), "\n")
	for i := range lines {
		lines[i] = smtp.Escape(lines[i])
	}
	if rest := e.At.Len - int64(len(b)); rest > 0 {
		lines = append(lines, fmt.Sprintf("[%s more]", count(rest, "byte")))
	}
	return lines
}

func mailWords(t *trace.Trace, e *trace.Event) string {
	d, reason := data[trace.MailData](e), ""
	if d.Reason != "" {
		reason = ": " + smtp.Escape(d.Reason)
	}
	next := d.Next
	if next == "" {
		next = "the next server"
	}
	words := ""
	switch e.Kind {
	case trace.KindQueued:
		words = fmt.Sprintf("queued for %s, as %s", strings.Join(d.To, ", "), d.QueueID)
	case trace.KindAttempt:
		words = fmt.Sprintf("tries %s with %s, attempt %d", next, d.QueueID, max(d.Attempt, 1))
	case trace.KindDeferred:
		words = fmt.Sprintf("%s deferred until %s%s", d.QueueID, duration(d.Retry), reason)
	case trace.KindRelayed:
		words = fmt.Sprintf("%s has accepted %s", next, d.QueueID)
	case trace.KindBounced:
		words = fmt.Sprintf("%s bounced%s", d.QueueID, reason)
	case trace.KindDelivered:
		words = fmt.Sprintf("in the mailbox of %s, as %s", d.Mailbox, d.QueueID)
	}
	return name(t, d.Host) + ": " + words
}

// data is what an event says. Decode has read it, so it can be read.
func data[T any](e *trace.Event) (d T) {
	_ = json.Unmarshal(e.Data, &d)
	return d
}

// remarks joins those words whose condition holds.
func remarks(a bool, first string, b bool, second string) string {
	switch {
	case a && b:
		return first + ", " + second
	case a:
		return first
	case b:
		return second
	}
	return ""
}

// milliseconds is a time for a column.
func milliseconds(ns int64) string { return strconv.FormatFloat(float64(ns)/1e6, 'f', 1, 64) }

// duration is a span of time in the unit that suits it.
func duration(ns int64) string {
	switch ms := float64(ns) / 1e6; {
	case ms < 9.995:
		return fmt.Sprintf("%.2f ms", ms)
	case ms < 99.95:
		return fmt.Sprintf("%.1f ms", ms)
	case ms < 9_999.5:
		return fmt.Sprintf("%.0f ms", ms)
	case ms < 119_950:
		return fmt.Sprintf("%.1f s", ms/1000)
	}
	seconds := (ns + 5e8) / 1e9
	return fmt.Sprintf("%d min %d s", seconds/60, seconds%60)
}

// count is a number, in groups of three digits, and what it counts.
func count(n int64, noun string) string {
	digits := strconv.FormatInt(n, 10)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	if n != 1 {
		noun += "s"
	}
	return digits + " " + noun
}
