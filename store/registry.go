// Package store holds the stores that are open in this process. A reload of
// Caddy's configuration overlaps: the new one starts before the old one stops,
// and requests outlive both. So a store is opened once, leased to everyone who
// names it by the same key, and closed when the last lease is released.
//
// It opens nothing by itself and knows no kind of store. The module leases a
// store for as long as it runs, and for each request.
package store

import (
	"context"
	"fmt"
	"sync"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

// process is the registry of this process; tests make their own.
var process registry

// Acquire leases the store with the given key. Where it is not open, it calls
// open, once however many ask at the same time; where it is closing, it waits
// and then opens it anew. The wait ends with ctx. If open fails, or panics,
// everybody who waits gets the error, and the next Acquire tries again.
//
// The context that open gets has the values of ctx, and ends when nobody waits
// any more.
func Acquire(ctx context.Context, key string, open func(context.Context) (bill.Store, error)) (*Lease, error) {
	return process.acquire(ctx, key, open)
}

// TryAcquire leases the store with the given key if it is open, and never
// waits or opens one.
func TryAcquire(key string) (*Lease, bool) { return process.tryAcquire(key) }

// Has reports whether the store with the given key is open.
func Has(key string) bool { return process.has(key) }

// Lease is the right to use an open store until Release.
type Lease struct {
	registry *registry
	entry    *entry
	once     sync.Once
}

// Store returns the leased store, which must not be used after Release, nor be
// closed.
func (l *Lease) Store() bill.Store { return l.entry.store }

// Release gives the lease back; the last one closes the store and returns when
// that is done. Calls after the first do nothing.
func (l *Lease) Release() {
	l.once.Do(func() { l.registry.release(l.entry) })
}

// state is how far an entry has come. It only moves forward; what comes after
// closing is a new entry.
type state int

const (
	stateOpening state = iota
	stateOpen
	stateClosing // also: failed to open, or nobody wanted it any more while it opened
)

// entry is one store from the call of open to its end. Its fields but store
// and err are guarded by the registry's lock; those two are set before opened
// is closed.
type entry struct {
	key    string
	state  state
	leases int // those who wait while it opens are counted too
	giveUp context.CancelFunc

	opened chan struct{} // closed when open has returned
	gone   chan struct{} // closed when the key is free again
	store  bill.Store
	err    error
}

// registry maps keys to entries. The zero value is ready for use.
type registry struct {
	mu      sync.Mutex
	entries map[string]*entry
}

func (r *registry) acquire(ctx context.Context, key string, open func(context.Context) (bill.Store, error)) (*Lease, error) {
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		e, joined := r.join(ctx, key, open)
		if joined {
			return r.await(ctx, e)
		}
		select {
		case <-e.gone:
		case <-ctx.Done():
			return nil, fmt.Errorf("waiting for the store to close: %w", ctx.Err())
		}
	}
}

// join counts the caller in at the entry for key, making one if there is none.
// It returns false, and the entry to wait for, if that one is at its end.
func (r *registry) join(ctx context.Context, key string, open func(context.Context) (bill.Store, error)) (*entry, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e, ok := r.entries[key]
	if !ok {
		wanted, giveUp := context.WithCancel(context.WithoutCancel(ctx))
		e = &entry{key: key, giveUp: giveUp, opened: make(chan struct{}), gone: make(chan struct{})}
		if r.entries == nil {
			r.entries = make(map[string]*entry)
		}
		r.entries[key] = e
		go r.open(wanted, e, open)
	}
	if e.state == stateClosing {
		return e, false
	}
	e.leases++
	return e, true
}

// await waits for an entry that the caller is counted in at.
func (r *registry) await(ctx context.Context, e *entry) (*Lease, error) {
	select {
	case <-e.opened:
	case <-ctx.Done():
		r.release(e)
		return nil, fmt.Errorf("waiting for the store to open: %w", ctx.Err())
	}
	if e.err != nil {
		return nil, e.err
	}
	return &Lease{registry: r, entry: e}, nil
}

// open runs in a goroutine of its own, so that who gives up waiting can leave
// while the others go on.
func (r *registry) open(ctx context.Context, e *entry, open func(context.Context) (bill.Store, error)) {
	defer e.giveUp()
	e.store, e.err = recovered(func() (bill.Store, error) { return open(ctx) })
	if !r.settle(e) {
		r.end(e)
	}
	close(e.opened)
}

// settle moves an entry on from opening, and reports whether its store is
// there and wanted.
func (r *registry) settle(e *entry) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e.err != nil || e.leases == 0 {
		e.state = stateClosing
		return false
	}
	e.state = stateOpen
	return true
}

// release counts one out. Who waited for a failed opening has nothing to
// release, as the entry is at its end.
func (r *registry) release(e *entry) {
	r.mu.Lock()
	e.leases--
	last := e.leases == 0
	was := e.state
	if last {
		e.state = stateClosing
	}
	r.mu.Unlock()
	switch {
	case !last:
	case was == stateOpening:
		e.giveUp() // the opening goroutine sees to the rest
	case was == stateOpen:
		r.end(e)
	}
}

// end closes the store, if there is one, and frees the key.
func (r *registry) end(e *entry) {
	if e.store != nil {
		_, err := recovered(func() (bill.Store, error) { return nil, e.store.Close() })
		if err != nil {
			caddy.Log().Named("qlink.store").Error("a store was not closed cleanly", zap.Error(err)) // its key may hold a password
		}
	}
	r.mu.Lock()
	delete(r.entries, e.key)
	r.mu.Unlock()
	close(e.gone)
}

func (r *registry) tryAcquire(key string) (*Lease, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e, ok := r.entries[key]
	if !ok || e.state != stateOpen {
		return nil, false
	}
	e.leases++
	return &Lease{registry: r, entry: e}, true
}

func (r *registry) has(key string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	e, ok := r.entries[key]
	return ok && e.state == stateOpen
}

// recovered turns a panic into an error: a store's fault must neither lock its
// key for ever nor end the process.
func recovered(call func() (bill.Store, error)) (store bill.Store, err error) {
	defer func() {
		if p := recover(); p != nil {
			store, err = nil, fmt.Errorf("panic in the store: %v", p)
		}
	}()
	return call()
}
