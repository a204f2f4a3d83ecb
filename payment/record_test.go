package payment_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/payment"
)

// preceded is a store on which somebody else gets ahead of the first commit.
type preceded struct {
	bill.Store

	once  *sync.Once
	ahead func(store bill.Store)
}

func (o preceded) Commit(ctx context.Context, change bill.Change) error {
	o.once.Do(func() { o.ahead(o.Store) })
	return o.Store.Commit(ctx, change)
}

func TestANotificationCountsForTheBillAsItIsWhenItIsStored(t *testing.T) {
	at(t, func(t *testing.T, c *counter) {
		b := c.mustCreate(order("15000"), payment.OutcomeNew)
		between := func(store bill.Store) {
			c.store = store
			c.mustNotify(b, "FAIL")
		}
		c.store = preceded{c.store, new(sync.Once), between}
		c.mustNotify(b, "SUCCESS")
		if paid := c.wantStatus(b.ID, bill.Success); !paid.LatePayment {
			t.Error("it is not told that the payment came after the bill had failed")
		}
		history, err := c.store.History(t.Context(), b.ID)
		if err != nil {
			t.Fatal(err)
		}
		var moves []string
		for _, line := range history {
			moves = append(moves, fmt.Sprintf("%s>%s", line.From, line.To))
		}
		if want := []string{">CREATED", "CREATED>WAIT", "WAIT>FAIL", "FAIL>SUCCESS"}; !slices.Equal(moves, want) {
			t.Errorf("the history is %v, want %v", moves, want)
		}
	})
}

func TestAStoredChangeIsLoggedAsLoudlyAsItMatters(t *testing.T) {
	const of = " account=default shop=default order=O1"
	for what, happens := range map[string]struct {
		do   func(c *counter, b bill.Bill) error
		want string
	}{
		"a payment": {
			func(c *counter, b bill.Bill) error { return c.notify(b, "SUCCESS") },
			"info bill changed" + of + " event=reported_paid source=webhook from=WAIT to=SUCCESS",
		},
		"nothing new": {
			func(c *counter, b bill.Bill) error { return c.notify(b, "WAIT") },
			"debug bill event" + of + " event=reported_wait source=webhook from=WAIT to=WAIT",
		},
		"a status that nobody knows": {
			func(c *counter, b bill.Bill) error { return c.notify(b, "ODD") },
			"warn gateway report changes nothing" + of + " event=reported_other source=webhook from=WAIT to=WAIT gateway_status=ODD",
		},
		"an end by force": {
			func(c *counter, b bill.Bill) error {
				_, err := c.operator().Force(c.t.Context(), b.ID, "QLink says so")
				return err
			},
			"warn an operator ended the bill by force" + of + " event=forced source=operator from=WAIT to=CANCELED reason=QLink says so",
		},
		"a payment that is taken back": {
			func(c *counter, b bill.Bill) error {
				c.mustNotify(b, "SUCCESS")
				return c.notify(b, "FAIL")
			},
			"error bill needs an operator" + of + " event=reported_fail source=webhook from=SUCCESS to=SUCCESS gateway_status=FAIL refund_due=false message=",
		},
	} {
		t.Run(what, func(t *testing.T) {
			core, logs := observer.New(zap.DebugLevel)
			atWith(t, func(cfg *payment.Config) { cfg.Logger = zap.New(core) }, func(t *testing.T, c *counter) {
				b := c.mustCreate(order("15000"), payment.OutcomeNew)
				if err := happens.do(c, b); err != nil {
					t.Fatal(err)
				}
				var lines []string
				for _, entry := range logs.All() {
					line := entry.Level.String() + " " + entry.Message
					for _, f := range entry.Context {
						if f.Key != "bill" {
							line += fmt.Sprintf(" %s=%v", f.Key, entry.ContextMap()[f.Key])
						}
					}
					lines = append(lines, line)
				}
				if !slices.Contains(lines, happens.want) {
					t.Errorf("logged %q, want %q among it", lines, happens.want)
				}
			})
		})
	}
}
