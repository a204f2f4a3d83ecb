package integration

import (
	"context"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/caddy-qlink/caddy-qlink/integration/processtest"
)

var payHere = control{"button", `^Pay here$`}

// The example of an embedded page as it stands, on free ports: the page is in
// the frame of the origin that the site names, and may be in no other's.
func TestAPaymentPageIsEmbeddedWithoutScript(t *testing.T) {
	shop := processtest.FreeAddress(t)
	w := prepareExample(t, "embed", onLocalhost(t))
	w.env = append(w.env, "EMBED_SHOP_PORT="+port(t, shop), "EMBED_PORT="+port(t, w.public), "EMBED_SANDBOX_PORT="+port(t, w.gateway), "EMBED_ADMIN="+w.admin)
	w.start()

	buyer := newBuyer(t, habits{device: desk})
	buyer.open("http://localhost:" + port(t, shop) + "/")
	if strings.Contains(evaluate[string](buyer, `document.documentElement.innerHTML`), "<script") {
		t.Error("the shop's page needs a script")
	}
	buyer.press(payHere)
	var id string
	buyer.await("the payment page in the frame", func(context.Context, *chromedp.Target) error {
		for _, r := range buyer.requests() {
			if _, found, ok := strings.Cut(r.URL, "/qlink/pay/"); ok {
				id = found
				return nil
			}
		}
		return errNotThere
	})
	b := w.bill(id)
	buyer.await("the code in the frame", func(context.Context, *chromedp.Target) error {
		if readQR(buyer.whole()) != b.Action.Value {
			return errNotThere
		}
		return nil
	})
	w.control("POST", "/payments/"+id+"/pay", "")
	w.awaitStatus(id, "SUCCESS")
	buyer.await("the code's end", func(context.Context, *chromedp.Target) error {
		if readQR(buyer.whole()) != "" {
			return errNotThere
		}
		return nil
	})

	policy := w.must("GET", "http://"+w.public+"/qlink/pay/"+id, "").Header.Get("Content-Security-Policy")
	if !strings.Contains(policy, "frame-ancestors http://localhost:"+port(t, shop)+";") {
		t.Errorf("who else may frame it: %q", policy)
	}
}
