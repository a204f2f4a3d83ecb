package payment

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

const (
	passEvery   = time.Second // between two looks at what is due
	passSize    = 2000        // bills looked at in one pass
	passWorkers = 32          // bills of one account followed up at a time: they share the syncs of their commits
	sweepSize   = 100000      // bills made due at once when a gateway comes back
)

// Run asks after bills whose webhook has not come, tells shops how their
// orders end, and deletes details whose retention is over, for as long as ctx
// lives: a lost webhook costs seconds, not a sale. One Run a process and store is
// enough; what it has yet to do is stored, so that another one goes on where it
// was. Those of several processes share the work where the store is a
// bill.Leaser.
func (e *Engine) Run(ctx context.Context) {
	asking, telling := &lessee{holder: e.cfg.NewID()}, &lessee{holder: e.cfg.NewID()}
	defer e.giveBack(ctx, asking, telling)
	var others sync.WaitGroup
	defer others.Wait()
	others.Go(func() { e.deliver(ctx, telling) })
	others.Go(func() { e.retain(ctx) })
	tick := time.NewTicker(passEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := e.pass(ctx, asking); err != nil && ctx.Err() == nil {
			e.cfg.Logger.Warn("reconcile pass put off", zap.Error(err))
		}
	}
}

// pass is one look at what is due, with the store leased for it.
type pass struct {
	engine *Engine
	store  bill.Store
	lessee *lessee
	begin  context.Context //nolint:containedctx // ends when it is too late to begin anything
}

// pass asks after what is due now.
func (e *Engine) pass(ctx context.Context, l *lessee) error {
	store, release, err := e.cfg.Store(ctx)
	if err != nil {
		return err
	}
	defer release()
	e.warnOfClosed(store)
	begin, cancel := context.WithTimeout(ctx, beginWithin)
	defer cancel()
	p := &pass{engine: e, store: store, lessee: l, begin: begin}
	due, err := p.due(ctx)
	if err != nil {
		return err
	}
	p.putOffStrangers(ctx, due)
	var accounts sync.WaitGroup
	for _, account := range e.cfg.Accounts {
		bills := slices.DeleteFunc(slices.Clone(due), func(b bill.Bill) bool { return !account.has(b) })
		accounts.Go(func() { p.reconcile(ctx, account, bills) })
	}
	accounts.Wait()
	return nil
}

// due takes what is due, and what somebody watches besides. A watched bill that
// became due a moment ago and was not among the first is being asked after by
// somebody else.
func (p *pass) due(ctx context.Context) ([]bill.Bill, error) {
	ids, err := p.lessee.bills(ctx, p.store, p.engine.now(), passSize)
	if err != nil {
		return nil, err
	}
	mine := make(map[string]bool, len(ids))
	for _, id := range ids {
		mine[id] = true
	}
	bills, err := p.load(ctx, slices.Concat(ids, p.engine.watchers.ids()))
	return slices.DeleteFunc(bills, func(b bill.Bill) bool { return !mine[b.ID] && p.engine.othersMay(p.store, b.Due) }), err
}

func (a *Account) has(b bill.Bill) bool { return a.Name == b.Account && a.Ledger == b.Ledger }

// load reads bills, each once, and leaves out those that nobody need ask
// after any more.
func (p *pass) load(ctx context.Context, ids []string) ([]bill.Bill, error) {
	slices.Sort(ids)
	var bills []bill.Bill
	for _, id := range slices.Compact(ids) {
		b, err := p.store.Bill(ctx, id)
		if errors.Is(err, bill.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if !b.Due.IsZero() {
			bills = append(bills, b)
		}
	}
	return bills, nil
}

// putOffStrangers takes bills of accounts that are not configured. They stay
// as they are. Where somebody has asked after one lately, another node knows the
// account, and comes first.
func (p *pass) putOffStrangers(ctx context.Context, due []bill.Bill) {
	e := p.engine
	strangers := slices.DeleteFunc(slices.Clone(due), func(b bill.Bill) bool { return e.accountOf(b) != nil })
	if len(strangers) == 0 {
		return
	}
	e.cfg.Logger.Warn("bills of accounts that are not configured are not asked after", zap.Int("bills", len(strangers)))
	lately := e.now().Add(-2 * e.cfg.MaxInterval)
	var known, nobodys []bill.Bill
	for _, b := range strangers {
		if latest(b.CreatedAt, b.AskedAt).After(lately) {
			known = append(known, b)
		} else {
			nobodys = append(nobodys, b)
		}
	}
	p.putOff(ctx, append(nobodys, p.leave(ctx, known)...), e.cfg.MaxInterval)
}

// leave leaves bills that cannot be asked after here to others who share the
// store, and returns those that nobody has taken although they had the time.
// Everything is given back for that: what this pass begins afterwards, somebody
// else may begin, too, which costs a question and no more.
func (p *pass) leave(ctx context.Context, bills []bill.Bill) (nobodys []bill.Bill) {
	for _, b := range bills {
		if !p.engine.othersMay(p.store, b.Due) {
			nobodys = append(nobodys, b)
		}
	}
	if len(nobodys) < len(bills) {
		if err := p.lessee.leave(ctx, p.store); err != nil {
			p.engine.cfg.Logger.Warn("bills not left to others", zap.Error(err))
		}
	}
	return nobodys
}

// putOff moves bills that cannot be asked after now out of the way, so that
// they hold up nobody else's.
func (p *pass) putOff(ctx context.Context, bills []bill.Bill, wait time.Duration) {
	e := p.engine
	var commits sync.WaitGroup
	for _, b := range bills {
		if b.Due.After(e.now()) {
			continue
		}
		b.Due = e.now().Add(wait)
		b.Revision++
		commits.Go(func() {
			err := e.commit(ctx, p.store, bill.Change{Bills: []bill.BillChange{{Bill: b}}})
			if err != nil && !errors.Is(err, bill.ErrConflict) {
				e.cfg.Logger.Warn("put off bill", zap.String("bill", b.ID), zap.Error(err))
			}
		})
	}
	commits.Wait()
}

// reconcile asks after bills of one account: those of which a status is all
// there is to learn in batches, the others one by one.
func (p *pass) reconcile(ctx context.Context, account *Account, bills []bill.Bill) {
	e, begin := p.engine, p.begin
	gateway := account.Gateway.(*watched)
	w := e.work(ctx, p.store, account)
	w.asking = ctx
	bills = slices.DeleteFunc(w.withoutChoices(bills), w.askedLately)
	if len(bills) > 0 && !gateway.answers(ctx, bills[0].ID) {
		p.putOff(ctx, p.leave(ctx, bills), breakerPause)
		return
	}
	if gateway.reopened.Swap(false) {
		bills, begin = p.sweep(ctx, account, bills), ctx
	}
	var single []bill.Bill
	var batch []bill.Bill
	for _, b := range bills {
		if w.onlyStatus(b) {
			batch = append(batch, b)
		} else {
			single = append(single, b)
		}
	}
	for chunk := range slices.Chunk(batch, account.StatusBatch) {
		if p.enough(begin, gateway) {
			return
		}
		single = append(single, w.askBatch(chunk)...)
	}
	p.each(begin, gateway, single, func(b bill.Bill) {
		if _, err := w.refresh(b); err != nil {
			e.cfg.Logger.Warn("reconcile bill", zap.String("bill", b.ID), zap.Error(err))
		}
	})
}

// withoutChoices leaves out bills whose way to pay is not chosen yet. The
// gateway knows nothing of them: they end in time without it.
func (w *work) withoutChoices(bills []bill.Bill) []bill.Bill {
	var ends sync.WaitGroup
	defer ends.Wait()
	return slices.DeleteFunc(bills, func(b bill.Bill) bool {
		if b.Status != bill.Choose {
			return false
		}
		ends.Go(func() {
			if _, err := w.endOverdue(b); err != nil {
				w.engine.cfg.Logger.Warn("end bill", zap.String("bill", b.ID), zap.Error(err))
			}
		})
		return true
	})
}

// enough reports whether a pass has to end early: it is too late to begin what
// is left, there is no gateway to ask, or no store to write its answers to,
// which closes once nobody uses it.
func (p *pass) enough(begin context.Context, gateway *watched) bool {
	return begin.Err() != nil || gateway.breaker.IsOpen() || bill.Broken(p.store) != nil
}

// each calls f for every bill, some at a time, until there is reason to end
// early.
func (p *pass) each(begin context.Context, gateway *watched, bills []bill.Bill, f func(bill.Bill)) {
	places := make(chan struct{}, passWorkers)
	var running sync.WaitGroup
	for _, b := range bills {
		places <- struct{}{}
		if p.enough(begin, gateway) {
			break
		}
		running.Go(func() {
			defer func() { <-places }()
			f(b)
		})
	}
	running.Wait()
}

// sweep adds every bill of an account whose gateway has come back that is open
// or reported as paid and not confirmed. Where several processes sweep, the
// first has them; if he dies of it, each is asked after when it is due.
func (p *pass) sweep(ctx context.Context, account *Account, due []bill.Bill) []bill.Bill {
	e := p.engine
	far := e.now().Add(e.cfg.MaxInterval * 2)
	ids, err := p.lessee.bills(ctx, p.store, far, sweepSize)
	if err == nil {
		var all []bill.Bill
		if all, err = p.load(ctx, ids); err == nil {
			due = slices.DeleteFunc(all, func(b bill.Bill) bool {
				return !account.has(b) || b.Status.Final() && !b.Unconfirmed() && b.Due.After(e.now())
			})
		}
	}
	if err != nil {
		e.cfg.Logger.Warn("sweep after an outage", zap.String("account", account.Name), zap.Error(err))
	}
	return due
}

// askedLately reports whether a watched bill was asked after within
// MinInterval.
func (w *work) askedLately(b bill.Bill) bool {
	now := w.now()
	return b.Due.After(now) && now.Before(b.AskedAt.Add(w.engine.cfg.MinInterval))
}

// onlyStatus reports whether a status is all there is to learn about b: it
// needs no call of /apply or /cancel.
func (w *work) onlyStatus(b bill.Bill) bool {
	if b.Status.Final() || b.Unconfirmed() {
		return true
	}
	return b.Status == bill.Wait && !b.ActionLost() && !b.Cancel.Requested && !b.ExpiryPassed(w.now())
}

// askBatch asks after bills together and returns those that have to be asked
// after alone: missing from a batch proves nothing.
func (w *work) askBatch(bills []bill.Bill) (alone []bill.Bill) {
	ids := make([]string, len(bills))
	for i, b := range bills {
		ids[i] = b.ID
	}
	asked := w.now()
	answer, err := w.account.Gateway.GetPayStatus(w.asking, ids, nil)
	if err != nil {
		w.engine.cfg.Logger.Warn("query failed", zap.String("account", w.account.Name), zap.Int("bills", len(ids)), zap.Error(err))
		return nil // still due: the next pass, or the one after the breaker's pause, asks again
	}
	for _, b := range bills {
		e, found := w.queryEvent(b, answer, nil, asked)
		if !found || e.Kind == bill.EventNotKnown {
			alone = append(alone, b)
			continue
		}
		if b.Status == bill.Wait && e.Kind == bill.EventReportedWait && len(b.Contradictions(e)) == 0 {
			e = bill.Event{Kind: bill.EventAsked, At: e.At, Source: e.Source} // nothing new: no line
		}
		step, err := w.record(b.ID, e)
		if err == nil {
			_, err = w.pursue(followUp(step))
		}
		if err != nil && !errors.Is(err, bill.ErrAskedAlready) {
			w.engine.cfg.Logger.Warn("reconcile bill", zap.String("bill", b.ID), zap.Error(err))
		}
	}
	return alone
}

// followUp leaves out the question that has just been answered.
func followUp(step bill.Step) bill.Step {
	if step.Line.Kind == bill.EventAsked {
		step.Follow = bill.FollowNone
	}
	return step
}
