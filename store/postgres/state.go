package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

// state is what the store knows of itself, as far as nodes heed it. Each reads
// it when it connects, and with every poll.
type state struct {
	oldest    int64
	migration string
	closed    *time.Time
}

const askState = `SELECT oldest, migration, checkouts_closed FROM qlink.state`

func (st *state) read(row pgx.Row) error {
	return row.Scan(&st.oldest, &st.migration, &st.closed)
}

// heed takes note of it, and returns why this program cannot use the store, or
// nil.
func (s *store) heed(st state) error {
	s.noteClosed(st.closed)
	return errors.Join(compatible(st.oldest), s.servable(st.migration))
}

func (s *store) noteClosed(since *time.Time) {
	if since == nil {
		s.checkoutsClosed.Store(0)
		return
	}
	s.checkoutsClosed.Store(since.UnixNano())
}

// CheckoutsClosed returns since when an operator who has restored the database
// has them closed, or they are because the store was taken back.
func (s *store) CheckoutsClosed() time.Time {
	since := s.checkoutsClosed.Load()
	if since == 0 {
		return time.Time{}
	}
	return time.Unix(0, since).UTC()
}

// Reopen opens checkouts at all nodes; the others hear of it with their next
// poll.
func (s *store) Reopen(ctx context.Context) error {
	if s.CheckoutsClosed().IsZero() {
		return s.usable(ctx)
	}
	err := s.call(ctx, func(ctx context.Context, conn *pgxpool.Conn) error {
		return s.transact(ctx, conn, committable,
			func(b *pgx.Batch) { b.Queue(s.in(`UPDATE qlink.state SET checkouts_closed = NULL`)) }, func(*pgx.Batch) {})
	})
	if err != nil {
		return fmt.Errorf("reopen checkouts: %w", err)
	}
	s.noteClosed(nil)
	return nil
}

// Interface guard
var _ bill.Restorable = (*store)(nil)
