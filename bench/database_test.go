package bench

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/store/postgres/postgrestest"
)

// databaseSite is qlinkSite with its bills in PostgreSQL.
var databaseSite = strings.Replace(qlinkSite, "\tqlink {\n", "\tqlink {\n\t\tstore postgres {\n\t\t\tdsn \"{{dsn}}\"\n\t\t}\n", 1)

// cost is what one request takes, on both sides.
type cost struct {
	Node     float64 `json:"node"`     // seconds of a core, of the Caddy
	Database float64 `json:"database"` // likewise, of PostgreSQL
	Log      float64 `json:"log"`      // bytes that PostgreSQL writes ahead
}

// TestDatabase measures what requests take where bills are in PostgreSQL: how
// many nodes, and what database, so many payments a second want.
func TestDatabase(t *testing.T) {
	around := startPeers(t)
	d := &database{t, postgrestest.Start(t).DSN()}
	pin(t, d.dsn)
	values := around.values(hour)
	values["dsn"] = d.dsn
	s := &shop{startCaddy(t, t.TempDir(), databaseSite, values)}
	s.awaitStore()
	s.awaitAdmin()

	empty := d.number("SELECT pg_database_size(current_database())")
	bills := 0
	checkout := d.cost(s, func() float64 {
		for range *benchRounds {
			bills += int(load{to: s.site, connections: 64, length: *benchLength, requests: checkoutAt(s.site), again: true}.put(t).answered)
		}
		return float64(bills)
	})
	open := s.list(bill.Wait, bills)
	webhook := d.cost(s, func() float64 {
		sendEach(t, s.site, 64, s.notifications(open), func(int) {})
		return float64(bills)
	})
	status := d.cost(s, func() float64 {
		return load{to: s.site, connections: 32, length: *benchLength, requests: s.statuses(open), again: true}.put(t).answered
	})
	d.execute("VACUUM FULL")
	perBill := (d.number("SELECT pg_database_size(current_database())") - empty) / float64(bills)
	book.note("database", map[string]any{"checkout": checkout, "webhook": webhook, "status": status, "bill": perBill})
	for name, c := range map[string]cost{"checkout": checkout, "webhook": webhook, "status": status} {
		t.Logf("%s: node %.0f µs, database %.0f µs, log %.0f bytes", name, c.Node*1e6, c.Database*1e6, c.Log)
		if c.Node <= 0 || c.Database <= 0 {
			t.Errorf("%s costs nothing: %+v", name, c)
		}
	}
	t.Logf("a settled bill: %.0f bytes, of %d", perBill, bills)
}

// database is the PostgreSQL of a shop.
type database struct {
	t   *testing.T
	dsn string
}

// cost returns what each of the requests has taken that do sends and counts.
func (d *database) cost(s *shop, do func() float64) cost {
	d.t.Helper()
	const written = "SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn"
	node, own, log := s.processorTime(), d.processorTime(), d.number(written)
	requests := do()
	return cost{(s.processorTime() - node) / requests, (d.processorTime() - own) / requests, (d.number(written) - log) / requests}
}

func (d *database) connect(use func(*pgx.Conn) error) {
	d.t.Helper()
	conn, err := pgx.Connect(d.t.Context(), d.dsn)
	if err != nil {
		d.t.Fatal(err)
	}
	defer conn.Close(d.t.Context())
	if err := use(conn); err != nil {
		d.t.Fatal(err)
	}
}

func (d *database) number(query string) (n float64) {
	d.t.Helper()
	d.connect(func(conn *pgx.Conn) error { return conn.QueryRow(d.t.Context(), query).Scan(&n) })
	return n
}

func (d *database) execute(statement string) {
	d.t.Helper()
	d.connect(func(conn *pgx.Conn) error {
		_, err := conn.Exec(d.t.Context(), statement)
		return err
	})
}

// processorTime returns the seconds that the server's processes have used, with
// those that have ended.
func (d *database) processorTime() float64 {
	d.t.Helper()
	var dir string
	d.connect(func(conn *pgx.Conn) error {
		return conn.QueryRow(d.t.Context(), "SELECT current_setting('data_directory')").Scan(&dir)
	})
	first, err := os.ReadFile(filepath.Join(dir, "postmaster.pid"))
	if err != nil {
		d.t.Fatal(err)
	}
	postmaster := strings.Fields(string(first))[0]
	children, err := os.ReadFile(fmt.Sprintf("/proc/%s/task/%[1]s/children", postmaster))
	if err != nil {
		d.t.Fatal(err)
	}
	sum := 0.0
	for _, pid := range append(strings.Fields(string(children)), postmaster) {
		sum += processorTime(d.t, pid)
	}
	return sum
}
