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
