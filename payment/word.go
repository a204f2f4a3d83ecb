package payment

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/qlink"
)

// reportCalls is how many questions of one report are under way at a time: it
// must not crowd out buyers.
const reportCalls = 8

// maxReads bounds how often one bill is read again because it moved.
const maxReads = 3

// errLeftAlone: the breaker is open.
var errLeftAlone = errors.New("the gateway has failed to answer, and is left alone for a while")

// entry is a bill with what the gateway says of it. Exactly one of unsent, reason
// and the word holds.
type entry struct {
	bill    bill.Bill
	account *Account // nil: not configured

	unsent bool // the gateway was never told of the bill
	reason UnansweredReason
	said   string // the error's words beside reason
	word   word
	differ difference
}

// entry returns the entry of b, for which nobody has been asked yet.
func (a *audit) entry(b bill.Bill) *entry {
	n := &entry{bill: b, account: a.engine.accountOf(b)}
	switch {
	case neverSent(b):
		n.unsent = true
	case n.account == nil:
		n.reason = ReasonAccountGone
	}
	return n
}

// neverSent reports whether the gateway certainly was not told of b. What was
// forgotten does not say.
func neverSent(b bill.Bill) bool {
	untouched := b.Apply.Tries == 0 && b.BillCode == "" && b.ForgottenAt.IsZero() && !b.Unconfirmed()
	return b.Status == bill.Choose || b.Status != bill.Success && untouched
}

// ask asks the gateways after those of the bills that they can know, in the
// batches that each account allows.
func (a *audit) ask(ctx context.Context, entries []*entry) error {
	byAccount := make(map[*Account][]*entry)
	for _, n := range entries {
		if !n.unsent && n.account != nil {
			byAccount[n.account] = append(byAccount[n.account], n)
		}
	}
	var batches [][]*entry
	for account, own := range byAccount {
		batches = slices.AppendSeq(batches, slices.Chunk(own, max(account.StatusBatch, 1)))
	}
	errs := make([]error, len(batches))
	places := make(chan struct{}, reportCalls)
	var running sync.WaitGroup
	for i, batch := range batches {
		places <- struct{}{}
		running.Go(func() {
			defer func() { <-places }()
			errs[i] = a.askBatch(ctx, batch)
		})
	}
	running.Wait()
	for _, err := range errs {
		if err != nil {
			return err // the others say the same
		}
	}
	return nil
}

// askBatch asks after bills of one account together, then alone after those
// that the answer does not show: that proves nothing. Only the context's end and
// the store bring an error.
func (a *audit) askBatch(ctx context.Context, batch []*entry) error {
	answer, err := a.question(ctx, batch)
	for _, n := range batch {
		n.hear(answer, err)
		if len(batch) > 1 && n.askAlone() {
			n.hear(a.question(ctx, []*entry{n}))
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := a.sure(ctx, n); err != nil {
			return err
		}
	}
	return nil
}

// question asks after bills of one account, unless its gateway is left alone or
// has turned its key down.
func (a *audit) question(ctx context.Context, entries []*entry) (qlink.StatusAnswer, error) {
	account := entries[0].account
	gateway := account.Gateway.(*watched)
	ids := make([]string, len(entries))
	for i, n := range entries {
		ids[i] = n.bill.ID
	}
	if err := a.turnedDown(account, nil); err != nil {
		return qlink.StatusAnswer{}, err
	}
	if !gateway.answers(ctx, ids[0]) {
		return qlink.StatusAnswer{}, errLeftAlone
	}
	answer, err := gateway.GetPayStatus(ctx, ids, nil)
	if kindOf(err) == qlink.KindAuth {
		_ = a.turnedDown(account, err)
	}
	return answer, err
}

// turnedDown keeps the error with which a gateway turned an account's key or
// signature down, and returns the one that was kept: asking on like that may
// close the account.
func (a *audit) turnedDown(account *Account, err error) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err != nil {
		a.turned[account] = err
	}
	return a.turned[account]
}

// kindOf returns the kind of a gateway's error; KindUnclear for any other.
func kindOf(err error) qlink.Kind {
	if failure, ok := errors.AsType[*qlink.Error](err); ok {
		return failure.Kind
	}
	return qlink.KindUnclear
}

// hear takes in an answer.
func (n *entry) hear(answer qlink.StatusAnswer, err error) {
	n.word, n.reason, n.said = word{}, "", ""
	row, found := answer.Find(n.bill.ID, n.bill.BillCode)
	switch {
	case err == nil && found:
		n.word = word{known: true, row: row}
		return
	case err == nil && answer.Empty:
		return
	case err == nil:
		n.reason, n.said = ReasonNoAnswer, "the answer does not show the bill"
		return
	case errors.Is(err, errLeftAlone):
		n.reason = ReasonGatewayDown
	case kindOf(err) == qlink.KindAuth:
		n.reason = ReasonNotAccepted
	case kindOf(err) == qlink.KindRefused:
		n.reason = ReasonRefused
	default:
		n.reason = ReasonNoAnswer
	}
	n.said = cut(err.Error())
}

// askAlone reports whether a question about this bill alone may tell more than
// the one about its batch did.
func (n *entry) askAlone() bool {
	return !n.word.known && n.reason != ReasonGatewayDown && n.reason != ReasonNotAccepted
}

// sure compares, and where the two differ makes sure that the bill has not
// moved since it was read. One that keeps moving is in flight.
func (a *audit) sure(ctx context.Context, n *entry) error {
	for range maxReads {
		if n.weigh(a.engine.now()); n.differ.kind == "" {
			return nil
		}
		now, err := a.read(ctx, n.bill.ID)
		if err != nil {
			return err
		}
		if now.Version == n.bill.Version && now.Unconfirmed() == n.bill.Unconfirmed() {
			return nil
		}
		n.bill = now
		n.hear(a.question(ctx, []*entry{n}))
	}
	n.weigh(a.engine.now())
	n.differ.inFlight = true
	return ctx.Err()
}

// weigh compares the bill with the gateway's word, where there is one.
func (n *entry) weigh(now time.Time) {
	n.differ = difference{}
	if n.reason == "" {
		n.differ = compare(n.bill, n.word, now)
	}
}

func (a *audit) read(ctx context.Context, id string) (b bill.Bill, err error) {
	err = a.withStore(ctx, func(store bill.Store) error {
		b, err = store.Bill(ctx, id)
		return err
	})
	return b, err
}
