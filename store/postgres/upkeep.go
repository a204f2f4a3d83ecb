package postgres

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"go.uber.org/zap"
)

const (
	upkeepEvery = time.Minute
	upkeepBatch = 10_000 // rows deleted at once
	// rememberAtLeast is how long an answer under an Idempotency-Key is kept after
	// it is over, or was written if that was later: it knows itself when it is
	// over, by the engine's clock; this only bounds what piles up, by the
	// database's, from which the engine's may differ by days.
	rememberAtLeast = 48 * time.Hour
)

// upkeep deletes what nobody asks for any more, and measures the store. Every
// node does so; what one is just deleting, another one skips.
func (s *store) upkeep(ctx context.Context) {
	for wait := time.Second; ; wait = upkeepEvery + rand.N(upkeepEvery/4) { //nolint:gosec // spreads the nodes
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		if err := s.tidy(ctx); err != nil && ctx.Err() == nil && s.health.err() == nil {
			s.logger().Warn("upkeep of the store is put off", zap.Error(err))
		}
	}
}

func (s *store) tidy(ctx context.Context) error {
	if err := s.clear(ctx, `DELETE FROM qlink.changes WHERE place = ANY (ARRAY (
			SELECT place FROM qlink.changes WHERE place <= $1 ORDER BY place LIMIT $2 FOR UPDATE SKIP LOCKED))`,
		s.follower.passed.Load()); err != nil {
		return err
	}
	if err := s.clear(ctx, `DELETE FROM qlink.idempotency WHERE key = ANY (ARRAY (
			SELECT key FROM qlink.idempotency WHERE expires_at < now() - $1::float8 * interval '1 second' ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED))`,
		rememberAtLeast.Seconds()); err != nil {
		return err
	}
	sizes, err := column[int64](ctx, s, `SELECT sum(pg_total_relation_size(c.oid))::bigint FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE n.nspname = $1 AND c.relkind = 'r'`, s.schema)
	if err != nil {
		return err
	}
	s.size.Store(sizes[0])
	return nil
}

// clear deletes all that a statement finds to be older, some at a time.
func (s *store) clear(ctx context.Context, statement string, than any) error {
	for {
		var deleted int64
		err := s.call(ctx, func(ctx context.Context, conn *pgxpool.Conn) error {
			tag, err := conn.Exec(ctx, s.in(statement), than, upkeepBatch)
			deleted = tag.RowsAffected()
			return err
		})
		if err != nil || deleted < upkeepBatch {
			return err
		}
	}
}
