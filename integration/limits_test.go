package integration

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

func TestABuyerBeyondHisLimitIsTurnedAwayBeforeTheShopIsAsked(t *testing.T) {
	w := prepareWorld(t, plainSite, "")
	w.write(strings.NewReplacer(
		"\tqlink {\n\t\taccount", "\tservers {\n\t\ttrusted_proxies static 127.0.0.0/8\n\t}\n\tqlink {\n\t\tlimits {\n\t\t\topen_per_client 2\n\t\t}\n\t\taccount",
	).Replace(worldConfig), w.values)
	w.start()
	post := func(client, code string) answer {
		w.shop.lay(order(code, "15000"))
		return w.must("POST", "/checkout", "", "X-Forwarded-For", client)
	}
	first := decode[billJSON](t, post("2001:db8:1:2::1", "O-1").want(t, http.StatusCreated).body)
	post("2001:db8:1:2::2", "O-2").want(t, http.StatusCreated)
	refused := post("2001:db8:1:2::3", "O-3").want(t, http.StatusTooManyRequests)
	if refused.Header.Get("Retry-After") == "" || !strings.Contains(string(refused.body), `"code":"too_many_open_of_client"`) {
		t.Errorf("%v %s", refused.Header, refused.body)
	}
	if visits, applies := w.shop.visits(), w.applies("O-3"); visits != 2 || applies != 0 {
		t.Errorf("the shop was asked %d times, the gateway %d times for the third order", visits, applies)
	}
	post("2001:db8:1:3::1", "O-4").want(t, http.StatusCreated)
	for n := range 3 { // the shop's own server is nobody's buyer
		body := order(fmt.Sprint("O-S", n), "15000")
		if a, err := w.do(signed(w.request("POST", "/qlink/bills", body, "X-Forwarded-For", "2001:db8:1:2::9"), body)); err != nil || a.StatusCode != http.StatusCreated {
			t.Errorf("signed: %v %v", a.StatusCode, err)
		}
	}

	w.control("POST", "/payments/"+first.ID+"/pay", "")
	w.awaitStatus(first.ID, "SUCCESS")
	post("2001:db8:1:2::3", "O-3").want(t, http.StatusCreated)
}
