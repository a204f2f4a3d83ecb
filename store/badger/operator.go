package badger

import (
	"context"
	"errors"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

func (s *store) Find(ctx context.Context, name string, limit int) ([]bill.Bill, error) {
	b, err := s.Bill(ctx, name)
	if errors.Is(err, bill.ErrNotFound) {
		return nil, nil
	}
	return []bill.Bill{b}, err
}

func (s *store) ListNotifications(ctx context.Context, q bill.NotificationQuery) (page []bill.Notification, next string, err error) {
	return nil, "", nil
}

func (s *store) Counts(ctx context.Context) (bill.Counts, error) {
	return bill.Counts{}, ctx.Err()
}
