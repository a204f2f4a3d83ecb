package handlers_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/handlers"
	"github.com/caddy-qlink/caddy-qlink/payment"
)

const goodOrder = `{"orderCode":"O1","amount":"15000"}`

const payURL = "https://shop.example/qlink/pay/" + billID

// outcomes is the contract's table "Answer to the buyer".
var outcomes = []struct {
	name       string
	ready      error
	created    payment.Created
	err        error
	status     int
	code       string
	retryAfter bool
	withBill   bool
	html       int
	notCharged bool
}{
	{name: "a new bill", created: payment.Created{Bill: waitingBill(), Outcome: payment.OutcomeNew}, status: 201, html: 303},
	{name: "a bill to be chosen", created: payment.Created{Bill: billIn(bill.Choose), Outcome: payment.OutcomeNew}, status: 201, html: 303},
	{name: "a bill that existed", created: payment.Created{Bill: waitingBill(), Outcome: payment.OutcomeExisting}, status: 200, html: 303},
	{name: "a paid bill", created: payment.Created{Bill: billIn(bill.Success), Outcome: payment.OutcomeExisting}, status: 200, html: 303},
	{name: "an unknown outcome", created: payment.Created{Bill: billIn(bill.Created), Outcome: payment.OutcomeUnknown}, status: 202, html: 303},
	{name: "a refusal by the gateway", created: payment.Created{Bill: billIn(bill.Fail), Outcome: payment.OutcomeRefused}, status: 201, html: 303},
	{name: "an earlier attempt still open", err: refusal(payment.CodePreviousOpen, bill.Wait), status: 409, code: "previous_attempt_open", retryAfter: true, withBill: true, html: 409},
	{name: "paid at another amount", err: refusal(payment.CodePaidOtherwise, bill.Success), status: 409, code: "paid_at_another_amount", withBill: true, html: 303},
	{name: "a stale order", err: refusal(payment.CodeStaleOrder, bill.Wait), status: 409, code: "stale_order", withBill: true, html: 409},
	{name: "the limit, before", ready: payment.ErrTooManyOpen, status: 429, code: "too_many_open", retryAfter: true, html: 429, notCharged: true},
	{name: "the limit, after", err: payment.ErrTooManyOpen, status: 429, code: "too_many_open", retryAfter: true, html: 429, notCharged: true},
	{name: "the client's limit, before", ready: payment.ErrTooManyOpenOfClient, status: 429, code: "too_many_open_of_client", retryAfter: true, html: 429, notCharged: true},
	{name: "the client's limit, after", err: payment.ErrTooManyOpenOfClient, status: 429, code: "too_many_open_of_client", retryAfter: true, html: 429, notCharged: true},
	{name: "no store, before", ready: bill.ErrUnavailable, status: 503, code: "unavailable", retryAfter: true, html: 503, notCharged: true},
	{name: "no store, after", err: bill.ErrUnavailable, status: 503, code: "unavailable", retryAfter: true, html: 503},
	{name: "a store just restored, before", ready: payment.ErrCheckoutsClosed, status: 503, code: "checkouts_closed", retryAfter: true, html: 503, notCharged: true},
	{name: "a store just restored, after", err: payment.ErrCheckoutsClosed, status: 503, code: "checkouts_closed", retryAfter: true, html: 503, notCharged: true},
	{name: "a fault of ours", err: errors.New("boom"), status: 500, code: "internal_error", html: 500},
}

func refusal(code payment.Code, status bill.Status) error {
	b := billIn(status)
	return &payment.Refusal{Code: code, Bill: &b}
}

// ways are the two in which an order comes.
var ways = map[string]func(s *site, browser bool) *httptest.ResponseRecorder{
	"from upstream": func(s *site, browser bool) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodPost, "/checkout", nil)
		if browser {
			asBrowser(r)
		}
		w := httptest.NewRecorder()
		if err := s.Checkout(w, r, answerWithOrder(goodOrder)); err != nil {
			panic(err)
		}
		return w
	},
	"signed": func(s *site, browser bool) *httptest.ResponseRecorder {
		r := signed(post("/qlink/bills", goodOrder), goodOrder)
		if browser {
			asBrowser(r)
		}
		return s.do(r)
	},
}

func answerWithOrder(order string) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, _ *http.Request) error {
		w.Header().Set("Content-Type", handlers.OrderType)
		_, err := w.Write([]byte(order))
		return err
	}
}

func TestEveryOutcomeOfAnOrderIsAnsweredAsJSON(t *testing.T) {
	for way, send := range ways {
		for _, o := range outcomes {
			if o.ready != nil && way == "signed" {
				continue // there is no shop to ask in vain: the engine itself looks at the limits
			}
			t.Run(way+": "+o.name, func(t *testing.T) {
				s := newSite(t)
				s.engine.ready, s.engine.created, s.engine.createErr = o.ready, o.created, o.err
				w := send(s, false)
				wantStatus(t, w, o.status)
				wantHeader(t, w.Header(), "Cache-Control", "no-store")
				wantHeader(t, w.Header(), "X-Content-Type-Options", "nosniff")
				if (w.Header().Get("Retry-After") != "") != o.retryAfter {
					t.Errorf("Retry-After = %q", w.Header().Get("Retry-After"))
				}
				var got struct {
					ID, Code, Title, Detail, PayURL string
					Status                          any
					Bill                            *struct{ ID string }
				}
				if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
					t.Fatal(err)
				}
				if o.code == "" {
					wantHeader(t, w.Header(), "Location", "https://shop.example/qlink/bills/"+billID)
					wantHeader(t, w.Header(), "Content-Type", "application/json")
					if got.ID != billID || got.PayURL != payURL {
						t.Errorf("bill = %+v", got)
					}
					return
				}
				wantHeader(t, w.Header(), "Content-Type", "application/problem+json")
				if got.Code != o.code || got.Title == "" || got.Detail == "" || (got.Bill != nil) != o.withBill {
					t.Errorf("problem = %s", w.Body)
				}
			})
		}
	}
}

// story 1, story 2, story 5
func TestEveryOutcomeOfAnOrderIsAnsweredToABrowser(t *testing.T) {
	for way, send := range ways {
		for _, o := range outcomes {
			if o.ready != nil && way == "signed" {
				continue // there is no shop to ask in vain: the engine itself looks at the limits
			}
			t.Run(way+": "+o.name, func(t *testing.T) {
				s := newSite(t)
				s.engine.ready, s.engine.created, s.engine.createErr = o.ready, o.created, o.err
				w := send(s, true)
				wantStatus(t, w, o.html)
				if o.html == http.StatusSeeOther {
					wantHeader(t, w.Header(), "Location", payURL)
					return
				}
				text := w.Body.String()
				wantHeader(t, w.Header(), "Content-Type", "text/html; charset=utf-8")
				wantNot(t, text, "try again", "not successful", "order again")
				if strings.Contains(text, "you have not been charged") != o.notCharged {
					t.Errorf("says that nothing was charged: %v; want %v", !o.notCharged, o.notCharged)
				}
				if o.code == "previous_attempt_open" {
					wantContains(t, text, `http-equiv="refresh" content="5; url=`+payURL+`"`, `href="`+payURL+`"`)
				}
			})
		}
	}
}

func TestUpstreamIsNotAskedWhereNothingCouldBePaid(t *testing.T) {
	s := newSite(t)
	s.engine.ready = payment.ErrTooManyOpen
	w := httptest.NewRecorder()
	err := s.Checkout(w, post("/checkout", ""), func(http.ResponseWriter, *http.Request) error {
		t.Error("the shop was asked, and made an order in vain")
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	wantStatus(t, w, 429)
}

// story 27, story 28, story 29
func TestABadSignedOrderIsRefusedFieldByField(t *testing.T) {
	s := newSite(t)
	body := `{"orderCode":"","amount":"1.999"}`
	w := s.do(signed(post("/qlink/bills", body), body))
	wantStatus(t, w, 422)
	wantContains(t, w.Body.String(), `"code":"bad_order"`, `"field":"orderCode"`, `"field":"amount"`)
	if got := s.engine.recorded(); got != "" {
		t.Errorf("engine was called: %s", got)
	}
}

func TestASignedOrderBeyondTheCapIsABadOrder(t *testing.T) {
	s := newSite(t)
	body := `{"orderCode":"O1","amount":"1","description":"` + strings.Repeat("x", bill.MaxOrderSize) + `"}`
	wantStatus(t, s.do(signed(post("/qlink/bills", body), body)), 422)
	body = strings.Repeat(" ", 1<<20+1)
	wantStatus(t, s.do(signed(post("/qlink/bills", body), body)), 413)
}

func TestTheHandOverOfASignedOrderIsWhenItWasSigned(t *testing.T) {
	s := newSite(t)
	r := post("/qlink/bills", goodOrder)
	at := noon.Add(-2 * 60e9)
	r.Header.Set(handlers.SignatureHeader, handlers.Sign(apiSecret, at, "POST", "/qlink/bills", []byte(goodOrder)))
	s.do(r)
	if !s.engine.gotHandOver.At.Equal(at) || s.engine.gotHandOver.Idempotency != nil {
		t.Errorf("hand-over = %+v", s.engine.gotHandOver)
	}
	if s.engine.gotOrder.OrderCode != "O1" || s.engine.gotOrder.Amount != "15000" || s.engine.gotOrder.Currency != "IDR" {
		t.Errorf("order = %+v", s.engine.gotOrder)
	}
}

// story 2, story 3
func TestAnIdempotencyKeyIsNamedBySecretAndKeyAlone(t *testing.T) {
	send := func(secret, key, body string, secrets ...string) *payment.Idempotency {
		s := newSite(t, func(a *handlers.API) { a.APISecrets = secrets })
		r := post("/qlink/bills", body)
		r.Header.Set(handlers.SignatureHeader, handlers.Sign(secret, noon, "POST", "/qlink/bills", []byte(body)))
		r.Header.Set("Idempotency-Key", key)
		s.do(r)
		return s.engine.gotHandOver.Idempotency
	}
	other := `{"orderCode":"O1","amount":"15001"}`
	first := send("a", "k", goodOrder, "a", "b")
	if again := send("a", "k", goodOrder, "new", "a"); *again != *first {
		t.Error("rotating the secrets changed the name of a request")
	}
	if changed := send("a", "k", other, "a"); changed.Key != first.Key || changed.Body == first.Body {
		t.Error("another body must be told from the first under the same key")
	}
	if send("b", "k", goodOrder, "a", "b").Key == first.Key || send("a", "l", goodOrder, "a").Key == first.Key {
		t.Error("another secret or key has the same name")
	}
	if strings.Contains(first.Key, "k\x00") || len(first.Key) != 64 || len(first.Body) != 64 {
		t.Errorf("name = %+v", first)
	}
}

func TestABadIdempotencyKeyIsRefused(t *testing.T) {
	for name, keys := range map[string][]string{
		"empty": {""}, "too long": {strings.Repeat("k", 256)}, "not printable": {"a\tb"}, "not ASCII": {"é"}, "twice": {"a", "b"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			r := signed(post("/qlink/bills", goodOrder), goodOrder)
			r.Header["Idempotency-Key"] = keys
			w := s.do(r)
			wantStatus(t, w, 400)
			wantContains(t, w.Body.String(), "bad_idempotency_key")
			if s.engine.recorded() != "" {
				t.Error("the engine was called")
			}
		})
	}
}

func TestARefusedIdempotencyKeyHasItsOwnStatus(t *testing.T) {
	for code, status := range map[payment.Code]int{payment.CodeKeyReused: 422, payment.CodeKeyRunning: 409} {
		s := newSite(t)
		s.engine.createErr = &payment.Refusal{Code: code}
		w := s.do(signed(post("/qlink/bills", goodOrder), goodOrder))
		wantStatus(t, w, status)
		wantContains(t, w.Body.String(), string(code))
	}
}
