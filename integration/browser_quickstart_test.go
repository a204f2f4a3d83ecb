package integration

import "testing"

func TestAQuickstartOrderIsBoughtInABrowser(t *testing.T) {
	q := startQuickstart(t)
	shop := "http://" + q.public + "/"
	for name, h := range map[string]habits{
		"phone":                {device: phone},
		"phone without script": {device: phone, noScript: true},
		"desk":                 {device: desk},
		"desk without script":  {device: desk, noScript: true},
	} {
		t.Run(name, func(t *testing.T) {
			buyer := newBuyer(t, h)
			buyer.open(shop)
			buyer.press(addToCart)
			buyer.press(theCart)
			buyer.press(checkOut)
			buyer.sees(saysWaiting)
			buyer.finds(theCode)

			gateway := buyer.another()
			gateway.open(shop)
			gateway.press(openSimulator)
			gateway.press(simulatorPays)

			buyer.sees(saysPaid) // without doing anything
			if !buyer.lacks(theCode) || !buyer.lacks(cancelPayment) {
				t.Errorf("a paid page still offers to pay or to cancel:\n%s", buyer.text())
			}
			buyer.press(backToShop)
			buyer.sees(saysOrderPaid)
		})
	}
}
