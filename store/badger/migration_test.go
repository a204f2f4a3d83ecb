package badger

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	badgerdb "github.com/dgraph-io/badger/v4"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

// moving is a store's part in a migration.
func moving(r bill.Role) bill.Migration {
	return bill.Migration{Role: r, ID: "m", Other: "elsewhere", Since: noon}
}

// carry copies everything into the store of a new folder, which it closes.
func carry(t *testing.T, from *store) (dir string) {
	t.Helper()
	dir = target(t)
	to := mustOpen(t, dir)
	m := moving(bill.RoleTarget)
	for !m.All {
		page, next, err := from.Export(ctx, m.Cursor, 50)
		if err != nil {
			t.Fatal(err)
		}
		m.Cursor, m.All = next, next == ""
		if err := to.Import(ctx, page, m); err != nil {
			t.Fatal(err)
		}
	}
	if err := to.SetMigration(ctx, bill.Migration{}); err != nil {
		t.Fatal(err)
	}
	mustClose(t, to)
	return dir
}

func mustMove(t *testing.T, dir string, m bill.Migration) {
	t.Helper()
	s, err := (&Store{path: dir}).OpenToMove(ctx, bill.Env{}, false)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.SetMigration(ctx, m), s.Close()); err != nil {
		t.Fatal(err)
	}
}

func TestNothingIsFoundInAStoreThatWasCarriedOver(t *testing.T) {
	from := lived(t, t.TempDir(), 60)
	f := wantWhole(t, carry(t, from))
	if f.Bills != 60 || f.Orders != 60 || f.Notifications != 60 {
		t.Errorf("%+v", f)
	}
	mustClose(t, from)
	if was := wantWhole(t, from.dir); was.Records != f.Records {
		t.Errorf("%d records became %d", was.Records, f.Records)
	}
}

func TestAPageIsNoLargerThanATransactionHowLargeABillIs(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	for i := range 40 {
		c := change(fmt.Sprint(i))
		c.Bills[0].Details.Description = strings.Repeat("x", 100<<10)
		mustChange(t, s, c)
	}
	page, next, err := s.Export(ctx, "", 1000)
	if err != nil || next == "" || len(page) > 3 {
		t.Errorf("%d bills of 100 KiB each on one page, next %q, %v", len(page), next, err)
	}
}

func TestAStoreThatWasLeftIsReadAndCheckedAndNotOpened(t *testing.T) {
	dir := t.TempDir()
	mustClose(t, lived(t, dir, 5))
	mustMove(t, dir, moving(bill.RoleLeft))
	wantWhole(t, dir)
	offline, err := OpenOffline(ctx, dir)
	if err != nil {
		t.Fatal(err)
	}
	defer offline.Close()
	if !errors.Is(offline.Doubt, bill.ErrMoved) {
		t.Errorf("its doubt: %v", offline.Doubt)
	}
	if _, err := offline.Bill(ctx, "3"); err != nil {
		t.Errorf("Bill: %v", err)
	}
}

func TestCheckSaysThatATargetIsNotFinished(t *testing.T) {
	dir := t.TempDir()
	mustClose(t, lived(t, dir, 5))
	mustMove(t, dir, moving(bill.RoleTarget))
	f, err := Check(ctx, dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	wantFinding(t, f, FindingRecord, "elsewhere", "--give-up")
}

func TestABackupOfAStoreThatWasLeftIsNoWayAroundThat(t *testing.T) {
	s := lived(t, t.TempDir(), 5)
	if err := s.SetMigration(ctx, moving(bill.RoleLeft)); err != nil {
		t.Fatal(err)
	}
	file, _ := mustBackUp(t, s)
	if _, err := openResolved(mustRestore(t, file)); !errors.Is(err, bill.ErrMoved) {
		t.Errorf("Open: %v", err)
	}
	if err := s.Reopen(ctx); err != nil {
		t.Errorf("Reopen of one whose checkouts are open: %v", err)
	}
}

func TestAStoreThatMovesIsNotReopened(t *testing.T) {
	file, _ := mustBackUp(t, lived(t, t.TempDir(), 3))
	s := mustOpen(t, mustRestore(t, file))
	if err := s.SetMigration(ctx, moving(bill.RoleSource)); err != nil {
		t.Fatal(err)
	}
	if err := s.Reopen(ctx); !errors.Is(err, bill.ErrMoved) || s.CheckoutsClosed().IsZero() {
		t.Errorf("Reopen: %v", err)
	}
}

func TestOnlyAStoreThatWasLeftComesBackWithItsCheckoutsClosed(t *testing.T) {
	for role, closed := range map[bill.Role]bool{bill.RoleSource: false, bill.RoleLeft: true} {
		dir := t.TempDir()
		mustClose(t, lived(t, dir, 3))
		mustMove(t, dir, moving(role))
		mustMove(t, dir, bill.Migration{})
		s := mustOpen(t, dir)
		if got := !s.CheckoutsClosed().IsZero(); got != closed {
			t.Errorf("%s: closed %t", role, got)
		}
		if err := s.Reopen(ctx); err != nil || !s.CheckoutsClosed().IsZero() {
			t.Errorf("%s: Reopen: %v", role, err)
		}
	}
}

func TestARoleOutlivesACrash(t *testing.T) {
	s := lived(t, t.TempDir(), 3)
	if err := s.SetMigration(ctx, moving(bill.RoleLeft)); err != nil {
		t.Fatal(err)
	}
	if _, err := openResolved(crashed(t, s.dir)); !errors.Is(err, bill.ErrMoved) {
		t.Errorf("Open: %v", err)
	}
}

func TestWhatCannotBeReadIsNotCarriedOver(t *testing.T) {
	b := change("7").Bills[0].Bill
	for name, key := range map[string][]byte{
		"a bill": textKey(kindBill, b.ID), "details": textKey(kindDetails, b.ID), "an event": eventKey(b.ID, 1, 0),
		"an order": orderKey(b.OrderKey()), "a notification": textKey(kindNotification, "n-7"),
		"an orphan": orphanKey("ledger", "orphan-0"), "an answer": textKey(kindIdempotency, "key-0"),
	} {
		s := lived(t, t.TempDir(), 10)
		err := s.db.Update(func(txn *badgerdb.Txn) error {
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
			t.Fatalf("%s: %v", name, err)
		}
		s.moments.renew()
		if page, _, err := s.Export(ctx, "", 1000); !errors.Is(err, ErrDamaged) || page != nil {
			t.Errorf("%s: %d records, %v", name, len(page), err)
		}
	}
}

func TestATableThatCannotBeReadKeepsASourceFromItsRest(t *testing.T) {
	s := lived(t, t.TempDir(), 3)
	if err := s.Quiesce(ctx); err != nil {
		t.Errorf("Quiesce: %v", err)
	}
	mustClose(t, s)
	if err := s.Quiesce(ctx); !errors.Is(err, bill.ErrUnavailable) {
		t.Errorf("closed: %v", err)
	}
}

func TestAbandoningDeletesTheStoreAndNothingElse(t *testing.T) {
	dir := t.TempDir()
	s := lived(t, dir, 3)
	stranger := filepath.Join(dir, "letter")
	if err := errors.Join(os.WriteFile(stranger, []byte("dear"), 0o600), s.SetMigration(ctx, moving(bill.RoleTarget))); err != nil {
		t.Fatal(err)
	}
	if err := s.Abandon(ctx); err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 1 || left[0].Name() != "letter" {
		t.Errorf("left: %v, %v", left, err)
	}
}

func TestWhatAnInterruptedAbandoningLeavesIsNoStore(t *testing.T) {
	for _, gone := range []string{"", "*.sst", "*.mem", "*.vlog"} {
		dir := t.TempDir()
		s := lived(t, dir, 3)
		if err := s.SetMigration(ctx, moving(bill.RoleTarget)); err != nil {
			t.Fatal(err)
		}
		mustClose(t, s)
		if err := writeTestimony(dir, testimony{Damage: abandoned}); err != nil {
			t.Fatal(err)
		}
		names, err := filepath.Glob(filepath.Join(dir, gone))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			if gone != "" {
				err = errors.Join(err, os.Remove(name))
			}
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err := openResolved(dir); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "remove the folder") {
			t.Errorf("without %q: %v", gone, err)
		}
	}
}

func TestAFolderThatIsNotThereIsNoSource(t *testing.T) {
	dir := target(t)
	if _, err := (&Store{path: dir}).OpenToMove(ctx, bill.Env{}, false); err == nil || !strings.Contains(err.Error(), "there is no store") {
		t.Errorf("OpenToMove: %v", err)
	}
	if exists(filepath.Dir(dir)) {
		t.Error("it was made")
	}
}

func TestABillTooLargeForAnyTransactionIsNamed(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	b := change("large").Bills[0].Bill
	page := []bill.Record{{Bill: &bill.WholeBill{Bill: b, Details: &bill.Details{Description: strings.Repeat("x", maxValue)}}}}
	if err := s.Import(ctx, page, moving(bill.RoleTarget)); !errors.Is(err, bill.ErrTooLarge) || !strings.Contains(err.Error(), `"large"`) {
		t.Errorf("Import: %v", err)
	}
	if m, err := s.Migration(ctx); err != nil || m.Role != bill.RoleNone {
		t.Errorf("the page was noted: %+v, %v", m, err)
	}
}
