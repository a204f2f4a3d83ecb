package bench

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

// mostWebhooks is more than will be taken in a second.
const mostWebhooks = 12_000

// needed returns how many bills all rounds of a measurement can use up, that of
// inTurn that is not counted among them.
func needed(perSecond int) int {
	return int(benchLength.Seconds()) * perSecond * (*benchRounds + 1)
}

// ration hands out requests, each once.
type ration struct {
	t    *testing.T
	left []string
}

func (r *ration) take(n int) []string {
	r.t.Helper()
	if n > len(r.left) {
		r.t.Fatalf("%d requests are left of %d that are wanted", len(r.left), n)
	}
	taken := r.left[:n]
	r.left = r.left[n:]
	return taken
}

func TestWebhooks(t *testing.T) {
	around := startPeers(t)
	const alone = 4000 // more than one at a time can be taken in a second
	open := needed(mostWebhooks) + needed(alone) + mostWebhooks*profileSeconds
	s := openShop(t, population{bills: open + 10_000, open: open}, around, hour)
	bills := &ration{t, s.notifications(s.list(bill.Wait, open))}
	static := startCaddy(t, t.TempDir(), "{\n"+plainOptions+"}\nhttp://{{site}} {\n\theader Content-Type application/json\n\trespond `{\"success\":true}`\n}\n", nil)
	own := startOwn(t)
	posts := bills.left
	seconds := int(benchLength.Seconds())
	var ours, theirs float64 // allocations
	synced := func() taken { return syncing(t) }
	came := inTurn(
		func() taken {
			before := s.allocations()
			came := load{to: s.site, connections: 64, length: *benchLength, requests: bills.take(seconds * mostWebhooks)}.put(t)
			ours = (s.allocations() - before) / came.answered
			return came
		},
		func() taken {
			before := static.allocations()
			came := load{to: static.site, connections: 64, length: *benchLength, requests: posts[:10_000], again: true}.put(t)
			theirs = (static.allocations() - before) / came.answered
			return came
		},
		func() taken {
			own.clear()
			return load{to: own.address, connections: 64, length: *benchLength, requests: posts[:seconds*mostWebhooks]}.put(t)
		},
		func() taken {
			return load{to: s.site, connections: 1, length: *benchLength, requests: bills.take(seconds * alone)}.put(t)
		},
		synced,
	)
	many, static64, own64, one, disk := came[0], came[1], came[2], came[3], came[4]
	const (
		processor = "The processor is the limit, not the disk: it is what the profile shows of the measured core. "
		parts     = "Badger is the largest part of the profile: compactions, two lookups of a bill and an order that nobody has read before, and a commit; the rest is HTTP's and memory's. " +
			"What is left there is Badger's price for an entry, times the entries of a settled bill: its record, its order's, its event, and the indexes by which an operator finds it among millions. " +
			"Tried and kept is what is listed below; tried and left, too. Fewer entries would mean that something is looked for by reading all bills."
	)
	what := "webhooks, 64 at once, each its own bill, durable"
	book.enter(t, claim{What: what, Against: "(a) write+fsync on this disk", Goal: 3, margin: 0.1, Why: processor + "A commit and its two syncs are shared by all webhooks that came during the one before."}, over(perSecond(many), perSecond(disk)),
		"%s; write+fsync %.0f/s, p50 %s", medians(many), median(perSecond(disk)), rounded(median(p50(disk))))
	book.enter(t, claim{What: what, Against: "(b) `respond` to the same POST", Goal: 0.4, margin: 0.06, Why: parts}, over(perSecond(many), perSecond(static64)),
		"`respond` %s", medians(static64))
	book.enter(t, claim{What: what, Against: "(c) a net/http handler that verifies and commits a row to PostgreSQL", Goal: 2, margin: 0.2, Why: processor + "The handler writes one row and nothing else: it does not ask whether the bill exists, is another's, or was paid before, and keeps no history and no index."}, over(perSecond(many), perSecond(own64)),
		"the handler %s; it and PostgreSQL on the measured core", medians(own64))
	book.enter(t, claim{What: "webhook, one at a time: p50", Against: "one write+fsync", AtMost: true, Goal: 3, margin: 20, Why: "Each commit of Badger's syncs two files, one of them unchanged, and goes through five goroutines, between which a core that has gone to sleep wakes. " + noisy}, over(p50(one), p50(disk)),
		"%s", medians(one))
	book.enter(t, claim{What: "allocations of a webhook", Against: "`respond`'s to the same POST", AtMost: true, Goal: 120, margin: 320, Unit: " more", Why: "Badger's own alone are as many as the last column says: for each entry its write-ahead log, its memory table and its transaction allocate, and for each lookup every level. The rest is a bill, an order, an event and their keys, decoded and encoded once each."},
		[]float64{ours - theirs}, "%.0f; `respond` %.0f; Badger alone, for two lookups and its part of a commit, eight entries, %.0f", ours, theirs, badgersAllocations(t))
	s.profile(t, "webhooks", load{to: s.site, connections: 64, requests: bills.take(mostWebhooks * profileSeconds)})
}

// syncing appends a page to a file and syncs it, over and over.
func syncing(t *testing.T) taken {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "synced"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	page := make([]byte, 4096)
	var times []time.Duration
	for begun := time.Now(); time.Since(begun) < *benchLength; {
		at := time.Now()
		if _, err := f.Write(page); err != nil {
			t.Fatal(err)
		}
		if err := f.Sync(); err != nil {
			t.Fatal(err)
		}
		times = append(times, time.Since(at))
	}
	slices.Sort(times)
	return taken{
		perSecond: float64(len(times)) / benchLength.Seconds(), answered: float64(len(times)),
		p50: times[len(times)/2], p99: times[len(times)*99/100],
	}
}

// badgersAllocations returns how many objects Badger allocates by itself for what
// it has to do for a webhook among 32 that share a commit: two lookups, and eight
// entries.
func badgersAllocations(t *testing.T) float64 {
	t.Helper()
	db, err := badger.Open(badger.DefaultOptions(t.TempDir()).WithSyncWrites(true).WithDetectConflicts(false).WithMetricsEnabled(false).WithLogger(nil))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	const sharing, entries, lookups = 32, 8, 2
	round, record := 0, []byte("record")
	keys := func(round int) (keys [][]byte) {
		for i := range sharing * entries {
			keys = append(keys, fmt.Appendf(nil, "key %d of round %d", i, round))
		}
		return keys
	}
	write := func(keys [][]byte) {
		txn := db.NewTransaction(true)
		defer txn.Discard()
		for i, key := range keys {
			if i%entries < lookups {
				if _, err := txn.Get(key); err != nil {
					t.Error(err)
				}
			}
			if err := txn.Set(key, record); err != nil {
				t.Error(err)
			}
		}
		if err := txn.Commit(); err != nil {
			t.Error(err)
		}
	}
	const rounds = 20
	prepared := make([][][]byte, rounds+1)
	for i := range prepared {
		prepared[i] = keys(i)
		if err := db.Update(func(txn *badger.Txn) error {
			for _, key := range prepared[i] {
				if err := txn.Set(key, record); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	return testing.AllocsPerRun(rounds, func() {
		write(prepared[round])
		round++
	}) / sharing
}
