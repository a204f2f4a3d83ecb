// Package store holds the stores that are open in this process. A reload of
// Caddy's configuration overlaps: the new one starts before the old one stops,
// and requests outlive both. So a store is opened once, leased to everyone who
// names it by the same key, and closed when the last lease is released and
// nobody holds it open any more.
//
// A store that breaks (see bill.Breakable) is leased to nobody else and closed
// as soon as its last lease is released, whoever holds it; then it is opened
// anew by the next who asks.
//
// It opens nothing by itself and knows no kind of store. The module holds a
// store open for as long as it runs, and leases it for each request.
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
// open, once however many ask at the same time; where it is closing or broken,
// it waits until it is closed, and then opens it anew. The wait ends with ctx.
// If open fails, or panics, everybody who waits gets the error, and the next
// Acquire tries again.
//
// The context that open gets has the values of ctx, and ends when nobody waits
// any more.
func Acquire(ctx context.Context, key string, open func(context.Context) (bill.Store, error)) (*Lease, error) {
	return process.acquire(ctx, key, open)
}

// TryAcquire leases the store with the given key if it is open and not broken,
// and never waits or opens one.
func TryAcquire(key string) (*Lease, bool) { return process.tryAcquire(key) }

// Has reports whether the store with the given key is open and not broken.
func Has(key string) bool { return process.has(key) }

// Hold keeps the store with the given key open between leases, if it is open
// and not broken, and never waits or opens one.
func Hold(key string) (*Holding, bool) { return process.hold(key) }

// Lease is the right to use an open store until Release.
type Lease struct {
	registry *registry
	entry    *entry
	once     sync.Once
}

// Store returns the leased store, which must not be used after Release, nor be
// closed.
func (l *Lease) Store() bill.Store { return l.entry.store }

// Release gives the lease back; the last one closes the store, unless it is
// held, and returns when that is done. Closing a broken store may take as long
// as what broke it lasts: then Release does not wait. Calls after the first do
// nothing.
func (l *Lease) Release() {
	l.once.Do(func() { l.registry.release(l.entry) })
}

// Holding keeps a store open until Release, or until the store breaks. It is
// no right to use the store.
type Holding struct {
	registry *registry
	entry    *entry
	once     sync.Once
}

// Lost returns what broke the store, so that it is held no more, or nil.
func (h *Holding) Lost() error { return bill.Broken(h.entry.store) }

// Release gives the holding up; where there is no lease either, it closes the
// store as the last Lease.Release does. Calls after the first do nothing.
func (h *Holding) Release() {
	h.once.Do(func() { h.registry.letGo(h.entry) })
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
	holds  int // count only while the store is not broken
	giveUp context.CancelFunc

	opened chan struct{} // closed when open has returned
	gone   chan struct{} // closed when the key is free again
	store  bill.Store
	err    error
}

// serves reports whether new leases may be given. The caller holds the
// registry's lock.
func (e *entry) serves() bool { return e.state == stateOpen && bill.Broken(e.store) == nil }

// leave moves an open entry that nobody needs any more on to closing, and
// reports whether it did: then the caller has to end it. The caller holds the
// registry's lock.
func (e *entry) leave() bool {
	if e.state != stateOpen || e.leases > 0 || e.holds > 0 && bill.Broken(e.store) == nil {
		return false
	}
	e.state = stateClosing
	return true
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
	if e.state != stateOpening && !e.serves() {
		r.retire(e)
		return e, false
	}
	e.leases++
	return e, true
}

// retire sees to it that a broken store which is held, and leased to nobody,
// is closed. The caller holds the lock.
func (r *registry) retire(e *entry) {
	if e.leave() {
		go r.end(e)
	}
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
	unwanted := e.state == stateOpening && e.leases == 0
	if unwanted {
		e.state = stateClosing
	}
	left := e.leave()
	r.mu.Unlock()
	switch {
	case unwanted:
		e.giveUp() // the opening goroutine sees to the rest
	case left:
		r.endAfter(e)
	}
}

func (r *registry) letGo(e *entry) {
	r.mu.Lock()
	e.holds--
	left := e.leave()
	r.mu.Unlock()
	if left {
		r.endAfter(e)
	}
}

// endAfter ends an entry for its last user, who is not to be held up by what
// broke the store.
func (r *registry) endAfter(e *entry) {
	if bill.Broken(e.store) != nil {
		go r.end(e)
		return
	}
	r.end(e)
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
	e, ok := r.serving(key)
	if !ok {
		return nil, false
	}
	e.leases++
	return &Lease{registry: r, entry: e}, true
}

func (r *registry) hold(key string) (*Holding, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e, ok := r.serving(key)
	if !ok {
		return nil, false
	}
	e.holds++
	return &Holding{registry: r, entry: e}, true
}

func (r *registry) has(key string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, ok := r.serving(key)
	return ok
}

// serving returns the entry of a store that may be used. The caller holds the
// lock.
func (r *registry) serving(key string) (*entry, bool) {
	e, ok := r.entries[key]
	return e, ok && e.serves()
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
