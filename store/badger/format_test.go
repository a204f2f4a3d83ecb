package badger

import (
	"errors"
	"maps"
	"strconv"
	"strings"
	"testing"

	badgerdb "github.com/dgraph-io/badger/v4"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.uber.org/zap"

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

// ofTheFuture makes of a closed store what a version has left that writes
// records in a format that this one does not know.
func ofTheFuture(t *testing.T, dir string) {
	t.Helper()
	rewriteState(t, dir, func(held *stateRecord) { held.Format++ })
}

func rewriteState(t *testing.T, dir string, change func(*stateRecord)) {
	t.Helper()
	rewrite(t, dir, func(to *badgerdb.WriteBatch, item *badgerdb.Item) error {
		if item.Key()[0] != kindState {
			return nil
		}
		held, err := value[stateRecord](item)
		if err != nil {
			return err
		}
		change(&held)
		w, err := sealedWrite(stateKey, held)
		if err != nil {
			return err
		}
		return to.Set(stateKey, w.value)
	})
}

func wantNewer(t *testing.T, what string, err error) {
	t.Helper()
	if !errors.Is(err, ErrNewerFormat) || errors.Is(err, ErrDamaged) || errors.Is(err, bill.ErrUnavailable) ||
		!strings.Contains(err.Error(), "format 3") || !strings.Contains(err.Error(), "none beyond 2") {
		t.Errorf("%s: %v", what, err)
	}
}

func TestAStoreOfAFormatOfTheFutureIsRefusedAsAWhole(t *testing.T) {
	dir := t.TempDir()
	s := lived(t, dir, 3)
	want := moveAll(t, s)
	mustClose(t, s)
	ofTheFuture(t, dir)
	_, err := openResolved(dir)
	wantNewer(t, "open", err)
	_, err = OpenOffline(ctx, dir)
	wantNewer(t, "open to read", err)
	_, err = Check(ctx, dir, nil)
	wantNewer(t, "check", err)

	rewriteState(t, dir, func(held *stateRecord) { held.Format-- }) // as the version does that knows it
	s = mustOpen(t, dir)
	wantSame(t, want, moveAll(t, s))
	mustClose(t, s)
	wantWhole(t, dir)
}

func TestABackupOfAFormatOfTheFutureIsNotRestored(t *testing.T) {
	s := lived(t, t.TempDir(), 3)
	s.committer.held.Format++ // nobody commits
	if err := s.db.Update(s.committer.held.apply); err != nil {
		t.Fatal(err)
	}
	file, _ := mustBackUp(t, s)
	wantNoRestore(t, file, ErrNewerFormat)
}

// An early version did not say which formats it wrote. Whoever is the first to
// write another one says so with it.
func TestAStoreSaysWhichFormatsItMayHoldWithTheFirstChange(t *testing.T) {
	dir := t.TempDir()
	said := func(when string, want int) {
		t.Helper()
		db, err := openDatabase(databaseOptions(dir, zap.NewNop))
		if err != nil {
			t.Fatal(err)
		}
		if held, err := loadState(db); err != nil || held.Format != want {
			t.Errorf("%s: format %d, %v", when, held.Format, err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
	mustClose(t, mustOpen(t, dir))
	said("made", newestFormat)
	s := mustOpen(t, dir)
	mustCommit(t, s, 0, 3)
	mustClose(t, s)
	takeBackFormats(t, dir)
	rewriteState(t, dir, func(held *stateRecord) { held.Format = 0 })
	mustClose(t, mustOpen(t, dir))
	said("opened", 0)
	s = mustOpen(t, dir)
	mustChange(t, s, paid(change("1")))
	mustClose(t, s)
	said("written", newestFormat)
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
