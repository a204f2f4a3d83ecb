package postgres

import (
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

// Due reads the index of due times.
func (s *store) Due(ctx context.Context, until time.Time, limit int) ([]string, error) {
	return s.ids(ctx, `SELECT id FROM qlink.bills WHERE due <= $1 ORDER BY due, id LIMIT $2`, until, max(limit, 0))
}

// DueNotifications does the same.
func (s *store) DueNotifications(ctx context.Context, until time.Time, limit int) ([]string, error) {
	return s.ids(ctx, `SELECT id FROM qlink.notifications WHERE due <= $1 ORDER BY due, id LIMIT $2`, until, max(limit, 0))
}

func (s *store) ids(ctx context.Context, statement string, args ...any) ([]string, error) {
	ids, err := column[string](ctx, s, statement, args...)
	for i, id := range ids {
		ids[i] = plain(id)
	}
	return ids, err
}

// Ended reads the index of what can be forgotten.
func (s *store) Ended(ctx context.Context, until time.Time, cursor string, limit int) (page []string, next string, err error) {
	behind, err := passed[place](listingEnded, cursor)
	if err != nil {
		return nil, "", err
	}
	var q query
	conditions := []string{"forgettable", "updated_at <= " + q.arg(until)}
	if behind != nil {
		conditions = append(conditions, "(updated_at, id) > ("+q.arg(behind.At)+", "+q.arg(behind.ID)+")")
	}
	limit = clamp(limit)
	statement := s.in(`SELECT updated_at, id FROM qlink.bills WHERE ` + where(conditions) + ` ORDER BY updated_at, id LIMIT ` + q.arg(limit+1))
	var places []place
	err = s.call(ctx, func(ctx context.Context, conn *pgxpool.Conn) error {
		rows, err := conn.Query(ctx, statement, q.args...)
		if err != nil {
			return err
		}
		places, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (p place, err error) {
			err = row.Scan(&p.At, &p.ID)
			return p, err
		})
		return err
	})
	if err != nil {
		return nil, "", err
	}
	if len(places) > limit {
		places = places[:limit]
		if next, err = cursorTo(listingEnded, places[limit-1]); err != nil {
			return nil, "", err
		}
	}
	for _, p := range places {
		page = append(page, plain(p.ID))
	}
	return page, next, nil
}

// Leases are taken in one statement. What another one is just taking or writing
// is skipped: it is not waited for, and comes with the next call if it is still
// due.
const (
	leaseBills = `UPDATE qlink.bills SET leased_by = $1, leased_until = now() + $2::float8 * interval '1 second' WHERE id = ANY (ARRAY (
			SELECT id FROM qlink.bills WHERE due <= $3 AND (leased_until IS NULL OR leased_until < now() OR leased_by = $1)
			ORDER BY due, id LIMIT $4 FOR UPDATE SKIP LOCKED
		)) RETURNING due, id`
	leaseNotifications = `UPDATE qlink.notifications SET leased_by = $1, leased_until = now() + $2::float8 * interval '1 second' WHERE id = ANY (ARRAY (
			SELECT id FROM qlink.notifications d WHERE due <= $3 AND (leased_until IS NULL OR leased_until < now() OR leased_by = $1)
			AND NOT EXISTS (SELECT FROM qlink.notifications o WHERE o.target = d.target AND o.leased_until >= now() AND o.leased_by <> $1)
			ORDER BY due, id LIMIT $4 FOR UPDATE SKIP LOCKED
		)) RETURNING due, id`
)

func (s *store) LeaseDue(ctx context.Context, l bill.Lease) ([]string, error) {
	return s.lease(ctx, leaseBills, l)
}

func (s *store) LeaseDueNotifications(ctx context.Context, l bill.Lease) ([]string, error) {
	return s.lease(ctx, leaseNotifications, l)
}

func (s *store) lease(ctx context.Context, statement string, l bill.Lease) (ids []string, err error) {
	var leased []place
	err = s.call(ctx, func(ctx context.Context, conn *pgxpool.Conn) error {
		rows, err := conn.Query(ctx, s.in(statement), text(l.Holder), l.For.Seconds(), l.Until, max(l.Limit, 0))
		if err != nil {
			return err
		}
		leased, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (p place, err error) {
			err = row.Scan(&p.At, &p.ID)
			return p, err
		})
		return err
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(leased, place.compare) // an UPDATE returns them as it likes
	for _, p := range leased {
		ids = append(ids, plain(p.ID))
	}
	return ids, nil
}

func (s *store) ReleaseNotification(ctx context.Context, holder, id string) error {
	return s.execute(ctx, `UPDATE qlink.notifications SET leased_by = NULL, leased_until = NULL WHERE id = $2 AND leased_by = $1`, text(holder), text(id))
}

func (s *store) Release(ctx context.Context, holder string) error {
	err := s.execute(ctx, `UPDATE qlink.bills SET leased_by = NULL, leased_until = NULL WHERE leased_by = $1 AND due IS NOT NULL`, text(holder))
	if err != nil {
		return err
	}
	return s.execute(ctx, `UPDATE qlink.notifications SET leased_by = NULL, leased_until = NULL WHERE leased_by = $1 AND leased_until IS NOT NULL`, text(holder))
}

func (s *store) execute(ctx context.Context, statement string, args ...any) error {
	return s.call(ctx, func(ctx context.Context, conn *pgxpool.Conn) error {
		_, err := conn.Exec(ctx, s.in(statement), args...)
		return err
	})
}
