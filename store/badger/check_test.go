package badger

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	badgerdb "github.com/dgraph-io/badger/v4"
	"go.uber.org/zap"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/store/internal/census"
)

// planted makes a store, changes it behind its back, closes it, and returns
// what Check finds.
func planted(t *testing.T, change func(t *testing.T, db *badgerdb.DB)) Findings {
	t.Helper()
	dir := t.TempDir()
	s := lived(t, dir, 30)
	change(t, s.db)
	mustClose(t, s)
	f, err := Check(ctx, dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func wantFinding(t *testing.T, f Findings, kind FindingKind, words ...string) {
	t.Helper()
	for _, found := range f.Found {
		matches := found.Kind == kind
		for _, word := range words {
			matches = matches && strings.Contains(found.Text, word)
		}
		if matches {
			return
		}
	}
	t.Errorf("no finding %q with the words %q in %+v", kind, words, f.Found)
}

// resealed changes a record as the store itself would write it.
func resealed[T any](t *testing.T, db *badgerdb.DB, key []byte, change func(*T)) {
	t.Helper()
	err := db.Update(func(txn *badgerdb.Txn) error {
		v, err := get[T](txn, key)
		if err != nil {
			return err
		}
		change(&v)
		w, err := sealedWrite(key, &v)
		if err != nil {
			return err
		}
		return w.apply(txn)
	})
	if err != nil {
		t.Fatal(err)
	}
}

func mustSeal(t *testing.T, db *badgerdb.DB, key []byte, v any) {
	t.Helper()
	w, err := sealedWrite(key, v)
	if err != nil {
		t.Fatal(err)
	}
	put(t, db, key, w.value)
}

func TestNothingIsFoundInAWholeStore(t *testing.T) {
	f := planted(t, func(*testing.T, *badgerdb.DB) {})
	if !f.Whole() || f.Bills != 30 || f.Orders != 30 || f.Notifications != 30 || f.Tables == 0 || f.Store == "" || f.Records < 200 {
		t.Errorf("%+v", f)
	}
}

func TestEachPlantedDamageIsFoundAndNothingElse(t *testing.T) {
	one := change("7").Bills[0].Bill // waits to be paid
	orderOf7 := orderKey(one.OrderKey())
	stranger := change("stranger").Bills[0].Bill
	notified := told(change("9").Bills[0].Bill, true) // pending
	for name, test := range map[string]struct {
		plant func(t *testing.T, db *badgerdb.DB)
		kind  FindingKind
		words []string
	}{
		"an index entry of no bill": {
			func(t *testing.T, db *badgerdb.DB) { put(t, db, createdKey(noon, "stranger"), nil) },
			FindingIndex, []string{"stranger", "in the index alone"},
		},
		"an index entry of an earlier state": {
			func(t *testing.T, db *badgerdb.DB) { put(t, db, textKey(kindOpen, "8"), nil) }, // is paid
			FindingIndex, []string{`"n8"`, "in the index alone"},
		},
		"an index of no kind": {
			func(t *testing.T, db *badgerdb.DB) { put(t, db, []byte("Zebra"), nil) },
			FindingIndex, []string{"Zebra"},
		},
		"a bill that is in no listing": {
			func(t *testing.T, db *badgerdb.DB) { drop(t, db, createdKey(noon, "7")) },
			FindingIndex, []string{`bill "7"`, "is missing"},
		},
		"a bill that nobody asks after": {
			func(t *testing.T, db *badgerdb.DB) { drop(t, db, dueKey(kindDue, one.Due, "7")) },
			FindingIndex, []string{`bill "7"`, "is missing"},
		},
		"a notification that nobody sends": {
			func(t *testing.T, db *badgerdb.DB) {
				drop(t, db, dueKey(kindNotificationDue, notified.Due, notified.ID))
			},
			FindingIndex, []string{`notification "n-9"`, "is missing"},
		},
		"a pending notification without its place": {
			func(t *testing.T, db *badgerdb.DB) { drop(t, db, pendingKey(notified.URL, notified.OrderKey())) },
			FindingIndex, []string{`notification "n-9" is pending`},
		},
		"a place of no notification": {
			func(t *testing.T, db *badgerdb.DB) {
				mustSeal(t, db, pendingKey("https://else.example", notified.OrderKey()), new("n-gone"))
			},
			FindingIndex, []string{`notification "n-gone"`, "is not there"},
		},
		"an entry of an index that is not empty": {
			func(t *testing.T, db *badgerdb.DB) { put(t, db, createdKey(noon, "7"), []byte("x")) },
			FindingRecord, []string{"is not empty"},
		},
		"a flipped record": {
			func(t *testing.T, db *badgerdb.DB) { flip(t, db, textKey(kindDetails, "7")) },
			FindingRecord, []string{`"d7"`, "checksum"},
		},
		"a record under another's key": {
			func(t *testing.T, db *badgerdb.DB) {
				resealed(t, db, orphanKey("ledger", "orphan-10"), func(o *bill.Orphan) { o.ID = "another" })
			},
			FindingRecord, []string{"not its own"},
		},
		"details of no bill": {
			func(t *testing.T, db *badgerdb.DB) { mustSeal(t, db, textKey(kindDetails, "gone"), &bill.Details{}) },
			FindingRecord, []string{"details", `bill "gone"`, "not there"},
		},
		"an event of no bill": {
			func(t *testing.T, db *badgerdb.DB) { mustSeal(t, db, eventKey("go\x00ne", 1, 0), &bill.Event{}) },
			FindingRecord, []string{"event", `bill "go\x00ne"`, "not there"},
		},
		"an order without its bill": {
			func(t *testing.T, db *badgerdb.DB) {
				record, _ := bill.OrderRecord{Key: stranger.OrderKey(), Revision: 1}.With(stranger)
				mustSeal(t, db, orderKey(record.Key), &record)
			},
			FindingOrder, []string{"Ostranger", `bill "stranger" as CREATED`, "no such bill"},
		},
		"a bill without its order": {
			func(t *testing.T, db *badgerdb.DB) { drop(t, db, orderOf7) },
			FindingOrder, []string{`order "O7"`, `bill "7"`, "CREATED"},
		},
		"a store that counts other bills": {
			func(t *testing.T, db *badgerdb.DB) {
				resealed(t, db, stateKey, func(s *stateRecord) { s.Bills += 2 })
			},
			FindingRecord, []string{"30 bills are there, and 32 were created"},
		},
		"a store that has miscounted": {
			func(t *testing.T, db *badgerdb.DB) {
				resealed(t, db, stateKey, func(s *stateRecord) { s.Counts.Success-- })
			},
			FindingRecord, []string{"miscounted"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := planted(t, test.plant)
			wantFinding(t, f, test.kind, test.words...)
			if len(f.Found) != 1 {
				t.Errorf("%d findings: %+v", len(f.Found), f.Found)
			}
		})
	}
}

func TestAnOrderThatSaysOtherwiseThanItsBillIsFoundFromBothSides(t *testing.T) {
	f := planted(t, func(t *testing.T, db *badgerdb.DB) {
		resealed(t, db, orderKey(change("7").Bills[0].Bill.OrderKey()), func(o *bill.OrderRecord) { o.Attempts[0].Status = bill.Success })
	})
	wantFinding(t, f, FindingOrder, `order "O7"`, "as it is: CREATED")
	wantFinding(t, f, FindingOrder, `bill "7" as SUCCESS`)
}

func TestThereIsAnEndToFindings(t *testing.T) {
	f := planted(t, func(t *testing.T, db *badgerdb.DB) {
		for n := range 3 {
			err := db.Update(func(txn *badgerdb.Txn) error {
				for i := range 5000 {
					if err := txn.Set(fmt.Appendf(nil, "Z%d-%d", n, i), nil); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
	})
	wantFinding(t, f, FindingIndex, "in the index alone")
	if found := len(f.Found); found < 100 || found > MaxFindings {
		t.Errorf("%d findings, and %d more", found, f.More)
	}
	if f.More == 0 && !strings.Contains(f.Found[len(f.Found)-1].Text, "not looked at") {
		t.Errorf("the last: %+v", f.Found[len(f.Found)-1])
	}
}

func TestWhatTheWitnessSaysIsFound(t *testing.T) {
	for name, test := range map[string]struct {
		change func(dir string, seen testimony) error
		words  string
	}{
		"gone back": {func(dir string, seen testimony) error {
			seen.Sequence += 5
			return writeTestimony(dir, seen)
		}, "has gone back"},
		"none": {func(dir string, _ testimony) error { return os.Remove(filepath.Join(dir, witnessName)) }, "no witness"},
		"damaged": {func(dir string, _ testimony) error {
			return os.WriteFile(filepath.Join(dir, witnessName), []byte("nonsense"), 0o600)
		}, "cannot be read"},
		"damage": {func(dir string, seen testimony) error {
			seen.Damage = "a table was damaged"
			return writeTestimony(dir, seen)
		}, "a table was damaged"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := closedStore(t, 3)
			if err := test.change(dir, mustTestify(t, dir)); err != nil {
				t.Fatal(err)
			}
			f, err := Check(ctx, dir, nil)
			if err != nil {
				t.Fatal(err)
			}
			wantFinding(t, f, FindingWitness, test.words)
			if len(f.Found) != 1 || f.Bills != 3 {
				t.Errorf("%+v", f)
			}
		})
	}
}

func TestDamagedFilesAreFindings(t *testing.T) {
	for name, change := range map[string]func(t *testing.T, dir string) error{
		"a wrong byte in a table": func(t *testing.T, dir string) error {
			path, content := theTable(t, dir)
			content[len(content)/2] ^= 1
			return os.WriteFile(path, content, 0o600)
		},
		"a cut table": func(t *testing.T, dir string) error {
			path, content := theTable(t, dir)
			return os.WriteFile(path, content[:len(content)-3], 0o600)
		},
		"a missing table": func(t *testing.T, dir string) error {
			path, _ := theTable(t, dir)
			return os.Remove(path)
		},
		"no MANIFEST": func(_ *testing.T, dir string) error { return os.Remove(manifestPath(dir)) },
		"a nonsensical one": func(_ *testing.T, dir string) error {
			return os.WriteFile(manifestPath(dir), []byte("nonsense"), 0o600)
		},
		"no database at all": func(_ *testing.T, dir string) error {
			return errors.Join(os.Remove(manifestPath(dir)), os.Remove(filepath.Join(dir, "000001.sst")))
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := closedStore(t, 100)
			if err := change(t, dir); err != nil {
				t.Fatal(err)
			}
			before := filesIn(t, dir)
			f, err := Check(ctx, dir, nil)
			if err != nil {
				t.Fatal(err)
			}
			wantFinding(t, f, FindingTable)
			if after := filesIn(t, dir); after != before {
				t.Errorf("before:\n%s\nafter:\n%s", before, after)
			}
		})
	}
}

func TestCheckingAndReadingChangeNothing(t *testing.T) {
	dir := t.TempDir()
	s := lived(t, dir, 30)
	awaitTestimony(t, dir, func(seen testimony) bool { return seen.Bills == 30 })
	left := crashed(t, dir) // with a log to be replayed, which a partial transaction ends
	log, err := os.OpenFile(theLog(t, left), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(theLog(t, left))
	if err == nil {
		_, err = log.WriteAt(content[20:60], int64(used(content)))
	}
	if err := errors.Join(err, log.Close()); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(left, "000077.sst"), []byte("a table that nobody lists"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(left, "00009.mem"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	mustClose(t, s)
	for name, dir := range map[string]string{"closed": dir, "crashed": left} {
		t.Run(name, func(t *testing.T) {
			before := filesIn(t, dir)
			if f := wantWhole(t, dir); f.Bills != 30 {
				t.Errorf("%+v", f)
			}
			o, err := OpenOffline(ctx, dir)
			if err != nil {
				t.Fatal(err)
			}
			if b, err := o.Bill(ctx, "8"); err != nil || b.Status != bill.Success || o.Doubt != nil {
				t.Errorf("%+v, %v; doubt %v", b, err, o.Doubt)
			}
			if err := o.Commit(ctx, change("new")); !errors.Is(err, bill.ErrUnavailable) {
				t.Errorf("Commit: %v", err)
			}
			if err := o.Close(); err != nil {
				t.Error(err)
			}
			if after := filesIn(t, dir); after != before {
				t.Errorf("before:\n%s\nafter:\n%s", before, after)
			}
			mustClose(t, mustOpen(t, dir))
		})
	}
}

func TestAStoreIsReadOffline(t *testing.T) {
	dir := t.TempDir()
	mustClose(t, lived(t, dir, 30))
	o, err := OpenOffline(ctx, dir)
	if err != nil {
		t.Fatal(err)
	}
	history, err := o.History(ctx, "8")
	if err != nil || len(history) != 2 {
		t.Errorf("history: %+v, %v", history, err)
	}
	about, err := o.Notifications(ctx, "8")
	if err != nil || len(about) != 1 || about[0].ID != "n-8" {
		t.Errorf("notifications: %+v, %v", about, err)
	}
	record, err := o.Order(ctx, change("8").Order.Key)
	if err != nil || len(record.Attempts) != 1 {
		t.Errorf("order: %+v, %v", record, err)
	}
	if size, err := o.Size(); err != nil || size == 0 {
		t.Errorf("%d bytes, %v", size, err)
	}
	if !o.CheckoutsClosed().IsZero() || o.Reopen(ctx) == nil {
		t.Error("it can be reopened")
	}
	if _, err := openResolved(dir); !errors.Is(err, ErrLocked) {
		t.Errorf("meanwhile somebody opens it: %v", err)
	}
	other, err := OpenOffline(ctx, dir)
	if err != nil {
		t.Errorf("meanwhile somebody else reads it: %v", err)
	} else if err := other.Close(); err != nil {
		t.Error(err)
	}
	if err := o.Close(); err != nil {
		t.Error(err)
	}
	if _, err := o.Bill(ctx, "8"); !errors.Is(err, bill.ErrUnavailable) {
		t.Errorf("closed: %v", err)
	}
	if err := o.Close(); !errors.Is(err, bill.ErrUnavailable) {
		t.Errorf("closed twice: %v", err)
	}
}

func TestARestoredStoreIsReadOfflineAsOneThatIsClosed(t *testing.T) {
	file, _ := mustBackUp(t, lived(t, t.TempDir(), 3))
	o, err := OpenOffline(ctx, mustRestore(t, file))
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	if o.CheckoutsClosed().IsZero() {
		t.Error("checkouts are open")
	}
}

func TestAStoreOfAnotherVersionIsReadWithADoubt(t *testing.T) {
	dir := t.TempDir()
	s := lived(t, dir, 3)
	resealed(t, s.db, stateKey, func(s *stateRecord) { s.Layout = 0 })
	mustClose(t, s)
	o, err := OpenOffline(ctx, dir)
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	if o.Doubt == nil || !strings.Contains(o.Doubt.Error(), "another version") {
		t.Errorf("doubt: %v", o.Doubt)
	}
}

func TestAStoreIsBackedUpOffline(t *testing.T) {
	dir := t.TempDir()
	s := lived(t, dir, 30)
	want := everything(t, s)
	mustClose(t, s)
	o, err := OpenOffline(ctx, dir)
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	file, _ := mustBackUp(t, o.store)
	wantEverything(t, mustOpen(t, mustRestore(t, file)), want)
}

func TestAStoreThatHasGoneBackIsReadWithADoubt(t *testing.T) {
	dir := closedStore(t, 3)
	seen := mustTestify(t, dir)
	seen.Sequence++
	if err := writeTestimony(dir, seen); err != nil {
		t.Fatal(err)
	}
	o, err := OpenOffline(ctx, dir)
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	if !errors.Is(o.Doubt, ErrDamaged) {
		t.Errorf("doubt: %v", o.Doubt)
	}
}

func TestAStoreThatIsOpenIsNeitherCheckedNorReadOffline(t *testing.T) {
	dir := t.TempDir()
	startHelper(t, dir)
	if _, err := Check(ctx, dir, nil); !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), dir) {
		t.Errorf("Check: %v", err)
	}
	if _, err := OpenOffline(ctx, dir); !errors.Is(err, ErrLocked) {
		t.Errorf("OpenOffline: %v", err)
	}
}

func TestWhereNoStoreIsNothingIsMade(t *testing.T) {
	parent := t.TempDir()
	for _, dir := range []string{parent, filepath.Join(parent, "missing")} {
		if _, err := Check(ctx, dir, nil); err == nil {
			t.Errorf("%s was checked", dir)
		}
		if _, err := OpenOffline(ctx, dir); err == nil {
			t.Errorf("%s was opened", dir)
		}
	}
	if left, err := os.ReadDir(parent); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

func TestACheckEndsWithItsContextAndTellsHowFarItIs(t *testing.T) {
	dir := t.TempDir()
	mustClose(t, lived(t, dir, 1000))
	var records uint64
	if _, err := Check(ctx, dir, func(r uint64) { records = r }); err != nil || records < 4096 {
		t.Errorf("%d records, %v", records, err)
	}
	cancelled, cancel := context.WithCancel(ctx)
	if _, err := Check(cancelled, dir, func(uint64) { cancel() }); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestATableThatWasCompactedAwayWhileItWasReadIsNoDamage(t *testing.T) {
	dir := closedStore(t, 30)
	_, content := theTable(t, dir)
	gone := tableFile{id: 77, path: filepath.Join(dir, "000077.sst")}
	if err := os.WriteFile(gone.path, content[:100], 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := gone.verify(new(verifier)); err != nil {
		t.Errorf("it is listed no more, and yet %v", err)
	}
}

func TestATextIsReadOutOfAKeyAsItWasWritten(t *testing.T) {
	for _, text := range []string{"", "a", "\x00", "a\x00b", "\x00\x01", "\xff"} {
		key := append(appendText(nil, text), "rest"...)
		if got, ok := textOf(key); !ok || got != text {
			t.Errorf("%q: %q, %v", text, got, ok)
		}
	}
	for _, key := range [][]byte{nil, []byte("abc"), {0}, {'a', 0, 7}} {
		if got, ok := textOf(key); ok {
			t.Errorf("%q: %q", key, got)
		}
	}
}

// A log is cut, or has a wrong byte: what is read offline is as much of it as
// the store itself goes on from.
func TestALogIsReadOfflineAsFarAsTheStoreReadsIt(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, dir)
	mustCommit(t, s, 1, 12)
	left := crashed(t, dir)
	log, err := os.ReadFile(theLog(t, left))
	if err != nil {
		t.Fatal(err)
	}
	length := used(log)
	seen := make(map[uint64]bool)
	for at := 0; at <= length; at += length / 14 {
		for what, content := range map[string][]byte{
			"cut":     append(bytes.Clone(log[:at]), make([]byte, 100)...),
			"shorter": log[:at],
			"flipped": append(append(bytes.Clone(log[:at]), log[at]^1), log[at+1:]...),
		} {
			if what == "flipped" && at < logHeader { // which neither opens
				continue
			}
			if err := os.WriteFile(theLog(t, left), content, 0o600); err != nil {
				t.Fatal(err)
			}
			copied := crashed(t, left)
			shadow, err := castShadow(copied)
			if err != nil {
				t.Fatal(err)
			}
			db, err := shadow.open()
			if err != nil {
				t.Fatalf("%s at %d: %v", what, at, err)
			}
			got, err := loadState(db)
			if err := errors.Join(err, db.Close(), shadow.close()); err != nil {
				t.Fatal(err)
			}
			if what == "shorter" && at < logHeader { // over which Badger ends the process
				continue
			}
			if db, err = openDatabase(databaseOptions(copied, zap.NewNop)); err != nil {
				t.Fatal(err)
			}
			want, err := loadState(db)
			if err := errors.Join(err, db.Close()); err != nil {
				t.Fatal(err)
			}
			if seen[want.Sequence] = true; got != want {
				t.Errorf("%s at %d: change %d, and it is %d", what, at, got.Sequence, want.Sequence)
			}
		}
	}
	if len(seen) < 7 {
		t.Errorf("it was cut in %d places that matter", len(seen))
	}
}

func FuzzNoLogMakesReadingItPanic(f *testing.F) {
	f.Add(make([]byte, 100))
	f.Fuzz(func(t *testing.T, log []byte) {
		if end := logEnd(log); end > max(len(log), logHeader) {
			t.Errorf("it ends at %d of %d", end, len(log))
		}
	})
}

func TestIndexesThatTheStoreGetsAnewAreNotMissed(t *testing.T) {
	f := planted(t, func(t *testing.T, db *badgerdb.DB) {
		for _, entry := range rebuiltOf(indexKeys(change("7").Bills[0].Bill)) {
			drop(t, db, entry.key)
		}
		resealed(t, db, stateKey, func(s *stateRecord) { s.Layout, s.Counts = 0, census.Counts{} })
	})
	if !f.Whole() {
		t.Errorf("%+v", f.Found)
	}
}
