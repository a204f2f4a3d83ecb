package handlers_test

import (
	"testing"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/payment"
)

func TestAShopLooksItsOrderUpByCode(t *testing.T) {
	s := newSite(t)
	s.engine.details.Metadata = `{"my_id":7}`
	s.engine.order = payment.Order{
		Key: bill.OrderKey{Shop: "default", OrderCode: "A/1 ü"}, PaidBill: billID, Bills: []bill.Bill{billIn(bill.Success), billIn(bill.Expired)},
	}
	w := s.do(signed(get("/qlink/orders/A%2F1%20%C3%BC"), ""))
	wantStatus(t, w, 200)
	if s.engine.gotCode != "A/1 ü" {
		t.Errorf("order code = %q", s.engine.gotCode)
	}
	wantContains(t, w.Body.String(), `{"paid":true,"paidBill":"`+billID+`","openBill":"","orderCode":"A/1 ü","account":"default","shop":"default","bills":[{"id":`,
		`"status":"SUCCESS"`, `"status":"EXPIRED"`, `"metadata":{"my_id":7}`)
}

func TestAnOrderThatNobodyPlacedIsNotFound(t *testing.T) {
	s := newSite(t)
	s.engine.orderErr, s.engine.cancelErr = bill.ErrNotFound, bill.ErrNotFound
	wantStatus(t, s.do(signed(get("/qlink/orders/O1"), "")), 404)
	wantStatus(t, s.do(signed(post("/qlink/orders/O1/cancel", ""), "")), 404)
}

func TestAnOrderIsShownToItsShopAlone(t *testing.T) {
	s := newSite(t)
	wantStatus(t, s.do(get("/qlink/orders/O1")), 401)
	wantStatus(t, s.do(post("/qlink/orders/O1/cancel", "")), 401)
	wantStatus(t, s.do(signed(get("/qlink/orders/O1"), "another body")), 401)
	if s.engine.recorded() != "" {
		t.Errorf("engine was called: %s", s.engine.recorded())
	}
}
