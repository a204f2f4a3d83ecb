package sandbox

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/go-json-experiment/json"
	"go.uber.org/zap"

	"github.com/caddy-qlink/caddy-qlink/qlink"
)

const (
	maxInFlight      = 32               // webhooks posted at the same time
	postTimeout      = 10 * time.Second // for one of them
	maxRetryWait     = time.Minute
	maxWebhookAnswer = 4 << 10         // how much of an answer is kept
	defaultHold      = 5 * time.Second // of the webhook modes delay and reorder
)

// notification is the body of /payNotification (document, section 8).
type notification struct {
	TradeUUID        string `json:"tradeUuid"`
	BillCode         string `json:"billCode"`
	OrderCode        string `json:"orderCode"`
	PaymentRequestID string `json:"paymentRequestId"`
	Status           Status `json:"status"`
	PayTime          string `json:"payTime"`
	ErrorCode        string `json:"errorCode"`
}

// notice makes the notifications of a change: one, or none where the app has no
// webhook or is no longer configured.
func (s *Sandbox) notice(p *Payment, c Change) []Webhook {
	body, err := json.Marshal(notification{
		TradeUUID: p.TradeUUID, BillCode: p.BillCode, OrderCode: p.OrderCode, PaymentRequestID: p.PaymentRequestID,
		Status: c.Status, PayTime: c.PayTime, ErrorCode: c.ErrorCode,
	})
	if err != nil {
		return nil // strings alone, all of them valid: they came out of strict JSON
	}
	return s.signed(p, string(body))
}

// signed makes a notification of a body as it is.
func (s *Sandbox) signed(p *Payment, body string) []Webhook {
	merchant := s.conf.app(p.AppKey)
	if merchant == nil {
		return nil
	}
	url := cmp.Or(merchant.webhook, s.conf.webhook)
	if url == "" {
		return nil
	}
	return []Webhook{{
		ID: "wh-" + rand.Text(), BillCode: p.BillCode, URL: url, AppKey: p.AppKey, Body: body,
		Sign:  qlink.Sign(s.conf.content, merchant.key, merchant.secret, []byte(body)),
		Delay: Duration(s.conf.webhookDelay), Tries: s.conf.webhookTries, Retry: Duration(s.conf.webhookRetry),
		State: WebhookPending,
	}}
}

// queue adds notifications to the entry, in the way the webhook mode says.
func (t *tx) queue(webhooks []Webhook) {
	hold := cmp.Or(time.Duration(t.settings.WebhookDelay), defaultHold)
	for _, w := range webhooks {
		w.Due = t.now.Add(time.Duration(w.Delay))
		switch t.settings.Webhooks {
		case WebhooksLose:
			w.State = WebhookLost
		case WebhooksDelay:
			w.Due = w.Due.Add(hold)
		case WebhooksReorder:
			if w.Unordered = true; !t.poster.holding() {
				w.Held, w.Due = true, w.Due.Add(hold)
			}
		case WebhooksDuplicate:
			t.entry.Webhooks = append(t.entry.Webhooks, w)
			w.ID = "wh-" + rand.Text()
		case WebhooksNormal, "":
		}
		t.entry.Webhooks = append(t.entry.Webhooks, w)
	}
}

// poster posts a ledger's webhooks: those of one payment in order, a dead
// receiver of one payment's without delaying any other's. All but client is
// guarded by the ledger's lock.
type poster struct {
	client   *http.Client
	wake     chan struct{}
	pending  []*Webhook // in order of their making
	inFlight map[string]bool
}

func newPoster() poster {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = maxInFlight
	return poster{
		client: &http.Client{
			Transport:     transport,
			Timeout:       postTimeout,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		wake:     make(chan struct{}, 1),
		inFlight: make(map[string]bool),
	}
}

func (p *poster) close() { p.client.CloseIdleConnections() }

// nudge has the worker look again.
func (p *poster) nudge() {
	select {
	case p.wake <- struct{}{}:
	default: // it is going to
	}
}

func (p *poster) add(w *Webhook) {
	if w.State == WebhookPending {
		p.pending = append(p.pending, w)
		p.nudge()
	}
}

func (p *poster) find(id string) *Webhook {
	if i := slices.IndexFunc(p.pending, func(w *Webhook) bool { return w.ID == id }); i >= 0 {
		return p.pending[i]
	}
	return nil
}

// holding reports whether a webhook is being held back for a later one.
func (p *poster) holding() bool {
	return slices.ContainsFunc(p.pending, func(w *Webhook) bool { return w.Held })
}

// settle takes out a webhook that is through, and lets go of those held back
// for it.
func (p *poster) settle(w *Webhook) {
	i := slices.Index(p.pending, w)
	if i < 0 {
		return
	}
	for _, earlier := range p.pending[:i] {
		if earlier.Held {
			earlier.Held, earlier.Due = false, w.Attempts[len(w.Attempts)-1].Time
		}
	}
	p.pending = slices.Delete(p.pending, i, i+1)
}

// ready marks what can be posted now as in flight and returns copies; next is
// when something else will be due, zero for never.
func (p *poster) ready(now time.Time) (due []Webhook, next time.Time) {
	blocked := make(map[string]bool)
	for _, w := range p.pending {
		if blocked[w.BillCode] && !w.Unordered {
			continue
		}
		blocked[w.BillCode] = blocked[w.BillCode] || !w.Unordered
		switch {
		case p.inFlight[w.ID]:
		case w.Due.After(now):
			next = earlier(next, w.Due)
		case len(p.inFlight) < maxInFlight:
			p.inFlight[w.ID] = true
			due = append(due, w.clone())
		}
	}
	return due, next
}

// earlier of two times, where zero is never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || (!b.IsZero() && b.Before(a)) {
		return b
	}
	return a
}

// work carries out plans and posts webhooks until ctx ends.
func (l *ledger) work(ctx context.Context) {
	defer close(l.done)
	var posts sync.WaitGroup
	defer posts.Wait()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.poster.wake:
		case <-timer.C:
		}
		timer.Stop()
		next, err := l.round(ctx, &posts)
		switch {
		case err != nil:
			// The ledger takes nothing any more, so nothing may be posted that
			// it could not remember.
			logger().Error("the sandbox's webhooks stop", zap.Error(err))
			return
		case !next.IsZero():
			timer.Reset(time.Until(next))
		}
	}
}

// round does what is due and returns when something else will be.
func (l *ledger) round(ctx context.Context, posts *sync.WaitGroup) (time.Time, error) {
	if err := l.carryOutPlans(); err != nil {
		return time.Time{}, err
	}
	l.mu.Lock()
	due, next := l.poster.ready(time.Now())
	for _, p := range l.plans {
		next = earlier(next, p.Due)
	}
	seq := l.seq
	l.mu.Unlock()
	if len(due) == 0 {
		return next, nil
	}
	// What the receiver is told must be on disk before: it may ask back.
	if err := l.sync(seq); err != nil {
		return time.Time{}, err
	}
	for _, w := range due {
		posts.Go(func() { l.post(ctx, w) })
	}
	return next, nil
}

// carryOutPlans makes the changes that have come due.
func (l *ledger) carryOutPlans() error {
	for {
		more := false
		err := l.commit(func(t *tx) error {
			i := slices.IndexFunc(t.plans, func(p Plan) bool { return !p.Due.After(t.now) })
			if more = i >= 0; more {
				t.carryOut(t.plans[i])
			}
			return nil
		})
		if err != nil || !more {
			return err
		}
	}
}

// carryOut makes a planned change, unless the payment has ended otherwise.
func (t *tx) carryOut(p Plan) {
	t.entry.PlanDone = p.ID
	payment := t.byBill[p.Change.BillCode]
	if payment == nil || (!payment.open() && !p.Late) {
		return
	}
	t.entry.Change = &p.Change
	t.queue(p.Webhooks)
}

// post tries once and records what came of it. A try that the ledger's closing
// cuts short is not recorded: the webhook stays pending and is posted again
// after the next opening.
func (l *ledger) post(ctx context.Context, w Webhook) {
	a := l.poster.send(ctx, w)
	if ctx.Err() != nil {
		return
	}
	a.State = WebhookDelivered
	if a.Error != "" {
		a.State = WebhookDead
		if made := len(w.Attempts) + 1; made < w.Tries {
			a.State, a.Next = WebhookPending, a.Time.Add(retryWait(time.Duration(w.Retry), made))
		}
	}
	if err := l.commit(func(t *tx) error {
		t.entry.Attempt = &a
		return nil
	}); err != nil {
		return // still in flight, hence never again: work reports the ledger
	}
	l.mu.Lock()
	delete(l.poster.inFlight, w.ID)
	l.mu.Unlock()
	l.poster.nudge()
	if a.State != WebhookDelivered {
		logger().Warn("a webhook was not taken", zap.String("url", w.URL), zap.String("bill_code", w.BillCode),
			zap.Int("try", len(w.Attempts)+1), zap.String("error", a.Error), zap.String("state", string(a.State)))
	}
}

// retryWait is the wait after so many tries.
func retryWait(first time.Duration, made int) time.Duration {
	wait := first
	for range made - 1 {
		if wait *= 2; wait > maxRetryWait {
			break
		}
	}
	return min(wait, maxRetryWait)
}

// send posts w. An empty Error means a 2xx that does not say success:false.
func (p *poster) send(ctx context.Context, w Webhook) Attempt {
	a := Attempt{Webhook: w.ID, Time: time.Now().UTC()}
	status, answer, err := p.do(ctx, w)
	a.HTTPStatus, a.Answer = status, strings.ToValidUTF8(string(answer), "\uFFFD")
	switch {
	case err != nil:
		a.Error = strings.ToValidUTF8(err.Error(), "\uFFFD")
	case status/100 != 2:
		a.Error = fmt.Sprintf("answered %d", status)
	case saysNo(answer):
		a.Error = "answered success:false"
	}
	return a
}

func (p *poster) do(ctx context.Context, w Webhook) (int, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.URL, strings.NewReader(w.Body))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "qlink-sandbox")
	req.Header.Set("appKey", w.AppKey)
	req.Header.Set("sign", w.Sign)
	res, err := p.client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	answer, err := io.ReadAll(io.LimitReader(res.Body, maxWebhookAnswer))
	return res.StatusCode, answer, errors.Join(err, res.Body.Close())
}

// saysNo reports whether an answer says success:false.
func saysNo(answer []byte) bool {
	var a struct {
		Success *bool `json:"success"`
	}
	return json.Unmarshal(answer, &a) == nil && a.Success != nil && !*a.Success
}

// logger is fetched per use: a ledger outlives the configuration it began in.
func logger() *zap.Logger { return caddy.Log().Named("http.handlers.qlink_sandbox") }
