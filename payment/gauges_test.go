package payment_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/payment"
	"github.com/caddy-qlink/caddy-qlink/qlink"
)

func (c *counter) gauges() payment.Gauges {
	c.t.Helper()
	g, err := c.engine.Gauges(c.t.Context())
	if err != nil {
		c.t.Fatal(err)
	}
	return g
}

func TestGaugesTellHowTheStoreStands(t *testing.T) {
	at(t, func(t *testing.T, c *counter) {
		if g := c.gauges(); g.Counts.Orphans != 0 || g.ReconcileLag != 0 || g.PendingAge != 0 || g.Closed || g.FreeBytes != nil {
			t.Errorf("of nothing: %+v", g)
		}
		paid := c.mustCreate(order("15000"), payment.OutcomeNew)
		c.mustNotify(paid, "SUCCESS")
		open := order("15000")
		open.OrderCode = "O2"
		c.mustCreate(open, payment.OutcomeNew)
		stranger := paid
		stranger.ID = "nobody's"
		if err := c.notify(stranger, "SUCCESS"); err == nil {
			t.Fatal("taken")
		}
		if g := c.gauges(); g.Counts.Bills[bill.Success] != 1 || g.Counts.Bills[bill.Wait] != 1 || g.Counts.Orphans != 1 || g.ReconcileLag != 0 {
			t.Errorf("%+v", g)
		}
		pass(65 * time.Second) // and no worker asks
		if g := c.gauges(); g.ReconcileLag != time.Minute {
			t.Errorf("a bill is due for %v", g.ReconcileLag)
		}
	})
}

func TestTheOldestNotificationThatIsNotDeliveredHasItsAge(t *testing.T) {
	notified(t, func(t *testing.T, c *counter, shop *mailbox) {
		shop.set(status(http.StatusInternalServerError))
		c.mustNotify(c.mustCreate(order("15000"), payment.OutcomeNew), "SUCCESS")
		pass(time.Hour)
		later := order("15000")
		later.OrderCode = "O2"
		c.mustNotify(c.mustCreate(later, payment.OutcomeNew), "SUCCESS")
		pass(time.Hour)
		if g := c.gauges(); g.PendingAge != 2*time.Hour || g.Counts.Notifications[bill.Pending] != 2 {
			t.Errorf("%+v", g)
		}
		pass(5 * 24 * time.Hour)
		if g := c.gauges(); g.PendingAge != 0 || g.Counts.Notifications[bill.Dead] != 2 {
			t.Errorf("given up: %+v", g)
		}
	})
}

// filling is a store on a disk that fills up.
type filling struct {
	bill.Store
	free uint64
}

func (f filling) FreeSpace() (uint64, error) { return f.free, nil }

func TestGaugesSayWhetherOrdersAreRefusedForWantOfDisk(t *testing.T) {
	atWith(t, func(cfg *payment.Config) { cfg.MinFreeSpace = 100 }, func(t *testing.T, c *counter) {
		for free, closed := range map[uint64]bool{100: false, 99: true, 0: true} {
			whole := c.store
			c.store = filling{whole, free}
			if g := c.gauges(); g.FreeBytes == nil || *g.FreeBytes != free || g.Closed != closed {
				t.Errorf("%d free: %+v", free, g)
			}
			c.store = whole
		}
	})
}

func TestWatchersAreCountedWhileTheyWatch(t *testing.T) {
	at(t, func(t *testing.T, c *counter) {
		b := c.mustCreate(order("15000"), payment.OutcomeNew)
		var watching []payment.Watching
		for range 3 {
			w, err := c.engine.Watch(t.Context(), c.scope, b.ID)
			if err != nil {
				t.Fatal(err)
			}
			watching = append(watching, w)
		}
		if n := c.gauges().Watchers; n != 3 {
			t.Errorf("%d watch", n)
		}
		for _, w := range watching {
			w.Stop()
		}
		if n := c.gauges().Watchers; n != 0 {
			t.Errorf("%d watch, and all have gone", n)
		}
	})
}

func TestWithoutAStoreThereIsStillSomethingToTell(t *testing.T) {
	atWith(t, func(cfg *payment.Config) {
		cfg.Store = func(context.Context) (bill.Store, func(), error) { return nil, nil, bill.ErrUnavailable }
	}, func(t *testing.T, c *counter) {
		g, err := c.engine.Gauges(t.Context())
		if !errors.Is(err, bill.ErrUnavailable) || !g.Closed || len(g.Gateways) != 1 || !g.Gateways[0].Answers {
			t.Errorf("%+v, %v", g, err)
		}
	})
}

func TestAGatewayThatGivesNoAnswersIsDownUntilItDoes(t *testing.T) {
	reconciled(t, func(t *testing.T, c *counter) {
		c.mustCreate(order("15000"), payment.OutcomeNew)
		if !c.gauges().Gateways[0].Answers {
			t.Error("down from the start")
		}
		c.gateway.set(func() { c.gateway.queryErr = failed(qlink.KindUnclear) })
		pass(time.Minute)
		if c.gauges().Gateways[0].Answers {
			t.Error("up, and it answers nothing")
		}
		c.gateway.set(func() { c.gateway.queryErr = nil })
		pass(time.Minute)
		synctest.Wait()
		if !c.gauges().Gateways[0].Answers {
			t.Error("down, and it answers")
		}
	})
}
