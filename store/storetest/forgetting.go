package storetest

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

var forgettingTests = []test{
	{"TheLongestEndedComeFirst", theLongestEndedComeFirst},
	{"PagesOfTheEndedLoseAndRepeatNothing", pagesOfTheEndedLoseAndRepeatNothing},
	{"ABillHasEndedWhenItSaysSoLast", aBillHasEndedWhenItSaysSoLast},
	{"WhatIsForgottenIsGoneAndNothingElse", whatIsForgottenIsGoneAndNothingElse},
	{"AForgottenBillMayBeForgottenAgain", aForgottenBillMayBeForgottenAgain},
	{"ForgettingAtAnotherRevisionDeletesNothing", forgettingAtAnotherRevisionDeletesNothing},
	{"WhatIsUndeliveredIsNotForgotten", whatIsUndeliveredIsNotForgotten},
	{"OfForgettingAndRedeliveringExactlyOneWins", ofForgettingAndRedeliveringExactlyOneWins},
	{"ALongHistoryIsForgottenInOneChange", aLongHistoryIsForgottenInOneChange},
}

// ended returns a bill that ended unpaid at noon.
func ended(id string) bill.Bill {
	b := sample(id)
	b.Status = bill.Expired
	return b
}

// forgetting is the change that forgets b, a day later.
func forgetting(b bill.Bill) bill.Change {
	stub := moved(b)
	stub.ForgottenAt = noon.Add(24 * time.Hour)
	return bill.Change{Bills: []bill.BillChange{{
		Bill: stub, Forget: true,
		Events: []bill.Event{{Kind: bill.EventForgotten, At: stub.ForgottenAt, Version: stub.Version}},
	}}}
}

// remembered commits an ended bill with all that can be forgotten, and returns
// the change.
func remembered(t testing.TB, store bill.Store, id string) bill.Change {
	t.Helper()
	b := ended(id)
	c := only(b)
	c.Order = &bill.OrderRecord{Key: b.OrderKey(), Revision: 1, Attempts: []bill.Attempt{{ID: id}}}
	c.Bills[0].Details = &bill.Details{Description: id}
	c.Bills[0].Events = []bill.Event{{Kind: bill.EventCreated, At: noon, Version: 1}, {Kind: bill.EventReportedExpiry, At: noon, Version: 1}}
	for i, state := range []bill.NotificationState{bill.Superseded, bill.Delivered, bill.Delivered} {
		n := became(news(fmt.Sprint(id, "-", i), b), state)
		n.Revision, n.Sequence = 1, uint64(i+1)/2
		c.Notifications = append(c.Notifications, n)
	}
	commit(t, store, c)
	return c
}

// wantRemembered checks that everything of the change is there.
func wantRemembered(t testing.TB, store bill.Store, c bill.Change) {
	t.Helper()
	id := c.Bills[0].Bill.ID
	wantBill(t, store, c.Bills[0].Bill)
	details, err := store.Details(t.Context(), id)
	history, err2 := store.History(t.Context(), id)
	record, err3 := store.Order(t.Context(), c.Order.Key)
	if err := errors.Join(err, err2, err3); err != nil {
		t.Fatal(err)
	}
	wantSame(t, *c.Bills[0].Details, details)
	wantSame(t, c.Bills[0].Events, history)
	wantSame(t, *c.Order, record)
	wantTold(t, store, id, c.Notifications...)
	wantEnded(t, store, noon, id)
}

// wantForgotten checks that of a remembered bill nothing is there but the
// record, its order and the lines of the forgetting.
func wantForgotten(t testing.TB, store bill.Store, was, forgot bill.Change) {
	t.Helper()
	stub := forgot.Bills[0]
	wantBill(t, store, stub.Bill)
	if details, err := store.Details(t.Context(), stub.Bill.ID); !errors.Is(err, bill.ErrNotFound) {
		t.Errorf("Details: %v, %v", details, err)
	}
	history, err := store.History(t.Context(), stub.Bill.ID)
	record, err2 := store.Order(t.Context(), was.Order.Key)
	if err := errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	wantSame(t, stub.Events, history)
	wantSame(t, *was.Order, record)
	wantTold(t, store, stub.Bill.ID)
	for _, n := range was.Notifications {
		wantNoNotification(t, store, n.ID)
	}
}

// wantEnded reads the whole listing in pages of two.
func wantEnded(t testing.TB, store bill.Store, until time.Time, want ...string) {
	t.Helper()
	wantSame(t, want, endedPages(t, store, until, 2))
}

func endedPages(t testing.TB, store bill.Store, until time.Time, limit int) (ids []string) {
	t.Helper()
	for cursor := ""; ; {
		page, next, err := store.Ended(t.Context(), until, cursor, limit)
		if err != nil || len(page) > limit {
			t.Fatalf("Ended: %d of at most %d, %v", len(page), limit, err)
		}
		ids = append(ids, page...)
		if next == "" {
			return ids
		}
		cursor = next
	}
}

func theLongestEndedComeFirst(t *testing.T, store bill.Store) {
	for i, status := range bill.Statuses() {
		b := sample(string(status))
		b.Status, b.UpdatedAt = status, noon.Add(-time.Duration(i)*time.Millisecond).In(time.FixedZone("", i*3600))
		commit(t, store, only(b))
	}
	wantEnded(t, store, noon, "EXPIRED", "CANCELED", "FAIL", "SUCCESS")
	wantEnded(t, store, noon.Add(-5*time.Millisecond), "EXPIRED", "CANCELED")
	wantEnded(t, store, noon.Add(-time.Hour))
	for limit, want := range map[int]int{-1: 1, 0: 1, 3: 3, 1 << 30: 4} {
		if page, next, err := store.Ended(t.Context(), noon, "", limit); err != nil || len(page) != want || (next == "") != (want == 4) {
			t.Errorf("limit %d: %v, next %q, %v", limit, page, next, err)
		}
	}
	for _, cursor := range []string{"x", "AAAA", "\x00"} {
		if _, _, err := store.Ended(t.Context(), noon, cursor, 1); !errors.Is(err, bill.ErrCursor) {
			t.Errorf("cursor %q: %v", cursor, err)
		}
	}
}

func pagesOfTheEndedLoseAndRepeatNothing(t *testing.T, store bill.Store) {
	ids := fill(t, store, 11, func(_ int, b *bill.Bill) { b.Status = bill.Fail }) // all ended at one time
	for _, limit := range []int{1, 3, 10, 11, 12} {
		wantSame(t, ids, endedPages(t, store, noon, limit))
	}
	page, next, err := store.Ended(t.Context(), noon, "", 4)
	if err != nil || len(page) != 4 {
		t.Fatal(page, err)
	}
	b, err := store.Bill(t.Context(), page[3]) // where the cursor stands
	if err != nil {
		t.Fatal(err)
	}
	commit(t, store, forgetting(b))
	rest, _, err := store.Ended(t.Context(), noon, next, 100)
	if err != nil {
		t.Fatal(err)
	}
	wantSame(t, ids[4:], rest)
}

func aBillHasEndedWhenItSaysSoLast(t *testing.T, store bill.Store) {
	b := sample("a")
	commit(t, store, only(b))
	wantEnded(t, store, noon.AddDate(1, 0, 0))

	b = moved(b)
	b.Status, b.UpdatedAt = bill.Fail, noon.Add(time.Hour)
	commit(t, store, only(b))
	wantEnded(t, store, b.UpdatedAt.Add(-time.Nanosecond))
	wantEnded(t, store, b.UpdatedAt, "a")

	commit(t, store, forgetting(b))
	b = forgetting(b).Bills[0].Bill
	wantEnded(t, store, noon.AddDate(1, 0, 0))

	b = moved(b) // paid late
	b.Status, b.UpdatedAt = bill.Success, b.ForgottenAt.Add(time.Hour)
	commit(t, store, only(b))
	wantEnded(t, store, b.UpdatedAt.Add(-time.Nanosecond))
	wantEnded(t, store, b.UpdatedAt, "a")
}

func whatIsForgottenIsGoneAndNothingElse(t *testing.T, store bill.Store) {
	was := remembered(t, store, "a")
	neighbours := []string{"", "a\x00", "a-0", "aa"}
	for _, id := range neighbours {
		remembered(t, store, "neighbour"+id)
	}
	longer := remembered(t, store, "a\x00\x01")
	forgot := forgetting(was.Bills[0].Bill)
	commit(t, store, forgot)
	wantForgotten(t, store, was, forgot)
	wantSame(t, 5, len(endedPages(t, store, noon, 100)))
	wantOpen(t, store, 0)
	wantTold(t, store, "a\x00\x01", longer.Notifications...)
	for _, id := range neighbours {
		if h, err := store.History(t.Context(), "neighbour"+id); err != nil || len(h) != 2 {
			t.Errorf("history of a neighbour: %v, %v", h, err)
		}
	}
	if d, err := store.Details(t.Context(), "a\x00\x01"); err != nil || d.Description == "" {
		t.Errorf("details of a neighbour: %v, %v", d, err)
	}
}

func aForgottenBillMayBeForgottenAgain(t *testing.T, store bill.Store) {
	was := remembered(t, store, "a")
	first := forgetting(was.Bills[0].Bill)
	commit(t, store, first)
	wantConflict(t, store, first)

	late := only(moved(first.Bills[0].Bill)) // what a late payment brings
	late.Bills[0].Events = []bill.Event{{Kind: bill.EventReportedPaid, At: noon}}
	told := became(news("late", late.Bills[0].Bill), bill.Delivered)
	told.Revision, told.Sequence = 1, 9
	late.Notifications = []bill.Notification{told}
	commit(t, store, late)
	wantTold(t, store, "a", told)

	again := forgetting(late.Bills[0].Bill)
	commit(t, store, again)
	was.Notifications = append(was.Notifications, told)
	wantForgotten(t, store, was, again)
}

func forgettingAtAnotherRevisionDeletesNothing(t *testing.T, store bill.Store) {
	was := remembered(t, store, "a")
	for _, revision := range []uint64{0, 1, 3} {
		c := forgetting(was.Bills[0].Bill)
		c.Bills[0].Bill.Revision = revision
		wantConflict(t, store, c)
	}
	c := forgetting(was.Bills[0].Bill)
	c.Bills = append(c.Bills, bill.BillChange{Bill: moved(sample("missing"))})
	wantConflict(t, store, c)
	c = forgetting(was.Bills[0].Bill)
	c.Order = was.Order
	wantConflict(t, store, c)
	wantRemembered(t, store, was)
}

func whatIsUndeliveredIsNotForgotten(t *testing.T, store bill.Store) {
	was := remembered(t, store, "a")
	for _, state := range []bill.NotificationState{bill.Dead, bill.Pending} {
		n := became(was.Notifications[1], state)
		commit(t, store, telling(n))
		was.Notifications[1] = n
		wantConflict(t, store, forgetting(was.Bills[0].Bill))
		wantRemembered(t, store, was)
	}
	commit(t, store, telling(became(was.Notifications[1], bill.Delivered)))
	forgot := forgetting(was.Bills[0].Bill)
	commit(t, store, forgot)
	wantForgotten(t, store, was, forgot)
	wantNonePending(t, store, was.Notifications[1])
}

// ofForgettingAndRedeliveringExactlyOneWins sees to it that no notification is
// pending whose bill was forgotten beside it.
func ofForgettingAndRedeliveringExactlyOneWins(t *testing.T, store bill.Store) {
	for _, id := range numbered(10) {
		was := remembered(t, store, id)
		outcomes := race(t, store, func(i int) bill.Change {
			if i%2 == 0 {
				return forgetting(was.Bills[0].Bill)
			}
			return telling(became(was.Notifications[2], bill.Pending))
		})
		wantOneWinner(t, outcomes)
	}
}

func aLongHistoryIsForgottenInOneChange(t *testing.T, store bill.Store) {
	const lines = 400
	was := remembered(t, store, "a")
	b := was.Bills[0].Bill
	for range lines {
		b.Revision++
		c := only(b)
		c.Bills[0].Events = []bill.Event{{
			Kind: bill.EventReportedOther, At: noon, Report: bill.Report{Message: strings.Repeat("m", 256), BodySHA256: strings.Repeat("f", 64)},
		}}
		commit(t, store, c)
	}
	forgot := forgetting(b)
	commit(t, store, forgot)
	wantForgotten(t, store, was, forgot)
}
