package payment_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/payment"
)

const shopURL = "https://shop.example/notifications"

var (
	oldKey = []byte("an old key of twenty-four bytes")
	newKey = []byte("a new key of twenty-four bytes!")
)

// mailbox is the shop's end of notifications: what came, and what it answers.
type mailbox struct {
	mu       sync.Mutex
	came     []mail
	answer   func(m mail) (status int, header http.Header, err error) // nil: 204
	holdURLs map[string]chan struct{}                                 // a request to such a URL waits for it to close
}

type mail struct {
	url, id, kind, bill, status string
	at                          time.Time
	paid                        bool
	paidBill                    string
	payload                     []byte
	header                      http.Header
}

func (b *mailbox) RoundTrip(r *http.Request) (*http.Response, error) {
	payload, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	var body struct {
		Type string
		Data struct {
			ID, Status string
			Order      struct {
				Paid     bool
				PaidBill string
			}
		}
	}
	if err := json.Unmarshal(payload, &body); err != nil {
		return nil, err
	}
	m := mail{
		url: r.URL.String(), id: r.Header.Get("Webhook-Id"), kind: body.Type, bill: body.Data.ID, status: body.Data.Status, at: time.Now(),
		paid: body.Data.Order.Paid, paidBill: body.Data.Order.PaidBill, payload: payload, header: r.Header,
	}
	b.mu.Lock()
	hold, answer := b.holdURLs[m.url], b.answer
	b.came = append(b.came, m)
	b.mu.Unlock()
	if hold != nil {
		select {
		case <-hold:
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	}
	status, header := http.StatusNoContent, http.Header{}
	if answer != nil {
		if status, header, err = answer(m); err != nil {
			return nil, err
		}
	}
	return &http.Response{
		StatusCode: status, Status: fmt.Sprint(status), Header: header, Body: io.NopCloser(strings.NewReader("thanks")), Request: r,
	}, nil
}

func (b *mailbox) all() []mail {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]mail(nil), b.came...)
}

func (b *mailbox) kinds() string {
	var kinds []string
	for _, m := range b.all() {
		kinds = append(kinds, m.kind)
	}
	return strings.Join(kinds, " ")
}

func (b *mailbox) set(answer func(m mail) (int, http.Header, error)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.answer = answer
}

func status(code int) func(mail) (int, http.Header, error) {
	return func(mail) (int, http.Header, error) { return code, http.Header{}, nil }
}

var everyEnd = []bill.NotificationType{bill.BillPaid, bill.BillLatePayment, bill.BillFailed, bill.BillCanceled, bill.BillExpired}

// notified is a counter whose shop is told of every end at shopURL.
func notified(t *testing.T, test func(t *testing.T, c *counter, shop *mailbox), targets ...payment.Target) {
	t.Helper()
	notifiedWith(t, func(*payment.Config) {}, test, targets...)
}

// notifiedWith is notified with a change to the configuration.
func notifiedWith(
	t *testing.T, change func(*payment.Config), test func(t *testing.T, c *counter, shop *mailbox), targets ...payment.Target,
) {
	t.Helper()
	if targets == nil {
		targets = []payment.Target{{URL: shopURL, Secrets: [][]byte{newKey, oldKey}, Events: everyEnd}}
	}
	shop := &mailbox{holdURLs: make(map[string]chan struct{})}
	notify := func(cfg *payment.Config) {
		cfg.NotifyTransport = shop
		cfg.Notify = func(account, name string) []payment.Target {
			if account != "default" || name != "default" {
				return nil
			}
			return targets
		}
		change(cfg)
	}
	reconciledWith(t, notify, func(t *testing.T, c *counter) { test(t, c, shop) })
}

func TestAShopIsToldOfEveryEndSignedAndWithTheBillAsItStood(t *testing.T) {
	notified(t, func(t *testing.T, c *counter, shop *mailbox) {
		o := order("15000.00")
		o.Details.Metadata = `{"cart":"7"}`
		b := c.mustCreate(o, payment.OutcomeNew)
		if err := c.notify(b, "SUCCESS"); err != nil {
			t.Fatal(err)
		}
		pass(time.Second)
		came := shop.all()
		if len(came) != 1 {
			t.Fatalf("came: %s", shop.kinds())
		}
		m := came[0]
		if m.kind != "bill.paid" || m.bill != b.ID || m.status != "SUCCESS" || !m.paid || m.paidBill != b.ID {
			t.Errorf("%s", m.payload)
		}
		for _, part := range []string{`"amount":"15000.00"`, `"metadata":{"cart":"7"}`, `"order":{"paid":true,`, `"settledBy":"webhook"`} {
			if !strings.Contains(string(m.payload), part) {
				t.Errorf("no %s in %s", part, m.payload)
			}
		}
		for name, key := range map[string][]byte{"new": newKey, "old": oldKey} {
			hook, err := standardwebhooks.NewWebhookRaw(key)
			if err != nil {
				t.Fatal(err)
			}
			if err := hook.VerifyIgnoringTimestamp(m.payload, m.header); err != nil {
				t.Errorf("the %s key does not verify it: %v", name, err)
			}
			if err := hook.VerifyIgnoringTimestamp(append(m.payload, ' '), m.header); err == nil {
				t.Error("an altered one verifies")
			}
		}
		pass(24 * time.Hour)
		if n := len(shop.all()); n != 1 {
			t.Errorf("told %d times", n)
		}
	})
}

func TestOnlyTheEventsAskedForAreTold(t *testing.T) {
	created := payment.Target{URL: shopURL, Secrets: [][]byte{newKey}, Events: []bill.NotificationType{bill.BillCreated, bill.BillFailed}}
	notified(t, func(t *testing.T, c *counter, shop *mailbox) {
		b := c.mustCreate(order("1"), payment.OutcomeNew)
		pass(time.Second)
		if err := c.notify(b, "FAIL"); err != nil {
			t.Fatal(err)
		}
		pass(time.Second)
		if err := c.notify(b, "SUCCESS"); err != nil {
			t.Fatal(err)
		}
		pass(time.Minute)
		if got := shop.kinds(); got != "bill.created bill.failed" {
			t.Errorf("came: %s", got)
		}
	}, created)
}

// story 15, story 17
func TestANotificationIsTriedUntilItIsTakenUnderOneID(t *testing.T) {
	notified(t, func(t *testing.T, c *counter, shop *mailbox) {
		shop.set(status(http.StatusServiceUnavailable))
		b := c.mustCreate(order("15000"), payment.OutcomeNew)
		if err := c.notify(b, "SUCCESS"); err != nil {
			t.Fatal(err)
		}
		pass(3 * time.Hour)
		shop.set(nil)
		pass(5 * time.Hour)
		came := shop.all()
		ids, waits := make(map[string]bool), []time.Duration(nil)
		for i, m := range came {
			ids[m.id] = true
			if i > 0 {
				waits = append(waits, m.at.Sub(came[i-1].at).Round(2*time.Second))
			}
		}
		want := []time.Duration{5 * time.Second, 30 * time.Second, 2 * time.Minute, 10 * time.Minute, time.Hour, 4 * time.Hour}
		if len(ids) != 1 || len(waits) != len(want) {
			t.Fatalf("ids %v, waits %v", ids, waits)
		}
		for i := range want {
			if waits[i] < want[i] || waits[i] > want[i]+want[i]/4+2*time.Second {
				t.Errorf("waits %v, want %v", waits, want)
				break
			}
		}
	})
}

func TestEverythingButA2xxIsTriedAgain(t *testing.T) {
	for name, answer := range map[string]func(mail) (int, http.Header, error){
		"a redirect": func(mail) (int, http.Header, error) {
			return 302, http.Header{"Location": {"https://evil.example"}}, nil
		},
		"not found":       status(http.StatusNotFound),
		"gone":            status(http.StatusGone),
		"no answer":       func(mail) (int, http.Header, error) { return 0, nil, errors.New("connection reset") },
		"come back later": func(mail) (int, http.Header, error) { return 429, http.Header{"Retry-After": {"600"}}, nil },
	} {
		t.Run(name, func(t *testing.T) {
			notified(t, func(t *testing.T, c *counter, shop *mailbox) {
				shop.set(answer)
				b := c.mustCreate(order("1"), payment.OutcomeNew)
				if err := c.notify(b, "FAIL"); err != nil {
					t.Fatal(err)
				}
				pass(time.Second)
				shop.set(nil)
				pass(9 * time.Minute)
				if n, late := len(shop.all()), name == "come back later"; late != (n == 1) {
					t.Errorf("%d tries in nine minutes", n)
				}
				pass(3 * time.Minute)
				for i, m := range shop.all() {
					if i > 1 || m.url != shopURL {
						t.Errorf("try %d to %s", i, m.url)
					}
				}
			})
		})
	}
}

func TestAfterThreeDaysANotificationIsDead(t *testing.T) {
	notified(t, func(t *testing.T, c *counter, shop *mailbox) {
		shop.set(status(http.StatusInternalServerError))
		b := c.mustCreate(order("1"), payment.OutcomeNew)
		if err := c.notify(b, "SUCCESS"); err != nil {
			t.Fatal(err)
		}
		pass(77 * time.Hour)
		tries := len(shop.all())
		shop.set(nil)
		pass(12 * time.Hour)
		n, err := c.store.Notification(t.Context(), shop.all()[0].id)
		if err != nil || n.State != bill.Dead || n.Tries != tries || len(shop.all()) != tries || tries < 15 {
			t.Errorf("%s after %d tries, %d came, %v", n.State, n.Tries, len(shop.all()), err)
		}
	})
}

// story 14: a notification carries a stale status.
func TestANewerNotificationSupersedesAnOlderOneOfTheOrder(t *testing.T) {
	notified(t, func(t *testing.T, c *counter, shop *mailbox) {
		shop.set(status(http.StatusBadGateway))
		first := c.mustCreate(order("15000"), payment.OutcomeNew)
		if err := c.notify(first, "FAIL"); err != nil {
			t.Fatal(err)
		}
		pass(10 * time.Minute)
		second := c.mustCreate(order("15000"), payment.OutcomeNew)
		if err := c.notify(second, "SUCCESS"); err != nil {
			t.Fatal(err)
		}
		failed := shop.all()[0]
		shop.set(nil)
		pass(24 * time.Hour)
		last := shop.all()[len(shop.all())-1]
		if last.kind != "bill.paid" || last.bill != second.ID {
			t.Errorf("the last to come was %s", last.kind)
		}
		if n, err := c.store.Notification(t.Context(), failed.id); err != nil || n.State != bill.Superseded {
			t.Errorf("the older one is %s, %v", n.State, err)
		}
	})
}

// A bill that waits for the buyer's choice ends at once where an earlier
// attempt turns out to be paid: whoever is told of ends is told of that one.
func TestTheEndThatAPaymentBringsToAnUnchosenBillIsToldToo(t *testing.T) {
	const cancelsURL = "https://shop.example/cancels"
	targets := []payment.Target{
		{URL: shopURL, Secrets: [][]byte{newKey}, Events: everyEnd},
		{URL: cancelsURL, Secrets: [][]byte{newKey}, Events: []bill.NotificationType{bill.BillCanceled}},
	}
	notified(t, func(t *testing.T, c *counter, shop *mailbox) {
		first := c.mustCreate(order("15000"), payment.OutcomeNew)
		if err := c.notify(first, "FAIL"); err != nil {
			t.Fatal(err)
		}
		pass(time.Second)
		unchosen := order("15000")
		unchosen.PayChannel = ""
		second := c.mustCreate(unchosen, payment.OutcomeNew)
		if err := c.notify(first, "SUCCESS"); err != nil {
			t.Fatal(err)
		}
		pass(time.Minute)
		c.wantStatus(second.ID, bill.Canceled)
		told := make(map[string]string)
		for _, m := range shop.all() {
			told[m.url] += m.kind + " "
			if m.kind == "bill.canceled" && (m.bill != second.ID || m.paidBill != first.ID) {
				t.Errorf("%s", m.payload)
			}
		}
		if told[shopURL] != "bill.failed bill.late_payment " || told[cancelsURL] != "bill.canceled " {
			t.Errorf("came: %v", told)
		}
	}, targets...)
}

func TestANewerNotificationNeverOvertakesADeliveryUnderWay(t *testing.T) {
	notified(t, func(t *testing.T, c *counter, shop *mailbox) {
		hold := make(chan struct{})
		shop.mu.Lock()
		shop.holdURLs[shopURL] = hold
		shop.mu.Unlock()
		b := c.mustCreate(order("15000"), payment.OutcomeNew)
		if err := c.notify(b, "FAIL"); err != nil {
			t.Fatal(err)
		}
		pass(time.Second)
		if err := c.notify(b, "SUCCESS"); err != nil {
			t.Fatal(err)
		}
		pass(5 * time.Second)
		if got := shop.kinds(); got != "bill.failed" {
			t.Errorf("beside the one under way came: %s", got)
		}
		close(hold)
		pass(2 * time.Second)
		if got := shop.kinds(); got != "bill.failed bill.late_payment" {
			t.Errorf("came: %s", got)
		}
	})
}

// readsLate is a store whose notifications, while it is held, arrive once they
// are let go.
type readsLate struct {
	bill.Store

	held *atomic.Pointer[chan struct{}]
}

func (s readsLate) Notification(ctx context.Context, id string) (bill.Notification, error) {
	n, err := s.Store.Notification(ctx, id)
	if hold := s.held.Load(); hold != nil {
		<-*hold
	}
	return n, err
}

func TestANotificationDeliveredWhileItIsReadIsNotSentAgain(t *testing.T) {
	shop := &mailbox{}
	var held atomic.Pointer[chan struct{}]
	reconciledWith(t, func(cfg *payment.Config) {
		cfg.NotifyTransport = shop
		cfg.Notify = func(string, string) []payment.Target {
			return []payment.Target{{URL: shopURL, Secrets: [][]byte{newKey}, Events: everyEnd}}
		}
		lease := cfg.Store
		cfg.Store = func(ctx context.Context) (bill.Store, func(), error) {
			store, release, err := lease(ctx)
			return readsLate{store, &held}, release, err
		}
	}, func(t *testing.T, c *counter) {
		taking := make(chan struct{})
		shop.mu.Lock()
		shop.holdURLs = map[string]chan struct{}{shopURL: taking}
		shop.mu.Unlock()
		b := c.mustCreate(order("15000"), payment.OutcomeNew)
		if err := c.notify(b, "SUCCESS"); err != nil {
			t.Fatal(err)
		}
		pass(500 * time.Millisecond) // its delivery is under way
		hold := make(chan struct{})
		held.Store(&hold)
		pass(time.Second) // it was read as pending once more
		close(taking)
		synctest.Wait() // the shop has taken it
		held.Store(nil)
		close(hold)
		pass(time.Minute)
		if n := len(shop.all()); n != 1 {
			t.Errorf("delivered %d times", n)
		}
	})
}

// story 16
func TestADeadShopHoldsUpNeitherOtherOrdersNorOtherURLs(t *testing.T) {
	const deadURL = "https://dead.example/"
	targets := []payment.Target{
		{URL: deadURL, Secrets: [][]byte{newKey}, Events: everyEnd},
		{URL: shopURL, Secrets: [][]byte{newKey}, Events: everyEnd},
	}
	notified(t, func(t *testing.T, c *counter, shop *mailbox) {
		shop.mu.Lock()
		shop.holdURLs[deadURL] = make(chan struct{}) // never answers
		shop.mu.Unlock()
		for i := range 60 {
			o := order("1")
			o.OrderCode = fmt.Sprint(i)
			b := c.mustCreate(o, payment.OutcomeNew)
			if err := c.notify(b, "SUCCESS"); err != nil {
				t.Fatal(err)
			}
		}
		pass(10 * time.Second)
		waiting := 0
		for _, m := range shop.all() {
			if m.url == deadURL {
				waiting++
			}
		}
		if waiting > 8 {
			t.Errorf("%d deliveries wait for the dead one at once", waiting)
		}
		pass(2 * time.Minute)
		taken := make(map[string]bool)
		for _, m := range shop.all() {
			if m.url == shopURL {
				taken[m.bill] = true
			}
		}
		if len(taken) != 60 {
			t.Errorf("%d of 60 orders were told", len(taken))
		}
	}, targets...)
}

func TestANotificationKnowsWhenItsBillWasCreated(t *testing.T) {
	notified(t, func(t *testing.T, c *counter, shop *mailbox) {
		shop.set(status(http.StatusInternalServerError))
		b := c.mustCreate(order("1"), payment.OutcomeNew)
		pass(time.Hour)
		c.ends(b, "SUCCESS")
		told, err := c.store.Notifications(t.Context(), b.ID)
		if err != nil || len(told) == 0 {
			t.Fatalf("%d notifications, %v", len(told), err)
		}
		for _, n := range told {
			if !n.BillCreatedAt.Equal(c.bill(b.ID).CreatedAt) {
				t.Errorf("%s stands with a bill of %v", n.Type, n.BillCreatedAt)
			}
		}
		untold, _, err := c.store.List(t.Context(), bill.Query{Untold: true, Limit: 10})
		if err != nil || len(untold) != 1 || untold[0].ID != b.ID {
			t.Errorf("untold: %v, %v", untold, err)
		}
	})
}
