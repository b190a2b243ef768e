package export

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"smtpscope/protocol/trace"
)

// transcript is a session as text: a line for each row, for eyes and ears alike.
func transcript(t *trace.Trace, secrets bool) string {
	var out strings.Builder
	fmt.Fprintf(&out, "%s, %s, %s, %s\n\n", oneLine(t.Meta.Tool), t.Meta.Mode, oneLine(name(t, trace.HostServer)), t.Meta.Started.Format(time.RFC3339))
	for _, r := range rowsOf(t, secrets) {
		number := ""
		if r.n > 0 {
			number = fmt.Sprint(r.n)
		}
		gutter := fmt.Sprintf("%4s %9s ms  %s ", number, milliseconds(r.t), speaker(r))
		for i, line := range spoken(t, r) {
			if i > 0 {
				gutter = strings.Repeat(" ", utf8.RuneCountInString(gutter))
			}
			out.WriteString(strings.TrimRight(gutter+line, " ") + "\n")
		}
	}
	if t.Result != nil {
		out.WriteString("\n" + verdict(t.Result))
	}
	return out.String()
}

// speaker is C for the client, S for the server, and two dashes for nobody.
func speaker(r *row) string {
	switch {
	case !r.said() || r.event.Hop != 0:
		return "--"
	case r.event.Kind == trace.KindReply:
		return "S:"
	}
	return "C:"
}

// spoken are the lines of a row. Of what has no text of its own it is one.
func spoken(t *trace.Trace, r *row) []string {
	lines := r.lines
	if len(lines) == 0 {
		line := r.main
		for _, more := range []string{r.par, r.fate, r.note} {
			if more != "" {
				line += ", " + more
			}
		}
		lines = []string{line}
	}
	if r.from != "" && (r.event.Hop != 0 || r.event.Layer == trace.LayerTCP || r.event.Layer == trace.LayerUDP || r.event.Layer == trace.LayerIP) {
		return append([]string{fmt.Sprintf("%s > %s: %s", r.from, r.to, lines[0])}, lines[1:]...)
	}
	return lines
}

// verdict is the result in lines.
func verdict(r *trace.Result) string {
	var out strings.Builder
	fmt.Fprintf(&out, "%s, at %s: %s, %s\n", r.Outcome, r.Phase, count(int64(r.RoundTrips), "round trip"), duration(int64(r.Elapsed)))
	if r.Error != nil {
		out.WriteString(r.Error.Message + "\n")
	}
	for _, m := range r.Messages {
		if m.QueueID != "" {
			fmt.Fprintf(&out, "queued as %s\n", m.QueueID)
		}
		for _, to := range m.Recipients {
			fmt.Fprintf(&out, "%s: %s\n", to.To, to.Outcome)
		}
	}
	return out.String()
}
