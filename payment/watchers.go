package payment

import (
	"context"
	"maps"
	"slices"
	"sync"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

// watchers are the bills that somebody watches. However many watch, a store is
// watched once, and a bill is read once at each change.
type watchers struct {
	mu      sync.Mutex
	byStore map[bill.Store]*follower
}

// follower hears of all changes of a store, on behalf of all who watch a bill of
// it. A bill costs no goroutine until it changes.
type follower struct {
	store  bill.Store
	relays map[string]*relay // by bill; guarded by the lock of watchers
	joined int               // relays that were not left, also those that are forgotten; likewise
	stop   context.CancelFunc
	ended  chan struct{} // closed when the store is not followed any more
}

// join returns the relay of a bill, which works until everybody who joined it
// has left. The caller holds the store leased until then.
func (w *watchers) join(store bill.Store, id string) *relay {
	w.mu.Lock()
	defer w.mu.Unlock()
	f := w.byStore[store]
	if f == nil {
		f = w.follow(store)
	}
	r := f.relays[id]
	if r == nil {
		r = &relay{id: id, follower: f, to: make(map[chan *bill.Bill]struct{})}
		f.relays[id] = r
		f.joined++
	}
	r.joined++
	return r
}

// leave returns once nothing uses the store any more on behalf of who leaves.
func (w *watchers) leave(r *relay) {
	w.mu.Lock()
	f := r.follower
	r.joined--
	left, alone := r.joined == 0, false
	if left {
		w.forget(r)
		f.joined--
		if alone = f.joined == 0; alone {
			w.drop(f)
		}
	}
	w.mu.Unlock()
	if left {
		r.close()
		r.reads.Wait()
	}
	if alone {
		f.stop()
		<-f.ended
	}
}

// forget makes room for another relay of the same bill. The caller holds the
// lock.
func (w *watchers) forget(r *relay) {
	if r.follower.relays[r.id] == r {
		delete(r.follower.relays, r.id)
	}
}

// drop makes room for another follower of the same store. The caller holds the
// lock.
func (w *watchers) drop(f *follower) {
	if w.byStore[f.store] == f {
		delete(w.byStore, f.store)
	}
}

// count returns how many follow a bill.
func (w *watchers) count() (n int) {
	w.each(func(r *relay) { n += r.joined })
	return n
}

// ids returns the bills that somebody watches and that may still change by
// themselves. They are asked after at MinInterval, however old they are.
func (w *watchers) ids() (ids []string) {
	w.each(func(r *relay) {
		if r.open() {
			ids = append(ids, r.id)
		}
	})
	return ids
}

func (w *watchers) each(do func(*relay)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, f := range w.byStore {
		for _, r := range f.relays {
			do(r)
		}
	}
}

// follow starts a follower. The caller holds the lock.
func (w *watchers) follow(store bill.Store) *follower {
	ctx, cancel := context.WithCancel(context.Background())
	f := &follower{store: store, relays: make(map[string]*relay), stop: cancel, ended: make(chan struct{})}
	if w.byStore == nil {
		w.byStore = make(map[bill.Store]*follower)
	}
	w.byStore[store] = f
	go f.run(ctx, w, store.WatchAll()) // from now on, not from when it runs
	return f
}

// run has bills read at each change, until ctx or the feed ends.
func (f *follower) run(ctx context.Context, w *watchers, feed bill.Feed) {
	defer close(f.ended)
	defer feed.Stop()
	for {
		ids, err := feed.Next(ctx)
		if err != nil {
			break
		}
		for _, r := range w.relaysOf(f, ids) {
			r.changed(w)
		}
	}
	w.mu.Lock()
	w.drop(f) // who comes now finds a store that works, or is told that none does
	relays := slices.Collect(maps.Values(f.relays))
	w.mu.Unlock()
	for _, r := range relays {
		r.close()
	}
}

func (w *watchers) relaysOf(f *follower, ids []string) (relays []*relay) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, id := range ids {
		if r := f.relays[id]; r != nil {
			relays = append(relays, r)
		}
	}
	return relays
}

// relay hands the changes of one bill to all who watch it.
type relay struct {
	id       string
	follower *follower
	joined   int            // guarded by the lock of watchers
	reads    sync.WaitGroup // that use the store; none begins once it is closed

	mu     sync.Mutex
	newest *bill.Bill // nil as long as nobody has read it
	to     map[chan *bill.Bill]struct{}
	closed bool
	end    context.CancelFunc // of the read under way; nil: there is none
	again  bool               // the bill has changed since that began
}

// changed has the bill read: once more, where it is being read.
func (r *relay) changed(w *watchers) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.closed:
	case r.end != nil:
		r.again = true
	default:
		ctx, cancel := context.WithCancel(context.Background())
		r.end = cancel
		r.reads.Go(func() { r.read(ctx, w) })
	}
}

// read hands out the bill. Where it cannot be read, whoever watches comes again,
// or is told why not.
func (r *relay) read(ctx context.Context, w *watchers) {
	for more := true; more; more = r.more() {
		b, err := r.follower.store.Bill(ctx, r.id)
		if err != nil {
			w.mu.Lock()
			w.forget(r)
			w.mu.Unlock()
			r.close()
			return
		}
		r.hand(&b)
	}
}

// more reports whether the bill is to be read again; if not, the read has ended.
func (r *relay) more() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.again && !r.closed {
		r.again = false
		return true
	}
	r.end()
	r.end = nil
	return false
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

// close tells all who watch that no more is known, and ends the read under way.
func (r *relay) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return
	}
	r.closed = true
	if r.end != nil {
		r.end()
	}
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
