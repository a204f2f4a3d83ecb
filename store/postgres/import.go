package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

// Import writes the page, and the state of the migration, as one transaction.
// What stands in a record's place is deleted first.
func (s *store) Import(ctx context.Context, page []bill.Record, m bill.Migration) error {
	s.moving.Store(true)
	a, err := arrived(page)
	if err != nil {
		return err
	}
	column, err := columnOf(m)
	if err != nil {
		return err
	}
	return s.move(ctx, func(b *pgx.Batch, done *outcome) {
		a.queueRemoval(s, b, done)
		a.queue(s, b, done)
		s.queueMigration(b, column)
	})
}

// move runs a transaction of a migration.
func (s *store) move(ctx context.Context, queue func(*pgx.Batch, *outcome)) error {
	return s.call(ctx, func(ctx context.Context, conn *pgxpool.Conn) error {
		var done outcome
		return s.transact(ctx, conn, anyway, func(b *pgx.Batch) { queue(b, &done) }, func(b *pgx.Batch) {
			done.moved = nil // nobody watches
			s.follow(b, done)
		})
	})
}

// anyway is committable for who moves the store.
func anyway(row pgx.Row) error { return row.Scan(nil, nil, nil, nil) }

// arrival is a page with its records encoded.
type arrival struct {
	bills         []billWrite
	orders        []orderWrite
	notifications []notificationWrite
	answers       []idempotencyWrite
	orphans       []orphanWrite
}

func arrived(page []bill.Record) (a arrival, err error) {
	for i := 0; i < len(page) && err == nil; i++ {
		var w *writes
		switch r := page[i]; {
		case r.Bill != nil:
			var b billWrite
			b, err = sealedBill(bill.BillChange{Bill: r.Bill.Bill, Details: r.Bill.Details, Events: r.Bill.Events})
			a.bills = append(a.bills, b)
		case r.Order != nil:
			if w, err = encodedChange(bill.Change{Order: r.Order}); err == nil {
				a.orders = append(a.orders, *w.order)
			}
		case r.Notification != nil:
			if w, err = encodedChange(bill.Change{Notifications: []bill.Notification{*r.Notification}}); err == nil {
				a.notifications = append(a.notifications, w.notifications[0])
			}
		case r.Idempotency != nil:
			if w, err = encodedChange(bill.Change{Idempotency: r.Idempotency}); err == nil {
				a.answers = append(a.answers, *w.idempotency)
			}
		case r.Orphan != nil:
			if w, err = encodedChange(bill.Change{Orphan: r.Orphan}); err == nil {
				a.orphans = append(a.orphans, *w.orphan)
			}
		}
	}
	return a, err
}

// queueRemoval queues the deletion of what is in the way, so that it is
// counted no more.
func (a *arrival) queueRemoval(s *store, b *pgx.Batch, done *outcome) {
	var ids []string
	for _, w := range a.bills {
		ids = append(ids, text(w.Bill.ID))
	}
	if len(ids) > 0 {
		b.Queue(s.in(`DELETE FROM qlink.bills WHERE id = ANY($1) RETURNING status, late, refund`), ids).Query(func(rows pgx.Rows) error {
			var status string
			var late, refund bool
			_, err := pgx.ForEachRow(rows, []any{&status, &late, &refund}, func() error {
				done.counted.Bill(bill.Bill{Status: bill.Status(plain(status)), LatePayment: late, RefundDue: refund}, -1)
				return nil
			})
			return err
		})
		b.Queue(s.in(`DELETE FROM qlink.details WHERE bill = ANY($1)`), ids)
		b.Queue(s.in(`DELETE FROM qlink.events WHERE bill = ANY($1)`), ids)
	}
	for _, w := range a.orders {
		b.Queue(s.in(`DELETE FROM qlink.orders WHERE order_code = $1 AND ledger = $2 AND shop = $3`), name(w.Key.OrderCode), name(w.Key.Ledger), name(w.Key.Shop))
	}
	a.queueRemovalOfNews(s, b, done)
	for _, w := range a.orphans {
		b.Queue(s.in(`DELETE FROM qlink.orphans WHERE ledger = $1 AND id = $2 RETURNING resolved`), text(w.Ledger), text(w.ID)).Query(func(rows pgx.Rows) error {
			var resolved bool
			_, err := pgx.ForEachRow(rows, []any{&resolved}, func() error {
				if !resolved {
					done.counted.Orphans--
				}
				return nil
			})
			return err
		})
	}
}

func (a *arrival) queueRemovalOfNews(s *store, b *pgx.Batch, done *outcome) {
	var ids []string
	for _, w := range a.notifications {
		ids = append(ids, text(w.ID))
	}
	if len(ids) == 0 {
		return
	}
	b.Queue(s.in(`DELETE FROM qlink.notifications WHERE id = ANY($1) RETURNING state`), ids).Query(func(rows pgx.Rows) error {
		var state string
		_, err := pgx.ForEachRow(rows, []any{&state}, func() error {
			done.counted.Notification(bill.Notification{State: bill.NotificationState(plain(state))}, -1)
			return nil
		})
		return err
	})
}

// queue queues all that arrives, whatever its revision.
func (a *arrival) queue(s *store, b *pgx.Batch, done *outcome) {
	for i := range a.bills {
		a.bills[i].queueNew(s, b, done)
		a.bills[i].queueBeside(s, b)
	}
	for i := range a.orders {
		a.orders[i].queueNew(s, b)
	}
	for i := range a.notifications {
		a.notifications[i].queueNew(s, b, done)
	}
	for i := range a.answers {
		a.answers[i].queueAnyway(s, b)
	}
	for i := range a.orphans {
		a.orphans[i].queueNew(s, b, done)
	}
}

// queueAnyway writes an answer whatever is held.
func (w *idempotencyWrite) queueAnyway(s *store, b *pgx.Batch) {
	b.Queue(s.in(`INSERT INTO qlink.idempotency (key, expires_at, record) VALUES ($1, greatest($2, now()), $3)
		ON CONFLICT (key) DO UPDATE SET expires_at = excluded.expires_at, record = excluded.record`), name(w.Key), w.ExpiresAt, w.record)
}
