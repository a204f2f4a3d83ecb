package integration

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/caddy-qlink/caddy-qlink/integration/processtest"
	"github.com/caddy-qlink/caddy-qlink/store/postgres/postgrestest"
)

// How throughput is measured. What is on this machine is all there is: nodes,
// database and those who ask share its cores, so the ratios tell more than the
// figures.
const (
	askers        = 24 // at once, over all nodes
	shortMeasure  = time.Second
	longMeasure   = 10 * time.Second
	openPerSecond = 4000 // bills that are made for a second's webhooks: more than there will be
	storedBy      = 10   // what very many bills may slow a node down by, at the most: an index that is missed does so by thousands
)

// What one, two and three nodes over one database take, with little in it and
// with very many bills.
func TestProveWhatSeveralNodesTake(t *testing.T) {
	p := newPopulace(t)
	few := p.measure(1000)
	many := p.measure(*proveBills)
	for i := range few.webhooks {
		if many.webhooks[i]*storedBy < few.webhooks[i] || many.statuses[i]*storedBy < few.statuses[i] {
			t.Errorf("%d nodes: %v and %v", i+1, few, many)
		}
	}
	prove(t, "throughput of 1, 2 and 3 nodes over one PostgreSQL, all on one machine",
		fmt.Sprintf("%d askers; with 1000 paid bills in the store, and with %d", askers, *proveBills), fmt.Sprintf("%v; with %d bills: %v", few, *proveBills, many))
}

// rates are what so many nodes do in a second: by nodes, from one on.
type rates struct{ webhooks, statuses []float64 }

func (r rates) String() string {
	show := func(n []float64) string { return fmt.Sprintf("%.0f, %.0f, %.0f a second", n[0], n[1], n[2]) }
	return "webhooks " + show(r.webhooks) + ", statuses " + show(r.statuses)
}

// populace are bills by the million: copies of two that a node has made, one
// open and one paid.
type populace struct {
	*nodes

	server *postgrestest.Server
	length time.Duration // of one measurement
	next   atomic.Int64  // open bill to be paid
}

func newPopulace(t *testing.T) *populace {
	t.Helper()
	p := &populace{length: shortMeasure}
	var settings []string
	if *proveBills >= listingJudged {
		p.length = longMeasure
		// What is loaded is not logged; and memory as a database of that size has it.
		settings = []string{"wal_level = minimal", "max_wal_senders = 0", "shared_buffers = 2GB", "maintenance_work_mem = 1GB", "max_wal_size = 8GB"}
	}
	p.server = postgrestest.Start(t, settings...)
	p.nodes = newNodes(t, []string{p.server.DSN(), p.server.DSN(), p.server.DSN()}, map[string]string{"min": "1h", "max": "1h"})
	for _, w := range p.each {
		w.values["site"] = strings.ReplaceAll(plainSite, "{{shop}}", p.shop.address)
		w.write(nodeConfig, w.values)
	}
	p.start()
	for _, kind := range copies {
		b, ok := p.each[0].place(kind.code)
		if !ok {
			t.FailNow()
		}
		if kind.paid {
			p.each[0].insistOn(p.each[0].notification(b, "SUCCESS"))
		}
	}
	p.tell(keepSources)
	return p
}

// copies are the kinds of bills that are copied. An id, an order's code and a
// gateway's code begin as said here and end with the copy's number.
var copies = []struct {
	code, id string
	paid     bool
}{
	{"OPEN-COPY", "33333333-3333-4333-8333-", false},
	{"PAID-COPY", "22222222-2222-4222-8222-", true},
}

// keepSources keeps the two bills apart, with all that belongs to them. Nobody
// is to ask after a copy.
const keepSources = `
CREATE TABLE source_bills AS SELECT *, record::json ->> 'createdAt' AS created FROM qlink.bills;
CREATE TABLE source_orders AS SELECT * FROM qlink.orders;
CREATE TABLE source_events AS SELECT * FROM qlink.events;
CREATE TABLE source_details AS SELECT * FROM qlink.details;
UPDATE source_bills SET due = '2090-01-01T00:00:00Z', record = regexp_replace(record, '"due":"[^"]*"', '"due":"2090-01-01T00:00:00Z"') WHERE due IS NOT NULL`

// tell runs statements.
func (p *populace) tell(statements string) {
	p.t.Helper()
	p.inTransaction(func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, statements, pgx.QueryExecModeSimpleProtocol)
		return err
	})
}

func (p *populace) inTransaction(f func(context.Context, pgx.Tx) error) {
	p.t.Helper()
	ctx := p.t.Context()
	conn, err := pgx.Connect(ctx, p.server.DSN())
	if err != nil {
		p.t.Fatal(err)
	}
	defer conn.Close(ctx)
	if err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error { return f(ctx, tx) }); err != nil {
		p.t.Fatal(err)
	}
}

// measure fills the store with so many paid bills and those that are to be paid,
// and measures.
func (p *populace) measure(paid int) (r rates) {
	p.t.Helper()
	open := int(p.length.Seconds()) * openPerSecond * len(p.each)
	p.fill(open, paid)
	p.next.Store(0)
	for count := range p.each {
		among := p.each[:count+1]
		r.statuses = append(r.statuses, p.rate(among, func(w *world) *http.Request {
			return w.request("GET", fmt.Sprintf("/qlink/bills/%s%012d", copies[1].id, 1+rand.IntN(paid)), "")
		}))
		r.webhooks = append(r.webhooks, p.rate(among, func(w *world) *http.Request {
			n := p.next.Add(1)
			if int(n) > open {
				return nil
			}
			return w.notification(billJSON{
				ID: fmt.Sprintf("%s%012d", copies[0].id, n), BillCode: fmt.Sprintf("%s%d", copies[0].code, n), OrderCode: fmt.Sprintf("%s%d", copies[0].code, n),
			}, "SUCCESS")
		}))
	}
	settled := min(int(p.next.Load()), open)
	stats := decode[struct {
		Bills struct{ ByStatus map[string]int }
	}](p.t, p.each[0].operate("GET", "/qlink/stats", "").want(p.t, 200).body)
	if got := stats.Bills.ByStatus; got["SUCCESS"] != paid+settled || got["WAIT"] != open-settled {
		p.t.Errorf("of %d paid bills and %d open ones, of which %d were paid: %v", paid, open, settled, got)
	}
	return r
}

// rate returns how many requests nodes answer in a second.
func (p *populace) rate(among []*world, request func(*world) *http.Request) float64 {
	p.t.Helper()
	var count atomic.Int64
	var asking sync.WaitGroup
	begun := time.Now()
	for i := range askers {
		w := among[i%len(among)]
		asking.Go(func() {
			for time.Since(begun) < p.length {
				req := request(w)
				if req == nil {
					return
				}
				a, err := w.do(req)
				if err != nil || a.StatusCode != http.StatusOK {
					p.t.Errorf("%s: %v %.300s", req.URL, err, a.body)
					return
				}
				count.Add(1)
			}
		})
	}
	asking.Wait()
	if p.t.Failed() {
		p.t.FailNow()
	}
	return float64(count.Load()) / time.Since(begun).Seconds()
}

// fill replaces all bills by so many copies of each kind, while no node runs.
// Only one in a hundred has its history and details: what is measured reads
// none.
func (p *populace) fill(counts ...int) {
	p.t.Helper()
	for _, w := range p.each {
		w.stop(syscall.SIGTERM)
		w.client.CloseIdleConnections()
	}
	p.inTransaction(func(ctx context.Context, tx pgx.Tx) error {
		indexes, err := dropIndexes(ctx, tx)
		if err != nil {
			return err
		}
		statements := []string{"TRUNCATE qlink.bills, qlink.orders, qlink.events, qlink.details, qlink.changes, qlink.counts"}
		for i, kind := range copies {
			columns, err := billColumns(ctx, tx)
			if err != nil {
				return err
			}
			statements = append(statements, copying{kind.code, kind.id}.copy(columns, counts[i])...)
		}
		statements = append(statements, "INSERT INTO qlink.counts (stripe, wait, success) SELECT 0, count(*) FILTER (WHERE status = 'WAIT'), count(*) FILTER (WHERE status = 'SUCCESS') FROM qlink.bills")
		for _, statement := range append(statements, indexes...) {
			if _, err := tx.Exec(ctx, statement); err != nil {
				return fmt.Errorf("%w: %s", err, statement)
			}
		}
		return nil
	})
	p.tell("ANALYZE")
	for _, w := range p.each {
		w.log = new(processtest.Log)
	}
	p.start()
}

// dropIndexes drops the indexes of what is loaded, and returns what makes them
// again.
func dropIndexes(ctx context.Context, tx pgx.Tx) (again []string, err error) {
	const tables = `('qlink.bills'::regclass, 'qlink.orders'::regclass, 'qlink.events'::regclass, 'qlink.details'::regclass)`
	rows, err := tx.Query(ctx, `SELECT format('ALTER TABLE %s DROP CONSTRAINT %I', conrelid::regclass, conname),
			format('ALTER TABLE %s ADD CONSTRAINT %I %s', conrelid::regclass, conname, pg_get_constraintdef(oid))
			FROM pg_constraint WHERE contype = 'p' AND conrelid IN `+tables+`
		UNION ALL SELECT format('DROP INDEX %s', indexrelid::regclass), pg_get_indexdef(indexrelid) FROM pg_index WHERE NOT indisprimary AND indrelid IN `+tables)
	if err != nil {
		return nil, err
	}
	var drop, restore string
	var drops []string
	if _, err := pgx.ForEachRow(rows, []any{&drop, &restore}, func() error {
		drops, again = append(drops, drop), append(again, restore)
		return nil
	}); err != nil {
		return nil, err
	}
	for _, statement := range drops {
		if _, err := tx.Exec(ctx, statement); err != nil {
			return nil, err
		}
	}
	return again, nil
}

func billColumns(ctx context.Context, tx pgx.Tx) ([]string, error) {
	rows, err := tx.Query(ctx, `SELECT attname FROM pg_attribute WHERE attrelid = 'qlink.bills'::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum`)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

// copying says how the source is told from the copy with the number n, in SQL.
type copying struct{ code, id string }

// other is an expression with the source's names and time in it replaced by the
// copy's. Its code stands for the gateway's, too.
func (c copying) other(expression string) string {
	return fmt.Sprintf(`replace(replace(replace(replace(%s, b.order_code, '%s' || n), b.bill_code, '%s' || n), b.id, '%s' || lpad(n::text, 12, '0')),
		b.created, to_char(b.created_at AT TIME ZONE 'UTC' - n * interval '1 second', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'))`, expression, c.code, c.code, c.id)
}

func (c copying) copy(billColumns []string, count int) []string {
	var values []string
	for _, column := range billColumns {
		switch column {
		case "id", "order_code", "bill_code", "request_id", "record":
			values = append(values, c.other("b."+column))
		case "created_at":
			values = append(values, "b.created_at - n * interval '1 second'")
		default:
			values = append(values, "b."+column)
		}
	}
	from := fmt.Sprintf("FROM source_bills b, generate_series(1, %d) AS n", count)
	these := fmt.Sprintf(" WHERE b.order_code = '%s'", c.code)
	some := fmt.Sprintf("FROM source_bills b, generate_series(100, %d, 100) AS n", count)
	return []string{
		"INSERT INTO qlink.bills (" + strings.Join(billColumns, ", ") + ") SELECT " + strings.Join(values, ", ") + " " + from + these,
		"INSERT INTO qlink.orders (ledger, shop, order_code, revision, record) SELECT o.ledger, o.shop, " + c.other("o.order_code") + ", o.revision, " + c.other("o.record") +
			" " + from + ", source_orders o" + these + " AND o.order_code = b.order_code",
		"INSERT INTO qlink.events (bill, revision, place, record) SELECT " + c.other("e.bill") + ", e.revision, e.place, " + c.other("e.record") +
			" " + some + ", source_events e" + these + " AND e.bill = b.id",
		"INSERT INTO qlink.details (bill, record) SELECT " + c.other("d.bill") + ", d.record " + some + ", source_details d" + these + " AND d.bill = b.id",
	}
}
