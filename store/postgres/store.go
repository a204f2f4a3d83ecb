// Package postgres keeps bills in a PostgreSQL database that several Caddys
// share, as the guest module qlink.stores.postgres. Whatever speaks PostgreSQL's
// protocol and SQL, and keeps what it has confirmed, will do.
//
// The database alone decides who was first: every write compares revisions in
// its own transaction, and nothing that correctness needs is kept in a process.
// One connection follows what other nodes change, and tells whether the database
// can be reached: while it cannot, every call answers bill.ErrUnavailable at
// once. Nothing of PostgreSQL shows outside the package.
//
// Opened through the registry in package store, called by the engine.
package postgres

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"go.uber.org/zap"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/store/internal/watch"
)

const (
	// callTime bounds one call, whatever its caller's patience: a database that
	// hangs is one that is gone.
	callTime = 5 * time.Second
	// connectTime bounds the making of a connection to one host.
	connectTime = 3 * time.Second
	// closeTime bounds the closing of connections.
	closeTime = time.Second
	// maxTries bounds how often a call is begun that others were in the way of.
	maxTries = 10
)

// settings are a configured store's.
type settings struct {
	config *pgxpool.Config
	schema string
	listen bool

	moves    bool // opened by who moves it
	existing bool // a schema that is not there is an error
}

// store implements bill.Store.
type store struct {
	schema    string
	logger    func() *zap.Logger
	committed func(changes int, took time.Duration) // or nil
	settings  atomic.Pointer[settings]              // the newest configuration's
	pool      atomic.Pointer[pgxpool.Pool]
	hub       watch.Hub
	health    health
	follower  *follower
	announcer *announcer
	size      atomic.Int64 // bytes, as upkeep saw them last; 0: not known
	moving    atomic.Bool  // this process moves it: to nobody else does it serve
	existing  bool         // a schema that is not there is an error
	end       context.CancelFunc
	tasks     sync.WaitGroup

	checkoutsClosed atomic.Int64 // since when, in nanoseconds since 1970; 0: they are open

	mu     sync.RWMutex // shared by calls under way
	closed bool
}

// parse reads a connection string. Its errors hold no password.
func parse(dsn string) (*pgxpool.Config, error) {
	config, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		return nil, err
	}
	c := config.ConnConfig
	if c.ConnectTimeout == 0 || c.ConnectTimeout > connectTime {
		c.ConnectTimeout = connectTime
	}
	if c.ValidateConnect == nil {
		c.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite // never a standby
	}
	if c.RuntimeParams["application_name"] == "" {
		c.RuntimeParams["application_name"] = "caddy-qlink"
	}
	c.OnNotice = noteWarning
	return config, nil
}

// open connects to the database and makes or updates the schema. Where it
// cannot be reached, the store is down until its follower gets through.
func open(ctx context.Context, given settings, env bill.Env) (*store, error) {
	s := &store{schema: given.schema, logger: env.Logger, committed: env.Committed}
	if s.logger == nil {
		s.logger = zap.NewNop
	}
	pool, err := given.newPool()
	if err != nil {
		return nil, err
	}
	s.settings.Store(&given)
	s.pool.Store(pool)
	s.moving.Store(given.moves)
	s.existing = given.existing
	s.health.down(errors.New("not connected yet"))
	s.follower, s.announcer = newFollower(s), newAnnouncer(s)
	switch err := s.follower.connect(ctx); {
	case err == nil:
	case lost(err):
		s.logger().Error("the database cannot be reached; checkouts and endpoints answer 503 until it can", zap.Error(err))
	default:
		pool.Close()
		return nil, err
	}
	running, end := context.WithCancel(context.Background())
	s.end = end
	s.tasks.Go(func() { s.follower.run(running) })
	s.tasks.Go(func() { s.announcer.run(running) })
	s.tasks.Go(func() { s.upkeep(running) })
	return s, nil
}

// newPool makes a pool, which connects when it is used.
func (s settings) newPool() (*pgxpool.Pool, error) {
	return pgxpool.NewWithConfig(context.Background(), s.config.Copy())
}

// adopt lets the store go on with a newer configuration: with another password,
// or another number of connections. One that the database refuses is an error,
// and changes nothing. Calls under way end on the connections that they have.
func (s *store) adopt(ctx context.Context, given settings) error {
	if given.equal(*s.settings.Load()) {
		return nil
	}
	conn, err := pgx.ConnectConfig(ctx, given.config.ConnConfig.Copy())
	if err == nil {
		err = conn.Close(ctx)
	}
	if err != nil && !lost(err) {
		return err
	}
	pool, err := given.newPool()
	if err != nil {
		return err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		pool.Close()
		return bill.ErrUnavailable
	}
	s.settings.Store(&given)
	old := s.pool.Swap(pool)
	s.tasks.Go(func() { leave(old) }) // once calls under way have ended
	s.follower.renew.Store(true)
	s.follower.look()
	return nil
}

// equal reports whether the same connections come of both.
func (s settings) equal(t settings) bool {
	return s.config.ConnString() == t.config.ConnString() && s.config.MaxConns == t.config.MaxConns &&
		s.config.MinIdleConns == t.config.MinIdleConns && s.listen == t.listen
}

// Close waits for calls under way and closes all connections; for no longer than
// those may take where the database hangs.
func (s *store) Close() error {
	if !s.retire() {
		return bill.ErrUnavailable
	}
	s.end()
	s.tasks.Wait()
	s.hub.Close()
	leave(s.pool.Load())
	return nil
}

// leave closes a pool. Connections on which a query was broken off take up to 15
// seconds while a database hangs, and end by themselves: pgx still tells the
// database to cancel it.
func leave(pool *pgxpool.Pool) {
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		pool.Close()
	}()
	select {
	case <-closed:
	case <-time.After(closeTime):
	}
}

// retire lets no more calls begin, and returns when none is under way; false
// where it was called before.
func (s *store) retire() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.closed = true
	return true
}

// in puts the store's schema into a statement, which is written with the default
// one.
func (s *store) in(statement string) string {
	if s.schema == defaultSchema {
		return statement
	}
	return strings.ReplaceAll(statement, defaultSchema+".", s.schema+".")
}

// call runs f on a connection. It ends with the database, after callTime, and at
// the caller's deadline; a caller who goes away ends only its wait for a
// connection, since a query that is broken off costs the connection.
func (s *store) call(ctx context.Context, f func(context.Context, *pgxpool.Conn) error) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return bill.ErrUnavailable
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	for try := 1; ; try++ {
		err := s.callOnce(ctx, f)
		if err == nil || !again(err) || try == maxTries || s.health.err() != nil {
			return worded(err)
		}
		pause(ctx, rand.N(time.Duration(try)*5*time.Millisecond)) //nolint:gosec // spreads tries, hides nothing
	}
}

// pause waits, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

func (s *store) callOnce(ctx context.Context, f func(context.Context, *pgxpool.Conn) error) (err error) {
	up, err := s.health.up()
	if err != nil {
		return fmt.Errorf("%w: %w", bill.ErrUnavailable, err)
	}
	lasting, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTime)
	defer cancel()
	if deadline, ok := ctx.Deadline(); ok {
		lasting, cancel = context.WithDeadline(lasting, deadline)
		defer cancel()
	}
	defer context.AfterFunc(up, cancel)()
	waiting, stop := context.WithCancel(lasting)
	defer stop()
	defer context.AfterFunc(ctx, stop)()
	conn, err := s.pool.Load().Acquire(waiting)
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		s.doubt(err)
		return fmt.Errorf("%w: no connection: %w", bill.ErrUnavailable, err)
	}
	defer conn.Release() // closes it where a transaction was left open
	err = f(lasting, conn)
	s.doubt(err)
	return err
}

// doubt has the follower look at once whether the database is there, where an
// error says that it may not be.
func (s *store) doubt(err error) {
	if lost(err) {
		s.follower.look()
	}
}

// one reads one record, or bill.ErrNotFound.
func one[T any](ctx context.Context, s *store, statement string, args ...any) (v T, err error) {
	var data []byte
	err = s.call(ctx, func(ctx context.Context, conn *pgxpool.Conn) error {
		return conn.QueryRow(ctx, s.in(statement), args...).Scan(&data)
	})
	if err != nil {
		return v, err
	}
	return record[T](data)
}

// all reads the records of a statement.
func all[T any](ctx context.Context, s *store, statement string, args ...any) ([]T, error) {
	rows, err := column[[]byte](ctx, s, statement, args...)
	if err != nil {
		return nil, err
	}
	records := make([]T, 0, len(rows))
	for _, data := range rows {
		v, err := record[T](data)
		if err != nil {
			return nil, err
		}
		records = append(records, v)
	}
	return records, nil
}

// column reads the one column of a statement.
func column[T any](ctx context.Context, s *store, statement string, args ...any) (values []T, err error) {
	err = s.call(ctx, func(ctx context.Context, conn *pgxpool.Conn) error {
		rows, err := conn.Query(ctx, s.in(statement), args...)
		if err != nil {
			return err
		}
		values, err = pgx.CollectRows(rows, pgx.RowTo[T])
		return err
	})
	return values, err
}

func (s *store) Bill(ctx context.Context, id string) (bill.Bill, error) {
	return one[bill.Bill](ctx, s, `SELECT record FROM qlink.bills WHERE id = $1`, text(id))
}

func (s *store) Details(ctx context.Context, id string) (bill.Details, error) {
	return one[bill.Details](ctx, s, `SELECT record FROM qlink.details WHERE bill = $1`, text(id))
}

func (s *store) Order(ctx context.Context, key bill.OrderKey) (bill.OrderRecord, error) {
	held, err := one[bill.OrderRecord](ctx, s, `SELECT record FROM qlink.orders WHERE order_code = $1 AND ledger = $2 AND shop = $3`,
		name(key.OrderCode), name(key.Ledger), name(key.Shop))
	if err != nil {
		return bill.OrderRecord{}, err
	}
	held.Key = key
	return held, nil
}

func (s *store) History(ctx context.Context, id string) ([]bill.Event, error) {
	return all[bill.Event](ctx, s, `SELECT record FROM qlink.events WHERE bill = $1 ORDER BY revision, place`, text(id))
}

func (s *store) Idempotent(ctx context.Context, key string, now time.Time) (bill.Idempotency, error) {
	answer, err := one[bill.Idempotency](ctx, s, `SELECT record FROM qlink.idempotency WHERE key = $1`, name(key))
	if err != nil {
		return bill.Idempotency{}, err
	}
	if !now.Before(answer.ExpiresAt) {
		return bill.Idempotency{}, bill.ErrNotFound
	}
	answer.Key = key
	return answer, nil
}

func (s *store) Notification(ctx context.Context, id string) (bill.Notification, error) {
	return one[bill.Notification](ctx, s, `SELECT record FROM qlink.notifications WHERE id = $1`, text(id))
}

func (s *store) PendingNotification(ctx context.Context, url string, key bill.OrderKey) (bill.Notification, error) {
	return one[bill.Notification](ctx, s, `SELECT record FROM qlink.notifications WHERE target = $1 AND state = 'pending'`, target(url, key))
}

func (s *store) Notifications(ctx context.Context, billID string) ([]bill.Notification, error) {
	about, err := all[bill.Notification](ctx, s, `SELECT record FROM qlink.notifications WHERE bill = $1`, text(billID))
	slices.SortFunc(about, func(a, b bill.Notification) int {
		return cmp.Or(cmp.Compare(a.Sequence, b.Sequence), strings.Compare(a.ID, b.ID))
	})
	return about, err
}

func (s *store) Watch(id string) (versions <-chan uint64, stop func()) {
	return s.hub.Watch(id)
}

func (s *store) WatchAll() bill.Feed { return s.hub.All() }

// Size returns how many bytes the store's tables and indexes take, as of the
// last minute.
func (s *store) Size() (uint64, error) {
	size := s.size.Load()
	if size == 0 {
		return 0, fmt.Errorf("%w: not measured yet", bill.ErrUnavailable)
	}
	return uint64(size), nil //nolint:gosec // never negative
}

// Interface guards
var (
	_ bill.Store  = (*store)(nil)
	_ bill.Leaser = (*store)(nil)
	_ bill.Sizer  = (*store)(nil)
)
