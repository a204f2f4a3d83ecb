package doctor_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/doctor"
	"github.com/caddy-qlink/caddy-qlink/qlink"
	"github.com/caddy-qlink/caddy-qlink/sandbox"
)

func TestAnAccountAsItShouldBeHasNoFault(t *testing.T) {
	a := account(gateway(t, &sandbox.Sandbox{}, nil))
	a.Defaults = bill.Defaults{PayType: "ONLINE", PayChannel: "QRIS", Currency: "IDR"}
	all := examineOne(t, a)
	for _, c := range []doctor.Check{
		doctor.CheckConfiguration, doctor.CheckGateway, doctor.CheckCredentials, doctor.CheckSignature,
		doctor.CheckEscape, doctor.CheckAccountField, doctor.CheckWays, doctor.CheckClock,
	} {
		all.want(t, c, doctor.OK)
	}
	all.want(t, doctor.CheckTimeZone, doctor.Skipped, "Asia/Shanghai", "UTC+08:00")
	all.want(t, doctor.CheckCertificate, doctor.Skipped, "plain http")
}

func TestContentThatTheGatewayWantsOtherwiseIsFoundByTrying(t *testing.T) {
	for gatewayHas, set := range map[string]qlink.ContentMode{"object": qlink.ContentString, "string": qlink.ContentObject} {
		a := account(gateway(t, &sandbox.Sandbox{SignatureContent: gatewayHas}, nil))
		a.Gateway.Content = set
		all := examineOne(t, a)
		all.want(t, doctor.CheckSignature, doctor.Failed, "signature_content "+gatewayHas+".")
		all.want(t, doctor.CheckCredentials, doctor.OK)
		// One run finds all that is wrong: the later checks go on with what works.
		all.want(t, doctor.CheckEscape, doctor.OK)
		all.want(t, doctor.CheckAccountField, doctor.OK)
	}
	a := account(gateway(t, &sandbox.Sandbox{SignatureContent: "object"}, nil))
	a.Gateway.Content = qlink.ContentAuto // sends string
	examineOne(t, a).want(t, doctor.CheckSignature, doctor.Failed, "signature_content is auto", "signature_content object.")
}

func TestAWrongSecretAndAnUnknownKeyAreCredentials(t *testing.T) {
	server := gateway(t, &sandbox.Sandbox{}, nil)
	a := account(server)
	a.Gateway.AppSecret = "s3cr3t-other"
	all := examineOne(t, a)
	all.want(t, doctor.CheckCredentials, doctor.Failed, "none of the app secrets", "the secret is wrong")
	all.want(t, doctor.CheckSignature, doctor.Skipped)
	all.want(t, doctor.CheckEscape, doctor.Skipped)
	all.want(t, doctor.CheckAccountField, doctor.Skipped)
	all.want(t, doctor.CheckWays, doctor.Skipped)
	a = account(server)
	a.Gateway.AppKey = "nobody"
	examineOne(t, a).want(t, doctor.CheckCredentials, doctor.Failed, "nobody", "not known here")
}

func TestASecretThatIsNotFirstIsFound(t *testing.T) {
	a := account(gateway(t, &sandbox.Sandbox{SignatureContent: "object"}, nil))
	a.Gateway.AppSecret, a.Previous = "s3cr3t-new", []string{"s3cr3t-older", appSecret}
	all := examineOne(t, a)
	all.want(t, doctor.CheckCredentials, doctor.Failed, "number 3", "Put that secret first")
	all.want(t, doctor.CheckSignature, doctor.Failed, "signature_content object.")
	all.want(t, doctor.CheckAccountField, doctor.OK)
}

// A gateway that checks nothing would otherwise pass every trial.
func TestAGatewayThatTakesAnySignatureProvesNothing(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`[]`))
	}))
	t.Cleanup(server.Close)
	all := examineOne(t, account(server))
	all.want(t, doctor.CheckCredentials, doctor.Warning, "made-up secret")
	all.want(t, doctor.CheckSignature, doctor.Skipped)
	all.want(t, doctor.CheckEscape, doctor.Skipped)
}

// No list of the gateway's refusals is published.
func TestARefusalInUnknownWordsIsToldByWhatAMadeUpSecretGets(t *testing.T) {
	reworded := func(w http.ResponseWriter, r *http.Request, body []byte) []byte {
		if qlink.Verify(qlink.ContentObject, appKey, []string{appSecret}, body, r.Header.Get("sign")) != nil {
			_, _ = w.Write([]byte(`{"success":false,"message":"非法请求","errorCode":"E17"}`))
			return nil
		}
		return body
	}
	a := account(gateway(t, &sandbox.Sandbox{SignatureContent: "object"}, reworded))
	examineOne(t, a).want(t, doctor.CheckSignature, doctor.Failed, "signature_content object.")
	a.Gateway.Content, a.Gateway.AppSecret = qlink.ContentObject, "s3cr3t-other"
	examineOne(t, a).want(t, doctor.CheckCredentials, doctor.Failed, "E17: 非法请求")
}

func TestAGatewaysWordsAreToldOnOneHarmlessLine(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = fmt.Fprintf(w, `{"success":false,"message":"no\n\u001b[31mOK: all is well\u202e %s"}`, strings.Repeat("x", 5000))
	}))
	t.Cleanup(server.Close)
	all := examineOne(t, account(server))
	all.want(t, doctor.CheckCredentials, doctor.Failed, `"no [31mOK: all is well x`)
	if said := all.of(doctor.CheckCredentials)[0].Finding; len(said) > 500 {
		t.Errorf("%d bytes are repeated", len(said))
	}
}

// rewriting is a gateway that parses a body and writes it again before it
// hashes.
func rewriting(w http.ResponseWriter, r *http.Request, body []byte) []byte {
	var v any
	if err := json.Unmarshal(body, &v); err != nil {
		return body
	}
	again, err := json.Marshal(v, json.Deterministic(true), jsontext.EscapeForHTML(false))
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return nil
	}
	if !strings.HasSuffix(r.URL.Path, qlink.OperationGetPayStatus) {
		return body // its members would be in another order
	}
	return again
}

func TestAGatewayThatWritesBodiesAgainWantsNoEscapes(t *testing.T) {
	a := account(gateway(t, &sandbox.Sandbox{}, rewriting))
	all := examineOne(t, a)
	all.want(t, doctor.CheckSignature, doctor.OK)
	all.want(t, doctor.CheckEscape, doctor.Failed, "body_escape none.")
	a.Gateway.Escape = qlink.EscapeNone
	examineOne(t, a).want(t, doctor.CheckEscape, doctor.OK)
}

func TestAGatewayWithAnEscapingOfItsOwnWantsASCII(t *testing.T) {
	for _, escaping := range []string{"html", "slash", "c1", "go"} {
		a := account(gateway(t, &sandbox.Sandbox{Escaping: escaping}, nil))
		examineOne(t, a).want(t, doctor.CheckEscape, doctor.OK)
		a.Gateway.Escape = qlink.EscapeNone
		examineOne(t, a).want(t, doctor.CheckEscape, doctor.Failed, "body_escape ascii.")
	}
}

func TestNeitherWayOfWritingSpecialCharactersMayWork(t *testing.T) {
	a := account(gateway(t, &sandbox.Sandbox{}, func(w http.ResponseWriter, _ *http.Request, body []byte) []byte {
		if bytes.Contains(body, []byte("doctor")) {
			w.WriteHeader(http.StatusForbidden)
			return nil
		}
		return body
	}))
	examineOne(t, a).want(t, doctor.CheckEscape, doctor.Failed, "both ways", "HTTP 403")
}

func TestTheNameOfTheAccountsFieldIsFoundByTrying(t *testing.T) {
	wants := func(name string) before {
		return func(w http.ResponseWriter, r *http.Request, body []byte) []byte {
			if strings.HasSuffix(r.URL.Path, qlink.OperationQueryPayAccount) && !bytes.Contains(body, []byte(`"`+name+`"`)) {
				_, _ = fmt.Fprintf(w, `{"success":false,"message":"%s is required"}`, name)
				return nil
			}
			return body
		}
	}
	a := account(gateway(t, &sandbox.Sandbox{}, wants("glinkAccount")))
	examineOne(t, a).want(t, doctor.CheckAccountField, doctor.Failed, "glinkAccount is required", "account_field glinkAccount.")
	a.Gateway.AccountField = qlink.AccountFieldBoth
	examineOne(t, a).want(t, doctor.CheckAccountField, doctor.OK)
	a = account(gateway(t, &sandbox.Sandbox{}, wants("payAccount")))
	a.Gateway.AccountField = qlink.AccountFieldGlinkAccount
	examineOne(t, a).want(t, doctor.CheckAccountField, doctor.Failed, "account_field payAccount.")
}

func TestAnAccountThatTheGatewayDoesNotKnowIsTold(t *testing.T) {
	a := account(gateway(t, &sandbox.Sandbox{Accounts: []string{"account2"}}, nil))
	all := examineOne(t, a)
	all.want(t, doctor.CheckAccountField, doctor.Failed, "does not know pay_account", "Compare pay_account")
	all.want(t, doctor.CheckCredentials, doctor.OK)
	all.want(t, doctor.CheckWays, doctor.Skipped)
}

func TestWaysThatTheGatewayDoesNotListAreTold(t *testing.T) {
	a := account(gateway(t, &sandbox.Sandbox{
		Types: []sandbox.Offer{{Code: "ONLINE"}}, Channels: []sandbox.Offer{{Code: "QRIS"}, {Code: "DANA"}},
	}, nil))
	a.Defaults.PayType, a.Defaults.PayChannel = "OFFLINE", "QRIS"
	a.Defaults.Offer = []bill.Way{{PayType: "ONLINE", PayChannel: "DANA"}, {PayType: "ONLINE", PayChannel: "OVO"}}
	examineOne(t, a).want(t, doctor.CheckWays, doctor.Failed, "does not list OFFLINE, OVO: it has ONLINE, QRIS, DANA")
	a.Defaults = bill.Defaults{}
	a.ExpireChannel = map[string]time.Duration{"QRSI": time.Hour}
	examineOne(t, a).want(t, doctor.CheckWays, doctor.Warning, "QRSI")
}

func TestAChannelOfAnotherCurrencyIsTold(t *testing.T) {
	a := account(gateway(t, &sandbox.Sandbox{Edition: "global"}, nil))
	a.Gateway.Edition, a.Gateway.ServiceProvider = qlink.EditionGlobal, "xendit"
	a.Defaults = bill.Defaults{PayType: "ANY", PayChannel: "QRIS", Currency: "IDR"}
	examineOne(t, a).want(t, doctor.CheckWays, doctor.OK) // the edition lists no types
	a.Defaults.Currency = "KWD"
	examineOne(t, a).want(t, doctor.CheckWays, doctor.Failed, "not for KWD", "QRIS")
}

func TestWhatIsNoGatewayIsToldApart(t *testing.T) {
	answers := map[string]struct {
		status int
		body   string
		words  string
	}{
		"a page":         {200, "<html>", "not as the gateway does"},
		"a wrong path":   {404, `{"message":"no route","status":404}`, "operations are not there: HTTP 404"},
		"a login":        {302, "", "operations are not there: HTTP 302"},
		"an outage":      {503, "", "cannot serve now: it answered HTTP 503"},
		"too many calls": {429, "", "HTTP 429"},
	}
	for what, c := range answers {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "http://127.0.0.1:1/")
			w.WriteHeader(c.status)
			_, _ = w.Write([]byte(c.body))
		}))
		all := examineOne(t, account(server))
		server.Close()
		t.Log(what)
		all.want(t, doctor.CheckGateway, doctor.Failed, c.words)
		all.want(t, doctor.CheckCredentials, doctor.Skipped)
		all.want(t, doctor.CheckAccountField, doctor.Skipped)
	}
}

func TestAGatewayThatIsGoneOrSilentIsTold(t *testing.T) {
	gone := httptest.NewServer(http.NotFoundHandler())
	a := account(gone)
	gone.Close()
	examineOne(t, a).want(t, doctor.CheckGateway, doctor.Failed, "cannot be reached", "refused")

	release := make(chan struct{})
	silent := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	t.Cleanup(silent.Close)
	t.Cleanup(func() { close(release) })
	all := examine(t, doctor.Config{Accounts: []doctor.Account{account(silent)}, Timeout: 50 * time.Millisecond})
	all.want(t, doctor.CheckGateway, doctor.Failed, "no answer in time")
	all.want(t, doctor.CheckClock, doctor.Skipped)
}

func TestOptionsThatContradictEachOtherAreTold(t *testing.T) {
	for _, c := range []struct {
		endpoint string
		edition  qlink.Edition
		live     bool
		status   doctor.Status
		words    string
	}{
		{qlink.EndpointTest, qlink.EditionStandard, true, doctor.Failed, "test gateway"},
		{qlink.EndpointProd + "/", qlink.EditionStandard, false, doctor.Failed, "production gateway"},
		{qlink.EndpointProd, qlink.EditionStandard, true, doctor.Warning, "plain http"},
		{qlink.EndpointProd, qlink.EditionGlobal, true, doctor.Failed, "do not belong together"},
		{qlink.EndpointGlobalTest, qlink.EditionStandard, false, doctor.Failed, "do not belong together"},
		{qlink.EndpointTest, qlink.EditionStandard, false, doctor.OK, "mode is test"},
		{"http://localhost:9000/tunnel", qlink.EditionStandard, true, doctor.OK, "mode is live"},
		{"https://gateway.example.com/pay", qlink.EditionStandard, true, doctor.OK, "mode is live"},
	} {
		a := doctor.Account{Name: "default", LiveMode: c.live, Gateway: qlink.Config{
			Endpoint: c.endpoint, Edition: c.edition, AppKey: appKey, AppSecret: appSecret, PayAccount: "account1",
			Transport: nowhere{},
		}}
		if c.edition == qlink.EditionGlobal {
			a.Gateway.ServiceProvider = "xendit"
		}
		examineOne(t, a).want(t, doctor.CheckConfiguration, c.status, c.words)
	}
}

// nowhere keeps calls to addresses that are not the test's from being made.
type nowhere struct{}

func (nowhere) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, &url.Error{Op: "Post", URL: "http://user:s3cr3t@x/?token=1", Err: context.DeadlineExceeded}
}

func TestAClockThatIsWrongIsTold(t *testing.T) {
	a := account(gateway(t, &sandbox.Sandbox{}, nil))
	for off, want := range map[time.Duration]doctor.Status{
		10 * time.Minute: doctor.Failed, -10 * time.Minute: doctor.Failed,
		time.Minute: doctor.Warning, 0: doctor.OK,
	} {
		all := examine(t, doctor.Config{
			Accounts: []doctor.Account{a},
			Now:      func() time.Time { return time.Now().Add(off) },
		})
		all.want(t, doctor.CheckClock, want)
		if want == doctor.Failed {
			direction := "ahead of the gateway's"
			if off < 0 {
				direction = "behind the gateway's"
			}
			all.want(t, doctor.CheckClock, want, direction, "timedatectl")
		}
	}
}

func TestAWrongTimeZoneIsToldByAPayment(t *testing.T) {
	at := time.Date(2026, 11, 26, 10, 0, 0, 0, time.UTC)
	paid := func(payTime, updated time.Time) func(context.Context, string) ([]bill.Bill, error) {
		return func(_ context.Context, name string) ([]bill.Bill, error) {
			if name != "default" {
				t.Errorf("asked for %q", name)
			}
			return []bill.Bill{
				{ID: "slow", CreatedAt: at, PayTime: at.Add(9 * time.Hour), UpdatedAt: at.Add(30 * time.Hour)}, // tells nothing
				{ID: "unread", CreatedAt: at, UpdatedAt: at.Add(time.Minute)},
				{ID: "b1", CreatedAt: at, PayTime: payTime, UpdatedAt: updated},
			}, nil
		}
	}
	a := account(gateway(t, &sandbox.Sandbox{}, nil))
	for _, c := range []struct {
		payTime, updated time.Time
		status           doctor.Status
		words            string
	}{
		{at.Add(time.Minute), at.Add(2 * time.Minute), doctor.OK, "b1"},
		{at.Add(time.Hour + time.Minute), at.Add(2 * time.Minute), doctor.Failed, "fit UTC+09:00"},
		{at.Add(-time.Hour + time.Minute), at.Add(2 * time.Minute), doctor.Failed, "fit UTC+07:00"},
		{at.Add(-8*time.Hour + time.Minute), at.Add(2 * time.Minute), doctor.Failed, "fit UTC+00:00"},
		{at.Add(time.Minute), at.Add(2 * time.Hour), doctor.Skipped, "no payment tells"},
	} {
		all := examine(t, doctor.Config{Accounts: []doctor.Account{a}, Paid: paid(c.payTime, c.updated)})
		all.want(t, doctor.CheckTimeZone, c.status, c.words, "Asia/Shanghai")
	}
}

func TestACertificateThatEndsSoonIsTold(t *testing.T) {
	server := httptest.NewTLSServer(handlerOf(t, &sandbox.Sandbox{}, nil))
	t.Cleanup(server.Close)
	ends := server.Certificate().NotAfter
	a := account(server)
	for left, want := range map[time.Duration]doctor.Status{
		30 * 24 * time.Hour: doctor.OK, 13 * 24 * time.Hour: doctor.Warning, -time.Hour: doctor.Failed,
	} {
		all := examine(t, doctor.Config{Accounts: []doctor.Account{a}, Now: func() time.Time { return ends.Add(-left) }})
		all.want(t, doctor.CheckCertificate, want, "valid until")
	}
	a.Gateway.Transport = nil // which does not know the authority
	all := examineOne(t, a)
	all.want(t, doctor.CheckGateway, doctor.Failed, "certificate")
	all.want(t, doctor.CheckCertificate, doctor.Failed, "no authority")
}

func TestSeveralAccountsAreReportedInTheirOrder(t *testing.T) {
	slow := gateway(t, &sandbox.Sandbox{}, nil)
	quick := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(quick.Close)
	first, second := account(slow), account(quick)
	first.Name, second.Name = "a-slow", "b-quick"
	var names []string
	for _, f := range examine(t, doctor.Config{Accounts: []doctor.Account{first, second}}) {
		names = append(names, f.Account)
	}
	if !slices.IsSorted(names) || names[0] == names[len(names)-1] {
		t.Errorf("reported in the order %v", names)
	}
}

func TestARunThatIsGivenUpEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // only then does the server see that its client goes
		cancel()
		<-r.Context().Done()
	}))
	t.Cleanup(server.Close)
	done := make(chan struct{})
	go func() {
		defer close(done)
		doctor.Run(ctx, doctor.Config{
			Accounts: slices.Repeat([]doctor.Account{account(server)}, 50), Now: time.Now, NewID: uuid.NewString,
		}, func(doctor.Finding) {})
	}()
	select {
	case <-done:
	case <-time.After(5 * time.Second):
		t.Fatal("it goes on")
	}
}

func TestRowsTellWhatIsInForceAndNoSecret(t *testing.T) {
	a := account(gateway(t, &sandbox.Sandbox{Types: []sandbox.Offer{{Code: "ONLINE", Name: "On\u202eline"}}, Channels: []sandbox.Offer{{Code: "QRIS"}}}, nil))
	a.Gateway.Endpoint = strings.Replace(a.Gateway.Endpoint, "http://", "http://user:s3cr3t@", 1)
	a.Defaults.Offer = []bill.Way{{PayType: "ONLINE", PayChannel: "QRIS"}}
	gone := a
	gone.Name, gone.Gateway.Transport = "gone", nowhere{}
	rows := doctor.Rows(t.Context(), []doctor.Account{a, gone})
	text, err := json.Marshal(rows)
	if err != nil {
		t.Fatal(err)
	}
	if aSecret.Match(text) || strings.Contains(fmt.Sprintf("%v %+v %#v", a, a, a), "s3cr3t") {
		t.Errorf("a secret is told: %s", text)
	}
	if r := rows[0]; r.SignatureContent != "string" || r.TimeZone != "Asia/Shanghai" || len(r.Methods) != 2 ||
		r.Methods[0].Name != "Online" || r.Error != "" || !slices.Equal(r.Offer, []string{"ONLINE/QRIS"}) {
		t.Errorf("%s", text)
	}
	if r := rows[1]; r.Name != "gone" || r.Error == "" || r.Methods == nil {
		t.Errorf("%s", text)
	}
}
