package tunnel

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestFramesRoundTrip(t *testing.T) {
	page, proxy := NewPage(), NewProxy()
	pass := func(from, to *Half, build func() ([]byte, error)) Frame {
		t.Helper()
		message, err := build()
		require.NoError(t, err)
		f, err := to.Receive(message)
		require.NoError(t, err)
		return f
	}
	open := Open{Host: "mx.example.net", Port: 25, Token: "t", Wants: []string{WantTCPInfo, WantPackets}}
	status := Status{Stage: StageOpened, Host: "mx.example.net", Port: 25, Addresses: []string{"192.0.2.1", "2001:db8::1"},
		Address: "192.0.2.1:25", Local: "198.51.100.7:40000", Resolve: time.Millisecond, Connect: 2 * time.Millisecond, Session: "K7QM2ZPVATNB"}
	sample := Status{Stage: StageSample, Sample: &Sample{State: "ESTABLISHED", RTT: 40 * time.Millisecond, RTTVar: 5 * time.Millisecond, MinRTT: 39 * time.Millisecond,
		RTO: 240 * time.Millisecond, CongestionWindow: 10, SlowStartThreshold: 7, MSS: 1448, Unacked: 3, InFlight: 4000, Retransmits: 1,
		DeliveryRate: 125_000, SendWindow: 65_535, ReceiveWindow: 64_256, SendScale: 7, ReceiveScale: 8}}
	packet := Packet{Time: time.Unix(1700000000, 123456789), IP: []byte{0x45, 0}}
	failure := &Error{Code: CodeQuota, Message: "Too many <sessions> from this address.", Rule: "per-ip", RetryAfter: 60}

	assert.Equal(t, &open, pass(page, proxy, func() ([]byte, error) { return page.AppendOpen(nil, open) }).Open)
	assert.Equal(t, uint32(100), pass(page, proxy, func() ([]byte, error) { return page.AppendCredit(nil, 100) }).Credit)
	assert.Equal(t, &status, pass(proxy, page, func() ([]byte, error) { return proxy.AppendStatus(nil, status) }).Status)
	assert.Equal(t, &sample, pass(proxy, page, func() ([]byte, error) { return proxy.AppendStatus(nil, sample) }).Status)
	got := pass(proxy, page, func() ([]byte, error) { return proxy.AppendPacket(nil, packet) }).Packet
	assert.True(t, got.Time.Equal(packet.Time))
	assert.Equal(t, packet.IP, got.IP)
	data := []byte("?220 ready\r\n")
	assert.Equal(t, []byte("220 ready\r\n"), pass(proxy, page, func() ([]byte, error) { return data, proxy.FrameData(data) }).Data)
	assert.Equal(t, TypeEOF, pass(proxy, page, func() ([]byte, error) { return proxy.AppendEOF(nil) }).Type)
	assert.Equal(t, failure, pass(proxy, page, func() ([]byte, error) { return proxy.AppendError(nil, failure) }).Error)
}

func TestWireForm(t *testing.T) {
	for _, tt := range []struct {
		name  string
		build func(dst []byte) ([]byte, error)
		want  string
	}{
		{"open", func(dst []byte) ([]byte, error) { return NewPage().AppendOpen(dst, Open{Host: "a", Port: 25}) }, "\x01" + `{"host":"a","port":25}`},
		{"status", func(dst []byte) ([]byte, error) {
			return askedProxy().AppendStatus(dst, Status{Stage: StageDialing, Address: "192.0.2.1:25", Resolve: 1500})
		}, "\x02" + `{"stage":"dialing","address":"192.0.2.1:25","resolve":1500}`},
		{"sample", func(dst []byte) ([]byte, error) {
			return openedProxy().AppendStatus(dst, Status{Stage: StageSample, Sample: &Sample{State: "ESTABLISHED", RTT: 40e6, CongestionWindow: 10}})
		}, "\x02" + `{"stage":"sample","sample":{"state":"ESTABLISHED","rtt":40000000,"cwnd":10}}`},
		{"packet", func(dst []byte) ([]byte, error) {
			return askedProxy().AppendPacket(dst, Packet{Time: time.Unix(0, 0x0102), IP: []byte("ip")})
		}, "\x03\x00\x00\x00\x00\x00\x00\x01\x02ip"},
		{"credit", func(dst []byte) ([]byte, error) { return askedPage().AppendCredit(dst, 0x01020304) }, "\x05\x01\x02\x03\x04"},
		{"eof", func(dst []byte) ([]byte, error) { return askedPage().AppendEOF(dst) }, "\x06"},
		{"error", func(dst []byte) ([]byte, error) {
			return NewProxy().AppendError(dst, &Error{Code: CodeDenied, Message: "No.", Rule: "loopback"})
		}, "\x07" + `{"code":"denied","message":"No.","rule":"loopback"}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := tt.build([]byte("before"))
			require.NoError(t, err)
			assert.Equal(t, "before"+tt.want, string(got))
		})
	}
}

func TestParseRefuses(t *testing.T) {
	long := strings.Repeat("x", MaxJSON)
	for _, tt := range []struct {
		name    string
		message string
		want    error
		says    string
	}{
		{"nothing", "", ErrEmpty, "empty"},
		{"type 0", "\x00", ErrUnknownType, "type 0"},
		{"type 8", "\x08abc", ErrUnknownType, "type 8"},
		{"type 255", "\xff", ErrUnknownType, "type 255"},
		{"open without JSON", "\x01", ErrJSON, "not an object"},
		{"open is an array", "\x01[]", ErrJSON, "not an object"},
		{"open is null", "\x01null", ErrJSON, "not an object"},
		{"open unknown key", "\x01" + `{"host":"a","port":25,"user":"b"}`, ErrJSON, `"user"`},
		{"open key in capitals", "\x01" + `{"Host":"a","port":25}`, ErrJSON, `"Host"`},
		{"open key twice", "\x01" + `{"host":"a","host":"b","port":25}`, ErrJSON, "twice"},
		{"open null", "\x01" + `{"host":"a","port":null}`, ErrJSON, `"port" is null`},
		{"open wrong type", "\x01" + `{"host":"a","port":"25"}`, ErrJSON, "port"},
		{"open fraction", "\x01" + `{"host":"a","port":25.5}`, ErrJSON, "port"},
		{"open cut off", "\x01" + `{"host":"a","port":2`, ErrJSON, ""},
		{"open followed by more", "\x01" + `{"host":"a","port":25}{}`, ErrJSON, ""},
		{"open not UTF-8", "\x01{\"host\":\"\xff\",\"port\":25}", ErrJSON, "UTF-8"},
		{"open no host", "\x01" + `{"port":25}`, ErrValue, "no host"},
		{"open port 0", "\x01" + `{"host":"a","port":0}`, ErrValue, "port 0"},
		{"open no port", "\x01" + `{"host":"a"}`, ErrValue, "port 0"},
		{"open port beyond", "\x01" + `{"host":"a","port":65536}`, ErrValue, "65536"},
		{"open port negative", "\x01" + `{"host":"a","port":-1}`, ErrValue, "-1"},
		{"open host with CR LF", "\x01" + `{"host":"a\r\nb","port":25}`, ErrValue, "control"},
		{"open host with space", "\x01" + `{"host":"a b","port":25}`, ErrValue, "spaces"},
		{"open host too long", "\x01" + `{"host":"` + strings.Repeat("a", MaxHost+1) + `","port":25}`, ErrTooLong, "256"},
		{"open unknown want", "\x01" + `{"host":"a","port":25,"wants":["root"]}`, ErrValue, `"root"`},
		{"open too long", "\x01" + `{"host":"a","port":25,"token":"` + long + `"}`, ErrTooLong, "16384"},
		{"status unknown stage", "\x02" + `{"stage":"done"}`, ErrValue, `"done"`},
		{"status unknown key", "\x02" + `{"stage":"opened","x":1}`, ErrJSON, `"x"`},
		{"status sample without one", "\x02" + `{"stage":"sample"}`, ErrValue, "sample: false"},
		{"status opened with a sample", "\x02" + `{"stage":"opened","sample":{"state":"ESTABLISHED"}}`, ErrValue, "sample: true"},
		{"status sample null", "\x02" + `{"stage":"sample","sample":null}`, ErrJSON, `"sample" is null`},
		{"status sample without a state", "\x02" + `{"stage":"sample","sample":{"rtt":1}}`, ErrValue, "without a state"},
		{"status sample unknown key", "\x02" + `{"stage":"sample","sample":{"state":"CLOSE","x":1}}`, ErrJSON, `"x"`},
		{"status sample key in capitals", "\x02" + `{"stage":"sample","sample":{"state":"CLOSE","RTT":1}}`, ErrJSON, `"RTT"`},
		{"status sample value null", "\x02" + `{"stage":"sample","sample":{"state":"CLOSE","rtt":null}}`, ErrJSON, `"rtt" is null`},
		{"status sample wrong type", "\x02" + `{"stage":"sample","sample":{"state":"CLOSE","rtt":"1ms"}}`, ErrJSON, "rtt"},
		{"packet without IP", "\x0312345678", ErrLength, "8 bytes"},
		{"packet short", "\x03123", ErrLength, "3 bytes"},
		{"packet too long", "\x0312345678" + strings.Repeat("p", MaxPacket+1), ErrTooLong, ""},
		{"data empty", "\x04", ErrLength, "no bytes"},
		{"data too long", "\x04" + strings.Repeat("d", MaxData+1), ErrTooLong, "262145"},
		{"credit empty", "\x05", ErrLength, "0 bytes"},
		{"credit short", "\x05\x00\x00\x01", ErrLength, "3 bytes"},
		{"credit long", "\x05\x00\x00\x00\x01\x00", ErrLength, "5 bytes"},
		{"credit zero", "\x05\x00\x00\x00\x00", ErrValue, "credit of 0"},
		{"eof with payload", "\x06x", ErrLength, "1 bytes"},
		{"error unknown code", "\x07" + `{"code":"oops","message":"m"}`, ErrValue, `"oops"`},
		{"error negative wait", "\x07" + `{"code":"quota","message":"m","retryAfter":-1}`, ErrValue, "-1"},
		{"error wrong type", "\x07" + `{"code":1}`, ErrJSON, "code"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f, err := Parse([]byte(tt.message))
			require.ErrorIs(t, err, tt.want)
			assert.ErrorContains(t, err, tt.says)
			assert.Zero(t, f)
		})
	}
}

func TestParseTakesTheLargest(t *testing.T) {
	f, err := Parse(append([]byte{byte(TypeData)}, make([]byte, MaxData)...))
	require.NoError(t, err)
	assert.Len(t, f.Data, MaxData)
	f, err = Parse(append([]byte{byte(TypePacket)}, make([]byte, packetHeader+MaxPacket)...))
	require.NoError(t, err)
	assert.Len(t, f.Packet.IP, MaxPacket)
	head, tail := `{"host":"a","port":25,"token":"`, `"}`
	f, err = Parse([]byte("\x01" + head + strings.Repeat("x", MaxJSON-len(head)-len(tail)) + tail))
	require.NoError(t, err)
	assert.Equal(t, "a", f.Open.Host)
}

func TestAnErrorAlwaysFits(t *testing.T) {
	for _, text := range []string{"\x00", "<", "é", "\xff", "plain "} {
		e := &Error{Code: CodeDenied, Message: strings.Repeat(text, 100_000), Rule: strings.Repeat(text, 100_000)}
		message, err := NewProxy().AppendError(nil, e)
		require.NoError(t, err)
		f, err := Parse(message)
		require.NoError(t, err)
		assert.True(t, strings.HasSuffix(f.Error.Message, "…"))
		assert.Len(t, e.Message, 100_000*len(text), "the caller's error is left alone")
	}
}

func TestStatusNamesTheFirstAddresses(t *testing.T) {
	s := Status{Stage: StageAddresses, Addresses: make([]string, 5000)}
	for i := range s.Addresses {
		s.Addresses[i] = "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"
	}
	message, err := askedProxy().AppendStatus(nil, s)
	require.NoError(t, err)
	f, err := Parse(message)
	require.NoError(t, err)
	assert.Equal(t, s.Addresses[:MaxAddresses], f.Status.Addresses)
}

func TestDataIsFramedInPlace(t *testing.T) {
	proxy := openedProxy()
	_, err := proxy.Receive(mustCredit(t, 100))
	require.NoError(t, err)
	buf := []byte("\xEE421 bye\r\n")
	at := &buf[0]
	require.NoError(t, proxy.FrameData(buf))
	assert.Same(t, at, &buf[0])
	assert.Equal(t, "\x04421 bye\r\n", string(buf))
	assert.Zero(t, testing.AllocsPerRun(10, func() {
		_ = proxy.FrameData(buf)
		_, _ = Parse(buf)
	}))
	for _, bad := range [][]byte{nil, {0}} {
		assert.ErrorIs(t, proxy.FrameData(bad), ErrLength)
	}
	assert.ErrorIs(t, proxy.FrameData(make([]byte, MaxMessage+1)), ErrTooLong)
}

func TestTypeNames(t *testing.T) {
	assert.Equal(t, "OPEN", TypeOpen.String())
	assert.Equal(t, "ERROR", TypeError.String())
	assert.Equal(t, "type 0", Type(0).String())
	assert.Equal(t, "type 8", Type(8).String())
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"", "\x01{\"host\":\"a\",\"port\":25,\"wants\":[\"tcpinfo\"]}", "\x02{\"stage\":\"opened\",\"connect\":5}",
		"\x02{\"stage\":\"sample\",\"sample\":{\"state\":\"ESTABLISHED\",\"rtt\":1,\"cwnd\":10}}",
		"\x03123456789", "\x04x", "\x05\x00\x00\x01\x00", "\x06", "\x07{\"code\":\"denied\",\"message\":\"m\",\"rule\":\"r\"}"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, message []byte) {
		whole := bytes.Clone(message)
		frame, err := Parse(message)
		require.Equal(t, whole, message, "Parse must not write")
		if err != nil {
			return
		}
		// What was understood can be said again, and is understood the same.
		var again []byte
		switch frame.Type {
		case TypeOpen:
			again, err = appendOpen(nil, *frame.Open)
		case TypeStatus:
			if len(frame.Status.Addresses) > MaxAddresses {
				return
			}
			again, err = appendStatus(nil, *frame.Status)
		case TypePacket:
			again, err = appendPacket(nil, *frame.Packet)
		case TypeData:
			again = append([]byte{byte(TypeData)}, frame.Data...)
		case TypeCredit:
			again, err = appendCredit(nil, frame.Credit)
		case TypeEOF:
			again = []byte{byte(TypeEOF)}
		case TypeError:
			if len(frame.Error.Message) > MaxText || len(frame.Error.Rule) > MaxRule {
				return
			}
			again, err = appendError(nil, frame.Error)
		}
		if err != nil { // escaping can make JSON longer than it came
			require.ErrorIs(t, err, ErrTooLong)
			return
		}
		second, err := Parse(again)
		require.NoError(t, err)
		if frame.Packet != nil {
			require.True(t, frame.Packet.Time.Equal(second.Packet.Time))
			frame.Packet.Time = second.Packet.Time
		}
		for _, fr := range []*Frame{&frame, &second} { // [] and absent mean the same
			if fr.Open != nil && len(fr.Open.Wants) == 0 {
				fr.Open.Wants = nil
			}
			if fr.Status != nil && len(fr.Status.Addresses) == 0 {
				fr.Status.Addresses = nil
			}
		}
		require.Equal(t, frame, second)
	})
}
