package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

// stripes is over how many rows the counts are spread.
const stripes = 128

// counts are how many records of a kind there are, or by how many that changes.
type counts struct {
	Choose, Created, Wait, Success, Fail, Canceled, Expired int64
	Late, Refunds                                           int64
	Pending, Delivered, Superseded, Dead                    int64
	Orphans                                                 int64
}

// bill counts one n times: once where it comes, -1 times where it goes.
func (c *counts) bill(s bill.Status, late, refund bool, n int64) {
	if place := c.of(s); place != nil {
		*place += n
	}
	if late {
		c.Late += n
	}
	if refund {
		c.Refunds += n
	}
}

// notification does the same.
func (c *counts) notification(s bill.NotificationState, n int64) {
	if place := c.in(s); place != nil {
		*place += n
	}
}

// of returns the place of a status, or nil.
func (c *counts) of(s bill.Status) *int64 {
	switch s {
	case bill.Choose:
		return &c.Choose
	case bill.Created:
		return &c.Created
	case bill.Wait:
		return &c.Wait
	case bill.Success:
		return &c.Success
	case bill.Fail:
		return &c.Fail
	case bill.Canceled:
		return &c.Canceled
	case bill.Expired:
		return &c.Expired
	}
	return nil
}

// in returns the place of a notification's state, or nil.
func (c *counts) in(s bill.NotificationState) *int64 {
	switch s {
	case bill.Pending:
		return &c.Pending
	case bill.Delivered:
		return &c.Delivered
	case bill.Superseded:
		return &c.Superseded
	case bill.Dead:
		return &c.Dead
	}
	return nil
}

// addCounts takes counts.args.
const addCounts = `INSERT INTO qlink.counts AS c
	(stripe, choose, created, wait, success, fail, canceled, expired, late, refunds, pending, delivered, superseded, dead, orphans)
	VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
	ON CONFLICT (stripe) DO UPDATE SET choose = c.choose + excluded.choose, created = c.created + excluded.created, wait = c.wait + excluded.wait,
	success = c.success + excluded.success, fail = c.fail + excluded.fail, canceled = c.canceled + excluded.canceled, expired = c.expired + excluded.expired,
	late = c.late + excluded.late, refunds = c.refunds + excluded.refunds, pending = c.pending + excluded.pending,
	delivered = c.delivered + excluded.delivered, superseded = c.superseded + excluded.superseded, dead = c.dead + excluded.dead,
	orphans = c.orphans + excluded.orphans`

func (c counts) args(stripe int) []any {
	return []any{
		stripe, c.Choose, c.Created, c.Wait, c.Success, c.Fail, c.Canceled, c.Expired, c.Late, c.Refunds,
		c.Pending, c.Delivered, c.Superseded, c.Dead, c.Orphans,
	}
}

// sumCounts returns the sums, and the times at the ends of two indexes, all as
// of one moment.
const sumCounts = `SELECT sum(choose)::bigint, sum(created)::bigint, sum(wait)::bigint, sum(success)::bigint, sum(fail)::bigint, sum(canceled)::bigint,
	sum(expired)::bigint, sum(late)::bigint, sum(refunds)::bigint, sum(pending)::bigint, sum(delivered)::bigint, sum(superseded)::bigint, sum(dead)::bigint,
	sum(orphans)::bigint,
	(SELECT min(created_at) FROM qlink.notifications WHERE state = 'pending'),
	(SELECT min(due) FROM qlink.bills WHERE due IS NOT NULL)
	FROM qlink.counts`

// Counts adds the stripes up.
func (s *store) Counts(ctx context.Context) (bill.Counts, error) {
	shown := bill.Counts{Bills: make(map[bill.Status]uint64), Notifications: make(map[bill.NotificationState]uint64)}
	err := s.call(ctx, func(ctx context.Context, conn *pgxpool.Conn) error {
		var sums [14]*int64
		var oldestPending, oldestDue *time.Time
		targets := make([]any, 0, len(sums)+2)
		for i := range sums {
			targets = append(targets, &sums[i])
		}
		if err := conn.QueryRow(ctx, s.in(sumCounts)).Scan(append(targets, &oldestPending, &oldestDue)...); err != nil {
			return err
		}
		sum := func(i int) uint64 {
			if sums[i] == nil {
				return 0 // there is no stripe yet
			}
			return uint64(max(*sums[i], 0))
		}
		for i, status := range []bill.Status{bill.Choose, bill.Created, bill.Wait, bill.Success, bill.Fail, bill.Canceled, bill.Expired} {
			if n := sum(i); n > 0 {
				shown.Bills[status] = n
			}
		}
		shown.Late, shown.Refunds = sum(7), sum(8)
		for i, state := range []bill.NotificationState{bill.Pending, bill.Delivered, bill.Superseded, bill.Dead} {
			if n := sum(9 + i); n > 0 {
				shown.Notifications[state] = n
			}
		}
		shown.Orphans = sum(13)
		shown.OldestPending, shown.OldestDue = utc(oldestPending), utc(oldestDue)
		return nil
	})
	return shown, err
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
