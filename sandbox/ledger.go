package sandbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
)

// maxCalls is how many calls are kept in memory; older ones are in the file
// alone. A reconciling merchant asks for days, and the sandbox has to last.
const maxCalls = 20_000

// errClosed is what a late worker gets.
var errClosed = errors.New("the ledger is closed")

// ledger is the state of the gateway, and the only writer of its file. State
// changes in commit alone, by entries, in the way replay does it.
type ledger struct {
	mu       sync.Mutex
	file     *os.File // nil: in memory
	broken   error    // why nothing is accepted any more
	seq      uint64
	payments []*Payment
	byTrade  map[tradeKey]*Payment
	byBill   map[string]*Payment
	calls    []Call
	webhooks []*Webhook
	plans    []Plan
	faults   []Fault
	settings Settings
	changed  chan struct{} // closed, and replaced, by each commit

	syncing sync.Mutex // orders fsyncs; taken without mu
	synced  uint64     // the last entry known to be on disk; guarded by syncing

	poster poster
	cancel context.CancelFunc
	done   chan struct{} // closed when the workers have ended
}

// tradeKey is the gateway's idempotency key: tradeUuid is unique under an appKey.
type tradeKey struct{ appKey, tradeUUID string }

// openLedger opens the ledger of a file, or a new one in memory where path is
// empty, and starts its workers.
func openLedger(path string) (*ledger, error) {
	l := newLedger()
	if path != "" {
		if err := l.openFile(path); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	l.cancel = cancel
	go l.work(ctx)
	return l, nil
}

func newLedger() *ledger {
	return &ledger{
		byTrade: make(map[tradeKey]*Payment),
		byBill:  make(map[string]*Payment),
		changed: make(chan struct{}),
		poster:  newPoster(),
		done:    make(chan struct{}),
	}
}

// openFile replays the file, cuts off a torn last line, and leaves the file
// open for appending.
func (l *ledger) openFile(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	if err := l.load(file); err != nil {
		return errors.Join(fmt.Errorf("ledger %s: %w", path, err), file.Close())
	}
	l.file = file
	return nil
}

func (l *ledger) load(file *os.File) error {
	text, err := io.ReadAll(file)
	if err != nil {
		return err
	}
	whole, err := l.replay(text)
	if err != nil {
		return err
	}
	if whole < len(text) {
		if err := file.Truncate(int64(whole)); err != nil {
			return fmt.Errorf("cutting off a torn last line: %w", err)
		}
	}
	if err := file.Sync(); err != nil {
		return err
	}
	l.synced = l.seq
	return syncDir(filepath.Dir(file.Name()))
}

// syncDir makes a new file's name durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// replay applies the lines of text and returns the length of the whole ones. A
// last line without its end was torn by a crash: its call was never answered,
// so it never was. Anything else that cannot be read is damage.
func (l *ledger) replay(text []byte) (int, error) {
	whole := 0
	for number := 1; ; number++ {
		length := bytes.IndexByte(text[whole:], '\n')
		if length < 0 {
			return whole, nil
		}
		var e Entry
		if err := json.Unmarshal(text[whole:whole+length], &e); err != nil {
			return 0, fmt.Errorf("line %d is damaged: %w", number, err)
		}
		if e.Seq != l.seq+1 {
			return 0, fmt.Errorf("line %d has seq %d where %d was due: lines are missing or doubled", number, e.Seq, l.seq+1)
		}
		l.apply(&e)
		whole += length + 1
	}
}

// ReadLedger reads a ledger file, also while a sandbox writes it: a last line
// that is not whole yet is left out.
func ReadLedger(path string) (Snapshot, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return Snapshot{}, err
	}
	l := newLedger()
	if _, err := l.replay(text); err != nil {
		return Snapshot{}, fmt.Errorf("ledger %s: %w", path, err)
	}
	return l.snapshot(), nil
}

// close ends the workers, then the file.
func (l *ledger) close() error {
	l.cancel()
	<-l.done
	l.poster.close()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.broken == nil {
		l.broken = errClosed
	}
	if l.file == nil {
		return nil
	}
	return l.file.Close()
}

// tx is one change of the ledger in the making. Its entry takes effect when
// the function it was given to returns without an error.
type tx struct {
	*ledger
	now   time.Time
	entry Entry
}

// commit runs fn with the ledger locked, writes its entry as one line and
// applies it. It returns when the line, and all before it, are on disk. fn must
// not block.
func (l *ledger) commit(fn func(*tx) error) error {
	l.mu.Lock()
	seq, err := l.record(fn)
	l.mu.Unlock()
	if err != nil {
		return err
	}
	return l.sync(seq)
}

func (l *ledger) record(fn func(*tx) error) (uint64, error) {
	if l.broken != nil {
		return 0, l.broken
	}
	t := &tx{ledger: l, now: time.Now().UTC()}
	t.entry.Seq, t.entry.Time = l.seq+1, t.now
	if err := fn(t); err != nil {
		return 0, err
	}
	if t.entry.empty() {
		return l.seq, nil
	}
	if err := l.write(&t.entry); err != nil {
		// The file may end in half a line now: nothing may follow it.
		l.broken = fmt.Errorf("the ledger cannot be written: %w", err)
		return 0, l.broken
	}
	l.apply(&t.entry)
	close(l.changed)
	l.changed = make(chan struct{})
	return l.seq, nil
}

func (l *ledger) write(e *Entry) error {
	if l.file == nil {
		return nil
	}
	line, err := json.Marshal(e)
	if err != nil {
		return err
	}
	_, err = l.file.Write(append(line, '\n'))
	return err
}

// sync returns when entry seq is on disk. Whoever waited while another synced
// finds its entry synced along with it.
func (l *ledger) sync(seq uint64) error {
	if l.file == nil {
		return nil
	}
	l.syncing.Lock()
	defer l.syncing.Unlock()
	if l.synced >= seq {
		return nil
	}
	l.mu.Lock()
	last, broken := l.seq, l.broken
	l.mu.Unlock()
	if broken != nil {
		return broken
	}
	if err := l.file.Sync(); err != nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.broken = fmt.Errorf("the ledger cannot be synced: %w", err)
		return l.broken
	}
	l.synced = last
	return nil
}

// apply is the one way state changes, live and in replay.
func (l *ledger) apply(e *Entry) {
	l.seq = e.Seq
	if e.Payment != nil {
		l.applyPayment(*e.Payment)
	}
	if p := l.changedPayment(e.Change); p != nil {
		p.Status, p.ErrorCode, p.UpdatedAt = e.Change.Status, e.Change.ErrorCode, e.Time
		if e.Change.PayTime != "" {
			p.PayTime = e.Change.PayTime
		}
	}
	for _, bill := range e.Forget {
		if p := l.byBill[bill]; p != nil {
			l.applyForget(p)
		}
	}
	if e.Call != nil {
		if len(l.calls) >= maxCalls {
			l.calls = slices.Clone(l.calls[maxCalls/2:])
		}
		l.calls = append(l.calls, *e.Call)
	}
	l.plans = slices.DeleteFunc(l.plans, func(p Plan) bool { return p.ID == e.PlanDone })
	if len(e.Plans) > 0 {
		l.plans = append(l.plans, e.Plans...)
		l.poster.nudge()
	}
	for _, w := range e.Webhooks {
		l.webhooks = append(l.webhooks, &w)
		l.poster.add(&w)
	}
	if e.Attempt != nil {
		l.applyAttempt(*e.Attempt)
	}
	if e.Faults != nil {
		l.faults = *e.Faults
	}
	if e.Settings != nil {
		l.settings = *e.Settings
	}
}

func (l *ledger) applyPayment(p Payment) {
	l.payments = append(l.payments, &p)
	l.byBill[p.BillCode] = &p
	l.byTrade[tradeKey{p.AppKey, p.TradeUUID}] = &p
}

func (l *ledger) changedPayment(c *Change) *Payment {
	if c == nil {
		return nil
	}
	return l.byBill[c.BillCode]
}

func (l *ledger) applyForget(p *Payment) {
	delete(l.byBill, p.BillCode)
	delete(l.byTrade, tradeKey{p.AppKey, p.TradeUUID})
	l.payments = slices.DeleteFunc(l.payments, func(q *Payment) bool { return q == p })
	l.plans = slices.DeleteFunc(l.plans, func(q Plan) bool { return q.Change.BillCode == p.BillCode })
}

func (l *ledger) applyAttempt(a Attempt) {
	w := l.webhook(a.Webhook)
	if w == nil {
		return
	}
	w.State = a.State
	w.Attempts = append(w.Attempts, a)
	if a.State == WebhookPending {
		w.Due = a.Next
		return
	}
	l.poster.settle(w)
}

func (l *ledger) webhook(id string) *Webhook {
	if w := l.poster.find(id); w != nil {
		return w
	}
	for _, w := range slices.Backward(l.webhooks) {
		if w.ID == id {
			return w
		}
	}
	return nil
}

// find looks a payment up by tradeUuid, billCode or orderCode; where several
// match, the newest.
func (l *ledger) find(id string) *Payment {
	if p := l.byBill[id]; p != nil {
		return p
	}
	for _, p := range slices.Backward(l.payments) {
		if p.TradeUUID == id {
			return p
		}
	}
	for _, p := range slices.Backward(l.payments) {
		if p.OrderCode == id {
			return p
		}
	}
	return nil
}

// Snapshot is the ledger as the control API and [ReadLedger] give it.
type Snapshot struct {
	Payments []PaymentRecord `json:"payments"` // oldest first
	Calls    []Call          `json:"calls"`    // the latest, in order
	Webhooks []Webhook       `json:"webhooks"` // in order of their making
	Plans    []Plan          `json:"plans"`
	Faults   []Fault         `json:"faults"`
	Settings Settings        `json:"settings"`
}

// PaymentRecord is a payment with all that happened to it.
type PaymentRecord struct {
	Payment
	Calls    []Call    `json:"calls"`
	Webhooks []Webhook `json:"webhooks"`
	Plans    []Plan    `json:"plans"`
}

// settled reports whether nothing is on its way any more.
func (r *PaymentRecord) settled() bool {
	return len(r.Plans) == 0 && !slices.ContainsFunc(r.Webhooks, func(w Webhook) bool { return w.State == WebhookPending })
}

func (l *ledger) snapshot() Snapshot {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := Snapshot{
		Payments: make([]PaymentRecord, 0, len(l.payments)),
		Calls:    append([]Call{}, l.calls...),
		Webhooks: make([]Webhook, 0, len(l.webhooks)),
		Plans:    append([]Plan{}, l.plans...),
		Faults:   append([]Fault{}, l.faults...),
		Settings: l.settings,
	}
	at := make(map[string]int, len(l.payments))
	for i, p := range l.payments {
		at[p.BillCode] = i
		s.Payments = append(s.Payments, PaymentRecord{Payment: *p, Calls: []Call{}, Webhooks: []Webhook{}, Plans: []Plan{}})
	}
	for _, c := range l.calls {
		for _, bill := range c.BillCodes {
			if i, ok := at[bill]; ok {
				s.Payments[i].Calls = append(s.Payments[i].Calls, c)
			}
		}
	}
	for _, w := range l.webhooks {
		s.Webhooks = append(s.Webhooks, w.clone())
		if i, ok := at[w.BillCode]; ok {
			s.Payments[i].Webhooks = append(s.Payments[i].Webhooks, w.clone())
		}
	}
	for _, p := range l.plans {
		if i, ok := at[p.Change.BillCode]; ok {
			s.Payments[i].Plans = append(s.Payments[i].Plans, p)
		}
	}
	return s
}

// clone is w apart from what the ledger goes on writing.
func (w *Webhook) clone() Webhook {
	c := *w
	c.Attempts = slices.Clone(w.Attempts)
	return c
}

// payment gives the record of one payment, and a channel that closes with the
// next change of the ledger.
func (l *ledger) payment(id string) (PaymentRecord, <-chan struct{}, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.find(id)
	if p == nil {
		return PaymentRecord{}, l.changed, false
	}
	r := PaymentRecord{Payment: *p, Calls: []Call{}, Webhooks: []Webhook{}, Plans: []Plan{}}
	for _, c := range l.calls {
		if slices.Contains(c.BillCodes, p.BillCode) {
			r.Calls = append(r.Calls, c)
		}
	}
	for _, w := range l.webhooks {
		if w.BillCode == p.BillCode {
			r.Webhooks = append(r.Webhooks, w.clone())
		}
	}
	for _, plan := range l.plans {
		if plan.Change.BillCode == p.BillCode {
			r.Plans = append(r.Plans, plan)
		}
	}
	return r, l.changed, true
}
