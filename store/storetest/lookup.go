package storetest

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

var lookupTests = []test{
	{"EveryFilterOfAnOperatorSelects", everyFilterOfAnOperatorSelects},
	{"ABillIsListedUnderWhatItIsNow", aBillIsListedUnderWhatItIsNow},
	{"ABillIsUntoldUntilAllOfItIsDelivered", aBillIsUntoldUntilAllOfItIsDelivered},
	{"ACursorHoldsWhateverBecameOfWhatItStandsOn", aCursorHoldsWhateverBecameOfWhatItStandsOn},
	{"ManyOrdersOfOneBeginningAreListedNewestFirst", manyOrdersOfOneBeginningAreListedNewestFirst},
	{"ABillIsFoundByEachOfItsNames", aBillIsFoundByEachOfItsNames},
	{"OfManyBillsOfOneNameTheNewestAreFound", ofManyBillsOfOneNameTheNewestAreFound},
	{"AForgottenBillIsFoundByTheNamesThatItKeeps", aForgottenBillIsFoundByTheNamesThatItKeeps},
	{"NotificationsAreListedNewestFirst", notificationsAreListedNewestFirst},
	{"CountsFollowEveryChange", countsFollowEveryChange},
	{"AnOrphanIsResolvedInItsPlace", anOrphanIsResolvedInItsPlace},
}

// is reports whether err is the wanted one, nil for none.
func is(err, want error) bool {
	if want == nil {
		return err == nil
	}
	return errors.Is(err, want)
}

// notificationPages reads a whole listing, a page at a time, and returns the
// ids.
func notificationPages(t testing.TB, store bill.Store, q bill.NotificationQuery) (ids []string) {
	t.Helper()
	for range 1000 {
		page, next, err := store.ListNotifications(t.Context(), q)
		if err != nil || len(page) > q.Limit {
			t.Fatalf("ListNotifications: %d of at most %d, %v", len(page), q.Limit, err)
		}
		for _, n := range page {
			ids = append(ids, n.ID)
		}
		if next == "" {
			return ids
		}
		q.Cursor = next
	}
	t.Fatalf("ListNotifications: no last page")
	return nil
}

// found returns the ids of the bills that a name means.
func found(t testing.TB, store bill.Store, name string, limit int) (ids []string) {
	t.Helper()
	bills, err := store.Find(t.Context(), name, limit)
	if err != nil {
		t.Fatalf("Find %.80q: %v", name, err)
	}
	for _, b := range bills {
		ids = append(ids, b.ID)
	}
	return ids
}

func wantCounts(t testing.TB, store bill.Store, want bill.Counts) {
	t.Helper()
	got, err := store.Counts(t.Context())
	if err != nil {
		t.Fatalf("Counts: %v", err)
	}
	wantSame(t, want, got)
}

// wantListed reads the listing in pages of several sizes.
func wantListed(t testing.TB, store bill.Store, q bill.Query, want ...string) {
	t.Helper()
	for _, limit := range []int{1, 2, 100} {
		q.Limit = limit
		wantSame(t, want, pages(t, store, q))
	}
}

func everyFilterOfAnOperatorSelects(t *testing.T, store bill.Store) {
	at := func(minutes int) time.Time { return noon.Add(time.Duration(minutes) * time.Minute) }
	ids := fill(t, store, 12, func(i int, b *bill.Bill) {
		b.Status = bill.Statuses()[i%len(bill.Statuses())]
		b.OrderCode = []string{"A-1", "A-2", "a-1", "A", "A-\x00", "B"}[i%6]
		b.Amount = []bill.Amount{"10", "10.00", "7"}[i%3]
		b.LatePayment, b.RefundDue = i%4 == 3, i%6 == 3
		b.UpdatedAt = b.CreatedAt
		if i%5 == 0 {
			b.Reported.At = b.CreatedAt
		}
	})
	untold := sample(ids[3])
	untold.CreatedAt = at(3)
	n := news("n", untold)
	n.BillCreatedAt = at(3)
	commit(t, store, telling(n))
	for _, c := range []struct {
		query bill.Query
		want  []int
	}{
		{bill.Query{Order: "A-"}, []int{10, 7, 6, 4, 1, 0}},
		{bill.Query{Order: "A-1"}, []int{6, 0}},
		{bill.Query{Order: "A-\x00"}, []int{10, 4}},
		{bill.Query{Order: "A-11"}, nil},
		{bill.Query{Order: "A-", From: at(1), To: at(7)}, []int{6, 4, 1}},
		{bill.Query{Order: "A-", Status: bill.Fail}, []int{4}},
		{bill.Query{Amount: "10.0"}, []int{10, 9, 7, 6, 4, 3, 1, 0}},
		{bill.Query{Late: true}, []int{11, 7, 3}},
		{bill.Query{Refund: true}, []int{9, 3}},
		{bill.Query{Late: true, Refund: true}, []int{3}},
		{bill.Query{Late: true, Status: bill.Choose}, []int{7}},
		{bill.Query{Refund: true, Order: "B"}, nil},
		{bill.Query{Untold: true}, []int{3}},
		{bill.Query{Untold: true, Order: "A"}, []int{3}},
		{bill.Query{Untold: true, Late: true, Refund: true}, []int{3}},
		{bill.Query{Untold: true, From: at(4)}, nil},
		{bill.Query{StuckAt: at(0)}, nil},
		{bill.Query{StuckAt: at(6)}, []int{1, 0}},
		{bill.Query{StuckAt: at(60)}, []int{10, 8, 5, 1, 0}},
		{bill.Query{StuckAt: at(60), Status: bill.Created}, []int{8, 1}},
		{bill.Query{StuckAt: at(60), Status: bill.Success}, []int{10}},
		{bill.Query{StuckAt: at(60), Status: bill.Wait, Amount: "10"}, nil},
		{bill.Query{Status: bill.Wait, To: at(9)}, []int{2}},
	} {
		var want []string
		for _, i := range c.want {
			want = append(want, ids[i])
		}
		t.Logf("%+v", c.query)
		wantListed(t, store, c.query, want...)
	}
}

func aBillIsListedUnderWhatItIsNow(t *testing.T, store bill.Store) {
	b := sample("a")
	commit(t, store, only(b))
	for _, s := range bill.Statuses() {
		b = moved(b)
		b.Status = s
		b.LatePayment, b.RefundDue = !b.LatePayment, s == bill.Success
		b.OrderCode = "order-of-" + string(s)
		commit(t, store, only(b))
		for _, other := range bill.Statuses() {
			var want []string
			if other == s {
				want = []string{b.ID}
			}
			wantListed(t, store, bill.Query{Status: other}, want...)
			wantListed(t, store, bill.Query{Order: "order-of-" + string(other)}, want...)
			wantSame(t, want, found(t, store, "order-of-"+string(other), 10))
		}
		wantSame(t, b.LatePayment, len(pages(t, store, bill.Query{Late: true, Limit: 1})) == 1)
		wantSame(t, b.RefundDue, len(pages(t, store, bill.Query{Refund: true, Limit: 1})) == 1)
	}
	wantConflict(t, store, only(b)) // and changes nothing
	wantListed(t, store, bill.Query{Status: b.Status}, b.ID)
}

func aBillIsUntoldUntilAllOfItIsDelivered(t *testing.T, store bill.Store) {
	a, b := sample("a"), sample("a\x00")
	first, second, other := news("1", a), news("2", a), news("3", b)
	second.URL += "2"
	for _, n := range []*bill.Notification{&first, &second, &other} {
		n.BillCreatedAt = noon
	}
	c := only(a, b)
	c.Notifications = []bill.Notification{first, second, other}
	commit(t, store, c)
	wantListed(t, store, bill.Query{Untold: true}, "a", "a\x00")
	first = became(first, bill.Dead)
	commit(t, store, telling(first, became(second, bill.Delivered)))
	wantListed(t, store, bill.Query{Untold: true}, "a", "a\x00")
	first = became(first, bill.Superseded)
	commit(t, store, telling(first))
	wantListed(t, store, bill.Query{Untold: true}, "a\x00")
	first = became(first, bill.Pending) // redelivered
	commit(t, store, telling(first))
	wantListed(t, store, bill.Query{Untold: true}, "a", "a\x00")
	commit(t, store, telling(news("of a bill that is not there", sample("missing"))))
	wantListed(t, store, bill.Query{Untold: true}, "a", "a\x00")
}

func aCursorHoldsWhateverBecameOfWhatItStandsOn(t *testing.T, store bill.Store) {
	ids := backwards(fill(t, store, 10, func(_ int, b *bill.Bill) { b.RefundDue = true }))
	for _, q := range []bill.Query{{Status: bill.Wait}, {Refund: true}, {Order: "O-"}} {
		q.Limit = 3
		page, next, err := store.List(t.Context(), q)
		if err != nil || len(page) != 3 || next == "" {
			t.Fatalf("List: %d bills, next %q, %v", len(page), next, err)
		}
		last := page[2]
		gone := moved(last)
		gone.Status, gone.RefundDue, gone.OrderCode = bill.Expired, false, "gone"
		commit(t, store, only(gone))
		q.Cursor = next
		wantSame(t, ids[3:], pages(t, store, q))
		back := moved(gone)
		back.Status, back.RefundDue, back.OrderCode = last.Status, last.RefundDue, last.OrderCode
		commit(t, store, only(back))
	}
}

func manyOrdersOfOneBeginningAreListedNewestFirst(t *testing.T, store bill.Store) {
	const many = 300
	ids := fill(t, store, many, func(i int, b *bill.Bill) { b.OrderCode = fmt.Sprint("O-", i*7%many) })
	q := bill.Query{Order: "O-", Limit: 7}
	wantSame(t, backwards(ids), pages(t, store, q))
	q.From, q.To = noon.Add(10*time.Minute), noon.Add(20*time.Minute)
	wantSame(t, backwards(ids[10:20]), pages(t, store, q))
}

func aBillIsFoundByEachOfItsNames(t *testing.T, store bill.Store) {
	long := strings.Repeat("n", 70_000)
	names := []string{"order", "code", "request", "a\x00\x01b", "\x00", "商品", long, long + "1"}
	var all []bill.Bill
	for i, name := range names {
		b := sample(fmt.Sprint("bill-", i))
		b.OrderCode, b.Attempt = "other", i+1
		switch i % 3 {
		case 0:
			b.OrderCode = name[:min(len(name), 1000)]
		case 1:
			b.BillCode = name
		case 2:
			b.PaymentRequestID = name
		}
		commit(t, store, only(b))
		all = append(all, b)
	}
	for i, b := range all {
		wantSame(t, []string{b.ID}, found(t, store, b.ID, 10))
		if name := names[i]; len(name) < 1000 || i%3 != 0 {
			wantSame(t, []string{b.ID}, found(t, store, name, 10))
		}
	}
	for _, nobody := range []string{"", "orde", "order1", "ORDER", "bill-", long[:600], "商"} {
		wantSame(t, nil, found(t, store, nobody, 10))
	}
}

func ofManyBillsOfOneNameTheNewestAreFound(t *testing.T, store bill.Store) {
	ids := fill(t, store, 10, func(i int, b *bill.Bill) {
		switch i % 3 {
		case 0:
			b.OrderCode = "bill-004" // another one's id
		case 1:
			b.BillCode, b.OrderCode = "bill-004", "bill-004" // twice
		case 2:
			b.PaymentRequestID = "bill-004"
		}
	})
	for limit, want := range map[int]int{-1: 0, 0: 0, 1: 1, 3: 3, 10: 10, 1 << 30: 10} {
		wantSame(t, backwards(ids)[:want], found(t, store, "bill-004", limit))
	}
}

func aForgottenBillIsFoundByTheNamesThatItKeeps(t *testing.T, store bill.Store) {
	b := ended("a")
	b.BillCode, b.PaymentRequestID = "code", "request"
	commit(t, store, only(b))
	forgot := forgetting(b)
	forgot.Bills[0].Bill.PaymentRequestID = ""
	commit(t, store, forgot)
	for _, name := range []string{"a", b.OrderCode, "code"} {
		wantSame(t, []string{"a"}, found(t, store, name, 10))
	}
	wantSame(t, nil, found(t, store, "request", 10))
	wantListed(t, store, bill.Query{Status: bill.Expired}, "a")
}

func notificationsAreListedNewestFirst(t *testing.T, store bill.Store) {
	states := bill.NotificationStates()
	var all []bill.Notification
	for i := range 12 {
		n := news(fmt.Sprintf("n-%02d", i), sample(fmt.Sprint(i)))
		n.CreatedAt, n.Revision = noon.Add(time.Duration(i/2)*time.Minute), 0 // two at a time
		all = append(all, became(n, states[i%len(states)]))
	}
	commit(t, store, telling(all...))
	want := func(which func(i int, n bill.Notification) bool) (ids []string) {
		for minute := 5; minute >= 0; minute-- {
			for i := 2 * minute; i < 2*minute+2; i++ {
				if which(i, all[i]) {
					ids = append(ids, all[i].ID)
				}
			}
		}
		return ids
	}
	for _, limit := range []int{1, 2, 5, 100} {
		q := bill.NotificationQuery{Limit: limit}
		wantSame(t, want(func(int, bill.Notification) bool { return true }), notificationPages(t, store, q))
		for _, state := range states {
			q.State = state
			wantSame(t, want(func(_ int, n bill.Notification) bool { return n.State == state }), notificationPages(t, store, q))
		}
		q = bill.NotificationQuery{Limit: limit, Since: noon.Add(3 * time.Minute)}
		wantSame(t, want(func(i int, _ bill.Notification) bool { return i >= 6 }), notificationPages(t, store, q))
		q.Since = q.Since.Add(time.Nanosecond)
		wantSame(t, want(func(i int, _ bill.Notification) bool { return i >= 8 }), notificationPages(t, store, q))
	}
	page, next, err := store.ListNotifications(t.Context(), bill.NotificationQuery{Limit: 4})
	if err != nil || len(page) != 4 {
		t.Fatalf("ListNotifications: %d, %v", len(page), err)
	}
	wantSame(t, all[10:], page[:2]) // whole
	commit(t, store, telling(became(page[3], bill.Dead)))
	q := bill.NotificationQuery{Limit: 4, Cursor: next}
	wantSame(t, want(func(i int, _ bill.Notification) bool { return i < 8 }), notificationPages(t, store, q))
	for _, cursor := range []string{"x", "AAAA", next + "A", next[1:]} {
		if _, _, err := store.ListNotifications(t.Context(), bill.NotificationQuery{Cursor: cursor}); !errors.Is(err, bill.ErrCursor) {
			t.Errorf("cursor %q: %v", cursor, err)
		}
	}
	if _, _, err := store.List(t.Context(), bill.Query{Cursor: next}); !errors.Is(err, bill.ErrCursor) {
		t.Errorf("List took a cursor of notifications: %v", err)
	}
}

func countsFollowEveryChange(t *testing.T, store bill.Store) {
	wantCounts(t, store, bill.Counts{})
	b, n := sample("a"), news("n", sample("a"))
	b.Due = noon.Add(time.Hour)
	c := only(b, sample("b"))
	c.Notifications = []bill.Notification{n}
	c.Orphan = &bill.Orphan{Ledger: "l", ID: "x", At: noon}
	commit(t, store, c)
	held := bill.Counts{
		Bills:         map[bill.Status]uint64{bill.Wait: 2},
		Notifications: map[bill.NotificationState]uint64{bill.Pending: 1},
		Orphans:       1, OldestPending: noon, OldestDue: b.Due,
	}
	wantCounts(t, store, held)
	wantConflict(t, store, c)
	wantCounts(t, store, held)

	b = moved(b)
	b.Status, b.LatePayment, b.RefundDue, b.Due = bill.Success, true, true, time.Time{}
	older := news("older", sample("b"))
	older.CreatedAt = noon.Add(-time.Hour)
	c = only(b)
	c.Notifications = []bill.Notification{older}
	commit(t, store, c)
	wantCounts(t, store, bill.Counts{
		Bills: map[bill.Status]uint64{bill.Wait: 1, bill.Success: 1}, Late: 1, Refunds: 1,
		Notifications: map[bill.NotificationState]uint64{bill.Pending: 2},
		Orphans:       1, OldestPending: older.CreatedAt,
	})

	forgot := forgetting(b)
	forgot.Bills[0].Bill.RefundDue = false
	commit(t, store, telling(became(n, bill.Delivered), became(older, bill.Dead)))
	commit(t, store, forgot)
	wantCounts(t, store, bill.Counts{
		Bills: map[bill.Status]uint64{bill.Wait: 1, bill.Success: 1}, Late: 1,
		Notifications: map[bill.NotificationState]uint64{bill.Dead: 1},
		Orphans:       1,
	})
}

func anOrphanIsResolvedInItsPlace(t *testing.T, store bill.Store) {
	first := bill.Orphan{Ledger: "l", ID: "x", At: noon, Report: bill.Report{TradeUUID: "x", Status: "SUCCESS"}}
	resolved := first
	resolved.Resolved = &bill.Resolution{At: noon.Add(time.Hour), Note: "given back", Actor: "a@b"}
	want := func(want ...bill.Orphan) {
		t.Helper()
		got, _, err := store.Orphans(t.Context(), "", 10)
		if err != nil {
			t.Fatal(err)
		}
		wantSame(t, want, got)
	}
	c := only(sample("a"))
	c.Orphan = &resolved
	wantConflict(t, store, c) // there is none to be resolved
	wantNoBill(t, store, "a")
	want()
	commit(t, store, bill.Change{Orphan: &first})
	wantCounts(t, store, bill.Counts{Orphans: 1})
	other := resolved
	other.Ledger = "m"
	wantConflict(t, store, bill.Change{Orphan: &other})
	commit(t, store, bill.Change{Orphan: &resolved})
	want(resolved)
	wantCounts(t, store, bill.Counts{})
	commit(t, store, bill.Change{Orphan: &first}) // reported again
	want(resolved)
	again := resolved
	again.Resolved = &bill.Resolution{At: noon.Add(2 * time.Hour), Note: "given back twice"}
	commit(t, store, bill.Change{Orphan: &again})
	want(again)
	wantCounts(t, store, bill.Counts{})
}
