package payment_test

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/payment"
)

// audience takes events, once it is let.
type audience struct {
	mu    sync.Mutex
	heard []string // type, status
	let   chan struct{}
}

func newAudience() *audience { return &audience{let: make(chan struct{})} }

func (a *audience) hear(kind bill.NotificationType, b bill.Bill) {
	<-a.let
	a.mu.Lock()
	defer a.mu.Unlock()
	a.heard = append(a.heard, string(kind)+" "+string(b.Status))
}

func (a *audience) all() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.heard
}

func listening(t *testing.T, test func(t *testing.T, c *counter, a *audience, m *tally)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		a, m := newAudience(), new(tally)
		c := newCounter(t, func(cfg *payment.Config) { cfg.Emit, cfg.Metrics = a.hear, m })
		test(t, c, a, m)
		if err := c.engine.Stop(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestWhoListensHearsOfABillOnceItIsStored(t *testing.T) {
	listening(t, func(t *testing.T, c *counter, a *audience, _ *tally) {
		close(a.let)
		first := c.mustCreate(order("15000"), payment.OutcomeNew)
		c.mustNotify(first, "FAIL")
		second := c.mustCreate(order("15000"), payment.OutcomeNew)
		c.mustNotify(second, "SUCCESS")
		c.mustNotify(second, "SUCCESS") // again
		c.mustNotify(first, "SUCCESS")
		c.store = unwilling{c.store}
		o := order("15000")
		o.OrderCode = "O2"
		if _, err := c.create(o); err == nil {
			t.Error("stored what cannot be")
		}
		synctest.Wait()
		want := []string{
			"bill.created CREATED", "bill.failed FAIL", "bill.created CREATED", "bill.paid SUCCESS", "bill.late_payment SUCCESS",
		}
		if diff := cmp.Diff(want, a.all()); diff != "" {
			t.Errorf("heard (-want +got):\n%s", diff)
		}
	})
}

func TestAListenerThatHangsDelaysNoPaymentAndBeyondABoundEventsAreDropped(t *testing.T) {
	listening(t, func(t *testing.T, c *counter, a *audience, m *tally) {
		const bound, more = 1000, 5
		begun := time.Now()
		b := c.mustCreate(order("15000"), payment.OutcomeNew)
		synctest.Wait() // it hangs in the first
		for range (bound + more) / 2 {
			c.mustNotify(b, "FAIL")
			b = c.mustCreate(order("15000"), payment.OutcomeNew)
		}
		if took := time.Since(begun); took != 0 {
			t.Errorf("that took %v", took)
		}
		told := m.take()
		if n := told["emitted false\n"]; n != 1+bound {
			t.Errorf("%d are to be handed on", n)
		}
		if n := told["emitted true\n"]; n != more-1 {
			t.Errorf("%d were dropped", n)
		}
		close(a.let)
		synctest.Wait()
		if n := len(a.all()); n != 1+bound {
			t.Errorf("heard %d", n)
		}
		c.mustNotify(b, "SUCCESS")
		synctest.Wait()
		if all := a.all(); all[len(all)-1] != "bill.paid SUCCESS" {
			t.Errorf("after that: %s", all[len(all)-1])
		}
	})
}

func TestAListenersPanicIsItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAudience()
		close(a.let)
		c := newCounter(t, func(cfg *payment.Config) {
			cfg.Emit = func(kind bill.NotificationType, b bill.Bill) {
				a.hear(kind, b)
				panic("oh")
			}
		})
		c.mustNotify(c.mustCreate(order("15000"), payment.OutcomeNew), "SUCCESS")
		synctest.Wait()
		if n := len(a.all()); n != 2 {
			t.Errorf("heard %d", n)
		}
	})
}
