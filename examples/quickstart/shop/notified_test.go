package shop

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

const notifySecret = "whsec_cXVpY2tzdGFydC1ub3RpZmljYXRpb24tc2VjcmV0ISE="

// newToldBuyer is a buyer in a shop that is notified.
func newToldBuyer(t *testing.T) (*browser, *moduleStub) {
	t.Helper()
	m := newModuleStub(t)
	s := &Shop{Data: t.TempDir(), QLink: m.URL + "/qlink", Secret: testSecret, NotificationSecret: notifySecret}
	return open(t, provision(t, s)), m
}

// notice is a notification as the module writes it, in short.
func notice(kind string, b bill, paidBill string) string {
	data, err := json.Marshal(map[string]any{
		"id": b.ID, "orderCode": b.OrderCode, "status": b.Status, "amount": b.Amount, "currency": b.Currency,
		"final": true, "action": map[string]any{"kind": "qr", "value": "000201"}, "metadata": map[string]any{"id": "a stranger's"},
		"order": map[string]any{"paid": paidBill != "", "paidBill": paidBill, "openBill": ""},
	})
	if err != nil {
		panic(err) // of texts alone
	}
	return `{"type":"` + kind + `","timestamp":"2026-11-22T10:00:00Z","data":` + string(data) + `}`
}

// signature is what a sender puts beside a body.
func (b *browser) signature(secret string, at time.Time, body string) http.Header {
	b.t.Helper()
	signer, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		b.t.Fatal(err)
	}
	signature, err := signer.Sign("msg_1", at, []byte(body))
	if err != nil {
		b.t.Fatal(err)
	}
	h := make(http.Header)
	h.Set(standardwebhooks.HeaderWebhookID, "msg_1")
	h.Set(standardwebhooks.HeaderWebhookTimestamp, strconv.FormatInt(at.Unix(), 10))
	h.Set(standardwebhooks.HeaderWebhookSignature, signature)
	return h
}

// notify posts a notification as the module does.
func (b *browser) notify(body string, header http.Header) int {
	b.t.Helper()
	r, err := http.NewRequestWithContext(b.t.Context(), http.MethodPost, b.base+"/notifications", strings.NewReader(body))
	if err != nil {
		b.t.Fatal(err)
	}
	r.Header = header
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	response.Body.Close()
	return response.StatusCode
}

// hears posts a genuine one.
func (b *browser) hears(wantStatus int, body string) {
	b.t.Helper()
	if got := b.notify(body, b.signature(notifySecret, time.Now(), body)); got != wantStatus {
		b.t.Fatalf("%s is answered %d, want %d", body, got, wantStatus)
	}
}

func TestAPaidOrderIsFulfilledByItsNotificationOnce(t *testing.T) { // story 7
	b, m := newToldBuyer(t)
	b.add("MELATI-TEA")
	o := b.checkout(http.StatusCreated, nil)
	body := notice("bill.paid", billOf(o), "bill-1")
	b.hears(http.StatusNoContent, body)
	b.add("MELATI-TEA")
	b.hears(http.StatusNoContent, body)
	second := billOf(o)
	second.ID = "bill-2"
	b.hears(http.StatusNoContent, notice("bill.late_payment", second, "bill-2"))
	if v := b.look(o.OrderCode); !v.Paid || v.PaidBill != "bill-1" {
		t.Errorf("%+v", v)
	}
	if m.questions() != 0 {
		t.Error("the shop asked after what it had been told")
	}
	if a := b.do("GET", "/cart", nil); !strings.Contains(a.body, "Rp 22.000") {
		t.Errorf("the notification that came again emptied the cart: %s", a.body)
	}
}

func TestANotificationNeverDowngradesAPaidOrder(t *testing.T) { // story 9
	b, _ := newToldBuyer(t)
	b.add("MELATI-TEA")
	o := b.checkout(http.StatusCreated, nil)
	b.hears(http.StatusNoContent, notice("bill.paid", billOf(o), "bill-1"))
	failed := billOf(o)
	failed.Status = "FAIL"
	for _, kind := range []string{"bill.failed", "bill.canceled", "bill.expired"} {
		b.hears(http.StatusNoContent, notice(kind, failed, ""))
	}
	if v := b.look(o.OrderCode); !v.Paid {
		t.Errorf("%+v", v)
	}
}

func TestANotificationOfAnotherAmountOrCurrencyFulfilsNothing(t *testing.T) { // story 27
	for name, spoil := range map[string]func(*bill){
		"less":             func(b *bill) { b.Amount = "220" },
		"another currency": func(b *bill) { b.Currency = "VND" },
		"not paid itself":  func(b *bill) { b.Status = "CANCELED" },
	} {
		t.Run(name, func(t *testing.T) {
			b, _ := newToldBuyer(t)
			b.add("MELATI-TEA")
			o := b.checkout(http.StatusCreated, nil)
			wrong := billOf(o)
			spoil(&wrong)
			b.hears(http.StatusNoContent, notice("bill.paid", wrong, "bill-1"))
			if v := b.look(o.OrderCode); v.Paid {
				t.Errorf("%+v", v)
			}
		})
	}
}

func TestAnUnpaidEndChangesNothing(t *testing.T) {
	b, _ := newToldBuyer(t)
	b.add("MELATI-TEA")
	o := b.checkout(http.StatusCreated, nil)
	ended := billOf(o)
	ended.Status = "CANCELED"
	b.hears(http.StatusNoContent, notice("bill.canceled", ended, ""))
	if again := b.checkout(http.StatusOK, nil); again.OrderCode != o.OrderCode {
		t.Errorf("the order can no longer be paid: %+v", again)
	}
}

func TestAPaymentByAnotherBillThanTheOneToldIsAskedAfter(t *testing.T) {
	b, m := newToldBuyer(t)
	b.add("MELATI-TEA")
	o := b.checkout(http.StatusCreated, nil)
	canceled := billOf(o)
	canceled.ID, canceled.Status = "bill-2", "CANCELED"
	m.breaks(http.StatusServiceUnavailable)
	b.hears(http.StatusServiceUnavailable, notice("bill.canceled", canceled, "bill-1"))
	m.breaks(0)
	m.paid(billOf(o))
	b.hears(http.StatusNoContent, notice("bill.canceled", canceled, "bill-1"))
	m.breaks(http.StatusServiceUnavailable)
	if v := b.look(o.OrderCode); !v.Paid || v.PaidBill != "bill-1" {
		t.Errorf("%+v", v)
	}
}

func TestAForgedOrStaleNotificationIsRefused(t *testing.T) { // stories 20 and 21
	b, _ := newToldBuyer(t)
	b.add("MELATI-TEA")
	o := b.checkout(http.StatusCreated, nil)
	body := notice("bill.paid", billOf(o), "bill-1")
	without := func(name string) http.Header {
		h := b.signature(notifySecret, time.Now(), body)
		h.Del(name)
		return h
	}
	for name, header := range map[string]http.Header{
		"unsigned":         {},
		"no signature":     without("webhook-signature"),
		"no id":            without("webhook-id"),
		"no timestamp":     without("webhook-timestamp"),
		"another's secret": b.signature("whsec_"+strings.Repeat("A", 44), time.Now(), body),
		"another body":     b.signature(notifySecret, time.Now(), body+" "),
		"too old":          b.signature(notifySecret, time.Now().Add(-time.Hour), body),
		"too new":          b.signature(notifySecret, time.Now().Add(time.Hour), body),
	} {
		if got := b.notify(body, header); got != http.StatusUnauthorized {
			t.Errorf("%s: %d", name, got)
		}
	}
	if v := b.look(o.OrderCode); v.Paid {
		t.Errorf("%+v", v)
	}
}

func TestWhatANotificationMeansDecidesItsAnswer(t *testing.T) {
	b, _ := newToldBuyer(t)
	stranger := bill{ID: "bill-9", OrderCode: "SNONE", Status: "SUCCESS", Amount: "1", Currency: "IDR"}
	b.hears(http.StatusNoContent, `{"type":"bill.refunded","data":"of a later version"}`)
	b.hears(http.StatusNoContent, `{"type":"bill.created","data":{}}`)
	b.hears(http.StatusNoContent, notice("bill.expired", stranger, ""))
	b.hears(http.StatusNotFound, notice("bill.paid", stranger, "bill-9"))
	b.hears(http.StatusBadRequest, `{"type":"bill.paid","type":"bill.failed"}`)
	b.hears(http.StatusBadRequest, `{"type":"bill.paid"}`)
	b.hears(http.StatusBadRequest, `{"type":"bill.paid","data":{}}`)
	b.hears(http.StatusBadRequest, `no JSON`)
	b.hears(http.StatusRequestEntityTooLarge, strings.Repeat(" ", maxNotification+1))
}

func TestAShopWithoutASecretIsToldNothing(t *testing.T) {
	b, _ := newBuyer(t)
	body := `{"type":"bill.created"}`
	if got := b.notify(body, b.signature(notifySecret, time.Now(), body)); got != http.StatusNotFound {
		t.Errorf("answered %d", got)
	}
}
