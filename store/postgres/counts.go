package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/store/internal/census"
)

// stripes is over how many rows the counts are spread.
const stripes = 128

// addCounts takes addArgs: a stripe, and the columns of census.Counts.
const addCounts = `INSERT INTO qlink.counts AS c
	(stripe, choose, created, wait, success, fail, canceled, expired, late, refunds, pending, delivered, superseded, dead, orphans)
	VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
	ON CONFLICT (stripe) DO UPDATE SET choose = c.choose + excluded.choose, created = c.created + excluded.created, wait = c.wait + excluded.wait,
	success = c.success + excluded.success, fail = c.fail + excluded.fail, canceled = c.canceled + excluded.canceled, expired = c.expired + excluded.expired,
	late = c.late + excluded.late, refunds = c.refunds + excluded.refunds, pending = c.pending + excluded.pending,
	delivered = c.delivered + excluded.delivered, superseded = c.superseded + excluded.superseded, dead = c.dead + excluded.dead,
	orphans = c.orphans + excluded.orphans`

// addArgs are its arguments.
func addArgs(stripe int, c census.Counts) []any {
	args := []any{stripe}
	for _, n := range c.Columns() {
		args = append(args, *n)
	}
	return args
}

// sumCounts returns the sums in the same order, and the times at the ends of two
// indexes, all as of one moment.
const sumCounts = `SELECT coalesce(sum(choose), 0)::bigint, coalesce(sum(created), 0)::bigint, coalesce(sum(wait), 0)::bigint,
	coalesce(sum(success), 0)::bigint, coalesce(sum(fail), 0)::bigint, coalesce(sum(canceled), 0)::bigint, coalesce(sum(expired), 0)::bigint,
	coalesce(sum(late), 0)::bigint, coalesce(sum(refunds), 0)::bigint, coalesce(sum(pending), 0)::bigint, coalesce(sum(delivered), 0)::bigint,
	coalesce(sum(superseded), 0)::bigint, coalesce(sum(dead), 0)::bigint, coalesce(sum(orphans), 0)::bigint,
	(SELECT min(created_at) FROM qlink.notifications WHERE state = 'pending'),
	(SELECT min(due) FROM qlink.bills WHERE due IS NOT NULL)
	FROM qlink.counts`

// Counts adds the stripes up.
func (s *store) Counts(ctx context.Context) (bill.Counts, error) {
	var sums census.Counts
	var oldestPending, oldestDue *time.Time
	err := s.call(ctx, func(ctx context.Context, conn *pgxpool.Conn) error {
		var places []any
		for _, n := range sums.Columns() {
			places = append(places, n)
		}
		return conn.QueryRow(ctx, s.in(sumCounts)).Scan(append(places, &oldestPending, &oldestDue)...)
	})
	if err != nil {
		return bill.Counts{}, err
	}
	shown := sums.Public()
	shown.OldestPending, shown.OldestDue = utc(oldestPending), utc(oldestDue)
	return shown, nil
}

// OpenBills adds the stripes up, too.
func (s *store) OpenBills(ctx context.Context) (int, error) {
	sums, err := column[int](ctx, s, `SELECT coalesce(sum(choose + created + wait), 0)::bigint FROM qlink.counts`)
	if err != nil {
		return 0, err
	}
	return sums[0], nil
}

// OpenBillsOf counts in the index of those who have open bills.
func (s *store) OpenBillsOf(ctx context.Context, client string, limit int) (int, error) {
	if client == "" || limit <= 0 {
		return 0, s.usable(ctx)
	}
	found, err := column[int](ctx, s, `SELECT count(*) FROM (SELECT FROM qlink.bills WHERE client = $1 LIMIT $2) AS open`, name(client), limit)
	if err != nil {
		return 0, err
	}
	return found[0], nil
}

// usable returns why no call can be made, or nil.
func (s *store) usable(ctx context.Context) error {
	return s.call(ctx, func(context.Context, *pgxpool.Conn) error { return nil })
}

func utc(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.UTC()
}
