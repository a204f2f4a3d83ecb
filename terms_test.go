package caddyqlink

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/qlink"
)

func resolved(t *testing.T, change func(*Account)) terms {
	t.Helper()
	a := &Account{Environment: "prod", AppKey: "k", AppSecret: []string{"s"}, PayAccount: "p"}
	change(a)
	got, err := a.terms(newResolver())
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestEditionAndEnvironmentPickTheDocumentedEndpointAndTheMode(t *testing.T) {
	tests := []struct{ environment, edition, endpoint, mode, wantEndpoint, wantMode string }{
		{"test", "", "", "", qlink.EndpointTest, "test"},
		{"prod", "", "", "", qlink.EndpointProd, "live"},
		{"prod", "", "", "test", qlink.EndpointProd, "test"},
		{"test", "global", "", "", qlink.EndpointGlobalTest, "test"},
		{"prod", "global", "", "", qlink.EndpointGlobalProd, "live"},
		{"prod", "", "https://tunnel.example/pay", "", "https://tunnel.example/pay", "live"},
		{"test", "", "https://tunnel.example/pay", "", "https://tunnel.example/pay", "test"},
		{"", "", "https://tunnel.example/pay", "", "https://tunnel.example/pay", "live"},
		{"", "", "http://localhost:8080/pay", "", "http://localhost:8080/pay", "test"},
		{"", "", "http://[::1]:8080/pay", "", "http://[::1]:8080/pay", "test"},
		{"", "", "http://127.8.9.1/pay", "live", "http://127.8.9.1/pay", "live"},
		{"", "", "http://gateway.localhost./pay", "", "http://gateway.localhost./pay", "test"},
		{"", "", "http://localhost.example/pay", "", "http://localhost.example/pay", "live"},
	}
	for _, test := range tests {
		got := resolved(t, func(a *Account) {
			a.Environment, a.Edition, a.Endpoint, a.Mode = test.environment, test.edition, test.endpoint, test.mode
			if test.edition == "global" {
				a.ServiceProvider = "xendit"
			}
		})
		if got.client.Endpoint != test.wantEndpoint || got.mode != test.wantMode {
			t.Errorf("%+v: got %s in mode %s", test, got.client.Endpoint, got.mode)
		}
	}
}

func TestUnpaidBillsExpireByTheirChannelsRuleOrElseTheGeneralOne(t *testing.T) {
	got := resolved(t, func(*Account) {})
	if got.expireAfter != 24*time.Hour {
		t.Errorf("the default is %s", got.expireAfter)
	}
	got = resolved(t, func(a *Account) {
		a.ExpireAfter = []Expiry{{After: "0"}, {After: "30m", Channels: []string{"QRIS", "OVO"}}, {After: "2d", Channels: []string{"BANK"}}}
	})
	if got.expireAfter != 0 || got.expireChannel["OVO"] != 30*time.Minute || got.expireChannel["BANK"] != 48*time.Hour {
		t.Errorf("got %s and %v", got.expireAfter, got.expireChannel)
	}
}

func TestANotificationIsBelievedUnlessItIsToBeConfirmed(t *testing.T) {
	t.Setenv("QLINK_TEST_VALUE", "on")
	for word, want := range map[string]bool{"": false, "off": false, "on": true, "{env.QLINK_TEST_VALUE}": true} {
		a := &Account{Environment: "test", AppKey: "k", AppSecret: []string{"s"}, PayAccount: "p", ConfirmSuccess: word}
		account, err := a.provision(caddy.Context{Context: t.Context()}, newResolver(), "default", zap.NewNop())
		if err != nil || account.ConfirmSuccess != want {
			t.Errorf("%q: %+v, %v", word, account, err)
		}
	}
}

func TestResolvedValuesAreNotWrittenBackIntoTheConfiguration(t *testing.T) {
	t.Setenv("QLINK_TEST_VALUE", "resolved")
	a := &Account{
		Environment: "prod", AppKey: "{env.QLINK_TEST_VALUE}", AppSecret: []string{"{env.QLINK_TEST_VALUE}"}, PayAccount: "p",
		Header: http.Header{"X-A": {"{env.QLINK_TEST_VALUE}"}}, ApplyParams: map[string]string{"a": "{env.QLINK_TEST_VALUE}"},
	}
	got, err := a.terms(newResolver())
	if err != nil {
		t.Fatal(err)
	}
	if got.client.AppKey != "resolved" || got.client.AppSecret != "resolved" || got.client.Header.Get("X-A") != "resolved" ||
		got.client.ApplyParams[0].Value != "resolved" {
		t.Error("a placeholder was not resolved")
	}
	const written = "{env.QLINK_TEST_VALUE}"
	if a.AppKey != written || a.AppSecret[0] != written || a.Header.Get("X-A") != written || a.ApplyParams["a"] != written {
		t.Errorf("a resolved value was written back: %+v", a)
	}
}

func TestASecretWrittenOutIsNeverQuoted(t *testing.T) {
	_, err := newResolver().secret("half{of it")
	if err != nil {
		t.Errorf("a lone brace is no placeholder: %v", err)
	}
	_, err = newResolver().secret("half{of}it")
	if err == nil || err.Error() != `holds a placeholder that is empty or not known; write a brace of the value itself as \{` {
		t.Errorf("the error is %v", err)
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestTransportsOfCaddyFindAReplacerInCallsToTheGateway(t *testing.T) {
	called := errors.New("called")
	transport := replacing{roundTrip(func(r *http.Request) (*http.Response, error) {
		if _, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer); !ok {
			t.Error("there is no replacer in the context")
		}
		return nil, called
	})}
	response, err := transport.RoundTrip(httptest.NewRequest(http.MethodPost, "http://gateway.example/apply", nil))
	if !errors.Is(err, called) {
		t.Error(err)
	}
	if response != nil {
		response.Body.Close()
	}
}

func TestRetentionIsNeverUnlessItIsSet(t *testing.T) {
	t.Setenv("QLINK_TEST_VALUE", "4d")
	for written, want := range map[string]time.Duration{"": 0, "{env.QLINK_TEST_VALUE}": 96 * time.Hour, "1440h": 60 * 24 * time.Hour} {
		s, err := (&App{Retention: written}).settings(newResolver())
		if err != nil || s.retention != want {
			t.Errorf("%q is %v, %v; want %v", written, s.retention, err, want)
		}
	}
}

func TestTheBuyerChoosesWhereWaysAreOfferedOrLeftToTheGateway(t *testing.T) {
	t.Setenv("QLINK_TEST_VALUE", "BANK/VA")
	for _, test := range []struct {
		offer  *Offer
		choice bool
		ways   []bill.Way
	}{
		{nil, false, nil},
		{&Offer{}, true, nil},
		{&Offer{Ways: []string{"ONLINE/QRIS", "{env.QLINK_TEST_VALUE}"}}, true, []bill.Way{{PayType: "ONLINE", PayChannel: "QRIS"}, {PayType: "BANK", PayChannel: "VA"}}},
	} {
		got := resolved(t, func(a *Account) { a.Offer, a.PayChannel = test.offer, "QRIS" })
		if got.defaults.Choice != test.choice || !slices.Equal(got.defaults.Offer, test.ways) || got.defaults.PayChannel != "QRIS" {
			t.Errorf("%+v: %+v", test.offer, got.defaults)
		}
	}
}

func TestNobodyTriesAgainUnlessTheSiteSaysForHowLong(t *testing.T) {
	t.Setenv("QLINK_TEST_VALUE", "1d")
	for written, want := range map[string]time.Duration{"": 0, "10m": 10 * time.Minute, "{env.QLINK_TEST_VALUE}": 24 * time.Hour} {
		s, err := (&Handler{Retry: written}).site()
		if err != nil || s.retry != want {
			t.Errorf("%q is %v, %v; want %v", written, s.retry, err, want)
		}
	}
}
