package postgres

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"go.uber.org/zap"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

const (
	pollEvery  = time.Second
	pollTime   = 3 * time.Second        // for one poll; longer, and the database is gone
	reconnect  = 500 * time.Millisecond // between two tries
	retellTime = 10 * time.Second       // how long a change may take from its number to its commit: calls end sooner
	pollPage   = 10_000
	keptTime   = time.Minute // how long changes are kept
)

// follower follows what other nodes change, on a connection of its own, and
// tells whether the database can be reached. It listens where that can be had,
// and reads the table of changes besides: a number in it is given out before its
// transaction commits, so the last seconds are read over and over.
type follower struct {
	store *store
	conn  *pgx.Conn // nil while the database is gone
	nudge chan struct{}
	renew atomic.Bool // the connection is to be made anew
	deaf  bool        // it cannot listen

	marks  []mark       // how far the changes had come, the oldest first
	passed atomic.Int64 // how far they had come when what is kept began

	mu    sync.Mutex
	heard map[string]hearing // by bill
}

// mark is how far the changes had come at a time.
type mark struct {
	at    time.Time
	place int64
}

// hearing is the newest version of a bill that watchers were told of.
type hearing struct {
	version uint64
	at      time.Time
}

func newFollower(s *store) *follower {
	return &follower{store: s, nudge: make(chan struct{}, 1), heard: make(map[string]hearing)}
}

// tell hands a version to those who watch the bill, unless they know of it: it
// comes from commits of this process, from notifications and from polls, in any
// order.
func (f *follower) tell(id string, version uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if before, known := f.heard[id]; known && before.version >= version {
		return
	}
	f.heard[id] = hearing{version, time.Now()}
	f.store.hub.Tell(id, version)
}

// forget drops what no poll can tell again.
func (f *follower) forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for id, h := range f.heard {
		if time.Since(h.at) > 2*retellTime {
			delete(f.heard, id)
		}
	}
}

// look has the follower look at once whether the database is there.
func (f *follower) look() {
	select {
	case f.nudge <- struct{}{}:
	default:
	}
}

// run follows until ctx ends.
func (f *follower) run(ctx context.Context) {
	defer f.leave()
	for ctx.Err() == nil {
		if f.conn == nil {
			pause(ctx, reconnect)
			if ctx.Err() != nil {
				return
			}
			if err := f.connect(ctx); err != nil {
				continue
			}
		}
		if f.renew.Swap(false) {
			f.leave()
			if err := f.connect(ctx); err != nil {
				continue
			}
		}
		if err := f.turn(ctx); err != nil && ctx.Err() == nil {
			f.lose(err)
		}
	}
}

// connect opens the follower's connection, sees to the schema and takes its
// place in the changes. Then the store is up.
func (f *follower) connect(ctx context.Context) (err error) {
	s := f.store
	given := s.settings.Load()
	f.deaf = !given.listen
	conn, err := pgx.ConnectConfig(ctx, given.config.ConnConfig.Copy())
	if err == nil {
		f.conn = conn
		err = s.ready(ctx, conn)
	}
	if err == nil {
		err = f.begin(ctx)
	}
	if err != nil {
		f.lose(err)
		return err
	}
	s.pool.Load().Reset() // what is left of the time before
	if s.health.rise() {
		s.logger().Info("the database is there", zap.String("schema", s.schema), zap.Bool("listening", !f.deaf))
	}
	return nil
}

// begin listens, and looks up how far the changes have come. Nobody watches yet
// who would miss anything.
func (f *follower) begin(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, pollTime)
	defer cancel()
	if !f.deaf {
		_, err := f.conn.Exec(ctx, "LISTEN "+f.store.channel())
		if c := code(err); c != "" {
			f.deaf = true
			f.store.logger().Warn("the database does not let us listen; changes by other nodes are polled for every second", zap.Error(err))
		} else if err != nil {
			return err
		}
	}
	var place int64
	if err := f.conn.QueryRow(ctx, f.store.in(`SELECT coalesce(max(place), 0) FROM qlink.changes`)).Scan(&place); err != nil {
		return err
	}
	f.marks = []mark{{time.Now(), place - pollPage}}
	return nil
}

// channel is what the nodes of one schema notify each other on.
func (s *store) channel() string { return "qlink_" + s.schema }

// turn waits for notifications until it is time for a poll, and polls.
func (f *follower) turn(ctx context.Context) error {
	if err := f.wait(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, pollTime)
	defer cancel()
	if err := f.poll(ctx); err != nil {
		return fmt.Errorf("ask the database: %w", err)
	}
	f.forget()
	return nil
}

// wait hands on what is notified, until it is time for the next poll.
func (f *follower) wait(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, pollEvery)
	defer cancel()
	nudged := make(chan struct{})
	go func() {
		defer close(nudged)
		select {
		case <-f.nudge:
			cancel()
		case <-ctx.Done():
		}
	}()
	defer func() { cancel(); <-nudged }()
	if f.deaf {
		<-ctx.Done()
		return nil
	}
	for {
		n, err := f.conn.WaitForNotification(ctx)
		switch {
		case ctx.Err() != nil && !f.conn.IsClosed():
			return nil
		case err != nil:
			return err
		}
		f.hear(n)
	}
}

// hear hands on what the notification of another process, or of this one,
// tells: lines of version and bill. Who can notify can lie, but only about
// versions: who is told reads the bill, and at worst hears of it seconds late.
func (f *follower) hear(n *pgconn.Notification) {
	for line := range strings.Lines(n.Payload) {
		version, id, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		if v, err := strconv.ParseUint(version, 10, 64); ok && err == nil {
			f.tell(plain(id), v)
		}
	}
}

// errReadOnly: the server takes no writes, such as a standby.
var errReadOnly = errors.New("the server is read-only")

// poll reads the changes of the last seconds, and whether all is as it was.
func (f *follower) poll(ctx context.Context) error {
	s := f.store
	var readOnly bool
	var st state
	batch := new(pgx.Batch)
	batch.Queue(`SELECT current_setting('transaction_read_only') = 'on'`).QueryRow(func(row pgx.Row) error { return row.Scan(&readOnly) })
	batch.Queue(s.in(askState)).QueryRow(st.read)
	end := f.marks[len(f.marks)-1].place
	full := false
	batch.Queue(s.in(`SELECT place, bill, version FROM qlink.changes WHERE place > $1 ORDER BY place LIMIT $2`), f.since(retellTime), pollPage).
		Query(func(rows pgx.Rows) error {
			var place int64
			var id string
			var version int64
			tag, err := pgx.ForEachRow(rows, []any{&place, &id, &version}, func() error {
				end = max(end, place)
				f.tell(plain(id), uint64(version)) //nolint:gosec // its bits
				return nil
			})
			full = tag.RowsAffected() == pollPage
			return err
		})
	if err := f.conn.SendBatch(ctx, batch).Close(); err != nil {
		return err
	}
	if readOnly {
		return errReadOnly
	}
	if full {
		f.marks = []mark{{time.Now(), end}} // so many that there is no time to read some of them twice
		f.look()
	} else {
		f.marks = append(f.marks, mark{time.Now(), end})
	}
	return s.heed(st)
}

// since returns how far the changes had come so long ago, and drops marks that
// are older than what is kept.
func (f *follower) since(d time.Duration) int64 {
	place := f.marks[0].place
	for _, m := range f.marks {
		if time.Since(m.at) < d {
			break
		}
		place = m.place
	}
	for len(f.marks) > 1 && time.Since(f.marks[1].at) > keptTime {
		f.marks = f.marks[1:]
		f.passed.Store(f.marks[0].place)
	}
	return place
}

// lose says that the database is gone. Watches end, so that nobody waits in
// vain.
func (f *follower) lose(err error) {
	f.leave()
	if f.store.health.down(err) {
		what := "the database is gone; checkouts and endpoints answer 503 until it is back"
		if errors.Is(err, bill.ErrMoved) || errors.Is(err, ErrNewerSchema) {
			what = "the store serves here no more; checkouts and endpoints answer 503"
		}
		f.store.logger().Error(what, zap.Error(err))
	}
	f.store.hub.Reset()
}

// leave closes the follower's connection.
func (f *follower) leave() {
	if f.conn == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = f.conn.Close(ctx)
	f.conn = nil
}

func schemaFields(schema string, version int64) []zap.Field {
	return []zap.Field{zap.String("schema", schema), zap.Int64("migration", version)}
}
