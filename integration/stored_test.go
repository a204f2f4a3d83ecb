package integration

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"time"

	caddyserver "github.com/caddyserver/caddy/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/store/badger"
)

// openStore opens the store in dir without a Caddy around it.
func openStore(dir string) (bill.Store, error) {
	ctx := context.Background()
	module := &badger.Store{Path: dir}
	if err := module.Provision(caddyserver.Context{Context: ctx}); err != nil {
		return nil, err
	}
	return module.Open(ctx, bill.Env{})
}

// numberedBill is a bill that its number says everything about: what a store
// holds of it can be told from what it should hold. Its details are long, so
// that few bills fill the store's tables.
func numberedBill(n int) bill.Change {
	created := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC).Add(time.Duration(n) * time.Second)
	b := bill.Bill{
		ID: fmt.Sprintf("bill-%06d", n), Ledger: "ledger", Account: "default", Shop: "default", OrderCode: "O-" + strconv.Itoa(n),
		Attempt: 1, Status: bill.Wait, Amount: "15000", Currency: "IDR", Country: "ID", CreatedAt: created, UpdatedAt: created,
		Due: created.Add(time.Minute), Version: 1, Revision: 1,
	}
	record, _ := bill.OrderRecord{Key: b.OrderKey(), Revision: 1}.With(b)
	return bill.Change{
		Order: &record,
		Bills: []bill.BillChange{{
			Bill:    b,
			Details: &bill.Details{Description: noise(n, 48<<10)},
			Events:  []bill.Event{{Kind: bill.EventCreated, At: created, To: bill.Wait, Version: 1}},
		}},
	}
}

// numberedPayment pays that bill.
func numberedPayment(n int) bill.Change {
	c := numberedBill(n)
	b := &c.Bills[0].Bill
	b.Status, b.Due, b.Version, b.Revision = bill.Success, time.Time{}, 2, 2
	record, _ := c.Order.With(*b)
	record.Revision = 2
	return bill.Change{
		Order: &record,
		Bills: []bill.BillChange{{
			Bill:   *b,
			Events: []bill.Event{{Kind: bill.EventCreated, At: b.CreatedAt, From: bill.Wait, To: bill.Success, Version: 2}},
		}},
	}
}

// noises holds what noise has made, which costs more than all that is done
// with it.
var noises sync.Map

// noise is text that does not compress well, the same for each n.
func noise(n, length int) string {
	if made, ok := noises.Load(n); ok {
		return made.(string)
	}
	chance := rand.New(rand.NewPCG(uint64(n), 0))
	text := make([]byte, length)
	for i := range text {
		text[i] = ' ' + byte(chance.IntN(95))
	}
	noises.Store(n, string(text))
	return string(text)
}

// commitNumbered commits what change makes of each number, eight at a time.
func commitNumbered(store bill.Store, numbers []int, change func(int) bill.Change) error {
	var errs [8]error
	var tasks sync.WaitGroup
	for worker := range errs {
		tasks.Go(func() {
			for i := worker; i < len(numbers); i += len(errs) {
				errs[worker] = errors.Join(errs[worker], store.Commit(context.Background(), change(numbers[i])))
			}
		})
	}
	tasks.Wait()
	return errors.Join(errs[:]...)
}

// numberedStore says which numbered bills a store should hold: the last ones
// are young, and may be missing.
type numberedStore struct {
	bills int
	young int
}

// old returns the numbers of the bills that are not young.
func (s numberedStore) old() []int { return upTo(s.bills - s.young) }

// upTo returns the numbers from 1 to n.
func upTo(n int) []int {
	numbers := make([]int, n)
	for i := range numbers {
		numbers[i] = i + 1
	}
	return numbers
}

// paid reports whether a bill is paid: every third of the old ones.
func (s numberedStore) paid(n int) bool { return n%3 == 0 && n <= s.bills-s.young }

// found is what reading a whole store came to.
type found struct {
	lost    []string // young ones
	refused []string
	wrong   []string // anything else
}

// readAll reads all that the store holds, by every way there is to it.
func (s numberedStore) readAll(store bill.Store) (f found) {
	for n := 1; n <= s.bills; n++ {
		f.add(s.readOne(store, n), n > s.bills-s.young)
	}
	var all, due []string
	for n := s.bills; n >= 1; n-- {
		c := s.expected(n)
		all = append(all, c.Bills[0].Bill.ID)
		if !c.Bills[0].Bill.Due.IsZero() {
			due = append(due, c.Bills[0].Bill.ID)
		}
	}
	slices.Reverse(due)
	f.add(s.wantIDs("List", all, s.listed(store)), false)
	f.add(s.wantIDs("Due", due, func() ([]string, error) {
		return store.Due(context.Background(), time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC), s.bills+1)
	}), false)
	if n, err := store.OpenBills(context.Background()); err != nil || len(f.lost) == 0 && n != len(due) {
		f.add(fmt.Errorf("%d open bills, want %d: %w", n, len(due), err), false)
	}
	return f
}

// add files an error where it belongs.
func (f *found) add(err error, young bool) {
	switch {
	case err == nil:
	case errors.Is(err, bill.ErrUnavailable):
		f.refused = append(f.refused, err.Error())
	case young && errors.Is(err, bill.ErrNotFound):
		f.lost = append(f.lost, err.Error())
	default:
		f.wrong = append(f.wrong, err.Error())
	}
}

// expected returns all that was written of a bill, as one change.
func (s numberedStore) expected(n int) bill.Change {
	c := numberedBill(n)
	if !s.paid(n) {
		return c
	}
	paid := numberedPayment(n)
	paid.Bills[0].Details = c.Bills[0].Details
	paid.Bills[0].Events = append(c.Bills[0].Events, paid.Bills[0].Events...)
	return paid
}

// readOne reads everything about one bill.
func (s numberedStore) readOne(store bill.Store, n int) error {
	ctx := context.Background()
	want := s.expected(n)
	id := want.Bills[0].Bill.ID
	b, err := store.Bill(ctx, id)
	if err != nil {
		return fmt.Errorf("bill %d: %w", n, err)
	}
	details, err := store.Details(ctx, id)
	if err != nil {
		return fmt.Errorf("details of %d: %w", n, err)
	}
	order, err := store.Order(ctx, b.OrderKey())
	if err != nil {
		return fmt.Errorf("order of %d: %w", n, err)
	}
	history, err := store.History(ctx, id)
	if err != nil {
		return fmt.Errorf("history of %d: %w", n, err)
	}
	got := bill.Change{Order: &order, Bills: []bill.BillChange{{Bill: b, Details: &details, Events: history}}}
	if !cmp.Equal(want, got, cmpopts.EquateEmpty()) {
		return fmt.Errorf("bill %d is another: %.400s", n, cmp.Diff(want, got, cmpopts.EquateEmpty()))
	}
	return nil
}

// listed reads the whole listing.
func (s numberedStore) listed(store bill.Store) func() ([]string, error) {
	return func() (ids []string, err error) {
		for q := (bill.Query{Limit: 1000}); ; {
			page, next, err := store.List(context.Background(), q)
			if err != nil {
				return nil, err
			}
			for _, b := range page {
				ids = append(ids, b.ID)
			}
			if next == "" {
				return ids, nil
			}
			q.Cursor = next
		}
	}
}

// wantIDs compares a listing, in which young ones may be missing.
func (s numberedStore) wantIDs(what string, want []string, read func() ([]string, error)) error {
	got, err := read()
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	oldest := numberedBill(s.bills - s.young + 1).Bills[0].Bill.ID
	isOld := func(id string) bool { return id < oldest }
	if !slices.Equal(only(want, isOld), only(got, isOld)) || len(only(got, func(id string) bool { return !slices.Contains(want, id) })) > 0 {
		return fmt.Errorf("%s: %d ids, want %d", what, len(got), len(want))
	}
	return nil
}

func only(ids []string, selects func(string) bool) []string {
	return slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return !selects(id) })
}

// used returns the length of a file's content without the zeros behind it:
// those of its files that are mapped are made longer than what they hold.
func used(content []byte) int { return len(bytes.TrimRight(content, "\x00")) }
