package export

import (
	"cmp"
	"encoding/json"
	"fmt"

	"smtpscope/protocol/trace"
)

// plan is what of a session's plan another program can be told. Package session
// has all of it, and what it takes to run one.
type plan struct {
	Target struct {
		Host   string `json:"host"`
		Domain string `json:"domain"` // whose mail servers were tried
		Port   int    `json:"port"`
	} `json:"target"`
	Security string `json:"security"`
	TLS      struct {
		ServerName string   `json:"serverName"`
		CA         []string `json:"ca"`
		Insecure   bool     `json:"insecure"`
	} `json:"tls"`
	EHLO string `json:"ehlo"`
	Auth *struct {
		Mechanism string `json:"mechanism"`
		Username  string `json:"username"`
	} `json:"auth"`
	Commands []string  `json:"commands"`
	Messages []message `json:"messages"`
	Options  struct {
		Body       string `json:"body"`
		Pipelining bool   `json:"pipelining"`
		Chunking   bool   `json:"chunking"`
		SMTPUTF8   bool   `json:"smtputf8"`
		RequireTLS bool   `json:"requiretls"`
		Protocol   string `json:"protocol"`
		DSN        struct {
			Notify []string `json:"notify"`
			Ret    string   `json:"ret"`
			EnvID  string   `json:"envid"`
		} `json:"dsn"`
		DeliverBy string            `json:"deliverby"`
		Priority  int               `json:"priority"`
		Hold      string            `json:"hold"`
		RRVS      string            `json:"rrvs"`
		XClient   map[string]string `json:"xclient"`
		XForward  map[string]string `json:"xforward"`
	} `json:"options"`
}

type message struct {
	From string   `json:"from"`
	To   []string `json:"to"`
	Data string   `json:"data"`
}

// planOf reads the plan of a trace; one that is not there says nothing. Where it
// names a domain, its host is the mail server that was tried last.
func planOf(t *trace.Trace) (p plan) {
	_ = json.Unmarshal(t.Meta.Plan, &p) // likewise one that says something else
	if p.Target.Domain == "" {
		return p
	}
	for i := range t.Events {
		if e := &t.Events[i]; e.Layer == trace.LayerTunnel {
			p.Target.Host = cmp.Or(data[trace.TunnelData](e).Host, p.Target.Host)
		}
	}
	p.TLS.ServerName = cmp.Or(p.TLS.ServerName, p.Target.Host)
	return p
}

// where is the server that the plan names, else the trace.
func (p plan) where(t *trace.Trace) string {
	switch {
	case p.Target.Host == "":
		return name(t, trace.HostServer)
	case p.Target.Domain != "":
		return fmt.Sprintf("%s, port %d, for %s", p.Target.Host, p.Target.Port, p.Target.Domain)
	}
	return fmt.Sprintf("%s, port %d", p.Target.Host, p.Target.Port)
}
