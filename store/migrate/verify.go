package migrate

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/bits"
	"time"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/store/internal/census"
	"github.com/caddy-qlink/caddy-qlink/store/internal/codec"
)

// Content is what a store holds, as two stores are compared by it.
type Content struct {
	Bills         uint64
	Orders        uint64
	Notifications uint64
	Answers       uint64 // under Idempotency-Keys that are not over
	Orphans       uint64
	Checksum      Checksum
}

// Records returns how many there are of all kinds.
func (c Content) Records() uint64 {
	return c.Bills + c.Orders + c.Notifications + c.Answers + c.Orphans
}

// Checksum is the sum, modulo 2^256, of the SHA-256 of each record: the same
// for the same records in whatever order.
type Checksum [sha256.Size]byte

// String returns the sum in hexadecimal.
func (s Checksum) String() string { return hex.EncodeToString(s[:]) }

func (s *Checksum) add(hash [sha256.Size]byte) {
	var carry uint64
	for at := len(s) - 8; at >= 0; at -= 8 {
		var word uint64
		word, carry = bits.Add64(binary.BigEndian.Uint64(s[at:]), binary.BigEndian.Uint64(hash[at:]), carry)
		binary.BigEndian.PutUint64(s[at:], word)
	}
}

// reading is a walk over all that a store holds.
type reading struct {
	Content

	now     time.Time // answers that are over by then are passed over: a store may drop them at any time
	counted census.Counts
}

// canonical is what is hashed of a record: what it is, the parts of its key
// that its JSON leaves out, and itself.
type canonical struct {
	Kind   string   `json:"kind"`
	Key    []string `json:"key,omitempty"`
	Record any      `json:"record"`
}

// wholeBill is a bill as it is hashed: one without history is the same whether
// a store returns none or an empty one.
type wholeBill struct {
	Bill    bill.Bill     `json:"bill"`
	Details *bill.Details `json:"details,omitempty"`
	Events  []bill.Event  `json:"events,omitempty"`
}

// add counts a record in.
func (r *reading) add(record bill.Record) error {
	var c canonical
	switch {
	case record.Bill != nil:
		r.Bills++
		r.counted.Bill(record.Bill.Bill, 1)
		c = canonical{Kind: "bill", Record: wholeBill(*record.Bill)}
	case record.Order != nil:
		r.Orders++
		key := record.Order.Key
		c = canonical{Kind: "order", Key: []string{key.Ledger, key.Shop, key.OrderCode}, Record: record.Order}
	case record.Notification != nil:
		r.Notifications++
		r.counted.Notification(*record.Notification, 1)
		c = canonical{Kind: "notification", Record: record.Notification}
	case record.Idempotency != nil:
		if !r.now.Before(record.Idempotency.ExpiresAt) {
			return nil
		}
		r.Answers++
		c = canonical{Kind: "answer", Key: []string{record.Idempotency.Key}, Record: record.Idempotency}
	case record.Orphan != nil:
		r.Orphans++
		r.counted.Orphan(*record.Orphan, 1)
		c = canonical{Kind: "orphan", Record: record.Orphan}
	}
	text, err := codec.Marshal(c)
	if err != nil {
		return err
	}
	r.Checksum.add(sha256.Sum256(text))
	return nil
}

// read goes through all of a store, and compares that with what the store
// counts itself.
func (m Move) read(ctx context.Context, s bill.Movable, stage Stage, now time.Time, total uint64) (Content, error) {
	r := &reading{now: now}
	var done uint64
	for cursor, more := "", true; more; more = cursor != "" {
		m.report(stage, done, max(total, done+1))
		page, next, err := s.Export(ctx, cursor, pageRecords)
		for i := 0; i < len(page) && err == nil; i++ {
			err = r.add(page[i])
		}
		if err != nil {
			return Content{}, fmt.Errorf("read %s: %w", s.Place(), err)
		}
		done += uint64(len(page))
		cursor = next
	}
	m.report(stage, done, done)
	if err := r.agrees(ctx, s); err != nil {
		return Content{}, fmt.Errorf("read %s: %w", s.Place(), err)
	}
	return r.Content, nil
}

// agrees returns what the store counts otherwise, as an error.
func (r *reading) agrees(ctx context.Context, s bill.Movable) error {
	counts, err := s.Counts(ctx)
	if err != nil {
		return err
	}
	open, err := s.OpenBills(ctx)
	if err != nil {
		return err
	}
	var differ []error
	compare := func(what string, held, counted uint64) {
		if held != counted {
			differ = append(differ, fmt.Errorf("%d %s are there, and it counts %d: %w", held, what, counted, errDamage))
		}
	}
	held := r.counted.Public()
	compare("open bills", held.Open(), uint64(open)) //nolint:gosec // never negative
	for _, status := range bill.Statuses() {
		compare(string(status)+" bills", held.Bills[status], counts.Bills[status])
	}
	for _, state := range bill.NotificationStates() {
		compare(string(state)+" notifications", held.Notifications[state], counts.Notifications[state])
	}
	compare("late bills", held.Late, counts.Late)
	compare("bills to be given back", held.Refunds, counts.Refunds)
	compare("unresolved orphans", held.Orphans, counts.Orphans)
	if len(differ) > 0 {
		return differ[0]
	}
	return nil
}

// verify reads both stores and compares what they hold.
func (m Move) verify(ctx context.Context) (Content, error) {
	now := m.Now()
	state, err := m.To.Migration(ctx)
	if err != nil {
		return Content{}, err
	}
	from, err := m.read(ctx, m.From, VerifyingFrom, now, state.Records)
	if err != nil {
		return Content{}, err
	}
	to, err := m.read(ctx, m.To, VerifyingTo, now, state.Records)
	if err != nil {
		return Content{}, err
	}
	if from != to {
		return Content{}, fmt.Errorf("%w: %s holds %s, and %s holds %s; nothing has changed for the first: give the second up with --give-up, and look why",
			ErrDiffers, m.From.Place(), from, m.To.Place(), to)
	}
	return from, nil
}

// String returns the counts and the checksum for people.
func (c Content) String() string {
	return fmt.Sprintf("%d bills, %d orders, %d notifications, %d answers, %d orphans with the checksum %.16s…",
		c.Bills, c.Orders, c.Notifications, c.Answers, c.Orphans, c.Checksum)
}
