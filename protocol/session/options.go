package session

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"smtpscope/protocol/smtp"
)

// Options are the extensions to use. One that is asked for and not offered is
// remarked upon in the trace and left out, unless the message is not what was meant
// without it: then it is refused before MAIL, in words.
type Options struct {
	Size bool `json:"size"` // declare the size in MAIL where the server offers SIZE (RFC 1870); default true
	// Body is "7bit", "8bitmime", or "" to declare what the message needs (RFC 6152);
	// "binarymime" sends it octet by octet as it is, which needs chunking (RFC 3030, 3).
	Body       string `json:"body"`
	Pipelining bool   `json:"pipelining"` // send the commands of a mail transaction in groups where the server offers PIPELINING (RFC 2920)
	Chunking   bool   `json:"chunking"`   // BDAT in place of DATA where the server offers CHUNKING (RFC 3030)
	SMTPUTF8   bool   `json:"smtputf8"`   // addresses and header fields may have UTF-8; declared where one has (RFC 6531)
	RequireTLS bool   `json:"requiretls"` // every server on the way uses TLS, or returns the message (RFC 8689)
	RSET       bool   `json:"rset"`       // between two mail transactions, where nothing asks for it (RFC 5321, 4.1.1.5)
	Protocol   string `json:"protocol"`   // "smtp" or "lmtp" (RFC 2033)
	DSN        DSN    `json:"dsn,omitzero"`
	// DeliverBy is the BY parameter of RFC 2852, 4: seconds, and R to return the message
	// afterwards or N to notify its sender, "120;R"; a T behind them asks for a trace.
	DeliverBy string `json:"deliverby,omitzero"`
	Priority  int    `json:"priority,omitzero"` // -9 to 9, of MT-PRIORITY (RFC 6710); 0 is that of any message
	Hold      string `json:"hold,omitzero"`     // release in "3600" seconds, or at "2026-12-24T18:00:00Z" (FUTURERELEASE, RFC 4865)
	RRVS      string `json:"rrvs,omitzero"`     // recipients are refused that others have owned since "2026-01-01T00:00:00Z" (RFC 7293)
	// What the server shall believe of this client, and log of it: attributes of Postfix's
	// XCLIENT and XFORWARD, in upper case; never sent to a live server.
	XClient  map[string]string `json:"xclient,omitempty"`
	XForward map[string]string `json:"xforward,omitempty"`
}

// DSN asks for delivery status notifications (RFC 3461). With any of it each
// recipient also gets its ORCPT.
type DSN struct {
	Notify []string `json:"notify"` // "never", or some of "success", "failure" and "delay" (4.1)
	Ret    string   `json:"ret"`    // what a notification returns of the message: "full" or "hdrs" (4.3)
	EnvID  string   `json:"envid"`  // names the transaction in them (4.4)
}

func (d DSN) asked() bool { return len(d.Notify) > 0 || d.Ret != "" || d.EnvID != "" }

const (
	binaryMIME = "binarymime" // a value of Options.Body
	lmtp       = "lmtp"       // a value of Options.Protocol
)

const (
	maxEnvID = 100       // octets of the parameter's value (RFC 3461, 4.4)
	maxTime  = 999999999 // seconds, the nine digits of RFC 2852, 4 and RFC 4865
)

func (o Options) check() error {
	switch {
	case !slices.Contains([]string{"", "7bit", "8bitmime", binaryMIME}, o.Body):
		return fmt.Errorf(`options.body: %q is unknown; want "7bit", "8bitmime" or "binarymime"`, o.Body)
	case o.Body == binaryMIME && !o.Chunking:
		return errors.New(`options.body: "binarymime" can only be sent by BDAT (RFC 3030, 3): say options.chunking true`)
	case o.Protocol != "smtp" && o.Protocol != lmtp:
		return fmt.Errorf(`options.protocol: %q is unknown; want "smtp" or "lmtp"`, o.Protocol)
	case o.Priority < -9 || o.Priority > 9:
		return fmt.Errorf("options.priority: %d is not between -9 and 9 (RFC 6710)", o.Priority)
	}
	if err := o.DSN.check(); err != nil {
		return err
	}
	if o.DeliverBy != "" {
		if _, _, err := deliverBy(o.DeliverBy); err != nil {
			return fmt.Errorf("options.deliverby: %w", err)
		}
	}
	if o.Hold != "" {
		if _, _, err := hold(o.Hold); err != nil {
			return fmt.Errorf("options.hold: %w", err)
		}
	}
	if _, err := time.Parse(time.RFC3339, o.RRVS); o.RRVS != "" && err != nil {
		return fmt.Errorf(`options.rrvs: %q; want a time like "2026-01-01T00:00:00Z" (RFC 7293)`, o.RRVS)
	}
	for key, x := range map[string]map[string]string{"xclient": o.XClient, "xforward": o.XForward} {
		for attribute, value := range x {
			if _, err := smtp.Xclient(attribute + "=" + smtp.Xtext(value)); err != nil {
				return fmt.Errorf("options.%s: %w", key, err)
			}
		}
	}
	return nil
}

func (d DSN) check() error {
	for i, n := range d.Notify {
		switch {
		case !slices.Contains([]string{"never", "success", "failure", "delay"}, n):
			return fmt.Errorf(`options.dsn.notify[%d]: %q is unknown; want "never", "success", "failure" or "delay"`, i, n)
		case n == "never" && len(d.Notify) > 1:
			return fmt.Errorf(`options.dsn.notify[%d]: "never" stands alone (RFC 3461, 4.1)`, i)
		case slices.Contains(d.Notify[:i], n):
			return fmt.Errorf("options.dsn.notify[%d]: %q comes twice; say it once", i, n)
		}
	}
	if !slices.Contains([]string{"", "full", "hdrs"}, d.Ret) {
		return fmt.Errorf(`options.dsn.ret: %q is unknown; want "full" or "hdrs"`, d.Ret)
	}
	if strings.ContainsFunc(d.EnvID, func(r rune) bool { return r < ' ' || r > 0x7e }) {
		return fmt.Errorf("options.dsn.envid: %q is not printable ASCII (RFC 3461, 4.4)", d.EnvID)
	}
	if n := len(smtp.Xtext(d.EnvID)); n > maxEnvID {
		return fmt.Errorf("options.dsn.envid: it has %d octets as xtext, the limit is %d (RFC 3461, 4.4)", n, maxEnvID)
	}
	return nil
}

// deliverBy reads Options.DeliverBy.
func deliverBy(text string) (seconds int, returns bool, err error) {
	by, mode, _ := strings.Cut(strings.ToUpper(text), ";")
	digits := strings.TrimPrefix(strings.TrimPrefix(by, "-"), "+")
	seconds, err = strconv.Atoi(by)
	switch {
	case err != nil || len(digits) > 9 || !slices.Contains([]string{"R", "N", "RT", "NT"}, mode):
		return 0, false, fmt.Errorf(`%q; want seconds and what to do then, like "120;R" (RFC 2852, 4)`, text)
	case mode[0] == 'R' && seconds <= 0:
		return 0, false, fmt.Errorf("%q; a message that is to be returned needs a time above 0 (RFC 2852, 4)", text)
	}
	return seconds, mode[0] == 'R', nil
}

// hold reads Options.Hold: seconds, or else a time.
func hold(text string) (seconds int, until time.Time, err error) {
	if seconds, err = strconv.Atoi(text); err == nil && seconds > 0 && seconds <= maxTime {
		return seconds, time.Time{}, nil
	}
	if until, err = time.Parse(time.RFC3339, text); err != nil {
		return 0, time.Time{}, fmt.Errorf(`%q; want seconds, or a time like "2026-12-24T18:00:00Z" (RFC 4865)`, text)
	}
	return 0, until, nil
}
