package export

import (
	"fmt"
	"strings"
	"time"
	"unicode"

	"smtpscope/protocol/smtp"
	"smtpscope/protocol/trace"
)

// Hue names the layer, and on the SMTP layer who speaks. Each colour has a contrast
// of 4.5 or more to the paper, in both themes.
var palette = []struct{ name, light, dark string }{
	{"paper", "#fdfdfb", "#0f1214"}, {"rule", "#dddcd5", "#2a3034"},
	{"ink", "#1a1c1e", "#e6e7e3"}, {"soft", "#565c60", "#a3abae"},
	{"out", "#0b449c", "#7fb5f8"}, {"in", "#964800", "#f79a52"},
	{"tls", "#78175a", "#e3a4d1"}, {"tcp", "#2a7368", "#42a498"}, {"dns", "#433f12", "#c9cb9a"},
	{"bad", "#b3001b", "#ff8f8f"},
}

// ladderStyle has a class for what is filled with each colour, and one, with "s-"
// before it, for what is drawn with it.
var ladderStyle = func() string {
	var light, dark strings.Builder
	for _, c := range palette {
		fmt.Fprintf(&light, ".%[1]s{fill:%[2]s}.s-%[1]s{stroke:%[2]s}\n", c.name, c.light)
		fmt.Fprintf(&dark, ".%[1]s{fill:%[2]s}.s-%[1]s{stroke:%[2]s}\n", c.name, c.dark)
	}
	return `text{font-family:system-ui,-apple-system,"Segoe UI",sans-serif;font-size:11px}
.w{font-family:ui-monospace,"SF Mono","Cascadia Mono",Menlo,Consolas,"DejaVu Sans Mono",monospace;white-space:pre}
.m{font-size:12.5px}.l{font-size:13px;font-weight:600}.h{font-size:15px;font-weight:600}.b{font-weight:700}.e{text-anchor:end}
.s{fill:none;stroke-width:1.3}.t{stroke-width:1.8}
` + light.String() + "@media (prefers-color-scheme:dark){\n" + dark.String() + "}\n"
}()

// Measures of the picture, in pixels.
const (
	ladderWidth = 960
	columnRow   = 40 // right edges of the numbers
	columnTime  = 96
	columnTag   = 108
	laneFirst   = 156
	laneLast    = 908
	columnGlyph = 940
	rowHeight   = 20
	tallRow     = 32 // where more than two lanes leave no room beside the text
	wireWidth   = 7.5
	smallWidth  = 6.6 // of the wire face in small
	proseWidth  = 6.2 // a wide guess: nobody knows the fonts of the reader
	leastArrow  = 48
)

// drawing is a ladder on paper: what is said goes from lane to lane, one row below
// the other.
type drawing struct {
	t      *trace.Trace
	body   strings.Builder
	y      int // the top of the next row
	lanes  map[string]int
	hosts  []trace.Host
	sealed int // where both sides begin to speak inside TLS; 0 when they do not
	used   map[trace.Source]bool
}

// ladder is a picture of a session that stands alone, in both themes.
func ladder(t *trace.Trace, secrets bool) string {
	d := drawing{t: t, lanes: map[string]int{}, used: map[trace.Source]bool{}}
	d.header()
	top := d.y
	for _, r := range rowsOf(t, secrets) {
		d.row(r)
	}
	bottom := d.y + 6
	d.y = bottom
	d.footer()

	var lanes strings.Builder
	for _, h := range d.hosts {
		x := d.lanes[h.ID]
		fmt.Fprintf(&lanes, `<path class="s s-ink" d="M%d %dV%d"/>`, x, top-4, bottom)
		if d.sealed > 0 && (h.ID == trace.HostClient || h.ID == trace.HostServer) {
			inside := 3
			if h.ID == trace.HostServer {
				inside = -3
			}
			fmt.Fprintf(&lanes, `<path class="s s-tls" d="M%d %dV%d"/>`, x+inside, d.sealed, bottom)
		}
	}
	title := "SMTP session with " + planOf(t).where(t)
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" width="%[1]d" height="%[2]d" viewBox="0 0 %[1]d %[2]d" role="img">`+
		"<title>%[3]s</title>\n<style>\n%[4]s</style>\n"+`<rect class="paper" width="%[1]d" height="%[2]d"/>`+"\n%[5]s\n%[6]s</svg>\n",
		ladderWidth, d.y, escaped(title), ladderStyle, lanes.String(), d.body.String())
}

func (d *drawing) header() {
	d.y = 28
	d.text(columnRow-26, "h ink", planOf(d.t).where(d.t))
	d.text(laneLast, "e soft", d.t.Meta.Started.Format(time.RFC3339)+", "+string(d.t.Meta.Mode))
	for _, h := range d.t.Meta.Hosts {
		if d.t.Meta.Mode == trace.ModeLab && h.ID != "dns" || h.ID == trace.HostClient || h.ID == trace.HostServer {
			d.hosts = append(d.hosts, h)
		}
	}
	if len(d.hosts) < 2 {
		d.hosts = []trace.Host{{ID: trace.HostClient, Name: "client"}, {ID: trace.HostServer, Name: "server"}}
	}
	d.y = 58
	d.text(columnRow, "e soft", "row")
	d.text(columnTime, "e soft", "ms")
	for i, h := range d.hosts {
		x, class := laneFirst+(laneLast-laneFirst)*i/(len(d.hosts)-1), ""
		switch {
		case i == len(d.hosts)-1:
			class = "e "
		case len(d.hosts) > 3: // names of neighbours would run into each other
			d.y += 30 * (i % 2)
		}
		d.lanes[h.ID] = x
		d.text(x-6+12*min(len(class), 1), class+"l ink", cut(h.Name, 200/7))
		if h.Address != "" {
			d.y += 14
			d.text(x-6+12*min(len(class), 1), class+"w soft", h.Address)
		}
		d.y = 58
	}
	if _, own := d.lanes[trace.HostProxy]; !own { // it stands where the page does
		d.lanes[trace.HostProxy] = laneFirst
	}
	d.y = 82
	if len(d.hosts) > 3 {
		d.y += 28
	}
	d.rule()
	d.y += 8
}

// row draws one row.
func (d *drawing) row(r *row) {
	if r.n == 0 {
		d.y += 14
		d.prose(laneFirst+16, "soft", "// "+r.main)
		d.y += 6
		return
	}
	d.y += 14
	d.text(columnRow, "e w soft", fmt.Sprint(r.n))
	d.text(columnTime, "e w ink", milliseconds(r.t))
	color := hue(r)
	if r.event.Layer == trace.LayerSMTP {
		color = "ink"
	}
	d.text(columnTag, "w "+color, tag(r.event.Layer))
	d.glyph(r.event.Src)
	d.y -= 14
	from, known := d.lanes[r.from]
	to, arrives := d.lanes[r.to]
	both := r.event.Kind == trace.KindHandshake || r.event.Kind == trace.KindAlert || r.event.Kind == trace.KindStart
	if !known || !arrives || from == to {
		d.remark(r, from)
		return
	}
	below := 0 // where there is no room beside the text, the arrow is below it
	if len(d.hosts) > 2 {
		below = 13
	}
	if both {
		d.arrow(from, to, hue(r), d.y+8+below, false)
		d.arrow(to, from, hue(r), d.y+13+below, r.bad)
	} else {
		d.arrow(from, to, hue(r), d.y+10+below, r.fate != "" || r.bad)
	}
	if r.event.Kind == trace.KindHandshake {
		d.sealed = d.y + 16 + below
	}
	d.label(r, from, to, below > 0)
	if d.y += rowHeight; below > 0 {
		d.y += tallRow - rowHeight
	}
	d.keywords(r)
}

// remark is a row that goes nowhere: it stands at the lane where it happens.
func (d *drawing) remark(r *row, lane int) {
	d.y += 14
	x, class := max(lane, laneFirst)+12, hue(r)
	if width := span(r.main, proseWidth) + 24; r.event.Layer == trace.LayerMail && x+width > laneLast {
		x = max(laneFirst+12, laneLast-width)
	}
	if r.bad {
		class = "bad b"
		d.cross(x+4, d.y-4)
		x += 14
	}
	d.prose(x, class, strings.Join(spoken(d.t, r), " "))
	d.y += 6
}

// label is the text of a row, on paper that hides what is behind it. Where it has
// the row to itself it stands at the left; beside an arrow, the server's at the right.
func (d *drawing) label(r *row, from, to int, alone bool) {
	class, per := "w "+hue(r), smallWidth
	if r.said() || r.event.Kind == trace.KindHandshake {
		class, per = "w m b "+hue(r), wireWidth
	}
	left, right := min(from, to), max(from, to)
	room := right - left - 24 - leastArrow
	if alone {
		room = laneLast - laneFirst - 24
	}
	width := 0
	fit := func(text string, per float64) string {
		if text = cut(text, int(float64(room-width)/per)); width > 0 && len(text) < 4 {
			return ""
		}
		width += span(text, per) + 8
		return text
	}
	main := fit(r.main, per)
	par := fit(r.par, smallWidth)
	note := fit(strings.Trim(r.note+", "+r.fate, ", "), proseWidth)
	width -= 8

	x := left + 12
	switch {
	case alone:
		x = max(laneFirst+12, min(x, laneLast-12-width))
	case from > to:
		x = min(left+(right-left)*44/100, right-12-width)
	case !r.said() && r.event.Layer == trace.LayerTLS:
		x += 14 // an arrow comes back
	}
	fmt.Fprintf(&d.body, `<rect class="paper" x="%d" y="%d" width="%d" height="16"/>`, x-5, d.y+2, width+10)
	d.y += 14
	d.wire(x, class, main, per)
	x += span(main, per) + 8
	if par != "" {
		d.wire(x, "w "+hue(r), par, smallWidth)
		x += span(par, smallWidth) + 8
	}
	if note != "" {
		color := "soft"
		if r.fate != "" {
			color = "bad b"
		}
		d.text(x, color, note)
	}
	d.y -= 14
}

// keywords lists what a reply to EHLO offers.
func (d *drawing) keywords(r *row) {
	if r.event.Kind != trace.KindReply {
		return
	}
	x, line := min(d.lanes[r.from], d.lanes[r.to])+30, ""
	flush := func() {
		width := span(line, smallWidth)
		x := max(laneFirst+30, min(x, laneLast-30-width))
		fmt.Fprintf(&d.body, `<rect class="paper" x="%d" y="%d" width="%d" height="16"/>`, x-5, d.y, width+10)
		d.y += 12
		d.wire(x, "w in", line, smallWidth)
		d.y += 4
	}
	offered := data[trace.ReplyData](r.event).Extensions
	for _, k := range offered {
		word := cut(strings.Join(append([]string{k.Keyword}, k.Params...), " "), 100)
		if line != "" && span(line+word, smallWidth) > laneLast-laneFirst-80 {
			flush()
			line = ""
		}
		if line != "" {
			line += "   "
		}
		line += word
	}
	if line != "" {
		flush()
		d.y += 4
	}
}

func (d *drawing) arrow(from, to int, color string, y int, stopped bool) {
	side := 1
	if to < from {
		side = -1
	}
	if stopped {
		to = from + (to-from)*2/3
		fmt.Fprintf(&d.body, `<path class="s s-%s" d="M%d %dH%d"/>`, color, from, y, to-7*side)
		d.cross(to, y)
		return
	}
	fmt.Fprintf(&d.body, `<path class="s s-%s" d="M%d %dH%d"/><path class="%s" d="M%d %dl%d -3.5v7z"/>`, color, from, y, to-6*side, color, to-side, y, -8*side)
}

func (d *drawing) cross(x, y int) {
	fmt.Fprintf(&d.body, `<path class="s t s-bad" d="M%d %dl8 8m0 -8l-8 8"/>`, x-4, y-4)
}

// glyph says where an event is known from.
func (d *drawing) glyph(s trace.Source) {
	d.used[s] = true
	d.sign(s, columnGlyph, d.y-4)
}

func (d *drawing) sign(s trace.Source, x, y int) {
	switch s {
	case trace.Observed:
		fmt.Fprintf(&d.body, `<circle class="ink" cx="%d" cy="%d" r="3.5"/>`, x, y)
	case trace.Measured:
		fmt.Fprintf(&d.body, `<circle class="paper s-ink" cx="%[1]d" cy="%[2]d" r="3.5"/><path class="ink" d="M%[1]d %[3]d.5a3.5 3.5 0 0 1 0 7z"/>`, x, y, y-4)
	case trace.Captured:
		fmt.Fprintf(&d.body, `<rect class="ink" x="%d" y="%d" width="7" height="7"/>`, x-3, y-3)
	case trace.Simulated:
		fmt.Fprintf(&d.body, `<path class="s s-ink" d="M%d %dl4 4l-4 4l-4 -4z"/>`, x, y-4)
	default:
		fmt.Fprintf(&d.body, `<path class="s s-ink" d="M%d %dh8m-8 4h8"/>`, x-4, y-2)
	}
}

func (d *drawing) footer() {
	d.rule()
	d.y += 24
	if r := d.t.Result; r != nil {
		switch r.Outcome {
		case trace.Accepted:
			fmt.Fprintf(&d.body, `<path class="s t s-ink" d="M%d %dl3 4l6 -9"/>`, columnRow-26, d.y-5)
		case trace.Rejected, trace.Failed, trace.Unknown:
			d.cross(columnRow-20, d.y-5)
		}
		outcome := strings.ToUpper(string(r.Outcome[:1])) + string(r.Outcome[1:])
		d.text(columnRow-8, "l ink", fmt.Sprintf("%s, at %s: %s, %s", outcome, r.Phase, count(int64(r.RoundTrips), "round trip"), duration(int64(r.Elapsed))))
		for _, m := range r.Messages {
			if m.QueueID != "" {
				d.y += 18
				d.text(columnRow-8, "ink", "queued as "+m.QueueID)
			}
		}
		if r.Error != nil {
			d.y += 18
			d.prose(columnRow-8, "ink", r.Error.Message)
		}
	}
	d.y += 26
	x := columnRow - 22
	for _, s := range []struct {
		source trace.Source
		words  string
	}{{trace.Observed, "observed in the page"}, {trace.Measured, "measured at the proxy"}, {trace.Captured, "captured packet"}, {trace.Simulated, "simulated in the lab"}, {trace.Derived, "derived"}} {
		if d.used[s.source] {
			d.sign(s.source, x, d.y-4)
			d.text(x+10, "soft", s.words)
			x += 10 + span(s.words, proseWidth) + 14
		}
	}
	d.text(laneLast, "e soft", d.t.Meta.Tool)
	d.y += 18
}

func (d *drawing) rule() {
	fmt.Fprintf(&d.body, `<path class="s s-rule" d="M0 %d.5H%d"/>`+"\n", d.y, ladderWidth)
}

// prose is text of several lines; y is that of its last line afterwards.
func (d *drawing) prose(x int, class, text string) {
	per := int(float64(laneLast-12-x) / proseWidth)
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && len(line)+1+len(word) > per {
			d.paperText(x, class, line)
			d.y += 15
			line = ""
		}
		line = strings.TrimPrefix(line+" "+cut(word, per), " ")
	}
	d.paperText(x, class, line)
}

func (d *drawing) paperText(x int, class, text string) {
	fmt.Fprintf(&d.body, `<rect class="paper" x="%d" y="%d" width="%d" height="15"/>`, x-4, d.y-11, min(span(text, proseWidth)+8, ladderWidth-x))
	d.text(x, class, text)
}

func (d *drawing) text(x int, class, text string) {
	fmt.Fprintf(&d.body, `<text x="%d" y="%d" class="%s">%s</text>`+"\n", x, d.y, class, escaped(text))
}

// wire is text in the wire face, as wide as it is meant to be in any font.
func (d *drawing) wire(x int, class, text string, per float64) {
	fmt.Fprintf(&d.body, `<text x="%d" y="%d" class="%s" textLength="%d" lengthAdjust="spacingAndGlyphs">%s</text>`+"\n", x, d.y, class, span(text, per), escaped(text))
}

func hue(r *row) string {
	switch r.event.Layer {
	case trace.LayerSMTP:
		switch {
		case !r.said():
			return "ink"
		case r.event.Kind == trace.KindReply:
			return "in"
		}
		return "out"
	case trace.LayerTunnel, trace.LayerTCP:
		return "tcp"
	case trace.LayerTLS:
		if r.bad {
			return "bad"
		}
		return "tls"
	case trace.LayerDNS:
		return "dns"
	}
	return "ink"
}

func tag(l trace.Layer) string {
	switch l {
	case trace.LayerTunnel:
		return "TCP"
	case trace.LayerMail:
		return "mail"
	case trace.LayerApp:
		return "page"
	}
	return strings.ToUpper(string(l))
}

// span is the width of a text whose characters have that width each.
func span(text string, per float64) int {
	n := 0
	for _, r := range text {
		n++
		if r >= 0x1100 && unicode.In(r, unicode.Han, unicode.Hangul, unicode.Hiragana, unicode.Katakana) {
			n++
		}
	}
	return int(float64(n)*per + 0.5)
}

// cut is no more than n characters of a text.
func cut(text string, n int) string {
	if runes := []rune(text); len(runes) > n {
		return string(runes[:max(n-1, 0)]) + "…"
	}
	return text
}

// escaped is text in XML, safe to show.
func escaped(text string) string {
	var out strings.Builder
	for _, r := range smtp.Escape(text) {
		if strings.ContainsRune(`&<>"'`, r) {
			fmt.Fprintf(&out, "&#%d;", r)
		} else {
			out.WriteRune(r)
		}
	}
	return out.String()
}
