package natsquota

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"smtpscope/proxy/internal/quota"
)

// patient is for what must happen, on a slow machine too.
const patient = 60 * time.Second

func node(t *testing.T, options server.Options) *server.Server {
	t.Helper()
	options.Host, options.Port, options.NoLog, options.NoSigs = "127.0.0.1", server.RANDOM_PORT, true, true
	options.JetStream, options.StoreDir = true, t.TempDir()
	options.JetStreamMaxMemory, options.JetStreamMaxStore = 128<<20, 1<<30
	s, err := server.NewServer(&options)
	require.NoError(t, err)
	s.Start()
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	return s
}

// single is a server without a cluster.
func single(t *testing.T) *server.Server {
	t.Helper()
	s := node(t, server.Options{})
	require.True(t, s.ReadyForConnections(patient))
	return s
}

// freePort is one that nobody listens on. Nodes of a cluster must know each other's from the start.
func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// cluster is three nodes; urls has them all.
func cluster(t *testing.T) (nodes []*server.Server, urls string) {
	t.Helper()
	var ports []int
	var routes, addresses []string
	for range 3 {
		ports = append(ports, freePort(t))
		routes = append(routes, fmt.Sprintf("nats://127.0.0.1:%d", ports[len(ports)-1]))
	}
	for i, port := range ports {
		nodes = append(nodes, node(t, server.Options{
			ServerName: fmt.Sprintf("node-%d", i), Cluster: server.ClusterOpts{Name: "test", Host: "127.0.0.1", Port: port},
			Routes: server.RoutesFromStr(strings.Join(routes, ",")),
		}))
	}
	for _, n := range nodes {
		require.True(t, n.ReadyForConnections(patient))
		addresses = append(addresses, n.ClientURL())
	}
	require.Eventually(t, func() bool {
		for _, n := range nodes {
			if n.JetStreamIsLeader() && len(n.JetStreamClusterPeers()) == len(nodes) {
				return true
			}
		}
		return false
	}, patient, 10*time.Millisecond, "three nodes and a leader")
	return nodes, strings.Join(addresses, ",")
}

func connect(t *testing.T, urls string) *Store {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patient)
	defer cancel()
	s, err := Connect(ctx, urls, time.Hour+time.Minute, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	t.Cleanup(s.Close)
	return s
}

// add counts n bytes in a window of an hour.
func add(n int64) func(*quota.Account) error {
	return func(a *quota.Account) error {
		a.Bytes.Used += n
		if a.Bytes.Ends.IsZero() {
			a.Bytes.Ends = time.Now().Add(time.Hour)
		}
		return nil
	}
}

func used(t *testing.T, s *Store, key string) (n int64) {
	t.Helper()
	require.NoError(t, s.Update(key, func(a *quota.Account) error {
		n = a.Bytes.Used
		return nil
	}))
	return n
}

func TestOneServer(t *testing.T) {
	one := single(t)
	s := connect(t, one.ClientURL())
	status, err := s.bucket.Status(t.Context())
	require.NoError(t, err)
	assert.Equal(t, time.Hour+time.Minute, status.TTL())
	assert.Equal(t, 1, status.(*jetstream.KeyValueBucketStatus).StreamInfo().Config.Replicas)

	const key = "live/192.0.2.0-24"
	require.NoError(t, s.Update(key, add(7)))
	require.NoError(t, s.Update(key, add(1)))
	assert.EqualValues(t, 8, used(t, s, key))
	assert.EqualValues(t, 0, used(t, s, "live/192.0.3.0-24"))

	no := errors.New("no")
	assert.Equal(t, no, s.Update(key, func(a *quota.Account) error {
		a.Bytes.Used = 1000
		return no
	}), "the error of change is returned as it is")
	assert.EqualValues(t, 8, used(t, s, key), "and nothing is kept")

	lease := time.Now().Add(time.Minute)
	require.NoError(t, s.Update(key, func(a *quota.Account) error {
		a.Open = append(a.Open, lease)
		return nil
	}))
	require.NoError(t, s.Update(key, func(a *quota.Account) error {
		require.Len(t, a.Open, 1)
		assert.True(t, a.Open[0].Equal(lease), "a lease is found again by its time")
		return nil
	}))
	err = s.Update("token", func(a *quota.Account) error {
		a.Bytes.Ends = time.Now().Add(2 * time.Hour)
		return nil
	})
	assert.ErrorContains(t, err, "is kept for 1h1m0s only", "what would be forgotten too early is not begun")
	assert.EqualValues(t, 8, used(t, connect(t, one.ClientURL()), key), "the bucket was there already")
}

// Proxies that draw on one account must not lose what others wrote.
func TestConcurrentUpdates(t *testing.T) {
	one := single(t)
	const proxies, each = 4, 10
	var wg sync.WaitGroup
	for range proxies {
		s := connect(t, one.ClientURL())
		wg.Go(func() {
			for range each {
				assert.NoError(t, s.Update("k", add(1)))
			}
		})
	}
	wg.Wait()
	assert.EqualValues(t, proxies*each, used(t, connect(t, one.ClientURL()), "k"))
}

func TestReplicasCountTogether(t *testing.T) {
	one := single(t)
	client := netip.MustParseAddr("192.0.2.7")
	var gates []*quota.Gate
	for range 2 {
		gates = append(gates, quota.New(quota.Config{Name: "live", Limits: quota.Limits{ClientOpen: 2}, Session: time.Minute, Store: connect(t, one.ClientURL())}))
	}
	first, denial := gates[0].Open(client, nil)
	require.Nil(t, denial)
	_, denial = gates[1].Open(client, nil)
	require.Nil(t, denial)
	for _, gate := range gates {
		_, denial = gate.Open(client, nil)
		require.NotNil(t, denial)
		assert.Equal(t, quota.RuleClientOpen, denial.Rule)
	}
	first.Close()
	_, denial = gates[1].Open(client, nil)
	assert.Nil(t, denial, "what ended at one proxy makes room at the other")
}

func TestKilledNode(t *testing.T) {
	nodes, urls := cluster(t)
	s := connect(t, urls)
	require.NoError(t, s.Update("k", add(5)))
	status, err := s.bucket.Status(t.Context())
	require.NoError(t, err)
	info := status.(*jetstream.KeyValueBucketStatus).StreamInfo()
	require.Equal(t, replicas, info.Config.Replicas)

	alive := nodes[:0:0]
	for _, n := range nodes {
		if n.Name() != info.Cluster.Leader {
			alive = append(alive, n)
			continue
		}
		n.Shutdown()
		n.WaitForShutdown()
	}
	require.Len(t, alive, 2, "the node that led the bucket is gone")
	require.Eventually(t, func() bool { return s.Update("k", add(1)) == nil }, patient, time.Millisecond, "the others go on")
	assert.GreaterOrEqual(t, used(t, s, "k"), int64(6), "and nothing that was counted is lost")

	// Without a majority nobody can know what was used.
	alive[0].Shutdown()
	alive[0].WaitForShutdown()
	gate := quota.New(quota.Config{Name: "live", Limits: quota.Limits{ClientOpen: 2}, Session: time.Minute, Store: s})
	_, denial := gate.Open(netip.MustParseAddr("192.0.2.7"), nil)
	require.NotNil(t, denial, "fails closed")
	assert.Equal(t, quota.RuleStore, denial.Rule)
	assert.Positive(t, denial.RetryAfter)
	assert.NotContains(t, denial.Message, "127.0.0.1", "visitors learn nothing of the cluster")
	unlimited := quota.New(quota.Config{Name: "practice", Session: time.Minute, Store: s})
	_, denial = unlimited.Open(netip.MustParseAddr("192.0.2.7"), nil)
	assert.Nil(t, denial, "limits that are off do not ask")
}

func TestConnectErrors(t *testing.T) {
	silent := slog.New(slog.DiscardHandler)
	_, err := Connect(t.Context(), "nats://user:secret@127.0.0.1:1", time.Hour, silent)
	require.ErrorContains(t, err, "connect to NATS: ")
	assert.NotContains(t, err.Error(), "secret")
	_, err = Connect(t.Context(), "nats://user:secret@[::1:x", time.Hour, silent)
	require.Error(t, err)
	assert.NotContains(t, err.Error(), "secret")

	one := single(t)
	connect(t, one.ClientURL())
	_, err = Connect(t.Context(), one.ClientURL(), 24*time.Hour, silent)
	assert.ErrorContains(t, err, "it forgets after 1h1m0s and must keep accounts for 24h0m0s")
}
