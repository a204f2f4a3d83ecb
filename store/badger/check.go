package badger

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	badgerdb "github.com/dgraph-io/badger/v4"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/store/internal/census"
)

// FindingKind says what is wrong.
type FindingKind string

// The kinds of findings.
const (
	FindingTable   FindingKind = "table"   // a file of the database cannot be read, or not be opened
	FindingWitness FindingKind = "witness" // the witness says that something is missing, or is missing itself
	FindingRecord  FindingKind = "record"  // a record is damaged, or what it belongs to is not there
	FindingIndex   FindingKind = "index"   // an index and the records disagree
	FindingOrder   FindingKind = "order"   // an order and its bills disagree
)

// Finding is one thing that is wrong with a store.
type Finding struct {
	Kind FindingKind `json:"kind"`
	Text string      `json:"text"` // in words
}

// MaxFindings bounds the findings that are told one by one.
const MaxFindings = 1000

// Findings are what Check found.
type Findings struct {
	Store         string    `json:"store"` // id
	Tables        int       `json:"tables"`
	Records       uint64    `json:"records"` // entries of indexes included
	Bills         uint64    `json:"bills"`
	Orders        uint64    `json:"orders"`
	Notifications uint64    `json:"notifications"`
	Found         []Finding `json:"found"` // MaxFindings at most
	More          uint64    `json:"more"`  // beyond those
}

// Whole reports whether nothing is wrong.
func (f Findings) Whole() bool { return len(f.Found) == 0 }

func (f *Findings) add(kind FindingKind, format string, args ...any) {
	if len(f.Found) == MaxFindings {
		f.More++
		return
	}
	f.Found = append(f.Found, Finding{kind, fmt.Sprintf(format, args...)})
}

// Check looks for all that can be wrong with the store in the folder dir, which
// no process may have open: each block of its tables, each record, whether
// indexes and records, and orders and bills, agree in both directions, and what
// the witness says. It changes nothing in the folder, and its memory does not
// grow with the store. progress, if not nil, is told again and again how many
// records were read; it must not block.
//
// Whatever is wrong with the store is a finding. Errors are of the way there:
// ErrLocked, ErrNewerFormat, ctx's, no such folder.
func Check(ctx context.Context, dir string, progress func(records uint64)) (Findings, error) {
	var f Findings
	if err := check(ctx, dir, progress, &f); err != nil {
		return Findings{}, fmt.Errorf("check store %s: %w", dir, err)
	}
	return f, nil
}

func check(ctx context.Context, dir string, progress func(uint64), f *Findings) error {
	shadow, err := castShadow(dir)
	if err != nil {
		return err
	}
	err = checkShadow(ctx, shadow, progress, f)
	return errors.Join(err, shadow.close())
}

func checkShadow(ctx context.Context, shadow *shadow, progress func(uint64), f *Findings) error {
	seen, found, err := shadow.witnessed()
	if err != nil && !errors.Is(err, ErrDamaged) {
		return err
	}
	if err != nil {
		f.add(FindingWitness, "%v", err)
	}
	if whole, err := f.tables(ctx, shadow); err != nil {
		return err
	} else if !whole {
		f.add(FindingTable, "the records were not looked at, because of what was found of the tables")
		return nil
	}
	db, cannot := shadow.open()
	switch {
	case errors.Is(cannot, ErrDamaged):
		f.add(FindingTable, "the database cannot be opened: %v", cannot)
		return nil
	case cannot != nil:
		return cannot
	}
	s := readOnly(shadow.dir, db)
	if _, err := loadState(db); errors.Is(err, ErrNewerFormat) {
		return errors.Join(err, db.Close())
	}
	if err == nil {
		if doubt := s.doubt(seen, found); doubt != nil {
			f.add(FindingWitness, "%v", doubt)
		}
	}
	return errors.Join(s.audit(ctx, progress, f), db.Close())
}

// tables verifies every block of every table, and reports whether all are whole.
func (f *Findings) tables(ctx context.Context, shadow *shadow) (whole bool, err error) {
	whole = true
	var v verifier
	for _, file := range listedTables(shadow.dir) {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		file.path = shadow.inStore(file.path)
		f.Tables++
		if !exists(file.path) {
			whole = false
			f.add(FindingTable, "table %s is missing", file.path)
		} else if _, err := file.verify(&v); err != nil {
			whole = false
			f.add(FindingTable, "%v", err)
		}
	}
	return whole, nil
}

// audit reads every record, and once more where records disagree.
func (s *store) audit(ctx context.Context, progress func(uint64), f *Findings) error {
	return s.view(ctx, func(txn *badgerdb.Txn) error {
		held, err := get[stateRecord](txn, stateKey)
		if err != nil && !errors.Is(err, bill.ErrNotFound) {
			f.add(FindingRecord, "%v", err)
		}
		a := newAgreement()
		c := checker{ctx: ctx, txn: txn, progress: progress, f: f, says: a.says, stands: a.stands, held: held}
		if err := c.walk(); err != nil {
			return err
		}
		c.total()
		odd := a.oddOnes()
		if odd == nil {
			return nil
		}
		again := checker{ctx: ctx, txn: txn, f: new(Findings), says: odd.says, stands: odd.stands, held: held}
		if err := again.walk(); err != nil {
			return err
		}
		odd.tell(f)
		return nil
	})
}

// checker reads every record of a snapshot. Whatever two records have to agree
// on is a claim that one of them says, and that stands because of the other.
type checker struct {
	ctx      context.Context //nolint:containedctx // a checker is one walk: its context lives and ends with it
	txn      *badgerdb.Txn
	progress func(records uint64)
	f        *Findings

	says, stands func(kind FindingKind, claim []byte, words func() string)

	held    stateRecord // what the store knows of itself
	counted census.Counts
	known   string // id of a bill that is there
}

func (c *checker) walk() error {
	it := iterate(c.txn, nil)
	defer it.Close()
	for it.Rewind(); it.Valid(); it.Next() {
		item := it.Item()
		err := item.Value(func(record []byte) error {
			c.look(item.Key(), record)
			return nil
		})
		if err != nil {
			c.f.add(FindingRecord, "record %.200q cannot be read: %v", item.Key(), err)
		}
		const often = 4096
		if c.f.Records++; c.f.Records%often == 0 {
			if err := c.ctx.Err(); err != nil {
				return err
			}
			if c.progress != nil {
				c.progress(c.f.Records)
			}
		}
	}
	return c.ctx.Err()
}

func (c *checker) look(key, record []byte) {
	switch key[0] {
	case kindBill:
		c.f.Bills++
		holds(c, key, record, c.bill)
	case kindOrder:
		c.f.Orders++
		holds(c, key, record, c.order)
	case kindNotification:
		c.f.Notifications++
		holds(c, key, record, c.notification)
	case kindPending:
		holds(c, key, record, c.pending)
	case kindDetails:
		holds(c, key, record, func(key []byte, _ bill.Details) { c.belongs("the details", key, string(key[1:])) })
	case kindEvent:
		holds(c, key, record, c.event)
	case kindIdempotency:
		holds(c, key, record, func(key []byte, i bill.Idempotency) { c.belongs("an answer under an Idempotency-Key", key, i.Bill) })
	case kindOrphan:
		holds(c, key, record, func(key []byte, o bill.Orphan) {
			c.counted.Orphan(o, 1)
			c.stays(key, orphanKey(o.Ledger, o.ID))
		})
	case kindRestored:
		holds(c, key, record, func([]byte, restored) {})
	case kindMigration:
		holds(c, key, record, c.migration)
	case kindState:
		holds(c, key, record, func([]byte, stateRecord) {})
	default:
		c.index(key, record)
	}
}

// holds opens a record and looks at what it holds.
func holds[T any](c *checker, key, record []byte, look func(key []byte, v T)) {
	v, err := openRecord[T](key, record)
	if err != nil {
		c.f.add(FindingRecord, "%v", err)
		return
	}
	look(key, v)
}

// stays finds a record under another key than its own.
func (c *checker) stays(key, own []byte) {
	if !bytes.Equal(key, own) {
		c.f.add(FindingRecord, "record %.200q lies under a key that is not its own, which is %.200q", key, own)
	}
}

// belongs finds a record whose bill is not there.
func (c *checker) belongs(what string, key []byte, billID string) {
	if billID == c.known {
		return
	}
	if _, err := c.txn.Get(textKey(kindBill, billID)); err != nil {
		c.f.add(FindingRecord, "%s (record %.200q) belongs to bill %.80q, which is not there", what, key, billID)
		return
	}
	c.known = billID
}

func (c *checker) bill(key []byte, b bill.Bill) {
	c.stays(key, textKey(kindBill, b.ID))
	c.counted.Bill(b, 1)
	for _, entry := range c.kept(indexKeys(b)) {
		c.says(FindingIndex, entry, func() string {
			return fmt.Sprintf("bill %.80q is not in the index: entry %.200q is missing", b.ID, entry)
		})
	}
	record, _ := bill.OrderRecord{}.With(b)
	c.says(FindingOrder, attemptClaim(orderKey(b.OrderKey()), record.Attempts[0]), func() string {
		return fmt.Sprintf("order %.80q of shop %.80q does not hold its bill %.80q as it is: %s", b.OrderCode, b.Shop, b.ID, b.Status)
	})
}

func (c *checker) order(key []byte, o bill.OrderRecord) {
	for _, a := range o.Attempts {
		c.stands(FindingOrder, attemptClaim(key, a), func() string {
			return fmt.Sprintf("order %.200q holds bill %.80q as %s, and there is no such bill", key, a.ID, a.Status)
		})
	}
}

// attemptClaim is that an order has such an attempt.
func attemptClaim(order []byte, a bill.Attempt) []byte {
	return fmt.Appendf(bytes.Clone(order), "\x00%q %s %s %s %t", a.ID, a.Status, a.Amount, a.Currency, a.Unconfirmed)
}

func (c *checker) notification(key []byte, n bill.Notification) {
	c.stays(key, textKey(kindNotification, n.ID))
	c.belongs("a notification", key, n.Bill)
	c.counted.Notification(n, 1)
	for _, entry := range c.kept(notificationIndexKeys(n)) {
		c.says(FindingIndex, entry, func() string {
			return fmt.Sprintf("notification %.80q is not in the index: entry %.200q is missing", n.ID, entry)
		})
	}
	if n.State == bill.Pending {
		c.says(FindingIndex, placeClaim(pendingKey(n.URL, n.OrderKey()), n.ID), func() string {
			return fmt.Sprintf("notification %.80q is pending, and does not have the place of its order's pending one", n.ID)
		})
	}
}

func (c *checker) pending(key []byte, id string) {
	c.stands(FindingIndex, placeClaim(key, id), func() string {
		return fmt.Sprintf("notification %.80q has the place of a pending one (%.200q), and is not there, or not pending", id, key)
	})
}

// placeClaim is that a notification has a place.
func placeClaim(place []byte, id string) []byte {
	return append(append(bytes.Clone(place), 0), id...)
}

func (c *checker) event(key []byte, _ bill.Event) {
	id, ok := textOf(key[1:])
	if !ok {
		c.f.add(FindingRecord, "event %.200q belongs to no bill", key)
		return
	}
	c.belongs("an event", key, id)
}

// migration finds a store that does not hold everything yet. One that was left
// is whole.
func (c *checker) migration(_ []byte, m bill.Migration) {
	if m.Role == bill.RoleTarget {
		c.f.add(FindingRecord, "%v", m.Refusal())
	}
}

func (c *checker) index(key, record []byte) {
	if len(record) > 0 {
		c.f.add(FindingRecord, "entry %.200q of an index is not empty", key)
	}
	for _, entry := range c.kept([][]byte{bytes.Clone(key)}) {
		c.stands(FindingIndex, entry, func() string { return fmt.Sprintf("entry %.200q is in the index alone: it leads to nothing", entry) })
	}
}

// kept returns those entries that the store keeps as it is: it gets some anew
// when it is opened next, where another version wrote it last.
func (c *checker) kept(entries [][]byte) [][]byte {
	if c.held.Layout == currentLayout {
		return entries
	}
	return slices.DeleteFunc(entries, func(entry []byte) bool { return bytes.IndexByte(rebuilt, entry[0]) >= 0 })
}

// total compares what was counted with what the store knows of itself.
func (c *checker) total() {
	c.f.Store = c.held.Store
	switch {
	case c.held.Store == "":
		c.f.add(FindingRecord, "the store does not know itself: its own record is missing, or it is from before there was one")
	case c.held.Bills != c.f.Bills:
		c.f.add(FindingRecord, "%d bills are there, and %d were created", c.f.Bills, c.held.Bills)
	case c.held.Layout == currentLayout && c.held.Counts != c.counted:
		c.f.add(FindingRecord, "the store has miscounted what it holds: %+v, and it is %+v", c.held.Counts, c.counted)
	}
}

// textOf returns the text that a key begins with, as appendText wrote it.
func textOf(key []byte) (string, bool) {
	var text []byte
	for i := 0; i+1 < len(key); i++ {
		if key[i] != 0 {
			text = append(text, key[i])
			continue
		}
		switch i++; key[i] {
		case 0xff:
			text = append(text, 0)
		case 1:
			return string(text), true
		default:
			return "", false
		}
	}
	return "", false
}
