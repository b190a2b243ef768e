package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The program must take the settings that it is deployed with.
func TestDeployedSettings(t *testing.T) {
	o, err := parse([]string{"--config", "deploy/smtpscope.conf"})
	require.NoError(t, err)
	assert.Equal(t, "127.0.0.1:8025", o.listen, "a web server is in front")
	assert.Equal(t, "127.0.0.1:9025", o.metrics)
	unit, err := os.ReadFile("deploy/smtpscope.service")
	require.NoError(t, err)
	seconds := regexp.MustCompile(`(?m)^TimeoutStopSec=(\d+)s$`).FindSubmatch(unit)
	require.NotNil(t, seconds)
	stop, err := strconv.Atoi(string(seconds[1]))
	require.NoError(t, err)
	assert.Greater(t, time.Duration(stop)*time.Second, o.drain+10*time.Second, "the drain ends before the kill")

	o, err = parse([]string{"--config", "deploy/kubernetes/smtpscope.conf"})
	require.NoError(t, err)
	assert.Equal(t, "json", o.log)
	assert.Equal(t, time.Minute, o.drain)
	assert.Equal(t, 256, o.maxTunnels, "what the memory limit of the pods is reckoned for")
}

// analyze runs systemd-analyze on the unit after change, with a program that exists on this machine.
func analyze(t *testing.T, change func(string) string, args ...string) (string, error) {
	t.Helper()
	tool, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("NOT RUN: systemd-analyze is missing (package systemd)")
	}
	text, err := os.ReadFile("deploy/smtpscope.service")
	require.NoError(t, err)
	self, err := os.Executable()
	require.NoError(t, err)
	unit := filepath.Join(t.TempDir(), "smtpscope.service")
	changed := change(strings.ReplaceAll(string(text), "/usr/local/bin/smtpscope", self))
	require.NoError(t, os.WriteFile(unit, []byte(changed), 0o600))
	out, err := exec.CommandContext(t.Context(), tool, append(args, unit)...).CombinedOutput()
	return string(out), err
}

func TestUnitIsValid(t *testing.T) {
	same := func(unit string) string { return unit }
	out, err := analyze(t, same, "verify")
	require.NoError(t, err, out)
	assert.Empty(t, out)
	out, _ = analyze(t, func(unit string) string { return strings.Replace(unit, "ProtectHome=yes", "ProtectHouse=yes", 1) }, "verify")
	assert.Contains(t, out, "ProtectHouse", "a mistake is seen")
}

// The lines for captures are comments; they must be right when somebody takes them.
func TestUnitForCaptures(t *testing.T) {
	capturing := func(unit string) string {
		for _, line := range regexp.MustCompile(`(?m)^#((\w+)=.*)$`).FindAllStringSubmatch(unit, -1) {
			unit = regexp.MustCompile(`(?m)^`+line[2]+`=.*\n`).ReplaceAllString(unit, "")
			unit = strings.Replace(unit, line[0], line[1], 1)
		}
		require.Contains(t, unit, "\nAmbientCapabilities=CAP_NET_RAW\n")
		require.NotContains(t, unit, "\nAmbientCapabilities=\n")
		return unit
	}
	out, err := analyze(t, capturing, "verify")
	require.NoError(t, err, out)
	assert.Empty(t, out)
	out, err = analyze(t, capturing, "security", "--offline=true", "--threshold=25")
	assert.NoError(t, err, out)
}

func TestUnitIsHardened(t *testing.T) {
	const most = "--threshold=15" // 1.5 of 10, where 10 is no protection at all
	same := func(unit string) string { return unit }
	out, err := analyze(t, same, "security", "--offline=true", most)
	assert.NoError(t, err, out)
	out, err = analyze(t, func(unit string) string {
		return strings.Replace(unit, "\nSystemCallFilter=@system-service\n", "\n", 1)
	}, "security", "--offline=true", most)
	assert.Error(t, err, "a protection that is missing is seen: %s", out)
}
