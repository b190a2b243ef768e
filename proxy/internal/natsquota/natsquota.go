// Package natsquota keeps the accounts of package quota in a key-value bucket of NATS
// JetStream, so that several proxies count together: a client that is spread over
// replicas by a balancer has one account, not one for each.
//
// It decides how accounts are written and for how long they are kept. What they mean
// it refuses to know. While no majority of the cluster can be reached every Update fails,
// so nothing that is counted is permitted: a public proxy without quotas would be
// of use for spam. Limits that are off ask for no account and go on.
package natsquota

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/url"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"smtpscope/proxy/internal/quota"
)

// Bucket holds the accounts of all proxies that are connected to one cluster. Connect makes it where it is missing.
const Bucket = "smtpscope-quota"

const (
	// replicas survive the loss of one node. A server that stands alone gets one.
	replicas = 3
	// most is some 200,000 accounts. Further clients are refused until old accounts are forgotten.
	most = 64 << 20
	// patience is for a bucket that nobody leads at the moment: an election takes a second, or some.
	patience = 4 * time.Second
	retry    = 50 * time.Millisecond
	// alone is JetStream's code for a server that has no cluster to keep replicas in.
	alone jetstream.ErrorCode = 10074
)

// Store is a quota.Store, safe for concurrent use.
type Store struct {
	conn   *nats.Conn
	bucket jetstream.KeyValue
	keep   time.Duration
	log    *slog.Logger
}

// Connect reaches one of the servers in urls, which are separated by commas, and the bucket there. keep
// is for how long an account may matter after it was used; one that matters longer is refused by Update. A
// bucket that exists is taken as it is, as long as it keeps that long.
func Connect(ctx context.Context, urls string, keep time.Duration, log *slog.Logger) (*Store, error) {
	conn, err := nats.Connect(urls,
		nats.Name("smtpscope"), nats.MaxReconnects(-1), nats.ReconnectWait(250*time.Millisecond), nats.Timeout(2*time.Second),
		// What waits for a new connection would count late, after its client was refused.
		nats.ReconnectBufSize(-1),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				log.Warn("quota store lost: nothing that is counted is permitted", "error", err)
			}
		}),
		nats.ReconnectHandler(func(c *nats.Conn) { log.Info("quota store reached again", "server", c.ConnectedServerName()) }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { log.Warn("quota store", "error", err) }),
	)
	if err != nil {
		return nil, fmt.Errorf("connect to NATS: %w", withoutURL(err))
	}
	s := &Store{conn: conn, keep: keep, log: log}
	if s.bucket, err = open(ctx, conn, keep); err != nil {
		conn.Close()
		return nil, fmt.Errorf("the bucket %s of NATS JetStream: %w", Bucket, err)
	}
	return s, nil
}

// withoutURL keeps the password out that a URL may hold.
func withoutURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// open gets the bucket, or makes it. A cluster that has just been started needs a while for either.
func open(ctx context.Context, conn *nats.Conn, keep time.Duration) (jetstream.KeyValue, error) {
	js, err := jetstream.New(conn)
	if err != nil {
		return nil, err
	}
	config := jetstream.KeyValueConfig{
		Bucket: Bucket, Description: "what clients of smtpscope have used", TTL: keep, MaxBytes: most, Replicas: replicas,
	}
	for {
		bucket, err := js.KeyValue(ctx, Bucket)
		if errors.Is(err, jetstream.ErrBucketNotFound) {
			bucket, err = js.CreateKeyValue(ctx, config)
		}
		var refused *jetstream.APIError
		switch {
		case err == nil:
			return bucket, check(ctx, bucket, keep)
		case errors.As(err, &refused) && refused.ErrorCode == alone && config.Replicas > 1:
			config.Replicas = 1
		case !wait(ctx):
			return nil, err
		}
	}
}

func check(ctx context.Context, bucket jetstream.KeyValue, keep time.Duration) error {
	status, err := bucket.Status(ctx)
	if err != nil {
		return err
	}
	if ttl := status.TTL(); ttl > 0 && ttl < keep {
		return fmt.Errorf("it forgets after %s and must keep accounts for %s: give the proxies the same --session, or remove it (nats kv del %s)", ttl, keep, Bucket)
	}
	return nil
}

// wait is the pause before another attempt, uneven so that proxies that got into each other's way part.
func wait(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(retry/2 + rand.N(retry)):
		return true
	}
}

// Close ends the connection.
func (s *Store) Close() { s.conn.Close() }

// errRefused is what visitors may know; the rest is in the log.
var errRefused = errors.New("the accounts that it shares with others are out of reach")

// Update implements quota.Store. When the answer to a write is lost, change may
// count twice what happened once: an error is on the side of the limits.
func (s *Store) Update(key string, change func(*quota.Account) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		var denial *changeError
		err := s.try(ctx, key, change)
		switch {
		case err == nil:
			return nil
		case errors.As(err, &denial):
			return denial.error
		case !wait(ctx):
			s.log.Error("quota store fails: nothing that is counted is permitted", "error", err)
			return errRefused
		}
	}
}

// changeError is what change itself said.
type changeError struct{ error }

// try reads, changes and writes once. The write fails when somebody else has written since the read.
func (s *Store) try(ctx context.Context, key string, change func(*quota.Account) error) error {
	var account quota.Account
	entry, err := s.bucket.Get(ctx, key)
	switch {
	case errors.Is(err, jetstream.ErrKeyNotFound):
	case err != nil:
		return err
	default:
		if err := json.Unmarshal(entry.Value(), &account); err != nil {
			return fmt.Errorf("the account %s is not readable: %w", key, err)
		}
	}
	if err := change(&account); err != nil {
		return &changeError{err}
	}
	if until := account.Until(); time.Until(until) > s.keep {
		return &changeError{fmt.Errorf("an account that matters until %s is kept for %s only", until.UTC().Format(time.RFC3339), s.keep)}
	}
	value, err := json.Marshal(account)
	if err != nil {
		return err
	}
	if entry == nil {
		_, err = s.bucket.Create(ctx, key, value)
	} else {
		_, err = s.bucket.Update(ctx, key, value, entry.Revision())
	}
	return err
}
