package conformance_test

import (
	"context"
	"encoding/json"
	"net"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"smtpscope/protocol/session"
	"smtpscope/protocol/session/conformance"
	"smtpscope/protocol/session/realservers"
	"smtpscope/protocol/trace"
	"smtpscope/protocol/tunnel"
)

func TestCasesAreNumberedAndNamed(t *testing.T) {
	groups, names, inPage := map[int]int{}, map[string]bool{}, 0
	last := 0
	for _, c := range conformance.Cases() {
		assert.False(t, names[c.Name], "two cases are called %q", c.Name)
		names[c.Name] = true
		groups[c.Group]++
		if c.Page {
			inPage++
		}
		last = max(last, c.Group)
	}
	assert.Equal(t, len(conformance.Groups), last)
	for i, what := range conformance.Groups {
		assert.NotZero(t, groups[i+1], "group %d, %s, has no case", i+1, what)
	}
	assert.GreaterOrEqual(t, inPage, 12)
	t.Logf("%d cases, %d of them in the page", len(names), inPage)
}

// Every case, in one piece and octet by octet.
func TestConformance(t *testing.T) {
	identity, err := realservers.NewIdentity()
	require.NoError(t, err)
	for _, c := range conformance.Cases() {
		t.Run(strconv.Itoa(c.Group)+" "+c.Name, func(t *testing.T) {
			t.Parallel()
			for _, octetwise := range []bool{false, true} {
				if octetwise && c.Whole {
					continue
				}
				t.Run(map[bool]string{false: "whole", true: "octetwise"}[octetwise], func(t *testing.T) {
					switch {
					case c.Slow:
						synctest.Test(t, func(t *testing.T) { runSlow(t, c, identity, octetwise) })
					case c.Want.Error == trace.CodeBadPlan:
						plan, err := c.PlanFor("127.0.0.1", 25, identity.CA)
						require.NoError(t, err)
						_, err = session.ParsePlan(plan)
						require.Error(t, err)
						check(t, c.Want, session.Unrunnable("conformance", err, nil), conformance.Report{})
					default:
						run(t, c, identity, octetwise)
					}
				})
			}
		})
	}
}

func run(t *testing.T, c conformance.Case, identity realservers.Identity, octetwise bool) {
	server, err := conformance.Start(c, identity, octetwise)
	require.NoError(t, err)
	defer server.Stop()
	plan, err := server.Plan()
	require.NoError(t, err)
	tr := play(t, plan, octetwise, func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort(server.Host, strconv.Itoa(server.Port)))
	})
	check(t, c.Want, tr, server.Stop())
}

// runSlow is to be called in a bubble, where the minutes that a client waits are nobody's.
func runSlow(t *testing.T, c conformance.Case, identity realservers.Identity, octetwise bool) {
	plan, err := c.PlanFor("mx.example.net", 25, identity.CA)
	require.NoError(t, err)
	client, server := net.Pipe()
	reports := make(chan conformance.Report)
	go func() { reports <- c.Script.Perform(server, identity.Pair, octetwise) }()
	start := time.Now()
	tr := play(t, plan, octetwise, func(context.Context) (net.Conn, error) { return client, nil })
	assert.GreaterOrEqual(t, time.Since(start), 2*time.Minute, "the least of RFC 5321, 4.5.3.2")
	check(t, c.Want, tr, <-reports)
}

func play(t *testing.T, plan []byte, octetwise bool, dial func(context.Context) (net.Conn, error)) *trace.Trace {
	parsed, err := session.ParsePlan(plan)
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	return session.New(session.Config{Plan: parsed, Tool: "conformance",
		Dial: func(ctx context.Context, _ session.Target, _ func(tunnel.Status)) (net.Conn, error) {
			conn, err := dial(ctx)
			if err == nil && octetwise {
				conn = &oneByOne{conn}
			}
			return conn, err
		}}).Run(ctx)
}

// oneByOne is a connection that hands out one octet at a time.
type oneByOne struct{ net.Conn }

func (c *oneByOne) Read(p []byte) (int, error) { return c.Conn.Read(p[:min(len(p), 1)]) }

func check(t *testing.T, want conformance.Want, tr *trace.Trace, report conformance.Report) {
	require.NoError(t, report.Err, "what the server saw; the result is %+v", tr.Result)
	r := tr.Result
	got := conformance.Want{Outcome: r.Outcome, Phase: r.Phase, Permanent: r.Permanent, Says: want.Says, Message: want.Message, Shows: want.Shows, Oddity: want.Oddity}
	if want.Phase == "" {
		got.Phase = ""
	}
	if r.Error != nil {
		got.Error = r.Error.Code
		assert.Contains(t, r.Error.Message, want.Says)
	}
	if want.Reply != 0 && r.Reply != nil {
		got.Reply = r.Reply.Code
	}
	for _, m := range r.Messages {
		for _, to := range m.Recipients {
			if want.Recipients != nil {
				got.Recipients = append(got.Recipients, to.Outcome)
			}
		}
	}
	assert.Equal(t, want, got, "%+v", r.Error)
	if want.Message != nil {
		assert.True(t, *want.Message == report.Message, "the message has %d octets and begins %.200q", len(report.Message), report.Message)
	}
	var oddities, texts []string
	for _, e := range tr.Events {
		assert.False(t, strings.ContainsFunc(e.Text, unicode.IsControl), "raw control octets in %q", e.Text)
		texts = append(texts, e.Text)
		if e.Kind == trace.KindReply {
			var d trace.ReplyData
			require.NoError(t, json.Unmarshal(e.Data, &d))
			oddities = append(oddities, d.Oddities...)
		}
	}
	if want.Oddity != "" {
		assert.Contains(t, oddities, want.Oddity)
	}
	assert.Contains(t, strings.Join(texts, "\n"), want.Shows)
	saved, err := json.Marshal(tr)
	require.NoError(t, err)
	_, err = trace.Decode(saved)
	assert.NoError(t, err, "the trace can be read back")
}
