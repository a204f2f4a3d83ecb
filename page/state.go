package page

import (
	"time"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/page/content"
)

// slowAfter is how long a buyer is told that a payment is being prepared
// before he is told that the gateway does not answer.
const slowAfter = 30 * time.Second

// state is what a buyer is told of a payment: the texts state.<state>.title
// and .detail, and a class of the style sheet. None tells a buyer to pay
// again: as long as an outcome is not known that would be a second payment,
// and even an ended bill may still turn out to be paid.
type state string

const (
	stateChoose     state = "choose"
	stateCreated    state = "created"
	stateSlow       state = "slow"       // as created, for too long
	stateChecking   state = "checking"   // reported as paid, not confirmed yet
	stateProcessing state = "processing" // nothing for the buyer to do
	stateWaiting    state = "waiting"
	stateCancelling state = "cancelling"
	statePaid       state = "paid"
	statePaidLate   state = "paid_late"
	statePaidTwice  state = "paid_twice"
	stateRefused    state = "refused" // it could never have been paid
	stateFailed     state = "failed"
	stateCanceled   state = "canceled"
	stateExpired    state = "expired"
)

func stateOf(p content.Payment) state {
	b := p.Bill
	switch {
	case b.Status == bill.Success:
		return paidState(b)
	case b.Unconfirmed():
		return stateChecking
	}
	switch b.Status {
	case bill.Fail:
		if b.NeverPayable() {
			return stateRefused
		}
		return stateFailed
	case bill.Canceled:
		return stateCanceled
	case bill.Expired:
		return stateExpired
	case bill.Choose, bill.Created, bill.Wait, bill.Success:
	}
	return openState(p)
}

func paidState(b bill.Bill) state {
	switch {
	case b.RefundDue:
		return statePaidTwice
	case b.LatePayment:
		return statePaidLate
	}
	return statePaid
}

func openState(p content.Payment) state {
	b := p.Bill
	switch {
	case b.Cancel.Requested:
		return stateCancelling
	case b.Status == bill.Choose:
		return stateChoose
	case b.Status == bill.Created, b.ActionLost():
		if p.Now.Sub(b.UpdatedAt) > slowAfter { // not since /apply was called: it is called again and again
			return stateSlow
		}
		return stateCreated
	case b.Action.Value == "":
		return stateProcessing
	}
	return stateWaiting
}

// class is the style sheet's.
func (s state) class() string {
	switch s {
	case statePaid, statePaidLate, statePaidTwice:
		return "paid"
	case stateRefused, stateFailed, stateCanceled, stateExpired:
		return "ended"
	case stateChoose, stateCreated, stateSlow, stateChecking, stateProcessing, stateWaiting, stateCancelling:
	}
	return ""
}
