package bill_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

var (
	start = time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	rules = bill.Rules{UnknownAfter: 30 * time.Second, MinInterval: 5 * time.Second, CallTimeout: 15 * time.Second}
)

// inStatus returns a bill in the given status, as it comes to be there, after
// its /apply has ended.
func inStatus(s bill.Status) bill.Bill {
	b := bill.Bill{
		ID: "3f1c0a52-0000-4000-8000-000000000001", Ledger: "l", Account: "default", Shop: "default",
		OrderCode: "O1", Attempt: 1, Amount: "15000", Currency: "IDR", Status: s,
		CreatedAt: start, UpdatedAt: start, ExpiresAt: start.Add(24 * time.Hour), Version: 1, Revision: 1,
	}
	if s != bill.Choose {
		b.PayType, b.PayChannel = "ONLINE", "QRIS"
		b.Apply = bill.Applying{Tries: 1, StartedAt: start, EndedAt: start.Add(time.Second)}
	}
	if s == bill.Wait || s.Final() {
		b.BillCode, b.Apply.Accepted = "B1", true
		b.Action = bill.NewAction("00020101021226")
	}
	return b
}

// The whole table of the contract's section 4, cell by cell: the status after
// the event, then in brackets what else there is to it. "=" is the status
// before, with nothing but a line in the history.
const transitionTable = `
event             | CHOOSE          | CREATED              | WAIT                 | FAIL            | CANCELED        | EXPIRED         | SUCCESS
chosen            | CREATED         | error                | error                | error           | error           | error           | error
apply_accepted    | =               | WAIT (action)        | WAIT (fields)        | FAIL (cancel)   | CANCELED (cancel)| EXPIRED (cancel)| SUCCESS (fields)
apply_refused     | =               | CREATED (query)      | =                    | =               | =               | =               | =
refusal_stands    | =               | = (unless refused)   | =                    | =               | =               | =               | =
apply_unclear     | =               | =                    | =                    | =               | =               | =               | =
apply_not_sent    | =               | =                    | =                    | =               | =               | =               | =
not_known         | =               | = (first)            | =                    | =               | =               | =               | =
reported_wait     | =               | WAIT (reapply)       | =                    | =               | =               | =               | =
reported_paid     | =               | SUCCESS              | SUCCESS              | SUCCESS (late)  | SUCCESS (late)  | SUCCESS (late)  | =
reported_fail     | =               | FAIL                 | FAIL                 | =               | =               | =               | = (conflict)
reported_cancel   | =               | CANCELED             | CANCELED             | =               | =               | =               | = (conflict)
reported_expiry   | =               | EXPIRED              | EXPIRED              | =               | =               | =               | = (conflict)
reported_other    | =               | =                    | =                    | =               | =               | =               | =
contradiction     | =               | =                    | =                    | =               | =               | =               | =
cancel_asked      | CANCELED        | CREATED (asked)      | WAIT (asked)         | =               | =               | =               | error
cancel_done       | =               | CREATED (query)      | WAIT (query)         | =               | =               | =               | =
cancel_pending    | =               | CREATED (query)      | WAIT (query)         | =               | =               | =               | =
cancel_refused    | =               | CREATED (query)      | WAIT (query)         | =               | =               | =               | =
cancel_unclear    | =               | CREATED (query)      | WAIT (query)         | =               | =               | =               | =
forced            | CANCELED        | CANCELED             | CANCELED             | =               | =               | =               | error
forgotten         | error           | error                | error                | FAIL            | CANCELED        | EXPIRED         | SUCCESS
`

func TestEveryCellOfTheTableIsAsTheContractSays(t *testing.T) {
	statuses := eachCell(t, transitionTable, func(t *testing.T, event string, from bill.Status, cell string) {
		checkCell(t, bill.EventKind(event), from, cell)
	})
	if statuses != len(bill.Statuses()) {
		t.Fatalf("the table has %d statuses, there are %d", statuses, len(bill.Statuses()))
	}
}

// eachCell runs check for every cell of a table, as a test of its own, and
// returns how many statuses the table has.
func eachCell(t *testing.T, table string, check func(t *testing.T, event string, from bill.Status, cell string)) int {
	t.Helper()
	rows := strings.Split(strings.TrimSpace(table), "\n")
	var statuses []bill.Status
	for _, cell := range strings.Split(rows[0], "|")[1:] {
		statuses = append(statuses, bill.Status(strings.TrimSpace(cell)))
	}
	for _, row := range rows[1:] {
		cells := strings.Split(row, "|")
		event := strings.TrimSpace(cells[0])
		for i, cell := range cells[1:] {
			t.Run(event+"/"+string(statuses[i]), func(t *testing.T) {
				check(t, event, statuses[i], strings.TrimSpace(cell))
			})
		}
	}
	return len(statuses)
}

func checkCell(t *testing.T, kind bill.EventKind, from bill.Status, cell string) {
	before := inStatus(from)
	event := bill.Event{
		Kind: kind, At: start.Add(time.Minute), Source: bill.ByWebhook, Reason: bill.CancelBuyer,
		Report: bill.Report{TradeUUID: before.ID, BillCode: before.BillCode, OrderCode: "O1", PaymentRequestID: "R1"},
	}
	if kind == bill.EventApplyAccepted {
		event.Report.BillCode, event.Report.ActionValue = "B1", "00020101021226"
	}
	if kind == bill.EventReportedWait && from == bill.Created {
		before.Apply.Accepted = false
	}
	if kind == bill.EventChosen {
		event.Way = bill.Way{PayType: "ONLINE", PayChannel: "QRIS"}
	}
	step, err := before.Next(event, rules)
	if cell == "error" {
		if err == nil {
			t.Fatalf("allowed, and led to %s", step.Bill.Status)
		}
		return
	}
	if err != nil {
		t.Fatalf("refused: %v", err)
	}
	want, extra, _ := strings.Cut(cell, " ")
	if want == "=" {
		want = string(from)
		if step.Changed {
			t.Errorf("changed what a buyer sees:\n%s", cmp.Diff(before, step.Bill))
		}
		if !step.Record {
			t.Error("left no line in the history")
		}
	} else if !step.Changed && !strings.Contains(extra, "query") && !strings.Contains(extra, "cancel") {
		t.Error("changed nothing that a buyer sees")
	}
	if string(step.Bill.Status) != want {
		t.Fatalf("led to %s, want %s", step.Bill.Status, want)
	}
	checkExtra(t, step, extra)
}

func checkExtra(t *testing.T, step bill.Step, extra string) {
	t.Helper()
	want := bill.Step{}
	switch extra {
	case "(cancel)":
		want.Follow = bill.FollowCancel
	case "(asked)":
		want.Follow = bill.FollowCancel
		if !step.Bill.Cancel.Requested || step.Bill.Cancel.Reason != bill.CancelBuyer {
			t.Errorf("the wish is not stored: %+v", step.Bill.Cancel)
		}
	case "(query)":
		want.Follow = bill.FollowQuery
	case "(reapply)":
		want.Follow = bill.FollowReapply
	case "(conflict)":
		want.Follow, want.Conflict = bill.FollowQuery, true
	case "(late)":
		if !step.Bill.LatePayment {
			t.Error("not marked as a late payment")
		}
	case "(action)":
		if step.Bill.Action.Kind != bill.ActionQR || step.Bill.BillCode != "B1" {
			t.Errorf("action %+v, billCode %q", step.Bill.Action, step.Bill.BillCode)
		}
	case "(fields)":
		if step.Bill.PaymentRequestID != "R1" {
			t.Errorf("paymentRequestId %q was not taken over", step.Bill.PaymentRequestID)
		}
	}
	if step.Follow != want.Follow || step.Conflict != want.Conflict {
		t.Errorf("follow %q, conflict %v; want %q, %v", step.Follow, step.Conflict, want.Follow, want.Conflict)
	}
}

// must applies events one after the other.
func must(t *testing.T, b bill.Bill, events ...bill.Event) bill.Step {
	t.Helper()
	step := bill.Step{Bill: b}
	for _, e := range events {
		var err error
		if step, err = step.Bill.Next(e, rules); err != nil {
			t.Fatalf("%s: %v", e.Kind, err)
		}
	}
	return step
}

func at(after time.Duration, kind bill.EventKind) bill.Event {
	return bill.Event{Kind: kind, At: start.Add(after), Source: bill.ByQuery}
}

func TestNotKnownIsBelievedTheSecondTimeAndNotBeforeUnknownAfter(t *testing.T) {
	b := inStatus(bill.Created)
	b.Apply.EndedAt = start
	tests := map[string]struct {
		events []bill.Event
		want   bill.Follow
	}{
		"once, however late":      {[]bill.Event{at(time.Hour, bill.EventNotKnown)}, bill.FollowNone},
		"twice, but too early":    {[]bill.Event{at(time.Second, bill.EventNotKnown), at(29*time.Second, bill.EventNotKnown)}, bill.FollowNone},
		"twice, the second later": {[]bill.Event{at(time.Second, bill.EventNotKnown), at(30*time.Second, bill.EventNotKnown)}, bill.FollowReapply},
		"never reached the gateway": {
			[]bill.Event{at(time.Second, bill.EventApplyNotSent), at(time.Second, bill.EventNotKnown)}, bill.FollowReapply,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if step := must(t, b, test.events...); step.Follow != test.want || step.Bill.Status != bill.Created {
				t.Errorf("%s, follow %q, want CREATED, %q", step.Bill.Status, step.Follow, test.want)
			}
		})
	}
}

func TestABillCertainlyNotKnownEndsHereWhereItsEndWasAskedFor(t *testing.T) {
	b := inStatus(bill.Created)
	twice := []bill.Event{at(time.Second, bill.EventNotKnown), at(time.Minute, bill.EventNotKnown)}
	wish := bill.Event{Kind: bill.EventCancelAsked, At: start, Source: bill.ByBuyer, Reason: bill.CancelBuyer}
	step := must(t, b, append([]bill.Event{wish}, twice...)...)
	if step.Bill.Status != bill.Canceled || step.Follow != bill.FollowNone {
		t.Errorf("after a cancel: %s, follow %q", step.Bill.Status, step.Follow)
	}
	b.ExpiresAt = start.Add(30 * time.Second)
	if step := must(t, b, twice...); step.Bill.Status != bill.Expired || step.Bill.SettledBy != bill.ByExpiry {
		t.Errorf("after its time: %s by %s", step.Bill.Status, step.Bill.SettledBy)
	}
}

func TestAnApplyUnderWayLetsNothingBeConcludedFromAQuery(t *testing.T) {
	b := inStatus(bill.Created)
	b.Apply.EndedAt = time.Time{}
	step := must(t, b, at(time.Second, bill.EventNotKnown), at(14*time.Second, bill.EventNotKnown))
	if step.Follow != bill.FollowNone || !step.Bill.Apply.FirstMiss.IsZero() {
		t.Errorf("follow %q, first miss %v", step.Follow, step.Bill.Apply.FirstMiss)
	}
	if step := must(t, b, at(time.Second, bill.EventReportedWait)); step.Follow != bill.FollowNone {
		t.Errorf("WAIT during the call: follow %q", step.Follow)
	}
	if step := must(t, b, at(time.Minute, bill.EventReportedWait)); step.Follow != bill.FollowReapply {
		t.Errorf("WAIT after the process that called had died: follow %q", step.Follow)
	}
}

func TestAFirstRefusalStandsOnlyWhenAQueryDoesNotShowTheBill(t *testing.T) {
	refused := bill.Event{Kind: bill.EventApplyRefused, At: start, Source: bill.ByApply, Report: bill.Report{ErrorCode: "E7"}}
	b := inStatus(bill.Created)
	step := must(t, b, refused, at(time.Second, bill.EventRefusalStands))
	if step.Bill.Status != bill.Fail || step.Bill.ErrorCode != "E7" {
		t.Errorf("%s, errorCode %q", step.Bill.Status, step.Bill.ErrorCode)
	}
	if step := must(t, b, refused, at(time.Second, bill.EventReportedPaid)); step.Bill.Status != bill.Success {
		t.Errorf("paid all the same, but %s", step.Bill.Status)
	}
}

func TestARefusedReapplyNeverFailsABill(t *testing.T) {
	b := inStatus(bill.Created)
	step := must(t, b, at(time.Minute, bill.EventApplyStarted), at(2*time.Minute, bill.EventApplyRefused), at(3*time.Minute, bill.EventRefusalStands))
	if step.Bill.Status != bill.Created {
		t.Errorf("led to %s", step.Bill.Status)
	}
}

func TestALostActionIsAskedForOnceAndThenTheBillIsCancelled(t *testing.T) {
	b := inStatus(bill.Wait)
	b.Apply.Accepted, b.Action = false, bill.Action{}
	step := must(t, b, at(time.Minute, bill.EventReportedWait))
	if step.Follow != bill.FollowReapply {
		t.Fatalf("follow %q, want reapply", step.Follow)
	}
	step = must(t, b, at(time.Minute, bill.EventApplyStarted), at(2*time.Minute, bill.EventApplyRefused))
	if step.Follow != bill.FollowCancel || step.Bill.Status != bill.Wait {
		t.Errorf("refused: %s, follow %q", step.Bill.Status, step.Follow)
	}
	empty := at(2*time.Minute, bill.EventApplyAccepted)
	if step = must(t, b, at(time.Minute, bill.EventApplyStarted), empty); step.Follow != bill.FollowCancel {
		t.Errorf("accepted without action: follow %q", step.Follow)
	}
}

func TestABillIsNeverAppliedForBesideACallUnderWay(t *testing.T) {
	b := inStatus(bill.Created)
	b.Apply = bill.Applying{Tries: 1, StartedAt: at(0, "").At}
	if _, err := b.Next(at(rules.CallTimeout-time.Second, bill.EventApplyStarted), rules); !errors.Is(err, bill.ErrApplyForbidden) {
		t.Errorf("beside a call that may be under way: %v", err)
	}
	if _, err := b.Next(at(rules.CallTimeout, bill.EventApplyStarted), rules); err != nil {
		t.Errorf("after it: %v", err)
	}
}

func TestABillIsNeverAppliedForAgainAfterItsTimeOrACancel(t *testing.T) {
	b := inStatus(bill.Created)
	if _, err := b.Next(at(25*time.Hour, bill.EventApplyStarted), rules); !errors.Is(err, bill.ErrApplyForbidden) {
		t.Errorf("after expiresAt: %v", err)
	}
	b.Cancel.Requested = true
	if _, err := b.Next(at(time.Minute, bill.EventApplyStarted), rules); !errors.Is(err, bill.ErrApplyForbidden) {
		t.Errorf("after a cancel request: %v", err)
	}
}

func TestACancelsSuccessIsNotAPayment(t *testing.T) {
	wish := bill.Event{Kind: bill.EventCancelAsked, At: start, Source: bill.ByBuyer, Reason: bill.CancelBuyer}
	step := must(t, inStatus(bill.Wait), wish, at(time.Second, bill.EventCancelDone))
	if step.Bill.Status != bill.Wait || step.Follow != bill.FollowQuery {
		t.Fatalf("%s, follow %q: a query has to come first", step.Bill.Status, step.Follow)
	}
	// story 12: the payment lands between query and cancel.
	if paid := must(t, step.Bill, at(2*time.Second, bill.EventReportedPaid)); paid.Bill.Status != bill.Success {
		t.Errorf("paid meanwhile, but %s", paid.Bill.Status)
	}
	if ended := must(t, step.Bill, at(2*time.Second, bill.EventCancelStands)); ended.Bill.Status != bill.Canceled {
		t.Errorf("no payment seen, but %s", ended.Bill.Status)
	}
}

func TestARefusedCancelDropsABuyersWishAndKeepsAnExpiry(t *testing.T) {
	for reason, kept := range map[bill.CancelReason]bool{
		bill.CancelBuyer: false, bill.CancelShop: false, bill.CancelOperator: false, bill.CancelReplaced: false,
		bill.CancelExpiry: true, bill.CancelPaid: true, bill.CancelNoAction: true,
	} {
		wish := bill.Event{Kind: bill.EventCancelAsked, At: start, Reason: reason}
		step := must(t, inStatus(bill.Wait), wish, at(time.Second, bill.EventCancelRefused))
		if step.Bill.Cancel.Requested != kept || step.Bill.Status != bill.Wait {
			t.Errorf("%s: requested %v, want %v; %s", reason, step.Bill.Cancel.Requested, kept, step.Bill.Status)
		}
	}
}

func TestACancelForExpiryEndsAsExpired(t *testing.T) {
	wish := bill.Event{Kind: bill.EventCancelAsked, At: start, Reason: bill.CancelExpiry}
	for _, end := range []bill.EventKind{bill.EventReportedCancel, bill.EventReportedExpiry} {
		if step := must(t, inStatus(bill.Wait), wish, at(time.Second, end)); step.Bill.Status != bill.Expired {
			t.Errorf("%s led to %s", end, step.Bill.Status)
		}
	}
	step := must(t, inStatus(bill.Wait), wish, at(0, bill.EventCancelDone), at(0, bill.EventCancelStands))
	if step.Bill.Status != bill.Expired || step.Bill.SettledBy != bill.ByExpiry {
		t.Errorf("%s by %s", step.Bill.Status, step.Bill.SettledBy)
	}
}

func choice(after time.Duration, payType, channel string) bill.Event {
	return bill.Event{
		Kind: bill.EventChosen, At: start.Add(after), Source: bill.ByBuyer,
		Way: bill.Way{PayType: payType, PayChannel: channel}, ExpiresAt: start.Add(time.Hour),
	}
}

func TestAChoiceIsTheIntentToApplyOfABillWithThatChannel(t *testing.T) {
	step := must(t, inStatus(bill.Choose), choice(time.Minute, "ONLINE", "DANA"))
	want := inStatus(bill.Choose)
	want.Status, want.PayType, want.PayChannel, want.Chosen = bill.Created, "ONLINE", "DANA", true
	want.ExpiresAt, want.UpdatedAt = start.Add(time.Hour), start.Add(time.Minute)
	want.Apply = bill.Applying{Tries: 1, StartedAt: start.Add(time.Minute)}
	want.Version, want.Revision = 2, 2
	if diff := cmp.Diff(want, step.Bill); diff != "" {
		t.Errorf("the bill (-want +got):\n%s", diff)
	}
	if !step.Changed || !step.Record || step.Line.Way.PayChannel != "DANA" || step.Line.From != bill.Choose || step.Line.To != bill.Created {
		t.Errorf("changed %v, recorded %v: %+v", step.Changed, step.Record, step.Line)
	}
	if step := must(t, step.Bill, at(2*time.Minute, bill.EventApplyUnclear), at(3*time.Minute, bill.EventNotKnown), at(4*time.Minute, bill.EventNotKnown)); step.Follow != bill.FollowReapply {
		t.Errorf("after a crash: follow %q", step.Follow)
	}
}

func TestNothingIsChosenTwiceTooLateOrByHalf(t *testing.T) {
	chosen := must(t, inStatus(bill.Choose), choice(0, "ONLINE", "DANA")).Bill
	for name, test := range map[string]struct {
		bill  bill.Bill
		event bill.Event
		want  error
	}{
		"twice":         {chosen, choice(time.Second, "ONLINE", "QRIS"), bill.ErrNotChoosable},
		"the same":      {chosen, choice(time.Second, "ONLINE", "DANA"), bill.ErrNotChoosable},
		"in its time":   {inStatus(bill.Choose), choice(24*time.Hour-1, "ONLINE", "QRIS"), nil},
		"after it":      {inStatus(bill.Choose), choice(24*time.Hour, "ONLINE", "QRIS"), bill.ErrNotChoosable},
		"no channel":    {inStatus(bill.Choose), choice(0, "ONLINE", ""), bill.ErrNoWay},
		"no type":       {inStatus(bill.Choose), choice(0, "", "QRIS"), bill.ErrNoWay},
		"it has failed": {inStatus(bill.Fail), choice(0, "ONLINE", "QRIS"), bill.ErrNotChoosable},
	} {
		if _, err := test.bill.Next(test.event, rules); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", name, err, test.want)
		}
	}
}

func TestAChoiceThatIsCancelledIsOverAtOnceAndPaidByNothing(t *testing.T) {
	for reason, want := range map[bill.CancelReason]bill.Status{
		bill.CancelBuyer: bill.Canceled, bill.CancelReplaced: bill.Canceled, bill.CancelExpiry: bill.Expired,
	} {
		step := must(t, inStatus(bill.Choose), bill.Event{Kind: bill.EventCancelAsked, At: start, Reason: reason})
		if step.Bill.Status != want || step.Follow != bill.FollowNone || step.Bill.Apply.Tries != 0 {
			t.Errorf("%s: %s, follow %q, %d tries", reason, step.Bill.Status, step.Follow, step.Bill.Apply.Tries)
		}
	}
}

func TestWhatTheShopWithdrewStandsAgainOnceItHandsItOverAgain(t *testing.T) {
	for _, s := range []bill.Status{bill.Choose, bill.Wait, bill.Fail} {
		step := must(t, inStatus(s), at(time.Minute, bill.EventWithdrawn))
		if !step.Bill.Withdrawn || step.Changed || step.Record || !step.Bill.SignedAt.Equal(start.Add(time.Minute)) {
			t.Errorf("%s: withdrawn %v at %v, changed %v, recorded %v", s, step.Bill.Withdrawn, step.Bill.SignedAt, step.Changed, step.Record)
		}
		if step = must(t, step.Bill, at(2*time.Minute, bill.EventHandedOver)); step.Bill.Withdrawn {
			t.Errorf("%s: still withdrawn", s)
		}
	}
}

func TestAReportThatNamesAnotherBillChangesNothing(t *testing.T) {
	b := inStatus(bill.Wait)
	for name, report := range map[string]bill.Report{
		"tradeUuid": {TradeUUID: "another"},
		"billCode":  {TradeUUID: b.ID, BillCode: "B2"},
		"orderCode": {TradeUUID: b.ID, OrderCode: "O2"},
		"currency":  {TradeUUID: b.ID, Currency: "VND"},
	} {
		e := at(time.Second, bill.EventReportedPaid)
		e.Report = report
		step := must(t, b, e)
		if step.Changed || step.Line.Kind != bill.EventContradiction || step.Bill.Status != bill.Wait {
			t.Errorf("%s: %s, line %s", name, step.Bill.Status, step.Line.Kind)
		}
		if got := b.Contradictions(e); !cmp.Equal(got, []string{name}) {
			t.Errorf("%s: contradictions %v", name, got)
		}
	}
}

func TestReplayedReportsCannotFillTheHistory(t *testing.T) {
	step := bill.Step{Bill: inStatus(bill.Success)}
	written := 0
	for range 3 * bill.MaxSilent {
		step = must(t, step.Bill, at(time.Second, bill.EventReportedPaid))
		if step.Record {
			written++
		}
	}
	if written != bill.MaxSilent {
		t.Errorf("%d lines written, want %d", written, bill.MaxSilent)
	}
}

// allKinds are the events that come of the gateway and of people.
func allKinds() []bill.EventKind {
	return []bill.EventKind{
		bill.EventChosen, bill.EventApplyStarted, bill.EventApplyAccepted, bill.EventApplyRefused, bill.EventRefusalStands,
		bill.EventApplyUnclear, bill.EventApplyNotSent, bill.EventNotKnown, bill.EventReportedWait, bill.EventReportedPaid,
		bill.EventReportedFail, bill.EventReportedCancel, bill.EventReportedExpiry, bill.EventReportedOther, bill.EventCancelAsked,
		bill.EventCancelDone, bill.EventCancelPending, bill.EventCancelRefused, bill.EventCancelUnclear, bill.EventCancelStands,
		bill.EventForced, bill.EventAsked, bill.EventHandedOver, bill.EventWithdrawn,
	}
}

// Whatever the gateway and the people do in whatever order: a paid bill stays
// paid (story 9), a real payment always counts (story 10), versions and
// revisions only grow, and what a buyer sees changes with the version alone.
func TestNoSequenceOfEventsUndoesAPayment(t *testing.T) {
	kinds := allKinds()
	reasons := []bill.CancelReason{bill.CancelBuyer, bill.CancelExpiry, bill.CancelPaid, bill.CancelReplaced}
	ways := []bill.Way{{}, {PayType: "ONLINE"}, {PayType: "ONLINE", PayChannel: "QRIS"}, {PayType: "ONLINE", PayChannel: "DANA"}}
	rapid.Check(t, func(t *rapid.T) {
		rules := rules
		rules.ConfirmSuccess = rapid.Bool().Draw(t, "confirm success")
		b := inStatus(rapid.SampledFrom(bill.Statuses()).Draw(t, "status"))
		now := start
		for range rapid.IntRange(1, 30).Draw(t, "events") {
			now = now.Add(time.Duration(rapid.IntRange(0, 3600).Draw(t, "seconds")) * time.Second)
			e := bill.Event{
				Kind: rapid.SampledFrom(kinds).Draw(t, "kind"), At: now,
				Source: rapid.SampledFrom([]bill.Source{bill.ByQuery, bill.ByWebhook}).Draw(t, "source"),
				Reason: rapid.SampledFrom(reasons).Draw(t, "reason"),
			}
			if e.Kind == bill.EventChosen {
				e.Way, e.ExpiresAt = rapid.SampledFrom(ways).Draw(t, "way"), now.Add(time.Hour)
			}
			step, err := b.Next(e, rules)
			if err != nil {
				continue
			}
			checkStep(t, b, e, step, rules)
			checkUnconfirmed(t, b, e, step, rules)
			b = step.Bill
		}
	})
}

func checkStep(t *rapid.T, before bill.Bill, e bill.Event, step bill.Step, rules bill.Rules) {
	after := step.Bill
	toConfirm := rules.ConfirmSuccess && e.Source == bill.ByWebhook
	switch {
	case before.Status == bill.Success && after.Status != bill.Success:
		t.Fatalf("%s undid a payment: %s", e.Kind, after.Status)
	case before.Status.Final() && after.Status != before.Status && after.Status != bill.Success:
		t.Fatalf("%s led from %s to %s", e.Kind, before.Status, after.Status)
	case e.Kind == bill.EventReportedPaid && before.Status != bill.Choose && after.Status != bill.Success && (!toConfirm || !after.Unconfirmed()):
		t.Fatalf("a payment was ignored in %s", before.Status)
	case toConfirm && before.Status != bill.Success && after.Status == bill.Success:
		t.Fatalf("a notification alone paid a bill in %s", before.Status)
	case after.Status == bill.Success && before.Status != bill.Success && e.Kind != bill.EventReportedPaid:
		t.Fatalf("%s made a payment of %s", e.Kind, before.Status)
	case after.Revision != before.Revision+1:
		t.Fatalf("revision %d after %d", after.Revision, before.Revision)
	case step.Changed != (after.Version == before.Version+1), !step.Changed && after.Version != before.Version:
		t.Fatalf("changed %v, version %d after %d", step.Changed, after.Version, before.Version)
	case (after.PayType != before.PayType || after.PayChannel != before.PayChannel) && (e.Kind != bill.EventChosen || before.Status != bill.Choose):
		t.Fatalf("%s in %s changed how the bill is paid", e.Kind, before.Status)
	case after.Status != bill.Choose && !after.Status.Final() && (after.PayType == "" || after.PayChannel == ""):
		t.Fatalf("%s led to %s without a way to pay", e.Kind, after.Status)
	case after.Amount != before.Amount || after.Currency != before.Currency || after.OrderCode != before.OrderCode:
		t.Fatalf("%s changed what is asked for", e.Kind)
	case after.Status.Final() && after.Cancel.Requested:
		t.Fatalf("ended as %s with a cancel still asked for", after.Status)
	}
}

func TestAForgottenBillKeepsItsOrderAndItsEndAndNothingElse(t *testing.T) {
	b := inStatus(bill.Success)
	b.LiveMode, b.Country, b.SignedAt, b.PayTime, b.SettledBy = true, "ID", start, start.Add(time.Minute), bill.ByWebhook
	b.LatePayment, b.RefundDue = true, true
	b.PaymentRequestID, b.PayURL, b.ErrorCode, b.AskedAt = "R1", "https://shop.example/pay", "E1", start
	b.Cancel.Reason, b.Silent, b.Alarms, b.Told = bill.CancelBuyer, bill.MaxSilent, bill.MaxSilent, 3
	if !b.Forgettable() {
		t.Error("an ended bill is not forgettable")
	}
	at := start.AddDate(0, 1, 0)
	step, err := b.Next(bill.Event{Kind: bill.EventForgotten, At: at, Source: bill.ByModule}, rules)
	if err != nil || !step.Record || step.Follow != bill.FollowNone {
		t.Fatalf("%+v, %v", step, err)
	}
	want := bill.Bill{
		ID: b.ID, Ledger: "l", Account: "default", Shop: "default", OrderCode: "O1", Attempt: 1, LiveMode: true,
		Status: bill.Success, Amount: "15000", Currency: "IDR", Country: "ID", BillCode: "B1",
		CreatedAt: start, UpdatedAt: start, SignedAt: start, PayTime: start.Add(time.Minute), SettledBy: bill.ByWebhook,
		LatePayment: true, RefundDue: true, Version: 2, Revision: 2, ForgottenAt: at, Told: 3,
	}
	if diff := cmp.Diff(want, step.Bill); diff != "" {
		t.Errorf("the stub (-want +got):\n%s", diff)
	}
	if step.Bill.Forgettable() {
		t.Error("a forgotten bill is forgettable still")
	}
}

func TestWhatAnOperatorHasSeenToStaysSeenToWhenItIsForgotten(t *testing.T) {
	b := inStatus(bill.Success)
	b.RefundDue, b.ResolvedAt = true, start.Add(time.Hour)
	step, err := b.Next(bill.Event{Kind: bill.EventForgotten, At: start.AddDate(1, 0, 0), Source: bill.ByModule}, rules)
	if err != nil || !step.Bill.RefundDue || !step.Bill.ResolvedAt.Equal(b.ResolvedAt) {
		t.Errorf("refund due %v, resolved at %v, %v", step.Bill.RefundDue, step.Bill.ResolvedAt, err)
	}
}

func TestABillThatMayBePaidIsNotForgotten(t *testing.T) {
	b := inStatus(bill.Expired)
	b.Reported.At = start
	if _, err := b.Next(bill.Event{Kind: bill.EventForgotten, At: start.AddDate(1, 0, 0)}, rules); !errors.Is(err, bill.ErrNotEnded) {
		t.Errorf("it is forgotten: %v", err)
	}
	if b.Forgettable() {
		t.Error("it is forgettable")
	}
}

func TestALatePaymentMakesAForgottenBillForgettableAgain(t *testing.T) {
	at := start.AddDate(0, 1, 0)
	step, err := inStatus(bill.Fail).Next(bill.Event{Kind: bill.EventForgotten, At: at}, rules)
	if err != nil {
		t.Fatal(err)
	}
	late := bill.Event{Kind: bill.EventReportedPaid, At: at.Add(time.Hour), Source: bill.ByWebhook, Report: bill.Report{BillCode: "B1", OrderCode: "O1"}}
	if step, err = step.Bill.Next(late, rules); err != nil || step.Bill.Status != bill.Success || !step.Bill.LatePayment || !step.Bill.Forgettable() {
		t.Errorf("%+v, %v", step.Bill, err)
	}
	late.Report.BillCode = "B2"
	if step, err = step.Bill.Next(late, rules); err != nil || step.Line.Kind != bill.EventContradiction {
		t.Errorf("another bill's report is taken: %+v, %v", step.Line, err)
	}
}
