package payment_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/payment"
)

const (
	buyer    = "192.0.2.7"
	neighbor = "2001:db8:1:2::/64"
)

// createOf hands over an order with the code for a buyer at the address.
func (c *counter) createOf(client, code string) (payment.Created, error) {
	o := order("1")
	o.OrderCode = code
	return c.engine.Create(c.t.Context(), c.scope, o, payment.HandOver{At: time.Now(), Client: client})
}

func threeOfEach(cfg *payment.Config) { cfg.OpenPerClient = 3 }

// fill opens as many bills of the buyer as he may have.
func (c *counter) fill() (bills []bill.Bill) {
	c.t.Helper()
	for i := range 3 {
		created, err := c.createOf(buyer, fmt.Sprint(i))
		if err != nil || created.Outcome != payment.OutcomeNew {
			c.t.Fatalf("%d: %s, %v", i, created.Outcome, err)
		}
		bills = append(bills, created.Bill)
	}
	return bills
}

func TestABuyersAddressHasRoomForSoManyOpenBills(t *testing.T) {
	atWith(t, threeOfEach, func(t *testing.T, c *counter) {
		c.fill()
		err := c.engine.Ready(t.Context(), buyer)
		if !errors.Is(err, payment.ErrTooManyOpenOfClient) || !errors.Is(err, payment.ErrTooManyOpen) {
			t.Errorf("before the shop is asked: %v", err)
		}
		if _, err := c.createOf(buyer, "more"); !errors.Is(err, payment.ErrTooManyOpenOfClient) {
			t.Errorf("after it answered: %v", err)
		}
		if n := c.gateway.count("apply"); n != 3 {
			t.Errorf("%d calls of /apply", n)
		}
		if again, err := c.createOf(buyer, "1"); err != nil || again.Outcome != payment.OutcomeExisting {
			t.Errorf("an order that has a bill: %s, %v", again.Outcome, err)
		}
	})
}

func TestOneAddressTakesNoRoomFromOthers(t *testing.T) {
	atWith(t, threeOfEach, func(t *testing.T, c *counter) {
		c.fill()
		for i, client := range []string{neighbor, neighbor, neighbor, "", "", "", ""} {
			if err := c.engine.Ready(t.Context(), client); err != nil {
				t.Errorf("%q: %v", client, err)
			}
			if _, err := c.createOf(client, fmt.Sprint("other-", i)); err != nil {
				t.Errorf("%q: %v", client, err)
			}
		}
		if err := c.engine.Ready(t.Context(), neighbor); !errors.Is(err, payment.ErrTooManyOpenOfClient) {
			t.Errorf("the neighbor's fourth: %v", err)
		}
	})
}

func TestABillThatEndsGivesItsRoomBackAndForgetsTheAddress(t *testing.T) {
	for _, end := range []string{"SUCCESS", "FAIL", "CANCELED", "EXPIRED"} {
		atWith(t, threeOfEach, func(t *testing.T, c *counter) {
			bills := c.fill()
			if got := c.bill(bills[0].ID).Client; got != buyer {
				t.Fatalf("open, the bill is of %q", got)
			}
			if err := c.notify(bills[0], end); err != nil {
				t.Fatal(err)
			}
			if got := c.bill(bills[0].ID).Client; got != "" {
				t.Errorf("%s: the bill still names %q", end, got)
			}
			if err := c.engine.Ready(t.Context(), buyer); err != nil {
				t.Errorf("%s: %v", end, err)
			}
		})
	}
}

func TestARefusedOrderTakesNoRoom(t *testing.T) {
	atWith(t, threeOfEach, func(t *testing.T, c *counter) {
		c.gateway.set(func() { c.gateway.applyErr = refused("closed") })
		for i := range 5 {
			created, err := c.createOf(buyer, fmt.Sprint("refused-", i))
			if err != nil || created.Outcome != payment.OutcomeRefused {
				t.Fatalf("%s, %v", created.Outcome, err)
			}
		}
	})
}

func TestNoAddressIsKeptWhereNobodyCounts(t *testing.T) {
	at(t, func(t *testing.T, c *counter) {
		for _, b := range c.fill() {
			if got := c.bill(b.ID).Client; got != "" {
				t.Errorf("the bill names %q", got)
			}
		}
		if err := c.engine.Ready(t.Context(), buyer); err != nil {
			t.Error(err)
		}
	})
}

func TestAnAddressIsShownToNobody(t *testing.T) {
	atWith(t, threeOfEach, func(t *testing.T, c *counter) {
		b := c.bill(c.fill()[0].ID)
		shown, err := json.Marshal(b.View("https://shop.example/pay"))
		if err != nil {
			t.Fatal(err)
		}
		history, err := c.store.History(t.Context(), b.ID)
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range []string{string(shown), fmt.Sprintf("%+v", history)} {
			if b.Client == "" || strings.Contains(text, b.Client) {
				t.Errorf("the address %q stands in %s", b.Client, text)
			}
		}
	})
}
