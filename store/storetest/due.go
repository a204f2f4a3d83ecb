package storetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

var dueTests = []test{
	{"TheLongestDueComeFirst", theLongestDueComeFirst},
	{"ABillIsDueWhenItSaysSoLast", aBillIsDueWhenItSaysSoLast},
	{"DueTakesAnyTime", dueTakesAnyTime},
	{"OpenBillsAreCounted", openBillsAreCounted},
	{"OpenBillsOfAClientAreCountedUpToTheLimit", openBillsOfAClientAreCountedUpToTheLimit},
	{"ABillLeavesItsClientWhenItEnds", aBillLeavesItsClientWhenItEnds},
}

func theLongestDueComeFirst(t *testing.T, store bill.Store) {
	fill(t, store, 10, func(i int, b *bill.Bill) {
		b.Due = noon.Add(-time.Duration(i) * time.Millisecond).In(time.FixedZone("", i*3600))
	})
	never := sample("never")
	commit(t, store, only(never))
	wantDue(t, store, noon.Add(-7*time.Millisecond), "bill-009", "bill-008", "bill-007")
	wantDue(t, store, noon.Add(-time.Hour))
	for limit, want := range map[int]int{-1: 0, 0: 0, 1: 1, 3: 3, 10: 10, 99: 10} {
		ids, err := store.Due(t.Context(), noon, limit)
		if err != nil || len(ids) != want {
			t.Errorf("limit %d: %v, %v", limit, ids, err)
		}
	}
}

func aBillIsDueWhenItSaysSoLast(t *testing.T, store bill.Store) {
	b := sample("a")
	b.Due = noon
	commit(t, store, only(b, sample("never")))
	wantDue(t, store, noon, "a")

	b = moved(b)
	b.Due = noon.Add(time.Hour)
	commit(t, store, only(b))
	wantDue(t, store, noon)
	wantDue(t, store, noon.Add(time.Hour), "a")

	b = moved(b) // written with the same time
	commit(t, store, only(b))
	wantDue(t, store, noon.Add(time.Hour), "a")

	b = moved(b)
	b.Due = noon.Add(-time.Hour)
	commit(t, store, only(b))
	wantDue(t, store, noon, "a")

	b = moved(b)
	b.Due = time.Time{}
	commit(t, store, only(b))
	wantDue(t, store, noon.AddDate(100, 0, 0))

	b = moved(b)
	b.Due = noon
	commit(t, store, only(b))
	wantDue(t, store, noon, "a")
}

func dueTakesAnyTime(t *testing.T, store bill.Store) {
	var want []string
	for _, year := range []int{2, 1000, 1969, 1970, 2026, 2263, 9999} {
		b := sample(fmt.Sprint("year-", year))
		b.Due = time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC)
		commit(t, store, only(b))
		want = append(want, b.ID)
	}
	wantDue(t, store, time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC), want...)
	wantDue(t, store, time.Date(1000, 1, 1, 0, 0, 0, 0, time.UTC), want[:2]...)
}

func openBillsAreCounted(t *testing.T, store bill.Store) {
	wantOpen(t, store, 0)
	b := sample("a")
	b.Status = bill.Choose
	commit(t, store, only(b, sample("b")))
	wantOpen(t, store, 2)
	for _, step := range []struct {
		status bill.Status
		want   int
	}{
		{bill.Created, 2}, {bill.Wait, 2}, {bill.Fail, 1}, {bill.Success, 1},
	} {
		b = moved(b)
		b.Status = step.status
		commit(t, store, only(b))
		wantOpen(t, store, step.want)
	}
	wantConflict(t, store, only(sample("c"), b))
	wantOpen(t, store, 1)
	ended := sample("ended")
	ended.Status = bill.Fail
	commit(t, store, only(ended))
	wantOpen(t, store, 1)
}

func openBillsOfAClientAreCountedUpToTheLimit(t *testing.T, store bill.Store) {
	clients := []string{"192.0.2.1", "192.0.2.10", "2001:db8::/64", "192.0.2.1\x00", "\x00"}
	fill(t, store, 30, func(i int, b *bill.Bill) { b.Client = clients[i%len(clients)] })
	commit(t, store, only(sample("of nobody")))
	for _, client := range clients {
		wantOpenOf(t, store, client, 6)
	}
	for _, nobody := range []string{"", "192.0.2.2", "192.0.2", "2001:db8::/6"} {
		wantOpenOf(t, store, nobody, 0)
	}
	for limit, want := range map[int]int{-1: 0, 0: 0, 1: 1, 5: 5, 6: 6, 7: 6} {
		if got, err := store.OpenBillsOf(t.Context(), clients[0], limit); err != nil || got != want {
			t.Errorf("limit %d: %d, %v; want %d", limit, got, err, want)
		}
	}
}

func aBillLeavesItsClientWhenItEnds(t *testing.T, store bill.Store) {
	a, b, c := sample("a"), sample("b"), sample("c")
	a.Client, b.Client, c.Client = "192.0.2.1", "192.0.2.1", "192.0.2.1"
	commit(t, store, only(a, b, c))
	wantOpenOf(t, store, "192.0.2.1", 3)

	a = moved(a) // ended, and still named
	a.Status = bill.Success
	commit(t, store, only(a))
	wantOpenOf(t, store, "192.0.2.1", 2)

	b = moved(b) // ended, and named no more
	b.Status, b.Client = bill.Canceled, ""
	commit(t, store, only(b))
	wantOpenOf(t, store, "192.0.2.1", 1)

	c = moved(c) // open, and of another
	c.Client = "192.0.2.2"
	commit(t, store, only(c))
	wantOpenOf(t, store, "192.0.2.1", 0)
	wantOpenOf(t, store, "192.0.2.2", 1)

	wantConflict(t, store, only(c))
	wantOpenOf(t, store, "192.0.2.2", 1)
}
