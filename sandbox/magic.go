package sandbox

import (
	"crypto/rand"
	"slices"
	"strings"
	"time"
)

// MagicWord is a word that, between dashes in an order code, chooses a fate.
type MagicWord struct {
	Word string
	// Does is what happens, for a person to read.
	Does string

	operation string // the fault falls on, where there is one
	fault     Fault
	firstOnly bool   // the fault falls on the first such call about an order
	fates     []fate // come fate_delay after one another
}

// fate is a planned change.
type fate struct {
	status   Status
	webhooks int
	late     bool
}

// MagicWords are all words that mean something, in capitals: "O17-PAY",
// "O17-NOACTION-FAIL". Where several bring a fault on one call, the first of
// this list does.
var MagicWords = []MagicWord{
	{Word: "PAY", Does: "is paid by itself, soon", fates: []fate{{status: StatusSuccess, webhooks: 1}}},
	{Word: "FAIL", Does: "fails by itself, soon", fates: []fate{{status: StatusFail, webhooks: 1}}},
	{Word: "EXPIRE", Does: "expires by itself, soon", fates: []fate{{status: StatusExpired, webhooks: 1}}},
	{Word: "CANCEL", Does: "is cancelled by itself, soon", fates: []fate{{status: StatusCanceled, webhooks: 1}}},
	{Word: "TWICE", Does: "is paid by itself; the webhook comes twice", fates: []fate{{status: StatusSuccess, webhooks: 2}}},
	{Word: "SILENT", Does: "is paid by itself; no webhook comes", fates: []fate{{status: StatusSuccess}}},
	{Word: "LATE", Does: "fails by itself, and is paid after all", fates: []fate{
		{status: StatusFail, webhooks: 1}, {status: StatusSuccess, webhooks: 1, late: true},
	}},
	{Word: "EARLY", Does: "is paid, and the webhook comes before the answer to apply", operation: opApply,
		fault: Fault{Fault: FaultEarlyWebhook}},
	{Word: "REFUSE", Does: "is refused by apply", operation: opApply,
		fault: Fault{Fault: FaultRefuse, ErrorCode: "PAYMENT_REFUSED", Message: "refused, as the order code asks"}},
	{Word: "TIMEOUT", Does: "is made, but the answer to the first apply is lost", operation: opApply, firstOnly: true,
		fault: Fault{Fault: FaultDropAnswer}},
	{Word: "LOST", Does: "the first apply never arrives", operation: opApply, firstOnly: true,
		fault: Fault{Fault: FaultDropRequest}},
	{Word: "ERROR", Does: "the first apply gets a 503 and does nothing", operation: opApply, firstOnly: true,
		fault: Fault{Fault: FaultStatus, Status: 503}},
	{Word: "DELAY", Does: "apply is answered after 5 seconds", operation: opApply,
		fault: Fault{Fault: FaultDelay, Delay: Duration(5 * time.Second)}},
	{Word: "NOACTION", Does: "apply is answered without an actionValue", operation: opApply,
		fault: Fault{Fault: FaultNoAction}},
	{Word: "NOCANCEL", Does: "cancel is answered FAIL", operation: opCancel,
		fault: Fault{Fault: FaultCancelAnswer, Answer: "FAIL", ErrorCode: "CANCEL_REFUSED"}},
	{Word: "SLOWCANCEL", Does: "cancel is answered WAIT first, and comes true with the second call", operation: opCancel, firstOnly: true,
		fault: Fault{Fault: FaultCancelAnswer, Answer: "WAIT"}},
}

// magic gives the words an order code holds, in the order of MagicWords.
func magic(orderCode string) []MagicWord {
	words := strings.Split(orderCode, "-")
	var found []MagicWord
	for _, m := range MagicWords {
		if slices.Contains(words, m.Word) {
			found = append(found, m)
		}
	}
	return found
}

// magicFault gives the fault that the words of a call's orders bring.
func (t *tx) magicFault(operation string, orders []string) Fault {
	for _, order := range orders {
		for _, m := range magic(order) {
			if m.operation != operation || (m.firstOnly && t.called(operation, order)) {
				continue
			}
			return m.fault
		}
	}
	return Fault{}
}

// called reports whether an accepted call of the operation was about the order
// before.
func (t *tx) called(operation, order string) bool {
	return slices.ContainsFunc(t.calls, func(c Call) bool {
		return c.Operation == operation && c.Verdict == accepted && slices.Contains(c.OrderCodes, order)
	})
}

// plans makes the plans that the words of a new payment's order code ask for.
func (s *Sandbox) plans(p *Payment, now time.Time) []Plan {
	var plans []Plan
	due := now
	for _, m := range magic(p.OrderCode) {
		for _, f := range m.fates {
			due = due.Add(s.conf.fateDelay)
			c := s.change(p, f.status, due)
			c.By = "magic"
			plan := Plan{ID: "plan-" + rand.Text(), Due: due, Change: c, Late: f.late}
			for range f.webhooks {
				plan.Webhooks = append(plan.Webhooks, s.notice(p, c)...)
			}
			plans = append(plans, plan)
		}
	}
	return plans
}

// change is the usual change to a status at a time.
func (s *Sandbox) change(p *Payment, status Status, at time.Time) Change {
	c := Change{BillCode: p.BillCode, Status: status}
	switch status {
	case StatusSuccess:
		c.PayTime = s.clock(at)
	case StatusFail:
		c.ErrorCode = "PAYMENT_FAILED"
	case StatusExpired:
		c.ErrorCode = "PAYMENT_EXPIRED"
	case StatusCanceled, StatusWait:
	}
	return c
}

// timeForm is the gateway's, in a zone it does not tell.
const timeForm = "2006-01-02 15:04:05"

func (s *Sandbox) clock(t time.Time) string { return t.In(s.conf.zone).Format(timeForm) }
