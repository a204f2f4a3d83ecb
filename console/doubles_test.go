package console_test

import (
	"context"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/operator"
	"github.com/caddy-qlink/caddy-qlink/payment"
)

// broken is an engine whose store does not answer, or not in a way that anybody
// has foreseen.
type broken struct {
	operator.Payments

	err error
}

func (b broken) Gauges(context.Context) (payment.Gauges, error) { return payment.Gauges{}, b.err }

// crowd is an engine that lists a page of bills, and the same again for ever
// unless it is the last.
type crowd struct {
	operator.Payments

	page  []bill.Bill
	last  bool
	pages int
}

func (c *crowd) List(_ context.Context, q bill.Query) ([]bill.Bill, string, error) {
	if !q.StuckAt.IsZero() {
		return nil, "", nil
	}
	c.pages++
	if c.last {
		return c.page, "", nil
	}
	return c.page, "more", nil
}
