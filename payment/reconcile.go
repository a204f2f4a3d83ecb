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
// lives: a lost webhook costs seconds, not a sale. One Run a store is enough;
// what it has yet to do is stored, so that another one goes on where it was.
func (e *Engine) Run(ctx context.Context) {
	var others sync.WaitGroup
	defer others.Wait()
	others.Go(func() { e.deliver(ctx) })
	others.Go(func() { e.retain(ctx) })
	tick := time.NewTicker(passEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := e.pass(ctx); err != nil && ctx.Err() == nil {
			e.cfg.Logger.Warn("reconcile pass put off", zap.Error(err))
		}
	}
}

// pass asks after what is due now.
func (e *Engine) pass(ctx context.Context) error {
	store, release, err := e.cfg.Store(ctx)
	if err != nil {
		return err
	}
	defer release()
	e.warnOfClosed(store)
	ids, err := store.Due(ctx, e.now(), passSize)
	if err != nil {
		return err
	}
	ids = append(ids, e.watchers.ids()...)
	due, err := e.load(ctx, store, ids)
	if err != nil {
		return err
	}
	e.putOffStrangers(ctx, store, due)
	var accounts sync.WaitGroup
	for _, account := range e.cfg.Accounts {
		bills := slices.DeleteFunc(slices.Clone(due), func(b bill.Bill) bool { return !account.has(b) })
		accounts.Go(func() { e.reconcile(ctx, store, account, bills) })
	}
	accounts.Wait()
	return nil
}

func (a *Account) has(b bill.Bill) bool { return a.Name == b.Account && a.Ledger == b.Ledger }

// load reads bills, each once, and leaves out those that nobody need ask
// after any more.
func (e *Engine) load(ctx context.Context, store bill.Store, ids []string) ([]bill.Bill, error) {
	slices.Sort(ids)
	var bills []bill.Bill
	for _, id := range slices.Compact(ids) {
		b, err := store.Bill(ctx, id)
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
// as they are.
func (e *Engine) putOffStrangers(ctx context.Context, store bill.Store, due []bill.Bill) {
	strangers := slices.DeleteFunc(slices.Clone(due), func(b bill.Bill) bool {
		return slices.ContainsFunc(e.cfg.Accounts, func(a *Account) bool { return a.has(b) })
	})
	if len(strangers) > 0 {
		e.cfg.Logger.Warn("bills of accounts that are not configured are not asked after", zap.Int("bills", len(strangers)))
		e.putOff(ctx, store, strangers, e.cfg.MaxInterval)
	}
}

// putOff moves bills that cannot be asked after now out of the way, so that
// they hold up nobody else's.
func (e *Engine) putOff(ctx context.Context, store bill.Store, bills []bill.Bill, wait time.Duration) {
	var commits sync.WaitGroup
	for _, b := range bills {
		if b.Due.After(e.now()) {
			continue
		}
		b.Due = e.now().Add(wait)
		b.Revision++
		commits.Go(func() {
			err := e.commit(ctx, store, bill.Change{Bills: []bill.BillChange{{Bill: b}}})
			if err != nil && !errors.Is(err, bill.ErrConflict) {
				e.cfg.Logger.Warn("put off bill", zap.String("bill", b.ID), zap.Error(err))
			}
		})
	}
	commits.Wait()
}

// reconcile asks after bills of one account: those of which a status is all
// there is to learn in batches, the others one by one.
func (e *Engine) reconcile(ctx context.Context, store bill.Store, account *Account, bills []bill.Bill) {
	gateway := account.Gateway.(*watched)
	w := e.work(ctx, store, account)
	w.asking = ctx
	bills = slices.DeleteFunc(w.withoutChoices(bills), w.askedLately)
	if len(bills) > 0 && !gateway.answers(ctx, bills[0].ID) {
		e.putOff(ctx, store, bills, breakerPause)
		return
	}
	if gateway.reopened.Swap(false) {
		bills = e.sweep(ctx, store, account, bills)
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
		if enough(ctx, store, gateway) {
			return
		}
		single = append(single, w.askBatch(chunk)...)
	}
	e.each(ctx, store, gateway, single, func(b bill.Bill) {
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

// enough reports whether a pass has to end early: there is no gateway to ask,
// or no store to write its answers to, which closes once nobody uses it.
func enough(ctx context.Context, store bill.Store, gateway *watched) bool {
	return ctx.Err() != nil || gateway.breaker.IsOpen() || bill.Broken(store) != nil
}

// each calls f for every bill, some at a time, until there is reason to end
// early.
func (e *Engine) each(ctx context.Context, store bill.Store, gateway *watched, bills []bill.Bill, f func(bill.Bill)) {
	places := make(chan struct{}, passWorkers)
	var running sync.WaitGroup
	for _, b := range bills {
		if enough(ctx, store, gateway) {
			break
		}
		places <- struct{}{}
		running.Go(func() {
			defer func() { <-places }()
			f(b)
		})
	}
	running.Wait()
}

// sweep adds every bill of an account whose gateway has come back that is open
// or reported as paid and not confirmed.
func (e *Engine) sweep(ctx context.Context, store bill.Store, account *Account, due []bill.Bill) []bill.Bill {
	far := e.now().Add(e.cfg.MaxInterval * 2)
	ids, err := store.Due(ctx, far, sweepSize)
	if err == nil {
		var all []bill.Bill
		if all, err = e.load(ctx, store, ids); err == nil {
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
