package badger

import (
	"errors"
	"maps"
	"strconv"
	"testing"

	badgerdb "github.com/dgraph-io/badger/v4"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

// asJSON seals what a record holds as versions did that knew nothing else.
func asJSON(item *badgerdb.Item) ([]byte, error) {
	switch item.Key()[0] {
	case kindBill:
		return resealedJSON[bill.Bill](item)
	case kindDetails:
		return resealedJSON[bill.Details](item)
	case kindOrder:
		return resealedJSON[bill.OrderRecord](item)
	case kindEvent:
		return resealedJSON[bill.Event](item)
	case kindNotification:
		return resealedJSON[bill.Notification](item)
	case kindPending:
		return resealedJSON[string](item)
	case kindIdempotency:
		return resealedJSON[bill.Idempotency](item)
	case kindOrphan:
		return resealedJSON[bill.Orphan](item)
	}
	return item.ValueCopy(nil)
}

func resealedJSON[T any](item *badgerdb.Item) ([]byte, error) {
	v, err := value[T](item)
	if err != nil {
		return nil, err
	}
	return sealJSON(item.KeyCopy(nil), v)
}

// takeBackFormats makes of a closed store what a version has left that knew JSON
// alone.
func takeBackFormats(t *testing.T, dir string) {
	t.Helper()
	rewrite(t, dir, func(to *badgerdb.WriteBatch, item *badgerdb.Item) error {
		record, err := asJSON(item)
		if err != nil {
			return err
		}
		entry := badgerdb.NewEntry(item.KeyCopy(nil), record)
		entry.ExpiresAt = item.ExpiresAt()
		return to.SetEntry(entry)
	})
}

// formats returns in which formats the records of each kind lie, and how many.
func formats(t *testing.T, s *store) map[byte]map[byte]int {
	t.Helper()
	found := make(map[byte]map[byte]int)
	err := s.db.View(func(txn *badgerdb.Txn) error {
		it := iterate(txn, nil)
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			kind := it.Item().Key()[0]
			if found[kind] == nil {
				found[kind] = make(map[byte]int)
			}
			err := it.Item().Value(func(record []byte) error {
				if len(record) > 0 {
					found[kind][record[0]]++
				}
				return nil
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

var domain = []byte{kindBill, kindDetails, kindOrder, kindEvent, kindNotification, kindPending, kindIdempotency, kindOrphan}

func TestWhatTheDomainHasStoredLiesInBinaryForm(t *testing.T) {
	s := lived(t, t.TempDir(), 30)
	defer mustClose(t, s)
	found := formats(t, s)
	for _, kind := range domain {
		if len(found[kind]) != 1 || found[kind][formatWire] == 0 {
			t.Errorf("%q: by format %v", kind, found[kind])
		}
	}
}

func TestAStoreOfFormat1IsReadAndTakesTheNewOneRecordByRecord(t *testing.T) {
	dir := t.TempDir()
	s := lived(t, dir, 30)
	want := moveAll(t, s)
	mustClose(t, s)
	takeBackFormats(t, dir)

	s = mustOpen(t, dir)
	found := formats(t, s)
	for _, kind := range domain {
		if len(found[kind]) != 1 || found[kind][formatJSON] == 0 {
			t.Fatalf("%q: by format %v: the test proves nothing", kind, found[kind])
		}
	}
	wantSame(t, want, moveAll(t, s))
	for i := 1; i < 30; i += 2 { // those that wait to be paid
		mustChange(t, s, paid(everyKind(i)))
	}
	wantMixed(t, s)
	want = moveAll(t, s)
	file, _ := mustBackUp(t, s)
	mustClose(t, s)
	wantWhole(t, dir)

	again := mustOpen(t, mustRestore(t, file))
	defer mustClose(t, again)
	wantSame(t, want, moveAll(t, again))
	wantMixed(t, again)
}

func wantMixed(t *testing.T, s *store) {
	t.Helper()
	found := formats(t, s)
	for kind, want := range map[byte]map[byte]int{
		kindBill:    {formatJSON: 15, formatWire: 15},
		kindOrder:   {formatJSON: 15, formatWire: 15},
		kindEvent:   {formatJSON: 45, formatWire: 15},
		kindDetails: {formatJSON: 30},
	} {
		if !maps.Equal(found[kind], want) {
			t.Errorf("%q: by format %v, want %v", kind, found[kind], want)
		}
	}
}

// moveAll returns all that is in the store, as it is carried into another one.
func moveAll(t *testing.T, s *store) (all []bill.Record) {
	t.Helper()
	for cursor := ""; ; {
		page, next, err := s.Export(ctx, cursor, 10)
		if err != nil {
			t.Fatal(err)
		}
		if all = append(all, page...); next == "" {
			return all
		}
		cursor = next
	}
}

func wantSame(t *testing.T, want, got []bill.Record) {
	t.Helper()
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("the store holds something else (-want +got):\n%.2000s", diff)
	}
}

func TestRevisionsAreComparedAcrossFormats(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, dir)
	mustCommit(t, s, 0, 3)
	mustClose(t, s)
	takeBackFormats(t, dir)
	s = mustOpen(t, dir)
	defer mustClose(t, s)
	for n := range 4 {
		c := change(strconv.Itoa(n))
		if err := s.Commit(ctx, c); !errors.Is(err, bill.ErrConflict) {
			t.Errorf("written anew: %v", err)
		}
		mustChange(t, s, paid(c))
		if err := s.Commit(ctx, paid(c)); !errors.Is(err, bill.ErrConflict) {
			t.Errorf("paid twice: %v", err)
		}
	}
}
