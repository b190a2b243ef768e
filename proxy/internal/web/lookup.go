package web

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"

	"smtpscope/protocol/tunnel"
)

const (
	lookupPath = "/api/v1/lookup"
	mtaSTSPath = "/api/v1/mta-sts"
)

// sendLookup answers a question to the DNS.
func (s *Web) sendLookup(w http.ResponseWriter, r *http.Request) {
	s.inquire(w, r, func() (any, error) {
		asked := r.URL.Query()
		return s.config.Lookup.Lookup(r.Context(), asked.Get("name"), asked.Get("type"))
	})
}

// sendMTASTS answers with the MTA-STS policy of a domain.
func (s *Web) sendMTASTS(w http.ResponseWriter, r *http.Request) {
	s.inquire(w, r, func() (any, error) {
		return s.config.Lookup.MTASTS(r.Context(), r.URL.Query().Get("domain"))
	})
}

// inquire answers in JSON with what find gives, or with a tunnel.Error that says
// why there is none. It finds out for its own pages and for programs, not for
// the pages of other sites.
func (s *Web) inquire(w http.ResponseWriter, r *http.Request, find func() (any, error)) {
	if s.config.Lookup == nil {
		plain(w, http.StatusNotFound, "This server looks nothing up. It does so for the mail servers that it may connect to: start smtpscope with --allow or --public, and without --token-key.\n")
		return
	}
	if !s.mayAsk(r) {
		refuse(w, &tunnel.Error{Code: tunnel.CodeDenied, Rule: "origin",
			Message: "Pages of other sites may not look names up here (rule origin). The operator of this proxy can permit it with --origin and the address of the page."})
		return
	}
	if s.config.AdmitQuestion != nil {
		admitted, denial := s.config.AdmitQuestion(r.RemoteAddr)
		if denial != nil {
			refuse(w, denial)
			return
		}
		defer admitted.Close()
	}
	found, err := find()
	if err != nil {
		var e *tunnel.Error
		if !errors.As(err, &e) {
			s.config.Logger.Error("look-up failed", "error", err)
			e = &tunnel.Error{Code: tunnel.CodeNoRoute, Message: "The look-up failed. The log of this proxy says why."}
		}
		refuse(w, e)
		return
	}
	sendJSON(w, http.StatusOK, found)
}

// mayAsk keeps other sites from having visitors of this page, or its operator,
// ask for them. Browsers tell where a request comes from; one that tells
// nothing is a program, or of this very page.
func (s *Web) mayAsk(r *http.Request) bool {
	if len(r.Header.Values("Origin")) > 0 {
		return s.config.Guard.CheckOrigin(r) == nil
	}
	site := r.Header.Get("Sec-Fetch-Site")
	return site == "" || site == "same-origin" || site == "none"
}

func refuse(w http.ResponseWriter, e *tunnel.Error) {
	status := http.StatusBadGateway
	switch e.Code {
	case tunnel.CodeBadRequest:
		status = http.StatusBadRequest
	case tunnel.CodeDenied:
		status = http.StatusForbidden
	case tunnel.CodeQuota, tunnel.CodeTooMany:
		status = http.StatusTooManyRequests
	case tunnel.CodeTimeout:
		status = http.StatusGatewayTimeout
	}
	if e.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(e.RetryAfter))
	}
	sendJSON(w, status, e)
}

func sendJSON(w http.ResponseWriter, status int, value any) {
	body, err := json.Marshal(value)
	if err != nil {
		plain(w, http.StatusInternalServerError, "The answer could not be written down.\n")
		return
	}
	answer(w, status, "application/json", append(body, '\n'))
}
