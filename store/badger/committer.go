package badger

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	badgerdb "github.com/dgraph-io/badger/v4"
	"go.uber.org/zap"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/store/internal/census"
)

// committer is the only writer of the database. Its goroutine takes whatever
// is queued, without waiting for more, and commits it in as few transactions
// as fit: many operations then share the price of one sync.
type committer struct {
	db     *badgerdb.DB
	limit  size // of one transaction
	logger func() *zap.Logger
	commit func(*badgerdb.Txn) error // (*badgerdb.Txn).Commit; tests look in here
	held   stateRecord               // as of the last commit; the goroutine's own
	writes func([]write)             // called with what is to be committed, before that
	saw    func(state)               // called after each commit; must not block
	timed  func(int, time.Duration)  // likewise: how many changes shared it, how long it took; nil: nobody counts
	broke  func()                    // called once, when fault is set
	fault  atomic.Pointer[error]     // of the first failed commit, or the first damage found
	ended  chan struct{}

	mu      sync.Mutex
	work    sync.Cond // something was queued, or stopped was set
	queue   []*operation
	stopped bool
}

// operation is one change on its way through the committer.
type operation struct {
	// prepare reads through the shared transaction, so that it sees the
	// operations before it, and returns what to write. It writes nothing, does
	// no I/O, and may run again.
	prepare func(txn *badgerdb.Txn) (writeSet, error)
	taken   atomic.Bool // by the committer, or by a caller who gave up
	outcome chan error  // of one outcome, so that nobody has to wait for it
}

func startCommitter(db *badgerdb.DB, logger func() *zap.Logger, held stateRecord, writes func([]write), saw func(state), broke func(),
	timed func(changes int, took time.Duration),
) *committer {
	c := &committer{
		db:     db,
		limit:  largest(db),
		logger: logger,
		commit: (*badgerdb.Txn).Commit,
		held:   held,
		writes: writes,
		saw:    saw,
		timed:  timed,
		broke:  broke,
		ended:  make(chan struct{}),
	}
	c.work.L = &c.mu
	go c.run()
	return c
}

// do has the committer run prepare and write what it returns, and waits for
// that to be durable.
func (c *committer) do(ctx context.Context, prepare func(*badgerdb.Txn) (writeSet, error)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	op := &operation{prepare: prepare, outcome: make(chan error, 1)}
	if !c.enqueue(op) {
		return bill.ErrUnavailable
	}
	select {
	case err := <-op.outcome:
		return err
	case <-ctx.Done():
	}
	if op.taken.CompareAndSwap(false, true) {
		return ctx.Err()
	}
	return fmt.Errorf("whether the change was written is unknown: %w", ctx.Err())
}

func (c *committer) enqueue(op *operation) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopped {
		return false
	}
	c.queue = append(c.queue, op)
	c.work.Signal()
	return true
}

// stop lets no more in, and returns when all that was queued is committed.
func (c *committer) stop() {
	c.mu.Lock()
	c.stopped = true
	c.work.Signal()
	c.mu.Unlock()
	<-c.ended
}

func (c *committer) run() {
	defer close(c.ended)
	for {
		ops := c.next()
		if ops == nil {
			return
		}
		c.process(ops)
	}
}

// next waits for operations and takes all there are; nil after stop.
func (c *committer) next() []*operation {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.queue) == 0 && !c.stopped {
		c.work.Wait()
	}
	ops := c.queue
	c.queue = nil
	return ops
}

// batch is one transaction with the operations that share it.
type batch struct {
	txn       *badgerdb.Txn
	size      size
	outcomes  []outcome
	joined    int    // operations that have something to write
	created   uint64 // bills
	counted   census.Counts
	committed []func()
	err       error // the transaction is not fit to be committed
}

type outcome struct {
	op  *operation
	err error
}

func (c *committer) process(ops []*operation) {
	b := c.begin()
	for _, op := range ops {
		if op.taken.CompareAndSwap(false, true) && !c.join(b, op) {
			c.finish(b)
			b = c.begin()
			c.join(b, op)
		}
	}
	c.finish(b)
}

func (c *committer) begin() *batch {
	return &batch{txn: c.db.NewTransaction(true)}
}

// join adds an operation to the batch. It returns false if there is no room
// left: then the operation is to join the next one. A batch closes at half of
// what a transaction holds; one operation alone may fill it.
func (c *committer) join(b *batch, op *operation) bool {
	if err := c.broken(); err != nil {
		b.outcomes = append(b.outcomes, outcome{op, err})
		return true
	}
	set, err := c.prepared(op, b.txn)
	if err == nil && (set.refusable() || !set.size().within(c.limit)) {
		err = fmt.Errorf("%w: %d bytes in %d entries", bill.ErrTooLarge, set.size().bytes, set.size().entries)
	}
	if err != nil {
		b.outcomes = append(b.outcomes, outcome{op, err})
		return true
	}
	total := b.size.plus(set.size())
	if b.size.entries > 0 && !total.within(c.limit.half()) {
		return false
	}
	c.writes(set.writes)
	b.err = errors.Join(b.err, set.apply(b.txn))
	b.size = total
	b.joined++
	b.created += set.created
	b.counted = b.counted.Plus(set.counted)
	b.outcomes = append(b.outcomes, outcome{op, nil})
	if set.committed != nil {
		b.committed = append(b.committed, set.committed)
	}
	return true
}

// prepared makes an operation's panic its own.
func (c *committer) prepared(op *operation, txn *badgerdb.Txn) (set writeSet, err error) {
	defer func() {
		if p := recover(); p != nil {
			c.logger().Error("panic in a change; nothing of it was written", zap.Any("panic", p), zap.Stack("stack"))
			err = fmt.Errorf("%w: panic in the change: %v", bill.ErrUnavailable, p)
		}
	}()
	return op.prepare(txn)
}

// finish commits the batch and tells everybody in it. Those who lost to
// another operation of the same batch hear of it only now, when they can read
// what they lost to.
func (c *committer) finish(b *batch) {
	defer b.txn.Discard()
	if err := c.write(b); err != nil {
		c.fail(err)
		b.committed = nil
	}
	for _, committed := range b.committed {
		committed()
	}
	for _, o := range b.outcomes {
		if o.err == nil {
			o.err = c.broken()
		}
		o.op.outcome <- o.err
	}
}

// write commits the batch with the state that it brings the store to.
func (c *committer) write(b *batch) error {
	if b.err != nil || b.size.entries == 0 {
		return b.err
	}
	next := c.held.next(b.created, b.counted)
	if err := next.apply(b.txn); err != nil {
		return err
	}
	begun := time.Now()
	if err := c.commit(b.txn); err != nil {
		return err
	}
	if c.timed != nil {
		c.timed(b.joined, time.Since(begun))
	}
	c.held = next
	c.saw(next.state)
	return nil
}

// fail takes note of a failed commit. What is on disk is not known any more,
// and the database may show what is not there, so nothing may build on it.
func (c *committer) fail(err error) {
	c.breakWith(fmt.Errorf("%w: a commit failed, the store has to be opened anew: %w", bill.ErrUnavailable, err))
	c.logger().Error("a commit failed; the store serves nobody until it was opened anew, which is tried as soon as it is needed", zap.Error(err))
}

// breakWith lets nobody write or read any more.
func (c *committer) breakWith(fault error) {
	if c.fault.CompareAndSwap(nil, &fault) {
		c.broke()
	}
}

// broken returns what broke the store, or nil.
func (c *committer) broken() error {
	if fault := c.fault.Load(); fault != nil {
		return *fault
	}
	return nil
}
