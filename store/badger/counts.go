package badger

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	badgerdb "github.com/dgraph-io/badger/v4"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

// counts are how many records of a kind there are, or by how many that changes.
// They stand in the store's own record, so that every transaction that changes
// them writes them, and nobody has to count.
type counts struct {
	Choose   int64 `json:"choose,omitzero"`
	Created  int64 `json:"created,omitzero"`
	Wait     int64 `json:"wait,omitzero"`
	Success  int64 `json:"success,omitzero"`
	Fail     int64 `json:"fail,omitzero"`
	Canceled int64 `json:"canceled,omitzero"`
	Expired  int64 `json:"expired,omitzero"`

	Late    int64 `json:"late,omitzero"`
	Refunds int64 `json:"refunds,omitzero"`

	Pending    int64 `json:"pending,omitzero"`
	Delivered  int64 `json:"delivered,omitzero"`
	Superseded int64 `json:"superseded,omitzero"`
	Dead       int64 `json:"dead,omitzero"`

	Orphans int64 `json:"orphans,omitzero"` // that no operator has seen to
}

func (c counts) plus(d counts) counts {
	return counts{
		Choose:   c.Choose + d.Choose,
		Created:  c.Created + d.Created,
		Wait:     c.Wait + d.Wait,
		Success:  c.Success + d.Success,
		Fail:     c.Fail + d.Fail,
		Canceled: c.Canceled + d.Canceled,
		Expired:  c.Expired + d.Expired,

		Late:    c.Late + d.Late,
		Refunds: c.Refunds + d.Refunds,

		Pending:    c.Pending + d.Pending,
		Delivered:  c.Delivered + d.Delivered,
		Superseded: c.Superseded + d.Superseded,
		Dead:       c.Dead + d.Dead,

		Orphans: c.Orphans + d.Orphans,
	}
}

// of returns the place of a status. One that nobody has defined is not counted.
func (c *counts) of(s bill.Status) *int64 {
	switch s {
	case bill.Choose:
		return &c.Choose
	case bill.Created:
		return &c.Created
	case bill.Wait:
		return &c.Wait
	case bill.Success:
		return &c.Success
	case bill.Fail:
		return &c.Fail
	case bill.Canceled:
		return &c.Canceled
	case bill.Expired:
		return &c.Expired
	}
	return new(int64)
}

// in returns the place of a notification's state, as of does.
func (c *counts) in(s bill.NotificationState) *int64 {
	switch s {
	case bill.Pending:
		return &c.Pending
	case bill.Delivered:
		return &c.Delivered
	case bill.Superseded:
		return &c.Superseded
	case bill.Dead:
		return &c.Dead
	}
	return new(int64)
}

// bill counts b n times: once where it comes, -1 times where it goes.
func (c *counts) bill(b bill.Bill, n int64) {
	*c.of(b.Status) += n
	if b.LatePayment {
		c.Late += n
	}
	if b.RefundDue {
		c.Refunds += n
	}
}

// notification does the same.
func (c *counts) notification(n bill.Notification, times int64) {
	*c.in(n.State) += times
}

// orphan does the same.
func (c *counts) orphan(o bill.Orphan, n int64) {
	if o.Resolved == nil {
		c.Orphans += n
	}
}

// Counts reads them from the store's record, and the times from the ends of
// two indexes, all of one snapshot.
func (s *store) Counts(ctx context.Context) (c bill.Counts, err error) {
	err = s.view(ctx, func(txn *badgerdb.Txn) error {
		held, err := get[stateRecord](txn, stateKey)
		switch {
		case errors.Is(err, bill.ErrNotFound):
			return fmt.Errorf("%w: its own record is missing: %w", bill.ErrUnavailable, ErrDamaged)
		case err != nil:
			return err
		}
		c = held.Counts.public()
		if c.OldestPending, err = oldestIn(txn, bill.Pending); err != nil {
			return err
		}
		c.OldestDue, err = oldestDue(txn)
		return err
	})
	if err != nil {
		return bill.Counts{}, err
	}
	return c, nil
}

func (c *counts) public() bill.Counts {
	shown := bill.Counts{
		Bills:         make(map[bill.Status]uint64),
		Notifications: make(map[bill.NotificationState]uint64),
		Late:          uint64(c.Late),    //nolint:gosec // never negative, as the next ones
		Refunds:       uint64(c.Refunds), //nolint:gosec // the same
		Orphans:       uint64(c.Orphans), //nolint:gosec // the same
	}
	for _, s := range bill.Statuses() {
		if n := *c.of(s); n > 0 {
			shown.Bills[s] = uint64(n)
		}
	}
	for _, s := range bill.NotificationStates() {
		if n := *c.in(s); n > 0 {
			shown.Notifications[s] = uint64(n)
		}
	}
	return shown
}

// oldestIn returns when the oldest notification in a state was created, or the
// zero time.
func oldestIn(txn *badgerdb.Txn, s bill.NotificationState) (time.Time, error) {
	prefix := inStatePrefix(s)
	options := badgerdb.DefaultIteratorOptions
	options.PrefetchValues = false
	options.Prefix = prefix
	options.Reverse = true
	it := txn.NewIterator(options)
	defer it.Close()
	it.Seek(append(slices.Clip(prefix), 0xff))
	if !it.Valid() {
		return time.Time{}, nil
	}
	p, err := index{prefix: prefix}.placeIn(it.Item().Key())
	if err != nil {
		return time.Time{}, err
	}
	return p.at(), nil
}

// oldestDue returns since when the bill is due that is so the longest, or the
// zero time.
func oldestDue(txn *badgerdb.Txn) (time.Time, error) {
	it := iterate(txn, []byte{kindDue})
	defer it.Close()
	it.Rewind()
	if !it.Valid() {
		return time.Time{}, nil
	}
	key := it.Item().Key()
	if len(key) < timeEnd {
		return time.Time{}, errTooShort
	}
	return timeIn(key[1:timeEnd]), nil
}
