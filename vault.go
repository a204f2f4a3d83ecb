package caddyqlink

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/payment"
	"github.com/caddy-qlink/caddy-qlink/store"
)

const (
	startWait = 2 * time.Minute // for a large store to open
	leaseWait = 5 * time.Second // of a request that comes before Start, or while the store cannot be opened
	retryWait = time.Second     // between two tries to open it
)

// vault is one configuration's way to its store: it holds the store from Start
// to Stop, so that it stays open between requests, and hands out a lease for
// each operation, so that the store stays open for who outlives Stop. A store
// that breaks is held no more: it closes, and the next operation opens it anew.
type vault struct {
	opener bill.Opener
	key    string // may hold a password: neither logged nor told
	logger *zap.Logger

	// work is what the one set of workers of the store does for this
	// configuration, until its context ends; stopWork ends it, and is nil while
	// another configuration's workers run. configurations guards it.
	work     func(context.Context)
	stopWork func()

	// engine is the configuration's, and listeners are those of its events: nil
	// where only the store matters.
	engine    *payment.Engine
	listeners *listeners

	// tidy closes the idle connections that operations leave behind. Stop is
	// followed by a cleanup that does so too, and operations outlive both.
	tidy func()

	mu       sync.Mutex
	started  bool
	stopped  bool
	held     *store.Holding // nil before Start, after Stop, and while the store is unavailable
	heldFrom time.Time
	failed   error // of the last try to open the store, or nil
	failedAt time.Time
}

func newVault(opener bill.Opener, logger *zap.Logger) (*vault, error) {
	key, err := opener.Key()
	if err != nil {
		return nil, err
	}
	return &vault{opener: opener, key: key, logger: logger, tidy: func() {}}, nil
}

// start opens the store and holds it. A store that cannot be reached now is
// logged, no error, and opened by the first request that finds it reachable.
func (v *vault) start() error {
	ctx, cancel := context.WithTimeout(context.Background(), startWait)
	defer cancel()
	l, err := v.acquire(ctx)
	if err != nil && !unavailable(err) {
		return fmt.Errorf("open the store: %w", err)
	}
	if err == nil {
		defer l.Release()
		if err := v.adopt(ctx, l.Store()); err != nil {
			return err
		}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.started = true
	v.take()
	if err != nil {
		v.failed, v.failedAt = err, time.Now()
		v.logger.Error("the store cannot be opened now; checkouts and endpoints answer 503 until it can", zap.Error(err))
	}
	return nil
}

// adopt lets a store that an earlier configuration has opened go on with this
// one's settings.
func (v *vault) adopt(ctx context.Context, opened bill.Store) error {
	adopter, ok := v.opener.(bill.Adopter)
	if !ok {
		return nil
	}
	err := adopter.Adopt(ctx, opened)
	if err != nil && unavailable(err) {
		return nil
	}
	return err
}

// stop gives up what start holds. It may be called twice, and without start.
func (v *vault) stop() {
	v.mu.Lock()
	held := v.held
	v.started, v.stopped, v.held = false, true, nil
	v.mu.Unlock()
	if held != nil {
		held.Release()
	}
}

// lease is what the engine asks for with every operation. Its errors wrap
// bill.ErrUnavailable.
func (v *vault) lease(ctx context.Context) (bill.Store, func(), error) {
	if l, ok := store.TryAcquire(v.key); ok {
		v.hold()
		return l.Store(), v.end(l), nil
	}
	if err := v.resting(); err != nil {
		return nil, nil, fmt.Errorf("%w: %w", bill.ErrUnavailable, err)
	}
	ctx, cancel := context.WithTimeout(ctx, leaseWait)
	defer cancel()
	l, err := v.acquire(ctx)
	v.note(err)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", bill.ErrUnavailable, err)
	}
	v.hold()
	return l.Store(), v.end(l), nil
}

// end returns what ends an operation with its lease.
func (v *vault) end(l *store.Lease) func() {
	return func() {
		l.Release()
		v.mu.Lock()
		stopped := v.stopped
		v.mu.Unlock()
		if stopped {
			v.tidy()
		}
	}
}

func (v *vault) acquire(ctx context.Context) (*store.Lease, error) {
	return store.Acquire(ctx, v.key, func(ctx context.Context) (bill.Store, error) {
		key := v.key
		return v.opener.Open(ctx, bill.Env{
			Logger:    func() *zap.Logger { return running.logger(key) },
			Committed: measured.committed,
		})
	})
}

// resting returns what went wrong last while it is too early for another try:
// a bad disk is helped neither by a hundred tries a second to open the store,
// nor by a store that opens and breaks a hundred times.
func (v *vault) resting() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.failed != nil && time.Since(v.failedAt) < retryWait {
		return v.failed
	}
	if v.held != nil && time.Since(v.heldFrom) < retryWait {
		return v.held.Lost()
	}
	return nil
}

// note remembers how a try to open the store ended. A caller who went away
// says nothing about the store.
func (v *vault) note(err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !errors.Is(err, context.Canceled) {
		v.failed, v.failedAt = err, time.Now()
	}
}

// hold makes good what start could not, or what was lost when the store broke:
// now that somebody has the store open, it stays so until Stop.
func (v *vault) hold() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.started && (v.held == nil || v.held.Lost() != nil) && v.take() {
		v.logger.Info("the store is open again")
	}
}

// take holds the store if it is open. The caller holds the lock.
func (v *vault) take() (ok bool) {
	if v.held, ok = store.Hold(v.key); ok {
		v.heldFrom = time.Now()
	}
	return ok
}

// unavailable tells a store that may be reachable later from one that somebody
// has to repair.
func unavailable(err error) bool {
	return errors.Is(err, bill.ErrUnavailable) || errors.Is(err, syscall.ENOSPC) || errors.Is(err, context.DeadlineExceeded)
}

// running are the configurations that have started and not stopped, over all
// of the process.
var running configurations

// configurations are kept in the order in which they started: while a reload
// overlaps there are two, and the newest counts. Caddy stops a new one where
// another app's Start fails; the one before counts again then. A store has one
// set of workers, that of the newest configuration which uses it.
type configurations struct {
	mu      sync.Mutex
	started []*vault
}

func (c *configurations) add(v *vault) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if before := c.newestOf(v.key); before != nil {
		before.rest()
	}
	c.started = append(c.started, v)
	v.toil()
}

func (c *configurations) remove(v *vault) {
	c.mu.Lock()
	defer c.mu.Unlock()
	v.rest()
	c.started = slices.DeleteFunc(c.started, func(s *vault) bool { return s == v })
	if newest := c.newestOf(v.key); newest != nil && newest.stopWork == nil {
		newest.toil()
	}
}

// newestOf returns the newest configuration that uses a store, or nil.
func (c *configurations) newestOf(key string) *vault {
	for _, v := range slices.Backward(c.started) {
		if v.key == key {
			return v
		}
	}
	return nil
}

// toil starts the workers.
func (v *vault) toil() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		v.work(ctx)
	}()
	v.stopWork = func() {
		cancel()
		select {
		case <-done:
		case <-time.After(restWait):
		}
	}
}

// restWait bounds how long a stop waits for the workers. One that is just
// calling the gateway to change something finishes that by itself, with a
// lease of its own; that the next set has begun does it no harm.
const restWait = time.Second

// rest stops the workers.
func (v *vault) rest() {
	if v.stopWork != nil {
		v.stopWork()
		v.stopWork = nil
	}
}

// newest returns the newest one that is any as which says.
func (c *configurations) newest(which func(*vault) bool) (*vault, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, v := range slices.Backward(c.started) {
		if which(v) {
			return v, true
		}
	}
	return nil, false
}

// logger returns that of the newest configuration which uses the store: a
// store outlives the loggers it was opened with.
func (c *configurations) logger(key string) *zap.Logger {
	if v, ok := c.newest(func(v *vault) bool { return v.key == key }); ok {
		return v.logger
	}
	return caddy.Log().Named("qlink")
}

// checkMove refuses a configuration that would leave open bills behind in
// another store, where nobody would ever hear of their payment.
func (c *configurations) checkMove(to *vault) error {
	from, ok := c.newest(func(*vault) bool { return true })
	if !ok || from.key == to.key {
		return nil
	}
	open, err := from.openBills()
	switch {
	case err != nil:
		return fmt.Errorf("store: this is another store than the running one, whose open bills cannot be counted (%w): stop Caddy instead of reloading it", err)
	case open > 0:
		return fmt.Errorf("store: this is another store than the running one, which holds %d open bills: wait until they have ended, or stop Caddy, move the store, and start again", open)
	}
	return nil
}

func (v *vault) openBills() (int, error) {
	ctx, cancel := context.WithTimeout(context.Background(), leaseWait)
	defer cancel()
	s, release, err := v.lease(ctx)
	if err != nil {
		return 0, err
	}
	defer release()
	return s.OpenBills(ctx)
}
