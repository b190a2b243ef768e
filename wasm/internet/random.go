package internet

import (
	"crypto/sha256"
	"encoding/binary"
	"math/rand/v2"
	"strings"
	"sync"
)

// chance is a source of seeded randomness. Every host and every direction of a
// link has one of its own, so that what one of them draws leaves the others
// alone. It is an io.Reader and a math/rand.Source, safe for concurrent use.
type chance struct {
	mu  sync.Mutex
	rng *rand.ChaCha8
}

// newChance derives a source from the seed and what it is for.
func newChance(seed int64, labels ...string) *chance {
	h := sha256.New()
	b := binary.BigEndian.AppendUint64(nil, uint64(seed))
	h.Write(append(b, strings.Join(labels, "\x00")...))
	return &chance{rng: rand.NewChaCha8([32]byte(h.Sum(nil)))}
}

func (c *chance) Read(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.rng.Read(p)
}

func (c *chance) Uint64() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.rng.Uint64()
}

// Int63 implements math/rand.Source.
func (c *chance) Int63() int64 { return int64(c.Uint64() >> 1) }

// Seed implements math/rand.Source. The seed is the lab's and stays.
func (c *chance) Seed(int64) {}

// float is uniform in [0, 1).
func (c *chance) float() float64 { return float64(c.Uint64()>>11) / (1 << 53) }
