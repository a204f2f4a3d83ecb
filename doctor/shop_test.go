package doctor_test

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/caddy-qlink/caddy-qlink/doctor"
)

func examineHook(t *testing.T, answer func(bool, string) int) findings {
	t.Helper()
	return examine(t, doctor.Config{Shops: []doctor.Shop{newHook(t, answer).shop()}})
}

func TestAShopThatVerifiesHasNoFault(t *testing.T) {
	all := examineHook(t, func(verified bool, kind string) int {
		if kind != "qlink.test" {
			t.Errorf("the shop was sent a %s", kind)
		}
		return verifying(verified, kind)
	})
	all.want(t, doctor.CheckShop, doctor.OK)
	all.want(t, doctor.CheckShopSignature, doctor.OK, "HTTP 401")
	all.want(t, doctor.CheckClock, doctor.OK)
	for _, f := range all {
		if f.Account != "default" && f.Account != "" {
			t.Errorf("%+v", f)
		}
	}
}

func TestAShopThatTakesAWrongSignatureIsAFault(t *testing.T) {
	all := examineHook(t, func(bool, string) int { return http.StatusOK })
	all.want(t, doctor.CheckShop, doctor.OK)
	all.want(t, doctor.CheckShopSignature, doctor.Failed, "your shop does not verify signatures", "answer 401")
}

func TestAShopThatDoesNotTakeMessagesIsAFault(t *testing.T) {
	for status, words := range map[int]string{
		http.StatusUnauthorized:        "Compare the secret",
		http.StatusMovedPermanently:    "redirects",
		http.StatusBadRequest:          "HTTP 400",
		http.StatusInternalServerError: "HTTP 500",
	} {
		all := examineHook(t, func(bool, string) int { return status })
		all.want(t, doctor.CheckShop, doctor.Failed, words)
		all.want(t, doctor.CheckShopSignature, doctor.Skipped)
	}
}

func TestAShopWithAnotherSecretIsAFault(t *testing.T) {
	h := newHook(t, verifying)
	h.key = []byte("another key, of as many bytes...")
	examine(t, doctor.Config{Shops: []doctor.Shop{h.shop()}}).want(t, doctor.CheckShop, doctor.Failed, "Compare the secret")
	// While a secret is changed over, both sign.
	rotating := h.shop()
	rotating.Secrets = append(rotating.Secrets, shopKey)
	all := examine(t, doctor.Config{Shops: []doctor.Shop{rotating}})
	all.want(t, doctor.CheckShop, doctor.OK)
	all.want(t, doctor.CheckShopSignature, doctor.OK)
}

func TestAShopThatIsGoneIsAFault(t *testing.T) {
	h := newHook(t, verifying)
	h.Close()
	all := examine(t, doctor.Config{Shops: []doctor.Shop{h.shop()}})
	all.want(t, doctor.CheckShop, doctor.Failed, "cannot be reached", "refused")
	all.want(t, doctor.CheckShopSignature, doctor.Skipped)
	all.want(t, doctor.CheckClock, doctor.Skipped)
}

func TestAShopsClockIsComparedToo(t *testing.T) {
	all := examine(t, doctor.Config{
		Shops: []doctor.Shop{newHook(t, verifying).shop()},
		Now:   func() time.Time { return time.Now().Add(-10 * time.Minute) },
	})
	all.want(t, doctor.CheckClock, doctor.Failed, "10m behind the shop's")
	all.want(t, doctor.CheckShop, doctor.Failed, "clock") // its library refuses what is so old
}

func TestASlowShopIsNotWaitedForForLong(t *testing.T) {
	release := make(chan struct{})
	silent := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	t.Cleanup(silent.Close)
	t.Cleanup(func() { close(release) })
	all := examine(t, doctor.Config{
		Shops:   []doctor.Shop{{URL: silent.URL, Secrets: [][]byte{shopKey}}},
		Timeout: 50 * time.Millisecond,
	})
	all.want(t, doctor.CheckShop, doctor.Failed, "no answer in time")
}
