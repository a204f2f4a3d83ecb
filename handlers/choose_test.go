package handlers_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/handlers"
	"github.com/caddy-qlink/caddy-qlink/payment"
)

const aForm = "application/x-www-form-urlencoded"

// chooseBy posts a choice of a content type.
func chooseBy(contentType, body string) *http.Request {
	r := post(billPath+"/choose", body)
	setIf(r.Header.Set, "Content-Type", contentType)
	return r
}

func TestAChoiceIsReadFromStrictJSONOrAFormAndNothingElse(t *testing.T) {
	const both = `{"payTypeCode":"ONLINE","payChannelCode":"QRIS"}`
	for _, c := range []struct {
		contentType, body string
		status            int
	}{
		{"application/json", both, 200},
		{"application/json; charset=utf-8", both, 200},
		{"Application/JSON", ` {"unknown":1,"payChannelCode":"QRIS","payTypeCode":"ONLINE"} `, 200},
		{aForm, "payTypeCode=ONLINE&payChannelCode=QRIS", 200},
		{aForm + "; charset=UTF-8", "payChannelCode=QR%49S&payTypeCode=ONLINE&x=y", 200},

		{"", both, 415},
		{"text/plain", both, 415},
		{"multipart/form-data; boundary=x", "--x--", 415},
		{"application/json, " + aForm, both, 415},
		{"application/json", "payTypeCode=ONLINE&payChannelCode=QRIS", 400},
		{"application/json", `{"payTypeCode":"ONLINE","payChannelCode":"QRIS","payChannelCode":"DANA"}`, 400},
		{"application/json", "{\"payTypeCode\":\"ONLINE\",\"payChannelCode\":\"\xff\"}", 400},
		{"application/json", `{"payTypeCode":"ONLINE"}`, 400},
		{"application/json", `{"payTypeCode":"ONLINE","payChannelCode":null}`, 400},
		{"application/json", `{"payTypeCode":"ONLINE","payChannelCode":7}`, 400},
		{"application/json", `{"PAYTYPECODE":"ONLINE","payChannelCode":"QRIS"}`, 400},
		{"application/json", both + both, 400},
		{"application/json", `null`, 400},
		{"application/json", ``, 400},
		{aForm, both, 400},
		{aForm, "payTypeCode=ONLINE", 400},
		{aForm, "payTypeCode=ONLINE&payChannelCode=QRIS&payChannelCode=DANA", 400},
		{aForm, "payTypeCode=%zz&payChannelCode=QRIS", 400},
	} {
		s := newSite(t)
		s.engine.chosen = waitingBill()
		w := s.do(chooseBy(c.contentType, c.body))
		if w.Code != c.status {
			t.Errorf("%s %s: %d, want %d: %s", c.contentType, c.body, w.Code, c.status, w.Body)
			continue
		}
		if c.status == 200 && s.engine.gotWay != [2]string{"ONLINE", "QRIS"} {
			t.Errorf("%s: chose %q", c.body, s.engine.gotWay)
		}
		if c.status != 200 && s.engine.recorded() != "" {
			t.Errorf("%s %s: the engine was called", c.contentType, c.body)
		}
	}
	s := newSite(t)
	r := chooseBy("application/json", both)
	r.Header.Add("Content-Type", aForm)
	wantStatus(t, s.do(r), 415)
	wantStatus(t, s.do(chooseBy("application/json", strings.Repeat(" ", 1<<20+1))), 413)
	wantStatus(t, s.do(get(billPath+"/choose")), 405)
}

func TestAChoiceIsAnsweredByWhatHasBecomeOfTheBill(t *testing.T) {
	for _, c := range []struct {
		name   string
		bill   bill.Bill
		err    error
		status int
		code   string
		html   int
	}{
		{"applied for", waitingBill(), nil, 200, "", 303},
		{"not known yet", billIn(bill.Created), nil, 202, "", 303},
		{"refused by the gateway", billIn(bill.Fail), nil, 200, "", 303},
		{"chosen before", bill.Bill{}, refusal(payment.CodeNotChoosable, bill.Wait), 409, "not_choosable", 303},
		{"not offered", bill.Bill{}, refusal(payment.CodeNotOffered, bill.Choose), 422, "not_offered", 303},
		{"no list", bill.Bill{}, bill.ErrUnavailable, 503, "unavailable", 503},
		{"a store just restored", bill.Bill{}, payment.ErrCheckoutsClosed, 503, "checkouts_closed", 503},
		{"no such bill", bill.Bill{}, bill.ErrNotFound, 404, "not_found", 404},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSite(t)
			s.engine.chosen, s.engine.chooseErr = c.bill, c.err
			w := s.do(chooseBy(aForm, "payTypeCode=ONLINE&payChannelCode=QRIS"))
			wantStatus(t, w, c.status)
			if c.code != "" {
				wantContains(t, w.Body.String(), `"code":"`+c.code+`"`)
			}
			if c.status < 500 && c.status != 404 {
				wantContains(t, w.Body.String(), billID)
			}
			browser := s.do(asBrowser(chooseBy(aForm, "payTypeCode=ONLINE&payChannelCode=QRIS")))
			wantStatus(t, browser, c.html)
			if c.html == 303 {
				wantHeader(t, browser.Header(), "Location", "../../pay/"+billID)
			}
			wantNot(t, browser.Body.String(), "not been charged")
		})
	}
}

func TestTryingAgainIsAnsweredAsAnOrderIs(t *testing.T) {
	const newID = "11111111-9d47-4a60-8b1f-0c5d7e9a1b2c"
	next := func(s bill.Status) bill.Bill {
		b := billIn(s)
		b.ID, b.Attempt = newID, 2
		return b
	}
	for _, c := range []struct {
		name    string
		created payment.Created
		err     error
		status  int
		code    string
		page    string // that a browser is sent to; "": none
	}{
		{"new", payment.Created{Bill: next(bill.Wait), Outcome: payment.OutcomeNew}, nil, 201, "", newID},
		{"to be chosen", payment.Created{Bill: next(bill.Choose), Outcome: payment.OutcomeNew}, nil, 201, "", newID},
		{"pressed before", payment.Created{Bill: next(bill.Wait), Outcome: payment.OutcomeExisting}, nil, 200, "", newID},
		{"not known yet", payment.Created{Bill: next(bill.Created), Outcome: payment.OutcomeUnknown}, nil, 202, "", newID},
		{"refused by the gateway", payment.Created{Bill: next(bill.Fail), Outcome: payment.OutcomeRefused}, nil, 201, "", newID},
		{"not allowed", payment.Created{}, refusal(payment.CodeRetryNotAllowed, bill.Fail), 409, "retry_not_allowed", billID},
		{"open", payment.Created{}, refusal(payment.CodePreviousOpen, bill.Wait), 409, "previous_attempt_open", billID},
		{"paid", payment.Created{}, refusal(payment.CodeAlreadyPaid, bill.Success), 409, "already_paid", billID},
		{"no room", payment.Created{}, payment.ErrTooManyOpen, 429, "too_many_open", ""},
		{"no store", payment.Created{}, bill.ErrUnavailable, 503, "unavailable", ""},
		{"a store just restored", payment.Created{}, payment.ErrCheckoutsClosed, 503, "checkouts_closed", ""},
		{"no such bill", payment.Created{}, bill.ErrNotFound, 404, "not_found", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSite(t, func(a *handlers.API) { a.Retry = 10 * time.Minute })
			s.engine.retried, s.engine.retryErr = c.created, c.err
			w := s.do(post(billPath+"/retry", ""))
			wantStatus(t, w, c.status)
			if s.engine.gotWithin != 10*time.Minute || s.engine.gotHandOver.Client != "192.0.2.1" || s.engine.gotHandOver.Signed {
				t.Errorf("within %v, %+v", s.engine.gotWithin, s.engine.gotHandOver)
			}
			if got := s.engine.gotHandOver.PayURL("x"); got != "https://shop.example/qlink/pay/x" {
				t.Errorf("the new bill's page is %s", got)
			}
			if c.err == nil {
				wantHeader(t, w.Header(), "Location", "https://shop.example/qlink/bills/"+newID)
				wantContains(t, w.Body.String(), newID)
			} else {
				wantContains(t, w.Body.String(), `"code":"`+c.code+`"`)
			}
			browser := s.do(asBrowser(post(billPath+"/retry", "a=b")))
			if c.page == "" {
				wantStatus(t, browser, c.status)
			} else {
				wantStatus(t, browser, 303)
				wantHeader(t, browser.Header(), "Location", "../../pay/"+c.page)
			}
			wantNot(t, browser.Body.String(), "not been charged")
		})
	}
}

func TestTryingAgainIsOffUnlessASiteAllowsIt(t *testing.T) {
	s := newSite(t)
	s.engine.retryErr = refusal(payment.CodeRetryNotAllowed, bill.Fail)
	wantStatus(t, s.do(post(billPath+"/retry", "")), 409)
	if s.engine.gotWithin != 0 {
		t.Errorf("within %v", s.engine.gotWithin)
	}
	wantStatus(t, s.do(get(billPath+"/retry")), 405)
}
