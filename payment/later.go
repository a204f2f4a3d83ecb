package payment

import (
	"context"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

// maxLater bounds how many follow-ups run at once. One that finds no place is
// not lost: what it would do is stored with its bill and due.
const maxLater = 64

// leaseWait bounds how long a follow-up waits for the store.
const leaseWait = 5 * time.Second

// background runs what need not hold up an answer: a webhook is acknowledged
// once it is stored, not once the gateway was called back.
type background struct {
	mu     sync.Mutex
	closed bool
	count  int
	idle   chan struct{} // closed when count falls to zero after closed
}

// begin takes a place; false where there is none.
func (g *background) begin() bool { return g.enter(maxLater) }

// enter takes a place where fewer than most are taken.
func (g *background) enter(most int) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed || g.count >= most {
		return false
	}
	g.count++
	return true
}

func (g *background) end() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.count--
	if g.closed && g.count == 0 {
		close(g.idle)
	}
}

// stop lets nothing more begin and returns a channel that closes once all has
// ended.
func (g *background) stop() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.closed {
		g.closed = true
		g.idle = make(chan struct{})
		if g.count == 0 {
			close(g.idle)
		}
	}
	return g.idle
}

// later does what has to follow a stored step after the answer has gone out.
// Of ctx it keeps the span alone.
func (e *Engine) later(ctx context.Context, account *Account, step bill.Step) {
	if step.Follow == bill.FollowNone || !e.background.begin() {
		return
	}
	go e.followUp(spanOf(ctx), account, step)
}

// followUp does so in the place that later took.
func (e *Engine) followUp(ctx context.Context, account *Account, step bill.Step) {
	defer e.background.end()
	leasing, cancel := context.WithTimeout(ctx, leaseWait)
	store, release, err := e.cfg.Store(leasing)
	cancel()
	if err == nil {
		defer release()
		_, err = e.work(ctx, store, account).pursue(step)
	}
	if err != nil {
		e.cfg.Logger.Warn("follow-up put off", zap.String("bill", step.Bill.ID),
			zap.String("follow", string(step.Follow)), zap.Error(err))
	}
}

// cancelSiblings calls /cancel for the attempts that a payment put an end to.
// After one that may be paid as well it only asks.
func (e *Engine) cancelSiblings(ctx context.Context, account *Account, siblings []bill.BillChange) {
	for _, s := range siblings {
		follow := bill.FollowCancel
		if s.Bill.Unconfirmed() {
			follow = bill.FollowQuery
		}
		if !s.Bill.Status.Final() {
			e.later(ctx, account, bill.Step{Bill: s.Bill, Follow: follow})
		}
	}
}

// Stop lets no further follow-up begin and waits for those that run, at most
// until ctx ends. Backups under way end.
func (e *Engine) Stop(ctx context.Context) error {
	ended := e.background.stop()
	e.stopRunning()
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
