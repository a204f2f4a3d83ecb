package payment_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/payment"
	"github.com/caddy-qlink/caddy-qlink/qlink"
)

// listing makes the counter's account offer what its gateway lists.
func listing(cfg *payment.Config) { cfg.Accounts[0].Defaults.Choice = true }

var listed = []qlink.PayMethod{
	{Type: qlink.PayType, Code: "ONLINE", Name: "在线支付"},
	{Type: qlink.PayType, Code: "SCAN"},
	{Type: qlink.PayChannel, Code: "QRIS", Name: "QRIS"},
	{Type: qlink.PayChannel, Code: "DANA", Name: "Dana wallet"},
	{Type: qlink.PayChannel, Code: "DANA", Name: "again"},
	{Type: qlink.PayChannel, Code: "no code"},
	{Type: "SOMETHING", Code: "ELSE"},
}

// ways asks for a bill's in IDR and Indonesia, and words them shortly.
func (c *counter) ways(change func(*bill.Bill)) ([]string, error) {
	b := bill.Bill{Currency: "IDR", Country: "ID", Status: bill.Choose}
	change(&b)
	ways, err := c.engine.Ways(c.t.Context(), c.scope, b)
	var short []string
	for _, w := range ways {
		short = append(short, fmt.Sprintf("%s/%s %s,%s", w.PayType, w.PayChannel, w.TypeName, w.Name))
	}
	return short, err
}

func asIs(*bill.Bill) {}

func (c *counter) wantWays(change func(*bill.Bill), want ...string) {
	c.t.Helper()
	got, err := c.ways(change)
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		c.t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

func TestListedTypesArePairedWithEveryListedChannel(t *testing.T) {
	atWith(t, listing, func(t *testing.T, c *counter) {
		c.gateway.set(func() { c.gateway.methods = listed })
		c.wantWays(asIs, "ONLINE/QRIS 在线支付,QRIS", "ONLINE/DANA 在线支付,Dana wallet", "SCAN/QRIS ,QRIS", "SCAN/DANA ,Dana wallet")
		c.wantWays(func(b *bill.Bill) { b.Asked.PayType = "SCAN" }, "SCAN/QRIS ,QRIS", "SCAN/DANA ,Dana wallet")
		c.account.Defaults.PayType = "ONLINE"
		c.wantWays(asIs, "ONLINE/QRIS 在线支付,QRIS", "ONLINE/DANA 在线支付,Dana wallet")
		c.wantWays(func(b *bill.Bill) { b.Asked.PayType = "SCAN" }, "SCAN/QRIS ,QRIS", "SCAN/DANA ,Dana wallet")
	})
}

func TestChannelsOfTheGlobalEditionAreForTheirCurrenciesAndCountry(t *testing.T) {
	atWith(t, listing, func(t *testing.T, c *counter) {
		c.account.Defaults.PayType = "ONLINE"
		c.gateway.set(func() {
			c.gateway.methods = []qlink.PayMethod{
				{Type: qlink.GlobalPay, Code: "QRIS", Name: "QRIS", Country: "ID", Currencies: []string{"IDR", "USD"}},
				{Type: qlink.GlobalPay, Code: "GCASH", Name: "GCash", Country: "PH", Currencies: []string{"PHP"}},
				{Type: qlink.GlobalPay, Code: "CARDS", Currencies: []string{"idr", "PHP"}},
				{Type: qlink.GlobalPay, Code: "ANY"},
			}
		})
		c.wantWays(asIs, "ONLINE/QRIS ,QRIS", "ONLINE/CARDS ,", "ONLINE/ANY ,")
		c.wantWays(func(b *bill.Bill) { b.Currency, b.Country = "PHP", "PH" }, "ONLINE/GCASH ,GCash", "ONLINE/CARDS ,", "ONLINE/ANY ,")
	})
}

func TestConfiguredWaysWaitForNoNames(t *testing.T) {
	atWith(t, offering, func(t *testing.T, c *counter) {
		hold := make(chan struct{})
		c.gateway.set(func() { c.gateway.listing, c.gateway.methods = hold, listed })
		began := time.Now()
		c.wantWays(asIs, "ONLINE/QRIS ,", "BANK/VA ,")
		if !time.Now().Equal(began) {
			t.Errorf("waited for %v", time.Since(began))
		}
		close(hold)
		synctest.Wait()
		c.wantWays(asIs, "ONLINE/QRIS 在线支付,QRIS", "BANK/VA ,")
	})
}

func TestNamesAreShortLinesOfPlainText(t *testing.T) {
	atWith(t, listing, func(t *testing.T, c *counter) {
		c.account.Defaults.PayType = "T"
		c.gateway.set(func() {
			c.gateway.methods = []qlink.PayMethod{
				{Type: qlink.PayChannel, Code: "A", Name: " a\r\n\tb\u202ec\x00\xff\u200b "},
				{Type: qlink.PayChannel, Code: "B", Name: strings.Repeat("银", 10000)},
			}
		})
		c.wantWays(asIs, "T/A ,a bc", "T/B ,"+strings.Repeat("银", 80))
	})
}

func TestALongListIsCut(t *testing.T) {
	atWith(t, listing, func(t *testing.T, c *counter) {
		for i := range 1000 {
			c.gateway.methods = append(c.gateway.methods, qlink.PayMethod{Type: qlink.PayChannel, Code: fmt.Sprint("C", i)}, qlink.PayMethod{Type: qlink.PayType, Code: fmt.Sprint("T", i)})
		}
		if ways, err := c.ways(asIs); len(ways) != 200 || err != nil {
			t.Errorf("%d ways, %v", len(ways), err)
		}
	})
}

func TestTheListIsAskedForOnceForAllAndThenInTheBackground(t *testing.T) {
	atWith(t, listing, func(t *testing.T, c *counter) {
		hold := make(chan struct{})
		c.gateway.set(func() { c.gateway.listing, c.gateway.methods = hold, listed[1:3] })
		var wg sync.WaitGroup
		for range 64 {
			wg.Go(func() { c.wantWays(asIs, "SCAN/QRIS ,QRIS") })
		}
		synctest.Wait()
		close(hold)
		wg.Wait()
		pass(4 * time.Minute)
		c.wantWays(asIs, "SCAN/QRIS ,QRIS")
		if n := c.gateway.count("list"); n != 1 {
			t.Errorf("asked %d times", n)
		}

		hold = make(chan struct{})
		c.gateway.set(func() { c.gateway.listing, c.gateway.methods = hold, listed[1:4] })
		pass(2 * time.Minute)
		for range 10 { // an old list serves until the new one is there
			c.wantWays(asIs, "SCAN/QRIS ,QRIS")
		}
		close(hold)
		synctest.Wait()
		c.wantWays(asIs, "SCAN/QRIS ,QRIS", "SCAN/DANA ,Dana wallet")
		if n := c.gateway.count("list"); n != 2 {
			t.Errorf("asked %d times", n)
		}
	})
}

func TestAnOldListIsBetterThanNoneAndAFailedGatewayIsLeftAloneForAWhile(t *testing.T) {
	atWith(t, listing, func(t *testing.T, c *counter) {
		c.gateway.set(func() { c.gateway.methods = listed[1:3] })
		c.wantWays(asIs, "SCAN/QRIS ,QRIS")
		c.gateway.set(func() { c.gateway.listErr = failed(qlink.KindUnclear) })
		pass(6 * time.Minute)
		for range 58 {
			c.wantWays(asIs, "SCAN/QRIS ,QRIS")
			pass(time.Second)
		}
		if n := c.gateway.count("list"); n != 3 {
			t.Errorf("asked %d times, want once and then twice in 58 s", n)
		}
	})
}

func TestAListThatCannotBeHadIsAPassingFaultThatHarmsNothing(t *testing.T) {
	atWith(t, listing, func(t *testing.T, c *counter) {
		b := c.mustCreate(unchosen("15000"), payment.OutcomeNew)
		c.gateway.set(func() { c.gateway.listErr = failed(qlink.KindNotSent) })
		for range 3 {
			if _, err := c.choose(b.ID, "SCAN", "QRIS"); !errors.Is(err, bill.ErrUnavailable) {
				t.Errorf("%v", err)
			}
		}
		if n := c.gateway.count("list"); n != 1 {
			t.Errorf("asked %d times at once", n)
		}
		c.wantStatus(b.ID, bill.Choose)
		c.gateway.set(func() { c.gateway.listErr, c.gateway.methods = nil, listed })
		pass(31 * time.Second)
		if chosen, err := c.choose(b.ID, "SCAN", "QRIS"); err != nil || chosen.Status != bill.Wait {
			t.Errorf("%s, %v", chosen.Status, err)
		}
	})
}

func TestNobodyWaitsLongerForTheListThanOneCallMayTake(t *testing.T) {
	atWith(t, listing, func(t *testing.T, c *counter) {
		c.gateway.set(func() { c.gateway.listing = make(chan struct{}) })
		began := time.Now()
		_, err := c.ways(asIs)
		if waited := time.Since(began); !errors.Is(err, bill.ErrUnavailable) || waited != c.account.CallTimeout {
			t.Errorf("%v after %v", err, waited)
		}
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		pass(time.Minute)
		if _, err := c.engine.Ways(gone, c.scope, bill.Bill{}); !errors.Is(err, context.Canceled) {
			t.Errorf("the caller has gone: %v", err)
		}
	})
}

func TestAGatewayThatListsNothingLeavesBillsAlone(t *testing.T) {
	reconciledWith(t, listing, func(t *testing.T, c *counter) {
		c.gateway.set(func() { c.gateway.listErr = failed(qlink.KindUnclear) })
		paid := c.mustCreate(named("QRIS"), payment.OutcomeNew)
		for range 10 {
			if _, err := c.ways(asIs); err == nil {
				t.Fatal("there is a list")
			}
			pass(31 * time.Second)
		}
		c.gateway.pay(paid.ID)
		pass(3 * time.Minute)
		c.wantStatus(paid.ID, bill.Success)
	})
}
