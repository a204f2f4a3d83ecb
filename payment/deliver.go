package payment

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

// How a notification is delivered. A URL that does not answer 2xx is tried
// again after growing waits, the last of them over and over, until it is given
// up.
const (
	deliverEvery   = time.Second // between two looks at what is due
	deliverBatch   = 500         // looked at once
	deliverTimeout = 15 * time.Second
	deliverPerURL  = 8 // at once by one process, so that a slow URL holds up no other
	deliverFor     = 3 * 24 * time.Hour
	longestRetry   = 24 * time.Hour // what a Retry-After may ask for
	busyWait       = 5 * time.Second
)

var deliverWaits = []time.Duration{5 * time.Second, 30 * time.Second, 2 * time.Minute, 10 * time.Minute, time.Hour, 4 * time.Hour}

// deliverer sends what is due to the shops' URLs. All it knows besides what is
// stored is which deliveries of its own are under way: one at a time for each
// URL and order, a few for each URL. Those of other processes are leased to them,
// as its own are to it: each pass extends that, and a delivery ends before the
// lease of one that was superseded, which no pass extends.
type deliverer struct {
	engine *Engine
	lessee *lessee
	client *http.Client

	mu       sync.Mutex
	byURL    map[string]int
	underWay map[delivery]bool
	running  sync.WaitGroup
}

// delivery is what must not overtake itself.
type delivery struct {
	url   string
	order bill.OrderKey
}

// deliver runs until ctx ends, and then waits for what it has begun.
func (e *Engine) deliver(ctx context.Context, l *lessee) {
	d := &deliverer{
		engine: e, lessee: l, byURL: make(map[string]int), underWay: make(map[delivery]bool),
		client: &http.Client{
			Transport:     e.cfg.NotifyTransport,
			Timeout:       deliverTimeout,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
	if d.client.Transport == nil {
		d.client.Transport = &http.Transport{Proxy: http.ProxyFromEnvironment, MaxConnsPerHost: deliverPerURL, IdleConnTimeout: time.Minute}
	}
	defer d.client.CloseIdleConnections()
	defer d.running.Wait()
	tick := time.NewTicker(deliverEvery)
	defer tick.Stop()
	for {
		if err := d.pass(ctx); err != nil && ctx.Err() == nil {
			e.cfg.Logger.Warn("notifications put off", zap.Error(err))
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-e.posted:
		}
	}
}

// pass begins the deliveries that are due. Each has a lease of the store of its
// own.
func (d *deliverer) pass(ctx context.Context) error {
	store, release, err := d.engine.cfg.Store(ctx)
	if err != nil {
		return err
	}
	defer release()
	begin, cancel := context.WithTimeout(ctx, beginWithin)
	defer cancel()
	ids, err := d.lessee.notifications(ctx, store, d.engine.now(), deliverBatch)
	if err != nil {
		return err
	}
	for _, id := range ids {
		if begin.Err() != nil {
			break
		}
		n, err := store.Notification(ctx, id)
		if err != nil && !isNotFound(err) {
			return err
		}
		if err == nil {
			d.see(ctx, store, n)
		}
	}
	return nil
}

// see begins the delivery of n, where it can be begun now.
func (d *deliverer) see(ctx context.Context, store bill.Store, n bill.Notification) {
	switch d.begin(n) {
	case begun:
		// Read before it was begun, it may have been delivered since.
		now, err := store.Notification(ctx, n.ID)
		if err == nil && now.State == bill.Pending && !d.leftToOthers(store, now) {
			d.running.Go(func() { d.one(ctx, now) })
			return
		}
		d.end(n)
		d.leave(ctx, store, n.ID)
	case urlIsBusy:
		if n.State != bill.Pending {
			d.leave(ctx, store, n.ID)
			return
		}
		n.Due = d.engine.now().Add(busyWait) // so that others are seen behind it
		d.keep(ctx, store, n)
	case alreadyUnderWay: // also one that was superseded: it keeps its lease
	}
}

// leftToOthers reports whether n goes to a URL that is not configured here and
// may be elsewhere.
func (d *deliverer) leftToOthers(store bill.Store, n bill.Notification) bool {
	_, configured := d.engine.secretsOf(n)
	return !configured && d.engine.othersMay(store, n.Due)
}

// leave ends the lease of a notification that is not being delivered: what
// supersedes it may be waiting for that.
func (d *deliverer) leave(ctx context.Context, store bill.Store, id string) {
	if err := d.lessee.leaveNotification(ctx, store, id); err != nil {
		d.engine.cfg.Logger.Warn("notification not left to others", zap.String("notification", id), zap.Error(err))
	}
}

type beginning int

const (
	begun beginning = iota
	urlIsBusy
	alreadyUnderWay
)

func (d *deliverer) begin(n bill.Notification) beginning {
	d.mu.Lock()
	defer d.mu.Unlock()
	key := delivery{n.URL, n.OrderKey()}
	switch {
	case d.underWay[key]:
		return alreadyUnderWay
	case d.byURL[n.URL] >= deliverPerURL:
		return urlIsBusy
	}
	d.underWay[key] = true
	d.byURL[n.URL]++
	return begun
}

func (d *deliverer) end(n bill.Notification) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.underWay, delivery{n.URL, n.OrderKey()})
	if d.byURL[n.URL]--; d.byURL[n.URL] == 0 {
		delete(d.byURL, n.URL)
	}
}

// one tries to deliver n and stores how that went. What was superseded in the
// meantime stays so: its revision has moved.
func (d *deliverer) one(ctx context.Context, n bill.Notification) {
	defer d.end(n)
	begun := d.engine.now()
	r, err := d.tracedPost(ctx, n)
	if ctx.Err() != nil && err != nil {
		return // other workers try it: it is still due, and Run gives it back
	}
	now := d.engine.now()
	n = n.Tried(bill.Try{At: now, Took: int64(now.Sub(begun)), Status: r.status, Error: wordsOf(err)})
	n.Tries++
	n.TriedAt = now
	switch {
	case err == nil:
		n.State, n.Due, n.LastError = bill.Delivered, time.Time{}, ""
	case now.Sub(latest(n.CreatedAt, n.RedeliveredAt)) >= deliverFor:
		n.State, n.Due, n.LastError = bill.Dead, time.Time{}, wordsOf(err)
		d.engine.cfg.Logger.Error("notification given up", zap.String("notification", n.ID), zap.String("bill", n.Bill), zap.Error(err))
	default:
		n.Due, n.LastError = now.Add(d.engine.retryAfter(n.Tries, r.again)), wordsOf(err)
		d.engine.cfg.Logger.Warn("notification not taken", zap.String("notification", n.ID), zap.String("bill", n.Bill), zap.Int("tries", n.Tries), zap.Error(err))
	}
	d.engine.cfg.Metrics.Notified(n.Account, notifyOutcome(n), now.Sub(begun))
	lasting := context.WithoutCancel(ctx)
	store, release, err := d.engine.cfg.Store(lasting)
	if err != nil {
		return // at least once: it is still due
	}
	defer release()
	d.keep(lasting, store, n)
}

// retryAfter is the wait after so many tries, lengthened by some jitter, and by
// what the URL asked for.
func (e *Engine) retryAfter(tries int, asked time.Duration) time.Duration {
	wait := deliverWaits[min(tries, len(deliverWaits))-1]
	wait += time.Duration(e.cfg.Rand(int64(wait)/jitter + 1))
	return max(wait, min(asked, longestRetry))
}

// keep stores n. One that was superseded meanwhile holds up what did so no
// longer.
func (d *deliverer) keep(ctx context.Context, store bill.Store, n bill.Notification) {
	n.Revision++
	err := d.engine.commit(ctx, store, bill.Change{Notifications: []bill.Notification{n}})
	switch {
	case errors.Is(err, bill.ErrConflict):
		d.leave(ctx, store, n.ID)
	case err != nil:
		d.engine.cfg.Logger.Warn("store notification", zap.String("notification", n.ID), zap.Error(err))
	}
}

// reply is a URL's answer to a notification.
type reply struct {
	status int           // 0: there was none
	again  time.Duration // what its Retry-After asks for
}

// wordsOf are an error's, as far as they are kept; "" where there is none.
func wordsOf(err error) string {
	if err == nil {
		return ""
	}
	return cut(err.Error())
}

// tracedPost is post with a span.
func (d *deliverer) tracedPost(ctx context.Context, n bill.Notification) (reply, error) {
	ctx, span := d.engine.span(ctx, trace.SpanKindClient, "qlink notification", attribute.String("qlink.bill", n.Bill),
		attribute.String("qlink.notification", n.ID), attribute.String("qlink.type", string(n.Type)))
	r, err := d.post(ctx, n)
	if err != nil {
		endSpan(span, string(NotifyFailed), true)
		return r, err
	}
	endSpan(span, string(NotifyDelivered), false)
	return r, nil
}

// post sends n once. A nil error is a 2xx.
func (d *deliverer) post(ctx context.Context, n bill.Notification) (reply, error) {
	secrets, ok := d.engine.secretsOf(n)
	if !ok {
		return reply{}, errors.New("its URL is not configured any more")
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, n.URL, bytes.NewReader([]byte(n.Payload)))
	if err != nil {
		return reply{}, err
	}
	now := d.engine.now()
	signatures, err := signAll(secrets, n, now)
	if err != nil {
		return reply{}, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "caddy-qlink")
	req.Header.Set(standardwebhooks.HeaderWebhookID, n.ID)
	req.Header.Set(standardwebhooks.HeaderWebhookTimestamp, strconv.FormatInt(now.Unix(), 10))
	req.Header.Set(standardwebhooks.HeaderWebhookSignature, signatures)
	resp, err := d.client.Do(req)
	if err != nil {
		return reply{}, err
	}
	defer resp.Body.Close()
	_, _ = io.CopyN(io.Discard, resp.Body, maxReply) // so that the connection can be used again
	if resp.StatusCode < http.StatusOK || resp.StatusCode >= http.StatusMultipleChoices {
		return reply{resp.StatusCode, retryAfterOf(resp, now)}, fmt.Errorf("answered %s", resp.Status)
	}
	return reply{status: resp.StatusCode}, nil
}

// maxReply is what is read of a shop's reply, in bytes; nobody looks at it.
const maxReply = 64 << 10

// secretsOf returns the keys of the target that n was made for.
func (e *Engine) secretsOf(n bill.Notification) ([][]byte, bool) {
	if e.cfg.Notify == nil {
		return nil, false
	}
	for _, target := range e.cfg.Notify(n.Account, n.Shop) {
		if target.URL == n.URL {
			return target.Secrets, true
		}
	}
	return nil, false
}

// signAll signs with every key, space between, as Standard Webhooks has it for
// keys that are being rotated.
func signAll(secrets [][]byte, n bill.Notification, at time.Time) (string, error) {
	signatures := make([]string, 0, len(secrets))
	for _, secret := range secrets {
		hook, err := standardwebhooks.NewWebhookRaw(secret)
		if err != nil {
			return "", err
		}
		signature, err := hook.Sign(n.ID, at, []byte(n.Payload))
		if err != nil {
			return "", err
		}
		signatures = append(signatures, signature)
	}
	return strings.Join(signatures, " "), nil
}

// retryAfterOf reads a Retry-After in either of its forms (RFC 9110, section
// 10.2.3).
func retryAfterOf(resp *http.Response, now time.Time) time.Duration {
	value := resp.Header.Get("Retry-After")
	if seconds, err := strconv.ParseUint(value, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(value); err == nil {
		return max(at.Sub(now), 0)
	}
	return 0
}
