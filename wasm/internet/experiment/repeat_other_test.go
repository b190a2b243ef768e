//go:build !js

package experiment

import (
	"testing"
	"testing/cryptotest"

	"github.com/stretchr/testify/require"

	"smtpscope/protocol/trace"
)

// With TLS and SCRAM, the same is true where randomness is seeded, as it is in the page.
func TestSameSeedSameTLS(t *testing.T) {
	var first string
	for i := range 3 {
		t.Run("", func(t *testing.T) {
			cryptotest.SetGlobalRandom(t, 1)
			tr := run(t, base(settings{"security": "starttls", "link": troubled, "lab": settings{"route": "submission"},
				"auth": settings{"mechanism": "SCRAM-SHA-256-PLUS", "username": Username, "password": Password}}))
			require.Equal(t, trace.Accepted, tr.Result.Outcome)
			d := digest(t, tr)
			if i == 0 {
				first = d
			}
			require.Equal(t, first, d)
		})
	}
}
