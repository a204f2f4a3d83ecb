package payment_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/payment"
	"github.com/caddy-qlink/caddy-qlink/qlink"
	"github.com/caddy-qlink/caddy-qlink/store/memory"
)

// journal is a store that remembers its commits and may refuse one.
type journal struct {
	bill.Store

	mu      sync.Mutex
	commits []bill.Change
	refuse  func(bill.Change) error // nil: none
}

func (j *journal) Commit(ctx context.Context, c bill.Change) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.refuse != nil {
		if err := j.refuse(c); err != nil {
			return err
		}
	}
	j.commits = append(j.commits, c)
	return j.Store.Commit(ctx, c)
}

// kept puts a journal before the counter's store.
func (c *counter) kept() *journal {
	j := &journal{Store: c.store}
	c.store = j
	return j
}

func (j *journal) refuseAll(err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.refuse = func(bill.Change) error { return err }
}

func TestABillIsStoredBeforeTheGatewayHearsOfIt(t *testing.T) {
	at(t, func(t *testing.T, c *counter) {
		c.kept().refuseAll(errDisk)
		if _, err := c.create(order("15000")); !errors.Is(err, bill.ErrUnavailable) {
			t.Errorf("%v", err)
		}
		if n := c.gateway.count("apply"); n != 0 {
			t.Errorf("%d calls of /apply for a bill that was never stored", n)
		}
	})
}

func TestTheWishToCancelIsStoredBeforeTheGatewayHearsOfIt(t *testing.T) {
	at(t, func(t *testing.T, c *counter) {
		b := c.mustCreate(order("15000"), payment.OutcomeNew)
		c.kept().refuseAll(errDisk)
		if _, err := c.engine.Cancel(t.Context(), c.scope, b.ID, bill.CancelBuyer); !errors.Is(err, bill.ErrUnavailable) {
			t.Errorf("%v", err)
		}
		if n := c.gateway.count("cancel"); n != 0 {
			t.Errorf("%d calls of /cancel that nobody would know of after a crash", n)
		}
	})
}

// crossing is a store whose first two readers of an order have both read before
// either goes on.
type crossing struct {
	bill.Store

	mu    sync.Mutex
	reads int
	both  chan struct{}
}

func (x *crossing) Order(ctx context.Context, key bill.OrderKey) (bill.OrderRecord, error) {
	record, err := x.Store.Order(ctx, key)
	x.mu.Lock()
	x.reads++
	if x.reads == 2 {
		close(x.both)
	}
	x.mu.Unlock()
	<-x.both
	return record, err
}

// story 2, story 4: two nodes find no bill of an order, and both make one.
func TestTwoWhoReadTheSameOrderMakeOnePayment(t *testing.T) {
	at(t, func(t *testing.T, c *counter) {
		c.store = &crossing{Store: c.store, both: make(chan struct{})}
		ids := make(chan string, 2)
		for range 2 {
			go func() {
				created, err := c.create(order("15000"))
				if err != nil {
					t.Error(err)
				}
				ids <- created.Bill.ID
			}()
		}
		if first, second := <-ids, <-ids; first != second || c.gateway.count("apply") != 1 {
			t.Errorf("bills %s and %s, %d calls of /apply", first, second, c.gateway.count("apply"))
		}
	})
}

// story 13: the gateway sends again what was not acknowledged.
func TestAFailedCommitIsNoSuccess(t *testing.T) {
	at(t, func(t *testing.T, c *counter) {
		b := c.mustCreate(order("15000"), payment.OutcomeNew)
		j := c.kept()
		j.refuseAll(errDisk)
		if err := c.notify(b, "SUCCESS"); !errors.Is(err, bill.ErrUnavailable) {
			t.Errorf("a payment that was not stored: %v", err)
		}
		j.refuseAll(nil)
		if err := c.notify(b, "SUCCESS"); err != nil {
			t.Errorf("sent again: %v", err)
		}
		c.wantStatus(b.ID, bill.Success)
	})
}

// story 15: between a change and what the shop is told of it there is no
// moment at which a process could die.
func TestAChangeAndWhatTheShopIsToldOfItAreOneCommit(t *testing.T) {
	j := &journal{Store: memory.New()} // before the workers begin
	journaled := func(cfg *payment.Config) {
		cfg.Store = func(context.Context) (bill.Store, func(), error) { return j, func() {}, nil }
	}
	notifiedWith(t, journaled, func(t *testing.T, c *counter, _ *mailbox) {
		b := c.mustCreate(order("15000"), payment.OutcomeNew)
		if err := c.notify(b, "SUCCESS"); err != nil {
			t.Fatal(err)
		}
		j.mu.Lock()
		defer j.mu.Unlock()
		paid := slices.IndexFunc(j.commits, func(change bill.Change) bool {
			return len(change.Bills) > 0 && change.Bills[0].Bill.Status == bill.Success
		})
		if paid < 0 {
			t.Fatal("no commit holds the payment")
		}
		told := j.commits[paid].Notifications
		if len(told) != 1 || told[0].Type != bill.BillPaid || told[0].Bill != b.ID {
			t.Errorf("the payment's commit tells the shop of %+v", told)
		}
	})
}

// A batch that leaves a bill out says nothing about it: it is asked after
// alone, and what comes of that counts.
func TestMissingFromABatchProvesNothing(t *testing.T) {
	reconciled(t, func(t *testing.T, c *counter) {
		first := c.mustCreate(order("1"), payment.OutcomeNew)
		other := order("2")
		other.OrderCode = "O2"
		second := c.mustCreate(other, payment.OutcomeNew)
		c.gateway.pay(first.ID) // the gateway answers a list with one object, the first's
		c.gateway.pay(second.ID)
		pass(time.Minute)
		for _, id := range []string{first.ID, second.ID} {
			if b := c.wantStatus(id, bill.Success); b.Unknowns != 0 {
				t.Errorf("not known %d times, of a bill that was never asked after alone", b.Unknowns)
			}
		}
	})
}

func TestAnAnswerAboutAnotherBillIsNoProofThatOursIsUnknown(t *testing.T) {
	at(t, func(t *testing.T, c *counter) {
		c.gateway.set(func() { c.gateway.applyErr, c.gateway.applyLost = failed(qlink.KindUnclear), true })
		b := c.mustCreate(order("15000"), payment.OutcomeUnknown)
		answers := &strangers{Gateway: c.account.Gateway}
		c.account.Gateway = answers
		for range 4 {
			pass(time.Minute)
			if _, err := c.engine.Refresh(t.Context(), c.scope, b.ID); err != nil {
				t.Fatal(err)
			}
		}
		if answers.asked < 2 || c.gateway.count("apply") != 1 || c.bill(b.ID).Unknowns != 0 {
			t.Errorf("asked %d times, applied for %d times, counted as not known %d times",
				answers.asked, c.gateway.count("apply"), c.bill(b.ID).Unknowns)
		}
	})
}

// strangers is a gateway that answers every question with another bill's row.
type strangers struct {
	payment.Gateway
	asked int
}

func (s *strangers) GetPayStatus(context.Context, []string, []string) (qlink.StatusAnswer, error) {
	s.asked++
	return qlink.StatusAnswer{Rows: []qlink.PayStatus{{TradeUUID: "another", Status: qlink.ParseStatus("SUCCESS")}}}, nil
}

func TestAFailedQueryProvesNothing(t *testing.T) {
	at(t, func(t *testing.T, c *counter) {
		c.gateway.set(func() {
			c.gateway.applyErr, c.gateway.applyLost = failed(qlink.KindUnclear), true
			c.gateway.queryErr = failed(qlink.KindUnclear)
		})
		b := c.mustCreate(order("15000"), payment.OutcomeUnknown)
		for range 4 {
			pass(time.Minute)
			if _, err := c.engine.Refresh(t.Context(), c.scope, b.ID); err != nil {
				t.Fatal(err)
			}
		}
		if n := c.gateway.count("apply"); n != 1 {
			t.Errorf("applied for %d times", n)
		}
		c.wantStatus(b.ID, bill.Created)
	})
}

// story 36: one store holds the orders of two endpoints.
func TestAnOrderPaidInTestIsNotPaidInLive(t *testing.T) {
	live := &payment.Account{Name: "live", Ledger: "live", AppKey: "app", Gateway: newGateway(), LiveMode: true, CallTimeout: time.Second, StatusBatch: 50}
	join := func(cfg *payment.Config) { cfg.Accounts = append(cfg.Accounts, live) }
	atWith(t, join, func(t *testing.T, c *counter) {
		b := c.mustCreate(order("15000"), payment.OutcomeNew)
		if err := c.notify(b, "SUCCESS"); err != nil {
			t.Fatal(err)
		}
		created, err := c.engine.Create(t.Context(), payment.Scope{Account: live, Shop: "default"}, order("15000"), payment.HandOver{At: time.Now()})
		if err != nil || created.Outcome != payment.OutcomeNew || created.Bill.ID == b.ID || created.Bill.Attempt != 1 {
			t.Errorf("%q attempt %d, %v", created.Outcome, created.Bill.Attempt, err)
		}
	})
}

// story 3, story 31: what is paid is paid, but not for another price.
func TestAPaidOrderAtAnotherAmountIsRefused(t *testing.T) {
	at(t, func(t *testing.T, c *counter) {
		b := c.mustCreate(order("15000"), payment.OutcomeNew)
		if err := c.notify(b, "SUCCESS"); err != nil {
			t.Fatal(err)
		}
		dearer, dollars := order("20000"), order("15000")
		dollars.Currency = "USD"
		for _, o := range []bill.Order{dearer, dollars} {
			if _, err := c.create(o); refusal(err) != payment.CodePaidOtherwise {
				t.Errorf("%s %s: %v", o.Amount, o.Currency, err)
			}
		}
		if again := c.mustCreate(order("15000.00"), payment.OutcomeExisting); again.ID != b.ID || c.gateway.count("apply") != 1 {
			t.Errorf("the same amount, written in another way: %+v", again)
		}
	})
}

// overtaken is a store in which something happens once, just after an order
// was read.
type overtaken struct {
	bill.Store

	by func()
}

func (o *overtaken) Order(ctx context.Context, key bill.OrderKey) (bill.OrderRecord, error) {
	record, err := o.Store.Order(ctx, key)
	if by := o.by; by != nil {
		o.by = nil
		by()
	}
	return record, err
}

func TestTwoAttemptsPaidAtOnceAreBothTakenAndOneIsToBeGivenBack(t *testing.T) {
	at(t, func(t *testing.T, c *counter) {
		first := c.mustCreate(order("15000"), payment.OutcomeNew)
		if err := c.notify(first, "FAIL"); err != nil {
			t.Fatal(err)
		}
		second := c.mustCreate(order("15000"), payment.OutcomeNew)
		c.store = &overtaken{Store: c.store, by: func() {
			if err := c.notify(second, "SUCCESS"); err != nil {
				t.Error(err)
			}
		}}
		if err := c.notify(first, "SUCCESS"); err != nil {
			t.Fatal(err)
		}
		if b := c.wantStatus(second.ID, bill.Success); b.RefundDue {
			t.Error("a refund is due of the payment that came first")
		}
		if b := c.wantStatus(first.ID, bill.Success); !b.RefundDue {
			t.Error("paid twice, and no refund is due")
		}
	})
}

// crossed is a store in which something happens once, just after the
// bill was read in the state that is waited for.
type crossed struct {
	bill.Store

	when func(bill.Bill) bool
	by   func()
}

func (i *crossed) Bill(ctx context.Context, id string) (bill.Bill, error) {
	b, err := i.Store.Bill(ctx, id)
	if by := i.by; by != nil && err == nil && i.when(b) {
		i.by = nil
		by()
		return i.Store.Bill(ctx, id)
	}
	return b, err
}

// A bill without an action is cancelled unless it is paid: a payment just then
// is the answer to who asked, and no error.
func TestAPaymentBetweenALostActionAndItsCancelIsNoError(t *testing.T) {
	at(t, func(t *testing.T, c *counter) {
		c.gateway.set(func() { c.gateway.applyErr, c.gateway.applyLost = failed(qlink.KindUnclear), true })
		b := c.mustCreate(order("15000"), payment.OutcomeUnknown)
		c.gateway.set(func() { c.gateway.applyErr, c.gateway.applyLost = refused("known already"), false })
		pass(time.Minute)
		c.store = &crossed{
			Store: c.store,
			when:  func(b bill.Bill) bool { return b.Apply.ActionAsked && !b.Apply.EndedAt.IsZero() },
			by: func() {
				if err := c.notify(b, "SUCCESS"); err != nil {
					t.Error(err)
				}
			},
		}
		after, err := c.engine.Refresh(t.Context(), c.scope, b.ID)
		if err != nil || after.Status != bill.Success {
			t.Errorf("%s, %v", after.Status, err)
		}
		if n := c.gateway.count("cancel"); n != 0 {
			t.Errorf("%d calls of /cancel for a paid bill", n)
		}
	})
}
