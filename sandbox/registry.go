package sandbox

import (
	"errors"
	"fmt"
	"sync"
)

// errReleased is what a request gets that comes after the last configuration
// with this ledger has gone.
var errReleased = errors.New("the sandbox's configuration has been unloaded")

// ledgers are all ledgers of the process. A reload provisions the new
// configuration before it cleans up the old one, so both hold the same slot
// for a moment, and what is in memory survives.
var ledgers = registry{slots: make(map[string]*slot)}

type registry struct {
	mu    sync.Mutex
	slots map[string]*slot
}

// slot is one ledger, open or not yet.
type slot struct {
	key  string
	open func() (*ledger, error)
	refs int // guarded by registry.mu

	mu  sync.Mutex // serializes opening
	led *ledger
}

// hold is one user's claim on a slot.
type hold struct {
	registry *registry
	slot     *slot
	once     sync.Once
	err      error
}

// hold claims the slot of key; open is called with the first lease. It waits
// while the slot's last user closes it.
func (r *registry) hold(key string, open func() (*ledger, error)) *hold {
	r.mu.Lock()
	defer r.mu.Unlock()
	sl := r.slots[key]
	if sl == nil {
		sl = &slot{key: key, open: open}
		r.slots[key] = sl
	}
	sl.refs++
	return &hold{registry: r, slot: sl}
}

// release gives the claim up, once however often it is called.
func (h *hold) release() error {
	h.once.Do(func() { h.err = h.registry.drop(h.slot) })
	return h.err
}

// drop closes the slot with its last user. The lock is kept meanwhile, so that
// nobody opens a file that is still being closed.
func (r *registry) drop(sl *slot) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	sl.refs--
	if sl.refs > 0 {
		return nil
	}
	delete(r.slots, sl.key)
	if sl.led == nil {
		return nil
	}
	return sl.led.close()
}

// lease gives the open ledger to one request; the ledger stays open until the
// returned function is called, even where the configuration goes meanwhile. A
// failure to open is tried again with the next lease.
func (h *hold) lease() (*ledger, func(), error) {
	r, sl := h.registry, h.slot
	r.mu.Lock()
	if sl.refs == 0 {
		r.mu.Unlock()
		return nil, nil, errReleased
	}
	sl.refs++
	r.mu.Unlock()

	led, err := sl.opened()
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("opening the ledger: %w", err), r.drop(sl))
	}
	return led, func() { _ = r.drop(sl) }, nil
}

func (sl *slot) opened() (*ledger, error) {
	sl.mu.Lock()
	defer sl.mu.Unlock()
	if sl.led != nil {
		return sl.led, nil
	}
	led, err := sl.open()
	if err != nil {
		return nil, err
	}
	sl.led = led
	return led, nil
}
