package memory

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/store/internal/codec"
	"github.com/caddy-qlink/caddy-qlink/store/internal/cursor"
)

// The largest page, whatever is asked for.
const maxPage = 1000

// place is where a bill stands in the listing: newest first, and by id where
// two are equally new.
type place struct {
	CreatedAt time.Time `json:"createdAt"`
	ID        string    `json:"id"`
}

func (p place) compare(q place) int {
	return cmp.Or(q.CreatedAt.Compare(p.CreatedAt), strings.Compare(p.ID, q.ID))
}

func placeOf(b bill.Bill) place { return place{b.CreatedAt, b.ID} }

// List sorts all bills that q selects, and cuts the page out.
func (s *store) List(ctx context.Context, q bill.Query) (page []bill.Bill, next string, err error) {
	after, err := decode[place]("bills", q.Cursor)
	if err != nil {
		return nil, "", err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if err := s.usable(ctx); err != nil {
		return nil, "", err
	}
	for _, b := range s.bills {
		if s.selects(q, b) && (after == nil || placeOf(b).compare(*after) > 0) {
			page = append(page, b)
		}
	}
	return cutOut("bills", page, q.Limit, placeOf)
}

// cutOut sorts what is left of a listing, and cuts the page out.
func cutOut[V any, P interface{ compare(P) int }](listing string, all []V, limit int, placeOf func(V) P) (page []V, next string, err error) {
	slices.SortFunc(all, func(a, b V) int { return placeOf(a).compare(placeOf(b)) })
	limit = clamp(limit)
	if len(all) <= limit {
		return all, "", nil
	}
	next, err = encode(listing, placeOf(all[limit-1]))
	return all[:limit:limit], next, err
}

// selects must be called under the lock.
func (s *store) selects(q bill.Query, b bill.Bill) bool {
	return q.Selects(b) && (!q.Untold || slices.ContainsFunc(s.notifications(b.ID), bill.Notification.Undelivered))
}

// Find looks through all bills.
func (s *store) Find(ctx context.Context, name string, limit int) ([]bill.Bill, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if err := s.usable(ctx); err != nil {
		return nil, err
	}
	var found []bill.Bill
	for _, b := range s.bills {
		if name != "" && slices.Contains([]string{b.ID, b.OrderCode, b.BillCode, b.PaymentRequestID}, name) {
			found = append(found, b)
		}
	}
	slices.SortFunc(found, func(a, b bill.Bill) int { return placeOf(a).compare(placeOf(b)) })
	return found[:min(max(limit, 0), len(found))], nil
}

// ListNotifications sorts all notifications that q selects, and cuts the page
// out.
func (s *store) ListNotifications(ctx context.Context, q bill.NotificationQuery) (page []bill.Notification, next string, err error) {
	after, err := decode[place]("notifications", q.Cursor)
	if err != nil {
		return nil, "", err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if err := s.usable(ctx); err != nil {
		return nil, "", err
	}
	placeOf := func(n bill.Notification) place { return place{n.CreatedAt, n.ID} }
	for _, n := range s.outbox {
		if (q.State == "" || q.State == n.State) && !n.CreatedAt.Before(q.Since) && (after == nil || placeOf(n).compare(*after) > 0) {
			page = append(page, n)
		}
	}
	return cutOut("notifications", page, q.Limit, placeOf)
}

// Counts goes through all that there is.
func (s *store) Counts(ctx context.Context) (bill.Counts, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if err := s.usable(ctx); err != nil {
		return bill.Counts{}, err
	}
	c := bill.Counts{Bills: make(map[bill.Status]uint64), Notifications: make(map[bill.NotificationState]uint64)}
	for _, b := range s.bills {
		c.Bills[b.Status]++
		c.Late += one(b.LatePayment)
		c.Refunds += one(b.RefundDue)
		c.OldestDue = earlier(c.OldestDue, b.Due)
	}
	for _, n := range s.outbox {
		c.Notifications[n.State]++
		if n.State == bill.Pending {
			c.OldestPending = earlier(c.OldestPending, n.CreatedAt)
		}
	}
	for _, o := range s.orphans {
		c.Orphans += one(o.Resolved == nil)
	}
	return c, nil
}

func one(condition bool) uint64 {
	if condition {
		return 1
	}
	return 0
}

// earlier returns the earlier of two times; a zero one is none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// orphanPlace is where an orphan stands in the listing.
type orphanPlace struct {
	Ledger string `json:"ledger"`
	ID     string `json:"id"`
}

func (p orphanPlace) compare(q orphanPlace) int {
	return cmp.Or(strings.Compare(p.Ledger, q.Ledger), strings.Compare(p.ID, q.ID))
}

func orphanPlaceOf(o bill.Orphan) orphanPlace { return orphanPlace{o.Ledger, o.ID} }

// Orphans sorts all orphans, and cuts the page out.
func (s *store) Orphans(ctx context.Context, cursor string, limit int) (page []bill.Orphan, next string, err error) {
	after, err := decode[orphanPlace]("orphans", cursor)
	if err != nil {
		return nil, "", err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if err := s.usable(ctx); err != nil {
		return nil, "", err
	}
	for _, o := range s.orphans {
		if after == nil || orphanPlaceOf(o).compare(*after) > 0 {
			page = append(page, o)
		}
	}
	return cutOut("orphans", page, limit, orphanPlaceOf)
}

// Due sorts all bills that are due.
func (s *store) Due(ctx context.Context, until time.Time, limit int) ([]string, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if err := s.usable(ctx); err != nil {
		return nil, err
	}
	return dueOf(s.bills, until, limit, func(_ string, b bill.Bill) (time.Time, bool) { return b.Due, true }), nil
}

// dueOf returns the ids of at most limit records that are due and wanted, the
// longest due first.
func dueOf[V any](records map[string]V, until time.Time, limit int, due func(id string, record V) (at time.Time, wanted bool)) []string {
	var ids []string
	times := make(map[string]time.Time)
	for id, record := range records {
		if at, wanted := due(id, record); wanted && !at.IsZero() && !at.After(until) {
			ids, times[id] = append(ids, id), at
		}
	}
	slices.SortFunc(ids, func(a, b string) int { return cmp.Or(times[a].Compare(times[b]), strings.Compare(a, b)) })
	return ids[:min(max(limit, 0), len(ids))]
}

// endedPlace is where a bill stands among those that have ended.
type endedPlace struct {
	At time.Time `json:"at"`
	ID string    `json:"id"`
}

func (p endedPlace) compare(q endedPlace) int {
	return cmp.Or(p.At.Compare(q.At), strings.Compare(p.ID, q.ID))
}

// Ended sorts all bills that can be forgotten, and cuts the page out.
func (s *store) Ended(ctx context.Context, until time.Time, cursor string, limit int) (page []string, next string, err error) {
	after, err := decode[endedPlace]("ended", cursor)
	if err != nil {
		return nil, "", err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if err := s.usable(ctx); err != nil {
		return nil, "", err
	}
	var places []endedPlace
	for _, b := range s.bills {
		p := endedPlace{b.UpdatedAt, b.ID}
		if b.Forgettable() && !p.At.After(until) && (after == nil || p.compare(*after) > 0) {
			places = append(places, p)
		}
	}
	places, next, err = cutOut("ended", places, limit, func(p endedPlace) endedPlace { return p })
	for _, p := range places {
		page = append(page, p.ID)
	}
	return page, next, err
}

// OpenBills counts the bills that have not ended.
func (s *store) OpenBills(ctx context.Context) (int, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if err := s.usable(ctx); err != nil {
		return 0, err
	}
	count := 0
	for _, b := range s.bills {
		if !b.Status.Final() {
			count++
		}
	}
	return count, nil
}

// OpenBillsOf counts those of one client.
func (s *store) OpenBillsOf(ctx context.Context, client string, limit int) (int, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if err := s.usable(ctx); err != nil {
		return 0, err
	}
	count := 0
	for _, b := range s.bills {
		if !b.Status.Final() && b.Client != "" && b.Client == client {
			count++
		}
	}
	return min(count, max(limit, 0)), nil
}

func clamp(limit int) int { return min(max(limit, 1), maxPage) }

func encode(listing string, position any) (string, error) {
	data, err := codec.Marshal(position)
	return cursor.Encode(listing, data), err
}

// decode returns nil for the cursor of the first page.
func decode[T any](listing, text string) (*T, error) {
	if text == "" {
		return nil, nil
	}
	data, err := cursor.Decode(listing, text)
	if err != nil {
		return nil, err
	}
	position, err := codec.Unmarshal[T](data)
	return &position, err
}
