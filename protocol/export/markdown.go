package export

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"smtpscope/protocol/book"
	"smtpscope/protocol/smtp"
	"smtpscope/protocol/trace"
)

// report is a session as Markdown (GitHub's), for whoever has to act on it: the
// verdict first, the evidence below. What a server says stands in code spans and
// fenced blocks, out of which it cannot get.
func report(t *trace.Trace, secrets bool) string {
	var out strings.Builder
	plan, rows := planOf(t), rowsOf(t, secrets)
	fmt.Fprintf(&out, "# SMTP session with %s\n\n", prose(plan.where(t)))
	if r := t.Result; r != nil {
		fmt.Fprintf(&out, "**%s** at %s, after %s and %s.", strings.ToUpper(string(r.Outcome[:1]))+string(r.Outcome[1:]), r.Phase,
			count(int64(r.RoundTrips), "round trip"), duration(int64(r.Elapsed)))
		if r.Error != nil {
			out.WriteString(" " + prose(r.Error.Message))
			if !r.Permanent {
				out.WriteString(" The same attempt may succeed later.")
			}
		}
		out.WriteString("\n\n")
		if r.Reply != nil {
			fmt.Fprintf(&out, "The reply that decided it: %s\n\n", code(replyText(r.Reply)))
		}
		for _, m := range r.Messages {
			for _, to := range m.Recipients {
				fmt.Fprintf(&out, "- %s: %s", code(to.To), to.Outcome)
				if m.QueueID != "" && to.Outcome == trace.Accepted {
					fmt.Fprintf(&out, ", queued as %s", code(m.QueueID))
				}
				out.WriteString("\n")
			}
		}
		if len(r.Messages) > 0 {
			out.WriteString("\n")
		}
	}

	out.WriteString("| | |\n|---|---|\n")
	fact := func(key, value string) {
		if value != "" {
			fmt.Fprintf(&out, "| %s | %s |\n", key, value)
		}
	}
	fact("Started", t.Meta.Started.Format(time.RFC3339))
	fact("Recorded by", prose(t.Meta.Tool)+map[trace.Mode]string{
		trace.ModeLab: ", in its simulated internet", trace.ModePractice: ", against its practice server", trace.ModeLive: "",
	}[t.Meta.Mode])
	for _, e := range t.Events {
		if e.Layer == trace.LayerTunnel && e.Kind == trace.KindOpened {
			fact("Address", cell(data[trace.TunnelData](&e).Address))
		}
		if e.Kind == trace.KindHandshake || e.Kind == trace.KindAlert {
			d := data[trace.HandshakeData](&e)
			if d.Version != "" {
				fact("TLS", prose(strings.TrimSuffix(fmt.Sprintf("%s, %s, %s", d.Version, d.Suite, d.Group), ", ")))
			}
			if len(d.Chain) > 0 {
				c := d.Chain[0]
				fact("Certificate", fmt.Sprintf("%s for %s, from %s, until %s, %s", cell(c.Subject), cell(strings.Join(c.Names, ", ")), cell(c.Issuer),
					c.NotAfter.UTC().Format(time.DateOnly), prose(c.Key)))
				fact("SHA-256", cell(c.SHA256))
			}
			trust := "yes"
			if !d.Verified {
				trust = "**no**: " + prose(d.Problem)
			}
			fact("Trusted", trust)
		}
	}

	if len(t.Findings) > 0 {
		out.WriteString("\n## Findings\n\n")
	}
	for _, f := range t.Findings {
		entry, _ := book.Lookup("finding." + f.ID)
		fmt.Fprintf(&out, "- **%s** %s: %s", f.Severity, prose(entry.Title), prose(f.Text))
		for _, more := range []string{entry.Means, entry.Do} {
			if more != "" {
				out.WriteString(" " + prose(more))
			}
		}
		if entry.Section != "" {
			out.WriteString(" (" + prose(entry.Section) + ")")
		}
		var evidence []string
		for _, n := range f.Events {
			if r := rowOf(rows, n); r != nil && r.n > 0 {
				evidence = append(evidence, fmt.Sprint(r.n))
			}
		}
		if len(evidence) > 0 {
			fmt.Fprintf(&out, " See row %s.", strings.Join(evidence, ", "))
		}
		out.WriteString("\n")
	}

	out.WriteString("\n## Commands and replies\n\n| row | ms | client | server |\n|--:|--:|---|---|\n")
	for _, r := range rows {
		if r.event.Layer != trace.LayerSMTP || r.event.Hop != 0 {
			continue
		}
		text := r.main
		if r.par != "" {
			text += ", " + r.par
		}
		client, server := cell(text), ""
		if r.event.Dir == trace.In {
			client, server = server, client
		}
		fmt.Fprintf(&out, "| %d | %s | %s | %s |\n", r.n, milliseconds(r.t), client, server)
	}

	out.WriteString("\n## Transcript\n\n" + fenced("text", transcript(t, secrets)))
	var indented bytes.Buffer
	if json.Indent(&indented, t.Meta.Plan, "", "  ") == nil && indented.Len() > 0 {
		out.WriteString("\n## Plan\n\n" + fenced("json", indented.String()+"\n"))
	}
	return out.String()
}

func replyText(r *trace.ResultReply) string {
	words := []string{fmt.Sprint(r.Code)}
	if r.Enhanced != "" {
		words = append(words, r.Enhanced)
	}
	return strings.Join(append(words, r.Lines...), " ")
}

// prose is text that means itself in Markdown, in one line.
func prose(text string) string {
	var out strings.Builder
	for _, r := range oneLine(text) {
		if strings.ContainsRune("\\`*_[]<>|~#&!$", r) {
			out.WriteByte('\\')
		}
		out.WriteRune(r)
	}
	return out.String()
}

// code is text in a code span.
func code(text string) string {
	text = oneLine(text)
	if text == "" {
		return ""
	}
	mark := strings.Repeat("`", longestRun(text)+1)
	if strings.ContainsAny(text[:1]+text[len(text)-1:], "` ") {
		text = " " + text + " "
	}
	return mark + text + mark
}

// cell is a code span in a cell of a table, where a pipe has a backslash before it
// and must have no other.
func cell(text string) string {
	return strings.ReplaceAll(code(strings.ReplaceAll(text, `\|`, `\x5c|`)), "|", `\|`)
}

// fenced is text in a block, which ends with a line end.
func fenced(language, text string) string {
	mark := strings.Repeat("`", max(3, longestRun(text)+1))
	return mark + language + "\n" + text + mark + "\n"
}

func longestRun(text string) (longest int) {
	run := 0
	for _, r := range text {
		if run++; r != '`' {
			run = 0
		}
		longest = max(longest, run)
	}
	return longest
}

// oneLine is text of others in one line, safe to show.
func oneLine(text string) string { return smtp.Escape(strings.Join(strings.Fields(text), " ")) }
