package migrate_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/goleak"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/store/badger"
	"github.com/caddy-qlink/caddy-qlink/store/memory"
	"github.com/caddy-qlink/caddy-qlink/store/migrate"
	"github.com/caddy-qlink/caddy-qlink/store/storetest"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// world is a source with everything in it, and an empty target, both of which
// can fail.
type world struct {
	t        *testing.T
	from, to *faulty
	writes   int // so far
	failAt   int // write; 0: none
	before   bool
	ids      int
}

func newWorld(t *testing.T, from, to bill.Store) *world {
	w := &world{t: t}
	w.from = &faulty{Movable: from.(bill.Movable), world: w, name: "the old one"}
	w.to = &faulty{Movable: to.(bill.Movable), world: w, name: "the new one"}
	return w
}

func (w *world) move() migrate.Move {
	return migrate.Move{
		From: w.from, To: w.to, Now: func() time.Time { return noon },
		NewID: func() string {
			w.ids++
			return fmt.Sprint("migration-", w.ids)
		},
	}
}

func (w *world) run() (migrate.Content, error) { return w.move().Run(w.t.Context()) }

func (w *world) mustRun() migrate.Content {
	w.t.Helper()
	content, err := w.run()
	if err != nil {
		w.t.Fatalf("Run: %v", err)
	}
	return content
}

func (w *world) wantRoles(from, to bill.Role) {
	w.t.Helper()
	if got := role(w.t, w.from); got != from {
		w.t.Errorf("the source has the role %q, want %q", got, from)
	}
	if got := role(w.t, w.to); got != to {
		w.t.Errorf("the target has the role %q, want %q", got, to)
	}
}

func role(t *testing.T, s bill.Movable) bill.Role {
	t.Helper()
	m, err := s.Migration(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return m.Role
}

// faulty is a store that fails, or does something else than it says.
type faulty struct {
	bill.Movable

	world   *world
	name    string
	arrives func(page []bill.Record) []bill.Record // what becomes of a page
	counts  func(*bill.Counts)
	closed  time.Time
	rested  int
	resting func()
	pages   int // that were exported
	imports int
	damaged bool
}

var errKilled = errors.New("killed")

func (f *faulty) Place() string                { return f.name }
func (f *faulty) CheckoutsClosed() time.Time   { return f.closed }
func (f *faulty) Reopen(context.Context) error { return nil }

func (f *faulty) Quiesce(context.Context) error {
	f.rested++
	if f.resting != nil {
		f.resting()
	}
	return nil
}

// write is one write, after or before which everything may end.
func (f *faulty) write(write func() error) error {
	f.world.writes++
	fails := f.world.writes == f.world.failAt
	if fails && f.world.before {
		return errKilled
	}
	err := write()
	if serves(f.world.from) && serves(f.world.to) && f.world.to.resting == nil {
		f.world.t.Errorf("after write %d both serve", f.world.writes)
	}
	if fails {
		return errors.Join(err, errKilled)
	}
	return err
}

func serves(s bill.Movable) bool {
	m, err := s.Migration(context.Background())
	return err == nil && m.Role == bill.RoleNone
}

func (f *faulty) SetMigration(ctx context.Context, m bill.Migration) error {
	return f.write(func() error { return f.Movable.SetMigration(ctx, m) })
}

func (f *faulty) Import(ctx context.Context, page []bill.Record, m bill.Migration) error {
	if f.arrives != nil {
		page = f.arrives(page)
	}
	f.imports++
	return f.write(func() error { return f.Movable.Import(ctx, page, m) })
}

// Export makes pages short, so that there are some.
func (f *faulty) Export(ctx context.Context, cursor string, _ int) ([]bill.Record, string, error) {
	f.pages++
	if f.damaged && f.pages > 3 {
		return nil, "", errors.New("its checksum does not match")
	}
	return f.Movable.Export(ctx, cursor, 60)
}

func (f *faulty) Counts(ctx context.Context) (bill.Counts, error) {
	c, err := f.Movable.Counts(ctx)
	if f.counts != nil {
		f.counts(&c)
	}
	return c, err
}

// memories returns a world of two stores in memory, the first with everything.
func memories(t *testing.T) *world {
	from := memory.New()
	storetest.Populate(t, from)
	return newWorld(t, from, memory.New())
}

func TestEverythingArrivesAndTheTargetServesInPlaceOfTheSource(t *testing.T) {
	w := memories(t)
	content := w.mustRun()
	w.wantRoles(bill.RoleLeft, bill.RoleNone)
	storetest.WantEqual(t, w.from.Movable, w.to.Movable)
	counts, err := w.to.Counts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var bills uint64
	for _, n := range counts.Bills {
		bills += n
	}
	if content.Bills != bills || content.Orders == 0 || content.Notifications == 0 || content.Answers == 0 || content.Orphans == 0 {
		t.Errorf("%+v, and there are %d bills", content, bills)
	}
	if w.from.rested == 0 {
		t.Error("the source was not brought to rest")
	}
	if err := w.from.Commit(t.Context(), bill.Change{}); !errors.Is(err, bill.ErrMoved) || !strings.Contains(err.Error(), "the new one") {
		t.Errorf("the source takes commits: %v", err)
	}
	if err := w.to.Commit(t.Context(), bill.Change{}); err != nil {
		t.Errorf("the target takes none: %v", err)
	}
	if _, err := w.run(); err == nil || !strings.Contains(err.Error(), "was left already") {
		t.Errorf("run once more: %v", err)
	}
	w.wantRoles(bill.RoleLeft, bill.RoleNone)
}

func TestARunThatEndsAnywhereIsGoneOnWithAndNeverDoBothServe(t *testing.T) {
	from := memory.New()
	storetest.Populate(t, from)
	pages := 0 // written by a run that none was before
	for _, before := range []bool{true, false} {
		for failAt, ended := 1, false; !ended; failAt++ {
			w := newWorld(t, from, memory.New())
			w.before, w.failAt = before, failAt
			if _, err := w.run(); err == nil {
				ended = true
			} else if !errors.Is(err, errKilled) {
				t.Fatalf("write %d: %v", failAt, err)
			}
			if !ended && w.writes != w.failAt {
				t.Errorf("it went on behind write %d", failAt)
			}
			w.failAt = 0
			if role(t, w.to) != bill.RoleNone || role(t, w.from) != bill.RoleLeft {
				w.mustRun()
			}
			if pages == 0 {
				pages = w.to.imports
			} else if w.to.imports > pages+1 {
				t.Errorf("write %d: of %d pages, %d were written: not only the one that was under way came again", failAt, pages, w.to.imports)
			}
			w.wantRoles(bill.RoleLeft, bill.RoleNone)
			storetest.WantEqual(t, from.(bill.Movable), w.to.Movable)
			if ended && failAt < 8 {
				t.Errorf("there were only %d writes", failAt)
			}
			if err := from.(bill.Movable).SetMigration(t.Context(), bill.Migration{}); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// losses are what can become of a page that is not written as it is; each does
// it once, to the first record that it can be done to.
var losses = map[string]func(r *bill.Record) (lost, done bool){
	"a bill":         func(r *bill.Record) (bool, bool) { return true, r.Bill != nil },
	"an order":       func(r *bill.Record) (bool, bool) { return true, r.Order != nil },
	"a notification": func(r *bill.Record) (bool, bool) { return true, r.Notification != nil },
	"an answer": func(r *bill.Record) (bool, bool) {
		return true, r.Idempotency != nil && r.Idempotency.ExpiresAt.After(noon)
	},
	"an orphan": func(r *bill.Record) (bool, bool) { return true, r.Orphan != nil },
	"a bill's details": func(r *bill.Record) (lost, done bool) {
		if done = r.Bill != nil && r.Bill.Details != nil; done {
			r.Bill = &bill.WholeBill{Bill: r.Bill.Bill, Events: r.Bill.Events}
		}
		return false, done
	},
	"a line of a history": func(r *bill.Record) (lost, done bool) {
		if done = r.Bill != nil && len(r.Bill.Events) > 0; done {
			r.Bill = &bill.WholeBill{Bill: r.Bill.Bill, Details: r.Bill.Details, Events: r.Bill.Events[1:]}
		}
		return false, done
	},
	"a digit of an amount": changed(func(b *bill.Bill) { b.Amount += "0" }),
	"a bill's revision":    changed(func(b *bill.Bill) { b.Revision++ }),
	"a nanosecond":         changed(func(b *bill.Bill) { b.CreatedAt = b.CreatedAt.Add(1) }),
	"a shop in an order's key": func(r *bill.Record) (lost, done bool) {
		if done = r.Order != nil; done {
			order := *r.Order
			order.Key.Shop += "x"
			r.Order = &order
		}
		return false, done
	},
	"the key of an answer": func(r *bill.Record) (lost, done bool) {
		if done = r.Idempotency != nil && r.Idempotency.ExpiresAt.After(noon); done {
			answer := *r.Idempotency
			answer.Key += "x"
			r.Idempotency = &answer
		}
		return false, done
	},
	"a notification's payload": func(r *bill.Record) (lost, done bool) {
		if done = r.Notification != nil; done {
			n := *r.Notification
			n.Payload += " "
			r.Notification = &n
		}
		return false, done
	},
}

func changed(change func(*bill.Bill)) func(r *bill.Record) (lost, done bool) {
	return func(r *bill.Record) (lost, done bool) {
		if r.Bill == nil {
			return false, false
		}
		b := r.Bill.Bill
		change(&b)
		r.Bill = &bill.WholeBill{Bill: b, Details: r.Bill.Details, Events: r.Bill.Events}
		return false, true
	}
}

func TestWhatIsLostOrChangedOnTheWayIsNoticed(t *testing.T) {
	from := memory.New()
	storetest.Populate(t, from)
	for name, lose := range losses {
		w := newWorld(t, from, memory.New())
		done := false
		w.to.arrives = func(page []bill.Record) (arrives []bill.Record) {
			for _, r := range page {
				lost := false
				if !done {
					lost, done = lose(&r)
				}
				if !lost || !done {
					arrives = append(arrives, r)
				}
			}
			return arrives
		}
		_, err := w.run()
		if !done {
			t.Fatalf("%s: nothing was lost", name)
		}
		if !errors.Is(err, migrate.ErrDiffers) || !strings.Contains(err.Error(), "--give-up") {
			t.Errorf("%s: %v", name, err)
		}
		w.wantRoles(bill.RoleSource, bill.RoleTarget)
		if err := w.move().GiveUp(t.Context()); err != nil {
			t.Fatalf("%s: GiveUp: %v", name, err)
		}
	}
}

func TestAStoreThatCountsOtherwiseIsNoticed(t *testing.T) {
	for _, faulted := range []func(*world) *faulty{
		func(w *world) *faulty { return w.from }, func(w *world) *faulty { return w.to },
	} {
		for name, miscount := range map[string]func(*bill.Counts){
			"bills":         func(c *bill.Counts) { c.Bills[bill.Success]++ },
			"notifications": func(c *bill.Counts) { c.Notifications[bill.Dead]-- },
			"late ones":     func(c *bill.Counts) { c.Late++ },
			"refunds":       func(c *bill.Counts) { c.Refunds++ },
			"orphans":       func(c *bill.Counts) { c.Orphans++ },
		} {
			w := memories(t)
			faulted(w).counts = miscount
			if _, err := w.run(); err == nil || !strings.Contains(err.Error(), "damaged") {
				t.Errorf("%s: %v", name, err)
			}
			w.wantRoles(bill.RoleSource, bill.RoleTarget)
		}
	}
}

func TestASourceThatCannotBeReadLeavesTheTargetRefused(t *testing.T) {
	w := memories(t)
	w.from.damaged = true
	if _, err := w.run(); err == nil || !strings.Contains(err.Error(), "read the old one: its checksum does not match") {
		t.Errorf("Run: %v", err)
	}
	w.wantRoles(bill.RoleSource, bill.RoleTarget)
	if err := w.move().GiveUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := role(t, w.from); got != bill.RoleNone {
		t.Errorf("given up, the source has the role %q", got)
	}
}

func TestNoMigrationBeginsWhereItMustNot(t *testing.T) {
	other := bill.Migration{ID: "another", Other: "a third one", Since: noon}
	with := func(r bill.Role, cursor string) bill.Migration {
		m := other
		m.Role, m.Cursor = r, cursor
		return m
	}
	for name, test := range map[string]struct {
		from, to bill.Migration
		arrange  func(w *world)
		words    string
	}{
		"a target with a bill in it": {arrange: func(w *world) {
			if err := w.to.Commit(w.t.Context(), bill.Change{Orphan: &bill.Orphan{Ledger: "l", ID: "o", At: noon}}); err != nil {
				w.t.Fatal(err)
			}
		}, words: "the new one is not empty"},
		"checkouts that are closed":            {arrange: func(w *world) { w.from.closed = noon }, words: "caddy qlink reopen"},
		"a source that is filled itself":       {from: with(bill.RoleTarget, ""), words: "does not hold everything yet"},
		"a source that was left":               {from: with(bill.RoleLeft, ""), words: "was left already"},
		"a target that was left":               {to: with(bill.RoleLeft, ""), words: "choose an empty store"},
		"a target that is being left":          {to: with(bill.RoleSource, ""), words: "choose an empty store"},
		"the target of another migration":      {from: with(bill.RoleSource, ""), to: bill.Migration{Role: bill.RoleTarget, ID: "mine"}, words: "--give-up"},
		"a source taken back after it began":   {to: with(bill.RoleTarget, "c"), words: "--give-up"},
		"a source taken back after the copies": {to: bill.Migration{Role: bill.RoleTarget, All: true}, words: "--give-up"},
	} {
		w := memories(t)
		for store, m := range map[*faulty]bill.Migration{w.from: test.from, w.to: test.to} {
			if err := store.Movable.SetMigration(t.Context(), m); err != nil {
				t.Fatal(err)
			}
		}
		if test.arrange != nil {
			test.arrange(w)
		}
		if _, err := w.run(); err == nil || !strings.Contains(err.Error(), test.words) {
			t.Errorf("%s: %v, want %q", name, err, test.words)
		}
		if w.writes > 0 {
			t.Errorf("%s: something was written", name)
		}
	}
}

// Another process has the target open, and takes a checkout in the last moment.
func TestWhatATargetTookInTheLastMomentIsNotDeleted(t *testing.T) {
	w := memories(t)
	w.to.resting = func() {
		late := bill.WholeBill{Bill: bill.Bill{ID: "late", Status: bill.Wait, CreatedAt: noon, UpdatedAt: noon, Version: 1, Revision: 1}}
		m, err := w.to.Migration(t.Context())
		if err == nil {
			err = w.to.Movable.Import(t.Context(), []bill.Record{{Bill: &late}}, m)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.move().Run(t.Context()); err == nil || !strings.Contains(err.Error(), "the new one is not empty") {
		t.Errorf("Run: %v", err)
	}
	if _, err := w.to.Bill(t.Context(), "late"); err != nil {
		t.Errorf("what it took: %v", err)
	}
	if m, err := w.to.Migration(t.Context()); err != nil || m.Role != bill.RoleNone {
		t.Errorf("the target does not serve on: %+v, %v", m, err)
	}
	if m, err := w.from.Migration(t.Context()); err != nil || m.Role != bill.RoleNone {
		t.Errorf("the source does not serve on: %+v, %v", m, err)
	}
}

func TestASourceWhoseTargetIsGoneBeginsAnew(t *testing.T) {
	w := memories(t)
	w.failAt = 4
	if _, err := w.run(); !errors.Is(err, errKilled) {
		t.Fatal(err)
	}
	w.failAt, w.to.Movable = 0, memory.New().(bill.Movable)
	w.mustRun()
	storetest.WantEqual(t, w.from.Movable, w.to.Movable)
	w.wantRoles(bill.RoleLeft, bill.RoleNone)
}

func TestAnUnfinishedMigrationIsGivenUp(t *testing.T) {
	w := memories(t)
	if err := w.move().GiveUp(t.Context()); err == nil {
		t.Error("gave up what has not begun")
	}
	w.failAt = 4
	if _, err := w.run(); !errors.Is(err, errKilled) {
		t.Fatal(err)
	}
	if err := w.move().GiveUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := role(t, w.from); got != bill.RoleNone {
		t.Errorf("the source has the role %q", got)
	}
	if _, err := w.to.Counts(t.Context()); !errors.Is(err, bill.ErrUnavailable) {
		t.Errorf("the target: %v", err)
	}
	if err := w.from.Commit(t.Context(), bill.Change{}); err != nil {
		t.Errorf("the source takes no commits: %v", err)
	}
}

func TestWhatIsAllButFinishedIsNotGivenUp(t *testing.T) {
	whole := memories(t)
	whole.mustRun()
	w := memories(t)
	w.failAt, w.before = whole.writes, true // the last, which lets the target serve
	if _, err := w.run(); !errors.Is(err, errKilled) {
		t.Fatal(err)
	}
	w.wantRoles(bill.RoleLeft, bill.RoleTarget)
	if err := w.move().GiveUp(t.Context()); err == nil || !strings.Contains(err.Error(), "once more") {
		t.Errorf("GiveUp: %v", err)
	}
	w.failAt = 0
	w.mustRun()
	w.wantRoles(bill.RoleLeft, bill.RoleNone)
}

func TestAStoreIsTakenBackByWhoMeansIt(t *testing.T) {
	w := memories(t)
	if err := migrate.TakeBack(t.Context(), w.from, true); err == nil {
		t.Error("took back a store that serves")
	}
	w.mustRun()
	if err := migrate.TakeBack(t.Context(), w.from, false); err == nil || !strings.Contains(err.Error(), "--force") {
		t.Errorf("without force: %v", err)
	}
	w.wantRoles(bill.RoleLeft, bill.RoleNone)
	if err := w.from.Movable.SetMigration(t.Context(), bill.Migration{Role: bill.RoleTarget}); err != nil {
		t.Fatal(err)
	}
	if err := migrate.TakeBack(t.Context(), w.from, true); err == nil || !strings.Contains(err.Error(), "--give-up") {
		t.Errorf("a target: %v", err)
	}
	for role, force := range map[bill.Role]bool{bill.RoleLeft: true, bill.RoleSource: false} {
		if err := w.from.Movable.SetMigration(t.Context(), bill.Migration{Role: role}); err != nil {
			t.Fatal(err)
		}
		if err := migrate.TakeBack(t.Context(), w.from.Movable, force); err != nil {
			t.Errorf("%s: %v", role, err)
		}
		w.wantRoles(bill.RoleNone, bill.RoleNone)
	}
}

func TestAnAnswerThatIsOverNeedNotArrive(t *testing.T) {
	w := memories(t)
	over := bill.Change{Idempotency: &bill.Idempotency{Key: "over", Bill: "bill-001", ExpiresAt: noon}}
	if err := w.from.Commit(t.Context(), over); err != nil {
		t.Fatal(err)
	}
	w.to.arrives = func(page []bill.Record) (arrives []bill.Record) {
		for _, r := range page {
			if r.Idempotency == nil || r.Idempotency.ExpiresAt.After(noon) {
				arrives = append(arrives, r)
			}
		}
		return arrives
	}
	w.mustRun()
	if _, err := w.to.Idempotent(t.Context(), "over", noon.Add(-time.Hour)); !errors.Is(err, bill.ErrNotFound) {
		t.Errorf("it has arrived all the same: %v", err)
	}
}

func TestProgressIsToldAndNeverGoesBeyondTheWhole(t *testing.T) {
	w := memories(t)
	var stages []migrate.Stage
	var reached uint64
	move := w.move()
	move.Progress = func(stage migrate.Stage, done, total uint64) {
		if len(stages) == 0 || stages[len(stages)-1] != stage {
			stages, reached = append(stages, stage), 0
		}
		if done < reached || done > total {
			t.Errorf("stage %d: %d of %d after %d", stage, done, total, reached)
		}
		reached = done
	}
	content, err := move.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(stages) != "[0 1 2 3]" || reached < content.Records() {
		t.Errorf("stages %v, the last at %d of %d", stages, reached, content.Records())
	}
}

func TestARunEndsWithItsContext(t *testing.T) {
	w := memories(t)
	ctx, cancel := context.WithCancel(t.Context())
	move := w.move()
	move.Progress = func(_ migrate.Stage, done, _ uint64) {
		if done > 100 {
			cancel()
		}
	}
	if _, err := move.Run(ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("Run: %v", err)
	}
	w.wantRoles(bill.RoleSource, bill.RoleTarget)
	w.mustRun()
	storetest.WantEqual(t, w.from.Movable, w.to.Movable)
}

// openBadger opens the store in dir for who carries.
func openBadger(t *testing.T, dir string) bill.Movable {
	t.Helper()
	module := &badger.Store{Path: dir}
	if err := module.Provision(caddy.Context{Context: t.Context()}); err != nil {
		t.Fatal(err)
	}
	store, err := module.OpenToMove(t.Context(), bill.Env{}, true)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() }) // a test that closed it itself has looked at the error
	return store
}

func TestAStoreIsTheSameAfterAWayThroughTheOtherKind(t *testing.T) {
	first, second, third := openBadger(t, t.TempDir()), memory.New().(bill.Movable), openBadger(t, t.TempDir())
	storetest.Populate(t, first)
	there := newWorld(t, first, second).mustRun()
	storetest.WantEqual(t, first, second)
	back := newWorld(t, second, third).mustRun()
	storetest.WantEqual(t, first, third)
	if there != back {
		t.Errorf("there %v, back %v", there, back)
	}
}

func TestARunIntoBadgerThatEndsIsGoneOnWithByAnotherProcess(t *testing.T) {
	from := memory.New()
	storetest.Populate(t, from)
	dir := t.TempDir()
	for failAt := 3; ; failAt++ {
		to := openBadger(t, dir)
		w := newWorld(t, from, to)
		w.failAt = 3
		if _, err := w.run(); err == nil {
			storetest.WantEqual(t, from.(bill.Movable), to)
			return
		} else if !errors.Is(err, errKilled) || failAt > 100 {
			t.Fatal(err)
		}
		if err := to.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
