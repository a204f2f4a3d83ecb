package console

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/operator"
	"github.com/caddy-qlink/caddy-qlink/payment"
)

// story is the page of one bill.
type story struct {
	frame
	payment.Timeline

	Stuck   string // why it wants an eye, in words
	Entries []entry

	Others []bill.Bill // other attempts of its order, newest first
	May    may
}

// may are the acts that make sense for a bill as it is.
type may struct{ Ask, Cancel, Force, Redeliver bool }

// errNoBill says what was looked for.
func errNoBill(id string) error {
	return operator.Refuse(http.StatusNotFound, fmt.Errorf("no bill has the id %.200s", visible(id)))
}

// timeline reads the bill that the address names, by its id alone.
func (v *visit) timeline() (payment.Timeline, error) {
	id := v.segment(2)
	t, err := v.Payments.Timeline(v.r.Context(), id)
	if errors.Is(err, bill.ErrNotFound) {
		return t, errNoBill(id)
	}
	return t, err
}

// bill shows all that is known of one.
func (v *visit) bill() error {
	if _, err := v.parameters(); err != nil {
		return err
	}
	t, err := v.timeline()
	if err != nil {
		return err
	}
	b := t.Bill
	s := story{frame: v.frame("bills", "Bill of "+visible(b.OrderCode)), Timeline: t, Stuck: stuckWords[b.Stuck(v.Now())], Entries: entriesOf(t)}
	for _, other := range t.Order.Bills {
		if other.ID != b.ID {
			s.Others = append(s.Others, other)
		}
	}
	s.May = may{
		Ask:       b.Status != bill.Success && b.Status != bill.Choose,
		Cancel:    !b.Status.Final() || b.Unconfirmed(),
		Force:     b.Status != bill.Success && (!b.Status.Final() || b.Unconfirmed()),
		Redeliver: len(t.Notifications) > 0,
	}
	return v.show(http.StatusOK, "bill.html", s)
}
