package payment

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

// auditPage is how many bills are read, asked after and counted at a time. The
// store is not leased while the gateway is being asked.
const auditPage = 500

// audit is one report under way.
type audit struct {
	engine   *Engine
	query    ReportQuery
	cursor   string
	report   Report
	totals   totals
	accounts map[accountKey]*accountTotals

	mu     sync.Mutex
	turned map[*Account]error // see turnedDown
}

type accountKey struct {
	name       string
	configured bool
}

type accountTotals struct {
	AccountReport

	totals totals
}

func newAudit(e *Engine, q ReportQuery) *audit {
	begun := e.now()
	if q.To.IsZero() {
		q.To = begun
	}
	a := &audit{
		engine: e, query: q, totals: make(totals),
		accounts: make(map[accountKey]*accountTotals), turned: make(map[*Account]error),
	}
	a.report = Report{From: bill.Timestamp(q.From), To: bill.Timestamp(q.To), Account: q.Account, StartedAt: bill.Timestamp(begun)}
	for _, reason := range UnansweredReasons() {
		a.report.Unanswered = append(a.report.Unanswered, Unanswered{Reason: reason})
	}
	for _, kind := range MismatchKinds() {
		a.report.Mismatches = append(a.report.Mismatches, Mismatches{Kind: kind, Finding: kind.Finding(), Remedy: kind.Remedy()})
	}
	return a
}

// withStore calls f with the store leased for it.
func (a *audit) withStore(ctx context.Context, f func(store bill.Store) error) error {
	store, release, err := a.engine.cfg.Store(ctx)
	if err != nil {
		return err
	}
	defer release()
	return f(store)
}

// page goes through one page of bills, and reports whether there are more.
func (a *audit) page(ctx context.Context) (more bool, err error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	bills, next, err := a.engine.List(ctx, bill.Query{
		Account: a.query.Account, From: a.query.From, To: a.query.To, Cursor: a.cursor, Limit: auditPage,
	})
	if err != nil {
		return false, err
	}
	entries := make([]*entry, len(bills))
	for i, b := range bills {
		entries[i] = a.entry(b)
	}
	if err := a.ask(ctx, entries); err != nil {
		return false, err
	}
	err = a.withStore(ctx, func(store bill.Store) error {
		for _, n := range entries {
			if err := a.enter(ctx, store, n); err != nil {
				return err
			}
		}
		return nil
	})
	a.cursor = next
	return next != "", err
}

// enter enters a bill into the report.
func (a *audit) enter(ctx context.Context, store bill.Store, n *entry) error {
	a.report.Bills++
	account := a.account(n)
	account.Bills++
	for _, t := range []totals{a.totals, account.totals} {
		if err := t.add(n.bill); err != nil {
			return err
		}
	}
	switch {
	case n.unsent:
		account.Unsent++
	case n.reason != "":
		account.NotCompared++
		i := slices.Index(UnansweredReasons(), n.reason)
		a.report.Unanswered[i].Bills.add(NotCompared{Line: lineOf(n.bill), Answer: n.said})
	default:
		account.Compared++
		a.differs(n)
	}
	if n.word.row.Currency != "" {
		account.CurrencyTold++
	}
	if bill.Amount(n.word.row.Amount).Readable() {
		account.AmountTold++
	}
	return a.enterOurs(ctx, store, n.bill)
}

// account returns the totals of the account that a bill was made for. Bills of
// its name at another ledger stand apart.
func (a *audit) account(n *entry) *accountTotals {
	key := accountKey{name: n.bill.Account, configured: n.account != nil}
	t := a.accounts[key]
	if t == nil {
		t = &accountTotals{AccountReport: AccountReport{Name: key.name, Configured: key.configured}, totals: make(totals)}
		a.accounts[key] = t
	}
	return t
}

// differs enters how a bill differs from the gateway's word.
func (a *audit) differs(n *entry) {
	i := slices.Index(MismatchKinds(), n.differ.kind)
	if i < 0 {
		return // they agree
	}
	found := &a.report.Mismatches[i]
	as := n.differ.standing(n.bill)
	list := map[standing]*Listed[Mismatch]{standsWrong: &found.Wrong, standsInFlight: &found.InFlight, standsResolved: &found.Resolved}[as]
	list.add(mismatchOf(n.bill, n.word, n.differ))
	a.judge(as)
}

func (a *audit) judge(s standing) {
	switch s {
	case standsWrong:
		a.report.Wrong++
	case standsInFlight:
		a.report.InFlight++
	case standsResolved:
		a.report.Resolved++
	}
}

// enterOurs enters what an operator should know of a bill whatever the gateway
// says.
func (a *audit) enterOurs(ctx context.Context, store bill.Store, b bill.Bill) error {
	now := a.engine.now()
	if b.Unconfirmed() {
		line := unconfirmed(b, now)
		a.report.Unconfirmed.add(line)
		if line.InFlight {
			a.judge(standsInFlight)
		} else {
			a.judge(unless(b.ResolvedAt))
		}
	}
	if b.RefundDue {
		a.report.RefundsDue.add(lineOf(b))
		a.judge(unless(b.ResolvedAt))
	}
	if b.LatePayment {
		a.report.LatePayments.add(lineOf(b))
	}
	if reason := b.Stuck(now); reason != "" {
		a.report.Stuck.add(Stuck{Line: lineOf(b), Reason: reason})
	}
	if b.Status != bill.Success {
		return nil
	}
	if err := a.enterUntold(ctx, store, b); err != nil {
		return err
	}
	return a.enterPaidTwice(ctx, store, b)
}

func (a *audit) enterUntold(ctx context.Context, store bill.Store, b bill.Bill) error {
	lines, err := a.untold(ctx, store, b)
	for _, line := range lines {
		a.report.Untold.add(line)
		if line.Configured || a.engine.accountOf(b) == nil {
			a.judge(unless(b.ResolvedAt))
		}
	}
	return err
}

// enterPaidTwice enters a payment of an order that an earlier attempt has paid.
func (a *audit) enterPaidTwice(ctx context.Context, store bill.Store, b bill.Bill) error {
	if b.Attempt < 2 {
		return nil // no attempt is earlier
	}
	record, err := store.Order(ctx, b.OrderKey())
	if err != nil {
		return err
	}
	if first, ok := record.Paid(); !ok || first.ID == b.ID {
		return nil
	}
	line := PaidTwice{Line: lineOf(b)}
	for _, attempt := range record.Attempts {
		if attempt.Status == bill.Success {
			line.PaidBills = append(line.PaidBills, attempt.ID)
		}
	}
	a.report.PaidTwice.add(line)
	return nil
}

// orphans enters those that came in the period.
func (a *audit) orphans(ctx context.Context) error {
	for cursor, more := "", true; more; {
		if err := ctx.Err(); err != nil {
			return err
		}
		page, next, err := a.engine.Orphans(ctx, cursor, auditPage)
		if err != nil {
			return err
		}
		for _, o := range page {
			a.enterOrphan(o)
		}
		cursor, more = next, next != ""
	}
	return nil
}

func (a *audit) enterOrphan(o bill.Orphan) {
	if o.At.Before(a.query.From) || !o.At.Before(a.query.To) {
		return
	}
	line := OrphanLine{
		ID: o.ID, Ledger: o.Ledger, OrderCode: o.Report.OrderCode, BillCode: o.Report.BillCode,
		PaymentRequestID: o.Report.PaymentRequestID, At: bill.Timestamp(o.At), PayTime: bill.Timestamp(o.Report.PayTime),
	}
	var resolvedAt time.Time
	if o.Resolved != nil {
		resolvedAt = o.Resolved.At
		line.ResolvedAt, line.Note = bill.Timestamp(resolvedAt), o.Resolved.Note
	}
	for _, account := range a.engine.cfg.Accounts {
		if account.Ledger != o.Ledger {
			continue
		}
		if line.Account == "" || account.Name == a.query.Account {
			line.Account = account.Name
		}
	}
	if a.query.Account == "" || a.query.Account == line.Account {
		a.report.Orphans.add(line)
		a.judge(unless(resolvedAt))
	}
}

func (a *audit) configured(name string) bool {
	return slices.ContainsFunc(a.engine.cfg.Accounts, func(account *Account) bool { return account.Name == name })
}

// close adds up, and gives the verdict.
func (a *audit) close() Report {
	r := a.report
	r.Totals = a.totals.rows()
	for _, t := range a.accounts {
		t.Totals = t.totals.rows()
		r.Compared, r.NotCompared, r.Unsent = r.Compared+t.Compared, r.NotCompared+t.NotCompared, r.Unsent+t.Unsent
		r.Accounts = append(r.Accounts, t.AccountReport)
	}
	slices.SortFunc(r.Accounts, func(x, y AccountReport) int {
		return cmp.Or(cmp.Compare(x.Name, y.Name), falseLast(x.Configured, y.Configured))
	})
	r.EndedAt = bill.Timestamp(a.engine.now())
	switch {
	case r.Wrong > 0:
		r.Verdict = VerdictDisagree
	case r.NotCompared > 0:
		r.Verdict = VerdictNotProven
	default:
		r.Verdict = VerdictAgree
	}
	return r
}
