package bench

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/caddy-qlink/caddy-qlink/integration/processtest"
	"github.com/caddy-qlink/caddy-qlink/qlink"
	"github.com/caddy-qlink/caddy-qlink/store/postgres/postgrestest"
)

// own is what a shop would write itself: a handler that verifies a webhook and
// commits one row to PostgreSQL.
type own struct {
	*process

	dsn, address string
}

const (
	ownDSN     = "QLINK_BENCH_DSN"
	ownAddress = "QLINK_BENCH_OWN"
	ownTable   = `CREATE TABLE paid (id text PRIMARY KEY, order_code text NOT NULL, status text NOT NULL, at timestamptz NOT NULL DEFAULT now())`
)

func startOwn(t *testing.T) *own {
	t.Helper()
	server := postgrestest.Start(t)
	o := &own{dsn: server.DSN(), address: processtest.FreeAddress(t)}
	o.execute(t, ownTable)
	pin(t, o.dsn)
	o.process = run(t, measuredCore, t.TempDir(), []string{playing + "=" + playOwn, ownDSN + "=" + o.dsn, ownAddress + "=" + o.address}, players)
	o.await("the handler", func() bool {
		resp, err := http.Get("http://" + o.address)
		if err != nil {
			return false
		}
		return resp.Body.Close() == nil
	})
	return o
}

// clear lets the same webhooks come again.
func (o *own) clear() { o.execute(o.t, `TRUNCATE paid`) }

func (o *own) execute(t *testing.T, statement string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), o.dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(t.Context(), statement); err != nil {
		t.Fatal(err)
	}
}

// pin moves a database's processes, and with them those that they start, to the
// measured core.
func pin(t *testing.T, dsn string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	var dir string
	var pids []int
	if err := conn.QueryRow(t.Context(), `SELECT current_setting('data_directory'), (SELECT array_agg(pid) FROM pg_stat_activity)`).Scan(&dir, &pids); err != nil {
		t.Fatal(err)
	}
	first, err := os.ReadFile(filepath.Join(dir, "postmaster.pid"))
	if err != nil {
		t.Fatal(err)
	}
	for _, pid := range append([]string{strings.Fields(string(first))[0]}, strings.Fields(strings.Trim(fmt.Sprint(pids), "[]"))...) {
		if out, err := exec.Command("taskset", "--all-tasks", "--pid", "--cpu-list", measuredCore, pid).CombinedOutput(); err != nil {
			t.Fatalf("taskset: %v %s", err, out)
		}
	}
}

// serveOwn plays the handler until it is ended.
func serveOwn() int {
	config, err := pgxpool.ParseConfig(os.Getenv(ownDSN))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	config.MaxConns = 16
	pool, err := pgxpool.NewWithConfig(context.Background(), config)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	server := &http.Server{Addr: os.Getenv(ownAddress), Handler: paid(pool), ReadHeaderTimeout: time.Minute}
	fmt.Fprintln(os.Stderr, server.ListenAndServe())
	return 1
}

func paid(pool *pgxpool.Pool) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("POST /qlink/payNotification", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 64<<10))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		if err := qlink.Verify(qlink.ContentString, appKey, []string{appSecret}, body, r.Header.Get("sign")); err != nil {
			http.Error(w, err.Error(), http.StatusUnauthorized)
			return
		}
		var n struct {
			ID     string `json:"tradeUuid"`
			Order  string `json:"orderCode"`
			Status string `json:"status"`
		}
		if err := json.Unmarshal(body, &n); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		if _, err := pool.Exec(r.Context(), `INSERT INTO paid (id, order_code, status) VALUES ($1, $2, $3)`, n.ID, n.Order, n.Status); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"success":true}`)
	})
	return mux
}
