package handlers_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/handlers"
	"github.com/caddy-qlink/caddy-qlink/payment"
)

// tally is metrics as lines of text.
type tally struct{ lines []string }

func (m *tally) Webhook(account string, outcome handlers.WebhookOutcome) {
	m.lines = append(m.lines, "webhook "+account+" "+string(outcome))
}

func (m *tally) CheckedOut(account string, outcome payment.Outcome) {
	m.lines = append(m.lines, "checkout "+account+" "+string(outcome))
}

func TestHowANotificationWasAnsweredIsCountedOnce(t *testing.T) {
	for _, c := range []struct {
		request *http.Request
		settle  error
		want    handlers.WebhookOutcome
		account string
	}{
		{request: notice(noticeBody, signNotice(noticeBody)), want: handlers.WebhookSettled},
		{request: notice(noticeBody, "forged"), want: handlers.WebhookForged},
		{request: notice(strings.Repeat(" ", 64<<10+1), "x"), want: handlers.WebhookUnreadable},
		{request: notice("{}", signNotice("{}")), want: handlers.WebhookMeaningless},
		{request: notice(noticeBody, signNotice(noticeBody)), settle: payment.ErrContradiction, want: handlers.WebhookContradiction},
		{request: notice(noticeBody, signNotice(noticeBody)), settle: bill.ErrNotFound, want: handlers.WebhookUnknownBill},
		{request: notice(noticeBody, signNotice(noticeBody)), settle: bill.ErrUnavailable, want: handlers.WebhookNotStored},
		{request: notice(noticeBody, signNotice(noticeBody)), settle: errors.New("boom"), want: handlers.WebhookFault},
	} {
		m := new(tally)
		s := newSite(t, func(api *handlers.API) { api.Metrics = m })
		s.engine.settleErr = c.settle
		s.do(c.request)
		if want := []string{"webhook default " + string(c.want)}; !slices.Equal(m.lines, want) || !slices.Contains(handlers.WebhookOutcomes(), c.want) {
			t.Errorf("counted %v, want %v", m.lines, want)
		}
	}
}

func TestAnAppKeyThatNobodyHasIsNoLabel(t *testing.T) {
	m := new(tally)
	s := newSite(t, func(api *handlers.API) { api.Metrics = m })
	r := notice(noticeBody, signNotice(noticeBody))
	r.Header.Set("appKey", "a stranger's words")
	s.do(r)
	if want := []string{"webhook  bad_signature"}; !slices.Equal(m.lines, want) {
		t.Errorf("counted %v, want %v", m.lines, want)
	}
}

func TestAnOrderThatNeverReachesTheEngineIsCounted(t *testing.T) {
	for want, happens := range map[string]func(s *site){
		"checkout default too_many_open": func(s *site) {
			s.engine.ready = payment.ErrTooManyOpen
			checkOut(t, s, goodOrder)
		},
		"checkout default bad_order":  func(s *site) { checkOut(t, s, `{"orderCode":"O1"}`) },
		"checkout default bad_order ": func(s *site) { s.do(signed(post("/qlink/bills", "{}"), "{}")) },
		"":                            func(s *site) { checkOut(t, s, goodOrder) }, // the engine counts it
	} {
		m := new(tally)
		s := newSite(t, func(api *handlers.API) { api.Metrics = m })
		happens(s)
		if got := strings.Join(m.lines, ", "); got != strings.TrimSpace(want) {
			t.Errorf("counted %q, want %q", got, want)
		}
	}
}

// checkOut has a shop answer a checkout with an order.
func checkOut(t *testing.T, s *site, order string) {
	t.Helper()
	err := s.Checkout(httptest.NewRecorder(), post("/checkout", ""), func(w http.ResponseWriter, _ *http.Request) error {
		w.Header().Set("Content-Type", "application/vnd.qlink.order+json")
		_, err := w.Write([]byte(order))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
