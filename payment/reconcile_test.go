package payment_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/payment"
	"github.com/caddy-qlink/caddy-qlink/qlink"
)

// reconciled is a counter with the workers running until the test ends.
func reconciled(t *testing.T, test func(t *testing.T, c *counter)) {
	t.Helper()
	reconciledWith(t, func(*payment.Config) {}, test)
}

// reconciledWith is reconciled with a change to the configuration.
func reconciledWith(t *testing.T, change func(*payment.Config), test func(t *testing.T, c *counter)) {
	t.Helper()
	atWith(t, change, func(t *testing.T, c *counter) {
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			c.engine.Run(ctx)
		}()
		test(t, c)
		stop()
		<-done
	})
}

func TestALostWebhookCostsSeconds(t *testing.T) {
	reconciled(t, func(t *testing.T, c *counter) {
		b := c.mustCreate(order("15000"), payment.OutcomeNew)
		c.gateway.pay(b.ID)
		pass(7 * time.Second)
		if paid := c.wantStatus(b.ID, bill.Success); paid.SettledBy != bill.ByQuery {
			t.Errorf("settled by %s", paid.SettledBy)
		}
		asked := c.gateway.count("query")
		pass(100 * time.Hour)
		if c.gateway.count("query") != asked {
			t.Error("a paid bill is still asked after")
		}
	})
}

func TestAnOpenBillIsAskedAfterEverMoreSlowly(t *testing.T) {
	reconciled(t, func(t *testing.T, c *counter) {
		c.account.ExpireAfter = 0
		c.mustCreate(order("15000"), payment.OutcomeNew)
		var counts []int
		for range 4 {
			before := c.gateway.count("query")
			pass(30 * time.Minute)
			counts = append(counts, c.gateway.count("query")-before)
		}
		for i := 1; i < len(counts); i++ {
			if counts[i] > counts[i-1] || counts[i] < 2 {
				t.Errorf("questions by half hour: %v", counts)
			}
		}
		if counts[0] > 60 {
			t.Errorf("%d questions in the first half hour", counts[0])
		}
	})
}

func TestABillThatSomebodyWatchesIsAskedAfterAtMinInterval(t *testing.T) {
	reconciled(t, func(t *testing.T, c *counter) {
		b := c.mustCreate(order("15000"), payment.OutcomeNew)
		pass(10 * time.Hour)
		ctx, leave := context.WithCancel(t.Context())
		go func() {
			for ctx.Err() == nil {
				if _, err := c.engine.Wait(ctx, c.scope, b.ID, b.Version); err != nil {
					t.Error(err)
				}
			}
		}()
		before := c.gateway.count("query")
		pass(time.Minute)
		if n := c.gateway.count("query") - before; n < 9 || n > 13 {
			t.Errorf("%d questions in a watched minute", n)
		}
		leave()
		synctest.Wait()
		before = c.gateway.count("query")
		pass(time.Minute)
		if n := c.gateway.count("query") - before; n > 1 {
			t.Errorf("%d questions in a minute that nobody watched", n)
		}
	})
}

// wantLateChecks wants a bill that has just ended unpaid to be asked after for
// three days, and a payment in the meantime to be found.
func (c *counter) wantLateChecks(b bill.Bill) {
	c.t.Helper()
	before := c.gateway.count("query")
	pass(71 * time.Hour)
	if n := c.gateway.count("query") - before; n != 4 {
		c.t.Errorf("%d questions in 71 hours, want those of 5m, 1h, 6h and 24h", n)
	}
	c.gateway.pay(b.ID)
	pass(2 * time.Hour)
	if late := c.wantStatus(b.ID, bill.Success); !late.LatePayment {
		c.t.Error("not a late payment")
	}
}

// story 32, story 10
func TestABillThatEndedUnpaidIsAskedAfterAgainForThreeDays(t *testing.T) {
	reconciled(t, func(t *testing.T, c *counter) {
		b := c.mustCreate(order("15000"), payment.OutcomeNew)
		if err := c.notify(b, "FAIL"); err != nil {
			t.Fatal(err)
		}
		c.wantLateChecks(b)
	})
	reconciled(t, func(t *testing.T, c *counter) {
		b := c.mustCreate(order("15000"), payment.OutcomeNew)
		if err := c.notify(b, "FAIL"); err != nil {
			t.Fatal(err)
		}
		pass(80 * time.Hour)
		if n := c.gateway.count("query"); n != 5 || !c.bill(b.ID).Due.IsZero() {
			t.Errorf("%d questions, due %v", n, c.bill(b.ID).Due)
		}
	})
}

// story 33, story 11, story 12
func TestABillIsCancelledAtTheGatewayWhenItsTimeIsOver(t *testing.T) {
	for name, test := range map[string]struct {
		prepare func(c *counter, id string)
		want    bill.Status
		booked  string
	}{
		"nobody paid":                 {func(*counter, string) {}, bill.Expired, "CANCEL"},
		"paid at the last moment":     {func(c *counter, id string) { c.gateway.pay(id) }, bill.Success, "SUCCESS"},
		"the gateway is slow at it":   {func(c *counter, _ string) { c.gateway.set(func() { c.gateway.cancelAnswer = "WAIT" }) }, bill.Wait, "WAIT"},
		"the gateway refuses for now": {func(c *counter, _ string) { c.gateway.set(func() { c.gateway.cancelAnswer = "FAIL" }) }, bill.Wait, "WAIT"},
	} {
		t.Run(name, func(t *testing.T) {
			reconciled(t, func(t *testing.T, c *counter) {
				o := order("15000")
				o.ExpiresIn = 3*time.Hour + 7*time.Minute
				b := c.mustCreate(o, payment.OutcomeNew)
				pass(o.ExpiresIn - time.Second)
				c.wantStatus(b.ID, bill.Wait)
				test.prepare(c, b.ID)
				pass(3 * time.Second)
				c.wantStatus(b.ID, test.want)
				if got := c.gateway.booked("O1"); got[test.booked] != 1 {
					t.Errorf("the gateway has %v", got)
				}
				if test.want != bill.Wait {
					return
				}
				c.gateway.set(func() { c.gateway.cancelAnswer = "" })
				pass(5 * time.Minute)
				c.wantStatus(b.ID, bill.Expired)
			})
		})
	}
}

func TestACreatedBillIsResolvedWithoutAnybodyAsking(t *testing.T) {
	for name, test := range map[string]struct {
		fault func(g *gateway)
		want  bill.Status
	}{
		"the answer was lost":      {func(g *gateway) { g.applyErr, g.applyLost = failed(qlink.KindUnclear), true }, bill.Wait},
		"the request was lost":     {func(g *gateway) { g.applyErr = failed(qlink.KindUnclear) }, bill.Wait},
		"no connection was made":   {func(g *gateway) { g.applyErr = failed(qlink.KindNotSent) }, bill.Wait},
		"the key was refused":      {func(g *gateway) { g.applyErr = failed(qlink.KindAuth) }, bill.Wait},
		"refused, and query is up": {func(g *gateway) { g.applyErr, g.queryErr = refused("no"), failed(qlink.KindUnclear) }, bill.Fail},
	} {
		t.Run(name, func(t *testing.T) {
			reconciled(t, func(t *testing.T, c *counter) {
				c.gateway.set(func() { test.fault(c.gateway) })
				b := c.mustCreate(order("15000"), payment.OutcomeUnknown)
				c.gateway.set(func() { c.gateway.applyErr, c.gateway.applyLost, c.gateway.queryErr = nil, false, nil })
				pass(2 * time.Minute)
				if after := c.wantStatus(b.ID, test.want); test.want == bill.Wait && after.Action.Kind != bill.ActionQR {
					t.Errorf("no action: %+v", after.Action)
				}
				if len(c.gateway.ledger) > 1 {
					t.Errorf("%d payments at the gateway", len(c.gateway.ledger))
				}
			})
		})
	}
}

func TestADeadGatewayIsLeftAloneAndItsReturnMakesAllDue(t *testing.T) {
	reconciled(t, func(t *testing.T, c *counter) {
		c.account.ExpireAfter = 0
		var ids []string
		for i := range 50 {
			o := order("1")
			o.OrderCode = fmt.Sprint(i)
			ids = append(ids, c.mustCreate(o, payment.OutcomeNew).ID)
			pass(12 * time.Second)
		}
		pass(3 * time.Hour) // old bills, asked after every ten minutes, one now, one then
		c.gateway.set(func() { c.gateway.queryErr = failed(qlink.KindUnclear) })
		pass(time.Minute)
		for _, id := range ids {
			c.gateway.pay(id)
		}
		before := c.gateway.count("query")
		pass(time.Minute)
		if n := c.gateway.count("query") - before; n > 8 {
			t.Errorf("%d questions to a dead gateway in a minute", n)
		}
		c.gateway.set(func() { c.gateway.queryErr = nil })
		pass(30 * time.Second)
		for _, id := range ids {
			c.wantStatus(id, bill.Success)
		}
	})
}

func TestBillsOfAnAccountThatIsGoneStayAndHoldUpNobody(t *testing.T) {
	at(t, func(t *testing.T, c *counter) {
		gone := &payment.Account{
			Name: "gone", Ledger: "other", Location: time.UTC, Gateway: newGateway(), CallTimeout: time.Second, StatusBatch: 1,
		}
		old, err := c.engine.Create(t.Context(), payment.Scope{Account: gone, Shop: "default"}, order("1"), payment.HandOver{At: time.Now()})
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			c.engine.Run(ctx)
		}()
		b := c.mustCreate(order("15000"), payment.OutcomeNew)
		c.gateway.pay(b.ID)
		pass(time.Minute)
		stop()
		<-done
		c.wantStatus(b.ID, bill.Success)
		if still := c.wantStatus(old.Bill.ID, bill.Wait); still.Version != old.Bill.Version || !still.Due.After(time.Now()) {
			t.Errorf("version %d, due %v", still.Version, still.Due)
		}
	})
}
