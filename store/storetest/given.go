package storetest

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

// noon is when everything in the suite begins.
var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// sample returns a new bill, waiting to be paid, for an order of its own.
func sample(id string) bill.Bill {
	return bill.Bill{
		ID: id, Ledger: "ledger", Account: "default", Shop: "default", OrderCode: "O-" + id, Attempt: 1,
		Status: bill.Wait, Amount: "10.00", Currency: "IDR", Country: "ID", PayType: "ONLINE",
		CreatedAt: noon, UpdatedAt: noon, Version: 1, Revision: 1,
	}
}

// only is a change of bills alone.
func only(bills ...bill.Bill) bill.Change {
	var c bill.Change
	for _, b := range bills {
		c.Bills = append(c.Bills, bill.BillChange{Bill: b})
	}
	return c
}

// moved returns b's next state as a buyer would see it.
func moved(b bill.Bill) bill.Bill {
	b.Version++
	b.Revision++
	return b
}

func commit(t testing.TB, store bill.Store, c bill.Change) {
	t.Helper()
	if err := store.Commit(t.Context(), c); err != nil {
		t.Fatalf("Commit: %v", err)
	}
}

func wantConflict(t testing.TB, store bill.Store, c bill.Change) {
	t.Helper()
	if err := store.Commit(t.Context(), c); !errors.Is(err, bill.ErrConflict) {
		t.Fatalf("Commit: %v, want ErrConflict", err)
	}
}

func wantBill(t testing.TB, store bill.Store, want bill.Bill) {
	t.Helper()
	got, err := store.Bill(t.Context(), want.ID)
	if err != nil {
		t.Fatalf("Bill %q: %v", want.ID, err)
	}
	wantSame(t, want, got)
}

func wantNoBill(t testing.TB, store bill.Store, id string) {
	t.Helper()
	if _, err := store.Bill(t.Context(), id); !errors.Is(err, bill.ErrNotFound) {
		t.Fatalf("Bill %q: %v, want ErrNotFound", id, err)
	}
}

// tester is the part of *testing.T that *rapid.T has too.
type tester interface {
	Helper()
	Fatalf(format string, args ...any)
}

// wantSame compares values; a nil slice is an empty one.
func wantSame[T any](t tester, want, got T) {
	t.Helper()
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("%T differs (-want +got):\n%s", want, diff)
	}
}

func wantOpen(t testing.TB, store bill.Store, want int) {
	t.Helper()
	got, err := store.OpenBills(t.Context())
	if err != nil || got != want {
		t.Fatalf("OpenBills: %d, %v; want %d", got, err, want)
	}
}

func wantOpenOf(t testing.TB, store bill.Store, client string, want int) {
	t.Helper()
	got, err := store.OpenBillsOf(t.Context(), client, 100)
	if err != nil || got != want {
		t.Fatalf("OpenBillsOf %q: %d, %v; want %d", client, got, err, want)
	}
}

func wantDue(t testing.TB, store bill.Store, until time.Time, want ...string) {
	t.Helper()
	got, err := store.Due(t.Context(), until, 100)
	if err != nil {
		t.Fatalf("Due: %v", err)
	}
	wantSame(t, want, got)
}

// pages reads a whole listing, a page at a time, and returns the ids.
func pages(t testing.TB, store bill.Store, q bill.Query) []string {
	t.Helper()
	var ids []string
	for range 1000 {
		page, next, err := store.List(t.Context(), q)
		if err != nil {
			t.Fatalf("List: %v", err)
		}
		if len(page) > q.Limit {
			t.Fatalf("List: a page of %d bills, limit %d", len(page), q.Limit)
		}
		for _, b := range page {
			ids = append(ids, b.ID)
		}
		if next == "" {
			return ids
		}
		q.Cursor = next
	}
	t.Fatalf("List: no last page")
	return nil
}

// numbered returns n ids that sort in the order of their numbers.
func numbered(n int) []string {
	ids := make([]string, 0, n)
	for i := range n {
		ids = append(ids, fmt.Sprintf("bill-%03d", i))
	}
	return ids
}
