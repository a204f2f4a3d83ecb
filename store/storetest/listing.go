package storetest

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

var listingTests = []test{
	{"AListingIsNewestFirst", aListingIsNewestFirst},
	{"EveryFilterSelects", everyFilterSelects},
	{"PagingLosesAndRepeatsNothingAmongEqualTimes", pagingLosesAndRepeatsNothingAmongEqualTimes},
	{"PagingIsNotDisturbedByNewAndChangedBills", pagingIsNotDisturbedByNewAndChangedBills},
	{"AFilterThatMatchesNothingComesToAnEnd", aFilterThatMatchesNothingComesToAnEnd},
	{"ACursorThatWasNeverGivenOutIsAnError", aCursorThatWasNeverGivenOutIsAnError},
	{"ALimitOutOfBoundsIsBroughtIn", aLimitOutOfBoundsIsBroughtIn},
	{"OrphansComeByLedgerAndID", orphansComeByLedgerAndID},
}

// fill commits n bills, a minute apart, and returns their ids, oldest first. Each
// is another attempt, since a store may hold those of one order apart.
func fill(t *testing.T, store bill.Store, n int, change func(i int, b *bill.Bill)) []string {
	t.Helper()
	ids := numbered(n)
	var c bill.Change
	for i, id := range ids {
		b := sample(id)
		b.Attempt = i + 1
		b.CreatedAt = noon.Add(time.Duration(i) * time.Minute)
		if change != nil {
			change(i, &b)
		}
		c.Bills = append(c.Bills, bill.BillChange{Bill: b})
	}
	commit(t, store, c)
	return ids
}

func backwards(ids []string) []string {
	ids = slices.Clone(ids)
	slices.Reverse(ids)
	return ids
}

func aListingIsNewestFirst(t *testing.T, store bill.Store) {
	ids := fill(t, store, 25, nil)
	for _, limit := range []int{1, 7, 25, 1000} {
		wantSame(t, backwards(ids), pages(t, store, bill.Query{Limit: limit}))
	}
}

func everyFilterSelects(t *testing.T, store bill.Store) {
	ids := fill(t, store, 12, func(i int, b *bill.Bill) {
		b.Status = bill.Statuses()[i%len(bill.Statuses())]
		b.Account = fmt.Sprint("account-", i%2)
		b.Shop = fmt.Sprint("shop-", i%3)
	})
	at := func(minutes int) time.Time { return noon.Add(time.Duration(minutes) * time.Minute) }
	zone := time.FixedZone("", 3600)
	for _, c := range []struct {
		query bill.Query
		want  []int
	}{
		{bill.Query{Status: bill.Wait}, []int{9, 2}},
		{bill.Query{Account: "account-1"}, []int{11, 9, 7, 5, 3, 1}},
		{bill.Query{Shop: "shop-2"}, []int{11, 8, 5, 2}},
		{bill.Query{From: at(10)}, []int{11, 10}},
		{bill.Query{From: at(10).Add(time.Microsecond)}, []int{11}},
		{bill.Query{To: at(2)}, []int{1, 0}},
		{bill.Query{To: at(2).Add(time.Microsecond)}, []int{2, 1, 0}},
		{bill.Query{From: at(3), To: at(3)}, nil},
		{bill.Query{From: at(5), To: at(3)}, nil},
		{bill.Query{From: at(3).In(zone), To: at(5).In(zone)}, []int{4, 3}},
		{bill.Query{Account: "account-1", Shop: "shop-2", From: at(5), To: at(11)}, []int{5}},
		{bill.Query{Account: "account-9"}, nil},
	} {
		var want []string
		for _, i := range c.want {
			want = append(want, ids[i])
		}
		for _, limit := range []int{1, 2, 100} {
			c.query.Limit = limit
			wantSame(t, want, pages(t, store, c.query))
		}
	}
}

func pagingLosesAndRepeatsNothingAmongEqualTimes(t *testing.T, store bill.Store) {
	ids := fill(t, store, 23, func(_ int, b *bill.Bill) { b.CreatedAt = noon })
	whole := pages(t, store, bill.Query{Limit: 100})
	for _, limit := range []int{1, 2, 5, 22, 23} {
		wantSame(t, whole, pages(t, store, bill.Query{Limit: limit}))
	}
	slices.Sort(whole)
	wantSame(t, ids, whole)
}

func pagingIsNotDisturbedByNewAndChangedBills(t *testing.T, store bill.Store) {
	ids := backwards(fill(t, store, 10, nil))
	page, next, err := store.List(t.Context(), bill.Query{Limit: 4})
	if err != nil || len(page) != 4 {
		t.Fatalf("List: %d bills, %v", len(page), err)
	}
	younger := sample("younger")
	younger.CreatedAt = noon.AddDate(1, 0, 0)
	last := moved(page[3]) // where the cursor stands
	last.Status = bill.Canceled
	commit(t, store, only(younger, last))
	wantSame(t, ids[4:], pages(t, store, bill.Query{Limit: 4, Cursor: next}))
}

func aFilterThatMatchesNothingComesToAnEnd(t *testing.T, store bill.Store) {
	fill(t, store, 300, nil)
	wantSame(t, nil, pages(t, store, bill.Query{Shop: "none", Limit: 5}))
}

func aCursorThatWasNeverGivenOutIsAnError(t *testing.T, store bill.Store) {
	fill(t, store, 3, nil)
	commit(t, store, bill.Change{Orphan: &bill.Orphan{Ledger: "l", ID: "1", At: noon}})
	commit(t, store, bill.Change{Orphan: &bill.Orphan{Ledger: "l", ID: "2", At: noon}})
	_, ofBills, err := store.List(t.Context(), bill.Query{Limit: 1})
	_, ofOrphans, err2 := store.Orphans(t.Context(), "", 1)
	if err := errors.Join(err, err2); err != nil || ofBills == "" || ofOrphans == "" {
		t.Fatalf("cursors %q, %q, %v", ofBills, ofOrphans, err)
	}
	garbage := []string{"x", "AAAA", "%00", "\x00", "null", "{}", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "../..", ofBills + "A", ofBills[1:]}
	for _, cursor := range append(garbage, ofOrphans) {
		if _, _, err := store.List(t.Context(), bill.Query{Limit: 1, Cursor: cursor}); err == nil {
			t.Errorf("List took the cursor %q", cursor)
		}
	}
	for _, cursor := range append(garbage, ofBills) {
		if _, _, err := store.Orphans(t.Context(), cursor, 1); err == nil {
			t.Errorf("Orphans took the cursor %q", cursor)
		}
	}
}

func aLimitOutOfBoundsIsBroughtIn(t *testing.T, store bill.Store) {
	fill(t, store, 3, nil)
	for limit, want := range map[int]int{-1: 1, 0: 1, 1 << 30: 3} {
		page, _, err := store.List(t.Context(), bill.Query{Limit: limit})
		if err != nil || len(page) != want {
			t.Errorf("limit %d: %d bills, %v; want %d", limit, len(page), err, want)
		}
	}
}

func orphansComeByLedgerAndID(t *testing.T, store bill.Store) {
	var want []bill.Orphan
	for _, ledger := range []string{"", "a", "a\x00", "ab", "b"} {
		for _, id := range []string{"1", "1\x00", "11", "2"} {
			want = append(want, bill.Orphan{Ledger: ledger, ID: id, At: noon, Report: bill.Report{TradeUUID: id}})
		}
	}
	for i := range want {
		commit(t, store, bill.Change{Orphan: &want[(i*7)%len(want)]})
	}
	for _, limit := range []int{1, 3, 20, 1000} {
		var got []bill.Orphan
		for cursor := ""; ; {
			page, next, err := store.Orphans(t.Context(), cursor, limit)
			if err != nil || len(page) > limit {
				t.Fatalf("Orphans: %d, %v", len(page), err)
			}
			got = append(got, page...)
			if next == "" {
				break
			}
			cursor = next
		}
		wantSame(t, want, got)
	}
}
