package page

import (
	"strings"
	"time"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

// words say in a buyer's language what has become of a payment.
type words struct {
	Title  string
	Detail string
	Class  string // of the style sheet
}

// wordsFor never tells a buyer to pay again: as long as an outcome is not
// known that would be a second payment, and even an ended bill may still turn
// out to be paid.
func wordsFor(b bill.Bill) words {
	switch b.Status {
	case bill.Success:
		if b.RefundDue {
			return words{"Paid, more than once", "We received more than one payment for this order. The shop owes you a refund: please contact it.", "paid"}
		}
		return words{"Paid – thank you", "We have received your payment.", "paid"}
	case bill.Fail:
		if b.NeverPayable() {
			return words{"The payment could not be started", "The payment provider did not accept it. You have not been charged.", "ended"}
		}
		return words{"The payment was not completed", lateDetail, "ended"}
	case bill.Canceled:
		return words{"The payment was cancelled", lateDetail, "ended"}
	case bill.Expired:
		return words{"The time to pay is over", lateDetail, "ended"}
	case bill.Choose, bill.Created, bill.Wait:
	}
	return openWords(b)
}

const lateDetail = "Please do not use its code any more. If you have paid, the payment counts and will be shown here as soon as we learn of it."

func openWords(b bill.Bill) words {
	switch {
	case b.Cancel.Requested:
		return words{"Cancelling the payment …", "Please wait and do not pay any more. If you have paid already, the payment counts. This page updates itself.", ""}
	case b.Status == bill.Choose:
		return words{"Waiting for your choice", "You have not chosen how to pay yet.", ""}
	case b.Status == bill.Created, b.ActionLost():
		return words{"Preparing your payment …", "Please stay on this page: it updates itself. There is no need to order or to pay a second time.", ""}
	case b.Action.Value == "":
		return words{"Your payment is being processed", "There is nothing to do for you. This page updates itself.", ""}
	}
	return words{"Waiting for your payment", "This page updates itself once you have paid.", ""}
}

// money writes an amount as English does: the currency's code, and commas
// between groups of three digits.
func money(amount bill.Amount, currency bill.Currency) string {
	whole, fraction, hasPoint := strings.Cut(string(amount), ".")
	var b strings.Builder
	b.WriteString(string(currency) + "\u00a0")
	for i, digit := range whole {
		if i > 0 && (len(whole)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteRune(digit)
	}
	if hasPoint {
		b.WriteString("." + fraction)
	}
	return b.String()
}

// moment names its zone: whoever reads it may be in any.
func moment(t time.Time) string { return t.UTC().Format("2 January 2006, 15:04 UTC") }
