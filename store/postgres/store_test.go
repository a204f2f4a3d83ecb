//go:build linux

package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/store/postgres/postgrestest"
	"github.com/caddy-qlink/caddy-qlink/store/storetest"
)

// The database sorts text as people do: the store must not.
func TestTheStoreKeepsItsPromises(t *testing.T) {
	dsn := postgrestest.Shared(t).Database("TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'en-US' LOCALE 'C'")
	openIn := func(t testing.TB, dir string) bill.Store {
		s, err := open(t.Context(), configured(t, dsn, schemaOf(dir)), bill.Env{})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	opener := func(dir string) bill.MovableOpener {
		given := configured(t, dsn, schemaOf(dir))
		return &Store{config: given.config, Schema: given.schema}
	}
	storetest.Suite{Open: openIn, Durable: true, Peer: openIn, Opener: opener}.Run(t)
}

// A pooler that shares sessions between transactions is what many databases are
// reached through.
func TestNothingReliesOnASessionThatAPoolerGivesToOthers(t *testing.T) {
	server := postgrestest.Shared(t)
	given := configured(t, server.Pooler()(server.Database())+" default_query_exec_mode=exec", "qlink")
	given.listen = false
	here, there := openNode(t, given), openNode(t, given)
	b := sample("a")
	versions, stop := there.Watch(b.ID)
	defer stop()
	commit(t, here, only(b))
	wantVersion(t, versions, 1)
	var tasks sync.WaitGroup
	var won atomic.Int64
	for _, s := range []*node{here, there, here, there, here, there, here, there} {
		tasks.Go(func() {
			for range 25 {
				held, err := s.Bill(t.Context(), b.ID)
				if err == nil {
					err = s.Commit(t.Context(), only(moved(held)))
				}
				switch {
				case err == nil:
					won.Add(1)
				case !errors.Is(err, bill.ErrConflict):
					t.Error(err)
				}
			}
		})
	}
	tasks.Wait()
	wantVersion(t, versions, 1+uint64(won.Load()))
	leased, err := here.LeaseDue(t.Context(), bill.Lease{Holder: "here", For: time.Minute, Until: noon, Limit: 10})
	if err != nil || !slices.Equal(leased, []string{b.ID}) {
		t.Errorf("LeaseDue: %q, %v", leased, err)
	}
	leased, err = there.LeaseDue(t.Context(), bill.Lease{Holder: "there", For: time.Minute, Until: noon, Limit: 10})
	if err != nil || len(leased) > 0 {
		t.Errorf("leased to another one, too: %q, %v", leased, err)
	}
	if page, _, err := there.List(t.Context(), bill.Query{Status: bill.Wait, Limit: 5}); err != nil || len(page) != 1 {
		t.Errorf("List: %d bills, %v", len(page), err)
	}
	if counts, err := there.Counts(t.Context()); err != nil || counts.Bills[bill.Wait] != 1 {
		t.Errorf("Counts: %v, %v", counts, err)
	}
}

// story 4
func TestOfManyNodesThatBeginTheSameAttemptExactlyOneWins(t *testing.T) {
	dsn := postgrestest.Shared(t).Database()
	nodes := []*node{openNode(t, configured(t, dsn, "qlink")), openNode(t, configured(t, dsn, "qlink")), openNode(t, configured(t, dsn, "qlink"))}
	for round := range 20 {
		var won atomic.Int32
		var tasks sync.WaitGroup
		for n := range 9 {
			tasks.Go(func() {
				b := sample(fmt.Sprint("bill-", round, "-", n)) // another id, and nobody asks for the order's record
				b.OrderCode = fmt.Sprint("order-", round)
				switch err := nodes[n%3].Commit(t.Context(), only(b)); {
				case err == nil:
					won.Add(1)
				case !errors.Is(err, bill.ErrConflict):
					t.Errorf("Commit: %v", err)
				}
			})
		}
		tasks.Wait()
		if won.Load() != 1 {
			t.Fatalf("%d attempts of one order were begun", won.Load())
		}
	}
}

// Changes that write the same bills, in opposite orders, meet on an engine that
// knows no weaker isolation than serializable.
func TestWhatGetsInEachOthersWayIsTriedAgain(t *testing.T) {
	dsn := postgrestest.Shared(t).Database()
	for _, isolation := range []string{"read committed", "serializable"} {
		t.Run(isolation, func(t *testing.T) {
			given := configured(t, dsn, schemaOf(t.Name()))
			given.config.ConnConfig.RuntimeParams["default_transaction_isolation"] = isolation
			a, b := openNode(t, given), openNode(t, given)
			left, right := sample("left"), sample("right")
			commit(t, a, bill.Change{Bills: []bill.BillChange{{Bill: left}, {Bill: right}}})
			var written atomic.Int64
			var tasks sync.WaitGroup
			for i, s := range []*node{a, b, a, b, a, b} {
				tasks.Go(func() {
					for range 20 {
						l, err := s.Bill(t.Context(), left.ID)
						r, err2 := s.Bill(t.Context(), right.ID)
						if err := errors.Join(err, err2); err != nil {
							t.Error(err)
							return
						}
						change := bill.Change{Bills: []bill.BillChange{{Bill: moved(l)}, {Bill: moved(r)}}}
						if i%2 == 1 {
							slices.Reverse(change.Bills)
						}
						switch err := s.Commit(t.Context(), change); {
						case err == nil:
							written.Add(1)
						case !errors.Is(err, bill.ErrConflict):
							t.Errorf("Commit: %v", err)
						}
					}
				})
			}
			tasks.Wait()
			for _, id := range []string{left.ID, right.ID} {
				held, err := a.Bill(t.Context(), id)
				if err != nil || held.Revision != 1+uint64(written.Load()) {
					t.Errorf("%s is at revision %d after %d writes, %v", id, held.Revision, written.Load(), err)
				}
			}
		})
	}
}

func TestAChangeAtOneNodeReachesWhoWatchesAtAnother(t *testing.T) {
	dsn := postgrestest.Shared(t).Database()
	for name, listen := range map[string]bool{"listening": true, "polling": false} {
		t.Run(name, func(t *testing.T) {
			given := configured(t, dsn, schemaOf(t.Name()))
			given.listen = listen
			here, there := openNode(t, given), openNode(t, given)
			b := sample("a")
			commit(t, here, only(b))
			versions, stop := there.Watch(b.ID)
			defer stop()
			feed := there.WatchAll()
			defer feed.Stop()
			for range 5 {
				b = moved(b)
				commit(t, here, only(b))
				for seen := uint64(0); seen < b.Version; {
					select {
					case seen = <-versions:
					case <-time.After(3 * time.Second):
						t.Fatalf("version %d did not come within 3 s", b.Version)
					}
				}
				ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
				ids, err := feed.Next(ctx)
				cancel()
				if err != nil || !slices.Equal(ids, []string{b.ID}) {
					t.Fatalf("Next: %q, %v", ids, err)
				}
			}
		})
	}
}

// A change may have been given its number long before others that are seen
// already: it is not passed over.
func TestAChangeThatTookItsTimeIsFound(t *testing.T) {
	dsn := postgrestest.Shared(t).Database()
	given := configured(t, dsn, "qlink")
	given.listen = false
	here, there := openNode(t, given), openNode(t, given)
	slow, quick := sample("slow"), sample("quick")
	commit(t, here, bill.Change{Bills: []bill.BillChange{{Bill: slow}, {Bill: quick}}})
	ofSlow, stop := there.Watch(slow.ID)
	defer stop()
	ofQuick, stop := there.Watch(quick.ID)
	defer stop()
	conn, err := here.pool.Load().Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	tx, err := conn.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), `INSERT INTO qlink.changes (bill, version) VALUES ('slow', 2)`); err != nil {
		t.Fatal(err)
	}
	commit(t, here, only(moved(quick)))
	wantVersion(t, ofQuick, 2)
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantVersion(t, ofSlow, 2)
}

// wantVersion waits for a version. Those before it may come, too.
func wantVersion(t *testing.T, versions <-chan uint64, want uint64) {
	t.Helper()
	end := time.After(5 * time.Second)
	for got := uint64(0); got != want; {
		select {
		case got = <-versions:
		case <-end:
			t.Fatalf("version %d did not come, but %d", want, got)
		}
	}
}

// wantPoll waits for a poll that begins after this call: only by one can a change
// be seen that nobody has notified of.
func wantPoll(t *testing.T, s *node) {
	t.Helper()
	versions, stop := s.Watch("seen by a poll alone")
	defer stop()
	if err := s.execute(t.Context(), `INSERT INTO qlink.changes (bill, version) SELECT 'seen by a poll alone', count(*) + 1 FROM qlink.changes`); err != nil {
		t.Fatal(err)
	}
	select {
	case <-versions:
	case <-time.After(patience):
		t.Fatal("no poll came")
	}
}

// Versions come by commit, by notification and by poll, in any order.
func TestVersionsNeverGoBack(t *testing.T) {
	dsn := postgrestest.Shared(t).Database()
	here, there := openNode(t, configured(t, dsn, "qlink")), openNode(t, configured(t, dsn, "qlink"))
	b := sample("a")
	commit(t, here, only(b))
	versions, stop := there.Watch(b.ID)
	seen := collect(versions)
	for i := range 300 {
		b = moved(b)
		commit(t, []*node{here, there}[i%2], only(b))
	}
	eventually(t, "the last version is seen", 5*time.Second, func() bool { return slices.Contains(seen(), b.Version) })
	wantPoll(t, there) // repeats what was seen
	stop()
	got := seen()
	if !slices.IsSorted(got) || len(slices.Compact(slices.Clone(got))) != len(got) {
		t.Errorf("versions went back, or came twice: %d", got)
	}
}

// A server that is set to forget what it has just confirmed is not let to.
func TestWhatWasConfirmedIsThereAfterTheServerWasKilled(t *testing.T) {
	server := postgrestest.Start(t, "synchronous_commit = off", "wal_writer_delay = 10s", "wal_writer_flush_after = 1GB")
	s := openNode(t, configured(t, server.DSN(), "qlink"))
	var last bill.Bill
	for i := range 50 {
		last = sample(fmt.Sprint("bill-", i))
		commit(t, s, only(last))
	}
	server.Kill()
	eventually(t, "the store notices", 5*time.Second, func() bool { return s.health.err() != nil })
	wantGone(t, s)
	server.StartAgain()
	wantBack(t, s, last)
	if open, err := s.OpenBills(t.Context()); err != nil || open != 51 {
		t.Errorf("%d open bills, %v, want 51", open, err)
	}
}
