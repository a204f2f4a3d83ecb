package shop

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func newLedger(t *testing.T, dir string) *ledger {
	t.Helper()
	l, err := openLedger(dir, func() time.Time { return noon })
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func fill(t *testing.T, l *ledger, cartID, sku string, quantity int) {
	t.Helper()
	if err := l.setQuantity(cartID, sku, func(int) int { return quantity }); err != nil {
		t.Fatal(err)
	}
}

func place(t *testing.T, l *ledger, cartID string) order {
	t.Helper()
	o, _, err := l.place(cartID)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// billFor is a payment of exactly what o costs.
func billFor(o order) bill {
	return bill{ID: "bill-1", OrderCode: o.Code, Status: "SUCCESS", Amount: o.Total.amount(), Currency: "IDR"}
}

func TestOneCartPlacedByManyClicksIsOneOrder(t *testing.T) { // story 6
	l := newLedger(t, t.TempDir())
	fill(t, l, "c1", "MELATI-TEA", 2)
	var (
		wg      sync.WaitGroup
		mu      sync.Mutex
		codes   = make(map[string]int)
		created int
	)
	for range 32 {
		wg.Go(func() {
			o, isNew, err := l.place("c1")
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Error(err)
			}
			codes[o.Code]++
			if isNew {
				created++
			}
		})
	}
	wg.Wait()
	if len(codes) != 1 || created != 1 {
		t.Fatalf("%d created; codes %v", created, codes)
	}
}

func TestAChangedCartKeepsItsOrderUntilThatIsPaid(t *testing.T) { // story 31
	l := newLedger(t, t.TempDir())
	fill(t, l, "c1", "MELATI-TEA", 1)
	first := place(t, l, "c1")
	fill(t, l, "c1", "KERUPUK-UDANG", 2)
	second := place(t, l, "c1")
	if second.Code != first.Code || first.Total != 22_000 || second.Total != 52_000 {
		t.Fatalf("first %+v, second %+v", first, second)
	}
	if _, err := l.settle(second.Code, billFor(second)); err != nil {
		t.Fatal(err)
	}
	fill(t, l, "c1", "BATIK-PARANG", 1)
	third := place(t, l, "c1")
	if third.Code == first.Code || third.Total != 175_000 {
		t.Fatalf("after the payment: %+v", third)
	}
}

func TestWhatWasAddedAfterTheOrderStaysInTheCart(t *testing.T) {
	l := newLedger(t, t.TempDir())
	fill(t, l, "c1", "MELATI-TEA", 1)
	fill(t, l, "c1", "TAS-ROTAN", 1)
	o := place(t, l, "c1")
	fill(t, l, "c1", "MELATI-TEA", 3)
	if _, err := l.settle(o.Code, billFor(o)); err != nil {
		t.Fatal(err)
	}
	lines := l.cart("c1").Lines
	if len(lines) != 1 || lines[0] != (cartLine{SKU: "MELATI-TEA", Quantity: 2}) {
		t.Fatalf("the cart holds %+v", lines)
	}
}

func TestAPaymentOfAnythingButThePriceFulfilsNothing(t *testing.T) { // story 27
	wrong := map[string]func(*bill){
		"less":                   func(b *bill) { b.Amount = "100" },
		"a hundredth":            func(b *bill) { b.Amount = "220.00" },
		"a sen more":             func(b *bill) { b.Amount += ".01" },
		"more":                   func(b *bill) { b.Amount += "0" },
		"no amount":              func(b *bill) { b.Amount = "" },
		"another currency":       func(b *bill) { b.Currency = "VND" },
		"another order's bill":   func(b *bill) { b.OrderCode = "SOTHER" },
		"an open bill":           func(b *bill) { b.Status = "WAIT" },
		"a bill that is nowhere": func(b *bill) { *b = bill{} },
	}
	for name, spoil := range wrong {
		t.Run(name, func(t *testing.T) {
			l := newLedger(t, t.TempDir())
			fill(t, l, "c1", "MELATI-TEA", 1)
			o := place(t, l, "c1")
			b := billFor(o)
			spoil(&b)
			if _, err := l.settle(o.Code, b); !errors.Is(err, errOtherAmount) {
				t.Fatalf("got error %v", err)
			}
			if o, _ := l.order(o.Code); o.Paid() {
				t.Fatal("the order counts as paid")
			}
		})
	}
}

func TestAnAmountIsComparedAsANumber(t *testing.T) { // story 30
	l := newLedger(t, t.TempDir())
	fill(t, l, "c1", "KERUPUK-UDANG", 1)
	o := place(t, l, "c1")
	b := billFor(o)
	b.Amount = "15000.00"
	if o, err := l.settle(o.Code, b); err != nil || !o.Paid() {
		t.Fatalf("paid %v, error %v", o.Paid(), err)
	}
}

func TestAPaymentForTheOldTotalDoesNotPayTheNewOne(t *testing.T) { // story 31
	l := newLedger(t, t.TempDir())
	fill(t, l, "c1", "MELATI-TEA", 1)
	seen := billFor(place(t, l, "c1"))
	fill(t, l, "c1", "TAS-ROTAN", 1)
	o := place(t, l, "c1")
	if _, err := l.settle(o.Code, seen); !errors.Is(err, errOtherAmount) {
		t.Fatalf("got error %v", err)
	}
}

func TestAPaidOrderIsFulfilledOnce(t *testing.T) { // story 7
	l := newLedger(t, t.TempDir())
	fill(t, l, "c1", "MELATI-TEA", 1)
	o := place(t, l, "c1")
	first := billFor(o)
	if _, err := l.settle(o.Code, first); err != nil {
		t.Fatal(err)
	}
	fill(t, l, "c1", "MELATI-TEA", 1)
	second := first
	second.ID = "bill-2"
	again, err := l.settle(o.Code, second)
	if err != nil || again.PaidBill != "bill-1" {
		t.Fatalf("order %+v, error %v", again, err)
	}
	if len(l.cart("c1").Lines) != 1 {
		t.Fatal("the second settling emptied the cart again")
	}
}

func TestALedgerSurvivesReopening(t *testing.T) {
	dir := t.TempDir()
	l := newLedger(t, dir)
	fill(t, l, "c1", "MELATI-TEA", 1)
	paid := place(t, l, "c1")
	if _, err := l.settle(paid.Code, billFor(paid)); err != nil {
		t.Fatal(err)
	}
	fill(t, l, "c1", "TAS-ROTAN", 2)
	open := place(t, l, "c1")

	again := newLedger(t, dir)
	if o, ok := again.order(paid.Code); !ok || o.PaidBill != "bill-1" || !o.PaidAt.Equal(noon) {
		t.Fatalf("the paid order came back as %+v", o)
	}
	if o, isNew, err := again.place("c1"); err != nil || isNew || o.Code != open.Code || o.Total != 490_000 {
		t.Fatalf("the open order came back as %+v, new %v, error %v", o, isNew, err)
	}
	if string(again.cookieKey) != string(l.cookieKey) || len(l.cookieKey) != 32 {
		t.Fatal("the cookies of before no longer open their carts")
	}
}

func TestATornEntryOfALedgerIsDropped(t *testing.T) {
	dir := t.TempDir()
	l := newLedger(t, dir)
	fill(t, l, "c1", "MELATI-TEA", 1)
	fill(t, l, "c1", "MELATI-TEA", 5)
	path := filepath.Join(dir, "shop.ndjson")
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, int64(len(content)-4)); err != nil {
		t.Fatal(err)
	}
	again := newLedger(t, dir)
	if lines := again.cart("c1").Lines; len(lines) != 1 || lines[0].Quantity != 1 {
		t.Fatalf("the cart holds %+v", lines)
	}
	place(t, again, "c1")
}

func TestADamagedLedgerIsRefused(t *testing.T) {
	dir := t.TempDir()
	l := newLedger(t, dir)
	fill(t, l, "c1", "MELATI-TEA", 1)
	path := filepath.Join(dir, "shop.ndjson")
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	content[0] = '['
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := openLedger(dir, time.Now); err == nil || !strings.Contains(err.Error(), "line 1") {
		t.Fatalf("got error %v", err)
	}
}

func TestAnOrderThatCouldNotBeWrittenIsNotPlaced(t *testing.T) {
	dir := t.TempDir()
	l := newLedger(t, dir)
	fill(t, l, "c1", "MELATI-TEA", 1)
	if err := os.Remove(filepath.Join(dir, "shop.ndjson")); err != nil {
		t.Fatal(err)
	}
	if o, _, err := l.place("c1"); err == nil {
		t.Fatalf("placed %+v", o)
	}
	if code := l.cart("c1").OrderCode; code != "" {
		t.Fatalf("the cart says it was ordered as %s", code)
	}
}

func TestAQuantityStaysWithinBounds(t *testing.T) {
	l := newLedger(t, t.TempDir())
	fill(t, l, "c1", "MELATI-TEA", 1_000_000)
	if got := l.cart("c1").Lines[0].Quantity; got != maxQuantity {
		t.Fatalf("%d pieces", got)
	}
	fill(t, l, "c1", "MELATI-TEA", -3)
	if lines := l.cart("c1").Lines; len(lines) != 0 {
		t.Fatalf("the cart holds %+v", lines)
	}
}
