package badger

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"testing"

	badgerdb "github.com/dgraph-io/badger/v4"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

// setting returns an operation's prepare that writes one key.
func setting(key, value string) func(*badgerdb.Txn) (writeSet, error) {
	return func(*badgerdb.Txn) (writeSet, error) {
		return writeSet{writes: []write{{key: []byte(key), value: []byte(value)}}}, nil
	}
}

// held returns the keys that begin with prefix.
func held(t *testing.T, s *store, prefix string) []string {
	t.Helper()
	var keys []string
	err := s.db.View(func(txn *badgerdb.Txn) error {
		it := iterate(txn, []byte(prefix))
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			keys = append(keys, string(it.Item().Key()))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// gate holds the committer's first commit until opened, so that a test knows
// what is queued behind it; it counts commits, and may let them fail.
type gate struct {
	committer *committer
	entered   chan struct{}
	proceed   chan struct{}
	fail      func(commit int) error
	commits   int // to be read when the committer has ended
}

func gated(s *store) *gate {
	g := &gate{committer: s.committer, entered: make(chan struct{}), proceed: make(chan struct{})}
	s.committer.commit = g.commit
	return g
}

func (g *gate) commit(txn *badgerdb.Txn) error {
	g.commits++
	if g.commits == 1 {
		close(g.entered)
		<-g.proceed
	}
	if g.fail != nil {
		if err := g.fail(g.commits); err != nil {
			return err
		}
	}
	return txn.Commit()
}

// hold queues an operation of its own and returns when it is being committed.
func (g *gate) hold() {
	g.queue(setting("held", ""))
	<-g.entered
}

// queue queues an operation for each prepare.
func (g *gate) queue(prepares ...func(*badgerdb.Txn) (writeSet, error)) []*operation {
	var ops []*operation
	for _, prepare := range prepares {
		op := &operation{prepare: prepare, outcome: make(chan error, 1)}
		g.committer.enqueue(op)
		ops = append(ops, op)
	}
	return ops
}

// await returns when n operations are queued.
func (g *gate) await(n int) {
	g.committer.mu.Lock()
	defer g.committer.mu.Unlock()
	for len(g.committer.queue) < n {
		g.committer.work.Wait()
	}
}

// awaitStop returns when the committer lets no more in.
func (g *gate) awaitStop() {
	g.committer.mu.Lock()
	defer g.committer.mu.Unlock()
	for !g.committer.stopped {
		g.committer.work.Wait()
	}
}

func TestWhatIsQueuedDuringACommitSharesTheNextOne(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	g := gated(s)
	g.hold()
	var tasks sync.WaitGroup
	for n := range 64 {
		tasks.Go(func() {
			if err := s.Commit(ctx, change(strconv.Itoa(n))); err != nil {
				t.Errorf("Commit: %v", err)
			}
		})
	}
	g.await(64)
	close(g.proceed)
	tasks.Wait()
	mustClose(t, s)
	if g.commits != 2 {
		t.Errorf("64 changes took %d transactions", g.commits-1)
	}
}

func TestALoneOperationDoesNotWaitForCompany(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	g := gated(s)
	close(g.proceed)
	for n := range 3 {
		if err := s.Commit(ctx, change(strconv.Itoa(n))); err != nil {
			t.Fatal(err)
		}
	}
	mustClose(t, s)
	if g.commits != 3 {
		t.Errorf("3 changes took %d transactions", g.commits)
	}
}

func TestABatchClosesAtHalfOfWhatATransactionHolds(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	third := strings.Repeat("x", int(s.committer.limit.bytes/3))
	g := gated(s)
	g.hold()
	ops := g.queue(setting("a", third), setting("b", third), setting("c", ""), setting("d", third))
	close(g.proceed)
	for i, op := range ops {
		if err := <-op.outcome; err != nil {
			t.Errorf("operation %d: %v", i, err)
		}
	}
	for _, key := range []string{"a", "b", "c", "d"} {
		if len(held(t, s, key)) != 1 {
			t.Errorf("%s was not written", key)
		}
	}
	mustClose(t, s)
	if g.commits != 1+3 { // a; b and c; d
		t.Errorf("three thirds and a little took %d transactions", g.commits-1)
	}
}

// story 39
func TestAChangeThatIsTooLargeFailsAloneAndOthersGoOn(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	for name, text := range map[string]int{"of one large value": 3 << 20, "of a value for the value log": 1 << 20} {
		large := change("large")
		large.Bills[0].Details.Description = strings.Repeat("x", text)
		if err := s.Commit(ctx, large); !errors.Is(err, bill.ErrTooLarge) {
			t.Errorf("%s: %v", name, err)
		}
	}
	many := change("large")
	many.Bills[0].Events = make([]bill.Event, 20_000)
	if err := s.Commit(ctx, many); !errors.Is(err, bill.ErrTooLarge) {
		t.Errorf("of many entries: %v", err)
	}
	long := change(strings.Repeat("x", 70_000))
	if err := s.Commit(ctx, long); !errors.Is(err, bill.ErrTooLarge) {
		t.Errorf("of a long key: %v", err)
	}
	if _, err := s.Bill(ctx, "large"); !errors.Is(err, bill.ErrNotFound) {
		t.Errorf("a part of it was written: %v", err)
	}
	if err := s.Commit(ctx, change("small")); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

func TestTheLargestChangeThatIsTakenFitsATransaction(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	limit := s.committer.limit
	for name, set := range map[string]writeSet{
		"bytes":   filled(2, int(limit.bytes)),
		"entries": filled(int(limit.entries), 0),
	} {
		err := s.committer.do(ctx, func(*badgerdb.Txn) (writeSet, error) { return set, nil })
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		set.add(write{key: []byte("one more")})
		err = s.committer.do(ctx, func(*badgerdb.Txn) (writeSet, error) { return set, nil })
		if !errors.Is(err, bill.ErrTooLarge) {
			t.Errorf("%s and one more: %v", name, err)
		}
	}
}

// filled is a write set of so many entries and, if not 0, bytes.
func filled(entries, total int) writeSet {
	var set writeSet
	for n := range entries {
		set.add(write{key: []byte(strconv.Itoa(n))})
	}
	if missing := total - int(set.size().bytes); missing > 0 {
		set.writes[0].value = make([]byte, missing/2)
		set.writes[1].value = make([]byte, missing-missing/2)
	}
	return set
}

func TestAPanicIsItsOwnOperations(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	g := gated(s)
	g.hold()
	ops := g.queue(
		setting("before", ""),
		func(*badgerdb.Txn) (writeSet, error) { panic("oh") },
		setting("behind", ""),
	)
	close(g.proceed)
	for i, op := range ops {
		if err := <-op.outcome; (err != nil) != (i == 1) {
			t.Errorf("operation %d: %v", i, err)
		}
	}
	if got := held(t, s, "be"); len(got) != 2 {
		t.Errorf("written: %v", got)
	}
}

func TestALoserReadsWhatItLostTo(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	var tasks sync.WaitGroup
	for range 64 {
		tasks.Go(func() {
			err := s.Commit(ctx, change("a"))
			if err != nil && !errors.Is(err, bill.ErrConflict) {
				t.Errorf("Commit: %v", err)
			}
			if _, err := s.Bill(ctx, "a"); err != nil {
				t.Errorf("after a conflict: %v", err)
			}
		})
	}
	tasks.Wait()
}

func TestAFailedCommitFailsItsBatchAndBreaksTheStoreUntilItIsReopened(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, dir)
	if err := s.Commit(ctx, change("before")); err != nil {
		t.Fatal(err)
	}
	failure := errors.New("no disk")
	g := gated(s)
	g.fail = func(commit int) error {
		if commit == 2 {
			return failure
		}
		return nil
	}
	watched, stop := s.Watch("0")
	defer stop()
	g.hold()
	var prepares []func(*badgerdb.Txn) (writeSet, error)
	for n := range 8 {
		sealed, err := s.seal(change(strconv.Itoa(n)))
		if err != nil {
			t.Fatal(err)
		}
		prepares = append(prepares, sealed.prepare)
	}
	ops := g.queue(prepares...)
	close(g.proceed)
	for i, op := range ops {
		if err := <-op.outcome; !errors.Is(err, bill.ErrUnavailable) || !errors.Is(err, failure) {
			t.Errorf("operation %d: %v", i, err)
		}
	}
	wantBroken(t, s, failure)
	if version, told := <-watched; told { // ended without Close: a watcher may be what keeps the store open
		t.Errorf("told of version %d, which was not written", version)
	}
	mustClose(t, s)
	if g.commits != 2 {
		t.Errorf("%d transactions were tried", g.commits)
	}
	reopened := mustOpen(t, dir)
	if err := reopened.Broken(); err != nil {
		t.Errorf("reopened, and broken: %v", err)
	}
	if _, err := reopened.Bill(ctx, "before"); err != nil {
		t.Errorf("what was acknowledged: %v", err)
	}
	if err := reopened.Commit(ctx, change("after")); err != nil {
		t.Errorf("after reopening: %v", err)
	}
}

// wantBroken fails the test unless the failure has broken the store, for
// writing and reading.
func wantBroken(t *testing.T, s *store, failure error) {
	t.Helper()
	if err := s.Broken(); !errors.Is(err, bill.ErrUnavailable) || !errors.Is(err, failure) {
		t.Errorf("broken by: %v", err)
	}
	if err := s.Commit(ctx, change("after")); !errors.Is(err, failure) {
		t.Errorf("writing: %v", err)
	}
	if _, err := s.Bill(ctx, "before"); !errors.Is(err, failure) {
		t.Errorf("reading: %v", err)
	}
	if _, err := s.OpenBills(ctx); !errors.Is(err, failure) {
		t.Errorf("counting: %v", err)
	}
	versions, stop := s.Watch("before")
	defer stop()
	if _, open := <-versions; open {
		t.Error("watching goes on")
	}
}

func TestACallerWhoGivesUpWhileQueuedWritesNothing(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	g := gated(s)
	impatient, giveUp := context.WithCancel(ctx)
	var tasks sync.WaitGroup
	tasks.Go(func() {
		err := s.Commit(impatient, change("under way"))
		if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "unknown") {
			t.Errorf("under way: %v", err)
		}
	})
	<-g.entered
	tasks.Go(func() {
		err := s.Commit(impatient, change("queued"))
		if !errors.Is(err, context.Canceled) || strings.Contains(err.Error(), "unknown") {
			t.Errorf("queued: %v", err)
		}
	})
	g.await(1)
	giveUp()
	tasks.Wait()
	close(g.proceed)
	if err := s.Commit(ctx, change("the next")); err != nil {
		t.Errorf("the next: %v", err)
	}
	if _, err := s.Bill(ctx, "queued"); !errors.Is(err, bill.ErrNotFound) {
		t.Errorf("given up, and written: %v", err)
	}
	if _, err := s.Bill(ctx, "under way"); err != nil {
		t.Errorf("under way: %v", err)
	}
}

func TestCloseCommitsWhatIsQueued(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, dir)
	g := gated(s)
	g.hold()
	ops := g.queue(setting("queued1", ""), setting("queued2", ""), setting("queued3", ""))
	var tasks sync.WaitGroup
	tasks.Go(func() { mustClose(t, s) })
	g.awaitStop()
	close(g.proceed)
	tasks.Wait()
	for _, op := range ops {
		if err := <-op.outcome; err != nil {
			t.Errorf("outcome: %v", err)
		}
	}
	if got := held(t, mustOpen(t, dir), "queued"); len(got) != 3 {
		t.Errorf("written: %v", got)
	}
}
