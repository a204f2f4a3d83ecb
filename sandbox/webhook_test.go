package sandbox

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-qlink/caddy-qlink/qlink"
)

func TestWebhooksAreSignedNotificationsOfTheDocument(t *testing.T) {
	for _, mode := range []qlink.ContentMode{qlink.ContentString, qlink.ContentObject} {
		rec := newReceiver(t, takes)
		g := newGateway(t, &Sandbox{Name: t.Name() + string(mode), Webhook: rec.URL, SignatureContent: string(mode)})
		body := order("u1", "O1<&>")
		h := credentials(body)
		h.Set("sign", qlink.Sign(mode, defaultAppKey, defaultAppSecret, []byte(body)))
		if r, err := g.do(http.MethodPost, "/sandbox/pay/apply", body, h); err != nil || r.status != http.StatusOK {
			t.Fatal(r, err)
		}
		g.control(http.MethodPost, "/payments/u1/fail", `{"errorCode":"NO_FUNDS"}`, http.StatusOK)
		n, got := rec.next(t)
		if n.TradeUUID != "u1" || n.OrderCode != "O1<&>" || n.BillCode == "" || n.PaymentRequestID == "" || n.Status != StatusFail || n.ErrorCode != "NO_FUNDS" {
			t.Errorf("%+v", n)
		}
		if err := qlink.Verify(mode, got.header.Get("appKey"), []string{defaultAppSecret}, got.body, got.header.Get("sign")); err != nil {
			t.Errorf("%s: %v", mode, err)
		}
		if got.header.Get("Content-Type") != "application/json" {
			t.Error(got.header)
		}
		if record := g.settled("u1"); record.Webhooks[0].State != WebhookDelivered || record.Webhooks[0].Attempts[0].HTTPStatus != 200 {
			t.Errorf("%+v", record.Webhooks)
		}
	}
}

func TestAnUntakenWebhookIsTriedAgainAndThenGivenUp(t *testing.T) {
	answers := []struct {
		status int
		text   string
	}{{500, ""}, {302, ""}, {200, `{"success":false,"message":"later"}`}, {200, `{"success":true}`}}
	for tries, want := range map[string]WebhookState{"4": WebhookDelivered, "3": WebhookDead} {
		rec := newReceiver(t, func(n int, _ received) (int, string) { return answers[n].status, answers[n].text })
		g := newGateway(t, &Sandbox{Name: t.Name() + tries, Webhook: rec.URL, WebhookTries: tries, WebhookRetry: "1ms"})
		g.apply("u1", "O1")
		g.control(http.MethodPost, "/payments/u1/pay", "", http.StatusOK)
		w := g.settled("u1").Webhooks[0]
		if w.State != want || len(w.Attempts) != int(tries[0]-'0') {
			t.Errorf("%s tries: %s, %+v", tries, w.State, w.Attempts)
		}
	}
}

func TestRetryWaitsGrowUpToAMinute(t *testing.T) {
	var waits []float64
	for made := 1; made <= 8; made++ {
		waits = append(waits, retryWait(time.Second, made).Seconds())
	}
	if want := []float64{1, 2, 4, 8, 16, 32, 60, 60}; !slices.Equal(waits, want) {
		t.Errorf("%v", waits)
	}
}

func TestWebhooksOfOnePaymentComeInOrderAndDelayNoOther(t *testing.T) {
	// story 16: u1's endpoint answers its first webhook only when u2's has come
	other, order := make(chan struct{}), make(chan string, 3)
	rec := newReceiver(t, func(n int, r received) (int, string) {
		switch body := string(r.body); {
		case strings.Contains(body, `"u2"`):
			order <- "u2 SUCCESS"
			close(other)
		case strings.Contains(body, string(StatusFail)):
			<-other
			order <- "u1 FAIL"
		default:
			order <- "u1 SUCCESS"
		}
		return takes(n, r)
	})
	g := newGateway(t, &Sandbox{Webhook: rec.URL})
	g.apply("u1", "O1")
	g.apply("u2", "O2")
	for _, path := range []string{"u1/fail", "u1/pay", "u2/pay"} {
		g.control(http.MethodPost, "/payments/"+path, "", http.StatusOK)
	}
	g.settled("u1")
	for _, want := range []string{"u2 SUCCESS", "u1 FAIL", "u1 SUCCESS"} {
		if got := <-order; got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

func TestWebhookModesLoseDuplicateReorderAndDelay(t *testing.T) {
	rec := newReceiver(t, takes)
	g := newGateway(t, &Sandbox{Webhook: rec.URL})
	mode := func(settings string) { g.control(http.MethodPost, "/settings", settings, http.StatusOK) }
	decide := func(path string) { g.control(http.MethodPost, "/payments/"+path, "", http.StatusOK) }
	for _, u := range []string{"u1", "u2", "u3", "u4", "u5"} {
		g.apply(u, "O-"+u)
	}

	mode(`{"webhooks":"lose"}`)
	decide("u1/pay")
	if w := g.settled("u1").Webhooks; len(w) != 1 || w[0].State != WebhookLost {
		t.Errorf("lose: %+v", w)
	}

	mode(`{"webhooks":"duplicate"}`)
	decide("u2/pay")
	if w := g.settled("u2").Webhooks; len(w) != 2 || w[0].Body != w[1].Body {
		t.Errorf("duplicate: %+v", w)
	}
	rec.statuses(t, 2)

	mode(`{"webhooks":"reorder","webhookDelay":"1h"}`)
	decide("u3/fail")
	decide("u3/pay")
	g.settled("u3")
	// story 9
	if got := rec.statuses(t, 2); !slices.Equal(got, []Status{StatusSuccess, StatusFail}) {
		t.Errorf("reorder: %v", got)
	}

	mode(`{"webhooks":"reorder","webhookDelay":"1ms"}`)
	decide("u4/pay") // nothing follows it, so it is let go
	g.settled("u4")
	rec.statuses(t, 1)

	mode(`{"webhooks":"delay","webhookDelay":"1h"}`)
	decide("u5/pay")
	var record PaymentRecord
	g.control(http.MethodGet, "/payments/u5", "", http.StatusOK).into(t, &record)
	if w := record.Webhooks[0]; w.State != WebhookPending || time.Until(w.Due) < 50*time.Minute {
		t.Errorf("delay: %+v", w)
	}
}

func TestAskedForWebhooksCanBeWrong(t *testing.T) {
	rec := newReceiver(t, takes)
	g := newGateway(t, &Sandbox{Webhook: rec.URL})
	g.apply("u1", "O1")
	verify := func(got received) error {
		return qlink.Verify(qlink.ContentString, defaultAppKey, []string{defaultAppSecret}, got.body, got.header.Get("sign"))
	}
	g.control(http.MethodPost, "/payments/O1/webhook", `{"duplicate":1,"status":"REFUNDING","delay":"1ms"}`, http.StatusOK)
	for range 2 {
		if n, got := rec.next(t); n.Status != "REFUNDING" || verify(got) != nil {
			t.Errorf("%s", got.body)
		}
	}
	g.control(http.MethodPost, "/payments/O1/webhook", `{"wrongSign":true}`, http.StatusOK)
	if _, got := rec.next(t); verify(got) == nil {
		t.Error("the sign is right")
	}
	// story 26
	g.control(http.MethodPost, "/payments/O1/webhook", `{"body":"{\"payAccount\":\"account1\"}"}`, http.StatusOK)
	if _, got := rec.next(t); string(got.body) != `{"payAccount":"account1"}` || verify(got) != nil {
		t.Errorf("%s", got.body)
	}
}

func TestEachAppIsToldAtItsOwnURL(t *testing.T) {
	own, shared := newReceiver(t, takes), newReceiver(t, takes)
	g := newGateway(t, &Sandbox{Webhook: shared.URL, Apps: []App{{Key: defaultAppKey, Secret: defaultAppSecret, Webhook: own.URL}}})
	g.apply("u1", "O1")
	g.control(http.MethodPost, "/payments/u1/pay", "", http.StatusOK)
	g.settled("u1")
	if len(own.got) != 1 || len(shared.got) != 0 {
		t.Errorf("own %d, shared %d", len(own.got), len(shared.got))
	}
}
