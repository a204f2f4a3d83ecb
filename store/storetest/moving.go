package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/store/internal/codec"
)

// movingTests are for stores that are bill.Movable.
var movingTests = []struct {
	name string
	run  func(s Suite, t *testing.T)
}{
	{"EverythingIsCarriedIntoAnotherStore", Suite.everythingIsCarriedIntoAnotherStore},
	{"PagesOfAnExportLoseAndRepeatNothing", Suite.pagesOfAnExportLoseAndRepeatNothing},
	{"AStoreThatMovesCommitsNothing", Suite.aStoreThatMovesCommitsNothing},
	{"WhatIsCarriedOverTakesThePlaceOfWhatIsThere", Suite.whatIsCarriedOverTakesThePlaceOfWhatIsThere},
	{"ABillWithALongHistoryIsCarriedOver", Suite.aBillWithALongHistoryIsCarriedOver},
	{"OnlyAnUnfinishedTargetIsAbandoned", Suite.onlyAnUnfinishedTargetIsAbandoned},
}

// runMoving tries them on a store that is.
func (s Suite) runMoving(t *testing.T) {
	if _, movable := s.open(t, t.TempDir()).(bill.Movable); !movable {
		return
	}
	for _, test := range movingTests {
		t.Run(test.name, func(t *testing.T) { test.run(s, t) })
	}
	if s.Opener != nil {
		t.Run("AStoreThatMovesIsOpenedForNobodyElse", s.aStoreThatMovesIsOpenedForNobodyElse)
		t.Run("WhatWasAbandonedIsEmpty", s.whatWasAbandonedIsEmpty)
		t.Run("WhatWasCarriedOverIsThereAfterReopening", s.whatWasCarriedOverIsThereAfterReopening)
	}
}

// openMovable opens a store of its own.
func (s Suite) openMovable(t *testing.T) bill.Movable {
	t.Helper()
	return s.open(t, t.TempDir()).(bill.Movable)
}

// Populate commits records of every kind, with all that keys and columns have
// to bear, to an empty store.
func Populate(t *testing.T, store bill.Store) {
	t.Helper()
	for number := range 40 {
		commit(t, store, generated(number))
	}
	m := &model{
		bills: make(map[string]bill.Bill), outbox: make(map[string]bill.Notification), orphans: make(map[string]bill.Orphan),
	}
	for number := range 8 {
		rapid.Custom(func(rt *rapid.T) int {
			s := &story{model: m, begin: noon.Add(time.Duration(number) * time.Hour), name: fmt.Sprint("story-", number, "-")}
			for range 25 {
				s.step(rt, t, store)
			}
			return number
		}).Example(number)
	}
	for _, id := range numbered(12) {
		lasting(t, store, id)
	}
	remembered(t, store, "remembered")
	commit(t, store, forgetting(remembered(t, store, "forgotten").Bills[0].Bill))
}

// generated is a change with a record of every kind, its fields filled with
// whatever they can hold.
func generated(number int) bill.Change {
	b := generator[bill.Bill]().Example(number)
	b.ID = fmt.Sprint("generated-", number, b.ID)
	b.OrderCode += b.ID
	b.Revision, b.Status = 1, bill.Statuses()[number%7]
	n := generator[bill.Notification]().Example(number)
	n.ID, n.OrderCode, n.Bill, n.BillCreatedAt = b.ID, b.OrderCode, b.ID, b.CreatedAt
	n.Revision, n.State = 1, bill.NotificationStates()[number%4]
	if n.CreatedAt.IsZero() {
		n.CreatedAt = noon // as every notification has one
	}
	d := generator[bill.Details]().Example(number)
	return bill.Change{
		Order: &bill.OrderRecord{
			Key: b.OrderKey(), Revision: 1, Attempts: rapid.SliceOfN(generator[bill.Attempt](), 0, 3).Example(number),
		},
		Bills:         []bill.BillChange{{Bill: b, Details: &d, Events: rapid.SliceOfN(generator[bill.Event](), 0, 3).Example(number)}},
		Notifications: []bill.Notification{n},
		Idempotency:   &bill.Idempotency{Key: b.ID, Request: b.OrderCode, Bill: b.ID, ExpiresAt: noon.AddDate(50+number, 0, 0)},
		Orphan:        &bill.Orphan{Ledger: b.Ledger, ID: b.ID, At: b.CreatedAt, Report: generator[bill.Report]().Example(number)},
	}
}

// carried copies everything, each page of so many records twice.
func carried(t testing.TB, from, to bill.Movable, limit int) {
	t.Helper()
	m := bill.Migration{Role: bill.RoleTarget, ID: "m", Other: from.Place(), Since: noon}
	for !m.All {
		page, next, err := from.Export(t.Context(), m.Cursor, limit)
		if err != nil || len(page) > limit {
			t.Fatalf("Export: %d of at most %d, %v", len(page), limit, err)
		}
		m.Cursor, m.All, m.Records = next, next == "", m.Records+uint64(len(page))
		for range 2 {
			if err := to.Import(t.Context(), page, m); err != nil {
				t.Fatalf("Import: %v", err)
			}
		}
		wantMigration(t, to, m)
	}
	setMigration(t, to, bill.Migration{})
}

func setMigration(t testing.TB, store bill.Movable, m bill.Migration) {
	t.Helper()
	if err := store.SetMigration(t.Context(), m); err != nil {
		t.Fatalf("SetMigration: %v", err)
	}
}

func wantMigration(t testing.TB, store bill.Movable, want bill.Migration) {
	t.Helper()
	got, err := store.Migration(t.Context())
	if err != nil {
		t.Fatalf("Migration: %v", err)
	}
	wantSame(t, want, got)
}

// exported returns everything, each record as text.
func exported(t testing.TB, store bill.Movable, limit int) (all []string) {
	t.Helper()
	for cursor := ""; ; {
		page, next, err := store.Export(t.Context(), cursor, limit)
		if err != nil || len(page) > limit {
			t.Fatalf("Export: %d of at most %d, %v", len(page), limit, err)
		}
		for _, r := range page {
			all = append(all, recordText(t, r))
		}
		if next == "" {
			slices.Sort(all)
			return all
		}
		cursor = next
	}
}

// recordText is a record with its key: its JSON leaves some keys out.
func recordText(t testing.TB, r bill.Record) string {
	t.Helper()
	text, err := codec.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	switch {
	case r.Order != nil:
		return fmt.Sprintf("%q %s", r.Order.Key, text)
	case r.Idempotency != nil:
		return fmt.Sprintf("%q %s", r.Idempotency.Key, text)
	}
	return string(text)
}

// WantEqual compares all that two stores say of themselves.
func WantEqual(t *testing.T, want, got bill.Movable) {
	t.Helper()
	wantSame(t, exported(t, want, 100), exported(t, got, 100))
	same(t, want, got, bill.Store.Counts)
	same(t, want, got, bill.Store.OpenBills)
	far := noon.AddDate(200, 0, 0)
	for _, q := range queries() {
		wantSame(t, pages(t, want, q), pages(t, got, q))
	}
	for _, state := range append(bill.NotificationStates(), "") {
		q := bill.NotificationQuery{State: state, Limit: 100}
		wantSame(t, notificationPages(t, want, q), notificationPages(t, got, q))
	}
	wantSame(t, endedPages(t, want, far, 100), endedPages(t, got, far, 100))
	same(t, want, got, func(s bill.Store, ctx context.Context) ([]string, error) { return s.Due(ctx, far, 10_000) })
	same(t, want, got, func(s bill.Store, ctx context.Context) ([]string, error) { return s.DueNotifications(ctx, far, 10_000) })
	same(t, want, got, func(s bill.Store, ctx context.Context) ([]bill.Orphan, error) {
		page, _, err := s.Orphans(ctx, "", 1000)
		return page, err
	})
	for _, id := range pages(t, want, bill.Query{Limit: 100}) {
		sameBill(t, want, got, id)
	}
	for _, id := range notificationPages(t, want, bill.NotificationQuery{Limit: 100}) {
		same(t, want, got, func(s bill.Store, ctx context.Context) (bill.Notification, error) { return s.Notification(ctx, id) })
	}
}

func queries() []bill.Query {
	queries := []bill.Query{
		{}, {Late: true}, {Refund: true}, {Untold: true}, {StuckAt: noon.AddDate(200, 0, 0)}, {Account: "other"}, {Amount: "10"}, {Order: "story-1-a"},
	}
	for _, status := range bill.Statuses() {
		queries = append(queries, bill.Query{Status: status})
	}
	for i := range queries {
		queries[i].Limit = 100
	}
	return queries
}

// same compares what two stores answer, errors too.
func same[T any](t testing.TB, want, got bill.Store, ask func(s bill.Store, ctx context.Context) (T, error)) {
	t.Helper()
	wanted, err := ask(want, t.Context())
	answer, err2 := ask(got, t.Context())
	if !errors.Is(err2, bill.ErrNotFound) && err2 != nil || errors.Is(err, bill.ErrNotFound) != errors.Is(err2, bill.ErrNotFound) {
		t.Fatalf("%T: %v, want %v", answer, err2, err)
	}
	wantSame(t, wanted, answer)
}

func sameBill(t testing.TB, want, got bill.Store, id string) {
	t.Helper()
	b, err := want.Bill(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	same(t, want, got, func(s bill.Store, ctx context.Context) (bill.Bill, error) { return s.Bill(ctx, id) })
	same(t, want, got, func(s bill.Store, ctx context.Context) (bill.Details, error) { return s.Details(ctx, id) })
	same(t, want, got, func(s bill.Store, ctx context.Context) ([]bill.Event, error) { return s.History(ctx, id) })
	same(t, want, got, func(s bill.Store, ctx context.Context) (bill.OrderRecord, error) { return s.Order(ctx, b.OrderKey()) })
	same(t, want, got, func(s bill.Store, ctx context.Context) (bill.Idempotency, error) { return s.Idempotent(ctx, id, noon) })
	same(t, want, got, func(s bill.Store, ctx context.Context) ([]bill.Notification, error) { return s.Notifications(ctx, id) })
	same(t, want, got, func(s bill.Store, ctx context.Context) (bill.Notification, error) {
		return s.PendingNotification(ctx, hook, b.OrderKey())
	})
	same(t, want, got, func(s bill.Store, ctx context.Context) (int, error) { return s.OpenBillsOf(ctx, b.Client, 10_000) })
	for _, name := range []string{b.ID, b.OrderCode, b.BillCode, b.PaymentRequestID} {
		wantSame(t, found(t, want, name, 100), found(t, got, name, 100))
	}
}

func (s Suite) everythingIsCarriedIntoAnotherStore(t *testing.T) {
	from, to := s.openMovable(t), s.openMovable(t)
	Populate(t, from)
	carried(t, from, to, 7)
	WantEqual(t, from, to)

	// Both go on alike.
	for _, store := range []bill.Movable{from, to} {
		b, err := store.Bill(t.Context(), "bill-003")
		if err != nil {
			t.Fatal(err)
		}
		wantConflict(t, store, only(b))
		c := only(moved(b))
		c.Bills[0].Events = []bill.Event{{Kind: bill.EventReportedPaid, At: noon.Add(-time.Hour)}}
		commit(t, store, c)
		wantConflict(t, store, telling(news("second", b))) // there is a pending one
		commit(t, store, forgetting(ended("remembered")))
	}
	WantEqual(t, from, to)
}

func (s Suite) pagesOfAnExportLoseAndRepeatNothing(t *testing.T) {
	store := s.openMovable(t)
	if page, next, err := store.Export(t.Context(), "", 10); len(page) > 0 || next != "" || err != nil {
		t.Fatalf("an empty store: %v, next %q, %v", page, next, err)
	}
	for number := range 10 {
		commit(t, store, generated(number))
	}
	all := exported(t, store, 100)
	wantSame(t, 50, len(all))
	for _, limit := range []int{1, 3, 10, 49, 50} {
		wantSame(t, all, exported(t, store, limit))
	}
	_, next, err := store.Export(t.Context(), "", 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, cursor := range []string{"x", "AAAA", next + "A", next[1:]} {
		if _, _, err := store.Export(t.Context(), cursor, 1); !errors.Is(err, bill.ErrCursor) {
			t.Errorf("cursor %q: %v", cursor, err)
		}
	}
}

func (s Suite) aStoreThatMovesCommitsNothing(t *testing.T) {
	store := s.openMovable(t)
	commit(t, store, only(sample("a")))
	wantMigration(t, store, bill.Migration{})
	for _, role := range []bill.Role{bill.RoleSource, bill.RoleTarget, bill.RoleLeft} {
		m := bill.Migration{Role: role, ID: "m", Other: "elsewhere", Since: noon, Cursor: "c", Records: 5, All: true}
		setMigration(t, store, m)
		wantMigration(t, store, m)
		err := store.Commit(t.Context(), only(sample("b")))
		if !errors.Is(err, bill.ErrUnavailable) || !errors.Is(err, bill.ErrMoved) || !strings.Contains(err.Error(), "elsewhere") {
			t.Errorf("%s: Commit: %v", role, err)
		}
		wantBill(t, store, sample("a"))
		wantNoBill(t, store, "b")
	}
	setMigration(t, store, bill.Migration{})
	wantMigration(t, store, bill.Migration{})
	commit(t, store, only(sample("b")))
}

func (s Suite) whatIsCarriedOverTakesThePlaceOfWhatIsThere(t *testing.T) {
	store, want := s.openMovable(t), s.openMovable(t)
	was := remembered(t, store, "a")
	pending := news("pending", sample("b"))
	commit(t, store, bill.Change{
		Bills: only(sample("b")).Bills, Notifications: []bill.Notification{pending},
		Orphan: &bill.Orphan{Ledger: "l", ID: "x", At: noon}, Idempotency: &bill.Idempotency{Key: "k", Bill: "a", ExpiresAt: noon.AddDate(1, 0, 0)},
	})
	a := was.Bills[0].Bill
	a.Status, a.Due, a.Client, a.Revision = bill.Wait, noon, "::1", 9
	order := *was.Order
	order.Revision = 9
	next := news("next", sample("b"))
	page := []bill.Record{
		{Bill: &bill.WholeBill{Bill: a, Events: []bill.Event{{Kind: bill.EventForced, At: noon}}}},
		{Bill: &bill.WholeBill{Bill: sample("b"), Details: &bill.Details{Description: "b"}}},
		{Order: &order}, {Notification: &next},
		{Notification: new(became(pending, bill.Superseded))}, {Notification: new(became(was.Notifications[0], bill.Dead))},
		{Notification: &was.Notifications[1]}, {Notification: &was.Notifications[2]},
		{Idempotency: &bill.Idempotency{Key: "k", Bill: "b", ExpiresAt: noon.AddDate(1, 0, 0)}},
		{Orphan: &bill.Orphan{Ledger: "l", ID: "x", At: noon, Resolved: &bill.Resolution{At: noon, Note: "seen"}}},
	}
	for _, to := range []bill.Movable{store, want} {
		if err := to.Import(t.Context(), page, bill.Migration{}); err != nil {
			t.Fatalf("Import: %v", err)
		}
	}
	WantEqual(t, want, store)
	wantPending(t, store, next)
}

func (s Suite) aBillWithALongHistoryIsCarriedOver(t *testing.T) {
	from, to := s.openMovable(t), s.openMovable(t)
	b := sample("long")
	for range 10 {
		c := only(b)
		for range 300 {
			c.Bills[0].Events = append(c.Bills[0].Events, bill.Event{
				Kind: bill.EventReportedOther, At: noon, Report: bill.Report{Message: strings.Repeat("m", 512), BodySHA256: fmt.Sprint(b.Revision)},
			})
		}
		commit(t, from, c)
		b = moved(b)
	}
	commit(t, from, only(sample("short")))
	carried(t, from, to, 100)
	WantEqual(t, from, to)
}

func (s Suite) onlyAnUnfinishedTargetIsAbandoned(t *testing.T) {
	store := s.openMovable(t)
	commit(t, store, only(sample("a")))
	for _, role := range []bill.Role{bill.RoleNone, bill.RoleSource, bill.RoleLeft} {
		setMigration(t, store, bill.Migration{Role: role, ID: "m", Since: noon})
		if err := store.Abandon(t.Context()); err == nil {
			t.Fatalf("abandoned as %q", role)
		}
		wantBill(t, store, sample("a"))
	}
	setMigration(t, store, bill.Migration{Role: bill.RoleTarget, ID: "m", Since: noon})
	if err := store.Abandon(t.Context()); err != nil {
		t.Fatalf("Abandon: %v", err)
	}
	if _, err := store.Bill(t.Context(), "a"); !errors.Is(err, bill.ErrUnavailable) {
		t.Errorf("after it was abandoned: %v", err)
	}
}

// opened opens the store of dir for who carries.
func (s Suite) openedToMove(t *testing.T, dir string) bill.Movable {
	t.Helper()
	store, err := s.Opener(dir).OpenToMove(t.Context(), bill.Env{}, false)
	if err != nil {
		t.Fatalf("OpenToMove: %v", err)
	}
	t.Cleanup(func() { _ = store.Close() }) // as open does
	return store
}

func mustClose(t *testing.T, store bill.Store) {
	t.Helper()
	if err := store.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
}

func (s Suite) aStoreThatMovesIsOpenedForNobodyElse(t *testing.T) {
	dir := t.TempDir()
	if _, err := s.Opener(dir).OpenToMove(t.Context(), bill.Env{}, false); !errors.Is(err, bill.ErrNotFound) {
		t.Fatalf("OpenToMove of a store that is not there: %v", err)
	}
	store := s.open(t, dir)
	want := lasting(t, store, "a")
	mustClose(t, store)
	for _, role := range []bill.Role{bill.RoleTarget, bill.RoleSource, bill.RoleLeft} {
		m := bill.Migration{Role: role, ID: "m", Other: "elsewhere", Since: noon, Cursor: "c", Records: 3}
		moving := s.openedToMove(t, dir)
		setMigration(t, moving, m)
		mustClose(t, moving)
		for range 2 {
			if refused, err := s.Opener(dir).Open(t.Context(), bill.Env{}); !errors.Is(err, bill.ErrMoved) || errors.Is(err, bill.ErrUnavailable) {
				if err == nil {
					_ = refused.Close()
				}
				t.Fatalf("%s: Open: %v", role, err)
			} else if words := m.Refusal().Error(); !strings.Contains(err.Error(), words) {
				t.Errorf("%s: Open: %v, want %q", role, err, words)
			}
		}
		moving = s.openedToMove(t, dir)
		wantMigration(t, moving, m)
		wantLasting(t, moving, want)
		mustClose(t, moving)
	}
	moving := s.openedToMove(t, dir)
	setMigration(t, moving, bill.Migration{})
	mustClose(t, moving)
	store = s.open(t, dir)
	wantAllLasting(t, store, []bill.Bill{want})
	if _, restorable := store.(bill.Restorable); restorable == bill.CheckoutsClosed(store).IsZero() {
		t.Errorf("taken back, its checkouts are closed since %v", bill.CheckoutsClosed(store))
	}
}

func (s Suite) whatWasAbandonedIsEmpty(t *testing.T) {
	dir := t.TempDir()
	store := s.open(t, dir)
	lasting(t, store, "a")
	mustClose(t, store)
	moving := s.openedToMove(t, dir)
	setMigration(t, moving, bill.Migration{Role: bill.RoleTarget, ID: "m", Since: noon})
	if err := moving.Abandon(t.Context()); err != nil {
		t.Fatalf("Abandon: %v", err)
	}
	store = s.open(t, dir)
	wantSame(t, nil, pages(t, store, bill.Query{Limit: 10}))
	wantCounts(t, store, bill.Counts{})
	wantAllLasting(t, store, []bill.Bill{lasting(t, store, "a")})
}

func (s Suite) whatWasCarriedOverIsThereAfterReopening(t *testing.T) {
	dir := t.TempDir()
	from, to := s.openMovable(t), s.open(t, dir).(bill.Movable)
	Populate(t, from)
	carried(t, from, to, 50)
	mustClose(t, to)
	WantEqual(t, from, s.open(t, dir).(bill.Movable))
}
