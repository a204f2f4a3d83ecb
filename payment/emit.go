package payment

import (
	"sync"

	"go.uber.org/zap"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

// maxEvents bounds how many events wait for somebody slow. Those beyond it are
// dropped, and counted.
const maxEvents = 1000

// event is what happened to a bill, for whoever listens in this process.
type event struct {
	kind bill.NotificationType
	bill bill.Bill
}

// emitter hands events on, one after the other, from a goroutine that runs while
// there are any. Nobody waits for it: what must not be lost is told by
// notifications.
type emitter struct {
	to     func(kind bill.NotificationType, b bill.Bill)
	logger *zap.Logger

	mu      sync.Mutex
	waiting []event
	running bool
}

// emit hands on what a stored line tells of a bill, where it is what shops are
// told, too.
func (e *Engine) emit(b bill.Bill, line bill.Event) {
	if e.cfg.Emit == nil || line.From == line.To {
		return
	}
	kind := b.NotificationType()
	if line.Kind == bill.EventCreated {
		kind = bill.BillCreated
	}
	if kind != "" {
		taken := e.emitter.take(event{kind: kind, bill: b})
		e.cfg.Metrics.Emitted(!taken)
	}
}

// take lets an event wait for its turn, and reports whether there was room.
func (m *emitter) take(ev event) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.waiting) == maxEvents {
		return false
	}
	m.waiting = append(m.waiting, ev)
	if !m.running {
		m.running = true
		go m.run()
	}
	return true
}

func (m *emitter) run() {
	for {
		m.mu.Lock()
		if len(m.waiting) == 0 {
			m.running = false
			m.mu.Unlock()
			return
		}
		next := m.waiting[0]
		m.waiting = m.waiting[1:]
		m.mu.Unlock()
		m.hand(next)
	}
}

// hand hands one event on. A listener's panic is its own.
func (m *emitter) hand(ev event) {
	defer func() {
		if p := recover(); p != nil {
			m.logger.Error("panic of who listens to events", zap.String("event", string(ev.kind)), zap.Any("panic", p), zap.Stack("stack"))
		}
	}()
	m.to(ev.kind, ev.bill)
}
