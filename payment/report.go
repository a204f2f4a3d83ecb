package payment

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

// MaxListed bounds what a report lists of each kind; the counts beside the
// lists are always whole.
const MaxListed = 1000

// Errors of Report.
var (
	// ErrPeriod: the period ends before it begins.
	ErrPeriod = errors.New("bad period")
	// ErrNoAccount: no account of this name is configured, and no bill of the
	// period names it.
	ErrNoAccount = errors.New("no such account")
)

// ReportQuery selects what a report is about.
type ReportQuery struct {
	From    time.Time // bills created, and orphans that came, at or after; zero: since ever
	To      time.Time // … and before; zero: until the report begins
	Account string    // "": all
}

// Verdict is what a report comes to.
type Verdict string

// The verdicts.
const (
	VerdictAgree     Verdict = "agree"      // every bill was compared, and nothing is wrong
	VerdictDisagree  Verdict = "disagree"   // something is wrong
	VerdictNotProven Verdict = "not_proven" // nothing is wrong as far as is known, but not every bill could be compared
)

// Report compares the bills of a period with the gateway's word, and with what
// shops were told. Its JSON form is part of the contract: names and words stay,
// new ones may come; but for Finding and Remedy, which are for people. Times are
// RFC 3339 in UTC, "" where there is none.
type Report struct {
	From      string  `json:"from"` // "": since ever
	To        string  `json:"to"`
	Account   string  `json:"account"` // "": all
	StartedAt string  `json:"startedAt"`
	EndedAt   string  `json:"endedAt"`
	Verdict   Verdict `json:"verdict"`

	// How many of what is listed below make the books disagree, came about in the
	// last minutes and are expected to settle by themselves, and were seen to by an
	// operator, who said so.
	Wrong    int `json:"wrong"`
	InFlight int `json:"inFlight"`
	Resolved int `json:"resolved"`

	// Every bill is Compared, NotCompared or Unsent.
	Bills       int `json:"bills"`
	Compared    int `json:"compared"`
	NotCompared int `json:"notCompared"` // the gateway gave no word on them: see Unanswered
	Unsent      int `json:"unsent"`      // the gateway was never told of them: to be chosen, ended before a choice, or not delivered

	Totals   []Total         `json:"totals"` // by currency and status, money that is real apart from money that is not
	Accounts []AccountReport `json:"accounts"`

	// Unanswered has every reason, in a fixed order, also where no bill has it.
	Unanswered []Unanswered `json:"unanswered"`
	// Mismatches has every kind, in a fixed order, also where there is none of it.
	Mismatches []Mismatches `json:"mismatches"`
	// Untold are paid bills of which a shop was not told.
	Untold Listed[Untold] `json:"untold"`
	// Unconfirmed are payments that a notification reported, and no query has
	// confirmed yet.
	Unconfirmed Listed[Unconfirmed] `json:"unconfirmed"`
	// RefundsDue are payments of orders that another attempt has paid too.
	RefundsDue Listed[Line] `json:"refundsDue"`
	// Orphans are payments that the gateway reported of bills that nobody here knows.
	Orphans Listed[OrphanLine] `json:"orphans"`

	// These make nothing wrong: they are what an operator should have seen.
	LatePayments Listed[Line]      `json:"latePayments"` // paid after they had ended unpaid
	PaidTwice    Listed[PaidTwice] `json:"paidTwice"`    // each payment of an order after its first
	Stuck        Listed[Stuck]     `json:"stuck"`        // do not go on by themselves
}

// Agrees reports whether the books agree for certain.
func (r Report) Agrees() bool { return r.Verdict == VerdictAgree }

// Listed is how many there are of a kind, and the first MaxListed of them,
// newest first.
type Listed[T any] struct {
	Count  int `json:"count"`
	Listed []T `json:"listed"`
}

func (l *Listed[T]) add(t T) {
	l.Count++
	if len(l.Listed) < MaxListed {
		l.Listed = append(l.Listed, t)
	}
}

// Total is how many bills there are of a kind, and what they come to.
type Total struct {
	LiveMode bool          `json:"livemode"`
	Currency bill.Currency `json:"currency"`
	Status   bill.Status   `json:"status"`
	Count    int           `json:"count"`
	Amount   string        `json:"amount"` // exact, with the currency's decimals at the least
}

// AccountReport is one account's part; its numbers are as in Report.
type AccountReport struct {
	Name        string `json:"name"`
	Configured  bool   `json:"configured"` // if not, there is no gateway to ask: neither is for bills of another endpoint or app key than today's
	Bills       int    `json:"bills"`
	Compared    int    `json:"compared"`
	NotCompared int    `json:"notCompared"`
	Unsent      int    `json:"unsent"`
	// CurrencyTold and AmountTold are how many of the gateway's answers named
	// those. The document has a currency in them, not always there, and no amount:
	// where none is told, none was compared.
	CurrencyTold int     `json:"currencyTold"`
	AmountTold   int     `json:"amountTold"`
	Totals       []Total `json:"totals"`
}

// Line is a bill as a report lists it.
type Line struct {
	ID               string        `json:"id"`
	Account          string        `json:"account"`
	Shop             string        `json:"shop"`
	LiveMode         bool          `json:"livemode"`
	OrderCode        string        `json:"orderCode"`
	Status           bill.Status   `json:"status"` // ours
	Amount           bill.Amount   `json:"amount"`
	Currency         bill.Currency `json:"currency"`
	BillCode         string        `json:"billCode"`
	PaymentRequestID string        `json:"paymentRequestId"`
	SettledBy        bill.Source   `json:"settledBy"`
	CreatedAt        string        `json:"createdAt"`
	UpdatedAt        string        `json:"updatedAt"`
	PayTime          string        `json:"payTime"`
	ResolvedAt       string        `json:"resolvedAt"` // when an operator had seen to it
}

func lineOf(b bill.Bill) Line {
	return Line{
		ID: b.ID, Account: b.Account, Shop: b.Shop, LiveMode: b.LiveMode, OrderCode: b.OrderCode, Status: b.Status,
		Amount: b.Amount, Currency: b.Currency, BillCode: b.BillCode, PaymentRequestID: b.PaymentRequestID, SettledBy: b.SettledBy,
		CreatedAt: bill.Timestamp(b.CreatedAt), UpdatedAt: bill.Timestamp(b.UpdatedAt), PayTime: bill.Timestamp(b.PayTime),
		ResolvedAt: bill.Timestamp(b.ResolvedAt),
	}
}

// Unanswered are the bills on which the gateway gave no word for one reason.
type Unanswered struct {
	Reason UnansweredReason    `json:"reason"`
	Bills  Listed[NotCompared] `json:"bills"`
}

// NotCompared is a bill without the gateway's word.
type NotCompared struct {
	Line

	Answer string `json:"answer"` // what the gateway said instead, or why it said nothing
}

// UnansweredReason says why the gateway gave no word on a bill.
type UnansweredReason string

// The reasons.
const (
	ReasonAccountGone UnansweredReason = "account_not_configured" // there is no gateway to ask
	ReasonGatewayDown UnansweredReason = "gateway_down"           // it has failed to answer so often that it is left alone
	ReasonNoAnswer    UnansweredReason = "no_answer"              // it answered nothing that can be read, or nothing about this bill
	ReasonRefused     UnansweredReason = "refused"                // it answered that it does not tell
	ReasonNotAccepted UnansweredReason = "not_accepted"           // it does not accept the account's key or signature; it was not asked again
)

// UnansweredReasons returns every reason.
func UnansweredReasons() []UnansweredReason {
	return []UnansweredReason{ReasonAccountGone, ReasonGatewayDown, ReasonNoAnswer, ReasonRefused, ReasonNotAccepted}
}

// Untold is a paid bill of which a shop's URL was not told.
type Untold struct {
	Line

	URL          string      `json:"url"`
	Configured   bool        `json:"configured"` // one that is not, while the account is, makes nothing wrong
	State        UntoldState `json:"state"`
	Notification string      `json:"notification"` // id; "" where there is none
	Since        string      `json:"since"`        // since when it waits
	Tries        int         `json:"tries"`
	LastError    string      `json:"lastError"`
}

// UntoldState says why a shop has not been told.
type UntoldState string

// The states of what a shop was not told.
const (
	UntoldPending UntoldState = "pending" // for minutes already
	UntoldDead    UntoldState = "dead"    // given up
	UntoldNever   UntoldState = "none"    // there was never a notification, though the URL is configured now
)

// Unconfirmed is a payment that is reported and not confirmed.
type Unconfirmed struct {
	Line

	ReportedAt string `json:"reportedAt"`
	InFlight   bool   `json:"inFlight"` // of the last minutes: a query is expected to settle it
}

// PaidTwice is a payment of an order that another attempt has paid before it.
type PaidTwice struct {
	Line

	PaidBills []string `json:"paidBills"` // ids of all that paid the order, oldest attempt first
}

// Stuck is a bill that does not go on by itself, see bill.Stuck.
type Stuck struct {
	Line

	Reason bill.StuckReason `json:"reason"`
}

// OrphanLine is a payment of an unknown bill.
type OrphanLine struct {
	ID               string `json:"id"` // the notification's tradeUuid
	Ledger           string `json:"ledger"`
	Account          string `json:"account"` // that is configured for the ledger, if any
	OrderCode        string `json:"orderCode"`
	BillCode         string `json:"billCode"`
	PaymentRequestID string `json:"paymentRequestId"`
	At               string `json:"at"`
	PayTime          string `json:"payTime"`
	ResolvedAt       string `json:"resolvedAt"`
	Note             string `json:"note"` // of who resolved it
}

// Report goes through the bills of a period, asks the gateway after each that
// it can know, and says whether the books agree. It changes nothing: what it
// finds unsettled stays so until it is refreshed. Memory is the same for any
// number of bills. progress, where not nil, is told how many have been looked
// at, from the caller's goroutine.
//
// Bills and the gateway's word move while it runs: where the two differ, the
// bill is read again, and where that has moved, the gateway is asked again.
//
// Any error means that there is no report: ErrPeriod, ErrNoAccount,
// bill.ErrUnavailable, the context's.
func (e *Engine) Report(ctx context.Context, q ReportQuery, progress func(done int)) (Report, error) {
	a := newAudit(e, q)
	if !a.query.From.Before(a.query.To) {
		return Report{}, fmt.Errorf("%w: it ends at %s and begins at %s", ErrPeriod, bill.Timestamp(a.query.To), bill.Timestamp(a.query.From))
	}
	for more := true; more; {
		var err error
		if more, err = a.page(ctx); err != nil {
			return Report{}, fmt.Errorf("report: %w", err)
		}
		if progress != nil {
			progress(a.report.Bills)
		}
	}
	if err := a.orphans(ctx); err != nil {
		return Report{}, fmt.Errorf("report: %w", err)
	}
	if q.Account != "" && a.report.Bills == 0 && !a.configured(q.Account) {
		return Report{}, fmt.Errorf("%w: %q", ErrNoAccount, q.Account)
	}
	return a.close(), nil
}
