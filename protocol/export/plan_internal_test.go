package export

import (
	"encoding/json"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"smtpscope/protocol/session"
)

// What is read of a plan is there under the same keys.
func TestPlanHasTheKeysOfASession(t *testing.T) {
	var p plan
	require.NoError(t, json.Unmarshal([]byte(`{"target":{"host":"mx.example.net","port":25},"security":"tls","tls":{"serverName":"a.example","ca":[],"insecure":true},
"ehlo":"b.example","auth":{"mechanism":"PLAIN","username":"ada"},"commands":["NOOP"],"messages":[{"from":"a@b.example","to":["c@d.example"],"data":"x"}],
"options":{"protocol":"smtp","dsn":{"notify":["never"],"ret":"full","envid":"x"}}}`), &p))
	text, err := json.Marshal(p)
	require.NoError(t, err)
	var all map[string]any
	require.NoError(t, json.Unmarshal(text, &all))
	all["target"].(map[string]any)["mode"] = "live"
	all["auth"].(map[string]any)["password"] = "secret"
	delete(all["options"].(map[string]any), "xclient")
	delete(all["options"].(map[string]any), "xforward")
	text, err = json.Marshal(all)
	require.NoError(t, err)
	_, err = session.ParsePlan(text)
	assert.NoError(t, err)
}

func FuzzQuoted(f *testing.F) {
	for _, s := range []string{"", "a b", "it's", "$(x)`y`\\", "\n", "-n", "é\xff", "'''"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		out, err := exec.Command("sh", "-c", "printf %s "+quoted(s)).CombinedOutput()
		require.NoError(t, err)
		want := ""
		for i := range len(s) {
			if s[i] != 0 {
				want += s[i : i+1]
			}
		}
		assert.Equal(t, want, string(out))
	})
}
