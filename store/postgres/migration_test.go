//go:build linux

package postgres

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/store/memory"
	"github.com/caddy-qlink/caddy-qlink/store/migrate"
	"github.com/caddy-qlink/caddy-qlink/store/postgres/postgrestest"
	"github.com/caddy-qlink/caddy-qlink/store/storetest"
)

// moduleOf is a configured store as root has it.
func moduleOf(given settings) *Store { return &Store{config: given.config, Schema: given.schema} }

func openToMove(t *testing.T, given settings, create bool) bill.Movable {
	t.Helper()
	s, err := moduleOf(given).OpenToMove(t.Context(), bill.Env{}, create)
	if err != nil {
		t.Fatalf("OpenToMove: %v", err)
	}
	t.Cleanup(func() { _ = s.Close() }) // a test that closed it itself has looked at the error
	return s
}

// movingAs is a store's part in a migration.
func movingAs(r bill.Role) bill.Migration {
	return bill.Migration{Role: r, ID: "m", Other: "elsewhere", Since: noon}
}

func TestNodesThatRunTakeNothingOnceTheStoreMoves(t *testing.T) {
	given := configured(t, postgrestest.Shared(t).Database(), "qlink")
	a, b := openNode(t, given), openNode(t, given)
	commit(t, a, only(sample("before")))
	mover := openToMove(t, given, false)
	if err := mover.SetMigration(t.Context(), movingAs(bill.RoleSource)); err != nil {
		t.Fatal(err)
	}
	for _, s := range []*node{a, b} { // which no poll has told yet
		if err := s.Commit(t.Context(), only(sample("after"))); !errors.Is(err, bill.ErrUnavailable) || !errors.Is(err, bill.ErrMoved) {
			t.Errorf("Commit: %v", err)
		}
	}
	eventually(t, "they are down", 3*time.Second, func() bool {
		_, err := a.Bill(t.Context(), "before")
		_, err2 := b.Bill(t.Context(), "before")
		return errors.Is(err, bill.ErrUnavailable) && errors.Is(err2, bill.ErrUnavailable) && errors.Is(err, bill.ErrMoved)
	})
	if opened, err := moduleOf(given).Open(t.Context(), bill.Env{}); !errors.Is(err, bill.ErrMoved) || errors.Is(err, bill.ErrUnavailable) {
		if err == nil {
			_ = opened.Close()
		}
		t.Errorf("Open: %v", err)
	}
	if _, err := mover.Bill(t.Context(), "before"); err != nil {
		t.Errorf("who moves it reads: %v", err)
	}
	if _, err := mover.Bill(t.Context(), "after"); !errors.Is(err, bill.ErrNotFound) {
		t.Errorf("something was written: %v", err)
	}

	if err := mover.SetMigration(t.Context(), bill.Migration{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "they are back", 5*time.Second, func() bool {
		_, err := a.Bill(t.Context(), "before")
		_, err2 := b.Bill(t.Context(), "before")
		return errors.Join(err, err2) == nil
	})
	commit(t, a, only(sample("after")))
}

// A commit that had begun before the store was told ends, or is ended, while
// who moves it waits.
func TestNoCommitOutlivesTheRestOfASource(t *testing.T) {
	if longest := callTime + pollTime; restTime < longest {
		t.Errorf("a source rests for %s, and a commit may take %s", restTime, longest)
	}
}

func TestAWayThroughPostgreSQLAndAPoolerChangesNothing(t *testing.T) {
	server := postgrestest.Shared(t)
	given := configured(t, server.Pooler()(server.Database())+" default_query_exec_mode=exec", "shop_1")
	first, last := memory.New().(bill.Movable), memory.New().(bill.Movable)
	storetest.Populate(t, first)
	move := func(from, to bill.Movable) migrate.Content {
		content, err := migrate.Move{From: from, To: to, Now: time.Now, NewID: func() string { return "m" }}.Run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return content
	}
	there := move(first, openToMove(t, given, true))
	storetest.WantEqual(t, first, openNode(t, given))
	begun := time.Now()
	if back := move(openToMove(t, given, false), last); back != there {
		t.Errorf("there %v, back %v", there, back)
	}
	if took := time.Since(begun); took < restTime {
		t.Errorf("it took %s, and the source was to rest", took)
	}
	storetest.WantEqual(t, first, last)
}

// Its columns do not hold a key that is too long for an index.
func TestALongOrderCodeIsCarriedOver(t *testing.T) {
	s := openToMove(t, configured(t, postgrestest.Shared(t).Database(), "qlink"), true)
	b := sample("a")
	b.OrderCode = strings.Repeat("long", 500) + "\x00"
	record, _ := bill.OrderRecord{Key: b.OrderKey(), Revision: 1}.With(b)
	commit(t, s, bill.Change{Order: &record, Bills: only(b).Bills})
	page, _, err := s.Export(t.Context(), "", 1)
	if err == nil {
		var next string
		page, next, err = s.Export(t.Context(), "", 1000)
		if err == nil {
			page, _, err = s.Export(t.Context(), next, 1000)
		}
	}
	if err != nil || len(page) != 1 || page[0].Order == nil || page[0].Order.Key != b.OrderKey() {
		t.Errorf("exported: %+v, %v", page, err)
	}

	key := strings.Repeat("k", 600)
	commit(t, s, bill.Change{Idempotency: &bill.Idempotency{Key: key, ExpiresAt: noon}})
	for cursor := ""; err == nil; {
		if _, cursor, err = s.Export(t.Context(), cursor, 10); cursor == "" && err == nil {
			t.Fatal("a key that nobody knows any more was exported")
		}
	}
}

func TestAPageIsBoundedHowLargeABillIs(t *testing.T) {
	s := openToMove(t, configured(t, postgrestest.Shared(t).Database(), "qlink"), true)
	for _, id := range []string{"a", "b", "c", "d", "e"} {
		c := only(sample(id))
		c.Bills[0].Details = &bill.Details{Description: strings.Repeat("x", fullPage/2)}
		commit(t, s, c)
	}
	for cursor, bills := "", 0; bills < 5; {
		page, next, err := s.Export(t.Context(), cursor, 1000)
		if err != nil || len(page) == 0 || len(page) > 2 {
			t.Fatalf("%d records of half a page each, %v", len(page), err)
		}
		bills += len(page)
		cursor = next
	}
}

func TestWhoMovesWantsTheDatabaseAndTheSchema(t *testing.T) {
	server := postgrestest.Shared(t)
	database := server.Database()
	if _, err := moduleOf(configured(t, database, "qlink")).OpenToMove(t.Context(), bill.Env{}, false); !errors.Is(err, bill.ErrNotFound) {
		t.Errorf("no schema: %v", err)
	}
	conn, err := pgx.Connect(t.Context(), database)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	var made bool
	if err := conn.QueryRow(t.Context(), `SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = 'qlink')`).Scan(&made); err != nil || made {
		t.Errorf("the schema was made: %t, %v", made, err)
	}
	nowhere := configured(t, "host=127.0.0.1 port=1 dbname=x user=u password=correct-horse", "qlink")
	_, err = moduleOf(nowhere).OpenToMove(t.Context(), bill.Env{}, true)
	if !errors.Is(err, bill.ErrUnavailable) || strings.Contains(err.Error(), "correct-horse") {
		t.Errorf("no database: %v", err)
	}
	s := openToMove(t, configured(t, database+" password=correct-horse", "qlink"), true)
	if place := s.Place(); !strings.Contains(place, "schema qlink of database") || strings.Contains(place, "correct-horse") {
		t.Errorf("Place: %q", place)
	}
}
