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

func (c *counter) operator() payment.Operator { return c.engine.Operator("o@host") }

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
				forced, err := c.operator().Force(t.Context(), created.Bill.ID, " "+reason+"\n")
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
		if _, err := c.operator().Force(t.Context(), b.ID, reason); err != nil {
			t.Fatal(err)
		}
		c.wantLateChecks(b)
		if _, err := c.operator().Force(t.Context(), b.ID, reason); refusal(err) != payment.CodeAlreadyPaid {
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
		if after, err := c.operator().Force(t.Context(), b.ID, reason); err != nil || after.Status != bill.Fail || after.Version != ended.Version {
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
				if _, err := c.operator().Force(t.Context(), b.ID, reason); err != nil {
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
			if _, err := c.operator().Force(t.Context(), b.ID, bad); !errors.Is(err, payment.ErrReason) {
				t.Errorf("%.10q: %v", bad, err)
			}
		}
		if after := c.wantStatus(b.ID, bill.Wait); after.Revision != b.Revision {
			t.Error("something was written")
		}
		if _, err := c.operator().Force(t.Context(), b.ID, strings.Repeat("x", payment.MaxReason)); err != nil {
			t.Errorf("the longest one: %v", err)
		}
		if _, err := c.operator().Force(t.Context(), "nobody", reason); !errors.Is(err, bill.ErrNotFound) {
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
		if _, err := c.operator().Refresh(t.Context(), old.Bill.ID); !errors.Is(err, payment.ErrAccountGone) {
			t.Errorf("asked after a bill whose account is gone: %v", err)
		}
		if _, err := c.operator().Cancel(t.Context(), old.Bill.ID); !errors.Is(err, payment.ErrAccountGone) {
			t.Errorf("cancelled a bill whose account is gone: %v", err)
		}
		if forced, err := c.operator().Force(t.Context(), old.Bill.ID, reason); err != nil || forced.Status != bill.Canceled {
			t.Errorf("%s, %v", forced.Status, err)
		}
		other := payment.Scope{Account: c.account, Shop: "other"}
		created, err := c.engine.Create(t.Context(), other, order("1"), payment.HandOver{At: time.Now()})
		if err != nil {
			t.Fatal(err)
		}
		if after, err := c.operator().Cancel(t.Context(), created.Bill.ID); err != nil || after.Status != bill.Canceled {
			t.Errorf("%s, %v", after.Status, err)
		}
		if _, err := c.operator().Cancel(t.Context(), "nobody"); !errors.Is(err, bill.ErrNotFound) {
			t.Errorf("an unknown bill: %v", err)
		}
	})
}

// linesOf returns the lines of a bill's history that are under a name, and what
// they tell.
func (c *counter) linesOf(id, actor string) (kinds string) {
	c.t.Helper()
	history, err := c.store.History(c.t.Context(), id)
	if err != nil {
		c.t.Fatal(err)
	}
	for _, line := range history {
		if line.Actor == actor {
			kinds += string(line.Source) + ":" + string(line.Kind) + " "
		}
	}
	return strings.TrimSpace(kinds)
}

func TestWhatAnOperatorDoesIsInTheHistoryUnderHisNameWithWhatCameOfIt(t *testing.T) {
	notified(t, func(t *testing.T, c *counter, shop *mailbox) {
		b := c.mustCreate(order("15000"), payment.OutcomeNew)
		pass(10 * time.Second)
		for range 2 * bill.MaxSilent { // never crowded out
			if _, err := c.operator().Refresh(t.Context(), b.ID); err != nil {
				t.Fatal(err)
			}
			pass(6 * time.Second)
		}
		if lines := c.linesOf(b.ID, "o@host"); strings.Count(lines, "operator:asked query:reported_wait") <= bill.MaxSilent {
			t.Errorf("asked: %s", lines)
		}
		if _, err := c.operator().Cancel(t.Context(), b.ID); err != nil {
			t.Fatal(err)
		}
		pass(time.Second)
		if _, err := c.operator().Redeliver(t.Context(), b.ID); err != nil {
			t.Fatal(err)
		}
		if _, err := c.operator().Resolve(t.Context(), b.ID, "talked to the buyer"); err != nil {
			t.Fatal(err)
		}
		_, lines, _ := strings.Cut(c.linesOf(b.ID, "o@host"), "operator:cancel_asked ")
		if lines != "cancel:cancel_done query:reported_cancel operator:redelivered operator:resolved" {
			t.Errorf("%s", lines)
		}
		pass(time.Second)
		if got := shop.kinds(); got != strings.TrimSpace(strings.Repeat("bill.canceled ", 2)) {
			t.Errorf("the shop was told %q", got)
		}
	})
}

func TestTheNameOfAnOperatorIsShortAndPrintable(t *testing.T) {
	at(t, func(t *testing.T, c *counter) {
		b := c.mustCreate(order("15000"), payment.OutcomeNew)
		for given, kept := range map[string]string{
			" \x1b[31mroot\x07\n@host ": "[31mroot@host",
			"":                          "operator",
			"\xff\xfe":                  "operator",
			strings.Repeat("é", 100):    strings.Repeat("é", 64),
		} {
			if _, err := c.engine.Operator(given).Resolve(t.Context(), b.ID, "x"); err != nil {
				t.Fatal(err)
			}
			if c.linesOf(b.ID, kept) == "" {
				t.Errorf("%q is not kept as %q", given, kept)
			}
		}
	})
}

func TestABillThatHangsIsStuckUntilAnOperatorHasSeenToItOrItChanges(t *testing.T) {
	at(t, func(t *testing.T, c *counter) {
		c.gateway.set(func() { c.gateway.applyErr = failed(qlink.KindUnclear) })
		b := c.mustCreate(order("15000"), payment.OutcomeUnknown)
		stuck := func() int {
			page, _, err := c.engine.List(t.Context(), bill.Query{StuckAt: time.Now(), Limit: 10})
			if err != nil {
				t.Fatal(err)
			}
			return len(page)
		}
		if stuck() != 0 {
			t.Error("stuck at once")
		}
		pass(bill.StuckAfter)
		if stuck() != 1 {
			t.Error("not stuck after its time")
		}
		if _, err := c.operator().Resolve(t.Context(), b.ID, " "); !errors.Is(err, payment.ErrReason) {
			t.Errorf("seen to without a word: %v", err)
		}
		if _, err := c.operator().Resolve(t.Context(), b.ID, "asked QLink by telephone"); err != nil {
			t.Fatal(err)
		}
		if stuck() != 0 {
			t.Error("stuck, though seen to")
		}
		c.mustNotify(b, "WAIT") // a change: seen to no longer
		if _, err := c.engine.Cancel(t.Context(), c.scope, b.ID, bill.CancelBuyer); err != nil && refusal(err) == "" {
			t.Fatal(err)
		}
		if after := c.bill(b.ID); !after.ResolvedAt.IsZero() {
			t.Errorf("still seen to at %v", after.ResolvedAt)
		}
	})
}

func TestAnOrphanIsSeenToOnce(t *testing.T) {
	at(t, func(t *testing.T, c *counter) {
		if err := c.notify(bill.Bill{ID: "stray", BillCode: "B-stray", OrderCode: "O9"}, "SUCCESS"); !errors.Is(err, bill.ErrNotFound) {
			t.Fatal(err)
		}
		unseen := func() uint64 {
			s, err := c.engine.Gauges(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return s.Orphans
		}
		if unseen() != 1 {
			t.Fatalf("%d orphans", unseen())
		}
		if _, err := c.operator().ResolveOrphan(t.Context(), "nobody", "x"); !errors.Is(err, bill.ErrNotFound) {
			t.Errorf("one that is not there: %v", err)
		}
		if _, err := c.operator().ResolveOrphan(t.Context(), "stray", "paid back by hand"); err != nil {
			t.Fatal(err)
		}
		_ = c.notify(bill.Bill{ID: "stray", BillCode: "B-stray", OrderCode: "O9"}, "SUCCESS") // the gateway's next try
		page, _, err := c.engine.Orphans(t.Context(), "", 10)
		if err != nil || len(page) != 1 || page[0].Resolved == nil || page[0].Resolved.Actor != "o@host" || unseen() != 0 {
			t.Errorf("%+v, %v", page, err)
		}
	})
}
