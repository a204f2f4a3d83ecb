package payment_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/payment"
)

// within is for how long buyers may try again.
const within = 10 * time.Minute

func (c *counter) retry(id string) (payment.Created, error) {
	return c.engine.Retry(c.t.Context(), c.scope, id, within, payment.HandOver{Client: buyer, PayURL: func(id string) string { return "https://shop.example/pay/" + id }})
}

// wantRefused wants a retry of a bill to be refused, and on account of which.
func (c *counter) wantRefused(id string, code payment.Code, because string) {
	c.t.Helper()
	created, err := c.retry(id)
	if r, ok := errors.AsType[*payment.Refusal](err); !ok || r.Code != code || r.Bill == nil || r.Bill.ID != because {
		c.t.Errorf("%+v, %v; want %s because of %s", created, err, code, because)
	}
}

// failedBill is one that the gateway says has failed.
func (c *counter) failedBill(o bill.Order) bill.Bill {
	c.t.Helper()
	b := c.mustCreate(o, payment.OutcomeNew)
	if err := c.notify(b, "FAIL"); err != nil {
		c.t.Fatal(err)
	}
	return c.wantStatus(b.ID, bill.Fail)
}

func (c *counter) details(id string) bill.Details {
	c.t.Helper()
	d, err := c.store.Details(c.t.Context(), id)
	if err != nil {
		c.t.Fatal(err)
	}
	return d
}

func TestABuyersNewAttemptIsTheSameOrderToBePaidTheSameWay(t *testing.T) {
	at(t, func(t *testing.T, c *counter) {
		o := named("VA")
		o.Amount, o.ExpiresIn = "15000.00", 20*time.Minute
		o.Details = bill.Details{Description: "two cups", Metadata: `{"cart":7}`, ReturnURL: "/thanks", Items: []bill.Item{{SKUCode: "C", SKUName: "cup", Quantity: "2"}}}
		b := c.failedBill(o)
		pass(time.Minute)
		created, err := c.retry(b.ID)
		if err != nil || created.Outcome != payment.OutcomeNew {
			t.Fatalf("%+v, %v", created, err)
		}
		next := created.Bill
		if next.ID == b.ID || next.Attempt != 2 || next.RetryOf != b.ID || next.Status != bill.Wait || next.PayURL != "https://shop.example/pay/"+next.ID {
			t.Errorf("%+v", next)
		}
		if !next.SignedAt.Equal(b.SignedAt) || next.ExpiresAt.Sub(next.CreatedAt) != 20*time.Minute {
			t.Errorf("handed over %v, ends %v", next.SignedAt, next.ExpiresAt)
		}
		if diff := cmp.Diff(c.details(b.ID), c.details(next.ID)); diff != "" {
			t.Errorf("details (-before +now):\n%s", diff)
		}
		if p := c.gateway.ledger[next.ID]; p == nil || p.amount != "15000.00" || p.channel != "ONLINE/VA" || c.gateway.count("apply") != 2 {
			t.Errorf("the gateway was asked for %+v by %d /apply", p, c.gateway.count("apply"))
		}
		if again := c.mustCreate(o, payment.OutcomeExisting); again.ID != next.ID {
			t.Error("the shop's own order is another bill")
		}
	})
}

// story 2, story 4, story 6
func TestSixtyFourPressesOfTryAgainAreOneAttempt(t *testing.T) {
	at(t, func(t *testing.T, c *counter) {
		b := c.failedBill(order("15000"))
		hold := make(chan struct{})
		c.gateway.set(func() { c.gateway.applying = hold })
		var wg sync.WaitGroup
		outcomes := make(chan payment.Created, 64)
		for range 64 {
			wg.Go(func() {
				created, err := c.retry(b.ID)
				if err != nil {
					t.Error(err)
				}
				outcomes <- created
			})
		}
		synctest.Wait()
		close(hold)
		wg.Wait()
		close(outcomes)
		ids, created := make(map[string]int), 0
		for o := range outcomes {
			ids[o.Bill.ID]++
			if o.Outcome == payment.OutcomeNew {
				created++
			}
		}
		if c.gateway.count("apply") != 2 || len(ids) != 1 || ids[b.ID] != 0 || created != 1 {
			t.Errorf("%d /apply, bills %v, %d new", c.gateway.count("apply"), ids, created)
		}
		if again, err := c.retry(b.ID); err != nil || again.Outcome != payment.OutcomeExisting || ids[again.Bill.ID] == 0 {
			t.Errorf("%+v, %v", again, err)
		}
	})
}

func TestAnAttemptThatTheGatewayRefusesIsNotFollowedByThePressOfBefore(t *testing.T) {
	at(t, func(t *testing.T, c *counter) {
		b := c.failedBill(order("15000"))
		c.gateway.set(func() { c.gateway.applyErr = refused("closed") })
		first, err := c.retry(b.ID)
		if err != nil || first.Outcome != payment.OutcomeRefused {
			t.Fatalf("%+v, %v", first, err)
		}
		if again, err := c.retry(b.ID); err != nil || again.Bill.ID != first.Bill.ID {
			t.Errorf("%+v, %v", again, err)
		}
		c.gateway.set(func() { c.gateway.applyErr = nil })
		if next, err := c.retry(first.Bill.ID); err != nil || next.Bill.Attempt != 3 || next.Outcome != payment.OutcomeNew {
			t.Errorf("%+v, %v", next, err)
		}
		third, _ := c.engine.Order(t.Context(), c.scope, "O1")
		c.wantRefused(b.ID, payment.CodePreviousOpen, third.OpenBill)
	})
}

func TestNobodyTriesAgainWhileTheBillIsOpenOrOnceTheOrderIsPaid(t *testing.T) {
	at(t, func(t *testing.T, c *counter) {
		b := c.mustCreate(order("15000"), payment.OutcomeNew)
		c.wantRefused(b.ID, payment.CodePreviousOpen, b.ID)
		if err := c.notify(b, "FAIL"); err != nil {
			t.Fatal(err)
		}
		next := c.mustCreate(order("15000"), payment.OutcomeNew) // the shop's own
		c.wantRefused(b.ID, payment.CodePreviousOpen, next.ID)
		if err := c.notify(next, "FAIL"); err != nil {
			t.Fatal(err)
		}
		c.wantRefused(b.ID, payment.CodeRetryNotAllowed, next.ID)
		if err := c.notify(b, "SUCCESS"); err != nil { // story 10
			t.Fatal(err)
		}
		c.wantRefused(b.ID, payment.CodeAlreadyPaid, b.ID)
		c.wantRefused(next.ID, payment.CodeAlreadyPaid, b.ID)
		if n := c.gateway.count("apply"); n != 2 {
			t.Errorf("%d /apply", n)
		}
	})
}

// story 5: "not successful, try again" shown after a payment.
func TestAPaymentThatTheGatewayKnowsOfIsSeenBeforeANewAttemptBegins(t *testing.T) {
	at(t, func(t *testing.T, c *counter) {
		b := c.failedBill(order("15000"))
		pass(time.Minute)
		c.gateway.pay(b.ID) // its notification is lost
		c.wantRefused(b.ID, payment.CodeAlreadyPaid, b.ID)
		if diff := cmp.Diff(map[string]int{"SUCCESS": 1}, c.gateway.booked("O1")); diff != "" {
			t.Error(diff)
		}
	})
}

func TestAReportedPaymentIsConfirmedBeforeANewAttemptBegins(t *testing.T) {
	at(t, func(t *testing.T, c *counter) {
		b := c.failedBill(order("15000"))
		c.account.ConfirmSuccess = true
		c.gateway.set(func() { c.gateway.queryEmpty = true })
		if err := c.notify(b, "SUCCESS"); err != nil {
			t.Fatal(err)
		}
		c.wantRefused(b.ID, payment.CodePreviousOpen, b.ID)
	})
}

func TestBuyersTryAgainForAsLongAsTheSiteAllowsAfterTheHandOver(t *testing.T) {
	at(t, func(t *testing.T, c *counter) {
		b := c.failedBill(order("15000"))
		if _, err := c.engine.Retry(t.Context(), c.scope, b.ID, 0, payment.HandOver{}); refusal(err) != payment.CodeRetryNotAllowed {
			t.Errorf("off: %v", err)
		}
		pass(within - time.Second)
		second, err := c.retry(b.ID)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.notify(second.Bill, "FAIL"); err != nil {
			t.Fatal(err)
		}
		pass(time.Second)
		c.wantRefused(second.Bill.ID, payment.CodeRetryNotAllowed, second.Bill.ID) // its own creation counts for nothing
		other := payment.Scope{Account: c.account, Shop: "another"}
		if _, err := c.engine.Retry(t.Context(), other, b.ID, within, payment.HandOver{}); !errors.Is(err, bill.ErrNotFound) {
			t.Errorf("another shop's: %v", err)
		}
	})
}

// The amount is the shop's to say: what it said before counts no longer.
func TestWhatTheShopTookBackOrChangedIsNotTriedAgain(t *testing.T) {
	for name, take := range map[string]func(c *counter) error{
		"cancelled by the shop once it had failed": func(c *counter) error {
			_, err := c.engine.CancelOrder(c.t.Context(), c.scope, "O1")
			return err
		},
		"handed over at another amount for which there was no room": func(c *counter) error {
			for _, code := range []string{"a", "b", "c"} {
				if _, err := c.createOf("", code); err != nil {
					return err
				}
			}
			if _, err := c.create(order("20000")); !errors.Is(err, payment.ErrTooManyOpen) {
				return errors.New("there was room")
			}
			return nil
		},
		"ended by an operator": func(c *counter) error {
			open, err := c.create(named("DANA"))
			if err == nil {
				_, err = c.operator().Force(c.t.Context(), open.Bill.ID, "lost")
			}
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			atWith(t, func(cfg *payment.Config) { cfg.OpenTotal = 3 }, func(t *testing.T, c *counter) {
				c.failedBill(order("15000"))
				if err := take(c); err != nil {
					t.Fatal(err)
				}
				known, err := c.engine.Order(t.Context(), c.scope, "O1")
				if err != nil {
					t.Fatal(err)
				}
				latest := known.Bills[0].ID
				c.wantRefused(latest, payment.CodeRetryNotAllowed, latest)
			})
		})
	}
}

// interrupted is a store whose first reading of details is preceded by somebody
// else's deed.
type interrupted struct {
	bill.Store
	once sync.Once
	deed func()
}

func (s *interrupted) Details(ctx context.Context, id string) (bill.Details, error) {
	s.once.Do(s.deed)
	return s.Store.Details(ctx, id)
}

func TestAShopThatTakesTheOrderBackWhileTheBuyerTriesAgainIsFirst(t *testing.T) {
	at(t, func(t *testing.T, c *counter) {
		b := c.failedBill(order("15000"))
		c.store = &interrupted{Store: c.store, deed: func() {
			if _, err := c.engine.CancelOrder(t.Context(), c.scope, "O1"); err != nil {
				t.Error(err)
			}
		}}
		c.wantRefused(b.ID, payment.CodeRetryNotAllowed, b.ID)
		if n := c.gateway.count("apply"); n != 1 {
			t.Errorf("%d /apply", n)
		}
	})
}

func TestAnOpenOrderThatTheShopTookBackIsNotTriedAgainUntilItIsHandedOverAnew(t *testing.T) {
	at(t, func(t *testing.T, c *counter) {
		b := c.mustCreate(order("15000"), payment.OutcomeNew)
		if _, err := c.engine.CancelOrder(t.Context(), c.scope, "O1"); err != nil {
			t.Fatal(err)
		}
		c.wantRefused(b.ID, payment.CodeRetryNotAllowed, b.ID)
		pass(2 * time.Second)
		next := c.failedBill(order("15000"))
		if created, err := c.retry(next.ID); err != nil || created.Outcome != payment.OutcomeNew {
			t.Errorf("%+v, %v", created, err)
		}
	})
}

func TestABuyerWhoCancelledMayTryAgain(t *testing.T) {
	at(t, func(t *testing.T, c *counter) {
		b := c.mustCreate(order("15000"), payment.OutcomeNew)
		if _, err := c.engine.Cancel(t.Context(), c.scope, b.ID, bill.CancelBuyer); err != nil {
			t.Fatal(err)
		}
		if created, err := c.retry(b.ID); err != nil || created.Bill.Status != bill.Wait {
			t.Errorf("%+v, %v", created, err)
		}
		if diff := cmp.Diff(map[string]int{"CANCEL": 1, "WAIT": 1}, c.gateway.booked("O1")); diff != "" {
			t.Error(diff)
		}
	})
}

func TestWhatWasLeftToTheBuyerIsChosenAnewAndNothingElse(t *testing.T) {
	atWith(t, offering, func(t *testing.T, c *counter) {
		o := unchosen("15000")
		o.PayType = "BANK"
		b := c.mustCreate(o, payment.OutcomeNew)
		if _, err := c.choose(b.ID, "BANK", "VA"); err != nil {
			t.Fatal(err)
		}
		if err := c.notify(c.bill(b.ID), "FAIL"); err != nil {
			t.Fatal(err)
		}
		created, err := c.retry(b.ID)
		next := created.Bill
		if err != nil || created.Outcome != payment.OutcomeNew || next.Status != bill.Choose || next.PayChannel != "" || c.gateway.count("apply") != 1 {
			t.Fatalf("%+v, %v after %d /apply", next, err, c.gateway.count("apply"))
		}
		if _, err := c.choose(next.ID, "ONLINE", "QRIS"); refusal(err) != payment.CodeNotOffered {
			t.Errorf("another type than the order's: %v", err)
		}
		if chosen, err := c.choose(next.ID, "BANK", "VA"); err != nil || chosen.Status != bill.Wait {
			t.Errorf("%s, %v", chosen.Status, err)
		}

		o = named("DANA")
		o.OrderCode = "O2"
		fixed := c.failedBill(o)
		if created, err := c.retry(fixed.ID); err != nil || created.Bill.PayChannel != "DANA" || created.Bill.Status != bill.Wait {
			t.Errorf("an order that named its channel: %+v, %v", created.Bill, err)
		}
	})
}

func TestAChoiceLeftOverFromAnOfferThatIsGoneIsTriedAgainByTheDefaultOrNotAtAll(t *testing.T) {
	atWith(t, offering, func(t *testing.T, c *counter) {
		b := c.mustCreate(unchosen("15000"), payment.OutcomeNew)
		if _, err := c.engine.Cancel(t.Context(), c.scope, b.ID, bill.CancelBuyer); err != nil {
			t.Fatal(err)
		}
		c.account.Defaults = bill.Defaults{}
		c.wantRefused(b.ID, payment.CodeRetryNotAllowed, b.ID)
		c.account.Defaults = bill.Defaults{PayType: "ONLINE", PayChannel: "QRIS"}
		if created, err := c.retry(b.ID); err != nil || created.Bill.Status != bill.Wait || created.Bill.PayChannel != "QRIS" {
			t.Errorf("%+v, %v", created.Bill, err)
		}
	})
}

func TestANewAttemptNeedsRoomAndDetails(t *testing.T) {
	atWith(t, threeOfEach, func(t *testing.T, c *counter) {
		b := c.failedBill(order("15000"))
		for _, o := range c.fill() {
			defer func() { c.wantStatus(o.ID, bill.Wait) }()
		}
		if _, err := c.retry(b.ID); !errors.Is(err, payment.ErrTooManyOpenOfClient) {
			t.Errorf("%v", err)
		}
		step, err := c.bill(b.ID).Next(bill.Event{Kind: bill.EventForgotten, At: time.Now().UTC()}, bill.Rules{})
		if err != nil {
			t.Fatal(err)
		}
		change := bill.Change{Bills: []bill.BillChange{{Bill: step.Bill, Events: []bill.Event{step.Line}, Forget: true}}}
		if err := c.store.Commit(t.Context(), change); err != nil {
			t.Fatal(err)
		}
		c.wantRefused(b.ID, payment.CodeRetryNotAllowed, b.ID)
	})
}
