package memory

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/store/internal/codec"
)

// Place says that nobody else can get there.
func (s *store) Place() string { return "this process's memory" }

// moved returns why nothing is written, or nil. It must be called under the
// lock.
func (s *store) moved() error {
	if refusal := s.migration.Refusal(); refusal != nil {
		return fmt.Errorf("%w: %w", bill.ErrUnavailable, refusal)
	}
	return nil
}

func (s *store) Migration(ctx context.Context) (bill.Migration, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.migration, s.usable(ctx)
}

func (s *store) SetMigration(ctx context.Context, m bill.Migration) error {
	return s.Import(ctx, nil, m)
}

// Quiesce has no other process to wait for.
func (s *store) Quiesce(ctx context.Context) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.usable(ctx)
}

// recordPlace is where a record stands in the export.
type recordPlace struct {
	Kind int       `json:"kind"`
	Key  [3]string `json:"key"`
}

func (p recordPlace) compare(q recordPlace) int {
	return cmp.Or(cmp.Compare(p.Kind, q.Kind), slices.Compare(p.Key[:], q.Key[:]))
}

func recordPlaceOf(r bill.Record) recordPlace {
	switch {
	case r.Bill != nil:
		return recordPlace{0, [3]string{r.Bill.Bill.ID}}
	case r.Order != nil:
		return recordPlace{1, [3]string{r.Order.Key.Ledger, r.Order.Key.Shop, r.Order.Key.OrderCode}}
	case r.Notification != nil:
		return recordPlace{2, [3]string{r.Notification.ID}}
	case r.Idempotency != nil:
		return recordPlace{3, [3]string{r.Idempotency.Key}}
	default:
		return recordPlace{4, [3]string{r.Orphan.Ledger, r.Orphan.ID}}
	}
}

// Export sorts all records, and cuts the page out.
func (s *store) Export(ctx context.Context, cursor string, limit int) (page []bill.Record, next string, err error) {
	after, err := decode[recordPlace]("export", cursor)
	if err != nil {
		return nil, "", err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if err := s.usable(ctx); err != nil {
		return nil, "", err
	}
	for _, r := range s.records() {
		if after == nil || recordPlaceOf(r).compare(*after) > 0 {
			page = append(page, r)
		}
	}
	return cutOut("export", page, limit, recordPlaceOf)
}

// records must be called under the lock.
func (s *store) records() (all []bill.Record) {
	for id, b := range s.bills {
		whole := &bill.WholeBill{Bill: b, Events: slices.Clone(s.history[id])}
		if d, ok := s.details[id]; ok {
			whole.Details = &d
		}
		all = append(all, bill.Record{Bill: whole})
	}
	for _, o := range s.orders {
		all = append(all, bill.Record{Order: &o})
	}
	for _, n := range s.outbox {
		all = append(all, bill.Record{Notification: &n})
	}
	for _, i := range s.answers {
		all = append(all, bill.Record{Idempotency: &i})
	}
	for _, o := range s.orphans {
		all = append(all, bill.Record{Orphan: &o})
	}
	return all
}

// Import puts each record where it belongs.
func (s *store) Import(ctx context.Context, given []bill.Record, m bill.Migration) error {
	page, err := detachedPage(given)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(ctx); err != nil {
		return err
	}
	for _, r := range page {
		s.put(r)
	}
	s.migration = m
	return nil
}

// detachedPage does what detached does.
func detachedPage(page []bill.Record) ([]bill.Record, error) {
	data, err := codec.Marshal(page)
	if err != nil {
		return nil, err
	}
	detached, err := codec.Unmarshal[[]bill.Record](data)
	if err != nil {
		return nil, err
	}
	for i, r := range page {
		if r.Order != nil {
			detached[i].Order.Key = r.Order.Key
		}
		if r.Idempotency != nil {
			detached[i].Idempotency.Key = r.Idempotency.Key
		}
	}
	return detached, nil
}

// put must be called under the lock.
func (s *store) put(r bill.Record) {
	switch {
	case r.Bill != nil:
		id := r.Bill.Bill.ID
		s.bills[id], s.history[id] = r.Bill.Bill, r.Bill.Events
		delete(s.details, id)
		if r.Bill.Details != nil {
			s.details[id] = *r.Bill.Details
		}
	case r.Order != nil:
		s.orders[r.Order.Key] = *r.Order
	case r.Notification != nil:
		s.writeNotification(*r.Notification)
	case r.Idempotency != nil:
		s.answers[r.Idempotency.Key] = *r.Idempotency
	case r.Orphan != nil:
		s.orphans[orphanKey{r.Orphan.Ledger, r.Orphan.ID}] = *r.Orphan
	}
}

// Abandon forgets everything by closing the store.
func (s *store) Abandon(ctx context.Context) error {
	m, err := s.Migration(ctx)
	if err != nil {
		return err
	}
	if m.Role != bill.RoleTarget {
		return errors.New("abandon the store: nothing is being carried into it")
	}
	return s.Close()
}

// Interface guards
var _ bill.Movable = (*store)(nil)
