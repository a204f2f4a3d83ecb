package postgres

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/store/internal/codec"
)

// restTime is how long it takes until no process writes any more: each commit
// looks whether the store moves, and has ended soon after.
const restTime = retellTime

// OpenToMove opens the store for a migration into another one, or out of one.
// Here a database that cannot be reached is an error.
func (s *Store) OpenToMove(ctx context.Context, env bill.Env, create bool) (bill.Movable, error) {
	if s.config == nil {
		return nil, errors.New("store postgres: not provisioned")
	}
	given := s.settings()
	given.listen, given.moves, given.existing = false, true, !create
	opened, err := open(ctx, given, env)
	if err != nil {
		return nil, fmt.Errorf("store postgres: %w", err)
	}
	if err := opened.health.err(); err != nil {
		return nil, errors.Join(fmt.Errorf("store postgres: %w: %w", bill.ErrUnavailable, err), opened.Close())
	}
	return opened, nil
}

// Place names the schema, the database and its servers.
func (s *store) Place() string {
	c := s.settings.Load().config.ConnConfig
	return fmt.Sprintf("schema %s of database %s on %s", s.schema, c.Database, net.JoinHostPort(c.Host, strconv.Itoa(int(c.Port))))
}

// refused returns why a store whose state says this of a migration does not
// serve, or nil.
func refused(migration string) error {
	m, err := migrationIn(migration)
	if err != nil {
		return fmt.Errorf("%w: %w", bill.ErrMoved, err)
	}
	return m.Refusal()
}

func migrationIn(column string) (bill.Migration, error) {
	if column == "" {
		return bill.Migration{}, nil
	}
	return codec.Unmarshal[bill.Migration]([]byte(column))
}

// servable refuses a store that moves to all but who moves it.
func (s *store) servable(migration string) error {
	if s.moving.Load() {
		return nil
	}
	return refused(migration)
}

// committable reads what begin returns: in a store that moves nothing is
// committed, and no process may have been told of that yet.
func committable(row pgx.Row) error {
	var migration string
	if err := row.Scan(nil, nil, nil, &migration); err != nil {
		return err
	}
	if err := refused(migration); err != nil {
		return fmt.Errorf("%w: %w", bill.ErrUnavailable, err)
	}
	return nil
}

// Migration reads the state's column.
func (s *store) Migration(ctx context.Context) (bill.Migration, error) {
	held, err := column[string](ctx, s, `SELECT migration FROM qlink.state`)
	if err != nil {
		return bill.Migration{}, err
	}
	return migrationIn(held[0])
}

// SetMigration writes the column alone.
func (s *store) SetMigration(ctx context.Context, m bill.Migration) error {
	if err := s.Import(ctx, nil, m); err != nil {
		return err
	}
	return s.call(ctx, func(ctx context.Context, conn *pgxpool.Conn) error {
		var st state
		err := st.read(conn.QueryRow(ctx, s.in(askState)))
		if err == nil {
			s.noteClosed(st.closed)
		}
		return err
	})
}

// columnOf is what the column holds.
func columnOf(m bill.Migration) (string, error) {
	if m.Role == bill.RoleNone {
		return "", nil
	}
	text, err := codec.Marshal(m)
	return string(text), err
}

// queueMigration queues what the column is to hold. A store that was left and
// serves again has its checkouts closed: orders may have been paid elsewhere.
func (s *store) queueMigration(b *pgx.Batch, column string) {
	b.Queue(s.in(`UPDATE qlink.state SET migration = $1::text, checkouts_closed = CASE WHEN $1::text <> '' OR migration = '' THEN checkouts_closed
		WHEN migration::jsonb ->> 'role' = 'left' THEN now() ELSE checkouts_closed END`), column).Exec(func(tag pgconn.CommandTag) error {
		if tag.RowsAffected() != 1 {
			return fmt.Errorf("%w: the schema has no state", bill.ErrUnavailable)
		}
		return nil
	})
}

// Quiesce waits until the commits have ended that had begun when the store was
// told.
func (s *store) Quiesce(ctx context.Context) error {
	if err := s.usable(ctx); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(restTime):
		return nil
	}
}

// emptied are the tables that Abandon empties.
const emptied = `TRUNCATE qlink.bills, qlink.details, qlink.events, qlink.orders, qlink.notifications, qlink.idempotency, qlink.orphans,
	qlink.changes, qlink.counts`

// Abandon empties all tables at once, and forgets the migration with them.
func (s *store) Abandon(ctx context.Context) error {
	m, err := s.Migration(ctx)
	if err != nil {
		return err
	}
	if m.Role != bill.RoleTarget {
		return fmt.Errorf("abandon %s: nothing is being carried into it", s.Place())
	}
	err = s.move(ctx, func(b *pgx.Batch, _ *outcome) {
		b.Queue(s.in(emptied))
		s.queueMigration(b, "")
	})
	if err != nil {
		return fmt.Errorf("abandon %s: %w", s.Place(), err)
	}
	return s.Close()
}

// Interface guards
var (
	_ bill.Movable       = (*store)(nil)
	_ bill.MovableOpener = (*Store)(nil)
)
