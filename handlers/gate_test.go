package handlers_test

import (
	"bytes"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/handlers"
	"github.com/caddy-qlink/caddy-qlink/payment"
)

const cheapID = "0aa0b3c4-1111-4222-8333-444455556666"

// gateSite is a site whose paid bills are remembered, with two paid orders: a
// dear one, billID, and a cheap one.
func gateSite(t *testing.T, changes ...func(*handlers.API)) *site {
	t.Helper()
	changes = append([]func(*handlers.API){func(a *handlers.API) { a.PaidCookie = func() bool { return true } }}, changes...)
	s := newSite(t, changes...)
	dear, cheap := paidBill(billID, "DEAR"), paidBill(cheapID, "CHEAP")
	s.engine.bills = map[string]bill.Bill{billID: dear, cheapID: cheap}
	s.engine.detailsOf = map[string]bill.Details{
		billID:  {Metadata: `{"opens":"/dear.pdf","n":5,"yes":true,"no":null,"list":["/dear.pdf"],"empty":""}`},
		cheapID: {Metadata: `{"opens":"/cheap.pdf"}`},
	}
	s.engine.orders = map[string]payment.Order{
		"DEAR":  {PaidBill: billID, Bills: []bill.Bill{dear}},
		"CHEAP": {PaidBill: cheapID, Bills: []bill.Bill{cheap}},
	}
	return s
}

func paidBill(id, orderCode string) bill.Bill {
	b := billIn(bill.Success)
	b.ID, b.OrderCode = id, orderCode
	return b
}

// gate makes one over the site's own account.
func (s *site) gate(t *testing.T, terms handlers.Terms, changes ...func(*payment.Scope)) *handlers.Gate {
	t.Helper()
	scope := s.Scope
	account := *scope.Account
	scope.Account = &account
	for _, change := range changes {
		change(&scope)
	}
	g, err := handlers.NewGate(s.engine, scope, terms, s.Now)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// asWritten is a request in which every term is what it looks like.
func asWritten(term string) (string, bool) { return term, true }

// opens fails the test unless the gate does as it should.
func opens(t *testing.T, g *handlers.Gate, cookie string, want bool) {
	t.Helper()
	r := get("/")
	if cookie != "" {
		r.AddCookie(&http.Cookie{Name: handlers.PaidCookie, Value: cookie})
	}
	if b, got, err := g.Open(r, asWritten); err != nil || got != want {
		t.Errorf("opens: %v (bill %s), %v; want %v with the cookie %q", got, b.ID, err, want, cookie)
	}
}

// paidCookie is what a browser that holds the cookie has after it was shown a bill.
func (s *site) paidCookie(t *testing.T, path, before string) string {
	t.Helper()
	r := asBrowser(get(path))
	if before != "" {
		r.AddCookie(&http.Cookie{Name: handlers.PaidCookie, Value: before})
	}
	w := s.do(r)
	wantStatus(t, w, 200)
	return cookieOf(w)
}

func cookieOf(w *httptest.ResponseRecorder) string {
	for _, c := range w.Result().Cookies() {
		if c.Name == handlers.PaidCookie {
			return c.Value
		}
	}
	return ""
}

func payPath(id string) string { return "/qlink/pay/" + id }

func TestACheapPaidBillOpensNothingElse(t *testing.T) {
	s := gateSite(t)
	cheap := s.paidCookie(t, payPath(cheapID), "")
	dear := s.paidCookie(t, payPath(billID), "")
	both := s.paidCookie(t, payPath(billID), cheap)
	for name, terms := range map[string]handlers.Terms{
		"by order": {Cookie: true, OrderCode: "DEAR"},
		"by item":  {Cookie: true, Metadata: map[string]string{"opens": "/dear.pdf"}},
		"by both":  {Cookie: true, OrderCode: "DEAR", Metadata: map[string]string{"opens": "/dear.pdf"}},
	} {
		t.Run(name, func(t *testing.T) {
			g := s.gate(t, terms)
			opens(t, g, "", false)
			opens(t, g, cheap, false)
			opens(t, g, dear, true)
			opens(t, g, both, true)
		})
	}
	mixed := s.gate(t, handlers.Terms{Cookie: true, OrderCode: "CHEAP", Metadata: map[string]string{"opens": "/dear.pdf"}})
	opens(t, mixed, both, false)
	for _, terms := range []handlers.Terms{
		{Bill: cheapID, OrderCode: "DEAR"},
		{Bill: cheapID, Metadata: map[string]string{"opens": "/dear.pdf"}},
		{OrderCode: "CHEAP", Metadata: map[string]string{"opens": "/dear.pdf"}},
	} {
		opens(t, s.gate(t, terms), both, false)
	}
}

func TestTheBillsIdProvesAnOrderWithoutACookie(t *testing.T) {
	s := gateSite(t)
	for id, want := range map[string]bool{
		billID: true, strings.ToUpper(billID): false, strings.Replace(billID, "3", "4", 1): false, "DEAR": false, cheapID: false,
	} {
		opens(t, s.gate(t, handlers.Terms{Bill: id, OrderCode: "DEAR"}), "", want)
		opens(t, s.gate(t, handlers.Terms{Bill: id, Metadata: map[string]string{"opens": "/dear.pdf"}}), "", want)
	}
}

// The paid attempt decides, whichever attempt's id the buyer has, and it alone:
// what the shop said of a later attempt does not count.
func TestThePaidAttemptDecides(t *testing.T) {
	s := gateSite(t)
	second := billIn(bill.Wait)
	second.ID, second.OrderCode = "7d1e0000-0000-4000-8000-000000000002", "CHEAP"
	s.engine.bills[second.ID] = second
	s.engine.detailsOf[second.ID] = bill.Details{Metadata: `{"opens":"/dear.pdf"}`}
	s.engine.orders["CHEAP"] = payment.Order{PaidBill: cheapID, OpenBill: second.ID, Bills: []bill.Bill{second, s.engine.bills[cheapID]}}
	for _, id := range []string{second.ID, cheapID} {
		opens(t, s.gate(t, handlers.Terms{Bill: id, Metadata: map[string]string{"opens": "/dear.pdf"}}), "", false)
		opens(t, s.gate(t, handlers.Terms{Bill: id, Metadata: map[string]string{"opens": "/cheap.pdf"}}), "", true)
		opens(t, s.gate(t, handlers.Terms{Bill: id, OrderCode: "CHEAP", Statuses: []bill.Status{bill.Wait}}), "", false)
	}
}

func TestAnUnpaidOrderMatchesByItsNewestBillAndOnlyWhereAskedFor(t *testing.T) {
	s := gateSite(t)
	first, second := billIn(bill.Expired), billIn(bill.Wait)
	first.OrderCode, second.OrderCode = "OPEN", "OPEN"
	s.engine.orders["OPEN"] = payment.Order{Bills: []bill.Bill{second, first}}
	for _, test := range []struct {
		statuses []bill.Status
		want     bool
	}{
		{nil, false},
		{[]bill.Status{bill.Success}, false},
		{[]bill.Status{bill.Expired}, false},
		{[]bill.Status{bill.Created, bill.Wait}, true},
	} {
		opens(t, s.gate(t, handlers.Terms{OrderCode: "OPEN", Statuses: test.statuses}), "", test.want)
	}
}

func TestMetadataIsComparedExactly(t *testing.T) {
	s := gateSite(t)
	for _, test := range []struct {
		key, value string
		want       bool
	}{
		{"opens", "/dear.pdf", true}, {"opens", "/dear.pd", false}, {"opens", "/Dear.pdf", false}, {"opens", "/dear.pdf ", false}, {"opens", `"/dear.pdf"`, false},
		{"n", "5", true}, {"n", "5.0", false}, {"yes", "true", true},
		{"no", "null", false}, {"list", `["/dear.pdf"]`, false}, {"list", "/dear.pdf", false}, {"nothing", "x", false}, {"Opens", "/dear.pdf", false},
	} {
		opens(t, s.gate(t, handlers.Terms{OrderCode: "DEAR", Metadata: map[string]string{test.key: test.value}}), "", test.want)
	}
	s.engine.detailsOf = nil
	s.engine.detailErr = bill.ErrNotFound // retention has deleted them
	opens(t, s.gate(t, handlers.Terms{OrderCode: "DEAR", Metadata: map[string]string{"opens": "/dear.pdf"}}), "", false)
	opens(t, s.gate(t, handlers.Terms{OrderCode: "DEAR"}), "", true)
}

// A value that a request leaves empty opens nothing, not even what an order
// has left empty itself.
func TestAnEmptyValueOpensNothing(t *testing.T) {
	s := gateSite(t)
	for name, terms := range map[string]handlers.Terms{
		"order":           {Cookie: true, OrderCode: "{empty}"},
		"item":            {Cookie: true, Metadata: map[string]string{"empty": "{empty}"}},
		"order and item":  {Cookie: true, OrderCode: "{empty}", Metadata: map[string]string{"opens": "/dear.pdf"}},
		"item of several": {Cookie: true, OrderCode: "DEAR", Metadata: map[string]string{"opens": "/dear.pdf", "empty": "{empty}"}},
		"bill":            {OrderCode: "DEAR", Bill: "{empty}"},
		"looked up":       {OrderCode: "{empty}"},
	} {
		g := s.gate(t, terms)
		for _, known := range []bool{true, false} {
			r := get("/")
			r.AddCookie(&http.Cookie{Name: handlers.PaidCookie, Value: s.paidCookie(t, payPath(billID), "")})
			_, open, err := g.Open(r, func(term string) (string, bool) {
				if term == "{empty}" {
					return "", known
				}
				return term, true
			})
			if open || err != nil {
				t.Errorf("%s: %v, %v", name, open, err)
			}
			if _, open, err := g.Open(r, func(string) (string, bool) { return "DEAR", false }); open || err != nil {
				t.Errorf("%s, not known: %v, %v", name, open, err)
			}
		}
	}
}

func TestWhatCannotBeAnOrdersCodeIsNotLookedUp(t *testing.T) {
	s := gateSite(t)
	for _, code := range []string{strings.Repeat("x", 257), "\xff", "a\x00b", " DEAR", "NONE"} {
		before := s.engine.recorded()
		opens(t, s.gate(t, handlers.Terms{OrderCode: code}), "", false)
		if asked := s.engine.recorded() != before; asked != (code == "NONE") {
			t.Errorf("%q: asked the store: %v", code, asked)
		}
	}
}

func TestNobodyKnowingIsAnErrorAndNoAnswer(t *testing.T) {
	s := gateSite(t)
	cookie := s.paidCookie(t, payPath(billID), "")
	down := fmt.Errorf("read: %w", bill.ErrUnavailable)
	for name, set := range map[string]func(){
		"bill":    func() { s.engine.billErr = down },
		"order":   func() { s.engine.orderErr = down },
		"details": func() { s.engine.detailErr = down },
	} {
		s.engine.billErr, s.engine.orderErr, s.engine.detailErr = nil, nil, nil
		set()
		terms := handlers.Terms{OrderCode: "DEAR", Metadata: map[string]string{"opens": "/dear.pdf"}, Cookie: name == "bill"}
		r := get("/")
		r.AddCookie(&http.Cookie{Name: handlers.PaidCookie, Value: cookie})
		if _, open, err := s.gate(t, terms).Open(r, asWritten); open || !errors.Is(err, bill.ErrUnavailable) {
			t.Errorf("%s: %v, %v", name, open, err)
		}
	}
}

func TestAGateWantsAnOrder(t *testing.T) {
	item := map[string]string{"opens": "x"}
	for _, test := range []struct {
		want  string
		terms handlers.Terms
	}{
		{"order_code or metadata is missing", handlers.Terms{}},
		{"order_code or metadata is missing", handlers.Terms{Cookie: true}},
		{"order_code or metadata is missing", handlers.Terms{Bill: "x"}},
		{"order_code or metadata is missing", handlers.Terms{Statuses: []bill.Status{bill.Success}}},
		{"metadata alone names no order", handlers.Terms{Metadata: item}},
		{"cookie and bill are two ways", handlers.Terms{Cookie: true, Bill: "x", OrderCode: "O"}},
		{"cookie knows of paid orders alone", handlers.Terms{Cookie: true, OrderCode: "O", Statuses: []bill.Status{bill.Wait}}},
		{"cookie knows of paid orders alone", handlers.Terms{Cookie: true, OrderCode: "O", Statuses: []bill.Status{bill.Success, bill.Wait}}},
		{"metadata wants a key and a value", handlers.Terms{Cookie: true, Metadata: map[string]string{"": "x"}}},
		{"metadata wants a key and a value", handlers.Terms{Cookie: true, Metadata: map[string]string{"x": ""}}},
	} {
		if err := test.terms.Check(); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%+v: %v", test.terms, err)
		}
		if _, err := handlers.NewGate(nil, payment.Scope{Account: new(payment.Account)}, test.terms, time.Now); err == nil {
			t.Errorf("%+v makes a gate", test.terms)
		}
	}
	for _, terms := range []handlers.Terms{
		{Cookie: true, OrderCode: "O"}, {Cookie: true, Metadata: item, Statuses: []bill.Status{bill.Success}}, {OrderCode: "O"}, {OrderCode: "O", Metadata: item},
		{Bill: "x", Metadata: item}, {Bill: "x", OrderCode: "O", Statuses: []bill.Status{bill.Wait}},
	} {
		if err := terms.Check(); err != nil {
			t.Errorf("%+v: %v", terms, err)
		}
	}
}

// forge makes a pass as the module does, of the parts given.
func forge(secret, ledger, account, shop, id string, expires time.Time) string {
	return forgeVersion(1, secret, ledger, account, shop, id, expires)
}

func forgeVersion(version byte, secret, ledger, account, shop, id string, expires time.Time) string {
	key, err := hkdf.Key(sha256.New, []byte(secret), []byte(ledger), "caddy-qlink qlink_paid v1", 32)
	if err != nil {
		panic(err)
	}
	parsed := uuid.MustParse(id)
	raw := append([]byte{version}, parsed[:]...)
	raw = binary.BigEndian.AppendUint64(raw, uint64(expires.Unix()))
	mac := hmac.New(sha256.New, key)
	mac.Write(raw)
	for _, name := range []string{account, shop} {
		mac.Write(append([]byte{byte(len(name))}, name...))
	}
	return base64.RawURLEncoding.EncodeToString(mac.Sum(raw))
}

func TestAPassIsExactlyThat(t *testing.T) {
	s := gateSite(t)
	if got, want := s.paidCookie(t, payPath(billID), ""), forge(appSecret, "ledger", "default", "default", billID, noon.Add(30*24*time.Hour)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestForgedForeignAndExpiredCookiesOpenNothingAndAskNobody(t *testing.T) {
	s := gateSite(t)
	later := noon.Add(time.Hour)
	genuine := forge(appSecret, "ledger", "default", "default", billID, later)
	raw, err := base64.RawURLEncoding.DecodeString(genuine)
	if err != nil {
		t.Fatal(err)
	}
	bad := map[string]string{
		"nothing":          "",
		"words":            "paid",
		"the bare id":      billID,
		"expired":          forge(appSecret, "ledger", "default", "default", billID, noon),
		"no time at all":   forge(appSecret, "ledger", "default", "default", billID, time.Unix(-1, 0)),
		"another secret":   forge("another", "ledger", "default", "default", billID, later),
		"no secret":        forge("", "ledger", "default", "default", billID, later),
		"another gateway":  forge(appSecret, "other", "default", "default", billID, later),
		"another account":  forge(appSecret, "ledger", "other", "default", billID, later),
		"another shop":     forge(appSecret, "ledger", "default", "other", billID, later),
		"a shifted border": forge(appSecret, "ledger", "defaultd", "efault", billID, later),
		"another version":  forgeVersion(2, appSecret, "ledger", "default", "default", billID, later),
		"truncated":        genuine[:len(genuine)-1],
		"cut by four":      genuine[:len(genuine)-4],
		"cut before":       genuine[1:],
		"lengthened":       genuine + "A",
		"padded":           genuine + "=",
		"quoted":           `"` + genuine[:4] + `"`,
		"joined by comma":  genuine[:40] + "," + genuine[40:],
		"standard base64":  base64.StdEncoding.EncodeToString(append([]byte{1, 0xff, 0xff, 0xff}, raw[4:]...)),
	}
	for i := range raw {
		flipped := slices.Clone(raw)
		flipped[i] ^= 1
		bad[fmt.Sprintf("bit of byte %d", i)] = base64.RawURLEncoding.EncodeToString(flipped)
	}
	gates := []*handlers.Gate{
		s.gate(t, handlers.Terms{Cookie: true, OrderCode: "DEAR"}),
		s.gate(t, handlers.Terms{Cookie: true, Metadata: map[string]string{"opens": "/dear.pdf"}}),
	}
	for name, cookie := range bad {
		t.Run(name, func(t *testing.T) {
			for _, g := range gates {
				before := s.engine.recorded()
				opens(t, g, cookie, false)
				if s.engine.recorded() != before {
					t.Error("the store was asked")
				}
			}
		})
	}
	for _, g := range gates {
		opens(t, g, genuine, true)
	}
}

// Even a genuine signature opens only what the store has as paid, of this
// account and shop.
func TestASignatureAloneOpensNothing(t *testing.T) {
	s := gateSite(t)
	g := s.gate(t, handlers.Terms{Cookie: true, OrderCode: "DEAR"})
	cookie := s.paidCookie(t, payPath(billID), "")
	for _, status := range bill.Statuses() {
		b := paidBill(billID, "DEAR")
		b.Status = status
		s.engine.bills[billID] = b
		opens(t, g, cookie, status == bill.Success)
	}
	other := paidBill(billID, "DEAR")
	other.Account = "other"
	s.engine.bills[billID] = other
	opens(t, g, cookie, false)
	delete(s.engine.bills, billID)
	opens(t, g, cookie, false)
}

// Two accounts may share a ledger, and with it an order.
func TestAnOrderPaidToAnotherAccountOpensNothing(t *testing.T) {
	s := gateSite(t)
	g := s.gate(t, handlers.Terms{OrderCode: "DEAR"}, func(scope *payment.Scope) { scope.Account.Name = "other" })
	opens(t, g, "", false)
}

func TestACookieOutlivesARotationForAsLongAsItsSecretIsKept(t *testing.T) {
	s := gateSite(t)
	cookie := s.paidCookie(t, payPath(billID), "")
	terms := handlers.Terms{Cookie: true, OrderCode: "DEAR"}
	with := func(secrets ...string) func(*payment.Scope) {
		return func(scope *payment.Scope) { scope.Account.Secrets = secrets }
	}
	opens(t, s.gate(t, terms, with("new", appSecret)), cookie, true)
	opens(t, s.gate(t, terms, with("new")), cookie, false)
	opens(t, s.gate(t, terms, with()), cookie, false)
}

func TestWhoIsShownAPaidBillIsGivenThePass(t *testing.T) {
	for name, ask := range map[string]func(*site) *httptest.ResponseRecorder{
		"page":   func(s *site) *httptest.ResponseRecorder { return s.do(asBrowser(get(payPath(billID)))) },
		"status": func(s *site) *httptest.ResponseRecorder { return s.do(get(billPath)) },
		"events": func(s *site) *httptest.ResponseRecorder { return s.do(get(billPath + "/events")) },
		"refresh": func(s *site) *httptest.ResponseRecorder {
			return s.do(post(billPath+"/refresh", ""))
		},
		"the order again": func(s *site) *httptest.ResponseRecorder {
			return s.do(signed(post("/qlink/bills", orderBody), orderBody))
		},
	} {
		for _, paid := range []bool{true, false} {
			for _, gated := range []bool{true, false} {
				s := gateSite(t, func(a *handlers.API) { a.PaidCookie = func() bool { return gated } })
				b := s.engine.bills[billID]
				if !paid {
					b = billIn(bill.Canceled)
					s.engine.bills[billID] = b
				}
				s.engine.refreshed, s.engine.created = b, payment.Created{Bill: b, Outcome: payment.OutcomeExisting}
				w := ask(s)
				wantStatus(t, w, 200)
				if got := cookieOf(w) != ""; got != (paid && gated) {
					t.Errorf("%s: paid %v, asked for by a matcher %v: given %v", name, paid, gated, got)
				}
			}
		}
	}
	s := gateSite(t, func(a *handlers.API) { a.PaidCookie = nil })
	if cookieOf(s.do(get(billPath))) != "" {
		t.Error("a cookie that nobody asked for")
	}
}

const orderBody = `{"orderCode":"DEAR","amount":"15000"}`

func TestTheCookieIsKeptFromScriptsOtherSitesAndPlainHTTP(t *testing.T) {
	for public, secure := range map[string]bool{"https://shop.example/store": true, "http://localhost:8080": false} {
		s := gateSite(t, func(a *handlers.API) { a.PublicURL = public })
		set := s.do(get(billPath)).Header().Values("Set-Cookie")
		want := "; Path=/; Max-Age=2592000; HttpOnly; "
		if secure {
			want += "Secure; "
		}
		if len(set) != 1 || !strings.HasSuffix(set[0], want+"SameSite=Lax") {
			t.Errorf("%s: %q", public, set)
		}
	}
}

func TestABrowserCollectsPassesAndTheOldestAreForgotten(t *testing.T) {
	s := gateSite(t)
	first := s.paidCookie(t, payPath(cheapID), "")
	cookie := first
	for i := range 40 {
		id := fmt.Sprintf("7d1e0000-0000-4000-8000-%012d", i)
		s.engine.bills[id] = paidBill(id, fmt.Sprint("O", i))
		cookie = s.paidCookie(t, payPath(id), cookie)
	}
	if held := strings.Split(cookie, "."); len(held) != 32 || len(handlers.PaidCookie+cookie) > 3000 {
		t.Errorf("%d passes in %d bytes", len(held), len(cookie))
	}
	opens(t, s.gate(t, handlers.Terms{Cookie: true, OrderCode: "O39"}), cookie, true)
	opens(t, s.gate(t, handlers.Terms{Cookie: true, OrderCode: "O8"}), cookie, true)
	opens(t, s.gate(t, handlers.Terms{Cookie: true, OrderCode: "O7"}), cookie, false)
	opens(t, s.gate(t, handlers.Terms{Cookie: true, OrderCode: "CHEAP"}), cookie, false)
}

func TestAPassIsRenewedInItsSecondHalfOnly(t *testing.T) {
	h := &hour{noon}
	s := gateSite(t, clocked(h))
	first := s.paidCookie(t, payPath(billID), "")
	h.now = noon.Add(14 * 24 * time.Hour)
	if again := s.paidCookie(t, payPath(billID), first); again != "" {
		t.Errorf("it was set again: %s", again)
	}
	h.now = noon.Add(16 * 24 * time.Hour)
	renewed := s.paidCookie(t, payPath(billID), first)
	if renewed == "" || strings.Contains(renewed, first) {
		t.Errorf("it was not renewed: %q", renewed)
	}
	g := s.gate(t, handlers.Terms{Cookie: true, OrderCode: "DEAR"})
	h.now = noon.Add(30 * 24 * time.Hour)
	opens(t, g, first, false)
	opens(t, g, renewed, true)
	h.now = noon.Add(47 * 24 * time.Hour)
	opens(t, g, renewed, false)
}

// Two shops may live on one host: the browser keeps one cookie for both.
func TestAnotherShopsPassesAreKeptAndJunkIsNot(t *testing.T) {
	s := gateSite(t)
	other := forge(appSecret, "ledger", "default", "other", cheapID, noon.Add(time.Hour))
	gone := forge(appSecret, "ledger", "default", "other", cheapID, noon.Add(-time.Hour))
	forged := forge("guess", "ledger", "default", "default", billID, noon.Add(29*24*time.Hour))
	cookie := s.paidCookie(t, payPath(billID), strings.Join([]string{"junk", other, gone, other, forged, ""}, "."))
	if held := strings.Split(cookie, "."); len(held) != 2 || held[1] != other {
		t.Errorf("%q", held)
	}
	opens(t, s.gate(t, handlers.Terms{Cookie: true, OrderCode: "DEAR"}), cookie, true)
	opens(t, s.gate(t, handlers.Terms{Cookie: true, OrderCode: "CHEAP"}), cookie, false)
	opens(t, s.gate(t, handlers.Terms{Cookie: true, OrderCode: "CHEAP"}, func(scope *payment.Scope) { scope.Shop = "other" }), cookie, true)
}

// A neighbour under the same domain can add a cookie of the same name.
func TestACookieOfTheSameNameFromANeighbourHidesNothing(t *testing.T) {
	s := gateSite(t)
	r := get("/")
	r.Header.Add("Cookie", handlers.PaidCookie+"=junk; "+handlers.PaidCookie+"="+s.paidCookie(t, payPath(billID), ""))
	if _, open, err := s.gate(t, handlers.Terms{Cookie: true, OrderCode: "DEAR"}).Open(r, asWritten); !open || err != nil {
		t.Errorf("%v, %v", open, err)
	}
}

func TestAHugeCookieCostsLittle(t *testing.T) {
	s := gateSite(t)
	pass := forge("guess", "ledger", "default", "default", billID, noon.Add(time.Hour))
	genuine := s.paidCookie(t, payPath(billID), "")
	g := s.gate(t, handlers.Terms{Cookie: true, OrderCode: "DEAR"})
	opens(t, g, strings.Repeat(pass+".", 31)+genuine, true)
	opens(t, g, strings.Repeat(pass+".", 32)+genuine, false)
	r := get("/")
	for range 20 {
		r.Header.Add("Cookie", handlers.PaidCookie+"="+strings.Repeat(pass+".", 1000)+genuine)
	}
	r.Header.Add("Cookie", handlers.PaidCookie+"="+genuine)
	if _, open, err := g.Open(r, asWritten); open || err != nil {
		t.Errorf("more than 32 passes of a cookie were read, or more than four cookies: %v, %v", open, err)
	}
}

func FuzzPaidCookie(f *testing.F) {
	genuine := forge(appSecret, "ledger", "default", "default", billID, noon.Add(time.Hour))
	for _, seed := range []string{
		"", ".", genuine, genuine[:75], genuine + "." + genuine, "junk." + genuine, strings.Repeat("A", 76), strings.Repeat("A.", 100),
		forge(appSecret, "ledger", "default", "other", billID, noon.Add(time.Hour)),
		forge(appSecret, "ledger", "default", "default", billID, noon.Add(-time.Hour)),
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		s := gateSite(t)
		r := get(payPath(cheapID))
		r.Header.Set("Cookie", handlers.PaidCookie+"="+value)
		_, open, err := s.gate(t, handlers.Terms{Cookie: true, OrderCode: "DEAR"}).Open(r, asWritten)
		if err != nil || open && !strings.Contains(value, genuine) {
			t.Errorf("%q opens: %v, %v", value, open, err)
		}
		set := cookieOf(s.do(r)) // what is kept of it goes back to the browser
		if set == "" || len(set) > 32*77 || bytes.ContainsAny([]byte(set), "; ,\"\\") {
			t.Errorf("%q is answered with %q", value, set)
		}
	})
}
