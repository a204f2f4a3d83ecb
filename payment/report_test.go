package payment_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/payment"
	"github.com/caddy-qlink/caddy-qlink/qlink"
)

// bookkeeper is the gateway as a report sees it: it answers to lists of
// tradeUuids, and remembers which.
type bookkeeper struct {
	*gateway

	mu      sync.Mutex
	rows    map[string]qlink.PayStatus
	asked   [][]string
	answers func(ids []string) (qlink.StatusAnswer, error) // nil: what the rows say
}

func (k *bookkeeper) GetPayStatus(_ context.Context, ids, _ []string) (qlink.StatusAnswer, error) {
	k.mu.Lock()
	k.asked = append(k.asked, slices.Clone(ids))
	answers := k.answers
	k.mu.Unlock()
	if answers != nil {
		return answers(ids)
	}
	return k.tell(ids)
}

func (k *bookkeeper) tell(ids []string) (qlink.StatusAnswer, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	var a qlink.StatusAnswer
	for _, id := range ids {
		if row, known := k.rows[id]; known {
			a.Rows = append(a.Rows, row)
		}
	}
	a.Empty = len(a.Rows) == 0
	return a, nil
}

// questions returns how many were asked, and how many of them after one bill.
func (k *bookkeeper) questions() (all, alone int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, ids := range k.asked {
		if len(ids) == 1 {
			alone++
		}
	}
	return len(k.asked), alone
}

// books is a counter whose bills and whose gateway's rows a test writes
// itself. Its engine sees a store that cannot be written to.
type books struct {
	*counter

	gateway *bookkeeper
}

// readOnly is a store that no report may write to.
type readOnly struct {
	bill.Store

	t *testing.T
}

func (s readOnly) Commit(context.Context, bill.Change) error {
	s.t.Error("a report wrote to the store")
	return bill.ErrUnavailable
}

// reported runs a test over books, an hour after the bubble's clock began.
func reported(t *testing.T, test func(t *testing.T, k *books)) {
	t.Helper()
	reportedWith(t, func(*payment.Config) {}, test)
}

func reportedWith(t *testing.T, change func(*payment.Config), test func(t *testing.T, k *books)) {
	t.Helper()
	k := &books{gateway: &bookkeeper{gateway: newGateway(), rows: make(map[string]qlink.PayStatus)}}
	atWith(t, func(cfg *payment.Config) {
		cfg.Accounts[0].Gateway = k.gateway
		lease := cfg.Store
		cfg.Store = func(ctx context.Context) (bill.Store, func(), error) {
			store, release, err := lease(ctx)
			return readOnly{store, t}, release, err
		}
		change(cfg)
	}, func(t *testing.T, c *counter) {
		pass(240 * time.Hour)
		k.counter = c
		test(t, k)
	})
}

// sold is a bill of an hour ago that was applied for.
func sold(id string, status bill.Status) bill.Bill {
	then := time.Now().Add(-time.Hour).UTC().Truncate(time.Microsecond)
	b := bill.Bill{
		ID: id, Ledger: "ledger", Account: "default", Shop: "default", OrderCode: "O-" + id, Attempt: 1, Status: status,
		Amount: "15000", Currency: "IDR", Country: "ID", BillCode: "B-" + id, CreatedAt: then, UpdatedAt: then, Version: 1, Revision: 1,
		Apply: bill.Applying{Tries: 1, StartedAt: then, EndedAt: then, Accepted: true},
	}
	if status == bill.Success {
		b.SettledBy, b.PayTime = bill.ByWebhook, then
	}
	return b
}

// row is what a gateway says of b that agrees on all but the status.
func row(b bill.Bill, status string) qlink.PayStatus {
	p := qlink.PayStatus{
		TradeUUID: b.ID, BillCode: b.BillCode, OrderCode: b.OrderCode, Currency: string(b.Currency), Status: qlink.ParseStatus(status),
	}
	if p.Status.Code == qlink.StatusSuccess {
		p.PayTime = b.CreatedAt
	}
	return p
}

// plant writes a bill and what the gateway has of it: "" where it knows
// nothing.
func (k *books) plant(b bill.Bill, status string, told ...bill.Notification) bill.Bill {
	k.t.Helper()
	change := bill.Change{Bills: []bill.BillChange{{Bill: b}}}
	for _, n := range told {
		n.Bill, n.OrderCode, n.Ledger, n.Account, n.Shop = b.ID, b.OrderCode, b.Ledger, b.Account, b.Shop
		n.Revision = 1
		change.Notifications = append(change.Notifications, n)
	}
	record, err := k.store.Order(k.t.Context(), b.OrderKey())
	if err != nil {
		record = bill.OrderRecord{Key: b.OrderKey()}
	}
	record, _ = record.With(b)
	record.Revision++
	change.Order = &record
	k.write(change)
	if status != "" {
		k.gateway.mu.Lock()
		k.gateway.rows[b.ID] = row(b, status)
		k.gateway.mu.Unlock()
	}
	return b
}

func (k *books) write(change bill.Change) {
	k.t.Helper()
	if err := k.store.Commit(k.t.Context(), change); err != nil {
		k.t.Fatal(err)
	}
}

func (k *books) report(q payment.ReportQuery) payment.Report {
	k.t.Helper()
	r, err := k.engine.Report(k.t.Context(), q, nil)
	if err != nil {
		k.t.Fatal(err)
	}
	if r.Bills != r.Compared+r.NotCompared+r.Unsent {
		k.t.Errorf("%d bills are not %d compared, %d not and %d unsent", r.Bills, r.Compared, r.NotCompared, r.Unsent)
	}
	return r
}

// found returns the ids of all mismatches, by kind and standing.
func found(r payment.Report) map[string][]string {
	ids := make(map[string][]string)
	for _, m := range r.Mismatches {
		for standing, list := range map[string]payment.Listed[payment.Mismatch]{"wrong": m.Wrong, "in flight": m.InFlight, "resolved": m.Resolved} {
			for _, line := range list.Listed {
				name := string(m.Kind) + " " + standing
				ids[name] = append(ids[name], line.ID)
			}
			slices.Sort(ids[string(m.Kind)+" "+standing])
			if len(list.Listed) == 0 {
				delete(ids, string(m.Kind)+" "+standing)
			}
		}
	}
	return ids
}

func wantFound(t *testing.T, r payment.Report, want map[string][]string) {
	t.Helper()
	if diff := cmp.Diff(want, found(r)); diff != "" {
		t.Error(diff)
	}
}

func TestAReportFindsEveryMismatchAndTellsWhatIsInFlightFromWhatIsWrong(t *testing.T) {
	now := func(b bill.Bill) bill.Bill {
		b.CreatedAt = time.Now().Add(-time.Minute).UTC()
		b.UpdatedAt, b.Apply.StartedAt = b.CreatedAt, b.CreatedAt
		return b
	}
	as := func(b bill.Bill) bill.Bill { return b }
	for _, test := range []struct {
		ours   bill.Status
		change func(bill.Bill) bill.Bill
		theirs string
		want   string // "": they agree
	}{
		{bill.Success, as, "SUCCESS", ""},
		{bill.Success, as, "paid", ""},
		{bill.Wait, as, "WAIT", ""},
		{bill.Created, as, "WAIT", ""},
		{bill.Created, as, "", ""}, // it may not have got there: the workers see to it
		{bill.Fail, as, "", ""},
		{bill.Fail, as, "CANCELED", ""},
		{bill.Canceled, as, "FAIL", ""},
		{bill.Canceled, as, "", ""},
		{bill.Expired, as, "CLOSED", ""},

		{bill.Wait, as, "SUCCESS", "paid_there_only wrong"},
		{bill.Wait, now, "SUCCESS", "paid_there_only in flight"},
		{bill.Created, as, "SUCCESS", "paid_there_only wrong"},
		{bill.Fail, as, "SUCCESS", "paid_there_only wrong"},
		{bill.Canceled, as, "SUCCESS", "paid_there_only wrong"},
		{bill.Expired, now, "SUCCESS", "paid_there_only in flight"},

		{bill.Success, as, "WAIT", "paid_here_only wrong"},
		{bill.Success, now, "WAIT", "paid_here_only in flight"},
		{bill.Success, as, "FAIL", "paid_here_only wrong"},
		{bill.Success, now, "FAIL", "paid_here_only wrong"},
		{bill.Success, as, "CANCELED", "paid_here_only wrong"},
		{bill.Success, as, "EXPIRED", "paid_here_only wrong"},
		{bill.Success, as, "", "paid_here_only wrong"},
		{bill.Success, now, "", "paid_here_only wrong"},
		{bill.Success, as, "REFUNDED", "paid_here_only wrong"},

		{bill.Wait, as, "", "unknown_there wrong"},
		{bill.Wait, now, "", "unknown_there in flight"},

		{bill.Wait, as, "FAIL", "ended_there wrong"},
		{bill.Wait, func(b bill.Bill) bill.Bill { b.Due = time.Now().Add(time.Minute).UTC(); return b }, "FAIL", "ended_there in flight"},
		{bill.Wait, func(b bill.Bill) bill.Bill { b.Due = time.Now().Add(-time.Hour).UTC(); return b }, "CANCEL", "ended_there wrong"},
		{bill.Created, as, "EXPIRED", "ended_there wrong"},

		{bill.Canceled, as, "WAIT", "open_there wrong"},
		{bill.Expired, now, "WAIT", "open_there in flight"},
		{bill.Fail, as, "PENDING", "open_there wrong"},

		{bill.Wait, as, "ON_HOLD", "undefined_status wrong"},
		{bill.Canceled, as, "ON_HOLD", "undefined_status wrong"},
	} {
		t.Run(fmt.Sprintf("%s %q %s", test.ours, test.theirs, test.want), func(t *testing.T) {
			reported(t, func(t *testing.T, k *books) {
				b := k.plant(test.change(sold("b1", test.ours)), test.theirs)
				k.plant(sold("b2", bill.Success), "SUCCESS") // so that b1 is one of a batch
				r := k.report(payment.ReportQuery{})
				if test.want == "" {
					wantFound(t, r, map[string][]string{})
				} else {
					wantFound(t, r, map[string][]string{test.want: {"b1"}})
				}
				if agrees := !strings.HasSuffix(test.want, "wrong"); r.Agrees() != agrees || r.Compared != 2 {
					t.Errorf("%s, %d wrong, %d in flight, %d compared", r.Verdict, r.Wrong, r.InFlight, r.Compared)
				}
				if after := k.bill(b.ID); !reflect.DeepEqual(after, b) {
					t.Errorf("the report changed the bill: %s", cmp.Diff(b, after))
				}
			})
		})
	}
}

func TestAMismatchIsListedWithBothWords(t *testing.T) {
	reported(t, func(t *testing.T, k *books) {
		b := k.plant(sold("b1", bill.Success), "Pending")
		k.gateway.rows["b1"] = func() qlink.PayStatus { p := k.gateway.rows["b1"]; p.ErrorCode = "E7"; return p }()
		k.plant(sold("b2", bill.Success), "")
		r := k.report(payment.ReportQuery{})
		list := r.Mismatches[1]
		if list.Kind != payment.PaidHereOnly || list.Wrong.Count != 2 || list.Finding == "" || list.Remedy == "" {
			t.Fatalf("%+v", list)
		}
		lines := make(map[string]payment.Mismatch)
		for _, m := range list.Wrong.Listed {
			lines[m.ID] = m
		}
		want := payment.Mismatch{
			Line: payment.Line{
				ID: "b1", Account: "default", Shop: "default", OrderCode: "O-b1", Status: "SUCCESS", Amount: "15000", Currency: "IDR", BillCode: "B-b1",
				SettledBy: "webhook", CreatedAt: b.CreatedAt.Format(time.RFC3339Nano), UpdatedAt: b.UpdatedAt.Format(time.RFC3339Nano),
				PayTime: b.PayTime.Format(time.RFC3339Nano),
			},
			GatewayStatus: "WAIT", GatewayWord: "Pending", GatewayErrorCode: "E7",
		}
		if diff := cmp.Diff(want, lines["b1"]); diff != "" {
			t.Error(diff)
		}
		if other := lines["b2"]; other.GatewayStatus != "NOT_KNOWN" || other.GatewayWord != "" {
			t.Errorf("not known: %+v", other)
		}
	})
}

func TestAnAnswerAboutAnotherPaymentIsAContradictionWhateverItsStatus(t *testing.T) {
	for name, change := range map[string]func(p *qlink.PayStatus){
		"orderCode": func(p *qlink.PayStatus) { p.OrderCode = "O-else" },
		"billCode":  func(p *qlink.PayStatus) { p.BillCode = "B-else" },
		"currency":  func(p *qlink.PayStatus) { p.Currency = "USD" },
		"amount":    func(p *qlink.PayStatus) { p.Amount = "15000.01" },
	} {
		t.Run(name, func(t *testing.T) {
			reported(t, func(t *testing.T, k *books) {
				b := k.plant(sold("b1", bill.Success), "SUCCESS")
				p := row(b, "SUCCESS")
				change(&p)
				k.gateway.rows["b1"] = p
				r := k.report(payment.ReportQuery{})
				wantFound(t, r, map[string][]string{"contradiction wrong": {"b1"}})
				if differs := r.Mismatches[2].Wrong.Listed[0].Differs; !slices.Equal(differs, []string{name}) || r.Agrees() {
					t.Errorf("%s: %v", r.Verdict, differs)
				}
			})
		})
	}
}

func TestAReportSaysWhetherTheGatewayToldAmountAndCurrency(t *testing.T) {
	reported(t, func(t *testing.T, k *books) {
		for i, change := range []func(p *qlink.PayStatus){
			func(*qlink.PayStatus) {},
			func(p *qlink.PayStatus) { p.Currency = "" },
			func(p *qlink.PayStatus) { p.Amount, p.Currency = "15000.00", "idr" },
			func(p *qlink.PayStatus) { p.Amount = "1.5E4" }, // nothing that can be compared
		} {
			b := k.plant(sold(fmt.Sprint("b", i), bill.Success), "SUCCESS")
			p := row(b, "SUCCESS")
			change(&p)
			k.gateway.rows[b.ID] = p
		}
		r := k.report(payment.ReportQuery{})
		if a := r.Accounts[0]; !r.Agrees() || a.CurrencyTold != 3 || a.AmountTold != 1 {
			t.Errorf("%s, %d currencies, %d amounts", r.Verdict, a.CurrencyTold, a.AmountTold)
		}
	})
}

func TestTenThousandBillsAreAskedAfterInBatches(t *testing.T) {
	reported(t, func(t *testing.T, k *books) {
		const bills = 10000
		for i := range bills {
			b := sold(fmt.Sprintf("b%05d", i), bill.Success)
			b.CreatedAt = b.CreatedAt.Add(-time.Duration(i) * time.Second)
			k.plant(b, "SUCCESS")
		}
		for _, id := range []string{"b00007", "b07777"} {
			delete(k.gateway.rows, id)
		}
		var heard []int
		r, err := k.engine.Report(t.Context(), payment.ReportQuery{}, func(done int) { heard = append(heard, done) })
		if err != nil {
			t.Fatal(err)
		}
		wantFound(t, r, map[string][]string{"paid_here_only wrong": {"b00007", "b07777"}})
		all, alone := k.gateway.questions()
		if all != bills/50+2 || alone != 2 || r.Bills != bills || r.Compared != bills {
			t.Errorf("%d questions, %d of them after one bill; %d of %d compared", all, alone, r.Compared, r.Bills)
		}
		if len(heard) != 20 || !slices.IsSorted(heard) || heard[19] != bills {
			t.Errorf("progress: %v", heard)
		}
		if r.Totals[0].Count != bills || r.Totals[0].Amount != "150000000.00" {
			t.Errorf("%+v", r.Totals)
		}
	})
}

func TestAGatewayThatAnswersListsWithOneObjectIsAskedAfterEachBill(t *testing.T) {
	reported(t, func(t *testing.T, k *books) {
		for i := range 20 {
			k.plant(sold(fmt.Sprint("b", i), bill.Success), "SUCCESS")
		}
		k.gateway.answers = func(ids []string) (qlink.StatusAnswer, error) {
			a, err := k.gateway.tell(ids)
			a.Rows = a.Rows[:1]
			return a, err
		}
		r := k.report(payment.ReportQuery{})
		if all, alone := k.gateway.questions(); !r.Agrees() || all != 20 || alone != 19 {
			t.Errorf("%s after %d questions, %d after one bill", r.Verdict, all, alone)
		}
	})
}

func TestWhatTheGatewayWasNeverToldOfIsNotAskedAfter(t *testing.T) {
	reported(t, func(t *testing.T, k *books) {
		unsent := func(id string, status bill.Status) bill.Bill {
			b := sold(id, status)
			b.Apply, b.BillCode = bill.Applying{}, ""
			return b
		}
		k.plant(unsent("choosing", bill.Choose), "")
		k.plant(unsent("never chosen", bill.Expired), "")
		k.plant(unsent("never sent", bill.Created), "")
		r := k.report(payment.ReportQuery{})
		if all, _ := k.gateway.questions(); !r.Agrees() || all != 0 || r.Unsent != 3 {
			t.Errorf("%s after %d questions, %d unsent", r.Verdict, all, r.Unsent)
		}
		k.plant(unsent("paid all the same", bill.Success), "")
		forgotten := unsent("forgotten", bill.Canceled)
		forgotten.ForgottenAt = time.Now()
		k.plant(forgotten, "SUCCESS")
		r = k.report(payment.ReportQuery{})
		wantFound(t, r, map[string][]string{"paid_there_only wrong": {"forgotten"}, "paid_here_only wrong": {"paid all the same"}})
	})
}

func TestABillThatMovesDuringTheReportIsNoMismatch(t *testing.T) {
	reported(t, func(t *testing.T, k *books) {
		b := k.plant(sold("b1", bill.Wait), "WAIT")
		settle := func() {
			after := k.bill("b1")
			after.Status, after.SettledBy = bill.Success, bill.ByWebhook
			after.Version++
			after.Revision++
			k.write(bill.Change{Bills: []bill.BillChange{{Bill: after}}})
			k.gateway.rows["b1"] = row(b, "SUCCESS")
		}
		k.gateway.answers = func(ids []string) (qlink.StatusAnswer, error) {
			k.gateway.mu.Lock()
			if len(k.gateway.asked) == 1 {
				settle()
			}
			k.gateway.mu.Unlock()
			return k.gateway.tell(ids)
		}
		r := k.report(payment.ReportQuery{})
		wantFound(t, r, map[string][]string{})
		if all, _ := k.gateway.questions(); !r.Agrees() || all != 2 || r.Totals[0].Status != bill.Success {
			t.Errorf("%s after %d questions: %+v", r.Verdict, all, r.Totals)
		}
	})
}

func TestABillThatKeepsMovingIsInFlightAndHoldsNothingUp(t *testing.T) {
	reported(t, func(t *testing.T, k *books) {
		k.plant(sold("b1", bill.Wait), "")
		k.gateway.answers = func(ids []string) (qlink.StatusAnswer, error) {
			after := k.bill("b1")
			after.Version++
			after.Revision++
			k.write(bill.Change{Bills: []bill.BillChange{{Bill: after}}})
			return k.gateway.tell(ids)
		}
		wantFound(t, k.report(payment.ReportQuery{}), map[string][]string{"unknown_there in flight": {"b1"}})
	})
}

func TestAGatewayThatIsDownLeavesTheBooksUnproven(t *testing.T) {
	for name, answers := range map[string]func(k *books, ids []string) (qlink.StatusAnswer, error){
		"from the beginning": func(*books, []string) (qlink.StatusAnswer, error) {
			return qlink.StatusAnswer{}, failed(qlink.KindNotSent)
		},
		"half-way": func(k *books, ids []string) (qlink.StatusAnswer, error) {
			if all, _ := k.gateway.questions(); all > 10 {
				return qlink.StatusAnswer{}, failed(qlink.KindUnclear)
			}
			return k.gateway.tell(ids)
		},
	} {
		t.Run(name, func(t *testing.T) {
			reported(t, func(t *testing.T, k *books) {
				for i := range 2000 {
					k.plant(sold(fmt.Sprint("b", i), bill.Success), "SUCCESS")
				}
				k.gateway.answers = func(ids []string) (qlink.StatusAnswer, error) { return answers(k, ids) }
				r := k.report(payment.ReportQuery{})
				if r.Agrees() || r.Verdict != payment.VerdictNotProven || r.Bills != 2000 || r.Wrong != 0 {
					t.Errorf("%s, %d bills, %d wrong", r.Verdict, r.Bills, r.Wrong)
				}
				compared := 0
				if name == "half-way" {
					compared = 500
				}
				reasons := make(map[payment.UnansweredReason]int)
				for _, u := range r.Unanswered {
					reasons[u.Reason] = u.Bills.Count
				}
				if r.Compared != compared || reasons[payment.ReasonGatewayDown]+reasons[payment.ReasonNoAnswer] != 2000-compared {
					t.Errorf("%d compared; %v", r.Compared, reasons)
				}
				if all, _ := k.gateway.questions(); all > 40 {
					t.Errorf("%d questions to a gateway that is down", all)
				}
			})
		})
	}
}

func TestOneAccountsGatewayThatIsDownKeepsNoOtherFromBeingCompared(t *testing.T) {
	other := &bookkeeper{gateway: newGateway(), answers: func([]string) (qlink.StatusAnswer, error) {
		return qlink.StatusAnswer{}, failed(qlink.KindUnclear)
	}}
	reportedWith(t, func(cfg *payment.Config) {
		second := *cfg.Accounts[0]
		second.Name, second.Ledger, second.Gateway = "second", "ledger 2", other
		cfg.Accounts = append(cfg.Accounts, &second)
	}, func(t *testing.T, k *books) {
		for i := range 100 {
			k.plant(sold(fmt.Sprint("b", i), bill.Success), "SUCCESS")
			b := sold(fmt.Sprint("c", i), bill.Success)
			b.Account, b.Ledger = "second", "ledger 2"
			k.plant(b, "SUCCESS")
		}
		r := k.report(payment.ReportQuery{})
		if r.Verdict != payment.VerdictNotProven || r.Accounts[0].Compared != 100 || r.Accounts[1].NotCompared != 100 {
			t.Errorf("%s: %+v", r.Verdict, r.Accounts)
		}
		if r := k.report(payment.ReportQuery{Account: "default"}); !r.Agrees() || r.Bills != 100 {
			t.Errorf("the first alone: %s of %d bills", r.Verdict, r.Bills)
		}
	})
}

func TestAnAnswerThatIsNoneIsNoWordOnTheBill(t *testing.T) {
	for name, test := range map[string]struct {
		answer qlink.StatusAnswer
		err    error
		want   payment.UnansweredReason
	}{
		"not about it": {qlink.StatusAnswer{Rows: []qlink.PayStatus{{TradeUUID: "else", Status: qlink.ParseStatus("SUCCESS")}}}, nil, payment.ReasonNoAnswer},
		"unclear":      {qlink.StatusAnswer{}, failed(qlink.KindUnclear), payment.ReasonNoAnswer},
		"refused":      {qlink.StatusAnswer{}, refused("no such payment"), payment.ReasonRefused},
	} {
		t.Run(name, func(t *testing.T) {
			reported(t, func(t *testing.T, k *books) {
				k.plant(sold("b1", bill.Wait), "")
				k.gateway.answers = func([]string) (qlink.StatusAnswer, error) { return test.answer, test.err }
				r := k.report(payment.ReportQuery{})
				wantFound(t, r, map[string][]string{})
				if all, _ := k.gateway.questions(); all != 1 {
					t.Errorf("asked %d times after one bill", all)
				}
				for _, u := range r.Unanswered {
					if (u.Reason == test.want) != (u.Bills.Count == 1) {
						t.Errorf("%s: %d", u.Reason, u.Bills.Count)
					}
					for _, line := range u.Bills.Listed {
						if line.ID != "b1" || line.Answer == "" {
							t.Errorf("%+v", line)
						}
					}
				}
				if r.Verdict != payment.VerdictNotProven {
					t.Errorf("%s", r.Verdict)
				}
			})
		})
	}
}

func TestABatchThatIsRefusedForOneOfItsBillsIsAskedAfterOneByOne(t *testing.T) {
	reported(t, func(t *testing.T, k *books) {
		for i := range 10 {
			k.plant(sold(fmt.Sprint("b", i), bill.Success), "SUCCESS")
		}
		k.gateway.answers = func(ids []string) (qlink.StatusAnswer, error) {
			if slices.Contains(ids, "b3") {
				return qlink.StatusAnswer{}, refused("b3?")
			}
			return k.gateway.tell(ids)
		}
		if r := k.report(payment.ReportQuery{}); r.Compared != 9 || r.NotCompared != 1 {
			t.Errorf("%d compared, %d not", r.Compared, r.NotCompared)
		}
	})
}

func TestAGatewayThatTurnsTheKeyDownIsNotAskedOn(t *testing.T) {
	reported(t, func(t *testing.T, k *books) {
		for i := range 1000 {
			k.plant(sold(fmt.Sprint("b", i), bill.Success), "SUCCESS")
		}
		k.gateway.answers = func([]string) (qlink.StatusAnswer, error) { return qlink.StatusAnswer{}, failed(qlink.KindAuth) }
		r := k.report(payment.ReportQuery{})
		if all, _ := k.gateway.questions(); all > 8 || r.Verdict != payment.VerdictNotProven || r.Unanswered[4].Bills.Count != 1000 {
			t.Errorf("%s after %d questions: %+v", r.Verdict, all, r.Unanswered[4].Reason)
		}
	})
}

func TestBillsOfAccountsThatAreGoneAreCountedAndNotAskedAfter(t *testing.T) {
	reported(t, func(t *testing.T, k *books) {
		gone := sold("gone", bill.Success)
		gone.Account, gone.Ledger, gone.LiveMode = "gone", "ledger 2", true
		k.plant(gone, "SUCCESS")
		moved := sold("moved", bill.Success)
		moved.Ledger = "the endpoint of before"
		k.plant(moved, "SUCCESS")
		k.plant(sold("b1", bill.Success), "SUCCESS")
		r := k.report(payment.ReportQuery{})
		if all, _ := k.gateway.questions(); all != 1 || r.Verdict != payment.VerdictNotProven {
			t.Errorf("%s after %d questions", r.Verdict, all)
		}
		type part struct {
			name                  string
			configured            bool
			compared, notCompared int
		}
		var parts []part
		for _, a := range r.Accounts {
			parts = append(parts, part{a.Name, a.Configured, a.Compared, a.NotCompared})
		}
		if want := []part{{"default", true, 1, 0}, {"default", false, 0, 1}, {"gone", false, 0, 1}}; !slices.Equal(parts, want) {
			t.Errorf("%+v", parts)
		}
		if u := r.Unanswered[0]; u.Reason != payment.ReasonAccountGone || u.Bills.Count != 2 {
			t.Errorf("%+v", u)
		}
	})
}

func TestTotalsAreExactAndKeepRealMoneyApart(t *testing.T) {
	reported(t, func(t *testing.T, k *books) {
		for i, b := range []struct {
			amount   bill.Amount
			currency bill.Currency
			live     bool
			status   bill.Status
		}{
			{"0.1", "USD", true, bill.Success}, {"0.2", "USD", true, bill.Success}, {"7", "USD", false, bill.Success},
			{"999999999999999.99", "IDR", true, bill.Success}, {"999999999999999.99", "IDR", true, bill.Success}, {"5", "IDR", true, bill.Wait},
			{"100", "VND", true, bill.Canceled}, {"1.005", "KWD", true, bill.Success},
		} {
			planted := sold(fmt.Sprint("b", i), b.status)
			planted.Amount, planted.Currency, planted.LiveMode = b.amount, b.currency, b.live
			k.plant(planted, string(b.status))
		}
		r := k.report(payment.ReportQuery{})
		want := []payment.Total{
			{LiveMode: true, Currency: "IDR", Status: "WAIT", Count: 1, Amount: "5.00"},
			{LiveMode: true, Currency: "IDR", Status: "SUCCESS", Count: 2, Amount: "1999999999999999.98"},
			{LiveMode: true, Currency: "KWD", Status: "SUCCESS", Count: 1, Amount: "1.005"},
			{LiveMode: true, Currency: "USD", Status: "SUCCESS", Count: 2, Amount: "0.30"},
			{LiveMode: true, Currency: "VND", Status: "CANCELED", Count: 1, Amount: "100"},
			{LiveMode: false, Currency: "USD", Status: "SUCCESS", Count: 1, Amount: "7.00"},
		}
		if diff := cmp.Diff(want, r.Totals); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff(want, r.Accounts[0].Totals); diff != "" {
			t.Error(diff)
		}
	})
}

func TestAReportIsAboutBillsOfItsPeriod(t *testing.T) {
	reported(t, func(t *testing.T, k *books) {
		start := time.Date(2000, 1, 5, 0, 0, 0, 0, time.UTC)
		for id, at := range map[string]time.Time{
			"before": start.Add(-time.Microsecond), "first": start, "last": start.Add(24*time.Hour - time.Microsecond), "after": start.Add(24 * time.Hour),
		} {
			b := sold(id, bill.Success)
			b.CreatedAt = at
			k.plant(b, "")
			k.write(bill.Change{Orphan: &bill.Orphan{Ledger: "ledger", ID: "orphan " + id, At: at}})
		}
		r := k.report(payment.ReportQuery{From: start, To: start.Add(24 * time.Hour)})
		wantFound(t, r, map[string][]string{"paid_here_only wrong": {"first", "last"}})
		if r.Orphans.Count != 2 || r.From != "2000-01-05T00:00:00Z" || r.To != "2000-01-06T00:00:00Z" {
			t.Errorf("%d orphans from %s to %s", r.Orphans.Count, r.From, r.To)
		}
		if r := k.report(payment.ReportQuery{}); r.Bills != 4 || r.From != "" || r.To == "" {
			t.Errorf("%d bills from %q to %q", r.Bills, r.From, r.To)
		}
	})
}

func TestAPeriodOrAnAccountThatIsNoneIsAnError(t *testing.T) {
	reported(t, func(t *testing.T, k *books) {
		now := time.Now()
		for name, test := range map[string]struct {
			q    payment.ReportQuery
			want error
		}{
			"ends before it begins": {payment.ReportQuery{From: now, To: now.Add(-time.Hour)}, payment.ErrPeriod},
			"no time at all":        {payment.ReportQuery{From: now, To: now}, payment.ErrPeriod},
			"begins in the future":  {payment.ReportQuery{From: now.Add(time.Hour)}, payment.ErrPeriod},
			"a misspelt account":    {payment.ReportQuery{Account: "Default"}, payment.ErrNoAccount},
		} {
			if r, err := k.engine.Report(t.Context(), test.q, nil); !errors.Is(err, test.want) || !reflect.DeepEqual(r, payment.Report{}) {
				t.Errorf("%s: %v, %s", name, err, r.Verdict)
			}
		}
		if r := k.report(payment.ReportQuery{Account: "default"}); !r.Agrees() {
			t.Errorf("nothing was sold: %s", r.Verdict)
		}
	})
}

// tellingOf is a notification that b is paid.
func tellingOf(url string, state bill.NotificationState, ago time.Duration) bill.Notification {
	n := bill.Notification{
		ID: fmt.Sprint("msg ", url, " ", state), URL: url, Type: bill.BillPaid, State: state, CreatedAt: time.Now().Add(-ago).UTC(), Sequence: 1,
		Tries: 3, LastError: "status 500",
	}
	if state == bill.Pending {
		n.Due = time.Now().UTC()
	}
	return n
}

func TestPaidBillsOfWhichAShopWasNotToldAreFound(t *testing.T) {
	const otherURL = "https://old.example/"
	for name, test := range map[string]struct {
		ago   time.Duration // how old what the shop was told is
		told  []bill.NotificationState
		url   string
		want  payment.UntoldState // "": it was told
		wrong bool
	}{
		"delivered":                     {time.Hour, []bill.NotificationState{bill.Delivered}, shopURL, "", false},
		"pending for a moment":          {time.Minute, []bill.NotificationState{bill.Pending}, shopURL, "", false},
		"pending for an hour":           {time.Hour, []bill.NotificationState{bill.Pending}, shopURL, payment.UntoldPending, true},
		"given up":                      {time.Hour, []bill.NotificationState{bill.Dead}, shopURL, payment.UntoldDead, true},
		"given up within minutes":       {time.Minute, []bill.NotificationState{bill.Dead}, shopURL, payment.UntoldDead, true},
		"never":                         {0, nil, shopURL, payment.UntoldNever, true},
		"given up at a URL of before":   {time.Hour, []bill.NotificationState{bill.Dead}, otherURL, payment.UntoldDead, true}, // for the new URL has none
		"delivered to a URL of before":  {time.Hour, []bill.NotificationState{bill.Delivered}, otherURL, payment.UntoldNever, true},
		"superseded by one of its own ": {time.Hour, []bill.NotificationState{bill.Superseded, bill.Delivered}, shopURL, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			reportedWith(t, func(cfg *payment.Config) {
				cfg.Notify = func(string, string) []payment.Target {
					return []payment.Target{{URL: shopURL, Events: everyEnd}, {URL: "https://created.example/", Events: []bill.NotificationType{bill.BillCreated}}}
				}
			}, func(t *testing.T, k *books) {
				var notifications []bill.Notification
				for i, state := range test.told {
					n := tellingOf(test.url, state, test.ago)
					n.Sequence = uint64(i + 1)
					notifications = append(notifications, n)
				}
				b := k.plant(sold("b1", bill.Success), "SUCCESS", notifications...)
				r := k.report(payment.ReportQuery{})
				states := make(map[string]payment.UntoldState)
				for _, line := range r.Untold.Listed {
					states[line.URL] = line.State
					if line.ID != b.ID || line.Since == "" || line.State != payment.UntoldNever && (line.Notification == "" || line.LastError == "") {
						t.Errorf("%+v", line)
					}
				}
				want := make(map[string]payment.UntoldState)
				if test.want != "" {
					want[test.url] = test.want
				}
				if test.url == otherURL {
					delete(want, otherURL)
					want[shopURL] = payment.UntoldNever
					if test.want == payment.UntoldDead {
						want[otherURL] = payment.UntoldDead
					}
				}
				if diff := cmp.Diff(want, states); diff != "" {
					t.Error(diff)
				}
				if r.Agrees() == test.wrong || r.Wrong > 1 {
					t.Errorf("%s, %d wrong", r.Verdict, r.Wrong)
				}
			})
		})
	}
}

func TestWhatAnotherAttemptsNotificationSaysCountsWhereItTookThePlaceOfThePaidOnes(t *testing.T) {
	for state, want := range map[bill.NotificationState]int{bill.Delivered: 0, bill.Dead: 1} {
		t.Run(string(state), func(t *testing.T) {
			reportedWith(t, func(cfg *payment.Config) {
				cfg.Notify = func(string, string) []payment.Target { return []payment.Target{{URL: shopURL, Events: everyEnd}} }
			}, func(t *testing.T, k *books) {
				k.plant(sold("b1", bill.Success), "SUCCESS", tellingOf(shopURL, bill.Superseded, time.Hour))
				second := sold("b2", bill.Canceled)
				second.OrderCode, second.Attempt = "O-b1", 2
				newer := tellingOf(shopURL, state, time.Hour)
				newer.Type, newer.Sequence = bill.BillCanceled, 2
				k.plant(second, "CANCELED", newer)
				if r := k.report(payment.ReportQuery{}); r.Untold.Count != want || r.Agrees() != (want == 0) {
					t.Errorf("%s: %+v", r.Verdict, r.Untold)
				}
			})
		})
	}
}

func TestWhatWasForgottenHadBeenTold(t *testing.T) {
	reportedWith(t, func(cfg *payment.Config) {
		cfg.Notify = func(string, string) []payment.Target { return []payment.Target{{URL: shopURL, Events: everyEnd}} }
	}, func(t *testing.T, k *books) {
		b := sold("b1", bill.Success)
		b.ForgottenAt, b.Told, b.Apply = time.Now(), 7, bill.Applying{}
		k.plant(b, "SUCCESS")
		if r := k.report(payment.ReportQuery{}); !r.Agrees() || r.Compared != 1 {
			t.Errorf("%s: %+v", r.Verdict, r.Untold)
		}
	})
}

func TestOrdersPaidTwiceRefundsLatePaymentsAndOrphansAreListed(t *testing.T) {
	reported(t, func(t *testing.T, k *books) {
		first := sold("b1", bill.Success)
		first.LatePayment, first.RefundDue = true, true // the second had been paid before it
		k.plant(first, "SUCCESS")
		second := sold("b2", bill.Success)
		second.OrderCode, second.Attempt = first.OrderCode, 2
		k.plant(second, "SUCCESS")
		k.write(bill.Change{Orphan: &bill.Orphan{
			Ledger: "ledger", ID: "ghost", At: time.Now().Add(-time.Hour), Report: bill.Report{OrderCode: "O9", BillCode: "B9"},
		}})
		r := k.report(payment.ReportQuery{})
		if r.LatePayments.Count != 1 || r.LatePayments.Listed[0].ID != "b1" || r.RefundsDue.Count != 1 || r.RefundsDue.Listed[0].ID != "b1" {
			t.Errorf("late %+v, refunds %+v", r.LatePayments, r.RefundsDue)
		}
		if r.PaidTwice.Count != 1 || r.PaidTwice.Listed[0].ID != "b2" || !slices.Equal(r.PaidTwice.Listed[0].PaidBills, []string{"b1", "b2"}) {
			t.Errorf("twice: %+v", r.PaidTwice)
		}
		if r.Orphans.Count != 1 || r.Orphans.Listed[0].OrderCode != "O9" || r.Orphans.Listed[0].Account != "default" {
			t.Errorf("orphans: %+v", r.Orphans)
		}
		if r.Wrong != 2 || r.Agrees() {
			t.Errorf("%s, %d wrong", r.Verdict, r.Wrong)
		}
		if r := k.report(payment.ReportQuery{Account: "default"}); r.Orphans.Count != 1 {
			t.Errorf("the account's: %+v", r.Orphans)
		}
	})
}

func TestAPaymentReportedAndNotConfirmedIsInFlightForMinutesAndThenWrong(t *testing.T) {
	for ago, wrong := range map[time.Duration]int{time.Minute: 0, time.Hour: 1} {
		reported(t, func(t *testing.T, k *books) {
			b := sold("b1", bill.Wait)
			b.Reported.At = time.Now().Add(-ago)
			k.plant(b, "WAIT")
			r := k.report(payment.ReportQuery{})
			if r.Unconfirmed.Count != 1 || r.Wrong != wrong || r.InFlight != 1-wrong || r.Stuck.Count != wrong {
				t.Errorf("after %v: %+v, %d wrong, %d in flight, stuck %+v", ago, r.Unconfirmed, r.Wrong, r.InFlight, r.Stuck)
			}
		})
	}
}

func TestWhatAnOperatorResolvedIsNoLongerWrongButAPaymentToBeSettledIs(t *testing.T) {
	reportedWith(t, func(cfg *payment.Config) {
		cfg.Notify = func(string, string) []payment.Target { return []payment.Target{{URL: shopURL, Events: everyEnd}} }
	}, func(t *testing.T, k *books) {
		seen := func(b bill.Bill) bill.Bill { b.ResolvedAt = time.Now(); return b }
		k.plant(seen(sold("lost there", bill.Success)), "", tellingOf(shopURL, bill.Delivered, time.Hour))
		k.plant(seen(sold("told by hand", bill.Success)), "SUCCESS")
		refunded := seen(sold("refunded", bill.Success))
		refunded.RefundDue = true
		k.plant(refunded, "SUCCESS", tellingOf(shopURL+"?", bill.Delivered, time.Hour))
		orphan := bill.Orphan{Ledger: "ledger", ID: "ghost", At: time.Now().Add(-time.Hour)}
		k.write(bill.Change{Orphan: &orphan})
		orphan.Resolved = &bill.Resolution{At: time.Now(), Note: "another shop's"}
		k.write(bill.Change{Orphan: &orphan})
		r := k.report(payment.ReportQuery{})
		wantFound(t, r, map[string][]string{"paid_here_only resolved": {"lost there"}})
		if !r.Agrees() || r.Resolved != 5 || r.Untold.Count != 2 || r.Orphans.Listed[0].Note != "another shop's" {
			t.Errorf("%s, %d resolved, untold %+v, orphans %+v", r.Verdict, r.Resolved, r.Untold, r.Orphans)
		}
		k.plant(seen(sold("paid since", bill.Canceled)), "SUCCESS")
		if r := k.report(payment.ReportQuery{}); r.Agrees() || r.Wrong != 1 {
			t.Errorf("%s, %d wrong", r.Verdict, r.Wrong)
		}
	})
}

func TestListsAreBoundedAndCountsAreWhole(t *testing.T) {
	reported(t, func(t *testing.T, k *books) {
		for i := range payment.MaxListed + 500 {
			k.plant(sold(fmt.Sprint("b", i), bill.Success), "FAIL")
		}
		r := k.report(payment.ReportQuery{})
		if list := r.Mismatches[1].Wrong; list.Count != payment.MaxListed+500 || len(list.Listed) != payment.MaxListed || r.Wrong != list.Count {
			t.Errorf("%d, %d listed, %d wrong", list.Count, len(list.Listed), r.Wrong)
		}
	})
}

func TestAReportThatWasBrokenOffIsNoReportAndTellsNothingOfTheGateway(t *testing.T) {
	reported(t, func(t *testing.T, k *books) {
		for i := range 2000 {
			k.plant(sold(fmt.Sprint("b", i), bill.Success), "SUCCESS")
		}
		ctx, leave := context.WithCancel(t.Context())
		k.gateway.answers = func(ids []string) (qlink.StatusAnswer, error) {
			if all, _ := k.gateway.questions(); all > 12 {
				leave()
				return qlink.StatusAnswer{}, &qlink.Error{Operation: "getPayStatus", Kind: qlink.KindUnclear, Err: ctx.Err()}
			}
			return k.gateway.tell(ids)
		}
		r, err := k.engine.Report(ctx, payment.ReportQuery{}, nil)
		if !errors.Is(err, context.Canceled) || !reflect.DeepEqual(r, payment.Report{}) {
			t.Errorf("%v with a report of %d bills", err, r.Bills)
		}
		k.gateway.answers = nil
		if r := k.report(payment.ReportQuery{}); !r.Agrees() { // no breaker has opened
			t.Errorf("%s right after it", r.Verdict)
		}
	})
}

func TestAStoreThatBreaksOffEndsTheReport(t *testing.T) {
	for _, good := range []int{0, 1, 2, 3} {
		leases := 0
		reportedWith(t, func(cfg *payment.Config) {
			lease := cfg.Store
			cfg.Store = func(ctx context.Context) (bill.Store, func(), error) {
				if leases++; leases > good {
					return nil, nil, bill.ErrUnavailable
				}
				return lease(ctx)
			}
		}, func(t *testing.T, k *books) {
			k.plant(sold("b1", bill.Success), "") // differs: it is read again
			if r, err := k.engine.Report(t.Context(), payment.ReportQuery{}, nil); !errors.Is(err, bill.ErrUnavailable) || r.Bills != 0 {
				t.Errorf("after %d leases: %v with a report of %d bills", good, err, r.Bills)
			}
		})
	}
}

// A report goes over HTTP: its form is part of the contract.
func TestTheReportsJSONHasTheNamesThatAreDocumented(t *testing.T) {
	reportedWith(t, func(cfg *payment.Config) {
		cfg.Notify = func(string, string) []payment.Target { return []payment.Target{{URL: shopURL, Events: everyEnd}} }
	}, func(t *testing.T, k *books) {
		b := k.plant(sold("b1", bill.Success), "FAIL")
		r := k.report(payment.ReportQuery{})
		text, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		var back payment.Report
		if err := json.Unmarshal(text, &back, json.RejectUnknownMembers(true)); err != nil || back.Agrees() || back.Wrong != r.Wrong {
			t.Errorf("read back: %v, %s", err, back.Verdict)
		}
		at, line := r.StartedAt, `"id":"b1","account":"default","shop":"default","livemode":false,"orderCode":"O-b1","status":"SUCCESS","amount":"15000","currency":"IDR",`+
			`"billCode":"B-b1","paymentRequestId":"","settledBy":"webhook","createdAt":"T","updatedAt":"T","payTime":"T","resolvedAt":""`
		want := `{"from":"","to":"NOW","account":"","startedAt":"NOW","endedAt":"NOW","verdict":"disagree","wrong":2,"inFlight":0,"resolved":0,` +
			`"bills":1,"compared":1,"notCompared":0,"unsent":0,` +
			`"totals":[{"livemode":false,"currency":"IDR","status":"SUCCESS","count":1,"amount":"15000.00"}],` +
			`"accounts":[{"name":"default","configured":true,"bills":1,"compared":1,"notCompared":0,"unsent":0,"currencyTold":1,"amountTold":0,` +
			`"totals":[{"livemode":false,"currency":"IDR","status":"SUCCESS","count":1,"amount":"15000.00"}]}],` +
			`"unanswered":[NONE account_not_configured,NONE gateway_down,NONE no_answer,NONE refused,NONE not_accepted],` +
			`"mismatches":[KIND paid_there_only,{"kind":"paid_here_only",WORDS,"wrong":{"count":1,"listed":[{LINE,` +
			`"gatewayStatus":"FAIL","gatewayWord":"FAIL","gatewayPayTime":"","gatewayErrorCode":"","differs":[]}]},` +
			`"inFlight":{"count":0,"listed":[]},"resolved":{"count":0,"listed":[]}},` +
			`KIND contradiction,KIND unknown_there,KIND ended_there,KIND open_there,KIND undefined_status],` +
			`"untold":{"count":1,"listed":[{LINE,"url":"` + shopURL + `","configured":true,"state":"none","notification":"","since":"T","tries":0,"lastError":""}]},` +
			`"unconfirmed":EMPTY,"refundsDue":EMPTY,"orphans":EMPTY,"latePayments":EMPTY,"paidTwice":EMPTY,"stuck":EMPTY}`
		for _, reason := range payment.UnansweredReasons() {
			want = strings.Replace(want, "NONE "+string(reason), `{"reason":"`+string(reason)+`","bills":EMPTY}`, 1)
		}
		for _, kind := range payment.MismatchKinds() {
			want = strings.Replace(want, "KIND "+string(kind), `{"kind":"`+string(kind)+`",WORDS,"wrong":EMPTY,"inFlight":EMPTY,"resolved":EMPTY}`, 1)
			words := jsontext.Value(fmt.Sprintf(`"finding":%q,"remedy":%q`, kind.Finding(), kind.Remedy()))
			want = strings.Replace(want, "WORDS", string(words), 1)
		}
		want = strings.NewReplacer("NOW", at, "EMPTY", `{"count":0,"listed":[]}`, "LINE", line).Replace(want)
		want = strings.ReplaceAll(want, `"T"`, `"`+b.CreatedAt.Format(time.RFC3339Nano)+`"`)
		if diff := cmp.Diff(want, string(text)); diff != "" {
			t.Error(diff)
		}
	})
}

func TestEveryKindOfMismatchHasWordsForPeople(t *testing.T) {
	for _, kind := range payment.MismatchKinds() {
		if kind.Finding() == "" || kind.Remedy() == "" {
			t.Errorf("%s has none", kind)
		}
	}
}
