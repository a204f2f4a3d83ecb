package bill_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

// confirming are the rules with confirm_success on.
var confirming = func() bill.Rules {
	r := rules
	r.ConfirmSuccess = true
	return r
}()

// reported is what a notification says of a payment, or what a query does.
func reported(after time.Duration, source bill.Source) bill.Event {
	return bill.Event{Kind: bill.EventReportedPaid, At: start.Add(after), Source: source}
}

// unconfirmed returns a bill in the given status that a notification has
// reported as paid.
func unconfirmed(t *testing.T, s bill.Status) bill.Bill {
	t.Helper()
	step, err := inStatus(s).Next(reported(time.Second, bill.ByWebhook), confirming)
	if err != nil || !step.Bill.Unconfirmed() {
		t.Fatalf("unconfirmed %v, %v", step.Bill.Unconfirmed(), err)
	}
	return step.Bill
}

func TestANotificationsPaymentIsRememberedAndAskedAfterWhereItHasToBeConfirmed(t *testing.T) {
	for _, s := range bill.Statuses() {
		before := inStatus(s)
		before.Silent = bill.MaxSilent // and no replay crowds its line out
		e := reported(time.Minute, bill.ByWebhook)
		e.Report = bill.Report{BillCode: before.BillCode, PaymentRequestID: "R1"}
		step, err := before.Next(e, confirming)
		if err != nil {
			t.Fatalf("%s: %v", s, err)
		}
		open := s != bill.Choose && s != bill.Success
		if step.Changed || step.Bill.Status != s || step.Bill.Version != before.Version || step.Bill.PaymentRequestID != "" {
			t.Errorf("%s: shown to buyers as %+v", s, step.Bill)
		}
		if step.Bill.Unconfirmed() != open || step.Record != open || (step.Follow == bill.FollowQuery) != open {
			t.Errorf("%s: unconfirmed %v, line %v, follow %q", s, step.Bill.Unconfirmed(), step.Record, step.Follow)
		}
	}
}

// The column of a bill that is reported as paid and not confirmed: "=" leaves
// its status, and the report. The bracket says whether the gateway is asked,
// and whether an operator is alarmed.
const unconfirmedTable = `
event                   | CREATED          | WAIT             | FAIL             | CANCELED         | EXPIRED
apply_accepted          | WAIT             | =                | =                | =                | =
apply_refused           | = (query)        | = (query)        | =                | =                | =
apply_unclear           | =                | =                | =                | =                | =
refusal_stands          | =                | =                | =                | =                | =
apply_started           | error            | error            | error            | error            | error
not_known               | =                | =                | =                | =                | =
reported_wait           | WAIT             | =                | =                | =                | =
reported_paid           | SUCCESS          | SUCCESS          | SUCCESS (late)   | SUCCESS (late)   | SUCCESS (late)
reported_paid webhook   | = (query)        | = (query)        | = (query)        | = (query)        | = (query)
reported_fail           | = (alarm)        | = (alarm)        | = (alarm)        | = (alarm)        | = (alarm)
reported_cancel         | = (alarm)        | = (alarm)        | = (alarm)        | = (alarm)        | = (alarm)
reported_expiry         | = (alarm)        | = (alarm)        | = (alarm)        | = (alarm)        | = (alarm)
reported_fail webhook   | = (query, alarm) | = (query, alarm) | = (query, alarm) | = (query, alarm) | = (query, alarm)
cancel_asked            | = (query)        | = (query)        | = (query)        | = (query)        | = (query)
cancel_done             | = (query)        | = (query)        | =                | =                | =
cancel_pending          | = (query)        | = (query)        | =                | =                | =
cancel_refused          | = (query)        | = (query)        | =                | =                | =
cancel_unclear          | = (query)        | = (query)        | =                | =                | =
cancel_stands           | =                | =                | =                | =                | =
forced                  | CANCELED         | CANCELED         | FAIL             | CANCELED         | EXPIRED
`

func TestABillReportedAsPaidWaitsForAQueryOrAnOperator(t *testing.T) {
	eachCell(t, unconfirmedTable, func(t *testing.T, event string, from bill.Status, cell string) {
		kind, source, _ := strings.Cut(event, " ")
		before := unconfirmed(t, from)
		// As refused, unknown to the gateway, cancelled and old as can be, and
		// its action lost.
		before.Apply.Accepted, before.Apply.Refused, before.Apply.FirstMiss = false, true, start.Add(time.Second)
		before.Cancel.Confirmed = true
		before.ExpiresAt = start.Add(time.Hour)
		e := bill.Event{Kind: bill.EventKind(kind), At: start.Add(48 * time.Hour), Source: bill.ByQuery, Reason: bill.CancelExpiry}
		if source != "" {
			e.Source = bill.Source(source)
		}
		step, err := before.Next(e, confirming)
		if (err != nil) != (cell == "error") {
			t.Fatalf("%v, want %s", err, cell)
		}
		if err != nil {
			return
		}
		want, extra, _ := strings.Cut(cell, " ")
		if want == "=" {
			want = string(from)
			if step.Changed {
				t.Errorf("shown to buyers as %+v", step.Bill)
			}
		}
		settled := want == string(bill.Success) || e.Kind == bill.EventForced
		if string(step.Bill.Status) != want || step.Bill.Unconfirmed() == settled {
			t.Errorf("%s, unconfirmed %v; want %s", step.Bill.Status, step.Bill.Unconfirmed(), want)
		}
		if (step.Follow == bill.FollowQuery) != strings.Contains(extra, "query") || step.Follow == bill.FollowCancel || step.Follow == bill.FollowReapply {
			t.Errorf("follow %q, want %q", step.Follow, extra)
		}
		if step.Conflict != strings.Contains(extra, "alarm") || step.Bill.LatePayment != strings.Contains(extra, "late") {
			t.Errorf("conflict %v, late %v; want %q", step.Conflict, step.Bill.LatePayment, extra)
		}
	})
}

// story 14
func TestAConfirmedPaymentIsTheQuerysWithTheNotificationsTimeWhereThatIsAllThereIs(t *testing.T) {
	at := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	first, second := reported(time.Second, bill.ByWebhook), reported(time.Minute, bill.ByWebhook)
	second.Report.PayTime = at
	b := inStatus(bill.Wait)
	for _, e := range []bill.Event{first, second} {
		step, err := b.Next(e, confirming)
		if err != nil {
			t.Fatal(err)
		}
		b = step.Bill
	}
	for theirs, want := range map[time.Time]time.Time{{}: at, at.Add(time.Hour): at.Add(time.Hour)} {
		query := reported(time.Hour, bill.ByQuery)
		query.Report.PayTime = theirs
		step, err := b.Next(query, confirming)
		if err != nil || step.Bill.SettledBy != bill.ByQuery || !step.Bill.PayTime.Equal(want) {
			t.Errorf("settled by %s at %v, %v; want %v", step.Bill.SettledBy, step.Bill.PayTime, err, want)
		}
	}
}

func TestARepeatedNotificationHasTheGatewayAskedOncePerInterval(t *testing.T) {
	b := unconfirmed(t, bill.Wait)
	asked := 0
	for i := range 60 { // one a second
		step, err := b.Next(reported(time.Minute+time.Duration(i)*time.Second, bill.ByWebhook), confirming)
		if err != nil {
			t.Fatal(err)
		}
		if step.Follow == bill.FollowQuery {
			asked++
		}
		b = step.Bill
	}
	if asked != 12 {
		t.Errorf("asked %d times in a minute, want 12", asked)
	}
}

func TestABillReportedAsPaidIsNeverAppliedForAgain(t *testing.T) {
	for _, s := range []bill.Status{bill.Created, bill.Wait} {
		b := unconfirmed(t, s)
		b.Apply.Accepted = false
		if _, err := b.Next(at(time.Minute, bill.EventApplyStarted), confirming); !errors.Is(err, bill.ErrApplyForbidden) {
			t.Errorf("%s: %v", s, err)
		}
	}
}

func TestANotificationIsBelievedOnceTheRuleIsOffAgain(t *testing.T) {
	step, err := unconfirmed(t, bill.Wait).Next(reported(time.Minute, bill.ByWebhook), rules)
	if err != nil || step.Bill.Status != bill.Success || step.Bill.Unconfirmed() {
		t.Errorf("%s, unconfirmed %v, %v", step.Bill.Status, step.Bill.Unconfirmed(), err)
	}
}

func TestABillThatWasRefusedAndThenReportedAsPaidIsNotSaidToBeUncharged(t *testing.T) {
	b := inStatus(bill.Fail)
	b.BillCode, b.Action, b.Apply.Refused = "", bill.Action{}, true
	if !b.NeverPayable() {
		t.Fatal("not even before the report")
	}
	step, err := b.Next(reported(time.Minute, bill.ByWebhook), confirming)
	if err != nil || step.Bill.NeverPayable() {
		t.Errorf("never payable %v, %v", step.Bill.NeverPayable(), err)
	}
}

func TestANotificationShowsThatTheGatewayWasReached(t *testing.T) {
	b := inStatus(bill.Created)
	b.Apply.Tries, b.Apply.NotSent = 0, true
	step, err := b.Next(reported(time.Minute, bill.ByWebhook), confirming)
	if err != nil || step.Bill.Apply.NotSent || step.Bill.Apply.Tries != 1 {
		t.Errorf("%+v, %v", step.Bill.Apply, err)
	}
}

func TestTheRecordOfAnOrderKnowsItsUnconfirmedAttempt(t *testing.T) {
	ended, second := unconfirmed(t, bill.Fail), inStatus(bill.Wait)
	second.ID = "3f1c0a52-0000-4000-8000-000000000002"
	record, _ := bill.OrderRecord{}.With(inStatus(bill.Fail))
	record, _ = record.With(second)
	if _, ok := record.Unconfirmed(); ok {
		t.Error("nothing was reported yet")
	}
	record, changed := record.With(ended)
	if got, ok := record.Unconfirmed(); !ok || !changed || got.ID != ended.ID {
		t.Errorf("%+v, changed %v", got, changed)
	}
}

// checkUnconfirmed sees to it that a reported payment is held until a query or
// an operator settles it, and that nobody can see it.
func checkUnconfirmed(t *rapid.T, before bill.Bill, e bill.Event, step bill.Step, rules bill.Rules) {
	after := step.Bill
	believed := e.Kind == bill.EventReportedPaid && (e.Source != bill.ByWebhook || !rules.ConfirmSuccess)
	switch {
	case after.Unconfirmed() && (after.Status == bill.Choose || after.Status == bill.Success):
		t.Fatalf("unconfirmed in %s", after.Status)
	case after.Unconfirmed() && !before.Unconfirmed() && (step.Changed || !step.Record || step.Follow != bill.FollowQuery):
		t.Fatalf("reported: changed %v, line %v, follow %q", step.Changed, step.Record, step.Follow)
	case !before.Unconfirmed():
		return
	case !after.Unconfirmed() && !believed && e.Kind != bill.EventForced:
		t.Fatalf("%s laid a reported payment aside", e.Kind)
	case after.Status != before.Status && after.Status.EndedUnpaid() && e.Kind != bill.EventForced:
		t.Fatalf("%s ended a bill that is reported as paid: %s", e.Kind, after.Status)
	case slices.Contains([]bill.Follow{bill.FollowCancel, bill.FollowReapply}, step.Follow):
		t.Fatalf("%s led to %s of a bill that is reported as paid", e.Kind, step.Follow)
	}
}
