package payment_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/payment"
	"github.com/caddy-qlink/caddy-qlink/qlink"
)

// offering makes the counter's account offer two ways.
func offering(cfg *payment.Config) {
	d := &cfg.Accounts[0].Defaults
	d.Choice, d.Offer = true, []bill.Way{{PayType: "ONLINE", PayChannel: "QRIS"}, {PayType: "BANK", PayChannel: "VA"}}
}

// unchosen is an order that names no channel, as ParseOrder leaves it.
func unchosen(amount string) bill.Order {
	o := order(amount)
	o.PayType, o.PayChannel = "", ""
	return o
}

// named is one that names its channel itself.
func named(channel string) bill.Order {
	o := order("15000")
	o.PayChannel, o.ChannelSet = channel, true
	return o
}

func (c *counter) choose(id, payType, channel string) (bill.Bill, error) {
	return c.engine.Choose(c.t.Context(), c.scope, id, payType, channel)
}

// silent fails the test if the gateway was told anything about a bill.
func (c *counter) silent() {
	c.t.Helper()
	if n := c.gateway.count("apply") + c.gateway.count("query") + c.gateway.count("cancel"); n != 0 {
		c.t.Errorf("the gateway was called: %q", c.gateway.calls)
	}
}

func TestAnOrderWithoutAChannelWaitsForTheBuyersChoiceAndIsAppliedForByIt(t *testing.T) {
	atWith(t, offering, func(t *testing.T, c *counter) {
		b := c.mustCreate(unchosen("15000"), payment.OutcomeNew)
		if b.Status != bill.Choose || b.PayChannel != "" {
			t.Fatalf("%s by %q", b.Status, b.PayChannel)
		}
		if again := c.mustCreate(unchosen("15000"), payment.OutcomeExisting); again.ID != b.ID {
			t.Error("the same order got another bill")
		}
		c.silent()
		chosen, err := c.choose(b.ID, "BANK", "VA")
		if err != nil || chosen.Status != bill.Wait || chosen.PayChannel != "VA" || chosen.PayType != "BANK" || chosen.Action.Value == "" {
			t.Fatalf("%+v, %v", chosen, err)
		}
		if chosen.Version <= b.Version {
			t.Errorf("version %d after %d", chosen.Version, b.Version)
		}
		if p := c.gateway.ledger[b.ID]; p == nil || p.channel != "BANK/VA" || p.amount != "15000" || c.gateway.count("apply") != 1 {
			t.Errorf("the gateway was asked for %+v by %d /apply", p, c.gateway.count("apply"))
		}
		if again := c.mustCreate(unchosen("15000"), payment.OutcomeExisting); again.ID != b.ID {
			t.Error("the same order got another bill once it was chosen")
		}
		history, err := c.store.History(t.Context(), b.ID)
		if err != nil || len(history) != 3 || history[1].Kind != bill.EventChosen || history[1].Way.PayChannel != "VA" || history[1].Source != bill.ByBuyer {
			t.Errorf("%+v, %v", history, err)
		}
	})
}

func TestOnlyWhatIsOfferedCanBeChosen(t *testing.T) {
	atWith(t, offering, func(t *testing.T, c *counter) {
		b := c.mustCreate(unchosen("15000"), payment.OutcomeNew)
		for _, way := range [][2]string{{"ONLINE", "VA"}, {"BANK", "QRIS"}, {"", "VA"}, {"BANK", ""}, {"bank", "va"}, {"CARD", "CARDS"}} {
			if _, err := c.choose(b.ID, way[0], way[1]); refusal(err) != payment.CodeNotOffered {
				t.Errorf("%q: %v", way, err)
			}
		}
		c.silent()
		if after := c.bill(b.ID); after.Revision != b.Revision {
			t.Errorf("the bill changed: %+v", after)
		}
	})
}

func TestAnOrdersOwnTypeLeavesTheOthersOut(t *testing.T) {
	atWith(t, offering, func(t *testing.T, c *counter) {
		o := unchosen("15000")
		o.PayType = "BANK"
		b := c.mustCreate(o, payment.OutcomeNew)
		if _, err := c.choose(b.ID, "ONLINE", "QRIS"); refusal(err) != payment.CodeNotOffered {
			t.Errorf("another type: %v", err)
		}
		if chosen, err := c.choose(b.ID, "BANK", "VA"); err != nil || chosen.Status != bill.Wait {
			t.Errorf("%s, %v", chosen.Status, err)
		}
	})
}

// story 4: two tabs both pay.
func TestSixtyFourChoicesAreOnePayment(t *testing.T) {
	atWith(t, listing, func(t *testing.T, c *counter) {
		b := c.mustCreate(unchosen("15000"), payment.OutcomeNew)
		list, hold := make(chan struct{}), make(chan struct{})
		c.gateway.set(func() { c.gateway.methods, c.gateway.listing, c.gateway.applying = listed, list, hold })
		ways := []bill.Way{{PayType: "ONLINE", PayChannel: "QRIS"}, {PayType: "SCAN", PayChannel: "DANA"}}
		var wg sync.WaitGroup
		var mu sync.Mutex
		taken, late := make(map[string]int), make(map[string]int) // by channel that was chosen
		for i := range 64 {
			wg.Go(func() {
				got, err := c.choose(b.ID, ways[i%2].PayType, ways[i%2].PayChannel)
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err == nil && got.Status == bill.Wait && got.Action.Value != "" && got.PayChannel == ways[i%2].PayChannel:
					taken[ways[i%2].PayChannel]++
				case refusal(err) == payment.CodeNotChoosable && got.ID == b.ID:
					late[ways[i%2].PayChannel]++
				default:
					t.Errorf("%s by %s, %v", got.Status, got.PayChannel, err)
				}
			})
		}
		synctest.Wait() // all have seen that there is a choice
		close(list)
		synctest.Wait() // one of them is at the gateway
		close(hold)
		wg.Wait()
		channel := c.bill(b.ID).PayChannel
		if c.gateway.count("apply") != 1 || taken[channel] != 32 || len(taken) != 1 || len(late) != 1 || late[channel] != 0 {
			t.Errorf("%d /apply for %s; taken %v, late %v", c.gateway.count("apply"), channel, taken, late)
		}
		if diff := cmp.Diff(map[string]int{"WAIT": 1}, c.gateway.booked("O1")); diff != "" {
			t.Error(diff)
		}
	})
}

func TestWhatIsNotToBeChosenIsNotChosen(t *testing.T) {
	atWith(t, offering, func(t *testing.T, c *counter) {
		b := c.mustCreate(named("QRIS"), payment.OutcomeNew) // the shop's own choice
		for _, step := range []func() error{
			func() error { return nil },
			func() error { _, err := c.engine.Cancel(t.Context(), c.scope, b.ID, bill.CancelBuyer); return err },
			func() error { return c.notify(b, "SUCCESS") },
		} {
			if err := step(); err != nil {
				t.Fatal(err)
			}
			_, err := c.choose(b.ID, "ONLINE", "QRIS")
			if r, ok := errors.AsType[*payment.Refusal](err); !ok || r.Code != payment.CodeNotChoosable || r.Bill.ID != b.ID {
				t.Errorf("in %s: %v", c.bill(b.ID).Status, err)
			}
		}
		other := payment.Scope{Account: c.account, Shop: "another"}
		if _, err := c.engine.Choose(t.Context(), other, b.ID, "ONLINE", "QRIS"); !errors.Is(err, bill.ErrNotFound) {
			t.Errorf("another shop's: %v", err)
		}
	})
}

func TestAnOrderThatNamesItsChannelEndsTheChoiceAndIsAppliedForAtOnce(t *testing.T) {
	atWith(t, offering, func(t *testing.T, c *counter) {
		b := c.mustCreate(unchosen("15000"), payment.OutcomeNew)
		next := c.mustCreate(named("DANA"), payment.OutcomeNew)
		if next.Attempt != 2 || next.Status != bill.Wait || next.PayChannel != "DANA" {
			t.Errorf("%+v", next)
		}
		c.wantStatus(b.ID, bill.Canceled)
		if _, err := c.choose(b.ID, "ONLINE", "QRIS"); refusal(err) != payment.CodeNotChoosable {
			t.Errorf("the ended one: %v", err)
		}
		if c.gateway.count("apply") != 1 || c.gateway.count("cancel") != 0 {
			t.Errorf("%q", c.gateway.calls)
		}
	})
}

func TestAChoiceThatNobodyMadeInTimeEndsHereAlsoWhileTheGatewayIsAway(t *testing.T) {
	reconciledWith(t, offering, func(t *testing.T, c *counter) {
		o := unchosen("15000")
		o.ExpiresIn = 5 * time.Minute
		b := c.mustCreate(o, payment.OutcomeNew)
		c.gateway.set(func() { c.gateway.queryErr, c.gateway.cancelErr = failed(qlink.KindNotSent), failed(qlink.KindNotSent) })
		for i := range 10 { // whose questions nobody answers
			if _, err := c.createOf("", fmt.Sprint("other-", i)); err != nil {
				t.Fatal(err)
			}
		}
		pass(5*time.Minute + 2*time.Second)
		if ended := c.wantStatus(b.ID, bill.Expired); ended.SettledBy != bill.ByExpiry || !ended.Due.IsZero() {
			t.Errorf("%+v", ended)
		}
		if c.gateway.count("query "+b.ID) != 0 || c.gateway.count("cancel "+b.ID) != 0 {
			t.Error("the gateway was told of it")
		}
	})
}

func TestAChoiceAfterItsTimeIsRefused(t *testing.T) {
	atWith(t, offering, func(t *testing.T, c *counter) {
		b := c.mustCreate(unchosen("15000"), payment.OutcomeNew)
		pass(24 * time.Hour)
		if _, err := c.choose(b.ID, "ONLINE", "QRIS"); refusal(err) != payment.CodeNotChoosable {
			t.Errorf("%v", err)
		}
		c.wantStatus(b.ID, bill.Expired)
		c.silent()
	})
}

func TestAChannelsOwnTimeBeginsWithTheChoiceUnlessTheOrderHasSetOne(t *testing.T) {
	for name, test := range map[string]struct {
		own       time.Duration // of the channel
		expiresIn time.Duration
		want      time.Duration // after the creation; 0: never
	}{
		"shorter":         {time.Hour, 0, 3 * time.Hour},
		"longer":          {48 * time.Hour, 0, 50 * time.Hour},
		"never":           {0, 0, 0},
		"the order's own": {time.Hour, 5 * time.Hour, 5 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			atWith(t, offering, func(t *testing.T, c *counter) {
				c.account.ExpireChannel["VA"] = test.own
				o := unchosen("15000")
				o.ExpiresIn = test.expiresIn
				b := c.mustCreate(o, payment.OutcomeNew)
				pass(2 * time.Hour)
				got, err := c.choose(b.ID, "BANK", "VA")
				want := b.CreatedAt.Add(test.want)
				if test.want == 0 {
					want = time.Time{}
				}
				if err != nil || !got.ExpiresAt.Equal(want) {
					t.Errorf("ends %v, want %v; %v", got.ExpiresAt, want, err)
				}
			})
		})
	}
	atWith(t, offering, func(t *testing.T, c *counter) {
		b := c.mustCreate(unchosen("15000"), payment.OutcomeNew)
		pass(2 * time.Hour)
		if got, err := c.choose(b.ID, "ONLINE", "QRIS"); err != nil || !got.ExpiresAt.Equal(b.ExpiresAt) {
			t.Errorf("a channel without a rule: ends %v instead of %v, %v", got.ExpiresAt, b.ExpiresAt, err)
		}
	})
}

// The process died between the choice and the gateway's answer, whether or not
// the call had reached it.
func TestACrashAfterTheChoiceIsResolvedAsForAnyBillThatWasCreated(t *testing.T) {
	for name, reached := range map[string]bool{"the call had reached the gateway": true, "it had not": false} {
		t.Run(name, func(t *testing.T) {
			reconciledWith(t, offering, func(t *testing.T, c *counter) {
				b := c.mustCreate(unchosen("15000"), payment.OutcomeNew)
				now := time.Now().UTC()
				step, err := c.bill(b.ID).Next(bill.Event{
					Kind: bill.EventChosen, At: now, Source: bill.ByBuyer,
					Way: bill.Way{PayType: "BANK", PayChannel: "VA"}, ExpiresAt: now.Add(time.Hour),
				}, bill.Rules{})
				if err != nil {
					t.Fatal(err)
				}
				step.Bill.Due = now
				record, err := c.store.Order(t.Context(), b.OrderKey())
				if err != nil {
					t.Fatal(err)
				}
				record, _ = record.With(step.Bill)
				record.Revision++
				change := bill.Change{Order: &record, Bills: []bill.BillChange{{Bill: step.Bill, Events: []bill.Event{step.Line}}}}
				if err := c.store.Commit(t.Context(), change); err != nil {
					t.Fatal(err)
				}
				if reached {
					c.gateway.set(func() {
						c.gateway.ledger[b.ID] = &booking{id: b.ID, order: "O1", currency: "IDR", status: "WAIT", channel: "BANK/VA"}
					})
				}
				pass(2 * time.Minute)
				after := c.wantStatus(b.ID, bill.Wait)
				if after.Action.Value == "" || c.gateway.ledger[b.ID].channel != "BANK/VA" || len(c.gateway.ledger) != 1 {
					t.Errorf("%+v at the gateway: %+v", after, c.gateway.ledger)
				}
			})
		})
	}
}

func TestAChoiceThatTheGatewayRefusesHasFailedAndIsToldToTheShop(t *testing.T) {
	atWith(t, offering, func(t *testing.T, c *counter) {
		b := c.mustCreate(unchosen("15000"), payment.OutcomeNew)
		c.gateway.set(func() { c.gateway.applyErr = refused("the channel is closed") })
		for range 2 { // the second is the double click
			if got, err := c.choose(b.ID, "BANK", "VA"); err != nil || got.Status != bill.Fail {
				t.Errorf("%s, %v", got.Status, err)
			}
		}
		if n := c.gateway.count("apply"); n != 1 {
			t.Errorf("%d /apply", n)
		}
	})
}

// story 4: while an earlier attempt is reported as paid, a choice made
// meanwhile would be a second payment.
func TestNothingIsChosenBesideAReportedPayment(t *testing.T) {
	atWith(t, func(cfg *payment.Config) { offering(cfg); confirmed(cfg) }, func(t *testing.T, c *counter) {
		first := c.mustCreate(unchosen("15000"), payment.OutcomeNew)
		first, err := c.choose(first.ID, "ONLINE", "QRIS")
		if err != nil {
			t.Fatal(err)
		}
		c.gateway.set(func() { c.gateway.ledger[first.ID].status = "FAIL" })
		c.mustNotify(first, "FAIL")
		second := c.mustCreate(unchosen("15000"), payment.OutcomeNew)
		c.gateway.set(func() { c.gateway.queryErr = failed(qlink.KindUnclear) })
		c.mustNotify(first, "SUCCESS")
		_, err = c.choose(second.ID, "ONLINE", "QRIS")
		refusal, ok := errors.AsType[*payment.Refusal](err)
		if !ok || refusal.Code != payment.CodePreviousOpen || refusal.Bill.ID != first.ID {
			t.Errorf("chosen: %v", err)
		}
		if n := c.gateway.count("apply"); n != 1 {
			t.Errorf("%d calls of /apply", n)
		}
		if b := c.bill(second.ID); b.Status != bill.Choose {
			t.Errorf("the choice is %s", b.Status)
		}
		c.gateway.set(func() { c.gateway.queryErr = nil })
		c.gateway.pay(first.ID)
		pass(time.Minute)
		if _, err := c.engine.Refresh(t.Context(), c.scope, first.ID); err != nil {
			t.Fatal(err)
		}
		c.wantStatus(first.ID, bill.Success)
		c.wantStatus(second.ID, bill.Canceled)
	})
}
