package handlers_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/handlers"
	"github.com/caddy-qlink/caddy-qlink/payment"
	"github.com/caddy-qlink/caddy-qlink/qlink"
)

const noticeBody = `{"tradeUuid":"` + billID + `","billCode":"B1","orderCode":"O1","paymentRequestId":"P1","status":"SUCCESS","payTime":"2025-08-04 13:45:21","errorCode":""}`

func notice(body, sign string) *http.Request {
	r := post("/qlink/payNotification", body)
	r.Header.Set("appKey", "app-key")
	r.Header.Set("sign", sign)
	return r
}

func signNotice(body string) string {
	return qlink.Sign(qlink.ContentString, "app-key", appSecret, []byte(body))
}

func TestAGenuineNotificationIsSettledBeforeItIsAcknowledged(t *testing.T) {
	for name, sign := range map[string]string{
		"as the document says":  signNotice(noticeBody),
		"in upper case":         strings.ToUpper(signNotice(noticeBody)),
		"with an older secret":  qlink.Sign(qlink.ContentString, "app-key", "older", []byte(noticeBody)),
		"with object's content": qlink.Sign(qlink.ContentObject, "app-key", appSecret, []byte(noticeBody)),
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			w := s.do(notice(noticeBody, sign))
			wantStatus(t, w, 200)
			wantHeader(t, w.Header(), "Content-Type", "application/json")
			if got := w.Body.String(); got != `{"success":true}` {
				t.Errorf("body = %s", got)
			}
			n := s.engine.gotNotice
			if n.TradeUUID != billID || n.Status.Code != qlink.StatusSuccess || !n.PayTime.Equal(time.Date(2025, 8, 4, 5, 45, 21, 0, time.UTC)) {
				t.Errorf("notification = %+v", n)
			}
			if len(s.engine.gotAccounts) != 1 || len(s.engine.gotDigest) != 64 {
				t.Errorf("accounts = %v, digest %q", s.engine.gotAccounts, s.engine.gotDigest)
			}
		})
	}
}

// story 20, story 21, story 23, story 24, story 26
func TestAForgedNotificationIsRefusedAndTouchesNothing(t *testing.T) {
	genuine := signNotice(noticeBody)
	altered := strings.Replace(noticeBody, "SUCCESS", "SUCCESs", 1)
	request := `{"tradeUuid":"` + billID + `","orderCode":"O1","amount":"15000"}`
	cancelled := `{"tradeUuid":"` + billID + `","status":"SUCCESS","cancelTime":"2025-08-04 13:45:21"}`
	twice := `{"tradeUuid":"` + billID + `","status":"FAIL","status":"SUCCESS"}`
	for _, c := range []struct {
		name   string
		change func(*http.Request)
		body   string
		sign   string
		status int
	}{
		{name: "no sign", body: noticeBody, change: func(r *http.Request) { r.Header.Del("sign") }, status: 401},
		{name: "an empty sign", body: noticeBody, sign: "", status: 401},
		{name: "no appKey", body: noticeBody, sign: genuine, change: func(r *http.Request) { r.Header.Del("appKey") }, status: 401},
		{name: "sign twice", body: noticeBody, sign: genuine, change: func(r *http.Request) { r.Header.Add("sign", genuine) }, status: 401},
		{name: "appKey twice", body: noticeBody, sign: genuine, change: func(r *http.Request) { r.Header.Add("appKey", "app-key") }, status: 401},
		{name: "a key nobody has", body: noticeBody, sign: genuine, change: func(r *http.Request) { r.Header.Set("appKey", "other") }, status: 401},
		{name: "the key in another case", body: noticeBody, sign: genuine, change: func(r *http.Request) { r.Header.Set("appKey", "App-Key") }, status: 401},
		{name: "a guessed secret", body: noticeBody, sign: qlink.Sign(qlink.ContentString, "app-key", "guess", []byte(noticeBody)), status: 401},
		{name: "the empty secret", body: noticeBody, sign: qlink.Sign(qlink.ContentString, "app-key", "", []byte(noticeBody)), status: 401},
		{name: "one byte altered", body: altered, sign: genuine, status: 401},
		{name: "one byte more", body: noticeBody + " ", sign: genuine, status: 401},
		{name: "another sign's half", body: noticeBody, sign: genuine[:20], status: 401},
		{name: "no notification at all", body: "", sign: signNotice(""), status: 400},
		{name: "our own request, reflected", body: request, sign: signNotice(request), status: 400},
		{name: "word of a cancel", body: cancelled, sign: signNotice(cancelled), status: 400},
		{name: "a name twice", body: twice, sign: signNotice(twice), status: 400},
		{name: "bad UTF-8", body: "{\"tradeUuid\":\"\xff\",\"status\":\"WAIT\"}", sign: signNotice("{\"tradeUuid\":\"\xff\",\"status\":\"WAIT\"}"), status: 400},
		{name: "too long", body: strings.Repeat(" ", 64<<10+1), sign: signNotice(""), status: 413},
		{name: "another method", body: noticeBody, sign: genuine, change: func(r *http.Request) { r.Method = http.MethodPut }, status: 405},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSite(t)
			r := notice(c.body, c.sign)
			if c.change != nil {
				c.change(r)
			}
			w := s.do(r)
			wantStatus(t, w, c.status)
			wantRefused(t, w.Header(), w.Body.String())
			if s.engine.recorded() != "" {
				t.Errorf("engine was called: %s", s.engine.recorded())
			}
		})
	}
}

// story 23: what is hashed is what came, white space and the order of names
// included, not what a parser makes of it.
func TestASignatureCoversTheBytesThatCame(t *testing.T) {
	spaced := strings.ReplaceAll(noticeBody, `,"`, " ,\r\n  \"")
	s := newSite(t)
	wantStatus(t, s.do(notice(spaced, signNotice(spaced))), 200)
	s = newSite(t)
	wantStatus(t, s.do(notice(spaced, signNotice(noticeBody))), 401)
	if s.engine.recorded() != "" {
		t.Errorf("engine was called: %s", s.engine.recorded())
	}
}

func wantRefused(t *testing.T, header http.Header, body string) {
	t.Helper()
	wantHeader(t, header, "Content-Type", "application/json")
	if !strings.HasPrefix(body, `{"success":false,"message":"`) {
		t.Errorf("body = %s", body)
	}
}

// story 13
func TestAnUnsettledNotificationIsNeverAcknowledged(t *testing.T) {
	for _, c := range []struct {
		err    error
		status int
	}{
		{payment.ErrContradiction, 409},
		{fmt.Errorf("settle: %w", payment.ErrContradiction), 409},
		{bill.ErrNotFound, 404},
		{fmt.Errorf("commit: %w", bill.ErrUnavailable), 503},
		{bill.ErrConflict, 500},
		{errors.New("boom"), 500},
	} {
		t.Run(c.err.Error(), func(t *testing.T) {
			s := newSite(t)
			s.engine.settleErr = c.err
			w := s.do(notice(noticeBody, signNotice(noticeBody)))
			wantStatus(t, w, c.status)
			wantRefused(t, w.Header(), w.Body.String())
			if (w.Header().Get("Retry-After") != "") != (c.status == 503) {
				t.Errorf("Retry-After = %q", w.Header().Get("Retry-After"))
			}
			if strings.Contains(w.Body.String(), c.err.Error()) && c.status == 500 {
				t.Errorf("the error reached a stranger: %s", w.Body)
			}
		})
	}
}

func TestOnlyAccountsThatVerifyAreCandidates(t *testing.T) {
	s := newSite(t, func(a *handlers.API) {
		second, third, fourth := *a.Accounts[0], *a.Accounts[0], *a.Accounts[0]
		second.Name, second.Secrets = "other secret", []string{"x"}
		third.Name = "same key and secret"
		fourth.Name, fourth.AppKey = "other key", "y"
		a.Accounts = append(a.Accounts, &second, &third, &fourth)
	})
	wantStatus(t, s.do(notice(noticeBody, signNotice(noticeBody))), 200)
	var names []string
	for _, a := range s.engine.gotAccounts {
		names = append(names, a.Name)
	}
	if got := strings.Join(names, ", "); got != "default, same key and secret" {
		t.Errorf("accounts = %s", got)
	}
}

// story 25
func TestNoSecretOrSignatureReachesLogOrAnswer(t *testing.T) {
	s := newSite(t)
	s.engine.settleErr, s.engine.createErr, s.engine.orderErr = errors.New("boom"), errors.New("boom"), bill.ErrUnavailable
	genuine := handlers.Sign(apiSecret, noon, "POST", "/qlink/bills", []byte(goodOrder))
	forged := signed(post("/qlink/bills", "{}"), "[]")
	var answers strings.Builder
	for _, r := range []*http.Request{
		notice(noticeBody, signNotice(noticeBody)), notice(noticeBody+" ", signNotice(noticeBody)),
		signed(post("/qlink/bills", goodOrder), goodOrder), forged, signed(get("/qlink/orders/O1"), ""),
	} {
		w := s.do(r)
		fmt.Fprint(&answers, w.Header(), w.Body)
	}
	var logged strings.Builder
	for _, entry := range s.logs.All() {
		fmt.Fprint(&logged, entry.Message, entry.ContextMap())
	}
	if s.logs.Len() < 4 {
		t.Errorf("only %d lines logged", s.logs.Len())
	}
	wantNot(t, answers.String()+logged.String(), "s3cr3t", signNotice(noticeBody), genuine[len(genuine)-64:], forged.Header.Get(handlers.SignatureHeader))
}
