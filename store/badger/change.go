package badger

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	badgerdb "github.com/dgraph-io/badger/v4"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

// rememberAtLeast is how long Badger keeps an answer under an Idempotency-Key
// at the least. The answer itself knows when it is over, by the engine's
// clock; this only bounds what piles up, by the system's.
const rememberAtLeast = 48 * time.Hour

// Commit writes a change as one operation of the committer. When ctx ends
// while the operation waits its turn, nothing is written; once it has begun,
// the outcome is unknown, and the error says so. On a disk that is all but full
// nothing is begun.
func (s *store) Commit(ctx context.Context, c bill.Change) error {
	if err := s.refused(); err != nil {
		return fmt.Errorf("%w: %w", bill.ErrUnavailable, err)
	}
	sealed, err := s.seal(c)
	if err != nil {
		return err
	}
	if err := checkFreeSpace(s.dir, s.minFree); errors.Is(err, bill.ErrUnavailable) {
		return err
	}
	return s.committer.do(ctx, sealed.prepare)
}

// sealedChange is a change with its records encoded, in the caller's time
// instead of the committer's, and without any of the caller's memory.
type sealedChange struct {
	store         *store
	order         *sealedOrder
	bills         []sealedBill
	notifications []sealedNotification
	orphan        *sealedOrphan
	idempotency   *sealedIdempotency
}

type sealedOrder struct {
	write
	revision uint64
}

type sealedOrphan struct {
	write
	orphan bill.Orphan
}

type sealedIdempotency struct {
	write
	answer bill.Idempotency
}

type sealedBill struct {
	bill   bill.Bill
	key    []byte
	writes []write  // the bill, and what goes along
	after  [][]byte // its index entries from now on
	forget bool
}

func (s *store) seal(c bill.Change) (*sealedChange, error) {
	sealed := &sealedChange{store: s}
	if c.Order != nil {
		w, err := sealedWrite(orderKey(c.Order.Key), c.Order)
		if err != nil {
			return nil, fmt.Errorf("order: %w", err)
		}
		sealed.order = &sealedOrder{write: w, revision: c.Order.Revision}
	}
	for i := range c.Bills {
		b, err := sealBill(&c.Bills[i])
		if err != nil {
			return nil, fmt.Errorf("bill %.80q: %w", c.Bills[i].Bill.ID, err)
		}
		sealed.bills = append(sealed.bills, b)
	}
	for _, given := range c.Notifications {
		n, err := sealNotification(given)
		if err != nil {
			return nil, fmt.Errorf("notification %.80q: %w", given.ID, err)
		}
		sealed.notifications = append(sealed.notifications, n)
	}
	if c.Orphan != nil {
		w, err := sealedWrite(orphanKey(c.Orphan.Ledger, c.Orphan.ID), c.Orphan)
		if err != nil {
			return nil, fmt.Errorf("orphan: %w", err)
		}
		sealed.orphan = &sealedOrphan{write: w, orphan: *c.Orphan}
	}
	if c.Idempotency != nil {
		w, err := s.sealAnswer(*c.Idempotency)
		if err != nil {
			return nil, fmt.Errorf("idempotency key: %w", err)
		}
		sealed.idempotency = &sealedIdempotency{write: w, answer: *c.Idempotency}
	}
	return sealed, nil
}

func sealBill(c *bill.BillChange) (sealedBill, error) {
	id := c.Bill.ID
	sealed := sealedBill{bill: c.Bill, key: textKey(kindBill, id), after: indexKeys(c.Bill), forget: c.Forget}
	sealed.writes = make([]write, 0, 2+len(c.Events))
	add := func(key []byte, v any) error {
		w, err := sealedWrite(key, v)
		sealed.writes = append(sealed.writes, w)
		return err
	}
	if err := add(sealed.key, &c.Bill); err != nil {
		return sealedBill{}, err
	}
	if c.Details != nil {
		if err := add(textKey(kindDetails, id), c.Details); err != nil {
			return sealedBill{}, err
		}
	}
	for i := range c.Events {
		if err := add(eventKey(id, c.Bill.Revision, uint32(i)), &c.Events[i]); err != nil {
			return sealedBill{}, err
		}
	}
	return sealed, nil
}

func sealedWrite(key []byte, v any) (write, error) {
	record, err := seal(key, v)
	return write{key: key, value: record}, err
}

func (s *store) sealAnswer(i bill.Idempotency) (write, error) {
	w, err := sealedWrite(textKey(kindIdempotency, i.Key), &i)
	w.expiresAt = later(i.ExpiresAt, s.now().Add(rememberAtLeast))
	return w, err
}

func later(a, b time.Time) uint64 {
	if a.Before(b) {
		a = b
	}
	return uint64(max(a.Unix(), 1))
}

// prepare compares the revisions, as txn sees them, and returns all there is
// to write. It changes nothing and may run again.
func (c *sealedChange) prepare(txn *badgerdb.Txn) (writeSet, error) {
	const most = 24 // writes of an ordinary change
	set := writeSet{writes: make([]write, 0, most)}
	if err := c.prepareOrder(txn, &set); err != nil {
		return writeSet{}, err
	}
	var effects []func()
	for i, b := range c.bills {
		if slices.ContainsFunc(c.bills[:i], func(other sealedBill) bool { return bytes.Equal(other.key, b.key) }) {
			return writeSet{}, fmt.Errorf("%w: bill %.80q is in the change twice", bill.ErrConflict, b.bill.ID)
		}
		effect, err := c.prepareBill(txn, b, &set)
		if err != nil {
			return writeSet{}, err
		}
		effects = append(effects, effect)
	}
	if err := c.prepareNotifications(txn, &set); err != nil {
		return writeSet{}, err
	}
	if err := c.prepareOrphan(txn, &set); err != nil {
		return writeSet{}, err
	}
	if err := c.prepareIdempotency(txn, &set); err != nil {
		return writeSet{}, err
	}
	set.committed = func() {
		for _, effect := range effects {
			effect()
		}
	}
	return set, nil
}

func (c *sealedChange) prepareOrder(txn *badgerdb.Txn, set *writeSet) error {
	if c.order == nil {
		return nil
	}
	held, err := predecessor[bill.OrderRecord](&c.store.moments, txn, c.order.key)
	if err != nil && !errors.Is(err, bill.ErrNotFound) {
		return err
	}
	if c.order.revision != held.Revision+1 {
		return fmt.Errorf("%w: the order is at revision %d, not before %d", bill.ErrConflict, held.Revision, c.order.revision)
	}
	set.add(c.order.write)
	return nil
}

// prepareBill adds what is to be written for one bill, its index entries
// included, and returns what to do once that is durable.
func (c *sealedChange) prepareBill(txn *badgerdb.Txn, b sealedBill, set *writeSet) (effect func(), err error) {
	held, err := predecessor[bill.Bill](&c.store.moments, txn, b.key)
	isNew := errors.Is(err, bill.ErrNotFound)
	if err != nil && !isNew {
		return nil, err
	}
	if b.bill.Revision != held.Revision+1 {
		return nil, fmt.Errorf("%w: bill %.80q is at revision %d, not before %d",
			bill.ErrConflict, b.bill.ID, held.Revision, b.bill.Revision)
	}
	if b.forget {
		if err := prepareForgetting(txn, b.bill.ID, set); err != nil {
			return nil, err
		}
	}
	set.add(b.writes...)
	var before [][]byte
	opened := 0
	if isNew {
		set.created++
	} else {
		before = indexKeys(held)
		set.counted.Bill(held, -1)
		opened -= one(!held.Status.Final())
	}
	opened += one(!b.bill.Status.Final())
	set.replace(before, b.after)
	set.counted.Bill(b.bill, 1)
	return func() {
		c.store.openBills.Add(int64(opened))
		if held.Version != b.bill.Version {
			c.store.hub.Tell(b.bill.ID, b.bill.Version)
		}
	}, nil
}

// prepareOrphan keeps the first word about a bill, until an operator's takes
// its place.
func (c *sealedChange) prepareOrphan(txn *badgerdb.Txn, set *writeSet) error {
	if c.orphan == nil {
		return nil
	}
	held, err := get[bill.Orphan](txn, c.orphan.key)
	isNew := errors.Is(err, bill.ErrNotFound)
	isResolution := c.orphan.orphan.Resolved != nil
	switch {
	case err != nil && !isNew:
		return err
	case isNew && isResolution:
		return fmt.Errorf("%w: there is no orphan %.80q to be resolved", bill.ErrConflict, c.orphan.orphan.ID)
	case isNew:
		set.counted.Orphan(c.orphan.orphan, 1)
	case isResolution:
		set.counted.Orphan(held, -1)
	default:
		return nil
	}
	set.add(c.orphan.write)
	return nil
}

// prepareIdempotency keeps the first answer under a key.
func (c *sealedChange) prepareIdempotency(txn *badgerdb.Txn, set *writeSet) error {
	if c.idempotency == nil {
		return nil
	}
	held, err := get[bill.Idempotency](txn, c.idempotency.key)
	switch {
	case err != nil && !errors.Is(err, bill.ErrNotFound):
		return err
	case err == nil && !held.GivesWay(c.idempotency.answer):
		return fmt.Errorf("%w: another answer is remembered under the idempotency key", bill.ErrConflict)
	}
	set.add(c.idempotency.write)
	return nil
}

func one(condition bool) int {
	if condition {
		return 1
	}
	return 0
}
