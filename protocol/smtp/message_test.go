package smtp

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// sendSlowly is what transparency does, written for reading.
func sendSlowly(text string) (wire string, stats MessageStats) {
	text = strings.ReplaceAll(text, "\r\n", "\x01")
	for _, b := range []string{"\r", "\n"} {
		stats.Normalized += strings.Count(text, b)
		text = strings.ReplaceAll(text, b, "\x01")
	}
	if text != "" && !strings.HasSuffix(text, "\x01") {
		stats.Normalized++
		text += "\x01"
	}
	var b strings.Builder
	for line := range strings.SplitAfterSeq(text, "\x01") {
		line, ended := strings.CutSuffix(line, "\x01")
		if !ended {
			break
		}
		if strings.HasPrefix(line, ".") {
			stats.Stuffed++
			b.WriteString(".")
		}
		stats.Size += int64(len(line)) + 2
		if len(line)+2 > MaxTextLine {
			stats.Long++
		}
		b.WriteString(line + "\r\n")
	}
	return b.String() + ".\r\n", stats
}

// send pulls a message through chunks of some capacity.
func send(text []byte, size int) (string, MessageStats) {
	t := newTransparency(text)
	var wire []byte
	for {
		b, last := t.fill(make([]byte, 0, size))
		wire = append(wire, b...)
		if last {
			return string(wire), t.stats
		}
		if len(b) == 0 {
			return "no progress", t.stats
		}
	}
}

func TestTransparency(t *testing.T) {
	texts := []string{"", ".", "\r", "\n", "\r\n", "\n\r", ".\r.\n.\r\n.", strings.Repeat(".", 50), strings.Repeat("\r", 50), strings.Repeat("x", 3000)}
	r := rand.New(rand.NewPCG(1, 2))
	for range 3000 {
		b := make([]byte, r.IntN(60))
		for i := range b {
			b[i] = "..\r\r\n\nab"[r.IntN(8)]
		}
		texts = append(texts, string(b))
	}
	for _, text := range texts {
		wire, stats := sendSlowly(text)
		for _, size := range []int{8, 9, 10, 13, 64, 4096} {
			got, gotStats := send([]byte(text), size)
			require.Equal(t, wire, got, "%q in chunks of %d", text, size)
			require.Equal(t, stats, gotStats, "%q in chunks of %d", text, size)
		}
		require.Equal(t, stats, Measure([]byte(text)), "%q", text)
	}
}

func TestMessageIsMadeInChunks(t *testing.T) {
	text := bytes.Repeat([]byte(".twelve bytes\n"), 50_000)
	wire, stats := sendSlowly(string(text))
	c, _ := run(t, inData, 0, whole)
	h, err := c.Submit(Message(text))
	require.NoError(t, err)
	var got []byte
	var chunks int
	for e := c.Next(); e != nil; e = c.Next() {
		switch e := e.(type) {
		case *Output:
			require.LessOrEqual(t, len(e.Bytes), MaxChunk)
			require.Equal(t, h, e.Handle)
			require.Equal(t, chunks == 0, e.First)
			got = append(got, e.Bytes...)
			chunks++
			require.Equal(t, len(got) == len(wire), e.Last)
			if e.Last {
				require.Equal(t, &stats, e.Message)
			} else {
				require.Nil(t, e.Message)
				require.Equal(t, StateData, c.State())
				require.Len(t, c.events, 0, "no chunk is made before it is wanted")
			}
		}
	}
	assert.Equal(t, wire, string(got))
	assert.Equal(t, len(wire)/MaxChunk+1, chunks)
	assert.Equal(t, StateMessage, c.State())
}

func BenchmarkTransparency(b *testing.B) {
	lines := map[string]string{
		"76 CRLF":  strings.Repeat("x", 76) + "\r\n",
		"76 LF":    strings.Repeat("x", 76) + "\n",
		"dots":     "." + strings.Repeat("x", 75) + "\r\n",
		"prose":    "Dear Charles,\r\n\r\nthe Analytical Engine weaves algebraical patterns,\r\njust as the Jacquard loom weaves flowers and leaves.\r\n",
		"998 CRLF": strings.Repeat("x", 998) + "\r\n",
		"CR only":  "\r", // must not search the whole rest for LF each time
	}
	for _, name := range []string{"76 CRLF", "76 LF", "dots", "prose", "998 CRLF", "CR only"} {
		text := bytes.Repeat([]byte(lines[name]), 8<<20/len(lines[name]))
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				c := Client{state: StateData, message: newTransparency(text), pending: []pending{{handle: 1, verb: VerbMessage}}}
				for c.message != nil {
					c.Next()
				}
			}
		})
		b.Run(name+" measure", func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				Measure(text)
			}
		})
	}
}

func ExampleMeasure() {
	fmt.Printf("%+v\n", Measure([]byte("Subject: dots\n\n.\nbye")))
	// Output: {Size:25 Stuffed:1 Normalized:4 Long:0}
}
