package smtp

import (
	"math"
	"slices"
	"strconv"
	"strings"
)

// Server is what the server told about itself. All of it is forgotten when TLS
// starts, because anyone could have said it (RFC 3207, 4.2).
type Server struct {
	Greeting *Reply // nil before the greeting and after TLS has started
	// Domain is how the server named itself in its reply to EHLO or HELO,
	// escaped; "" before.
	Domain string
	// Extensions are in the order of the EHLO reply; AUTH in all its spellings is one.
	Extensions []Extension
}

// Extension is a line of the EHLO reply (RFC 5321, 4.1.1.1).
type Extension struct {
	Keyword string // upper case
	Params  []string
}

// Ext looks up an extension, in any case of its keyword.
func (s *Server) Ext(keyword string) (params []string, ok bool) {
	for _, e := range s.Extensions {
		if strings.EqualFold(e.Keyword, keyword) {
			return e.Params, true
		}
	}
	return nil, false
}

// Offers tells whether an extension is there, in any case of its keyword.
func (s *Server) Offers(keyword string) bool {
	_, ok := s.Ext(keyword)
	return ok
}

// MaxSize is the largest message that the server takes (RFC 1870, 4). Not ok:
// it does not say. 0: it says that there is no fixed limit.
func (s *Server) MaxSize() (octets int64, ok bool) {
	params, _ := s.Ext("SIZE")
	if len(params) == 0 || strings.Trim(params[0], "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseInt(params[0], 10, 64)
	if err != nil {
		// Up to 20 digits are legal: more than any message will have.
		return math.MaxInt64, true
	}
	return n, true
}

// Limits are what the server will take (RFC 9422, 4); 0 is no limit that it names.
type Limits struct {
	MailMax       int // transactions in a session
	RcptMax       int // recipients in a transaction
	RcptDomainMax int // domains of recipients in a transaction
}

// Limits reads the parameters of LIMITS. One that is not well-formed makes all of
// them worthless; one that is not known is ignored (RFC 9422).
func (s *Server) Limits() Limits {
	var l Limits
	params, _ := s.Ext("LIMITS")
	for _, p := range params {
		name, value, _ := strings.Cut(p, "=")
		if value == "" || name == "" || strings.Trim(strings.ToUpper(name), "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") != "" {
			return Limits{}
		}
		var limit *int
		switch strings.ToUpper(name) {
		case "MAILMAX":
			limit = &l.MailMax
		case "RCPTMAX":
			limit = &l.RcptMax
		case "RCPTDOMAINMAX":
			limit = &l.RcptDomainMax
		default:
			continue
		}
		n, err := strconv.Atoi(value)
		if err != nil || value[0] < '1' || value[0] > '9' || len(value) > 6 {
			return Limits{}
		}
		*limit = n
	}
	return l
}

// introduce reads the reply to EHLO or HELO: the server's name, then one
// extension a line. It reports whether every line was one.
func (s *Server) introduce(lines []string) (clean bool) {
	domain, _, _ := strings.Cut(lines[0], " ")
	s.Domain = Escape(domain)
	clean = true
	for _, line := range lines[1:] {
		e, ok := parseExtension(line)
		if !ok {
			clean = false
			continue
		}
		s.add(e)
	}
	return clean
}

// add appends an extension. AUTH may come twice, in the form of RFC 4954 and as
// the "AUTH=" that preceded it, with mechanisms that differ: they are merged.
func (s *Server) add(e Extension) {
	if e.Keyword == "AUTH" {
		for i := range s.Extensions {
			if have := &s.Extensions[i]; have.Keyword == "AUTH" {
				for _, p := range e.Params {
					if !slices.ContainsFunc(have.Params, func(h string) bool { return strings.EqualFold(h, p) }) {
						have.Params = append(have.Params, p)
					}
				}
				return
			}
		}
	}
	s.Extensions = append(s.Extensions, e)
}

// parseExtension reads ehlo-line of RFC 5321, 4.1.1.1.
func parseExtension(line string) (e Extension, ok bool) {
	words := strings.FieldsFunc(line, func(r rune) bool { return r == ' ' })
	if len(words) == 0 {
		return e, false
	}
	e = Extension{Keyword: strings.ToUpper(words[0]), Params: words[1:]}
	if first, found := strings.CutPrefix(e.Keyword, "AUTH="); found {
		e.Keyword = "AUTH"
		if first != "" {
			e.Params = append([]string{words[0][len("AUTH="):]}, e.Params...)
		}
	}
	if !isKeyword(e.Keyword) {
		return e, false
	}
	for _, p := range e.Params {
		if strings.ContainsFunc(p, func(r rune) bool { return r < 33 || r > 126 }) {
			return e, false
		}
	}
	return e, true
}
