package payment_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/payment"
	"github.com/caddy-qlink/caddy-qlink/qlink"
)

const reason = "the gateway has lost it"

func TestAnOperatorEndsAnOpenBillByForceAndTheShopIsTold(t *testing.T) {
	for name, test := range map[string]struct {
		channel string
		fault   error
		from    bill.Status
		known   bool // to the gateway, as far as anybody can tell
	}{
		"to be chosen":       {"", nil, bill.Choose, false},
		"never sent":         {"QRIS", failed(qlink.KindNotSent), bill.Created, false},
		"answer not known":   {"QRIS", failed(qlink.KindUnclear), bill.Created, true},
		"waiting to be paid": {"QRIS", nil, bill.Wait, true},
	} {
		t.Run(name, func(t *testing.T) {
			notified(t, func(t *testing.T, c *counter, shop *mailbox) {
				c.gateway.set(func() { c.gateway.applyErr = test.fault })
				o := order("15000")
				o.PayChannel = test.channel
				created, err := c.create(o)
				if err != nil || created.Bill.Status != test.from {
					t.Fatalf("%s, %v", created.Bill.Status, err)
				}
				seen := make(chan bill.Bill)
				go func() {
					b, err := c.engine.Wait(context.Background(), c.scope, created.Bill.ID, created.Bill.Version)
					if err != nil {
						t.Error(err)
					}
					seen <- b
				}()
				forced, err := c.engine.Force(t.Context(), created.Bill.ID, " "+reason+"\n")
				if err != nil || forced.Status != bill.Canceled || forced.SettledBy != bill.ByOperator {
					t.Fatalf("%s by %s, %v", forced.Status, forced.SettledBy, err)
				}
				if b := <-seen; b.Status != bill.Canceled {
					t.Errorf("who waited sees %s", b.Status)
				}
				history, err := c.store.History(t.Context(), forced.ID)
				if err != nil {
					t.Fatal(err)
				}
				if line := history[len(history)-1]; line.Kind != bill.EventForced || line.Source != bill.ByOperator || line.Note != reason {
					t.Errorf("the history says %+v", line)
				}
				pass(time.Second)
				if shop.kinds() != "bill.canceled" || c.gateway.count("cancel") != 0 {
					t.Errorf("the shop was told %q; %d /cancel", shop.kinds(), c.gateway.count("cancel"))
				}
				if due := c.bill(forced.ID).Due; due.IsZero() == test.known {
					t.Errorf("asked after at %v", due)
				}
			})
		})
	}
}

// story 10
func TestAForcedBillIsAskedAfterAndPaidByALatePayment(t *testing.T) {
	reconciled(t, func(t *testing.T, c *counter) {
		b := c.mustCreate(order("15000"), payment.OutcomeNew)
		if _, err := c.engine.Force(t.Context(), b.ID, reason); err != nil {
			t.Fatal(err)
		}
		c.wantLateChecks(b)
		if _, err := c.engine.Force(t.Context(), b.ID, reason); refusal(err) != payment.CodeAlreadyPaid {
			t.Errorf("a paid bill: %v", err)
		}
		c.wantStatus(b.ID, bill.Success)
	})
}

func TestForceLeavesAnEndedBillAsItIs(t *testing.T) {
	at(t, func(t *testing.T, c *counter) {
		b := c.mustCreate(order("15000"), payment.OutcomeNew)
		if err := c.notify(b, "FAIL"); err != nil {
			t.Fatal(err)
		}
		ended := c.bill(b.ID)
		if after, err := c.engine.Force(t.Context(), b.ID, reason); err != nil || after.Status != bill.Fail || after.Version != ended.Version {
			t.Errorf("%s, version %d after %d, %v", after.Status, after.Version, ended.Version, err)
		}
	})
}

func TestForceFreesAnOrderOfAPaymentThatNobodyConfirms(t *testing.T) {
	for _, end := range []string{"WAIT", "FAIL"} {
		t.Run(end, func(t *testing.T) {
			atWith(t, confirmed, func(t *testing.T, c *counter) {
				b := c.mustCreate(order("15000"), payment.OutcomeNew)
				c.mustNotify(b, end)
				c.mustNotify(b, "SUCCESS")
				c.mustRefuse("20000", b.ID)
				if _, err := c.engine.Force(t.Context(), b.ID, reason); err != nil {
					t.Fatal(err)
				}
				history, err := c.store.History(t.Context(), b.ID)
				if err != nil || history[len(history)-1].Kind != bill.EventForced {
					t.Errorf("no line: %v, %v", history, err)
				}
				next := c.mustCreate(order("20000"), payment.OutcomeNew)
				c.gateway.pay(b.ID)
				c.mustNotify(b, "SUCCESS")
				if late := c.wantStatus(b.ID, bill.Success); !late.LatePayment {
					t.Error("not a late payment")
				}
				c.wantStatus(next.ID, bill.Canceled)
			})
		})
	}
}

func TestForceWantsAReason(t *testing.T) {
	at(t, func(t *testing.T, c *counter) {
		b := c.mustCreate(order("15000"), payment.OutcomeNew)
		for _, bad := range []string{"", " \n", "half a \xe6", strings.Repeat("x", payment.MaxReason+1)} {
			if _, err := c.engine.Force(t.Context(), b.ID, bad); !errors.Is(err, payment.ErrReason) {
				t.Errorf("%.10q: %v", bad, err)
			}
		}
		if after := c.wantStatus(b.ID, bill.Wait); after.Revision != b.Revision {
			t.Error("something was written")
		}
		if _, err := c.engine.Force(t.Context(), b.ID, strings.Repeat("x", payment.MaxReason)); err != nil {
			t.Errorf("the longest one: %v", err)
		}
		if _, err := c.engine.Force(t.Context(), "nobody", reason); !errors.Is(err, bill.ErrNotFound) {
			t.Errorf("an unknown bill: %v", err)
		}
	})
}

func TestAnOperatorReachesABillOfAnyShopAndForcesOneWhoseAccountIsGone(t *testing.T) {
	at(t, func(t *testing.T, c *counter) {
		gone := &payment.Account{Name: "gone", Ledger: "other", Location: time.UTC, Gateway: newGateway(), CallTimeout: time.Second}
		old, err := c.engine.Create(t.Context(), payment.Scope{Account: gone, Shop: "default"}, order("1"), payment.HandOver{At: time.Now()})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.engine.ScopeOf(t.Context(), old.Bill.ID); !errors.Is(err, payment.ErrAccountGone) {
			t.Errorf("the scope of a bill whose account is gone: %v", err)
		}
		if forced, err := c.engine.Force(t.Context(), old.Bill.ID, reason); err != nil || forced.Status != bill.Canceled {
			t.Errorf("%s, %v", forced.Status, err)
		}
		other := payment.Scope{Account: c.account, Shop: "other"}
		created, err := c.engine.Create(t.Context(), other, order("1"), payment.HandOver{At: time.Now()})
		if err != nil {
			t.Fatal(err)
		}
		if scope, err := c.engine.ScopeOf(t.Context(), created.Bill.ID); err != nil || scope != other {
			t.Errorf("%+v, %v", scope, err)
		}
		if _, err := c.engine.ScopeOf(t.Context(), "nobody"); !errors.Is(err, bill.ErrNotFound) {
			t.Errorf("an unknown bill: %v", err)
		}
	})
}
