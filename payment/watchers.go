package payment

import (
	"context"
	"sync"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

// watchers are the bills that somebody watches. However many watch one, the
// store is watched once for it and read once at each change.
type watchers struct {
	mu   sync.Mutex
	byID map[string]*relay
}

// join returns the relay of a bill, which works until everybody who joined it
// has left. The caller holds the store leased until then.
func (w *watchers) join(store bill.Store, id string) *relay {
	w.mu.Lock()
	defer w.mu.Unlock()
	r := w.byID[id]
	if r == nil {
		r = w.relay(store, id)
	}
	r.joined++
	return r
}

// leave returns once nothing uses the store any more on behalf of who leaves.
func (w *watchers) leave(r *relay) {
	w.mu.Lock()
	r.joined--
	last := r.joined == 0
	if last {
		w.forget(r)
	}
	w.mu.Unlock()
	if last {
		r.stop()
		<-r.ended
	}
}

// forget makes room for another relay of the same bill. The caller holds the
// lock.
func (w *watchers) forget(r *relay) {
	if w.byID[r.id] == r {
		delete(w.byID, r.id)
	}
}

// count returns how many follow a bill.
func (w *watchers) count() (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range w.byID {
		n += r.joined
	}
	return n
}

// ids returns the bills that somebody watches and that may still change by
// themselves. They are asked after at MinInterval, however old they are.
func (w *watchers) ids() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var ids []string
	for id, r := range w.byID {
		if r.open() {
			ids = append(ids, id)
		}
	}
	return ids
}

// relay hands the changes of one bill to all who watch it.
type relay struct {
	id     string
	joined int           // guarded by the lock of watchers
	stop   func()        // ends the store's watch and a read under way
	ended  chan struct{} // closed when the store is not used any more

	mu     sync.Mutex
	newest *bill.Bill // nil as long as nobody has read it
	to     map[chan *bill.Bill]struct{}
	closed bool
}

// relay starts one. The caller holds the lock.
func (w *watchers) relay(store bill.Store, id string) *relay {
	ctx, cancel := context.WithCancel(context.Background())
	versions, stop := store.Watch(id)
	r := &relay{
		id: id, ended: make(chan struct{}), to: make(map[chan *bill.Bill]struct{}),
		stop: func() { cancel(); stop() },
	}
	if w.byID == nil {
		w.byID = make(map[string]*relay)
	}
	w.byID[id] = r
	go func() {
		defer close(r.ended)
		r.read(ctx, store, versions)
		w.mu.Lock()
		w.forget(r) // who comes now finds a store that works, or is told that none does
		w.mu.Unlock()
		r.close()
	}()
	return r
}

// read hands out the bill at each change until the store's watch ends or the
// bill cannot be read: whoever watches comes again, or is told why not. It waits
// for hours, and leaves all that is large to a function that returns.
func (r *relay) read(ctx context.Context, store bill.Store, versions <-chan uint64) {
	for range versions {
		if !r.readOnce(ctx, store) {
			return
		}
	}
}

func (r *relay) readOnce(ctx context.Context, store bill.Store) bool {
	b, err := store.Bill(ctx, r.id)
	if err == nil {
		r.hand(&b)
	}
	return err == nil
}

// hand gives b to all who have only seen older versions.
func (r *relay) hand(b *bill.Bill) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed || r.newest != nil && b.Version <= r.newest.Version {
		return
	}
	r.newest = b
	for to := range r.to {
		put(to, b)
	}
}

// put replaces what was not received yet. It has room, since only its caller
// sends, under a lock.
func put(to chan *bill.Bill, b *bill.Bill) {
	select {
	case <-to:
	default:
	}
	to <- b
}

// follow returns where the versions after b will be found, b being what the
// caller has read since it joined.
func (r *relay) follow(b *bill.Bill) (changes <-chan *bill.Bill, leave func()) {
	r.hand(b) // may be news to others
	to := make(chan *bill.Bill, 1)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.newest != nil && r.newest.Version > b.Version {
		to <- r.newest
	}
	if r.closed {
		close(to)
		return to, func() {}
	}
	r.to[to] = struct{}{}
	return to, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.to, to)
	}
}

// close tells all who watch that no more is known.
func (r *relay) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	for to := range r.to {
		close(to)
	}
}

// open reports whether the bill is known and has not ended.
func (r *relay) open() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.newest != nil && !r.newest.Status.Final()
}
