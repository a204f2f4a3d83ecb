package memory

import (
	"context"
	"maps"
	"time"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

// lease says whose a piece of work is, and until when.
type lease struct {
	holder string
	end    time.Time
}

// leases are those of bills, or of notifications, by id.
type leases map[string]lease

// lapse drops those that are over: what is there then, is held.
func (l leases) lapse(now time.Time) {
	maps.DeleteFunc(l, func(_ string, held lease) bool { return !now.Before(held.end) })
}

// others reports whether somebody but the holder has it.
func (l leases) others(id, holder string) bool {
	held, ok := l[id]
	return ok && held.holder != holder
}

func (l leases) take(ids []string, asked bill.Lease, now time.Time) {
	for _, id := range ids {
		l[id] = lease{asked.Holder, now.Add(asked.For)}
	}
}

func (l leases) release(holder string) {
	maps.DeleteFunc(l, func(_ string, held lease) bool { return held.holder == holder })
}

// LeaseDue sorts all bills that are due and nobody else's.
func (s *store) LeaseDue(ctx context.Context, asked bill.Lease) ([]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(ctx); err != nil {
		return nil, err
	}
	now := time.Now()
	s.asked.lapse(now)
	ids := dueOf(s.bills, asked.Until, asked.Limit, func(id string, b bill.Bill) (time.Time, bool) {
		return b.Due, !s.asked.others(id, asked.Holder)
	})
	s.asked.take(ids, asked, now)
	return ids, nil
}

// LeaseDueNotifications sorts all notifications that are due and wait for
// nobody else's.
func (s *store) LeaseDueNotifications(ctx context.Context, asked bill.Lease) ([]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(ctx); err != nil {
		return nil, err
	}
	now := time.Now()
	s.told.lapse(now)
	busy := make(map[pendingKey]bool)
	for id := range s.told {
		if s.told.others(id, asked.Holder) {
			busy[pendingKeyOf(s.outbox[id])] = true
		}
	}
	ids := dueOf(s.outbox, asked.Until, asked.Limit, func(_ string, n bill.Notification) (time.Time, bool) {
		return n.Due, !busy[pendingKeyOf(n)]
	})
	s.told.take(ids, asked, now)
	return ids, nil
}

// ReleaseNotification ends one lease, where it is the holder's.
func (s *store) ReleaseNotification(ctx context.Context, holder, id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(ctx); err != nil {
		return err
	}
	if !s.told.others(id, holder) {
		delete(s.told, id)
	}
	return nil
}

// Release ends all of a holder's leases.
func (s *store) Release(ctx context.Context, holder string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(ctx); err != nil {
		return err
	}
	s.asked.release(holder)
	s.told.release(holder)
	return nil
}

// Interface guard
var _ bill.Leaser = (*store)(nil)
