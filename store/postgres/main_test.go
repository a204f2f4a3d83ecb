//go:build linux

package postgres

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/store/postgres/postgrestest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(postgrestest.Main(m)) }

// noon is when everything begins.
var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// patience is how long to wait for what has to come.
const patience = 20 * time.Second

// sample returns a new bill, waiting to be paid, for an order of its own.
func sample(id string) bill.Bill {
	return bill.Bill{
		ID: id, Ledger: "ledger", Account: "default", Shop: "default", OrderCode: "O-" + id, Attempt: 1,
		Status: bill.Wait, Amount: "10.00", Currency: "IDR", Country: "ID", PayType: "ONLINE",
		CreatedAt: noon, UpdatedAt: noon, Due: noon, Version: 1, Revision: 1,
	}
}

func moved(b bill.Bill) bill.Bill {
	b.Version++
	b.Revision++
	return b
}

func only(b bill.Bill) bill.Change { return bill.Change{Bills: []bill.BillChange{{Bill: b}}} }

func commit(t testing.TB, s bill.Store, c bill.Change) {
	t.Helper()
	if err := s.Commit(t.Context(), c); err != nil {
		t.Fatalf("Commit: %v", err)
	}
}

// node is one process's store, with what it logs.
type node struct {
	*store
	logs *observer.ObservedLogs
}

// configured is what a Caddyfile's store would come to.
func configured(t testing.TB, dsn, schema string) settings {
	t.Helper()
	config, err := parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	config.MaxConns = defaultMaxConns
	return settings{config: config, schema: schema, listen: true}
}

func openNode(t testing.TB, given settings) *node {
	t.Helper()
	core, logs := observer.New(zapcore.DebugLevel)
	logger := zap.New(core)
	s, err := open(t.Context(), given, bill.Env{Logger: func() *zap.Logger { return logger }})
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() { _ = s.Close() }) // a test that closed it itself has looked at the error
	return &node{s, logs}
}

// schemaOf names a schema after something that is a test's own.
func schemaOf(name string) string {
	sum := sha256.Sum256([]byte(name))
	return "s_" + hex.EncodeToString(sum[:8])
}

// execute runs a statement as an operator would.
func execute(t testing.TB, dsn, statement string, args ...any) {
	t.Helper()
	conn, err := pgx.Connect(context.Background(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(context.Background(), statement, args...); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

// eventually fails the test unless it is so within the given time.
func eventually(t testing.TB, what string, within time.Duration, isSo func() bool) {
	t.Helper()
	end := time.After(within)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !isSo() {
		select {
		case <-end:
			t.Fatalf("not within %s: %s", within, what)
		case <-tick.C:
		}
	}
}

// quick is how soon a call has to answer while the database is known to be
// gone: many times less than any of the store's time-outs.
const quick = 500 * time.Millisecond

// wantGone fails the test unless every call is refused at once.
func wantGone(t *testing.T, s *node) {
	t.Helper()
	b := sample("while it is gone")
	for name, call := range map[string]func() error{
		"Commit":    func() error { return s.Commit(t.Context(), only(b)) },
		"Bill":      func() error { _, err := s.Bill(t.Context(), b.ID); return err },
		"List":      func() error { _, _, err := s.List(t.Context(), bill.Query{Limit: 1}); return err },
		"OpenBills": func() error { _, err := s.OpenBills(t.Context()); return err },
		"LeaseDue": func() error {
			_, err := s.LeaseDue(t.Context(), bill.Lease{Holder: "a", For: time.Second, Until: noon, Limit: 1})
			return err
		},
	} {
		begun := time.Now()
		err := call()
		if took := time.Since(begun); took > quick {
			t.Errorf("%s took %s", name, took)
		}
		if !errors.Is(err, bill.ErrUnavailable) {
			t.Errorf("%s: %v, want ErrUnavailable", name, err)
		}
	}
}

// wantBack fails the test unless the store serves again by itself, and holds
// the bill.
func wantBack(t *testing.T, s *node, b bill.Bill) {
	t.Helper()
	eventually(t, "the store is back", 20*time.Second, func() bool {
		_, err := s.Bill(t.Context(), b.ID)
		return err == nil
	})
	next := sample("after " + b.ID + fmt.Sprint(time.Now().UnixNano()))
	commit(t, s, only(next))
}

// collect reads a watch until it ends.
func collect(versions <-chan uint64) (all func() []uint64) {
	var mu sync.Mutex
	var got []uint64
	go func() {
		for v := range versions {
			mu.Lock()
			got = append(got, v)
			mu.Unlock()
		}
	}()
	return func() []uint64 {
		mu.Lock()
		defer mu.Unlock()
		return append([]uint64(nil), got...)
	}
}

// wantSecretKept fails the test where a secret shows.
func wantSecretKept(t *testing.T, s *node, secret string) {
	t.Helper()
	for _, line := range s.logs.All() {
		encoder := zapcore.NewMapObjectEncoder()
		for _, f := range line.Context {
			f.AddTo(encoder)
		}
		if text := line.Message + fmt.Sprint(encoder.Fields); strings.Contains(text, secret) {
			t.Errorf("logged: %s", text)
		}
	}
}
