package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

const listingExport = "export"

// fullPage is how many bytes of records an exported page takes no more from.
const fullPage = 256 << 10

// exportPlace is the last record that was gone over: its kind, and its key as in
// the columns.
type exportPlace struct {
	Kind int      `json:"kind"`
	Key  []string `json:"key"`
}

// row is a record as its table holds it.
type row struct {
	key    []string
	record []byte
}

const rowSize = "octet_length(record)"

// exported are the kinds of records, in their order.
var exported = []struct {
	table, key string // key: its columns
	size       string // of a row, in bytes
	read       func(context.Context, *store, []row) ([]bill.Record, error)
}{
	{
		"qlink.bills", "id",
		rowSize + " + coalesce((SELECT octet_length(d.record) FROM qlink.details d WHERE d.bill = t.id), 0)", exportBills,
	},
	{"qlink.idempotency", "key", rowSize, exportAnswers},
	{"qlink.notifications", "id", rowSize, exportNotifications},
	{"qlink.orders", "order_code, ledger, shop", rowSize, exportOrders},
	{"qlink.orphans", "ledger, id", rowSize, exportOrphans},
}

// Export walks the tables along their primary keys.
func (s *store) Export(ctx context.Context, cursor string, limit int) (page []bill.Record, next string, err error) {
	after, err := passed[exportPlace](listingExport, cursor)
	if err != nil {
		return nil, "", err
	}
	at := exportPlace{}
	if after != nil {
		at = *after
	}
	for kind := at.Kind; kind < len(exported); kind++ {
		rows, err := s.rows(ctx, kind, at.Key, clamp(limit))
		if err != nil {
			return nil, "", err
		}
		if len(rows) > 0 {
			page, err := exported[kind].read(ctx, s, rows)
			if err != nil {
				return nil, "", err
			}
			next, err = cursorTo(listingExport, exportPlace{kind, rows[len(rows)-1].key})
			return page, next, err
		}
		at.Key = nil
	}
	return nil, "", nil
}

// rows reads the next rows of a kind.
func (s *store) rows(ctx context.Context, kind int, after []string, limit int) (rows []row, err error) {
	x, q, condition := exported[kind], query{}, everything
	if len(after) > 0 {
		values := make([]string, len(after))
		for i, v := range after {
			values[i] = q.arg(v)
		}
		condition = fmt.Sprintf("(%s) > (%s)", x.key, strings.Join(values, ", "))
	}
	statement := fmt.Sprintf(`SELECT %[1]s, record FROM (
			SELECT %[1]s, record, sum(%[2]s) OVER (ORDER BY %[1]s) - (%[2]s) AS ahead FROM (
				SELECT %[1]s, record FROM %[3]s WHERE %[4]s ORDER BY %[1]s LIMIT %[5]d) AS t) AS page
		WHERE ahead < %[6]d ORDER BY %[1]s`, x.key, x.size, x.table, condition, limit, fullPage)
	err = s.call(ctx, func(ctx context.Context, conn *pgxpool.Conn) error {
		found, err := conn.Query(ctx, s.in(statement), q.args...)
		if err != nil {
			return err
		}
		rows, err = pgx.CollectRows(found, func(r pgx.CollectableRow) (one row, err error) {
			one.key = make([]string, strings.Count(x.key, ",")+1)
			var targets []any
			for i := range one.key {
				targets = append(targets, &one.key[i])
			}
			return one, r.Scan(append(targets, &one.record)...)
		})
		return err
	})
	return rows, err
}

// read reads each row by itself.
func read[T any](rows []row, as func(T, row) (bill.Record, error)) ([]bill.Record, error) {
	page := make([]bill.Record, 0, len(rows))
	for _, r := range rows {
		v, err := record[T](r.record)
		if err != nil {
			return nil, err
		}
		one, err := as(v, r)
		if err != nil {
			return nil, err
		}
		page = append(page, one)
	}
	return page, nil
}

func exportNotifications(_ context.Context, _ *store, rows []row) ([]bill.Record, error) {
	return read(rows, func(n bill.Notification, _ row) (bill.Record, error) { return bill.Record{Notification: &n}, nil })
}

func exportOrphans(_ context.Context, _ *store, rows []row) ([]bill.Record, error) {
	return read(rows, func(o bill.Orphan, _ row) (bill.Record, error) { return bill.Record{Orphan: &o}, nil })
}

func exportAnswers(_ context.Context, _ *store, rows []row) ([]bill.Record, error) {
	return read(rows, func(i bill.Idempotency, r row) (bill.Record, error) {
		if isHashed(r.key[0]) {
			return bill.Record{}, fmt.Errorf("%w: the key %.80q of an answer was too long to be kept", bill.ErrUnavailable, r.key[0])
		}
		i.Key = plain(r.key[0])
		return bill.Record{Idempotency: &i}, nil
	})
}

// exportOrders takes a key that was too long for its columns from the order's
// bill.
func exportOrders(ctx context.Context, s *store, rows []row) ([]bill.Record, error) {
	return read(rows, func(o bill.OrderRecord, r row) (bill.Record, error) {
		o.Key = bill.OrderKey{OrderCode: plain(r.key[0]), Ledger: plain(r.key[1]), Shop: plain(r.key[2])}
		if isHashed(r.key...) {
			b, err := s.billOf(ctx, o)
			if err != nil {
				return bill.Record{}, fmt.Errorf("order %.80q: its bill: %w", r.key[0], err)
			}
			o.Key = b.OrderKey()
		}
		return bill.Record{Order: &o}, nil
	})
}

// billOf returns a bill of an order.
func (s *store) billOf(ctx context.Context, o bill.OrderRecord) (bill.Bill, error) {
	if len(o.Attempts) == 0 {
		return bill.Bill{}, fmt.Errorf("%w: there is none", bill.ErrUnavailable)
	}
	return s.Bill(ctx, o.Attempts[0].ID)
}

func exportBills(ctx context.Context, s *store, rows []row) ([]bill.Record, error) {
	ids := make([]string, len(rows))
	for i, r := range rows {
		ids[i] = r.key[0]
	}
	details, err := beside[bill.Details](ctx, s, `SELECT bill, record FROM qlink.details WHERE bill = ANY($1)`, ids)
	events, err2 := beside[bill.Event](ctx, s, `SELECT bill, record FROM qlink.events WHERE bill = ANY($1) ORDER BY bill, revision, place`, ids)
	if err := errors.Join(err, err2); err != nil {
		return nil, err
	}
	return read(rows, func(b bill.Bill, r row) (bill.Record, error) {
		whole := &bill.WholeBill{Bill: b, Events: events[r.key[0]]}
		if held := details[r.key[0]]; len(held) > 0 {
			whole.Details = &held[0]
		}
		return bill.Record{Bill: whole}, nil
	})
}

// beside reads what is kept beside bills, by their ids as in the column.
func beside[T any](ctx context.Context, s *store, statement string, ids []string) (found map[string][]T, err error) {
	err = s.call(ctx, func(ctx context.Context, conn *pgxpool.Conn) error {
		found = make(map[string][]T)
		rows, err := conn.Query(ctx, s.in(statement), ids)
		if err != nil {
			return err
		}
		var id string
		var data []byte
		_, err = pgx.ForEachRow(rows, []any{&id, &data}, func() error {
			v, err := record[T](data)
			found[id] = append(found[id], v)
			return err
		})
		return err
	})
	return found, err
}
