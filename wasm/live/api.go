//go:build js && wasm

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"smtpscope/protocol/trace"
	"smtpscope/protocol/tunnel"
	"smtpscope/wasm/bridge"
)

// api is what the proxy can be asked by HTTP: its address up to the name of the question.
type api string

func (a api) lookup(ctx context.Context, name, recordType string) (*trace.LookupData, error) {
	d := new(trace.LookupData)
	return d, a.ask(ctx, "lookup?name="+url.QueryEscape(name)+"&type="+recordType, d)
}

func (a api) policy(ctx context.Context, domain string) (*trace.PolicyData, error) {
	d := new(trace.PolicyData)
	return d, a.ask(ctx, "mta-sts?domain="+url.QueryEscape(domain), d)
}

const (
	// askWait bounds a question; the proxy gives up before that, and says so.
	askWait = 20 * time.Second
	// maxRefusal is how much is shown of a refusal that is none of the proxy's own.
	maxRefusal = 300
)

func (a api) ask(session context.Context, question string, answer any) error {
	ctx, cancel := context.WithTimeout(session, askWait)
	defer cancel()
	body, err := bridge.Fetch(ctx, string(a)+question)
	var refusal *bridge.StatusError
	switch {
	case errors.As(err, &refusal):
		var e tunnel.Error
		if json.Unmarshal(refusal.Body, &e) == nil && e.Message != "" {
			return &e
		}
		code := tunnel.CodeDenied
		if refusal.Status >= 500 { // something between here and the proxy
			code = tunnel.CodeNoRoute
		}
		words := strings.ToValidUTF8(string(refusal.Body[:min(len(refusal.Body), maxRefusal)]), "")
		return &tunnel.Error{Code: code, Message: fmt.Sprintf("%v. %s", refusal, strings.TrimSpace(words))}
	case err != nil && ctx.Err() != nil && session.Err() == nil:
		return &tunnel.Error{Code: tunnel.CodeTimeout, Message: fmt.Sprintf("The smtpscope program behind this page did not answer within %v. Try again; if it stays so, look at its log.", askWait)}
	case err != nil && ctx.Err() != nil:
		return errors.New("It was not waited for: the session was over.")
	case err != nil:
		return fmt.Errorf("The smtpscope program behind this page cannot be asked. See that it runs. (%w)", err)
	}
	if err := json.Unmarshal(body, answer); err != nil {
		return fmt.Errorf("What answers at %s is not smtpscope, or of another version: %w", a, err)
	}
	return nil
}
