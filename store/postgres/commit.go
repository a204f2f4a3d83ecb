package postgres

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/store/internal/census"
	"github.com/caddy-qlink/caddy-qlink/store/internal/codec"
)

// begin opens a transaction that is durable when it is committed, gives up
// what waits for another one, and holds up nobody for long where this process
// is cut off in the middle of it. The settings are the transaction's own, since a
// pooler may give the session to somebody else. Besides, it returns the state
// of a migration.
const begin = `SELECT
	set_config('synchronous_commit', CASE current_setting('synchronous_commit') WHEN 'off' THEN 'on' ELSE current_setting('synchronous_commit') END, true),
	set_config('lock_timeout', '4s', true),
	set_config('idle_in_transaction_session_timeout', '5s', true),
	(SELECT migration FROM qlink.state)`

// move is a version that a buyer can see.
type move struct {
	id      string
	version uint64
}

// outcome is what the writes of a change come to, as the database saw them.
type outcome struct {
	counted census.Counts
	moved   []move
	renewed *idempotencyWrite // takes the place of an answer that gave way
}

// Commit writes the change in two round trips: its writes, each of which says
// whether it found what it expected; and if all did, what follows from them,
// with the commit.
func (s *store) Commit(ctx context.Context, c bill.Change) error {
	w, err := sealed(c)
	if err != nil {
		return err
	}
	begun := time.Now()
	var done outcome
	err = s.call(ctx, func(ctx context.Context, conn *pgxpool.Conn) error {
		if w.isEmpty() {
			return nil
		}
		done = outcome{}
		return s.transact(ctx, conn, committable, func(b *pgx.Batch) { w.queue(s, b, &done) }, func(b *pgx.Batch) { s.follow(b, done) })
	})
	if err != nil {
		return err
	}
	if s.committed != nil && !w.isEmpty() {
		s.committed(1, time.Since(begun))
	}
	for _, m := range done.moved {
		s.follower.tell(m.id, m.version)
	}
	s.announcer.announce(done.moved)
	return nil
}

// uncertain is the error of a commit whose end was not seen.
var errUncertain = errors.New("the commit may have been written, or not")

// warned is where a connection keeps that the server has warned.
const warned = "qlink warned"

// noteWarning notes a warning. With one, a commit ends that was not waited for
// until the standby had it, since somebody has cancelled that.
func noteWarning(conn *pgconn.PgConn, n *pgconn.Notice) {
	if n.Code == warning {
		conn.CustomData()[warned] = true
	}
}

// transact runs two batches as one transaction, if it may begin by what begin
// returns. What the first one came to is known when the second one is filled.
func (s *store) transact(ctx context.Context, conn *pgxpool.Conn, may func(pgx.Row) error, first, second func(*pgx.Batch)) error {
	writes := new(pgx.Batch)
	writes.Queue("BEGIN")
	writes.Queue(s.in(begin)).QueryRow(may)
	first(writes)
	if err := conn.SendBatch(ctx, writes).Close(); err != nil {
		return err // Release closes the connection, and with it the transaction
	}
	rest := new(pgx.Batch)
	second(rest)
	var ended string
	rest.Queue("COMMIT").Exec(func(tag pgconn.CommandTag) error {
		ended = tag.String()
		return nil
	})
	heard := conn.Conn().PgConn().CustomData()
	delete(heard, warned)
	switch err := conn.SendBatch(ctx, rest).Close(); {
	case err != nil && code(err) != "":
		return err // the server says that it failed
	case err != nil:
		return fmt.Errorf("%w: %w: %w", bill.ErrUnavailable, errUncertain, err)
	case ended != "COMMIT":
		return fmt.Errorf("%w: the transaction ended with %q", bill.ErrUnavailable, ended)
	case heard[warned] != nil:
		return fmt.Errorf("%w: %w: the server did not wait for its standby", bill.ErrUnavailable, errUncertain)
	}
	return nil
}

// follow queues what other nodes are to hear, and what is counted.
func (s *store) follow(b *pgx.Batch, done outcome) {
	if len(done.moved) > 0 {
		ids, versions := make([]string, len(done.moved)), make([]int64, len(done.moved))
		for i, m := range done.moved {
			ids[i], versions[i] = text(m.id), int64(m.version) //nolint:gosec // a count
		}
		b.Queue(s.in(`INSERT INTO qlink.changes (bill, version) SELECT * FROM unnest($1::text[], $2::bigint[])`), ids, versions)
	}
	if i := done.renewed; i != nil {
		b.Queue(s.in(`UPDATE qlink.idempotency SET expires_at = greatest($2, now()), record = $3 WHERE key = $1`), name(i.Key), i.ExpiresAt, i.record)
	}
	if done.counted != (census.Counts{}) {
		b.Queue(s.in(addCounts), addArgs(rand.N(stripes), done.counted)...) //nolint:gosec // spreads load, hides nothing
	}
}

// writes are a change with its records encoded, in the order in which they lock
// what they write: the same for all, so that no two wait for each other.
type writes struct {
	order         *orderWrite
	bills         []billWrite
	notifications []notificationWrite
	orphan        *orphanWrite
	idempotency   *idempotencyWrite
}

type orderWrite struct {
	bill.OrderRecord
	record string
}

type billWrite struct {
	bill.BillChange
	record  string
	details string // "": none
	events  []string
}

type notificationWrite struct {
	bill.Notification
	record string
}

type orphanWrite struct {
	bill.Orphan
	record string
}

type idempotencyWrite struct {
	bill.Idempotency
	record string
}

func (w *writes) isEmpty() bool {
	return w.order == nil && len(w.bills) == 0 && len(w.notifications) == 0 && w.orphan == nil && w.idempotency == nil
}

// sealed returns the writes in their order.
func sealed(c bill.Change) (*writes, error) {
	w, err := encodedChange(c)
	if err != nil {
		return nil, err
	}
	return w, w.sort()
}

func encodedChange(c bill.Change) (w *writes, err error) {
	w = new(writes)
	if c.Order != nil {
		w.order = &orderWrite{OrderRecord: *c.Order}
		w.order.record, err = encoded(c.Order, c.Order.Key.Ledger, c.Order.Key.Shop, c.Order.Key.OrderCode)
		if err != nil {
			return nil, fmt.Errorf("order: %w", err)
		}
	}
	for _, given := range c.Bills {
		b, err := sealedBill(given)
		if err != nil {
			return nil, fmt.Errorf("bill %.80q: %w", given.Bill.ID, err)
		}
		w.bills = append(w.bills, b)
	}
	for _, given := range c.Notifications {
		n := notificationWrite{Notification: given}
		if n.record, err = encoded(given); err != nil {
			return nil, fmt.Errorf("notification %.80q: %w", given.ID, err)
		}
		w.notifications = append(w.notifications, n)
	}
	if c.Orphan != nil {
		w.orphan = &orphanWrite{Orphan: *c.Orphan}
		if w.orphan.record, err = encoded(c.Orphan); err != nil {
			return nil, fmt.Errorf("orphan: %w", err)
		}
	}
	if c.Idempotency != nil {
		w.idempotency = &idempotencyWrite{Idempotency: *c.Idempotency}
		if w.idempotency.record, err = encoded(c.Idempotency, c.Idempotency.Key); err != nil {
			return nil, fmt.Errorf("idempotency key: %w", err)
		}
	}
	return w, nil
}

func sealedBill(given bill.BillChange) (b billWrite, err error) {
	b.BillChange = given
	if b.record, err = encoded(given.Bill); err != nil {
		return b, err
	}
	if given.Details != nil {
		if b.details, err = encoded(given.Details); err != nil {
			return b, err
		}
	}
	for _, event := range given.Events {
		data, err := encoded(event)
		if err != nil {
			return b, err
		}
		b.events = append(b.events, data)
	}
	return b, nil
}

// encoded is a record; the keys are what it is stored under without holding it.
func encoded(v any, keys ...string) (string, error) {
	for _, key := range keys {
		if !utf8.ValidString(key) {
			return "", fmt.Errorf("key %.80q is not UTF-8", key)
		}
	}
	data, err := codec.Marshal(v)
	return string(data), err
}

// numbered reports whether a revision is one that something can come to have.
func numbered(revision uint64) bool { return revision >= 1 && revision < math.MaxInt64 }

// sort brings the writes into order, and finds the conflicts among them. Of notifications, those that leave the
// place of the pending one come before those that take it.
func (w *writes) sort() error {
	slices.SortFunc(w.bills, func(a, b billWrite) int { return cmp.Compare(a.Bill.ID, b.Bill.ID) })
	if w.order != nil && !numbered(w.order.Revision) {
		return fmt.Errorf("%w: no order has a revision before %d", bill.ErrConflict, w.order.Revision)
	}
	for i, b := range w.bills {
		if !numbered(b.Bill.Revision) {
			return fmt.Errorf("%w: no bill has a revision before %d", bill.ErrConflict, b.Bill.Revision)
		}
		if i > 0 && w.bills[i-1].Bill.ID == b.Bill.ID {
			return fmt.Errorf("%w: bill %.80q is in the change twice", bill.ErrConflict, b.Bill.ID)
		}
	}
	ids := make(map[string]bool, len(w.notifications))
	for _, n := range w.notifications {
		if !numbered(n.Revision) {
			return fmt.Errorf("%w: no notification has a revision before %d", bill.ErrConflict, n.Revision)
		}
		if ids[n.ID] {
			return fmt.Errorf("%w: notification %.80q is in the change twice", bill.ErrConflict, n.ID)
		}
		ids[n.ID] = true
	}
	pending := func(n notificationWrite) int {
		if n.State == bill.Pending {
			return 1
		}
		return 0
	}
	slices.SortFunc(w.notifications, func(a, b notificationWrite) int {
		return cmp.Or(cmp.Compare(pending(a), pending(b)), cmp.Compare(a.ID, b.ID))
	})
	return nil
}

// queue queues all writes. done is known once the batch was run.
func (w *writes) queue(s *store, b *pgx.Batch, done *outcome) {
	if w.order != nil {
		w.order.queue(s, b)
	}
	for i := range w.bills {
		w.bills[i].queue(s, b, done)
	}
	w.queueNotifications(s, b, done)
	if w.orphan != nil {
		w.orphan.queue(s, b, done)
	}
	if w.idempotency != nil {
		w.idempotency.queue(s, b, done)
	}
}

// queue keeps the first answer under a key. The one that is held is locked, and
// read, before anything takes its place.
func (w *idempotencyWrite) queue(s *store, b *pgx.Batch, done *outcome) {
	b.Queue(s.in(`INSERT INTO qlink.idempotency (key, expires_at, record) VALUES ($1, greatest($2, now()), $3)
		ON CONFLICT (key) DO UPDATE SET key = excluded.key RETURNING record`), name(w.Key), w.ExpiresAt, w.record).
		QueryRow(func(row pgx.Row) error {
			var data []byte
			if err := row.Scan(&data); err != nil {
				return err
			}
			held, err := record[bill.Idempotency](data)
			if err != nil {
				return err
			}
			if !held.GivesWay(w.Idempotency) {
				return fmt.Errorf("%w: another answer is remembered under the idempotency key", bill.ErrConflict)
			}
			if string(data) != w.record {
				done.renewed = w
			}
			return nil
		})
}

// expected returns what makes a write that found nothing to write a conflict.
func expected(format string, args ...any) func(pgconn.CommandTag) error {
	return func(tag pgconn.CommandTag) error {
		if tag.RowsAffected() == 1 {
			return nil
		}
		return fmt.Errorf("%w: "+format, append([]any{bill.ErrConflict}, args...)...)
	}
}

func (w *orderWrite) queue(s *store, b *pgx.Batch) {
	if w.Revision == 1 {
		w.queueNew(s, b)
		return
	}
	b.Queue(s.in(`UPDATE qlink.orders SET revision = $4, record = $5 WHERE order_code = $1 AND ledger = $2 AND shop = $3 AND revision = $4::bigint - 1`),
		w.args()...).Exec(expected("the order is not at the revision before %d", w.Revision))
}

func (w *orderWrite) queueNew(s *store, b *pgx.Batch) {
	b.Queue(s.in(`INSERT INTO qlink.orders (order_code, ledger, shop, revision, record) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING`),
		w.args()...).Exec(expected("the order is there already"))
}

func (w *orderWrite) args() []any {
	return []any{name(w.Key.OrderCode), name(w.Key.Ledger), name(w.Key.Shop), int64(w.Revision), w.record} //nolint:gosec // a count
}

// Writes of bills. The numbers are those of billWrite.args.
const (
	insertBill = `INSERT INTO qlink.bills (id, revision, version, status, ledger, shop, order_code, attempt, account, amount, bill_code, request_id,
		client, created_at, updated_at, due, open, late, refund, held, forgettable, record)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22) ON CONFLICT DO NOTHING`
	updateBill = `UPDATE qlink.bills b SET revision = $2, version = $3, status = $4, ledger = $5, shop = $6, order_code = $7, attempt = $8, account = $9,
		amount = $10, bill_code = $11, request_id = $12, client = $13, created_at = $14, updated_at = $15, due = $16, open = $17, late = $18,
		refund = $19, held = $20, forgettable = $21, record = $22, leased_by = NULL, leased_until = NULL
		FROM qlink.bills held WHERE b.id = $1 AND b.revision = $2::bigint - 1 AND held.id = b.id
		RETURNING held.version, held.status, held.late, held.refund`
)

func (w *billWrite) args() []any {
	b := w.Bill
	isOpen := !b.Status.Final()
	client := ""
	if isOpen {
		client = b.Client
	}
	return []any{
		text(b.ID), int64(b.Revision), int64(b.Version), text(string(b.Status)), name(b.Ledger), name(b.Shop), name(b.OrderCode), int64(b.Attempt), //nolint:gosec // counts
		name(b.Account), name(b.Amount.Canonical()), optional(b.BillCode), optional(b.PaymentRequestID), optional(client),
		b.CreatedAt, b.UpdatedAt, moment(b.Due), isOpen, b.LatePayment, b.RefundDue, b.Unconfirmed(), b.Forgettable(), w.record,
	}
}

func (w *billWrite) queue(s *store, b *pgx.Batch, done *outcome) {
	now := w.Bill
	if now.Revision == 1 {
		w.queueNew(s, b, done)
	} else {
		b.Queue(s.in(updateBill), w.args()...).QueryRow(func(row pgx.Row) error {
			var version int64
			var status string
			var late, refund bool
			switch err := row.Scan(&version, &status, &late, &refund); {
			case errors.Is(err, pgx.ErrNoRows):
				return fmt.Errorf("%w: bill %.80q is not at the revision before %d", bill.ErrConflict, now.ID, now.Revision)
			case err != nil:
				return err
			}
			done.counted.Bill(bill.Bill{Status: bill.Status(plain(status)), LatePayment: late, RefundDue: refund}, -1)
			done.counted.Bill(now, 1)
			if uint64(version) != now.Version { //nolint:gosec // its bits
				done.moved = append(done.moved, move{now.ID, now.Version})
			}
			return nil
		})
	}
	if w.Forget {
		w.queueForgetting(s, b, done)
	}
	w.queueBeside(s, b)
}

func (w *billWrite) queueNew(s *store, b *pgx.Batch, done *outcome) {
	now := w.Bill
	b.Queue(s.in(insertBill), w.args()...).Exec(func(tag pgconn.CommandTag) error {
		done.counted.Bill(now, 1)
		if now.Version != 0 {
			done.moved = append(done.moved, move{now.ID, now.Version})
		}
		return expected("bill %.80q, or another one of that attempt of its order, is there already", now.ID)(tag)
	})
}

// queueBeside queues what is kept beside a bill.
func (w *billWrite) queueBeside(s *store, b *pgx.Batch) {
	now := w.Bill
	if w.details != "" {
		b.Queue(s.in(`INSERT INTO qlink.details (bill, record) VALUES ($1, $2) ON CONFLICT (bill) DO UPDATE SET record = excluded.record`),
			text(now.ID), w.details)
	}
	if len(w.events) > 0 {
		b.Queue(s.in(`INSERT INTO qlink.events (bill, revision, place, record)
			SELECT $1, $2, e.place, e.record FROM unnest($3::text[]) WITH ORDINALITY AS e (record, place)`),
			text(now.ID), int64(now.Revision), w.events) //nolint:gosec // a count
	}
}

// queueForgetting removes all that is kept of a bill besides its record. The
// notifications are looked through after those that may go have gone, so that
// one that came meanwhile is seen.
func (w *billWrite) queueForgetting(s *store, b *pgx.Batch, done *outcome) {
	id := text(w.Bill.ID)
	b.Queue(s.in(`DELETE FROM qlink.details WHERE bill = $1`), id)
	b.Queue(s.in(`DELETE FROM qlink.events WHERE bill = $1`), id)
	b.Queue(s.in(`DELETE FROM qlink.notifications WHERE bill = $1 AND state NOT IN ('pending', 'dead') RETURNING state`), id).Query(func(rows pgx.Rows) error {
		states, err := pgx.CollectRows(rows, pgx.RowTo[string])
		for _, state := range states {
			done.counted.Notification(bill.Notification{State: bill.NotificationState(plain(state))}, -1)
		}
		return err
	})
	b.Queue(s.in(`SELECT id FROM qlink.notifications WHERE bill = $1 LIMIT 1`), id).Query(func(rows pgx.Rows) error {
		left, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err == nil && len(left) > 0 {
			err = fmt.Errorf("%w: notification %.80q is not delivered", bill.ErrConflict, left[0])
		}
		return err
	})
}

// changingPlaces is the state, within a transaction, of notifications that are
// pending and stay so: each may take what another one of them leaves.
const changingPlaces = "changing places"

func (w *writes) queueNotifications(s *store, b *pgx.Batch, done *outcome) {
	var staying []string
	for _, n := range w.notifications {
		if n.State == bill.Pending && n.Revision > 1 {
			staying = append(staying, text(n.ID))
		}
	}
	if len(staying) > 1 {
		b.Queue(s.in(`UPDATE qlink.notifications SET state = $2 WHERE id = ANY($1) AND state = 'pending'`), staying, changingPlaces)
	}
	for i := range w.notifications {
		w.notifications[i].queue(s, b, done)
	}
}

// Writes of notifications. A lease ends with what it was for; but while a
// notification that is superseded is on its way, nothing may overtake it.
const (
	insertNotification = `INSERT INTO qlink.notifications (id, revision, state, bill, target, created_at, bill_created_at, due, record)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING`
	updateNotification = `UPDATE qlink.notifications n SET revision = $2, state = $3, bill = $4, target = $5, created_at = $6,
		bill_created_at = $7, due = $8, record = $9, leased_by = CASE WHEN $3 = 'superseded' THEN n.leased_by END,
		leased_until = CASE WHEN $3 = 'superseded' THEN n.leased_until END
		FROM qlink.notifications held WHERE n.id = $1 AND n.revision = $2::bigint - 1 AND held.id = n.id
		RETURNING held.state`
)

func (w *notificationWrite) queue(s *store, b *pgx.Batch, done *outcome) {
	n := w.Notification
	if n.Revision == 1 {
		w.queueNew(s, b, done)
		return
	}
	b.Queue(s.in(updateNotification), w.args()...).QueryRow(func(row pgx.Row) error {
		var state string
		switch err := row.Scan(&state); {
		case errors.Is(err, pgx.ErrNoRows):
			return fmt.Errorf("%w: notification %.80q is not at the revision before %d", bill.ErrConflict, n.ID, n.Revision)
		case err != nil:
			return err
		}
		if state == changingPlaces {
			state = string(bill.Pending)
		}
		done.counted.Notification(bill.Notification{State: bill.NotificationState(plain(state))}, -1)
		done.counted.Notification(n, 1)
		return nil
	})
}

func (w *notificationWrite) queueNew(s *store, b *pgx.Batch, done *outcome) {
	n := w.Notification
	b.Queue(s.in(insertNotification), w.args()...).Exec(func(tag pgconn.CommandTag) error {
		done.counted.Notification(n, 1)
		return expected("notification %.80q, or another pending one of its order and URL, is there already", n.ID)(tag)
	})
}

func (w *notificationWrite) args() []any {
	n := w.Notification
	return []any{
		text(n.ID), int64(n.Revision), text(string(n.State)), text(n.Bill), target(n.URL, n.OrderKey()), //nolint:gosec // a count
		n.CreatedAt, n.BillCreatedAt, moment(n.Due), w.record,
	}
}

// queue keeps the first word about a bill, until an operator's takes its
// place.
func (w *orphanWrite) queue(s *store, b *pgx.Batch, done *outcome) {
	ledger, id := text(w.Ledger), text(w.ID)
	if w.Resolved == nil {
		w.queueNew(s, b, done)
		return
	}
	b.Queue(s.in(`UPDATE qlink.orphans o SET resolved = true, record = $3 FROM qlink.orphans held
		WHERE o.ledger = $1 AND o.id = $2 AND held.ledger = o.ledger AND held.id = o.id RETURNING held.resolved`), ledger, id, w.record).
		QueryRow(func(row pgx.Row) error {
			var resolved bool
			err := row.Scan(&resolved)
			if errors.Is(err, pgx.ErrNoRows) {
				return fmt.Errorf("%w: there is no orphan %.80q to be resolved", bill.ErrConflict, w.ID)
			}
			if err == nil && !resolved {
				done.counted.Orphans--
			}
			return err
		})
}

func (w *orphanWrite) queueNew(s *store, b *pgx.Batch, done *outcome) {
	b.Queue(s.in(`INSERT INTO qlink.orphans (ledger, id, resolved, record) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING`),
		text(w.Ledger), text(w.ID), w.Resolved != nil, w.record).
		Exec(func(tag pgconn.CommandTag) error {
			if w.Resolved == nil {
				done.counted.Orphans += tag.RowsAffected()
			}
			return nil
		})
}
