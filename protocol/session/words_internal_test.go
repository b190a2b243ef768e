package session

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"smtpscope/protocol/smtp"
)

func TestQueueID(t *testing.T) {
	for said, want := range map[string]string{
		"Ok: queued as 4F2C1A0B3D":                                        "4F2C1A0B3D",
		"OK: queued as xiwovlskf5ptuebzpkmt7feafe":                        "xiwovlskf5ptuebzpkmt7feafe",
		"Ok: queued as <4F2C>.":                                           "4F2C",
		"OK id=1tEabc-000000001Xy-0abc":                                   "1tEabc-000000001Xy-0abc",
		"4AM9abcd012345 Message accepted for delivery":                    "4AM9abcd012345",
		"3c1e6f7a Message accepted for delivery":                          "3c1e6f7a",
		"ok 1699999999 qp 12345":                                          "1699999999",
		"OK  1699999999 5b1f17b1804b1-abc.4 - gsmtp":                      "1699999999",
		"<a@b> [InternalId=7215545057281, Hostname=x] Queued mail for it": "7215545057281",
		"Great success":                                                   "",
		"queued as":                                                       "",
		"Message accepted":                                                "",
		"OK, I have queued the message for you":                           "",
		"":                                                                "",
	} {
		assert.Equal(t, want, queueID(&smtp.Reply{Code: 250, Lines: []string{said}}), said)
	}
	r := &smtp.Reply{Code: 250, Enhanced: smtp.EnhancedCode{Class: 2}, Lines: []string{"2.0.0 4AM9abcd012345 Message accepted for delivery"}}
	assert.Equal(t, "4AM9abcd012345", queueID(r))
}
