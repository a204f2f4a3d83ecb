package console

import (
	"fmt"
	"slices"
	"time"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/payment"
)

// entry is one thing that happened to a bill.
type entry struct {
	At    time.Time
	Text  string
	By    string // where it came from, in words
	Actor string // the operator whose act it is, or came of
	From  bill.Status
	To    bill.Status // From, where the status did not change
	Bad   bool
	Facts []fact
}

// fact is a detail of an entry, as it was received.
type fact struct{ Name, Value string }

// entriesOf tells a bill's story, oldest first: its history, and what its shop
// was told.
func entriesOf(t payment.Timeline) []entry {
	var entries []entry
	for _, e := range t.History {
		entries = append(entries, entryOf(e, t.Bill))
	}
	for _, n := range t.Notifications {
		entries = append(entries, triesOf(n)...)
	}
	slices.SortStableFunc(entries, func(a, b entry) int { return a.At.Compare(b.At) })
	return entries
}

func entryOf(e bill.Event, b bill.Bill) entry {
	text, ok := eventWords[e.Kind]
	if !ok {
		text = string(e.Kind)
	}
	if e.Kind == bill.EventCreated && b.RetryOf != "" {
		text = "The buyer began a new attempt"
	}
	if words := reasonWords[e.Reason]; words != "" {
		text += " " + words
	}
	if e.From == "" {
		e.From = e.To
	}
	return entry{
		At: e.At, Text: text, By: source(e.Source), Actor: e.Actor, From: e.From, To: e.To, Facts: factsOf(e),
		Bad: e.Complaint || slices.Contains([]bill.EventKind{
			bill.EventApplyRefused, bill.EventApplyUnclear, bill.EventApplyNotSent, bill.EventContradiction, bill.EventReportedOther,
			bill.EventCancelRefused, bill.EventCancelUnclear, bill.EventForced,
		}, e.Kind),
	}
}

// factsOf lists what an event tells besides what happened.
func factsOf(e bill.Event) (facts []fact) {
	add := func(name, value string) {
		if value != "" {
			facts = append(facts, fact{name, value})
		}
	}
	add("note", e.Note)
	add("way to pay", way(e.Way))
	r := e.Report
	add("status at the gateway", r.Status)
	add("error code", r.ErrorCode)
	add("message", r.Message)
	if r.HTTPStatus != 0 {
		add("HTTP status", fmt.Sprint(r.HTTPStatus))
	}
	add("bill code", r.BillCode)
	add("payment request", r.PaymentRequestID)
	if !r.PayTime.IsZero() {
		add("paid at", moment(r.PayTime))
	}
	if e.Kind == bill.EventContradiction {
		add("its tradeUuid", r.TradeUUID)
		add("its order", r.OrderCode)
		add("its currency", r.Currency)
	}
	add("SHA-256 of its body", r.BodySHA256)
	if e.Complaint {
		add("", "The gateway refused our signature or key")
	}
	add("the call took", took(time.Duration(e.Took)))
	return facts
}

func way(w bill.Way) string {
	if w.PayChannel == "" {
		return ""
	}
	return w.PayType + "/" + w.PayChannel
}

// triesOf tells how the shop was told.
func triesOf(n bill.Notification) []entry {
	entries := []entry{{At: n.CreatedAt, Text: "The shop is to be told", By: "notification", Facts: []fact{{"type", string(n.Type)}, {"to", bill.ShownURL(n.URL)}, {"webhook-id", n.ID}}}}
	for _, t := range n.Log {
		e := entry{At: t.At, Text: "The shop was told", By: "notification", Facts: []fact{{"type", string(n.Type)}, {"to", bill.ShownURL(n.URL)}}}
		if t.Error != "" {
			e.Text, e.Bad = "The shop could not be told", true
			e.Facts = append(e.Facts, fact{"why", t.Error})
		}
		if t.Status != 0 {
			e.Facts = append(e.Facts, fact{"HTTP status", fmt.Sprint(t.Status)})
		}
		if t.Took > 0 {
			e.Facts = append(e.Facts, fact{"it took", took(time.Duration(t.Took))})
		}
		entries = append(entries, e)
	}
	return entries
}
