package console

import (
	"strconv"
	"strings"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/payment"
)

// statusWords says what a status means.
func statusWords(s bill.Status) string {
	return map[bill.Status]string{
		bill.Choose: "buyer chooses", bill.Created: "gateway's answer unknown", bill.Wait: "waiting for the buyer",
		bill.Success: "paid", bill.Fail: "failed", bill.Canceled: "cancelled", bill.Expired: "expired",
	}[s]
}

// tone is the class that a status is coloured by.
func tone(s bill.Status) string {
	switch {
	case s == bill.Success:
		return "good"
	case s.Final():
		return "ended"
	case s == bill.Created:
		return "bad"
	}
	return "open"
}

// stuckWords says why a bill wants an eye, and what may be done.
var stuckWords = map[bill.StuckReason]string{
	bill.StuckUnconfirmed:   "A webhook reported it as paid, but the gateway, asked, has not agreed yet. Ask the gateway again; if it keeps disagreeing, ask QLink before anything is delivered.",
	bill.StuckRefusesUs:     "The gateway refuses our signature or key. Check the account's app_key and app_secret; caddy qlink doctor tells what it is.",
	bill.StuckAnswerUnknown: "Whether the gateway has made the payment is not known yet. It is asked again by itself, ever more slowly.",
	bill.StuckCancel:        "Its end was asked for and the gateway has not confirmed it: the buyer may still be able to pay.",
	bill.StuckOverdue:       "Its time is over and the gateway has not confirmed its end: the buyer may still be able to pay.",
}

// eventWords says what happened, where that does not depend on the bill.
var eventWords = map[bill.EventKind]string{
	bill.EventCreated:        "The shop handed the order over",
	bill.EventChosen:         "The buyer chose how to pay",
	bill.EventApplyStarted:   "The gateway is asked once more to make the payment",
	bill.EventApplyAccepted:  "The gateway made the payment",
	bill.EventApplyRefused:   "The gateway refused to make the payment",
	bill.EventRefusalStands:  "The refusal stands: the gateway, asked, does not show the payment",
	bill.EventApplyUnclear:   "Whether the gateway made the payment is not known: no answer, or none that could be read",
	bill.EventApplyNotSent:   "The gateway could not be reached: nothing was sent",
	bill.EventNotKnown:       "The gateway, asked, did not know the payment",
	bill.EventReportedWait:   "The gateway says that the payment waits for the buyer",
	bill.EventReportedPaid:   "The gateway says that it is paid",
	bill.EventReportedFail:   "The gateway says that the payment failed",
	bill.EventReportedCancel: "The gateway says that the payment is cancelled",
	bill.EventReportedExpiry: "The gateway says that the payment has expired",
	bill.EventReportedOther:  "The gateway reported a status that nobody has defined",
	bill.EventContradiction:  "A report speaks of another bill, order or currency: it changed nothing",
	bill.EventCancelAsked:    "Its end was asked for",
	bill.EventCancelDone:     "The gateway answered that it cancelled; it is asked once more, so that no payment is missed",
	bill.EventCancelPending:  "The gateway answered that the cancel is under way",
	bill.EventCancelRefused:  "The gateway answered that it did not cancel",
	bill.EventCancelUnclear:  "The gateway's answer to the cancel could not be read",
	bill.EventCancelStands:   "Cancelled: the gateway, asked, does not show a payment",
	bill.EventForced:         "Ended by force",
	bill.EventAsked:          "The gateway is asked",
	bill.EventHandedOver:     "The shop handed the order over again",
	bill.EventWithdrawn:      "The shop took the order back",
	bill.EventForgotten:      "Details, history and notifications up to here were deleted: retention",
	bill.EventRedelivered:    "The shop is told again",
	bill.EventResolved:       "Seen to",
}

// sourceWords says where an event came from.
var sourceWords = map[bill.Source]string{
	bill.ByWebhook: "signed webhook", bill.ByQuery: "query", bill.ByCancel: "answer to the cancel", bill.ByExpiry: "its time ran out",
	bill.ByOperator: "operator", bill.ByApply: "answer to apply", bill.ByBuyer: "buyer", bill.ByShop: "shop", bill.ByModule: "by itself",
}

// source is where something came from, in words.
func source(s bill.Source) string {
	if words, ok := sourceWords[s]; ok {
		return words
	}
	return string(s)
}

// reasonWords says who wanted the end of a bill.
var reasonWords = map[bill.CancelReason]string{
	bill.CancelBuyer: "by the buyer", bill.CancelShop: "by the shop", bill.CancelExpiry: "since its time ran out",
	bill.CancelReplaced: "since the order came again with other terms", bill.CancelPaid: "since another attempt was paid",
	bill.CancelNoAction: "since how to pay it was lost", bill.CancelOperator: "by an operator",
}

// stateWords says what became of a notification.
var stateWords = map[bill.NotificationState]string{
	bill.Pending: "to be delivered", bill.Delivered: "taken by the shop", bill.Superseded: "overtaken by a newer one", bill.Dead: "given up",
}

// notice is what became of an act, at the top of the next page.
type notice struct {
	Text string
	Bad  bool
}

// The codes of notices, as they stand in addresses: a page says none but these,
// whoever made up its address.
const (
	saidAsked        = "asked"
	saidCancelled    = "cancelled"
	saidCancelAsked  = "cancel_asked"
	saidForced       = "forced"
	saidToldAgain    = "told_again"
	saidNobodyToTell = "nobody_to_tell"
	saidOvertaken    = "overtaken"
	saidResolved     = "resolved"
	saidChanged      = "changed"
	saidAccountGone  = "account_gone"
	saidReason       = "reason"
	saidDeadAgain    = "dead_again"
	saidDeadMore     = "dead_more"
	saidDeadFailed   = "dead_failed"
)

var notices = map[string]notice{
	saidAsked:        {Text: "The gateway was asked. What it said is in the history, where it was news."},
	saidCancelled:    {Text: "The bill has ended."},
	saidCancelAsked:  {Text: "The cancel is asked for; the gateway has not confirmed it yet. It is asked again by itself."},
	saidForced:       {Text: "The bill was ended by force. The gateway was not asked: a payment that comes all the same is taken."},
	saidToldAgain:    {Text: "The shop is told again, now."},
	saidNobodyToTell: {Text: "Nothing was sent: nobody was to be told of this bill.", Bad: true},
	saidOvertaken:    {Text: "Nothing was sent: the shop has been told something newer about this order. Tell it of that bill again.", Bad: true},
	saidResolved:     {Text: "Noted."},
	saidChanged:      {Text: "Nothing was done: the bill has changed since you looked at it. This is how it is now.", Bad: true},
	saidAccountGone:  {Text: "Nothing was done: the bill's account is not configured any more, so there is no gateway to ask.", Bad: true},
	saidReason:       {Text: "Nothing was done: a reason or note is wanted, of " + strconv.Itoa(payment.MaxReason) + " bytes at the most.", Bad: true},
	saidDeadAgain:    {Text: "Bills whose shops are told again: %d."},
	saidDeadMore:     {Text: "Bills whose shops are told again: %d. There are more: press once more."},
	saidDeadFailed:   {Text: "Bills whose shops are told again: %d. Some could not be sent again: they are in the list still.", Bad: true},

	string(payment.CodeAlreadyPaid):   {Text: "Nothing was done: the bill is paid.", Bad: true},
	string(payment.CodeCancelRefused): {Text: "The gateway did not cancel the bill: it may still be paid.", Bad: true},
}

// noticeOf returns the notice of a code, with the number that it may tell of.
func noticeOf(code, number string) *notice {
	n, ok := notices[code]
	if !ok {
		return nil
	}
	if before, after, counts := strings.Cut(n.Text, "%d"); counts {
		count, err := strconv.ParseUint(number, 10, 32)
		if err != nil {
			return nil
		}
		n.Text = before + strconv.FormatUint(count, 10) + after
	}
	return &n
}
