package badger

import (
	"strconv"
	"sync"
	"testing"

	badgerdb "github.com/dgraph-io/badger/v4"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

// following is the change of a bill to its next revision, without its order.
func following(b bill.Bill) bill.Change {
	b.Revision++
	b.Version++
	return bill.Change{Bills: []bill.BillChange{{Bill: b}}}
}

func TestARecentBillIsThatOfTheLastCommit(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	const bills, rounds = 4, 60
	var tasks sync.WaitGroup
	done := make(chan struct{})
	for n := range bills {
		id := strconv.Itoa(n)
		if err := s.Commit(ctx, change(id)); err != nil {
			t.Fatal(err)
		}
		for range 2 { // who reads all the time, so that it is always recent
			tasks.Go(func() {
				for seen := uint64(0); ; {
					b, err := s.Bill(ctx, id)
					if err != nil || b.Revision < seen {
						t.Errorf("revision %d after %d, %v", b.Revision, seen, err)
						return
					}
					seen = b.Revision
					select {
					case <-done:
						return
					default:
					}
				}
			})
		}
	}
	var writers sync.WaitGroup
	for n := range bills {
		writers.Go(func() {
			for range rounds {
				b, err := s.Bill(ctx, strconv.Itoa(n))
				if err == nil {
					err = s.Commit(ctx, following(b))
				}
				if err != nil {
					t.Errorf("nobody else writes bill %d: %v", n, err)
					return
				}
				if again, err := s.Bill(ctx, b.ID); err != nil || again.Revision != b.Revision+1 {
					t.Errorf("revision %d after the commit of %d, %v", again.Revision, b.Revision+1, err)
					return
				}
			}
		})
	}
	writers.Wait()
	close(done)
	tasks.Wait()
}

func TestWhatWasReadBeforeACommitIsNotRecentAfterIt(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	if err := s.Commit(ctx, change("a")); err != nil {
		t.Fatal(err)
	}
	key := textKey(kindBill, "a")
	then := s.moments.enter()
	b, err := get[bill.Bill](then.txn, key)
	if err == nil {
		err = s.Commit(ctx, following(b))
	}
	if err != nil {
		t.Fatal(err)
	}
	keep(&s.moments, then, key, b) // as a slow reader does
	s.moments.leave(then)
	if b, err := s.Bill(ctx, "a"); err != nil || b.Revision != 2 {
		t.Errorf("revision %d, %v", b.Revision, err)
	}
}

// Two changes that share a commit.
func TestAChangeSeesTheOneBeforeItInItsBatchThoughTheBillIsRecent(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	if err := s.Commit(ctx, change("a")); err != nil {
		t.Fatal(err)
	}
	b, err := s.Bill(ctx, "a")
	if err != nil {
		t.Fatal(err)
	}
	held, proceed := make(chan struct{}), make(chan struct{})
	var first sync.Once
	s.committer.commit = func(txn *badgerdb.Txn) error {
		first.Do(func() {
			close(held)
			<-proceed
		})
		return txn.Commit()
	}
	var tasks sync.WaitGroup
	tasks.Go(func() {
		if err := s.Commit(ctx, change("other")); err != nil {
			t.Error(err)
		}
	})
	<-held
	second := following(b).Bills[0].Bill
	outcomes := make(chan error, 2)
	for _, c := range []bill.Change{following(b), following(second)} {
		sealed, err := s.seal(c)
		if err != nil {
			t.Fatal(err)
		}
		op := &operation{prepare: sealed.prepare, outcome: outcomes}
		if !s.committer.enqueue(op) {
			t.Fatal("the store is closed")
		}
	}
	close(proceed)
	for range 2 {
		if err := <-outcomes; err != nil {
			t.Error(err)
		}
	}
	tasks.Wait()
	if b, err := s.Bill(ctx, "a"); err != nil || b.Revision != 3 {
		t.Errorf("revision %d, %v", b.Revision, err)
	}
}

func TestNobodyChangesARecentOrder(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	c := change("a")
	if err := s.Commit(ctx, c); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		record, err := s.Order(ctx, c.Order.Key)
		if err != nil || len(record.Attempts) == 0 || record.Attempts[0].ID != c.Order.Attempts[0].ID {
			t.Fatalf("%+v, %v", record, err)
		}
		record.Attempts[0].ID = "changed by who read it"
	}
}

func TestNoMoreIsHeldThanIsRecent(t *testing.T) {
	var r recent
	for n := range 3 * recentRecords {
		r.put(strconv.Itoa(n), n)
		r.get([]byte("0")) // asked for again and again
		if held := len(r.young) + len(r.old); held > 2*recentRecords {
			t.Fatalf("%d records are held", held)
		}
	}
	if _, held := r.get([]byte("0")); !held {
		t.Error("a record that was just asked for is forgotten")
	}
	if _, held := r.get([]byte("1")); held {
		t.Error("a record that nobody asks for is held")
	}
}
