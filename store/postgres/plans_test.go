//go:build linux

package postgres

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/jackc/pgx/v5"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/store/postgres/postgrestest"
)

// populate fills every table as a shop of some years has: nearly all is over.
// Each statement takes the number of bills.
var populate = []string{
	`INSERT INTO qlink.bills (id, revision, version, status, ledger, shop, order_code, attempt, account, amount, bill_code, request_id, client,
		created_at, updated_at, due, open, late, refund, held, forgettable, record)
		SELECT 'bill-' || n, 3, 2, CASE WHEN n % 100 = 0 THEN 'WAIT' WHEN n % 10 = 1 THEN 'EXPIRED' ELSE 'SUCCESS' END, 'ledger', 'default', 'O-' || n, 1,
		'default', '10', 'code-' || n, 'request-' || n, CASE WHEN n % 100 = 0 THEN '192.0.2.' || n % 256 END,
		'2026-01-01'::timestamptz + n * interval '1 minute', '2026-01-01'::timestamptz + n * interval '1 minute',
		CASE WHEN n % 100 = 0 THEN '2026-11-22'::timestamptz + n * interval '1 second' END,
		n % 100 = 0, n % 500 = 1, n % 1000 = 2, n % 1000 = 0, n % 200 = 3, '{"note": "' || repeat('x', 600) || '"}' FROM generate_series(1, $1::bigint) AS n`,
	`INSERT INTO qlink.details SELECT 'bill-' || n, '{}' FROM generate_series(1, $1::bigint) AS n`,
	`INSERT INTO qlink.events SELECT 'bill-' || n, r, 0, '{}' FROM generate_series(1, $1::bigint) AS n, generate_series(1, 3) AS r`,
	`INSERT INTO qlink.orders SELECT 'ledger', 'default', 'O-' || n, 2, '{}' FROM generate_series(1, $1::bigint) AS n`,
	`INSERT INTO qlink.notifications (id, revision, state, bill, target, created_at, bill_created_at, due, record) SELECT 'n-' || n, 2, CASE WHEN n % 200 = 0 THEN 'pending' WHEN n % 1000 = 1 THEN 'dead' ELSE 'delivered' END, 'bill-' || n,
		'target-' || n, '2026-01-01'::timestamptz + n * interval '1 minute', '2026-01-01'::timestamptz + n * interval '1 minute',
		CASE WHEN n % 200 = 0 THEN '2026-11-22'::timestamptz END, '{}' FROM generate_series(1, $1::bigint) AS n`,
	`INSERT INTO qlink.idempotency SELECT 'key-' || n, '2026-11-22'::timestamptz + n * interval '1 second', '{}' FROM generate_series(1, $1::bigint) AS n`,
	`INSERT INTO qlink.orphans SELECT 'ledger', 'orphan-' || n, false, '{}' FROM generate_series(1, $1::bigint) AS n`,
	`INSERT INTO qlink.changes (bill, version) SELECT 'bill-' || n, 1 FROM generate_series(1, $1::bigint) AS n`,
}

// statements remembers what a store has asked, and with which arguments.
type statements struct {
	mu    sync.Mutex
	asked map[string][]any
}

func (s *statements) add(statement string, args []any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(args) > 0 {
		if _, mode := args[0].(pgx.QueryExecMode); mode {
			args = args[1:]
		}
	}
	s.asked[statement] = slices.Clone(args)
}

func (s *statements) TraceQueryStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	s.add(data.SQL, data.Args)
	return ctx
}
func (*statements) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}
func (*statements) TraceBatchStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceBatchStartData) context.Context {
	return ctx
}

func (s *statements) TraceBatchQuery(_ context.Context, _ *pgx.Conn, data pgx.TraceBatchQueryData) {
	s.add(data.SQL, data.Args)
}
func (*statements) TraceBatchEnd(context.Context, *pgx.Conn, pgx.TraceBatchEndData) {}

// small are the tables that do not grow with the store.
var small = []string{"state", "counts", "migrations"}

func TestEveryStatementFindsItsRowsByAnIndex(t *testing.T) {
	dsn := postgrestest.Shared(t).Database()
	first := openNode(t, configured(t, dsn, "qlink")) // makes the schema
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	for _, statement := range populate {
		execute(t, dsn, statement, 60_000)
	}
	execute(t, dsn, "ANALYZE")
	given := configured(t, dsn, "qlink")
	seen := &statements{asked: make(map[string][]any)}
	given.config.ConnConfig.Tracer = seen
	s := openNode(t, given)
	askEverything(t, s)
	eventually(t, "the follower polls", 5*time.Second, func() bool {
		seen.mu.Lock()
		defer seen.mu.Unlock()
		for statement := range seen.asked {
			if strings.Contains(statement, "place > $1") {
				return true
			}
		}
		return false
	})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	examined := 0
	for statement, args := range seen.asked {
		verb, _, _ := strings.Cut(strings.TrimSpace(statement), " ")
		if !slices.Contains([]string{"SELECT", "INSERT", "UPDATE", "DELETE"}, strings.ToUpper(verb)) || !strings.Contains(statement, "qlink.") {
			continue
		}
		examined++
		for _, mode := range []string{"force_custom_plan", "force_generic_plan"} {
			if mode == "force_generic_plan" && strings.Contains(statement, "scanned") {
				continue // listings are planned for their values, each time
			}
			for _, node := range plan(t, conn, mode, statement, args) {
				if node.Type == "Seq Scan" && !slices.Contains(small, node.Relation) {
					t.Errorf("%s reads all of %s:\n%s", mode, node.Relation, statement)
				}
			}
		}
	}
	if examined < 40 {
		t.Errorf("only %d statements were examined", examined)
	}
}

// askEverything makes every call there is, with every way of a listing.
func askEverything(t *testing.T, s *node) {
	t.Helper()
	b := sample("new")
	fresh := bill.Change{
		Order: &bill.OrderRecord{Key: b.OrderKey(), Revision: 1}, Idempotency: &bill.Idempotency{Key: "k", ExpiresAt: noon},
		Orphan:        &bill.Orphan{Ledger: "ledger", ID: "new", At: noon},
		Bills:         []bill.BillChange{{Bill: b, Details: &bill.Details{}, Events: []bill.Event{{At: noon}}}},
		Notifications: []bill.Notification{{ID: "new", URL: "u", Bill: b.ID, State: bill.Pending, CreatedAt: noon, Revision: 1}},
	}
	commit(t, s, fresh)
	next := fresh
	next.Order = &bill.OrderRecord{Key: b.OrderKey(), Revision: 2}
	next.Orphan = &bill.Orphan{Ledger: "ledger", ID: "new", At: noon, Resolved: &bill.Resolution{At: noon}}
	b = moved(b)
	next.Bills = []bill.BillChange{{Bill: b}}
	told := fresh.Notifications[0]
	told.State, told.Revision = bill.Delivered, 2
	next.Notifications = []bill.Notification{told}
	commit(t, s, next)
	b = moved(b)
	commit(t, s, bill.Change{Bills: []bill.BillChange{{Bill: b, Forget: true}}})

	ctx := t.Context()
	lease := bill.Lease{Holder: "a", For: time.Second, Until: noon, Limit: 100}
	var errs []error
	note := func(err error) { errs = append(errs, err) }
	ask := func(_ any, err error) { note(err) }
	page := func(_ any, _ string, err error) { note(err) }
	ask(s.Bill(ctx, b.ID))
	ask(s.Order(ctx, b.OrderKey()))
	ask(s.History(ctx, b.ID))
	ask(s.Idempotent(ctx, "k", noon.Add(-time.Hour)))
	ask(s.Find(ctx, b.ID, 10))
	ask(s.Counts(ctx))
	page(s.Orphans(ctx, "", 10))
	ask(s.Due(ctx, noon, 100))
	page(s.Ended(ctx, noon, "", 50))
	ask(s.Notifications(ctx, b.ID))
	ask(s.DueNotifications(ctx, noon, 100))
	ask(s.OpenBills(ctx))
	ask(s.OpenBillsOf(ctx, "192.0.2.1", 10))
	ask(s.LeaseDue(ctx, lease))
	ask(s.LeaseDueNotifications(ctx, lease))
	note(s.ReleaseNotification(ctx, "a", "n"))
	note(s.Release(ctx, "a"))
	note(s.tidy(ctx))
	s.moving.Store(true)
	for kind := range exported {
		ask(s.rows(ctx, kind, []string{"b", "b", "b"}[:strings.Count(exported[kind].key, ",")+1], 100))
	}
	page(s.Export(ctx, "", 10))
	note(s.Import(ctx, []bill.Record{
		{Bill: &bill.WholeBill{Bill: b, Details: &bill.Details{}}}, {Order: next.Order}, {Notification: &told}, {Idempotency: fresh.Idempotency}, {Orphan: next.Orphan},
	}, bill.Migration{}))
	page(s.ListNotifications(ctx, bill.NotificationQuery{Limit: 10}))
	page(s.ListNotifications(ctx, bill.NotificationQuery{State: bill.Dead, Since: noon.AddDate(-1, 0, 0), Limit: 10}))
	for _, q := range []bill.Query{
		{}, {Status: bill.Success}, {Status: bill.Wait}, {Account: "other"}, {Shop: "other"}, {Order: "O-199"}, {Order: "O-"}, {Amount: "7"},
		{From: noon.AddDate(0, -11, 0)}, {To: noon}, {Late: true}, {Refund: true}, {Untold: true}, {StuckAt: noon}, {Status: bill.Fail, Untold: true, Order: "O-19"},
	} {
		q.Limit = 10
		found, next, err := s.List(ctx, q)
		note(err)
		if q.Cursor = next; next != "" {
			page(s.List(ctx, q))
		}
		_ = found
	}
	_, err := s.Details(ctx, "bill-1")
	note(err)
	_, err = s.Notification(ctx, "n-1")
	note(err)
	if _, err := s.PendingNotification(ctx, "u", b.OrderKey()); err == nil {
		t.Error("a forgotten notification is pending")
	}
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// planNode is a node of a plan, with those below.
type planNode struct {
	Type     string     `json:"Node Type"`
	Relation string     `json:"Relation Name"`
	Plans    []planNode `json:"Plans"`
}

func plan(t *testing.T, conn *pgx.Conn, mode, statement string, args []any) (nodes []planNode) {
	t.Helper()
	ctx := t.Context()
	literals := make([]string, len(args))
	for i, arg := range args {
		literals[i] = literal(arg)
	}
	call := ""
	if len(args) > 0 {
		call = "(" + strings.Join(literals, ", ") + ")"
	}
	var text []byte
	for _, step := range []string{"DEALLOCATE ALL", "SET plan_cache_mode = " + mode, "PREPARE examined AS " + statement} {
		if _, err := conn.Exec(ctx, step, pgx.QueryExecModeSimpleProtocol); err != nil {
			t.Fatalf("%s: %v", step, err)
		}
	}
	if err := conn.QueryRow(ctx, "EXPLAIN (FORMAT JSON) EXECUTE examined "+call, pgx.QueryExecModeSimpleProtocol).Scan(&text); err != nil {
		t.Fatalf("explain %s: %v", statement, err)
	}
	var plans []struct {
		Plan planNode
	}
	if err := json.Unmarshal(text, &plans); err != nil || len(plans) != 1 {
		t.Fatalf("%s: %v", text, err)
	}
	for rest := []planNode{plans[0].Plan}; len(rest) > 0; {
		node := rest[0]
		nodes, rest = append(nodes, node), append(rest[1:], node.Plans...)
	}
	return nodes
}

// literal is an argument as SQL writes it.
func literal(arg any) string {
	quote := func(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
	switch v := reflect.ValueOf(arg); {
	case !v.IsValid() || v.Kind() == reflect.Pointer && v.IsNil():
		return "NULL"
	case v.Kind() == reflect.Pointer:
		return literal(v.Elem().Interface())
	}
	switch v := arg.(type) {
	case time.Time:
		return quote(v.Format(time.RFC3339Nano))
	case []byte:
		return quote(string(v))
	case []string:
		items := make([]string, len(v))
		for i, item := range v {
			items[i] = quote(item)
		}
		return "ARRAY[" + strings.Join(items, ", ") + "]::text[]"
	case []int64:
		return quote(strings.NewReplacer("[", "{", "]", "}", " ", ", ").Replace(fmt.Sprint(v)))
	case string:
		return quote(v)
	}
	return fmt.Sprint(arg)
}
