package badger

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	badgerdb "github.com/dgraph-io/badger/v4"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/store/storetest"
)

var ctx = context.Background()

func TestTheStoreKeepsItsPromises(t *testing.T) {
	storetest.Suite{
		Open:    func(t testing.TB, dir string) bill.Store { return mustOpen(t, dir) },
		Durable: true,
		Crash:   crashed,
		Opener:  func(dir string) bill.MovableOpener { return &Store{path: dir} },
	}.Run(t)
}

func TestWhatAKilledProcessAcknowledgedIsThere(t *testing.T) {
	dir := t.TempDir()
	helper, lines := startHelper(t, dir)
	acknowledged := 0
	for lines.Scan() {
		n, err := strconv.Atoi(lines.Text())
		if err != nil {
			t.Fatalf("the helper said %q", lines.Text())
		}
		acknowledged = n
		if n == 200 {
			if err := helper.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if acknowledged < 200 {
		t.Fatalf("the helper ended after %d commits", acknowledged)
	}
	s := mustOpen(t, dir)
	for n := range acknowledged + 1 {
		id := strconv.Itoa(n)
		if _, err := s.Bill(ctx, id); err != nil {
			t.Errorf("bill %s was acknowledged: %v", id, err)
		}
		if events, err := s.History(ctx, id); err != nil || len(events) != 1 {
			t.Errorf("bill %s has the history %v, %v", id, events, err)
		}
	}
	if n, err := s.OpenBills(ctx); err != nil || n < acknowledged+1 {
		t.Errorf("%d open bills, %v; %d were acknowledged", n, err, acknowledged+1)
	}
}

// story 37
func TestAStoreOfAnotherProcessIsNamedAsLocked(t *testing.T) {
	dir := t.TempDir()
	startHelper(t, dir)
	_, err := openResolved(dir)
	if err == nil || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "locked") {
		t.Errorf("open: %v", err)
	}
}

func TestAStoreReopensAnyNumberOfTimes(t *testing.T) {
	dir := t.TempDir()
	for n := range 50 {
		s := mustOpen(t, dir)
		if err := s.Commit(ctx, change(strconv.Itoa(n))); err != nil {
			t.Fatalf("commit %d: %v", n, err)
		}
		if got, err := s.OpenBills(ctx); err != nil || got != n+1 {
			t.Fatalf("%d open bills after %d commits, %v", got, n+1, err)
		}
		mustClose(t, s)
	}
}

func TestAnOpenStoreTakesLittleMemoryAndDisk(t *testing.T) {
	before := heap()
	dir := t.TempDir()
	s := mustOpen(t, dir)
	for n := range 100 {
		if err := s.Commit(ctx, change(strconv.Itoa(n))); err != nil {
			t.Fatal(err)
		}
	}
	if grown := int64(heap()) - int64(before); grown > 24<<20 {
		t.Errorf("the heap has grown by %d MiB", grown>>20)
	}
	var files int64
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		info, err := entry.Info()
		if err != nil {
			t.Fatal(err)
		}
		files += info.Size()
	}
	if files > 64<<20 {
		t.Errorf("the files take %d MiB", files>>20)
	}
}

// heap returns the bytes in use after a collection.
func heap() uint64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}

func TestADamagedRecordIsToldFromAMissingOne(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	if err := s.Commit(ctx, change("a")); err != nil {
		t.Fatal(err)
	}
	flip(t, s.db, textKey(kindBill, "a"))
	s.moments.renew()
	_, err := s.Bill(ctx, "a")
	wantDamage(t, "Bill", err)
	_, _, err = s.List(ctx, bill.Query{Limit: 10})
	wantDamage(t, "List", err)
	next := change("a")
	next.Order = nil
	next.Bills[0].Bill.Revision = 2
	wantDamage(t, "Commit", s.Commit(ctx, next))
}

func TestAnIndexEntryWithoutItsBillIsDamage(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	if err := s.Commit(ctx, change("a")); err != nil {
		t.Fatal(err)
	}
	if err := s.db.Update(func(txn *badgerdb.Txn) error { return txn.Delete(textKey(kindBill, "a")) }); err != nil {
		t.Fatal(err)
	}
	s.moments.renew()
	_, _, err := s.List(ctx, bill.Query{Limit: 10})
	wantDamage(t, "List", err)
}

func wantDamage(t *testing.T, what string, err error) {
	t.Helper()
	if !errors.Is(err, ErrDamaged) || !errors.Is(err, bill.ErrUnavailable) || errors.Is(err, bill.ErrNotFound) {
		t.Errorf("%s: %v, want ErrDamaged and ErrUnavailable", what, err)
	}
}

// flip changes one bit in the middle of a record.
func flip(t *testing.T, db *badgerdb.DB, key []byte) {
	t.Helper()
	err := db.Update(func(txn *badgerdb.Txn) error {
		item, err := txn.Get(key)
		if err != nil {
			return err
		}
		record, err := item.ValueCopy(nil)
		if err != nil {
			return err
		}
		record[len(record)/2] ^= 1
		return txn.Set(key, record)
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestADamagedStoreIsNotOpened(t *testing.T) {
	for name, damage := range map[string]func(manifest string) error{
		"NoManifest":       os.Remove,
		"BrokenManifest":   func(manifest string) error { return os.WriteFile(manifest, []byte("nonsense"), 0o600) },
		"ManifestIsFolder": func(manifest string) error { return errors.Join(os.Remove(manifest), os.Mkdir(manifest, 0o700)) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := mustOpen(t, dir)
			if err := s.Commit(ctx, change("a")); err != nil {
				t.Fatal(err)
			}
			mustClose(t, s)
			if err := damage(filepath.Join(dir, "MANIFEST")); err != nil {
				t.Fatal(err)
			}
			_, err := openResolved(dir)
			if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), dir) {
				t.Errorf("open: %v", err)
			}
		})
	}
}

func TestAnotherProgramsDatabaseIsNotOpened(t *testing.T) {
	dir := t.TempDir()
	db, err := badgerdb.Open(databaseOptions(dir, zap.NewNop).WithExternalMagic(0))
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := openResolved(dir); err == nil || !strings.Contains(err.Error(), "another program") {
		t.Errorf("open: %v", err)
	}
}

func TestTheFolderIsForItsUserAlone(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	mustOpen(t, dir)
	info, err := os.Stat(dir)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func TestAFolderThatOthersCanReadIsWarnedAbout(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o750); err != nil {
		t.Fatal(err)
	}
	core, logs := observer.New(zap.WarnLevel)
	s, err := open(ctx, dir, bill.Env{Logger: func() *zap.Logger { return zap.New(core) }})
	if err != nil {
		t.Fatal(err)
	}
	mustClose(t, s)
	if logs.FilterField(zap.String("dir", dir)).Len() != 1 {
		t.Errorf("logged: %v", logs.All())
	}
}

func TestAnAnswerIsDroppedByTheDatabaseWhenBothClocksSaySo(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	now := time.Now().Truncate(time.Second)
	s.now = func() time.Time { return now }
	for expiresAt, want := range map[time.Time]time.Time{
		now.AddDate(-1, 0, 0): now.Add(rememberAtLeast), // an engine whose clock is behind
		now.AddDate(1, 0, 0):  now.AddDate(1, 0, 0),
	} {
		answer := bill.Idempotency{Key: expiresAt.String(), Bill: "a", ExpiresAt: expiresAt}
		if err := s.Commit(ctx, bill.Change{Idempotency: &answer}); err != nil {
			t.Fatal(err)
		}
		err := s.db.View(func(txn *badgerdb.Txn) error {
			item, err := txn.Get(textKey(kindIdempotency, answer.Key))
			if err == nil && item.ExpiresAt() != uint64(want.Unix()) {
				t.Errorf("expires at %v: dropped at %d, want %d", expiresAt, item.ExpiresAt(), want.Unix())
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
}

func TestAScanStopsAtItsBoundAndGoesOnFromThere(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	const bills, chunk = maxKeys/recordKeys + 100, 500
	for n := 0; n < bills; n += chunk {
		var c bill.Change
		for i := n; i < min(n+chunk, bills); i++ {
			b := change(strconv.Itoa(i)).Bills[0].Bill
			b.CreatedAt = noon.Add(time.Duration(i) * time.Second)
			c.Bills = append(c.Bills, bill.BillChange{Bill: b})
		}
		c.Bills[0].Bill.Shop = "rare"
		if err := s.Commit(ctx, c); err != nil {
			t.Fatal(err)
		}
	}
	page, next, err := s.List(ctx, bill.Query{Account: "nobody's", Limit: 10})
	if err != nil || len(page) > 0 || next == "" {
		t.Fatalf("first page: %d bills, next %q, %v", len(page), next, err)
	}
	page, next, err = s.List(ctx, bill.Query{Account: "nobody's", Limit: 10, Cursor: next})
	if err != nil || len(page) > 0 || next != "" {
		t.Fatalf("second page: %d bills, next %q, %v", len(page), next, err)
	}
	var rare int
	for q := (bill.Query{Shop: "rare", Limit: 1000}); ; q.Cursor = next {
		page, next, err = s.List(ctx, q)
		if err != nil {
			t.Fatal(err)
		}
		if rare += len(page); next == "" {
			break
		}
	}
	if rare != (bills+chunk-1)/chunk {
		t.Errorf("found %d bills", rare)
	}
}

func TestFreeSpaceIsTold(t *testing.T) {
	var s bill.Store = mustOpen(t, t.TempDir())
	spacer, ok := s.(bill.FreeSpacer)
	if !ok {
		t.Fatalf("%T does not tell", s)
	}
	if free, err := spacer.FreeSpace(); err != nil || free < minFreeSpace {
		t.Errorf("free: %d, %v", free, err)
	}
}

func TestOnADiskThatIsAllButFullNothingIsWrittenAndNothingBreaks(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	s.minFree = math.MaxUint64
	if err := s.Commit(ctx, change("1")); !errors.Is(err, bill.ErrUnavailable) || !strings.Contains(err.Error(), "the disk is full") {
		t.Errorf("Commit: %v", err)
	}
	if _, err := s.Bill(ctx, "1"); !errors.Is(err, bill.ErrNotFound) {
		t.Errorf("refused, and then: %v", err)
	}
	s.minFree = minFreeToGoOn
	if err := s.Commit(ctx, change("1")); err != nil {
		t.Errorf("once there is room: %v", err)
	}
}

func TestAPanicInAReadIsAnError(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	err := s.view(ctx, func(*badgerdb.Txn) error { panic("oh") })
	if !errors.Is(err, bill.ErrUnavailable) {
		t.Errorf("view: %v", err)
	}
	if err := s.Commit(ctx, change("1")); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

func TestALogWithoutLengthDoesNotKeepTheStoreFromOpening(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, dir)
	if err := s.Commit(ctx, change("1")); err != nil {
		t.Fatal(err)
	}
	mustClose(t, s)
	if err := os.WriteFile(filepath.Join(dir, "00009.mem"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := mustOpen(t, dir).Bill(ctx, "1"); err != nil {
		t.Errorf("Bill: %v", err)
	}
}

func TestADiskThatIsFullWhileOpeningIsNotTakenForDamage(t *testing.T) {
	for _, err := range []error{syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG} {
		if !isFull(fmt.Errorf("cannot create memtable err: %v", err)) { //nolint:errorlint // as Badger does
			t.Errorf("%v", err)
		}
	}
	if isFull(syscall.EIO) {
		t.Errorf("%v", syscall.EIO)
	}
}
