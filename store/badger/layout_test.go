package badger

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	badgerdb "github.com/dgraph-io/badger/v4"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

// laidOut returns the folder of a closed store with so many bills and all kinds
// of what operators look for, and what it holds.
func laidOut(t *testing.T, bills int) (dir string, content map[string]string) {
	t.Helper()
	dir = t.TempDir()
	s := mustOpen(t, dir)
	p := populationOf(bills)
	const chunk = 200
	for begin := 0; begin < bills; begin += chunk {
		var c bill.Change
		for i := begin; i < min(begin+chunk, bills); i++ {
			l := p.life(i)
			b := l.bill()
			b.Revision = 1
			c.Bills = append(c.Bills, bill.BillChange{Bill: b})
			if l.isTold() {
				n := l.notification()
				n.OrderCode += n.ID // so that any number are pending
				n.Revision = 1
				c.Notifications = append(c.Notifications, n)
			}
		}
		c.Orphan = &bill.Orphan{Ledger: "l", ID: fmt.Sprint(begin), At: noon}
		if err := s.Commit(ctx, c); err != nil {
			t.Fatal(err)
		}
	}
	content = contentOf(t, s)
	mustClose(t, s)
	return dir, content
}

// contentOf returns all that a store holds, but for its own record, and the
// layout and counts in that.
func contentOf(t *testing.T, s *store) map[string]string {
	t.Helper()
	content := make(map[string]string)
	err := s.db.View(func(txn *badgerdb.Txn) error {
		it := iterate(txn, nil)
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			value, err := it.Item().ValueCopy(nil)
			if err != nil {
				return err
			}
			content[string(it.Item().Key())] = string(value)
		}
		held, err := get[stateRecord](txn, stateKey)
		content[string(stateKey)] = fmt.Sprint(held.Layout, held.Counts)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// takeBack makes of a closed store what a version has left that knew neither
// the indexes, nor the counts, nor when the bills of notifications were
// created.
func takeBack(t *testing.T, dir string) {
	t.Helper()
	rewrite(t, dir, func(to *badgerdb.WriteBatch, item *badgerdb.Item) error {
		key := item.KeyCopy(nil)
		switch {
		case strings.ContainsRune(string(rebuilt), rune(key[0])):
			return to.Delete(key)
		case key[0] == kindNotification:
			n, _ := value[bill.Notification](item)
			n.BillCreatedAt = time.Time{}
			w, _ := sealedWrite(key, &n)
			return to.Set(key, w.value)
		case key[0] == kindState:
			held, _ := value[stateRecord](item)
			w, _ := sealedWrite(key, held.state)
			return to.Set(key, w.value)
		}
		return nil
	})
}

// rewrite has each record of a closed store written anew, or not.
func rewrite(t *testing.T, dir string, each func(to *badgerdb.WriteBatch, item *badgerdb.Item) error) {
	t.Helper()
	db, err := openDatabase(databaseOptions(dir, zap.NewNop))
	if err != nil {
		t.Fatal(err)
	}
	batch := db.NewWriteBatch()
	err = db.View(func(txn *badgerdb.Txn) error {
		it := iterate(txn, nil)
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			if err := each(batch, it.Item()); err != nil {
				return err
			}
		}
		return nil
	})
	if err := errors.Join(err, batch.Flush(), db.Close()); err != nil {
		t.Fatal(err)
	}
}

func TestAStoreFromBeforeGetsItsIndexesWhenItIsOpened(t *testing.T) {
	dir, want := laidOut(t, 3000)
	takeBack(t, dir)
	core, logs := observer.New(zap.InfoLevel)
	resolved, err := resolve(dir)
	if err != nil {
		t.Fatal(err)
	}
	opened := func() *store {
		s, err := open(ctx, resolved, bill.Env{Logger: func() *zap.Logger { return zap.New(core) }})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := opened()
	if diff := cmp.Diff(want, contentOf(t, s)); diff != "" {
		t.Errorf("it holds something else (-want +got):\n%.2000s", diff)
	}
	if logs.FilterMessageSnippet("indexes").Len() != 2 { // the beginning and the end
		t.Errorf("logged: %v", logs.All())
	}
	if page, _, err := s.List(ctx, bill.Query{Untold: true, Limit: 1}); err != nil || len(page) != 1 {
		t.Errorf("untold: %v, %v", page, err)
	}
	mustClose(t, s)
	mustClose(t, opened())
	if logs.FilterMessageSnippet("indexes").Len() != 2 {
		t.Errorf("opened again, logged: %v", logs.All())
	}
}

// ending is a context that ends when it was asked so many times.
type ending struct {
	context.Context

	left int
}

func (e *ending) Err() error {
	if e.left--; e.left < 0 {
		return context.Canceled
	}
	return nil
}

func TestIndexesThatWereCutShortAreBegunAnew(t *testing.T) {
	dir, want := laidOut(t, 3000)
	takeBack(t, dir)
	resolved, err := resolve(dir)
	if err != nil {
		t.Fatal(err)
	}
	for looks := 1; ; looks += 800 {
		s, err := open(&ending{Context: ctx, left: looks}, resolved, bill.Env{})
		switch {
		case err == nil && looks < 3000:
			t.Fatalf("opened after %d looks", looks)
		case err == nil:
			if diff := cmp.Diff(want, contentOf(t, s)); diff != "" {
				t.Errorf("it holds something else (-want +got):\n%.2000s", diff)
			}
			mustClose(t, s)
			return
		case !errors.Is(err, context.Canceled):
			t.Fatalf("after %d looks: %v", looks, err)
		}
	}
}

// A version that knows no layout writes the store's record without its number,
// and one that knows a later layout with another one.
func TestWhatAnotherVersionLeftOfTheIndexesIsReplaced(t *testing.T) {
	for name, layout := range map[string]int{"older": 0, "newer": currentLayout + 1} {
		t.Run(name, func(t *testing.T) {
			dir, want := laidOut(t, 20)
			s := mustOpen(t, dir)
			err := s.db.Update(func(txn *badgerdb.Txn) error {
				held := s.committer.held
				held.Layout, held.Counts.Wait = layout, 99
				stale := append(labelPrefix("WAIT"), placeOf(noon, "gone")...)
				return errors.Join(held.apply(txn), txn.Set(stale, nil))
			})
			if err != nil {
				t.Fatal(err)
			}
			mustClose(t, s)
			if diff := cmp.Diff(want, contentOf(t, mustOpen(t, dir))); diff != "" {
				t.Errorf("it holds something else (-want +got):\n%.2000s", diff)
			}
		})
	}
}

func TestIndexesAreNotBegunOnADiskThatIsAllButFull(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	s.minFree = math.MaxUint64
	if _, err := s.layOut(ctx, stateRecord{}); !errors.Is(err, bill.ErrUnavailable) {
		t.Errorf("got %v", err)
	}
}

func TestTheStoresRecordFitsTheRoomThatIsKeptForIt(t *testing.T) {
	const most = math.MinInt64 // the longest number
	full := stateRecord{
		state:  state{Store: strings.Repeat("f", 36), Sequence: math.MaxUint64, Bills: math.MaxUint64},
		Format: math.MaxInt,
		Layout: math.MaxInt,
	}
	for _, n := range full.Counts.Columns() {
		*n = most
	}
	w, err := sealedWrite(stateKey, full)
	if err != nil {
		t.Fatal(err)
	}
	if got := (&writeSet{writes: []write{w}}).size(); !got.within(stateRoom) {
		t.Errorf("it takes %+v of %+v", got, stateRoom)
	}
}
