package payment

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

// totals are sums by kind.
type totals map[totalKey]*total

type totalKey struct {
	live     bool
	currency bill.Currency
	status   bill.Status
}

type total struct {
	count int
	sum   bill.Sum
}

func (t totals) add(b bill.Bill) error {
	key := totalKey{live: b.LiveMode, currency: b.Currency, status: b.Status}
	if t[key] == nil {
		t[key] = new(total)
	}
	t[key].count++
	if err := t[key].sum.Add(b.Amount); err != nil {
		return fmt.Errorf("bill %s: %w", b.ID, err)
	}
	return nil
}

// rows returns the sums: real money first, then by currency, then in the order
// of a bill's life.
func (t totals) rows() []Total {
	rows := make([]Total, 0, len(t))
	for key, sum := range t {
		decimals, _ := key.currency.Decimals()
		rows = append(rows, Total{
			LiveMode: key.live, Currency: key.currency, Status: key.status, Count: sum.count, Amount: sum.sum.Text(decimals),
		})
	}
	life := bill.Statuses()
	slices.SortFunc(rows, func(x, y Total) int {
		return cmp.Or(falseLast(x.LiveMode, y.LiveMode), cmp.Compare(x.Currency, y.Currency),
			cmp.Compare(slices.Index(life, x.Status), slices.Index(life, y.Status)))
	})
	return rows
}

func falseLast(x, y bool) int {
	switch {
	case x == y:
		return 0
	case x:
		return -1
	}
	return 1
}
