package badger

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	badgerdb "github.com/dgraph-io/badger/v4"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

// Import writes the records as they are. A page that is too large for one
// transaction takes several, the state of the migration with the last.
func (s *store) Import(ctx context.Context, page []bill.Record, m bill.Migration) error {
	sealed := make([]sealedRecord, 0, len(page))
	for _, r := range page {
		one, err := s.sealRecord(r)
		if err != nil {
			return err
		}
		sealed = append(sealed, one)
	}
	return s.arrive(ctx, sealed, m)
}

// sealedRecord is a record of another store with its own records encoded.
type sealedRecord struct {
	bill         *bill.Bill
	notification *sealedNotification
	orphan       *bill.Orphan
	main         write
	beside       []write // what is kept beside a bill
	written      bool    // that is there already
}

func (s *store) sealRecord(r bill.Record) (sealed sealedRecord, err error) {
	switch {
	case r.Bill != nil:
		return sealWhole(*r.Bill)
	case r.Notification != nil:
		n, err := sealNotification(*r.Notification)
		return sealedRecord{notification: &n, main: n.record}, err
	case r.Order != nil:
		sealed.main, err = sealedWrite(orderKey(r.Order.Key), r.Order)
	case r.Idempotency != nil:
		sealed.main, err = s.sealAnswer(*r.Idempotency)
	case r.Orphan != nil:
		sealed.orphan = r.Orphan
		sealed.main, err = sealedWrite(orphanKey(r.Orphan.Ledger, r.Orphan.ID), r.Orphan)
	default:
		err = errors.New("an empty record")
	}
	return sealed, err
}

// sealWhole gives all events the revision that the bill has: later ones sort
// behind them.
func sealWhole(whole bill.WholeBill) (sealedRecord, error) {
	b, err := sealBill(&bill.BillChange{Bill: whole.Bill, Details: whole.Details, Events: whole.Events})
	if err != nil {
		return sealedRecord{}, fmt.Errorf("bill %.80q: %w", whole.Bill.ID, err)
	}
	return sealedRecord{bill: &whole.Bill, main: b.writes[0], beside: b.writes[1:]}, nil
}

// arrive writes records, and the state of the migration with the last of them.
func (s *store) arrive(ctx context.Context, page []sealedRecord, m bill.Migration) error {
	mark, err := s.migrating(m)
	if err != nil {
		return err
	}
	if err := checkFreeSpace(s.dir, s.minFree); errors.Is(err, bill.ErrUnavailable) {
		return err
	}
	return s.arriveWith(ctx, page, mark)
}

// arriveWith halves what is too large, down to a single bill, which what is
// kept beside it goes before.
func (s *store) arriveWith(ctx context.Context, page []sealedRecord, mark writeSet) error {
	err := s.committer.do(ctx, func(txn *badgerdb.Txn) (writeSet, error) { return s.arrival(txn, page, mark) })
	if !errors.Is(err, bill.ErrTooLarge) {
		return err
	}
	if len(page) > 1 {
		half := len(page) / 2
		if err := s.arriveWith(ctx, page[:half], writeSet{}); err != nil {
			return err
		}
		return s.arriveWith(ctx, page[half:], mark)
	}
	if len(page) == 0 || len(page[0].beside) == 0 {
		return err
	}
	return s.arriveAlone(ctx, page[0], mark)
}

// arriveAlone writes a bill with a history that is larger than a transaction.
func (s *store) arriveAlone(ctx context.Context, large sealedRecord, mark writeSet) error {
	for rest := large.beside; len(rest) > 0; {
		var set writeSet
		for len(rest) > 0 && (len(set.writes) == 0 || set.size().within(s.committer.limit.half())) {
			set.add(rest[0])
			rest = rest[1:]
		}
		err := s.committer.do(ctx, func(*badgerdb.Txn) (writeSet, error) { return set, nil })
		if err != nil {
			return fmt.Errorf("bill %.80q: %w", large.bill.ID, err)
		}
	}
	large.written = true
	return s.committer.do(ctx, func(txn *badgerdb.Txn) (writeSet, error) {
		return s.arrival(txn, []sealedRecord{large}, mark)
	})
}

// arrival is what records write, in the place of what txn sees of them.
func (s *store) arrival(txn *badgerdb.Txn, page []sealedRecord, mark writeSet) (writeSet, error) {
	a := &arrival{txn: txn}
	for _, r := range page {
		if err := a.add(r); err != nil {
			return writeSet{}, err
		}
	}
	a.set.add(a.places...) // behind all that leave a place
	a.set.add(mark.writes...)
	opened := int64(a.opened)
	a.set.committed = func() {
		s.openBills.Add(opened)
		if mark.committed != nil {
			mark.committed()
		}
	}
	return a.set, nil
}

type arrival struct {
	txn    *badgerdb.Txn
	set    writeSet
	places []write
	opened int // bills
}

func (a *arrival) add(r sealedRecord) (err error) {
	switch {
	case r.bill != nil:
		err = a.bill(r)
	case r.notification != nil:
		err = a.notification(*r.notification)
	case r.orphan != nil:
		var held bill.Orphan
		held, err = get[bill.Orphan](a.txn, r.main.key)
		if err == nil {
			a.set.counted.Orphan(held, -1)
		}
		a.set.counted.Orphan(*r.orphan, 1)
	}
	if err != nil && !errors.Is(err, bill.ErrNotFound) {
		return err
	}
	a.set.add(r.main)
	if !r.written {
		a.set.add(r.beside...)
	}
	return nil
}

// bill writes what a bill writes beside its record: its place in the indexes.
func (a *arrival) bill(r sealedRecord) error {
	var before [][]byte
	held, err := get[bill.Bill](a.txn, r.main.key)
	switch {
	case errors.Is(err, bill.ErrNotFound):
		a.set.created++
	case err != nil:
		return err
	default:
		before = indexKeys(held)
		a.set.counted.Bill(held, -1)
		a.opened -= one(!held.Status.Final())
		a.replaceBeside(r)
	}
	a.opened += one(!r.bill.Status.Final())
	a.set.counted.Bill(*r.bill, 1)
	a.set.replace(before, indexKeys(*r.bill))
	return nil
}

// replaceBeside removes what is kept beside a bill and does not come with it.
func (a *arrival) replaceBeside(r sealedRecord) {
	remove := func(key []byte) {
		if !slices.ContainsFunc(r.beside, func(w write) bool { return bytes.Equal(w.key, key) }) {
			a.set.add(write{key: key, remove: true})
		}
	}
	remove(textKey(kindDetails, r.bill.ID))
	it := iterate(a.txn, historyPrefix(r.bill.ID))
	defer it.Close()
	for it.Rewind(); it.Valid(); it.Next() {
		remove(it.Item().KeyCopy(nil))
	}
}

func (a *arrival) notification(n sealedNotification) error {
	var before [][]byte
	held, err := get[bill.Notification](a.txn, n.record.key)
	switch {
	case err == nil:
		before = notificationIndexKeys(held)
		a.set.counted.Notification(held, -1)
		if held.State == bill.Pending {
			a.set.add(write{key: pendingKey(held.URL, held.OrderKey()), remove: true})
		}
	case !errors.Is(err, bill.ErrNotFound):
		return err
	}
	a.set.counted.Notification(n.Notification, 1)
	a.set.replace(before, notificationIndexKeys(n.Notification))
	if n.place != nil {
		a.places = append(a.places, *n.place)
	}
	return nil
}
