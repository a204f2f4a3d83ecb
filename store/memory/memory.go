// Package memory is the reference for who writes a store: everything that
// bill.Store and bill.Leaser promise, except durability, with maps under one
// lock. It is the guest module qlink.stores.memory, for tests and try-outs.
//
// It never touches a disk, and its scans and listings go through all records.
// The engine calls it, and tests that need a store.
package memory

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/store/internal/codec"
	"github.com/caddy-qlink/caddy-qlink/store/internal/watch"
)

type orphanKey struct{ ledger, id string }

// store implements bill.Store.
type store struct {
	mu      sync.RWMutex
	closed  bool
	bills   map[string]bill.Bill
	details map[string]bill.Details
	history map[string][]bill.Event
	orders  map[bill.OrderKey]bill.OrderRecord
	answers map[string]bill.Idempotency
	orphans map[orphanKey]bill.Orphan
	outbox  map[string]bill.Notification
	pending map[pendingKey]string // ids
	asked   leases                // of bills
	told    leases                // of notifications
	hub     watch.Hub

	migration bill.Migration
}

// New returns an empty store.
func New() bill.Store {
	return &store{
		bills:   make(map[string]bill.Bill),
		details: make(map[string]bill.Details),
		history: make(map[string][]bill.Event),
		orders:  make(map[bill.OrderKey]bill.OrderRecord),
		answers: make(map[string]bill.Idempotency),
		orphans: make(map[orphanKey]bill.Orphan),
		outbox:  make(map[string]bill.Notification),
		pending: make(map[pendingKey]string),
		asked:   make(leases),
		told:    make(leases),
	}
}

// usable must be called under the lock.
func (s *store) usable(ctx context.Context) error {
	if s.closed {
		return bill.ErrUnavailable
	}
	return ctx.Err()
}

// Commit writes all of the change, or nothing.
func (s *store) Commit(ctx context.Context, given bill.Change) error {
	c, err := detached(given)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(ctx); err != nil {
		return err
	}
	if err := s.moved(); err != nil {
		return err
	}
	if !s.expected(c) {
		return bill.ErrConflict
	}
	s.write(c)
	return nil
}

// detached returns a copy of a change that shares no memory with it, and that
// has been through what a store on disk would put it through.
func detached(c bill.Change) (bill.Change, error) {
	data, err := codec.Marshal(c)
	if err != nil {
		return bill.Change{}, err
	}
	detached, err := codec.Unmarshal[bill.Change](data)
	if err != nil {
		return bill.Change{}, err
	}
	if c.Order != nil {
		detached.Order.Key = c.Order.Key
	}
	if c.Idempotency != nil {
		detached.Idempotency.Key, detached.Idempotency.At = c.Idempotency.Key, c.Idempotency.At
	}
	return detached, nil
}

// expected reports whether every revision in c follows the one that is held.
func (s *store) expected(c bill.Change) bool {
	if c.Order != nil && c.Order.Revision != s.orders[c.Order.Key].Revision+1 {
		return false
	}
	if c.Idempotency != nil {
		if held, ok := s.answers[c.Idempotency.Key]; ok && !held.GivesWay(*c.Idempotency) {
			return false
		}
	}
	if c.Orphan != nil && c.Orphan.Resolved != nil {
		if _, held := s.orphans[orphanKey{c.Orphan.Ledger, c.Orphan.ID}]; !held {
			return false
		}
	}
	seen := make(map[string]bool)
	for _, change := range c.Bills {
		id := change.Bill.ID
		if seen[id] || change.Bill.Revision != s.bills[id].Revision+1 {
			return false
		}
		if change.Forget && slices.ContainsFunc(s.notifications(id), bill.Notification.Undelivered) {
			return false
		}
		seen[id] = true
	}
	return s.expectedNotifications(c.Notifications)
}

func (s *store) write(c bill.Change) {
	if c.Order != nil {
		s.orders[c.Order.Key] = *c.Order
	}
	if c.Idempotency != nil {
		answer := *c.Idempotency
		answer.At = time.Time{} // not stored
		s.answers[answer.Key] = answer
	}
	if c.Orphan != nil {
		key := orphanKey{c.Orphan.Ledger, c.Orphan.ID}
		if _, kept := s.orphans[key]; !kept || c.Orphan.Resolved != nil {
			s.orphans[key] = *c.Orphan
		}
	}
	for _, change := range c.Bills {
		s.writeBill(change)
	}
	for _, n := range c.Notifications {
		s.writeNotification(n)
	}
}

func (s *store) writeBill(c bill.BillChange) {
	id := c.Bill.ID
	moved := s.bills[id].Version != c.Bill.Version
	s.bills[id] = c.Bill
	delete(s.asked, id)
	if c.Forget {
		delete(s.details, id)
		delete(s.history, id)
		for _, n := range s.notifications(id) {
			delete(s.outbox, n.ID)
			delete(s.told, n.ID)
		}
	}
	if c.Details != nil {
		s.details[id] = *c.Details
	}
	s.history[id] = append(s.history[id], c.Events...)
	if moved {
		s.hub.Tell(id, c.Bill.Version)
	}
}

// find looks one record up, under the lock.
func find[K comparable, V any](ctx context.Context, s *store, records map[K]V, key K) (V, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var none V
	if err := s.usable(ctx); err != nil {
		return none, err
	}
	record, ok := records[key]
	if !ok {
		return none, bill.ErrNotFound
	}
	return record, nil
}

func (s *store) Bill(ctx context.Context, id string) (bill.Bill, error) {
	return find(ctx, s, s.bills, id)
}

func (s *store) Details(ctx context.Context, id string) (bill.Details, error) {
	d, err := find(ctx, s, s.details, id)
	d.Items = append([]bill.Item(nil), d.Items...)
	return d, err
}

func (s *store) Order(ctx context.Context, key bill.OrderKey) (bill.OrderRecord, error) {
	r, err := find(ctx, s, s.orders, key)
	r.Attempts = append([]bill.Attempt(nil), r.Attempts...)
	return r, err
}

func (s *store) History(ctx context.Context, id string) ([]bill.Event, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if err := s.usable(ctx); err != nil {
		return nil, err
	}
	return append([]bill.Event(nil), s.history[id]...), nil
}

func (s *store) Idempotent(ctx context.Context, key string, now time.Time) (bill.Idempotency, error) {
	answer, err := find(ctx, s, s.answers, key)
	if err == nil && !now.Before(answer.ExpiresAt) {
		return bill.Idempotency{}, bill.ErrNotFound
	}
	return answer, err
}

func (s *store) Watch(id string) (versions <-chan uint64, stop func()) {
	return s.hub.Watch(id)
}

func (s *store) WatchAll() bill.Feed { return s.hub.All() }

func (s *store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return bill.ErrUnavailable
	}
	s.closed = true
	s.hub.Close()
	return nil
}
