package badger

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	badgerdb "github.com/dgraph-io/badger/v4"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

// mustCommit commits new bills with the numbers from first to last, each by
// itself.
func mustCommit(t *testing.T, s *store, first, last int) {
	t.Helper()
	for n := first; n <= last; n++ {
		if err := s.Commit(ctx, change(strconv.Itoa(n))); err != nil {
			t.Fatalf("commit %d: %v", n, err)
		}
	}
}

// closedStore makes a store with so many bills, and returns its folder.
func closedStore(t *testing.T, bills int) (dir string) {
	t.Helper()
	dir = t.TempDir()
	s := mustOpen(t, dir)
	mustCommit(t, s, 1, bills)
	mustClose(t, s)
	return dir
}

func mustTestify(t *testing.T, dir string) testimony {
	t.Helper()
	seen, found, err := readTestimony(dir)
	if err != nil || !found {
		t.Fatalf("witness: found %v, %v", found, err)
	}
	return seen
}

// awaitTestimony polls the witness until it holds what is wanted.
func awaitTestimony(t *testing.T, dir string, wanted func(testimony) bool) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	for {
		if seen, found, err := readTestimony(dir); err == nil && found && wanted(seen) {
			return
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-deadline:
			t.Fatal("the witness does not come up")
		}
	}
}

// observed opens a store whose warnings and errors are observed.
func observed(t *testing.T, dir string) (*store, *observer.ObservedLogs) {
	t.Helper()
	core, logs := observer.New(zap.WarnLevel)
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	s, err := open(ctx, dir, bill.Env{Logger: func() *zap.Logger { return zap.New(core) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() }) // a test that closed it itself has looked at the error
	return s, logs
}

// wantRefused fails the test unless the store is refused as damaged, in the
// given words, and is so again.
func wantRefused(t *testing.T, dir string, words ...string) {
	t.Helper()
	for range 2 {
		s, err := openResolved(dir)
		if err == nil {
			mustClose(t, s)
		}
		if !errors.Is(err, ErrDamaged) {
			t.Fatalf("open: %v, want ErrDamaged", err)
		}
		for _, word := range append(words, dir, "restore") {
			if !strings.Contains(err.Error(), word) {
				t.Errorf("%v\ndoes not say %q", err, word)
			}
		}
	}
}

func TestTheWitnessIsExactWhenTheStoreHasClosed(t *testing.T) {
	dir := closedStore(t, 3)
	seen := mustTestify(t, dir)
	if seen.Store == "" || seen.Sequence != 1+3 || seen.Bills != 3 {
		t.Errorf("after three bills: %+v", seen)
	}
	s := mustOpen(t, dir)
	paid := change("1").Bills[0]
	paid.Bill.Revision, paid.Bill.Status = 2, bill.Success
	if err := s.Commit(ctx, bill.Change{Bills: []bill.BillChange{paid}}); err != nil {
		t.Fatal(err)
	}
	mustClose(t, s)
	after := mustTestify(t, dir)
	if after.Store != seen.Store || after.Sequence != seen.Sequence+1 || after.Bills != 3 {
		t.Errorf("after a change of one of them: %+v, before: %+v", after, seen)
	}
}

func TestTheWitnessFollowsWhileTheStoreIsOpen(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, dir)
	mustCommit(t, s, 1, 5)
	awaitTestimony(t, dir, func(seen testimony) bool { return seen.Sequence == 1+5 && seen.Bills == 5 })
}

func TestTheWitnessIsNeverAheadOfACommit(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, dir)
	mustCommit(t, s, 1, 1)
	g := gated(s)
	g.fail = func(int) error { return errors.New("no disk") }
	g.hold()
	awaitTestimony(t, dir, func(seen testimony) bool { return seen.Sequence >= 2 })
	<-time.After(4 * witnessPause) // it would have written by now
	if seen := mustTestify(t, dir); seen.Sequence != 2 {
		t.Errorf("during the commit of change 3 it holds %d", seen.Sequence)
	}
	close(g.proceed)
	mustClose(t, s)
	if seen := mustTestify(t, dir); seen.Sequence != 2 {
		t.Errorf("after that commit failed it holds %d", seen.Sequence)
	}
	if held := mustOpen(t, dir).committer.held; held.Sequence != 2 || held.Bills != 1 {
		t.Errorf("reopened: %+v", held)
	}
}

func TestAStoreThatIsAheadOfItsWitnessOpens(t *testing.T) {
	dir := closedStore(t, 5)
	seen := mustTestify(t, dir)
	seen.Sequence, seen.Bills = seen.Sequence-3, seen.Bills-3
	if err := writeTestimony(dir, seen); err != nil {
		t.Fatal(err)
	}
	mustOpen(t, dir)
	awaitTestimony(t, dir, func(seen testimony) bool { return seen.Sequence == 1+5 })
}

func TestAStoreThatHasGoneBackIsRefusedUntilItsWitnessIsRemoved(t *testing.T) {
	dir := closedStore(t, 3)
	s := mustOpen(t, dir)
	before := crashed(t, dir)
	mustCommit(t, s, 4, 9)
	mustClose(t, s)
	now := mustTestify(t, dir)
	if err := writeTestimony(before, now); err != nil {
		t.Fatal(err)
	}
	wantRefused(t, before, "has gone back", "change 4 with 3 bills", "change 10 with 9 bills", "paid orders may be missing", witnessName)

	if err := os.Remove(filepath.Join(before, witnessName)); err != nil {
		t.Fatal(err)
	}
	reopened, logs := observed(t, before)
	if logs.FilterMessageSnippet("no witness").Len() != 1 {
		t.Errorf("logged: %v", logs.All())
	}
	mustClose(t, reopened)
	if seen := mustTestify(t, before); seen.Store != now.Store || seen.Sequence != 4 {
		t.Errorf("the new witness: %+v", seen)
	}
}

func TestAWitnessThatSawMoreRefusesTheStore(t *testing.T) {
	for name, more := range map[string]state{"Changes": {Sequence: 1}, "Bills": {Bills: 1}} {
		t.Run(name, func(t *testing.T) {
			dir := closedStore(t, 3)
			seen := mustTestify(t, dir)
			seen.Sequence, seen.Bills = seen.Sequence+more.Sequence, seen.Bills+more.Bills
			if err := writeTestimony(dir, seen); err != nil {
				t.Fatal(err)
			}
			wantRefused(t, dir, "has gone back")
		})
	}
}

func TestAnotherStoresFilesAreRefused(t *testing.T) {
	dir, other := closedStore(t, 3), closedStore(t, 30)
	if err := writeTestimony(other, mustTestify(t, dir)); err != nil {
		t.Fatal(err)
	}
	wantRefused(t, other, "another store")
}

func TestAWitnessWhoseStoreIsGoneRefusesANewOne(t *testing.T) {
	seen := mustTestify(t, closedStore(t, 3))
	dir := t.TempDir()
	if err := writeTestimony(dir, seen); err != nil {
		t.Fatal(err)
	}
	wantRefused(t, dir, "gone", "3 bills")
}

func TestADamagedWitnessRefusesTheStore(t *testing.T) {
	dir := closedStore(t, 3)
	path := filepath.Join(dir, witnessName)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for at := range whole {
		flipped := bytes.Clone(whole)
		flipped[at] ^= 1
		for what, content := range map[string][]byte{"flipped": flipped, "cut": whole[:at]} {
			if err := os.WriteFile(path, content, 0o600); err != nil {
				t.Fatal(err)
			}
			if _, _, err := readTestimony(dir); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), wayOut) {
				t.Errorf("%s at %d: %v", what, at, err)
			}
		}
	}
	wantRefused(t, dir, "witness cannot be read")
}

func TestAWitnessOfANewerVersionIsNotTakenForDamage(t *testing.T) {
	dir := closedStore(t, 1)
	record := append([]byte{formatWire + 1}, "{}"...)
	sum := checksum([]byte(witnessName), record)
	record = append(record, byte(sum>>24), byte(sum>>16), byte(sum>>8), byte(sum))
	if err := os.WriteFile(filepath.Join(dir, witnessName), record, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := openResolved(dir); !errors.Is(err, ErrNewerFormat) || errors.Is(err, ErrDamaged) {
		t.Errorf("open: %v", err)
	}
}

func TestAStoreFromBeforeWitnessesGetsOneAndItsBillsAreCounted(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, dir)
	mustCommit(t, s, 1, 7)
	if err := s.db.Update(func(txn *badgerdb.Txn) error { return txn.Delete(stateKey) }); err != nil {
		t.Fatal(err)
	}
	mustClose(t, s)
	if err := os.Remove(filepath.Join(dir, witnessName)); err != nil {
		t.Fatal(err)
	}
	reopened, logs := observed(t, dir)
	if logs.FilterMessageSnippet("no witness").Len() != 1 {
		t.Errorf("logged: %v", logs.All())
	}
	mustCommit(t, reopened, 8, 8)
	mustClose(t, reopened)
	if seen := mustTestify(t, dir); seen.Store == "" || seen.Bills != 8 {
		t.Errorf("witness: %+v", seen)
	}
	mustOpen(t, dir)
}

func TestANewStoreIsNotWarnedAbout(t *testing.T) {
	dir := t.TempDir()
	if _, logs := observed(t, dir); logs.Len() != 0 {
		t.Errorf("logged: %v", logs.All())
	}
}

func TestAWitnessThatCannotBeWrittenIsLoggedOnceAndTriedAgain(t *testing.T) {
	dir := t.TempDir()
	obstacle := filepath.Join(dir, witnessName+".new")
	if err := os.Mkdir(obstacle, 0o700); err != nil {
		t.Fatal(err)
	}
	s, logs := observed(t, dir)
	for n := 0; logs.Len() == 0; n++ {
		mustCommit(t, s, n, n)
	}
	<-time.After(4 * witnessPause) // further tries
	if failures := logs.FilterMessageSnippet("witness cannot be written"); failures.Len() != 1 {
		t.Errorf("logged: %v", failures.All())
	}
	if err := os.Remove(obstacle); err != nil {
		t.Fatal(err)
	}
	awaitTestimony(t, dir, func(testimony) bool { return true })
}

// used returns the length of a write-ahead log without the zeros behind it.
func used(log []byte) int { return len(bytes.TrimRight(log, "\x00")) }

// theLog returns the path of the only write-ahead log in dir that holds
// anything.
func theLog(t *testing.T, dir string) string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*.mem"))
	if err != nil || len(paths) != 1 {
		t.Fatalf("logs: %v, %v", paths, err)
	}
	return paths[0]
}

func TestAFlippedByteInTheWriteAheadLogIsNoticed(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, dir)
	mustCommit(t, s, 1, 50)
	awaitTestimony(t, dir, func(seen testimony) bool { return seen.Bills == 50 })
	left := crashed(t, dir)
	log, err := os.ReadFile(theLog(t, left))
	if err != nil {
		t.Fatal(err)
	}
	log[used(log)/2] ^= 1
	if err := os.WriteFile(theLog(t, left), log, 0o600); err != nil {
		t.Fatal(err)
	}
	wantRefused(t, left, "has gone back", "50 bills")
}

// A log ends where Badger cannot read on, and the next one is read all the
// same: the store is as far as its witness saw, and has a hole.
func TestALossBetweenTwoWriteAheadLogsIsNoticed(t *testing.T) {
	const header = 20 // of a log
	dir := t.TempDir()
	s := mustOpen(t, dir)
	mustCommit(t, s, 1, 50)
	half, err := os.ReadFile(theLog(t, dir))
	if err != nil {
		t.Fatal(err)
	}
	mustCommit(t, s, 51, 100)
	left := crashed(t, dir)
	path := theLog(t, left)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	first, second := whole[:used(half)], append(bytes.Clone(whole[:header]), whole[used(half):]...)
	split := func(t *testing.T, first []byte) string {
		dir := crashed(t, left)
		if err := errors.Join(os.WriteFile(filepath.Join(dir, filepath.Base(path)), first, 0o600),
			os.WriteFile(filepath.Join(dir, "00009.mem"), second, 0o600)); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	t.Run("None", func(t *testing.T) {
		if n, err := mustOpen(t, split(t, first)).OpenBills(ctx); err != nil || n != 100 {
			t.Errorf("%d bills, %v", n, err)
		}
	})
	t.Run("Cut", func(t *testing.T) {
		wantRefused(t, split(t, first[:len(first)*2/3]), "are missing, while later ones are there")
	})
	t.Run("Flipped", func(t *testing.T) {
		flipped := bytes.Clone(first)
		flipped[len(flipped)/3] ^= 1
		wantRefused(t, split(t, flipped), "are missing, while later ones are there")
	})
}

func TestATableThatACutManifestDoesNotListIsMissed(t *testing.T) {
	dir := closedStore(t, 10) // in a table
	manifest, err := os.ReadFile(manifestPath(dir))
	if err != nil {
		t.Fatal(err)
	}
	s := mustOpen(t, dir)
	mustCommit(t, s, 11, 20)
	mustClose(t, s) // in a second one
	s = mustOpen(t, dir)
	mustCommit(t, s, 21, 30) // in the log
	left := crashed(t, dir)
	if err := os.WriteFile(manifestPath(left), manifest, 0o600); err != nil {
		t.Fatal(err)
	}
	wantRefused(t, left, "the changes 12 to 21 are missing")
}
