package bill_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/integration/pagetest"
)

const (
	lifePage   = "../docs/life-of-a-bill.md"
	lifeMarker = "<!-- From here on it is drawn from the transition function; a test keeps it so. -->\n"
)

// words are what the drawing calls an event.
var words = map[bill.EventKind]string{
	bill.EventChosen:         "chosen",
	bill.EventApplyAccepted:  "/apply accepted",
	bill.EventRefusalStands:  "refused, and a query does not show it",
	bill.EventNotKnown:       "certainly not known, and to end",
	bill.EventReportedWait:   "reported waiting",
	bill.EventReportedPaid:   "reported paid",
	bill.EventReportedFail:   "reported failed",
	bill.EventReportedCancel: "reported cancelled",
	bill.EventReportedExpiry: "reported expired",
	bill.EventCancelAsked:    "cancel asked",
	bill.EventCancelStands:   "cancelled, and a query shows no payment",
	bill.EventForced:         "forced by an operator",
}

// TestTheDrawingOfABillsLifeIsTheTransitionFunction asks the function for every
// event in every status, as a bill plainly stands there and with what some events
// wait for, and draws each way to another status.
func TestTheDrawingOfABillsLifeIsTheTransitionFunction(t *testing.T) {
	var page strings.Builder
	page.WriteString("\n```mermaid\nstateDiagram-v2\n    [*] --> CHOOSE: handed over, to be chosen\n    [*] --> CREATED: handed over\n")
	for _, from := range bill.Statuses() {
		for _, to := range bill.Statuses() {
			var by []string
			for _, kind := range allKinds() {
				if leads(from, kind, to) {
					if words[kind] == "" {
						t.Errorf("there is no word for %s, which leads from %s to %s", kind, from, to)
					}
					by = append(by, words[kind])
				}
			}
			if len(by) > 0 {
				fmt.Fprintf(&page, "    %s --> %s: %s\n", from, to, strings.Join(by, "; "))
			}
		}
	}
	for _, s := range bill.Statuses() {
		if s.Final() {
			fmt.Fprintf(&page, "    %s --> [*]\n", s)
		}
	}
	page.WriteString("```\n")
	pagetest.Keep(t, lifePage, lifeMarker, page.String())
}

// leads reports whether an event can lead from one status to another.
func leads(from bill.Status, kind bill.EventKind, to bill.Status) bool {
	if from == to {
		return false
	}
	refused, wished := inStatus(from), inStatus(from)
	refused.Apply.Refused = true
	wished.Cancel = bill.Cancelling{Requested: true, Reason: bill.CancelBuyer, At: start, Confirmed: true}
	wished.Apply.FirstMiss = start.Add(2 * time.Second)
	expiring := wished
	expiring.Cancel.Reason = bill.CancelExpiry
	return slices.ContainsFunc([]bill.Bill{inStatus(from), refused, wished, expiring}, func(b bill.Bill) bool {
		event := bill.Event{
			Kind: kind, At: start.Add(time.Hour), Source: bill.ByQuery, Reason: bill.CancelBuyer, Note: "by hand", Actor: "an operator",
			Way:    bill.Way{PayType: "ONLINE", PayChannel: "QRIS"},
			Report: bill.Report{TradeUUID: b.ID, BillCode: "B1", OrderCode: "O1", ActionValue: "00020101021226"},
		}
		step, err := b.Next(event, rules)
		return err == nil && step.Bill.Status == to
	})
}
