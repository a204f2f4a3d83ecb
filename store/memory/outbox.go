package memory

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

// pendingKey is the place of the one notification to a URL about an order that
// may be pending.
type pendingKey struct {
	url   string
	order bill.OrderKey
}

func pendingKeyOf(n bill.Notification) pendingKey { return pendingKey{n.URL, n.OrderKey()} }

// expectedNotifications reports whether every revision follows the one that is
// held, and at most one of a URL and an order is pending afterwards.
func (s *store) expectedNotifications(notifications []bill.Notification) bool {
	changed := make(map[string]bool)
	for _, n := range notifications {
		if changed[n.ID] || n.Revision != s.outbox[n.ID].Revision+1 {
			return false
		}
		changed[n.ID] = true
	}
	taken := make(map[pendingKey]bool)
	for _, n := range notifications {
		if n.State != bill.Pending {
			continue
		}
		key := pendingKeyOf(n)
		// A holder that is in the change has left the place, or takes it anew.
		if holder, held := s.pending[key]; taken[key] || held && !changed[holder] {
			return false
		}
		taken[key] = true
	}
	return true
}

// writeNotification leaves a place only while it is still n's: one that came
// earlier in the change may have taken it. One that is superseded may be on its
// way, and stays leased to whom delivers it.
func (s *store) writeNotification(n bill.Notification) {
	if n.State != bill.Superseded {
		delete(s.told, n.ID)
	}
	if key := pendingKeyOf(s.outbox[n.ID]); s.pending[key] == n.ID {
		delete(s.pending, key)
	}
	s.outbox[n.ID] = n
	if n.State == bill.Pending {
		s.pending[pendingKeyOf(n)] = n.ID
	}
}

func (s *store) Notification(ctx context.Context, id string) (bill.Notification, error) {
	return find(ctx, s, s.outbox, id)
}

func (s *store) PendingNotification(ctx context.Context, url string, key bill.OrderKey) (bill.Notification, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if err := s.usable(ctx); err != nil {
		return bill.Notification{}, err
	}
	id, ok := s.pending[pendingKey{url, key}]
	if !ok {
		return bill.Notification{}, bill.ErrNotFound
	}
	return s.outbox[id], nil
}

// Notifications sorts all notifications about the bill.
func (s *store) Notifications(ctx context.Context, billID string) ([]bill.Notification, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if err := s.usable(ctx); err != nil {
		return nil, err
	}
	return s.notifications(billID), nil
}

// notifications must be called under the lock.
func (s *store) notifications(billID string) []bill.Notification {
	var about []bill.Notification
	for _, n := range s.outbox {
		if n.Bill == billID {
			about = append(about, n)
		}
	}
	slices.SortFunc(about, func(a, b bill.Notification) int {
		return cmp.Or(cmp.Compare(a.Sequence, b.Sequence), strings.Compare(a.ID, b.ID))
	})
	return about
}

// DueNotifications sorts all notifications that are due.
func (s *store) DueNotifications(ctx context.Context, until time.Time, limit int) ([]string, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if err := s.usable(ctx); err != nil {
		return nil, err
	}
	return dueOf(s.outbox, until, limit, func(_ string, n bill.Notification) (time.Time, bool) { return n.Due, true }), nil
}
