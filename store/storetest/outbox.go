package storetest

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

var outboxTests = []test{
	{"ANotificationIsWrittenWithItsBillOrNotAtAll", aNotificationIsWrittenWithItsBillOrNotAtAll},
	{"OnlyTheNextRevisionOfANotificationIsTaken", onlyTheNextRevisionOfANotificationIsTaken},
	{"OfManyWritesOfANotificationExactlyOneWins", ofManyWritesOfANotificationExactlyOneWins},
	{"ANotificationTwiceInOneChangeIsAConflict", aNotificationTwiceInOneChangeIsAConflict},
	{"ANotificationIsFoundWhileItIsPending", aNotificationIsFoundWhileItIsPending},
	{"OneChangeSupersedesANotificationAndBringsTheNext", oneChangeSupersedesANotificationAndBringsTheNext},
	{"TwoPendingNotificationsOfAnOrderAndURLAreAConflict", twoPendingNotificationsOfAnOrderAndURLAreAConflict},
	{"OfManyFirstNotificationsOfAnOrderExactlyOneIsPending", ofManyFirstNotificationsOfAnOrderExactlyOneIsPending},
	{"PendingNotificationsMayChangePlaces", pendingNotificationsMayChangePlaces},
	{"OrdersAndURLsOfHostileTextArePendingApart", ordersAndURLsOfHostileTextArePendingApart},
	{"TheLongestDueNotificationsComeFirst", theLongestDueNotificationsComeFirst},
	{"ANotificationIsDueWhenItSaysSoLast", aNotificationIsDueWhenItSaysSoLast},
	{"TheNotificationsOfABillAreOldestFirst", theNotificationsOfABillAreOldestFirst},
	{"ANotificationThatIsNotUTF8IsRefusedWhole", aNotificationThatIsNotUTF8IsRefusedWhole},
}

// hook is the URL that notifications of the suite go to.
const hook = "https://shop.example/hook"

// news returns a new notification about b that is pending and due at noon.
func news(id string, b bill.Bill) bill.Notification {
	return bill.Notification{
		ID: id, URL: hook, Ledger: b.Ledger, Account: b.Account, Shop: b.Shop, OrderCode: b.OrderCode, Bill: b.ID,
		Type: bill.BillPaid, Payload: `{"type":"bill.paid"}`, CreatedAt: noon, Due: noon, State: bill.Pending, Revision: 1,
		BillCreatedAt: b.CreatedAt,
	}
}

// became returns n's next state; only what is pending is due.
func became(n bill.Notification, state bill.NotificationState) bill.Notification {
	n.Revision++
	n.State = state
	n.Due = time.Time{}
	if state == bill.Pending {
		n.Due = noon
	}
	return n
}

// telling is a change of notifications alone.
func telling(notifications ...bill.Notification) bill.Change {
	return bill.Change{Notifications: notifications}
}

func wantNotification(t testing.TB, store bill.Store, want bill.Notification) {
	t.Helper()
	got, err := store.Notification(t.Context(), want.ID)
	if err != nil {
		t.Fatalf("Notification %q: %v", want.ID, err)
	}
	wantSame(t, want, got)
}

func wantNoNotification(t testing.TB, store bill.Store, id string) {
	t.Helper()
	if _, err := store.Notification(t.Context(), id); !errors.Is(err, bill.ErrNotFound) {
		t.Fatalf("Notification %q: %v, want ErrNotFound", id, err)
	}
}

// wantPending checks that n is the pending one of its URL and order.
func wantPending(t testing.TB, store bill.Store, n bill.Notification) {
	t.Helper()
	got, err := store.PendingNotification(t.Context(), n.URL, n.OrderKey())
	if err != nil {
		t.Fatalf("PendingNotification of %q: %v", n.ID, err)
	}
	wantSame(t, n, got)
}

// wantNonePending checks that nothing of n's URL and order is pending.
func wantNonePending(t testing.TB, store bill.Store, n bill.Notification) {
	t.Helper()
	got, err := store.PendingNotification(t.Context(), n.URL, n.OrderKey())
	if !errors.Is(err, bill.ErrNotFound) {
		t.Fatalf("PendingNotification: %q, %v, want ErrNotFound", got.ID, err)
	}
}

func wantTold(t testing.TB, store bill.Store, billID string, want ...bill.Notification) {
	t.Helper()
	got, err := store.Notifications(t.Context(), billID)
	if err != nil {
		t.Fatalf("Notifications of %q: %v", billID, err)
	}
	wantSame(t, want, got)
}

func wantToTell(t testing.TB, store bill.Store, until time.Time, want ...string) {
	t.Helper()
	got, err := store.DueNotifications(t.Context(), until, 100)
	if err != nil {
		t.Fatalf("DueNotifications: %v", err)
	}
	wantSame(t, want, got)
}

func aNotificationIsWrittenWithItsBillOrNotAtAll(t *testing.T, store bill.Store) {
	b := sample("a")
	n := news("n", b)
	c := only(b)
	c.Notifications = []bill.Notification{n}

	c.Bills[0].Bill.Revision = 2
	wantConflict(t, store, c)
	wantNoNotification(t, store, n.ID)
	wantNonePending(t, store, n)
	wantToTell(t, store, noon)

	c.Bills[0].Bill.Revision = 1
	c.Notifications = []bill.Notification{n, became(news("other", sample("b")), bill.Pending)} // revision 2 of nothing
	wantConflict(t, store, c)
	wantNoBill(t, store, b.ID)
	wantNoNotification(t, store, n.ID)
	wantNonePending(t, store, n)
	wantToTell(t, store, noon)

	c.Notifications = c.Notifications[:1]
	commit(t, store, c)
	wantBill(t, store, b)
	wantNotification(t, store, n)
	wantPending(t, store, n)
	wantToTell(t, store, noon, n.ID)
	wantDue(t, store, noon) // of bills
}

func onlyTheNextRevisionOfANotificationIsTaken(t *testing.T, store bill.Store) {
	n := news("n", sample("a"))
	for _, revision := range []uint64{0, 2, ^uint64(0)} {
		n.Revision = revision
		wantConflict(t, store, telling(n))
	}
	wantNoNotification(t, store, n.ID)
	n.Revision = 1
	commit(t, store, telling(n))
	held := n
	for _, revision := range []uint64{0, 1, 3} {
		changed := became(n, bill.Dead)
		changed.Revision = revision
		wantConflict(t, store, telling(changed))
	}
	wantNotification(t, store, held)
	wantPending(t, store, held)
	wantToTell(t, store, noon, held.ID)
	n.Revision = 2
	commit(t, store, telling(n))
	wantNotification(t, store, n)
}

func ofManyWritesOfANotificationExactlyOneWins(t *testing.T, store bill.Store) {
	n := news("n", sample("a"))
	commit(t, store, telling(n))
	try := func(i int) bill.Notification {
		next := became(n, bill.Pending)
		next.LastError = fmt.Sprint(i)
		return next
	}
	outcomes := race(t, store, func(i int) bill.Change { return telling(try(i)) })
	wantNotification(t, store, try(wantOneWinner(t, outcomes)))
}

func aNotificationTwiceInOneChangeIsAConflict(t *testing.T, store bill.Store) {
	n := became(news("n", sample("a")), bill.Delivered)
	n.Revision = 1
	wantConflict(t, store, telling(n, n))
	wantConflict(t, store, telling(n, became(n, bill.Dead)))
	wantNoNotification(t, store, n.ID)
}

func aNotificationIsFoundWhileItIsPending(t *testing.T, store bill.Store) {
	n := news("n", sample("a"))
	wantNonePending(t, store, n)
	commit(t, store, telling(n))
	wantPending(t, store, n)
	for _, state := range []bill.NotificationState{bill.Delivered, bill.Superseded, bill.Dead} {
		n = became(n, state)
		commit(t, store, telling(n))
		wantNotification(t, store, n)
		wantNonePending(t, store, n)
		wantToTell(t, store, noon)

		n = became(n, bill.Pending)
		commit(t, store, telling(n))
		wantPending(t, store, n)
		wantToTell(t, store, noon, n.ID)

		n = became(n, bill.Pending) // a try that failed
		commit(t, store, telling(n))
		wantPending(t, store, n)
	}
}

func oneChangeSupersedesANotificationAndBringsTheNext(t *testing.T, store bill.Store) {
	b := sample("a")
	latest := news("n", b)
	commit(t, store, telling(latest))
	for i := range 4 {
		superseded, next := became(latest, bill.Superseded), news(latest.ID+"+", b)
		c := telling(superseded, next)
		if i%2 == 1 { // the order within a change means nothing
			slices.Reverse(c.Notifications)
		}
		commit(t, store, c)
		wantNotification(t, store, superseded)
		wantPending(t, store, next)
		wantToTell(t, store, noon, next.ID)
		latest = next
	}
	commit(t, store, telling(became(latest, bill.Delivered)))
	wantNonePending(t, store, latest)
	wantToTell(t, store, noon)
}

func twoPendingNotificationsOfAnOrderAndURLAreAConflict(t *testing.T, store bill.Store) {
	b := sample("a")
	first, second, third := news("first", b), news("second", b), news("third", b)
	wantConflict(t, store, telling(first, second))
	wantNoNotification(t, store, first.ID)

	commit(t, store, telling(first))
	wantConflict(t, store, telling(second))
	wantConflict(t, store, telling(became(first, bill.Pending), second)) // written again is not superseded
	wantConflict(t, store, telling(second, became(first, bill.Pending)))
	wantConflict(t, store, telling(became(first, bill.Superseded), second, third))
	wantNoNotification(t, store, second.ID)
	wantPending(t, store, first)
	wantToTell(t, store, noon, first.ID)

	dead := became(second, bill.Dead) // need not be alone
	dead.Revision = 1
	commit(t, store, telling(dead))
	wantConflict(t, store, telling(became(dead, bill.Pending)))
	wantPending(t, store, first)

	otherURL, otherOrder := news("url", b), news("order", sample("b"))
	otherURL.URL += "2"
	commit(t, store, telling(otherURL, otherOrder))
	wantPending(t, store, first)
	wantPending(t, store, otherURL)
	wantPending(t, store, otherOrder)
}

func ofManyFirstNotificationsOfAnOrderExactlyOneIsPending(t *testing.T, store bill.Store) {
	attempt := func(i int) bill.Notification { return news(fmt.Sprint("n-", i), sample("a")) }
	outcomes := race(t, store, func(i int) bill.Change { return telling(attempt(i)) })
	winner := attempt(wantOneWinner(t, outcomes))
	wantPending(t, store, winner)
	wantToTell(t, store, noon, winner.ID)
}

// pendingNotificationsMayChangePlaces has two take each other's place in one
// change: only what is pending after it counts.
func pendingNotificationsMayChangePlaces(t *testing.T, store bill.Store) {
	left, right := news("left", sample("a")), news("right", sample("b"))
	commit(t, store, telling(left, right))
	left, right = became(left, bill.Pending), became(right, bill.Pending)
	left.OrderCode, right.OrderCode = right.OrderCode, left.OrderCode
	commit(t, store, telling(left, right))
	wantPending(t, store, left)
	wantPending(t, store, right)

	was := right
	right = became(right, bill.Pending)
	right.URL += "2"
	commit(t, store, telling(right))
	wantNonePending(t, store, was)
	wantPending(t, store, right)
	wantPending(t, store, left)
}

// story 36
func ordersAndURLsOfHostileTextArePendingApart(t *testing.T, store bill.Store) {
	var all []bill.Notification
	for _, url := range []string{"", "\x00", "a", "a\x00", "a\x00\x01a"} {
		for _, ledger := range []string{"", "a", "\x00\x01"} {
			for _, shop := range []string{"", "\x00", "\x00a", "a"} {
				for _, code := range []string{"", "\x00", "a", "\x00\x01a"} {
					n := news(strings.Repeat("\x00", len(all)), sample("a")) // ids that begin with one another
					n.URL, n.Ledger, n.Shop, n.OrderCode = url, ledger, shop, code
					all = append(all, n)
				}
			}
		}
	}
	commit(t, store, telling(all...))
	for _, n := range all {
		wantNotification(t, store, n)
		wantPending(t, store, n)
	}
}

func theLongestDueNotificationsComeFirst(t *testing.T, store bill.Store) {
	var want []string
	for i := range 10 {
		n := news(fmt.Sprint("n-", i), sample(fmt.Sprint(i)))
		n.Due = noon.Add(-time.Duration(i) * time.Millisecond).In(time.FixedZone("", i*3600))
		commit(t, store, telling(n))
		want = append(want, n.ID)
	}
	slices.Reverse(want)
	wantToTell(t, store, noon, want...)
	wantToTell(t, store, noon.Add(-7*time.Millisecond), want[:3]...)
	wantToTell(t, store, noon.Add(-time.Hour))
	wantDue(t, store, noon) // of bills
	for limit, count := range map[int]int{-1: 0, 0: 0, 1: 1, 3: 3, 10: 10, 99: 10} {
		ids, err := store.DueNotifications(t.Context(), noon, limit)
		if err != nil {
			t.Fatalf("limit %d: %v", limit, err)
		}
		wantSame(t, want[:count], ids)
	}
}

func aNotificationIsDueWhenItSaysSoLast(t *testing.T, store bill.Store) {
	b := sample("n") // one of the same id is due at another time
	b.Due = noon.Add(2 * time.Hour)
	commit(t, store, only(b))
	n := news("n", b)
	commit(t, store, telling(n))
	for _, step := range []time.Duration{0, time.Hour, time.Hour, -time.Hour, 0} {
		n = became(n, bill.Pending)
		n.Due = noon.Add(step)
		commit(t, store, telling(n))
		wantToTell(t, store, n.Due.Add(-time.Nanosecond))
		wantToTell(t, store, n.Due, n.ID)
		wantToTell(t, store, noon.AddDate(1, 0, 0), n.ID) // once
	}
	n.Revision++
	n.Due = time.Time{} // pending still
	commit(t, store, telling(n))
	wantToTell(t, store, noon.AddDate(100, 0, 0))
	wantPending(t, store, n)
	wantDue(t, store, noon)
	wantDue(t, store, b.Due, b.ID)
}

func aNotificationThatIsNotUTF8IsRefusedWhole(t *testing.T, store bill.Store) {
	b := sample("a")
	c := only(b)
	broken := news("n", b)
	broken.URL = "\xff"
	c.Notifications = []bill.Notification{broken}
	if err := store.Commit(t.Context(), c); err == nil || errors.Is(err, bill.ErrConflict) {
		t.Errorf("Commit: %v", err)
	}
	wantNoBill(t, store, b.ID)
	wantNoNotification(t, store, broken.ID)
}

func theNotificationsOfABillAreOldestFirst(t *testing.T, store bill.Store) {
	b, neighbour := sample("a"), sample("a\x00")
	var all []bill.Notification
	for i, sequence := range []uint64{7, 2, 1 << 63, 2, 300, 0} {
		n := became(news(fmt.Sprint("n-", i), b), bill.Delivered)
		n.Revision, n.Sequence = 1, sequence
		n.CreatedAt = noon.Add(-time.Duration(i) * time.Hour) // the clock is no order
		all = append(all, n)
	}
	commit(t, store, telling(all...))
	commit(t, store, telling(news("other", neighbour)))
	slices.SortStableFunc(all, func(a, b bill.Notification) int { return cmp.Compare(a.Sequence, b.Sequence) })
	wantTold(t, store, b.ID, all...)
	all[0] = became(all[0], bill.Dead)
	commit(t, store, telling(all[0]))
	wantTold(t, store, b.ID, all...)
	wantTold(t, store, "") // a beginning of every id
}
