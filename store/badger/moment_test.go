package badger

import (
	"errors"
	"sync"
	"testing"

	badgerdb "github.com/dgraph-io/badger/v4"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

func TestACommitIsSeenWhenItsCallerHearsOfItAndNotBefore(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	written, proceed := make(chan struct{}), make(chan struct{})
	s.committer.commit = func(txn *badgerdb.Txn) error {
		err := txn.Commit()
		close(written)
		<-proceed
		return err
	}
	var tasks sync.WaitGroup
	tasks.Go(func() {
		if err := s.Commit(ctx, change("a")); err != nil {
			t.Errorf("Commit: %v", err)
		}
		if _, err := s.Bill(ctx, "a"); err != nil {
			t.Errorf("committed, and not seen: %v", err)
		}
	})
	<-written
	if _, err := s.Bill(ctx, "a"); !errors.Is(err, bill.ErrNotFound) {
		t.Errorf("seen before anybody heard of it: %v", err)
	}
	close(proceed)
	tasks.Wait()
}

func TestAReadSeesOneMomentUntilItEndsAndNobodyKeepsItLonger(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	var moments [2]*badgerdb.Txn
	for i := range moments {
		err := s.view(ctx, func(txn *badgerdb.Txn) error {
			moments[i] = txn
			if err := s.Commit(ctx, change([]string{"a", "b"}[i])); err != nil {
				return err
			}
			_, seen := get[bill.Bill](txn, textKey(kindBill, "a"))
			if isThere := seen == nil; isThere != (i == 1) {
				t.Errorf("read %d: %v", i, seen)
			}
			_, seen = get[bill.Bill](txn, textKey(kindBill, "b"))
			if !errors.Is(seen, bill.ErrNotFound) {
				t.Errorf("read %d sees what was committed after it began: %v", i, seen)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := moments[i].Get(stateKey); !errors.Is(err, badgerdb.ErrDiscardedTxn) {
			t.Errorf("after read %d and a commit its moment is still held: %v", i, err)
		}
	}
}
