//go:build js && wasm

package bridge

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestNFKC(t *testing.T) {
	for in, want := range map[string]string{"": "", "engine": "engine", "Ⅸ": "IX", "u\u0308": "ü", "ﬁ\u00aa": "fia", "\U0001d400": "A"} {
		assert.Equal(t, want, NFKC(in))
	}
}
