package payment_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/payment"
	"github.com/caddy-qlink/caddy-qlink/qlink"
)

// tally is metrics as lines of text, and how often each was told.
type tally struct {
	mu    sync.Mutex
	lines map[string]int
}

func (m *tally) note(line ...any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.lines == nil {
		m.lines = make(map[string]int)
	}
	m.lines[fmt.Sprintln(line...)]++
}

// take returns what was told since the last call.
func (m *tally) take() map[string]int {
	m.mu.Lock()
	defer m.mu.Unlock()
	lines := m.lines
	m.lines = nil
	return lines
}

func (m *tally) GatewayCalled(account string, op payment.Operation, outcome payment.CallOutcome, took time.Duration) {
	m.note("called", account, op, outcome, took)
}

func (m *tally) CheckedOut(account string, outcome payment.Outcome) {
	m.note("checked out", account, outcome)
}

func (m *tally) Moved(account string, from, to bill.Status, source bill.Source) {
	m.note("moved", account, from, to, source)
}
func (m *tally) Paid(account string, after time.Duration) { m.note("paid", account, after) }
func (m *tally) HeardOf(account string, source bill.Source, late time.Duration) {
	m.note("heard of", account, source, late)
}
func (m *tally) Alarmed(account string, alarm payment.Alarm) { m.note("alarmed", account, alarm) }
func (m *tally) Notified(account string, outcome payment.NotifyOutcome, took time.Duration) {
	m.note("notified", account, outcome, took)
}
func (m *tally) Emitted(dropped bool) { m.note("emitted", dropped) }

// lines is what a tally should have been told, each once.
func lines(want ...string) map[string]int {
	told := make(map[string]int)
	for _, line := range want {
		told[line+"\n"]++
	}
	return told
}

func (m *tally) want(t *testing.T, want ...string) {
	t.Helper()
	if diff := cmp.Diff(lines(want...), m.take(), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("counted otherwise (-want +got):\n%s", diff)
	}
}

// counting is at with metrics.
func counting(t *testing.T, test func(t *testing.T, c *counter, m *tally)) {
	t.Helper()
	m := new(tally)
	atWith(t, func(cfg *payment.Config) { cfg.Metrics = m }, func(t *testing.T, c *counter) { test(t, c, m) })
}

func TestAPaymentIsCountedFromTheOrderToTheWebhook(t *testing.T) {
	counting(t, func(t *testing.T, c *counter, m *tally) {
		b := c.mustCreate(order("15000"), payment.OutcomeNew)
		m.want(t, "moved default  CREATED shop", "called default apply answered 0s", "moved default CREATED WAIT apply", "checked out default new")
		c.mustCreate(order("15000"), payment.OutcomeExisting)
		m.want(t, "checked out default existing")
		pass(90 * time.Second)
		if err := c.engine.Settle(t.Context(), []*payment.Account{c.account}, qlink.Notification{
			TradeUUID: b.ID, Status: qlink.ParseStatus("SUCCESS"), PayTime: time.Now().Add(-3 * time.Second),
		}, "hash"); err != nil {
			t.Fatal(err)
		}
		m.want(t, "moved default WAIT SUCCESS webhook", "paid default 1m30s", "heard of default webhook 3s")
		if err := c.notify(b, "SUCCESS"); err != nil { // again
			t.Fatal(err)
		}
		m.want(t)
	})
}

func TestAClockAheadOfOursMakesNoNegativeDelay(t *testing.T) {
	counting(t, func(t *testing.T, c *counter, m *tally) {
		b := c.mustCreate(order("15000"), payment.OutcomeNew)
		m.take()
		if err := c.engine.Settle(t.Context(), []*payment.Account{c.account}, qlink.Notification{
			TradeUUID: b.ID, Status: qlink.ParseStatus("SUCCESS"), PayTime: time.Now().Add(time.Hour),
		}, "hash"); err != nil {
			t.Fatal(err)
		}
		m.want(t, "moved default WAIT SUCCESS webhook", "paid default 0s", "heard of default webhook 0s")
	})
}

func TestHowACallToTheGatewayEndsIsCounted(t *testing.T) {
	for err, outcome := range map[error]payment.CallOutcome{
		refused("no"):                payment.CallRefused,
		failed(qlink.KindUnclear):    payment.CallUnclear,
		failed(qlink.KindNotSent):    payment.CallNotSent,
		failed(qlink.KindAuth):       payment.CallAuth,
		failed(qlink.KindInvalid):    payment.CallInvalid,
		errors.New("something else"): payment.CallUnclear,
	} {
		counting(t, func(t *testing.T, c *counter, m *tally) {
			hold := make(chan struct{})
			c.gateway.set(func() { c.gateway.applyErr, c.gateway.applying = err, hold })
			go func() {
				pass(2 * time.Second)
				close(hold)
			}()
			if _, err := c.create(order("15000")); err != nil {
				t.Fatal(err)
			}
			told := m.take()
			if line := fmt.Sprintln("called default apply", outcome, "2s"); told[line] != 1 || !slices.Contains(payment.CallOutcomes(), outcome) {
				t.Errorf("counted %v, want %s", told, line)
			}
		})
	}
}

func TestWhatBecomesOfAnOrderIsCountedUnderAFixedName(t *testing.T) {
	counting(t, func(t *testing.T, c *counter, m *tally) {
		b := c.mustCreate(order("15000"), payment.OutcomeNew)
		if err := c.notify(b, "SUCCESS"); err != nil {
			t.Fatal(err)
		}
		m.take()
		if _, err := c.create(order("16000")); refusal(err) != payment.CodePaidOtherwise {
			t.Fatal(err)
		}
		m.want(t, "checked out default paid_at_another_amount")
		if err := c.postSigned("15000", time.Now().Add(-time.Hour)); refusal(err) != payment.CodeStaleOrder {
			t.Fatal(err)
		}
		m.want(t, "checked out default stale_order")
		c.store = newFragile(c.store)
		c.store.(*fragile).fail()
		if _, err := c.create(order("15000")); !errors.Is(err, bill.ErrUnavailable) {
			t.Fatal(err)
		}
		m.want(t, "checked out default unavailable")
	})
	for err, want := range map[error]payment.Outcome{
		payment.ErrTooManyOpen:                           payment.OutcomeTooMany,
		payment.ErrTooManyOpenOfClient:                   payment.OutcomeTooManyOfClient,
		payment.ErrCheckoutsClosed:                       payment.OutcomeClosed,
		&bill.OrderError{}:                               payment.OutcomeBadOrder,
		errors.New("never heard of"):                     payment.OutcomeFault,
		&payment.Refusal{Code: payment.CodePreviousOpen}: payment.Outcome(payment.CodePreviousOpen),
	} {
		if got := payment.OutcomeOf(err); got != want || !slices.Contains(payment.Outcomes(), got) {
			t.Errorf("%v counts as %s, want %s", err, got, want)
		}
	}
}

// unwilling is a store that commits no more.
type unwilling struct{ bill.Store }

func (unwilling) Commit(context.Context, bill.Change) error { return bill.ErrUnavailable }

func TestWhatIsNotStoredIsNotCounted(t *testing.T) {
	counting(t, func(t *testing.T, c *counter, m *tally) {
		b := c.mustCreate(order("15000"), payment.OutcomeNew)
		m.take()
		c.store = unwilling{c.store}
		if err := c.notify(b, "SUCCESS"); !errors.Is(err, bill.ErrUnavailable) {
			t.Fatal(err)
		}
		m.want(t)
	})
}

func TestWhatAnOperatorHasToLookAtIsCounted(t *testing.T) {
	for alarm, happens := range map[payment.Alarm]func(c *counter){
		payment.AlarmRefundDue: func(c *counter) {
			first := c.mustCreate(order("15000"), payment.OutcomeNew)
			second := c.mustCreate(order("16000"), payment.OutcomeNew)
			c.mustNotify(first, "SUCCESS")
			c.mustNotify(second, "SUCCESS")
		},
		payment.AlarmConflict: func(c *counter) {
			b := c.mustCreate(order("15000"), payment.OutcomeNew)
			c.mustNotify(b, "SUCCESS")
			c.mustNotify(b, "FAIL")
		},
		payment.AlarmComplaint: func(c *counter) {
			c.gateway.set(func() { c.gateway.applyErr = failed(qlink.KindAuth) })
			c.mustCreate(order("15000"), payment.OutcomeUnknown)
		},
		payment.AlarmContradiction: func(c *counter) {
			b := c.mustCreate(order("15000"), payment.OutcomeNew)
			b.OrderCode = "another"
			if err := c.notify(b, "SUCCESS"); !errors.Is(err, payment.ErrContradiction) {
				c.t.Fatal(err)
			}
		},
		payment.AlarmUnknownStatus: func(c *counter) {
			c.mustNotify(c.mustCreate(order("15000"), payment.OutcomeNew), "NEVER_HEARD_OF")
		},
	} {
		counting(t, func(t *testing.T, c *counter, m *tally) {
			happens(c)
			told := m.take()
			if line := fmt.Sprintln("alarmed default", alarm); told[line] != 1 {
				t.Errorf("%s: counted %v", alarm, told)
			}
			for _, other := range payment.Alarms() {
				if line := fmt.Sprintln("alarmed default", other); other != alarm && told[line] != 0 {
					t.Errorf("%s: also %s", alarm, other)
				}
			}
		})
	}
}

func TestTriesToTellAShopAreCounted(t *testing.T) {
	m := new(tally)
	notifiedWith(t, func(cfg *payment.Config) { cfg.Metrics = m }, func(t *testing.T, c *counter, shop *mailbox) {
		b := c.mustCreate(order("15000"), payment.OutcomeNew)
		shop.set(status(http.StatusInternalServerError))
		m.take()
		c.mustNotify(b, "SUCCESS")
		pass(time.Second)
		if told := m.take(); told["notified default failed 0s\n"] != 1 {
			t.Errorf("a failure: %v", told)
		}
		pass(4 * 24 * time.Hour)
		if told := m.take(); told["notified default given_up 0s\n"] != 1 || told["notified default failed 0s\n"] < 10 {
			t.Errorf("the last of many: %v", told)
		}
		shop.set(status(http.StatusNoContent))
		if _, err := c.engine.Operator("test").Redeliver(t.Context(), b.ID); err != nil {
			t.Fatal(err)
		}
		pass(time.Second)
		m.want(t, "notified default delivered 0s")
	})
}
