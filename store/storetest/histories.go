package storetest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

// The size of one history: enough for every pair of kinds to meet, and little
// enough that checking it takes no time.
const (
	historyClients = 4
	historyCalls   = 8
	historyCheck   = time.Minute // at most, for one
)

// Histories lets several callers write and read one bill and its order at
// once, in n rounds on one store, and checks that each round's history is
// linearizable: that all of it could have been done one after the other, in an
// order that nobody's clock contradicts. A commit whose caller gave up may have
// happened, or not, or happen later. The seed decides what is called.
func Histories(t *testing.T, store bill.Store, n int, seed uint64) {
	t.Helper()
	histories(t, []bill.Store{store}, n, seed)
}

// histories has the callers take turns with the stores, which are one.
func histories(t *testing.T, stores []bill.Store, n int, seed uint64) {
	t.Helper()
	for round := range n {
		name := fmt.Sprintf("history-%d-%d", seed, round)
		history := record(t.Context(), stores, name, seed)
		for _, op := range history {
			if err := op.Output.(reply).err; err != nil {
				t.Fatalf("%s: %+v: %v", name, op.Input, err)
			}
		}
		if got := porcupine.CheckOperationsTimeout(registers, history, historyCheck); got != porcupine.Ok {
			t.Fatalf("%s is not linearizable (%s):\n%s", name, got, transcript(history))
		}
	}
}

func concurrentHistoriesOfOneBillAreLinearizable(t *testing.T, store bill.Store) {
	Histories(t, store, 25, 1)
}

// register is what a revision of a bill or an order holds, as far as a history
// tells it apart.
type register struct {
	revision uint64
	mark     int // of the call that wrote it
}

// registers is the model: a bill and its order, compared and set together.
var registers = (&porcupine.NondeterministicModel{
	Init: func() []any { return []any{held{}} },
	Step: func(state, input, output any) []any { return state.(held).after(input.(call), output.(reply)) },
}).ToModel()

// held is the state of a history.
type held struct{ bill, order register }

// call is what a caller asked for: to write the registers that have a
// revision, or else to read one.
type call struct {
	write       held
	ofOrder     bool // which one is read
	abandonment bool // the caller may give up
}

// reply is how a call ended.
type reply struct {
	read     register
	conflict bool
	unknown  bool
	err      error // nothing that a store may answer
}

// after returns the states that a call may have left, none where it cannot
// have ended so.
func (s held) after(c call, r reply) []any {
	if c.write == (held{}) {
		holds := s.bill
		if c.ofOrder {
			holds = s.order
		}
		if r.read != holds {
			return nil
		}
		return []any{s}
	}
	written, fits := s, true
	for _, one := range []struct{ from, to *register }{{&c.write.bill, &written.bill}, {&c.write.order, &written.order}} {
		if one.from.revision > 0 {
			fits = fits && one.from.revision == one.to.revision+1
			*one.to = *one.from
		}
	}
	switch {
	case r.unknown && fits:
		return []any{s, written}
	case r.unknown, r.conflict && !fits:
		return []any{s}
	case !r.conflict && fits:
		return []any{written}
	}
	return nil
}

// caller is one of those who work on a bill at once.
type caller struct {
	store bill.Store
	name  string // of the bill
	id    int
	rand  *rand.Rand
	clock *atomic.Int64 // one tick for each beginning and end: an order, no time
	seen  held          // as last read or written
	calls []porcupine.Operation
}

// record runs one round and returns its history.
func record(ctx context.Context, stores []bill.Store, name string, seed uint64) []porcupine.Operation {
	var clock atomic.Int64
	callers := make([]*caller, historyClients)
	begin := make(chan struct{})
	var running sync.WaitGroup
	for i := range callers {
		c := &caller{store: stores[i%len(stores)], name: name, id: i, clock: &clock, rand: rand.New(rand.NewPCG(seed, uint64(i)))} //nolint:gosec // chance that can be had again, no secret
		callers[i] = c
		running.Go(func() {
			<-begin
			for n := range historyCalls {
				c.one(ctx, i*historyCalls+n+1)
			}
		})
	}
	close(begin)
	running.Wait()
	var history []porcupine.Operation
	for _, c := range callers {
		history = append(history, c.calls...)
	}
	return history
}

// one makes one call and writes down how it ended.
func (c *caller) one(ctx context.Context, mark int) {
	in := c.choose(mark)
	began := c.clock.Add(1)
	out := c.do(ctx, in)
	ended := c.clock.Add(1)
	if out.unknown {
		ended = math.MaxInt64 // it may still happen
	}
	c.calls = append(c.calls, porcupine.Operation{ClientId: c.id, Input: in, Call: began, Output: out, Return: ended})
}

// choose decides what to call: half are reads, a tenth of the commits is
// abandoned.
func (c *caller) choose(mark int) call {
	var in call
	kind := c.rand.IntN(8)
	if kind < 4 {
		in.ofOrder = kind%2 == 1
		return in
	}
	if kind != 4 {
		in.write.bill = register{c.seen.bill.revision + 1, mark}
	}
	if kind == 4 || kind == 5 {
		in.write.order = register{c.seen.order.revision + 1, mark}
	}
	in.abandonment = c.rand.IntN(10) == 0
	return in
}

func (c *caller) do(ctx context.Context, in call) reply {
	if in.write != (held{}) {
		return c.commit(ctx, in)
	}
	var r reply
	if in.ofOrder {
		r.read, r.err = c.readOrder(ctx)
		c.seen.order = r.read
	} else {
		r.read, r.err = c.readBill(ctx)
		c.seen.bill = r.read
	}
	return r
}

func (c *caller) readBill(ctx context.Context) (register, error) {
	b, err := c.store.Bill(ctx, c.name)
	if errors.Is(err, bill.ErrNotFound) {
		return register{}, nil
	}
	return register{b.Revision, b.Unknowns}, err
}

func (c *caller) readOrder(ctx context.Context) (register, error) {
	record, err := c.store.Order(ctx, sample(c.name).OrderKey())
	if errors.Is(err, bill.ErrNotFound) {
		return register{}, nil
	}
	return register{record.Revision, len(record.Attempts)}, err
}

func (c *caller) commit(ctx context.Context, in call) reply {
	var change bill.Change
	if in.write.bill.revision > 0 {
		b := sample(c.name)
		b.Revision, b.Version, b.Unknowns = in.write.bill.revision, in.write.bill.revision, in.write.bill.mark
		change = only(b)
	}
	if in.write.order.revision > 0 {
		change.Order = &bill.OrderRecord{
			Key: sample(c.name).OrderKey(), Revision: in.write.order.revision, Attempts: make([]bill.Attempt, in.write.order.mark),
		}
	}
	if in.abandonment {
		abandoned, giveUp := context.WithCancel(ctx)
		defer giveUp()
		go giveUp() // before, while, or after it is written
		ctx = abandoned
	}
	err := c.store.Commit(ctx, change)
	switch {
	case err == nil:
		if in.write.bill.revision > 0 {
			c.seen.bill = in.write.bill
		}
		if in.write.order.revision > 0 {
			c.seen.order = in.write.order
		}
		return reply{}
	case errors.Is(err, bill.ErrConflict):
		return reply{conflict: true}
	case in.abandonment:
		return reply{unknown: true}
	}
	return reply{err: err}
}

// transcript lists a history for people.
func transcript(history []porcupine.Operation) string {
	var text strings.Builder
	for _, op := range history {
		fmt.Fprintf(&text, "caller %d, %d to %d: %+v: %+v\n", op.ClientId, op.Call, op.Return, op.Input, op.Output)
	}
	return text.String()
}
