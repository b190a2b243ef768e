package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func settingsFile(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "smtpscope.conf")
	require.NoError(t, os.WriteFile(name, []byte(text), 0o600))
	return name
}

func TestSettingsFile(t *testing.T) {
	name := settingsFile(t, `# who may use it
listen = [::1]:9000
  origin=https://a.example https://b.example

allow = mx.example.net:25,587
allow = *.example.org:25
practice = false
max-tunnels = 7
idle = 1m
session = 2m
`)
	o, err := parse([]string{"--config", name})
	require.NoError(t, err)
	assert.Equal(t, "[::1]:9000", o.listen)
	assert.Equal(t, "https://a.example https://b.example", o.origins.String())
	assert.Equal(t, "mx.example.net:25,587 *.example.org:25", o.allow.String())
	assert.False(t, o.practice)
	assert.Equal(t, 7, o.maxTunnels)
	assert.Equal(t, time.Minute, o.idle)
	assert.Equal(t, 2*time.Minute, o.session)
	assert.Equal(t, 10*time.Second, o.drain, "the default")

	t.Setenv("SMTPSCOPE_CONFIG", name)
	t.Setenv("SMTPSCOPE_ALLOW", "mx.example.com:25")
	t.Setenv("SMTPSCOPE_IDLE", "3m")
	o, err = parse([]string{"--idle", "4m", "--practice"})
	require.NoError(t, err)
	assert.Equal(t, 4*time.Minute, o.idle, "a flag replaces environment and file")
	assert.True(t, o.practice, "a flag replaces the file")
	assert.Equal(t, "mx.example.com:25", o.allow.String(), "the environment replaces the file")
	assert.Equal(t, 7, o.maxTunnels)
}

func TestSettingsErrors(t *testing.T) {
	for _, tt := range []struct{ name, text, says string }{
		{"no value", "\n\nlisten", `:3: "listen" is no setting: write it as in listen = 127.0.0.1:8025`},
		{"unknown", "# x\nlisten = 127.0.0.1:1\nlisen = 127.0.0.1:2", `:3: there is no setting "lisen"`},
		{"dashes", "--listen = 127.0.0.1:1", `:1: there is no setting "--listen": the names are those of the flags without dashes`},
		{"empty", "drain =", ":1: drain has no value"},
		{"twice", "idle = 1m\n\nidle = 2m", ":3: idle was set on line 1 already"},
		{"bad duration", "idle = soon", `:1: invalid value "soon" of idle`},
		{"bad target", "allow = a.example:25\nallow = mx.example.net", `:2: invalid value "mx.example.net" of allow`},
		{"another file", "config = other", ":1: config can be given on the command line only"},
		{"version", "version = true", ":1: version can be given on the command line only"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			name := settingsFile(t, tt.text)
			_, err := parse([]string{"--config", name})
			require.Error(t, err)
			assert.Contains(t, err.Error(), name+tt.says)
		})
	}
	_, err := parse([]string{"--config", filepath.Join(t.TempDir(), "missing.conf")})
	assert.ErrorContains(t, err, "--config: open ")
	assert.ErrorIs(t, err, os.ErrNotExist)
	_, err = parse([]string{"--config", t.TempDir()})
	assert.ErrorContains(t, err, "is a directory")
}
