package page

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/page/content"
)

// useTemplate draws payments by an operator's template, which may use the
// built-in ones (head, phrase, time, code, support). It is drawn once for
// every kind of payment, so that its faults fail the load, not a buyer.
func (r *Renderer) useTemplate(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	r.payment = "operator/" + filepath.Base(path)
	if _, err := r.templates.New(r.payment).Parse(string(text)); err != nil {
		return err
	}
	for _, p := range samples() {
		if _, err := r.Payment(p); err != nil {
			return fmt.Errorf("a payment in %s: %w", p.Bill.Status, err)
		}
	}
	return nil
}

// samples are payments of every status and kind of action.
func samples() []content.Payment {
	now := time.Date(2026, time.January, 2, 3, 4, 5, 0, time.UTC)
	b := bill.Bill{
		ID: "00000000-0000-0000-0000-000000000000", OrderCode: "O1", Amount: "15000", Currency: "IDR", Version: 1,
		CreatedAt: now, UpdatedAt: now, ExpiresAt: now.Add(time.Hour), Apply: bill.Applying{Accepted: true},
	}
	p := content.Payment{
		Merchant: "Shop", ReturnURL: "/", Refresh: time.Second, Now: now, Ways: []content.Way{{PayType: "ONLINE", PayChannel: "QRIS", Name: "QRIS"}},
		Details: bill.Details{Description: "Coffee", Items: []bill.Item{{SKUName: "Coffee", Quantity: "1"}}}, MayRetry: true,
	}
	var all []content.Payment
	for _, status := range bill.Statuses() {
		p.Bill = b
		p.Bill.Status = status
		all = append(all, p)
	}
	for _, value := range []string{"000201", "https://pay.example/", "wallet://pay", "8808123456789012"} {
		p.Bill = b
		p.Bill.Status, p.Bill.Action = bill.Wait, bill.NewAction(value)
		all = append(all, p)
	}
	return all
}
