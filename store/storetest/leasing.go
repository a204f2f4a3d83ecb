package storetest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

// leasing is a store that several processes share.
type leasing interface {
	bill.Store
	bill.Leaser
}

// leaseTests are tried where the store under test is one.
var leaseTests = []struct {
	name string
	run  func(t *testing.T, store leasing)
}{
	{"WhatIsLeasedIsItsHoldersAlone", whatIsLeasedIsItsHoldersAlone},
	{"TheLongestDueAreLeasedFirst", theLongestDueAreLeasedFirst},
	{"ALeaseIsNoPartOfTheBill", aLeaseIsNoPartOfTheBill},
	{"ALeaseEndsWithItsTime", aLeaseEndsWithItsTime},
	{"ALeaseIsExtendedByItsHolder", aLeaseIsExtendedByItsHolder},
	{"ABillThatIsWrittenIsLeasedNoLonger", aBillThatIsWrittenIsLeasedNoLonger},
	{"ANotificationThatIsWrittenIsLeasedNoLonger", aNotificationThatIsWrittenIsLeasedNoLonger},
	{"AHolderReleasesAllThatIsHis", aHolderReleasesAllThatIsHis},
	{"ANotificationIsReleasedByItsHolderAlone", aNotificationIsReleasedByItsHolderAlone},
	{"WhatIsSupersededStaysLeasedAndHoldsUpTheNext", whatIsSupersededStaysLeasedAndHoldsUpTheNext},
	{"WhatWasSupersededBeforeAnybodyHadItHoldsUpNothing", whatWasSupersededBeforeAnybodyHadItHoldsUpNothing},
	{"ASupersededOneHoldsUpNothingOnceItsTimeIsOver", aSupersededOneHoldsUpNothingOnceItsTimeIsOver},
	{"WhatIsForgottenIsLeasedToNobody", whatIsForgottenIsLeasedToNobody},
	{"OfManyHoldersOneHasEach", ofManyHoldersOneHasEach},
	{"OfManyHoldersOneHasAllOfAnOrderAndURL", ofManyHoldersOneHasAllOfAnOrderAndURL},
}

// How long leases of the suite last: one that is to end, and one that is not.
const (
	moment = 300 * time.Millisecond
	long   = time.Minute
)

// patience bounds what a test waits for.
const patience = 10 * time.Second

// lease is one leasing of what is due at noon.
func lease(holder string, length time.Duration) bill.Lease {
	return bill.Lease{Holder: holder, For: length, Until: noon, Limit: 100}
}

func wantLeased(t testing.TB, store bill.Leaser, l bill.Lease, want ...string) {
	t.Helper()
	got, err := store.LeaseDue(t.Context(), l)
	if err != nil {
		t.Fatalf("LeaseDue: %v", err)
	}
	wantSame(t, want, got)
}

func wantLeasedToTell(t testing.TB, store bill.Leaser, l bill.Lease, want ...string) {
	t.Helper()
	got, err := store.LeaseDueNotifications(t.Context(), l)
	if err != nil {
		t.Fatalf("LeaseDueNotifications: %v", err)
	}
	wantSame(t, want, got)
}

func releaseNotification(t testing.TB, store bill.Leaser, holder, id string) {
	t.Helper()
	if err := store.ReleaseNotification(t.Context(), holder, id); err != nil {
		t.Fatalf("ReleaseNotification: %v", err)
	}
}

func release(t testing.TB, store bill.Leaser, holder string) {
	t.Helper()
	if err := store.Release(t.Context(), holder); err != nil {
		t.Fatalf("Release: %v", err)
	}
}

// wantFree asks on behalf of b until one id is leased to him, which is to be
// when a lease that began after the given time has ended, and not before.
func wantFree(t testing.TB, begun time.Time, ask func(context.Context, bill.Lease) ([]string, error)) {
	t.Helper()
	for time.Since(begun) < patience {
		ids, err := ask(t.Context(), lease("b", long))
		if err != nil {
			t.Fatal(err)
		}
		if len(ids) > 0 {
			if waited := time.Since(begun); waited < moment/2 {
				t.Errorf("free after %v, leased for %v", waited, moment)
			}
			return
		}
		<-time.After(moment / 20)
	}
	t.Fatalf("still leased to another after %v", patience)
}

// due returns a bill that is due at noon.
func due(id string) bill.Bill {
	b := sample(id)
	b.Due = noon
	return b
}

func whatIsLeasedIsItsHoldersAlone(t *testing.T, store leasing) {
	commit(t, store, only(due("a"), due("b")))
	commit(t, store, telling(news("m", sample("a")), news("n", sample("b"))))
	wantLeased(t, store, lease("a", long), "a", "b")
	wantLeasedToTell(t, store, lease("a", long), "m", "n")
	for _, other := range []string{"b", "A", "a1", ""} {
		wantLeased(t, store, lease(other, long))
		wantLeasedToTell(t, store, lease(other, long))
	}
	wantLeased(t, store, lease("a", long), "a", "b")
	wantLeasedToTell(t, store, lease("a", long), "m", "n")

	commit(t, store, only(due("c")))
	commit(t, store, telling(news("o", sample("c"))))
	wantLeased(t, store, lease("b", long), "c")
	wantLeasedToTell(t, store, lease("b", long), "o")
	wantLeased(t, store, lease("a", long), "a", "b")
	wantLeasedToTell(t, store, lease("a", long), "m", "n")
}

func theLongestDueAreLeasedFirst(t *testing.T, store leasing) {
	fill(t, store, 10, func(i int, b *bill.Bill) { b.Due = noon.Add(-time.Duration(i) * time.Millisecond) })
	for i := range 10 {
		n := news(fmt.Sprintf("bill-%03d", i), sample(fmt.Sprint(i)))
		n.Due = noon.Add(-time.Duration(i) * time.Millisecond)
		commit(t, store, telling(n))
	}
	ids := backwards(numbered(10))
	for name, ask := range map[string]func(context.Context, bill.Lease) ([]string, error){"LeaseDue": store.LeaseDue, "LeaseDueNotifications": store.LeaseDueNotifications} {
		for i, step := range []struct {
			limit int
			until time.Duration
			want  []string
		}{
			{-1, 0, nil}, {0, 0, nil}, {3, 0, ids[:3]}, {99, -time.Hour, nil}, {99, -5 * time.Millisecond, ids[3:5]}, {2, 0, ids[5:7]}, {99, 0, ids[7:]},
		} {
			got, err := ask(t.Context(), bill.Lease{Holder: fmt.Sprint(i), For: long, Until: noon.Add(step.until), Limit: step.limit})
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			wantSame(t, step.want, got)
		}
	}
}

func aLeaseIsNoPartOfTheBill(t *testing.T, store leasing) {
	b, n := due("a"), news("n", sample("a"))
	commit(t, store, only(b, sample("never")))
	commit(t, store, telling(n))
	versions, stop := store.Watch(b.ID)
	defer stop()
	wantLeased(t, store, lease("a", long), "a")
	wantLeasedToTell(t, store, lease("a", long), "n")
	wantBill(t, store, b)
	wantNotification(t, store, n)
	wantDue(t, store, noon, "a")
	wantToTell(t, store, noon, "n")
	wantNoVersion(t, versions)

	b, n = moved(b), became(n, bill.Delivered)
	commit(t, store, only(b)) // a lease keeps nobody from writing
	commit(t, store, telling(n))
	wantBill(t, store, b)
	wantNotification(t, store, n)
}

func aLeaseEndsWithItsTime(t *testing.T, store leasing) {
	commit(t, store, only(due("a")))
	commit(t, store, telling(news("n", sample("a"))))
	begun := time.Now()
	wantLeased(t, store, lease("a", moment), "a")
	wantFree(t, begun, store.LeaseDue)
	wantLeased(t, store, lease("a", long))
	begun = time.Now()
	wantLeasedToTell(t, store, lease("a", moment), "n")
	wantFree(t, begun, store.LeaseDueNotifications)
	wantLeasedToTell(t, store, lease("a", long))
}

func aLeaseIsExtendedByItsHolder(t *testing.T, store leasing) {
	commit(t, store, only(due("a")))
	commit(t, store, telling(news("n", sample("a"))))
	for _, length := range []time.Duration{moment, long} {
		wantLeased(t, store, lease("a", length), "a")
		wantLeasedToTell(t, store, lease("a", length), "n")
	}
	<-time.After(2 * moment)
	wantLeased(t, store, lease("b", long))
	wantLeasedToTell(t, store, lease("b", long))
}

func aBillThatIsWrittenIsLeasedNoLonger(t *testing.T, store leasing) {
	a, b := due("a"), due("b")
	commit(t, store, only(a, b))
	wantLeased(t, store, lease("a", long), "a", "b")
	wantConflict(t, store, only(a))
	commit(t, store, only(sample("c")))
	wantLeased(t, store, lease("b", long))
	commit(t, store, only(moved(a)))
	wantLeased(t, store, lease("b", long), "a")
	wantLeased(t, store, lease("a", long), "b")
}

func aNotificationThatIsWrittenIsLeasedNoLonger(t *testing.T, store leasing) {
	m, n := news("m", sample("a")), news("n", sample("b"))
	commit(t, store, telling(m, n))
	wantLeasedToTell(t, store, lease("a", long), "m", "n")
	wantConflict(t, store, telling(m))
	commit(t, store, telling(news("o", sample("c"))))
	wantLeasedToTell(t, store, lease("b", long), "o")
	commit(t, store, telling(became(m, bill.Pending))) // a try that failed
	wantLeasedToTell(t, store, lease("b", long), "m", "o")

	commit(t, store, telling(became(n, bill.Delivered)))
	commit(t, store, telling(news("next", sample("b"))))
	wantLeasedToTell(t, store, lease("b", long), "m", "next", "o")
	wantLeasedToTell(t, store, lease("a", long))
}

func aHolderReleasesAllThatIsHis(t *testing.T, store leasing) {
	commit(t, store, only(due("a"), due("b")))
	commit(t, store, telling(news("m", sample("a")), news("n", sample("b"))))
	one := lease("a", long)
	one.Limit = 1
	wantLeased(t, store, one, "a")
	wantLeasedToTell(t, store, one, "m")
	wantLeased(t, store, lease("b", long), "b")
	wantLeasedToTell(t, store, lease("b", long), "n")
	release(t, store, "nobody")
	release(t, store, "a")
	wantLeased(t, store, lease("c", long), "a")
	wantLeasedToTell(t, store, lease("c", long), "m")
	release(t, store, "a") // what was his is another's now
	wantLeased(t, store, lease("d", long))
	wantLeasedToTell(t, store, lease("d", long))
}

func aNotificationIsReleasedByItsHolderAlone(t *testing.T, store leasing) {
	commit(t, store, telling(news("m", sample("a")), news("n", sample("b"))))
	releaseNotification(t, store, "a", "m") // which nobody has
	releaseNotification(t, store, "a", "none")
	wantLeasedToTell(t, store, lease("a", long), "m", "n")
	releaseNotification(t, store, "b", "m")
	wantLeasedToTell(t, store, lease("b", long))
	releaseNotification(t, store, "a", "m")
	wantLeasedToTell(t, store, lease("b", long), "m")
	wantLeasedToTell(t, store, lease("a", long), "n")
}

// overtaken has a leased to it the notification first, which next supersedes.
func overtaken(t *testing.T, store leasing, length time.Duration) {
	t.Helper()
	first, next := news("first", sample("a")), news("next", sample("a"))
	commit(t, store, telling(first))
	wantLeasedToTell(t, store, lease("a", length), "first")
	commit(t, store, telling(became(first, bill.Superseded), next))
}

// story 14: a delivery under way is not overtaken by that of another process.
func whatIsSupersededStaysLeasedAndHoldsUpTheNext(t *testing.T, store leasing) {
	overtaken(t, store, long)
	otherURL, otherOrder := news("url", sample("a")), news("order", sample("b"))
	otherURL.URL += "2"
	commit(t, store, telling(otherURL, otherOrder))
	wantLeasedToTell(t, store, lease("b", long), "order", "url")
	releaseNotification(t, store, "b", "first")
	wantLeasedToTell(t, store, lease("b", long), "order", "url")
	wantLeasedToTell(t, store, lease("a", long), "next") // whose it is may go on himself
	releaseNotification(t, store, "a", "next")
	wantLeasedToTell(t, store, lease("b", long), "order", "url")
	releaseNotification(t, store, "a", "first")
	wantLeasedToTell(t, store, lease("b", long), "next", "order", "url")
	wantLeasedToTell(t, store, lease("a", long))
}

func whatWasSupersededBeforeAnybodyHadItHoldsUpNothing(t *testing.T, store leasing) {
	first, next := news("first", sample("a")), news("next", sample("a"))
	commit(t, store, telling(first))
	commit(t, store, telling(became(first, bill.Superseded), next))
	wantLeasedToTell(t, store, lease("a", long), "next")
	release(t, store, "a")
	wantLeasedToTell(t, store, lease("b", long), "next")
}

func aSupersededOneHoldsUpNothingOnceItsTimeIsOver(t *testing.T, store leasing) {
	begun := time.Now()
	overtaken(t, store, moment)
	wantFree(t, begun, store.LeaseDueNotifications)
	wantLeasedToTell(t, store, lease("b", long), "next")
}

func whatIsForgottenIsLeasedToNobody(t *testing.T, store leasing) {
	b := ended("a")
	commit(t, store, only(b))
	first, next := news("first", b), news("next", sample("of another attempt"))
	next.OrderCode = b.OrderCode
	commit(t, store, telling(first))
	wantLeasedToTell(t, store, lease("a", long), "first")
	commit(t, store, telling(became(first, bill.Superseded), next))
	wantLeasedToTell(t, store, lease("b", long))
	commit(t, store, forgetting(b))
	wantNoNotification(t, store, "first")
	wantLeasedToTell(t, store, lease("b", long), "next")
}

// shareOut lets many lease at once, a few at a time, until all of want is
// somebody's, and checks that nothing is two's.
func shareOut(t *testing.T, want []string, ask ...func(context.Context, bill.Lease) ([]string, error)) {
	t.Helper()
	const holders, few = 8, 7
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	defer cancel()
	var mu sync.Mutex
	var all []string
	take := func(i, round int) (done bool) {
		holder := fmt.Sprint("holder-", i, "-", round) // who asks again is given what he has
		ids, err := ask[i%len(ask)](ctx, bill.Lease{Holder: holder, For: long, Until: noon, Limit: few})
		if err != nil {
			t.Errorf("%s: %v", holder, err)
			return true
		}
		mu.Lock()
		defer mu.Unlock()
		all = append(all, ids...)
		return len(all) >= len(want)
	}
	var tasks sync.WaitGroup
	for i := range holders {
		tasks.Go(func() {
			for round := 0; !take(i, round); round++ {
			}
		})
	}
	tasks.Wait()
	slices.Sort(all)
	wantSame(t, want, all)
}

func ofManyHoldersOneHasEach(t *testing.T, store leasing) {
	ids := fill(t, store, 200, func(i int, b *bill.Bill) { b.Due = noon.Add(-time.Duration(i%20) * time.Second) })
	for _, id := range ids {
		commit(t, store, telling(news(id, sample(id))))
	}
	shareOut(t, ids, store.LeaseDue)
	shareOut(t, ids, store.LeaseDueNotifications)
}

// ofManyHoldersOneHasAllOfAnOrderAndURL supersedes, over and over, what is
// leased, while many ask: all that is new is its first holder's.
func ofManyHoldersOneHasAllOfAnOrderAndURL(t *testing.T, store leasing) {
	overtaken(t, store, long)
	stop := make(chan struct{})
	var tasks sync.WaitGroup
	for i := range 4 {
		tasks.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if ids, err := store.LeaseDueNotifications(t.Context(), lease(fmt.Sprint("other-", i), long)); err != nil || len(ids) > 0 {
					t.Errorf("leased beside the first: %v, %v", ids, err)
					return
				}
			}
		})
	}
	latest := news("next", sample("a"))
	for range 20 {
		next := news(latest.ID+"+", sample("a"))
		commit(t, store, telling(became(latest, bill.Superseded), next))
		latest = next
	}
	close(stop)
	tasks.Wait()
	wantLeasedToTell(t, store, lease("a", long), latest.ID)
}
