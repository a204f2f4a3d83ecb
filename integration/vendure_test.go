//go:build linux

package integration

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/caddy-qlink/caddy-qlink/store/postgres/postgrestest"
)

const vendureShop = "../examples/shops/vendure"

// runVendure compiles the example and runs it over an empty database.
func (v *vendure) runVendure(t *testing.T, s *exampleShop, env []string) {
	v.exampleShop, s.front = s, v
	modules, err := filepath.Abs(vendureShop + "/node_modules")
	if err != nil {
		t.Fatal(err)
	}
	built := t.TempDir()
	tsc := exec.Command(modules+"/.bin/tsc", "--project", vendureShop, "--outDir", built)
	if out, err := tsc.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s (scripts/test installs what it needs)", err, out)
	}
	v.database = postgrestest.Start(t, "fsync = off").DSN()
	for setting := range strings.FieldsSeq(v.database) {
		name, value, _ := strings.Cut(setting, "=")
		if variable, is := postgresVariables[name]; is {
			env = append(env, variable+"="+value)
		}
	}
	s.env = append(s.env, "SHOP_NOTIFY_SECRET="+notifyKey)
	s.run(t, append(env, "NODE_PATH="+modules, "SHOP_NOTIFY_SECRET="+notifyKey, "SHOP_ADMIN_PASSWORD="+adminPassword), "node", built+"/server.js")
}

const adminPassword = "of-the-tests"

// postgresVariables say what a DSN does.
var postgresVariables = map[string]string{"host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "dbname": "PGDATABASE"}

// vendure is a Vendure shop by its two APIs: buyers are at the one through Caddy,
// its merchant is at the other.
type vendure struct {
	*exampleShop

	merchant *world // with a session of his own
	database string // its DSN
}

func startVendure(t *testing.T) *vendure {
	t.Helper()
	v := new(vendure)
	startShop(t, "vendure", v.runVendure)
	merchant := *v.world
	merchant.client = newClient(t)
	merchant.browser()
	v.merchant = &merchant
	v.askMerchant(fmt.Sprintf("mutation { login(username: \"superadmin\", password: %q) { __typename } }", adminPassword))
	return v
}

func (v *vendure) open() bool { return strings.Contains(v.log.String(), "the shelves are full") }

// shopOrder is an order as both APIs tell of it. For a buyer without one it is
// empty.
type shopOrder struct {
	State string `json:"state"`
	Total int    `json:"totalWithTax"`
	Lines []struct {
		ID string `json:"id"`
	} `json:"lines"`
	Payments []struct {
		State         string `json:"state"`
		TransactionID string `json:"transactionId"`
		Amount        int    `json:"amount"`
	} `json:"payments"`
	History struct {
		Items []struct {
			Data struct {
				Note string `json:"note"`
			} `json:"data"`
		} `json:"items"`
	} `json:"history"`
}

// notes are what the merchant is to look at.
func (o shopOrder) notes() (notes []string) {
	for _, entry := range o.History.Items {
		if entry.Data.Note != "" {
			notes = append(notes, entry.Data.Note)
		}
	}
	return notes
}

// shopAnswer is what an API answers: the fields that were asked for, by name.
type shopAnswer struct {
	Data   map[string]json.RawMessage `json:"data"`
	Errors []struct {
		Message string `json:"message"`
	} `json:"errors"`
}

// inGraphQL is the body that asks for a document.
func inGraphQL(t *testing.T, document string) string {
	t.Helper()
	body, err := json.Marshal(map[string]string{"query": document})
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// query puts a document to an API, as the buyer or as the merchant.
func query(t *testing.T, who *world, url, document string) shopAnswer {
	t.Helper()
	return decode[shopAnswer](t, who.must("POST", url, inGraphQL(t, document), "Content-Type", "application/json").want(t, 200).body)
}

func (v *vendure) askMerchant(document string) map[string]json.RawMessage {
	v.t.Helper()
	said := query(v.t, v.merchant, "http://"+v.own+"/admin-api", document)
	if len(said.Errors) > 0 {
		v.t.Fatalf("%s: %+v", document, said.Errors)
	}
	return said.Data
}

// change has the buyer change his order by a mutation.
func (v *vendure) change(mutation string) {
	v.t.Helper()
	said := query(v.t, v.world, "/shop-api", "mutation { "+mutation+" { __typename } }")
	for _, result := range said.Data {
		if string(result) != `{"__typename":"Order"}` {
			v.t.Fatalf("%s: %s", mutation, result)
		}
	}
	if len(said.Errors) > 0 {
		v.t.Fatalf("%s: %+v", mutation, said.Errors)
	}
}

func (v *vendure) fillCart(quantity int) {
	v.change(fmt.Sprintf("addItemToOrder(productVariantId: 1, quantity: %d)", quantity))
}

func (v *vendure) enter() {
	v.fillCart(1)
	v.change(`setCustomerForOrder(input: { firstName: "A", lastName: "Buyer", emailAddress: "buyer@example.com" })`)
	v.change(`setOrderShippingAddress(input: { streetLine1: "Jalan Kopi 1", countryCode: "ID" })`)
	v.change(`setOrderShippingMethod(shippingMethodId: [1])`)
}

// active is the buyer's order.
func (v *vendure) active() shopOrder {
	v.t.Helper()
	return decode[shopOrder](v.t, query(v.t, v.world, "/shop-api", "{ activeOrder { state lines { id } } }").Data["activeOrder"])
}

// goBack goes from the payment to the cart.
func (v *vendure) goBack() { v.change(`transitionOrderToState(state: "AddingItems")`) }

func (v *vendure) take(quantity int) {
	cart := v.active()
	if len(cart.Lines) == 0 {
		v.fillCart(quantity)
		return
	}
	if cart.State == "ArrangingPayment" {
		v.goBack()
	}
	v.change(fmt.Sprintf("adjustOrderLine(orderLineId: %s, quantity: %d)", cart.Lines[0].ID, quantity))
}

// seen is an order as the merchant sees it.
func (v *vendure) seen(b billJSON) shopOrder {
	v.t.Helper()
	found := decode[struct{ Items []shopOrder }](v.t, v.askMerchant(fmt.Sprintf(
		`{ orders(options: { filter: { code: { eq: %q } } }) { items {
			state totalWithTax lines { id } payments { state transactionId amount } history { items { data } }
		} } }`, b.OrderCode))["orders"])
	if len(found.Items) != 1 {
		v.t.Fatalf("order %s: %+v", b.OrderCode, found)
	}
	return found.Items[0]
}

func (v *vendure) stands(b billJSON) string {
	order := v.seen(b)
	settled := 0
	for _, payment := range order.Payments {
		if payment.State == "Settled" {
			settled++
		}
	}
	switch {
	case order.State == "PaymentSettled" && settled == 1:
		return shopPaid
	case settled == 0:
		return shopWaiting
	default:
		return fmt.Sprintf("%+v", order)
	}
}

// paidAs is a notification that a bill was paid with a sum, as qlink signs it.
func paidAs(t *testing.T, b billJSON, amount, currency string) (body string, header []string) {
	t.Helper()
	body = fmt.Sprintf(`{"type":"bill.paid","timestamp":"2026-11-22T10:00:00Z","data":{"id":%q,"orderCode":%q,"status":"SUCCESS","amount":%q,"currency":%q,"order":{"paid":true,"paidBill":%[1]q}}}`,
		b.ID, b.OrderCode, amount, currency)
	return body, signedNotification(t, body)
}

// signedNotification are the headers of a notification.
func signedNotification(t *testing.T, body string) []string {
	t.Helper()
	hook, err := standardwebhooks.NewWebhook(notifyKey)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	signature, err := hook.Sign("msg_of_the_tests", now, []byte(body))
	if err != nil {
		t.Fatal(err)
	}
	return []string{
		"Content-Type", "application/json",
		"Webhook-Id", "msg_of_the_tests", "Webhook-Timestamp", fmt.Sprint(now.Unix()), "Webhook-Signature", signature,
	}
}

// The example of a Vendure shop as it stands, over a PostgreSQL of its own, from
// an empty cart to PaymentSettled.
func TestVendureIsPaidAndKnowsIt(t *testing.T) {
	v := startVendure(t)
	v.goThrough(t, afternoon)
	for name, scene := range map[string]func(*testing.T, *vendure){
		"bought as the page has it":     vendureIsBoughtAsThePageHasIt,
		"paid, as its merchant sees it": vendureShowsThePayment,
		"nothing to pay yet":            vendureHasNothingToPayYet,
		"clicked twice at once":         vendureIsOneOrderForTwoClicks,
		"the old cart is paid for":      vendureShowsMoneyForTheOldCart,
		"told of another attempt":       vendureAsksWhichAttemptPaid,
		"the buyer says that he paid":   vendureTakesNoBuyersWord,
		"back to the same cart":         vendureIsPaidBackAtTheCart,
		"told while the buyer goes":     vendureIsPaidWhileTheBuyerGoesBack,
		"told while the cart changes":   vendureIsPaidForOneCartOrTheOther,
		"paid between read and write":   vendureWritesNothingOverPaid,
		"told many times at once":       vendureIsPaidOnce,
		"told of another sum":           vendureTakesNoOtherSum,
		"paid in both attempts":         vendureShowsTheSecondPayment,
		"paid for both carts":           vendureLeavesTwoPaymentsToThePerson,
		"the merchant's own draft":      vendureLetsTheMerchantOrder,
		"the bytes were changed":        vendureHeedsNoChangedBytes,
		"told of what it does not know": vendureTakesWhatItDoesNotKnow,
	} {
		v.goThrough(t, shopScenes{name: func(t *testing.T, _ *exampleShop) { scene(t, v) }})
	}
}

// The commands of docs/shops.md, at another address.
func vendureIsBoughtAsThePageHasIt(t *testing.T, v *vendure) {
	blocks := pageBlocks(t)
	its := slices.IndexFunc(blocks, func(b pageBlock) bool {
		return b.page == "docs/shops.md" && strings.Contains(b.text, "/shop-api")
	})
	out := v.shell(strings.ReplaceAll(blocks[its].text, "http://localhost:8095", "http://"+v.public))
	if strings.Count(out, `"__typename":"Order"`) != 4 || !strings.Contains(out, `"status":"WAIT"`) || !strings.Contains(out, `"payUrl":"http`) {
		t.Errorf("%s", out)
	}
}

func vendureShowsThePayment(t *testing.T, v *vendure) {
	v.newBuyer()
	v.take(3)
	b := v.checkOut()
	v.control("POST", "/payments/"+b.ID+"/pay", "")
	v.awaitPaid(b)
	order := v.seen(b)
	if p := order.Payments[0]; p.TransactionID != b.ID || p.Amount != 4500000 || len(order.notes()) > 0 {
		t.Errorf("%+v", order)
	}
	if next := v.active(); next.State != "" {
		t.Errorf("the buyer's next cart: %+v", next)
	}
}

// A checkout that the shop turns down is the shop's own answer, and no bill.
func vendureHasNothingToPayYet(t *testing.T, v *vendure) {
	v.browser()
	v.must("POST", "/checkout", "").want(t, http.StatusConflict)
	v.fillCart(1)
	refused := v.must("POST", "/checkout", "").want(t, http.StatusUnprocessableEntity)
	if !strings.Contains(string(refused.body), "customer") {
		t.Errorf("%s", refused.body)
	}
	if cart := v.active(); cart.State != "AddingItems" {
		t.Errorf("%+v", cart)
	}
}

func vendureIsOneOrderForTwoClicks(t *testing.T, v *vendure) {
	v.newBuyer()
	clicks := make([]*http.Request, 4)
	for i := range clicks {
		clicks[i] = v.request("POST", "/checkout", "")
	}
	for _, status := range v.atOnce(clicks...) {
		if status != http.StatusOK && status != http.StatusCreated {
			t.Errorf("a click: %d", status)
		}
	}
	b := v.checkOut()
	bills := slices.DeleteFunc(v.listed(), func(other billJSON) bool { return other.OrderCode != b.OrderCode })
	if len(bills) != 1 {
		t.Errorf("%+v", bills)
	}
}

// The merchant sees the money that came for what is no longer in the cart, and
// the buyer is not asked for more before he has looked at it.
func vendureShowsMoneyForTheOldCart(t *testing.T, v *vendure) {
	v.newBuyer()
	b := v.checkOut()
	v.take(3)
	v.control("POST", "/payments/"+b.ID+"/pay", "")
	v.awaitTold(b)
	order := v.seen(b)
	if notes := order.notes(); order.State != "AddingItems" || len(order.Payments) != 0 || len(notes) != 1 || !strings.Contains(notes[0], b.ID+" paid 15000 IDR") {
		t.Errorf("%+v", order)
	}
	again := v.must("POST", "/checkout", "").want(t, http.StatusConflict)
	if !strings.Contains(string(again.body), "paid_at_another_amount") {
		t.Errorf("%s", again.body)
	}
}

// A notification is about one attempt, and says which one has paid.
func vendureAsksWhichAttemptPaid(t *testing.T, v *vendure) {
	v.newBuyer()
	first := v.checkOut()
	v.must("POST", "/qlink/bills/"+first.ID+"/cancel", "", "Sec-Fetch-Site", "same-origin").want(t, 200)
	v.awaitTold(first)
	open := v.checkOut()
	body, _ := paidAs(t, first, "15000", "IDR")
	body = strings.NewReplacer(`"paidBill":"`+first.ID, `"paidBill":"`+open.ID, `"status":"SUCCESS"`, `"status":"CANCELED"`).Replace(body)
	v.tell(body, signedNotification(t, body)...).want(t, http.StatusNoContent)
	if stands := v.stands(open); stands != shopWaiting {
		t.Errorf("of a bill that waits: %s", stands)
	}
	body = strings.Replace(body, open.ID, "00000000-0000-4000-8000-000000000002", 1)
	v.tell(body, signedNotification(t, body)...).want(t, http.StatusInternalServerError) // and is told again
}

// The Shop API lets anybody add a payment by any method.
func vendureTakesNoBuyersWord(t *testing.T, v *vendure) {
	v.newBuyer()
	b := v.checkOut()
	said := query(t, v.world, "/shop-api", fmt.Sprintf(
		`mutation { addPaymentToOrder(input: { method: "qlink", metadata: { bill: %q, amount: 1500000 } }) { __typename } }`, b.ID))
	if len(said.Errors) != 1 {
		t.Errorf("%s", said.Data)
	}
	if order := v.seen(b); order.State != "ArrangingPayment" || len(order.Payments) != 0 {
		t.Errorf("%+v", order)
	}
}

func vendureIsPaidBackAtTheCart(_ *testing.T, v *vendure) {
	v.newBuyer()
	b := v.checkOut()
	v.goBack()
	v.control("POST", "/payments/"+b.ID+"/pay", "")
	v.awaitPaid(b)
}

// atOnce sends requests together and returns the statuses of the answers.
func (v *vendure) atOnce(requests ...*http.Request) []int {
	v.t.Helper()
	statuses := make([]int, len(requests))
	var all sync.WaitGroup
	for i, req := range requests {
		all.Go(func() {
			a, err := v.world.do(req)
			if err != nil {
				v.t.Error(err)
				return
			}
			statuses[i] = a.StatusCode
		})
	}
	all.Wait()
	return statuses
}

// Whichever comes first, and however close the other one: the order is paid.
func vendureIsPaidWhileTheBuyerGoesBack(t *testing.T, v *vendure) {
	goingBack := inGraphQL(t, `mutation { transitionOrderToState(state: "AddingItems") { __typename } }`)
	for range 6 {
		v.newBuyer()
		b := v.checkOut()
		body, header := paidAs(t, b, "15000", "IDR")
		statuses := v.atOnce(
			v.request("POST", "http://"+v.own+"/notifications", body, header...),
			v.request("POST", "/shop-api", goingBack, "Content-Type", "application/json"))
		if order := v.seen(b); v.stands(b) != shopPaid {
			t.Fatalf("answered %v: %+v", statuses, order)
		}
	}
}

// The notification's transaction ends when the buyer's has read the order and is
// about to write it.
func vendureWritesNothingOverPaid(t *testing.T, v *vendure) {
	v.newBuyer()
	v.isPaidDuring(v.checkOut(), `transitionOrderToState(state: "AddingItems")`)
	v.newBuyer()
	b := v.checkOut()
	v.goBack()
	v.isPaidDuring(b, "adjustOrderLine(orderLineId: "+v.active().Lines[0].ID+", quantity: 3)")
}

// isPaidDuring has the buyer's mutation wait for a payment to be written down.
func (v *vendure) isPaidDuring(b billJSON, mutation string) {
	t := v.t
	t.Helper()
	database, err := pgx.Connect(t.Context(), v.database)
	if err != nil {
		t.Fatal(err)
	}
	defer database.Close(t.Context())
	notified, err := database.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	sql := func(statement string) {
		t.Helper()
		if _, err := notified.Exec(t.Context(), statement, b.OrderCode); err != nil {
			t.Fatal(err)
		}
	}
	sql(`SELECT FROM "order" WHERE code = $1 FOR UPDATE`)
	answered := make(chan []int)
	req := v.request("POST", "/shop-api", inGraphQL(t, "mutation { "+mutation+" { __typename } }"), "Content-Type", "application/json")
	go func() { answered <- v.atOnce(req) }()
	v.await("the buyer to wait for the order", func() (waits bool) {
		err := database.QueryRow(t.Context(), "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock')").Scan(&waits)
		return err == nil && waits
	})
	sql(`UPDATE "order" SET state = 'PaymentSettled', active = false WHERE code = $1`)
	if err := notified.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	<-answered
	if order := v.seen(b); order.State != "PaymentSettled" || order.Total != 1500000 {
		t.Errorf("%s: %+v", mutation, order)
	}
}

// A buyer back at the cart changes it just when the payment for it is told of:
// either it is paid for and stays as it was, or the money is for a person.
func vendureIsPaidForOneCartOrTheOther(t *testing.T, v *vendure) {
	for round := range 8 {
		v.newBuyer()
		b := v.checkOut()
		v.goBack()
		line := v.active().Lines[0].ID
		change := []string{
			"setOrderShippingMethod(shippingMethodId: [1])",
			"adjustOrderLine(orderLineId: " + line + ", quantity: 3)",
			"addItemToOrder(productVariantId: 1, quantity: 2)",
			"removeOrderLine(orderLineId: " + line + ")",
		}[round%4]
		body, header := paidAs(t, b, "15000", "IDR")
		statuses := v.atOnce(
			v.request("POST", "/shop-api", inGraphQL(t, "mutation { "+change+" { __typename } }"), "Content-Type", "application/json"),
			v.request("POST", "http://"+v.own+"/notifications", body, header...))
		if statuses[1] == http.StatusInternalServerError { // the one of a deadlock that the database chose: qlink tells it again
			v.tell(body, header...).want(t, http.StatusNoContent)
		}
		order := v.seen(b)
		paid := v.stands(b) == shopPaid && order.Total == 1500000 && len(order.notes()) == 0
		forAPerson := order.State == "AddingItems" && len(order.Payments) == 0 && order.Total != 1500000 && len(order.notes()) == 1
		if !paid && !forAPerson {
			t.Errorf("%s: answered %v: %+v", change, statuses, order)
		}
	}
}

func vendureIsPaidOnce(t *testing.T, v *vendure) {
	v.newBuyer()
	b := v.checkOut()
	body, header := paidAs(t, b, "15000.00", "IDR")
	told := make([]*http.Request, 8)
	for i := range told {
		told[i] = v.request("POST", "http://"+v.own+"/notifications", body, header...)
	}
	for _, status := range v.atOnce(told...) {
		if status != http.StatusNoContent {
			t.Errorf("told: %d", status)
		}
	}
	v.tell(body, header...).want(t, http.StatusNoContent)
	if order := v.seen(b); v.stands(b) != shopPaid || len(order.Payments) != 1 || len(order.notes()) > 0 {
		t.Errorf("%+v", order)
	}
}

// Money that is not what the order costs is for a person, who is told of it once.
func vendureTakesNoOtherSum(t *testing.T, v *vendure) {
	v.newBuyer()
	b := v.checkOut()
	for i, sum := range []struct{ amount, currency string }{
		{"14999.99", "IDR"}, {"15000.01", "IDR"}, {"15000", "USD"}, {"15000.001", "IDR"}, {"1500000", "IDR"}, {"-15000", "IDR"}, {"0x3a98", "IDR"}, {"", "IDR"},
	} {
		body, header := paidAs(t, b, sum.amount, sum.currency)
		v.tell(body, header...).want(t, http.StatusNoContent)
		v.tell(body, header...).want(t, http.StatusNoContent)
		if order := v.seen(b); order.State != "ArrangingPayment" || len(order.Payments) != 0 || len(order.notes()) != i+1 {
			t.Errorf("%+v: %+v", sum, order)
		}
	}
	body, header := paidAs(t, b, "15000", "IDR")
	v.tell(body, header...).want(t, http.StatusNoContent)
	if stands := v.stands(b); stands != shopPaid {
		t.Errorf("%s", stands)
	}
	// Two payments of one order: the second is for a person, too.
	other := b
	other.ID = "00000000-0000-4000-8000-000000000000"
	body, header = paidAs(t, other, "15000", "IDR")
	v.tell(body, header...).want(t, http.StatusNoContent)
	if order := v.seen(b); v.stands(b) != shopPaid || len(order.Payments) != 1 || !strings.Contains(fmt.Sprint(order.notes()), other.ID) {
		t.Errorf("%+v", order)
	}
}

// Two attempts at an order are paid: the one that comes second is for a person,
// whichever it is.
func vendureShowsTheSecondPayment(t *testing.T, v *vendure) {
	for _, late := range []bool{false, true} {
		v.newBuyer()
		first := v.checkOut()
		v.must("POST", "/qlink/bills/"+first.ID+"/cancel", "").want(t, http.StatusOK)
		second := v.checkOut()
		if late {
			first, second = second, first
		}
		v.control("POST", "/payments/"+first.ID+"/pay", "")
		v.awaitPaid(first)
		v.control("POST", "/payments/"+second.ID+"/pay", "")
		v.await("the second payment in the order's history", func() bool {
			return slices.ContainsFunc(v.seen(second).notes(), func(note string) bool { return strings.Contains(note, second.ID) })
		})
		if order := v.seen(first); v.stands(first) != shopPaid || len(order.Payments) != 1 || order.Payments[0].TransactionID != first.ID || len(order.notes()) != 1 {
			t.Errorf("%+v", order)
		}
	}
}

// Where the first of two payments was for another cart, the second is not taken for
// the order either: the gateway's side has one of them down as to be given back.
func vendureLeavesTwoPaymentsToThePerson(t *testing.T, v *vendure) {
	v.newBuyer()
	old := v.checkOut()
	v.take(3)
	now := v.checkOut()
	for i, b := range []billJSON{old, now} {
		v.control("POST", "/payments/"+b.ID+"/pay", "")
		v.await("a word in the order's history", func() bool { return len(v.seen(b).notes()) == i+1 })
	}
	order := v.seen(now)
	if notes := fmt.Sprint(order.notes()); v.stands(now) != shopWaiting || !strings.Contains(notes, old.ID) || !strings.Contains(notes, now.ID) {
		t.Errorf("%+v", order)
	}
}

// An order that the merchant enters becomes active when it is complete.
func vendureLetsTheMerchantOrder(t *testing.T, v *vendure) {
	draft := decode[struct{ ID string }](t, v.askMerchant("mutation { createDraftOrder { id } }")["createDraftOrder"]).ID
	for _, mutation := range []string{
		`addItemToDraftOrder(orderId: %s, input: { productVariantId: 1, quantity: 1 })`,
		`setCustomerForDraftOrder(orderId: %s, input: { firstName: "A", lastName: "Buyer", emailAddress: "buyer@example.com" })`,
		`setDraftOrderShippingAddress(orderId: %s, input: { streetLine1: "Jalan Kopi 1", countryCode: "ID" })`,
		`setDraftOrderShippingMethod(orderId: %s, shippingMethodId: 1)`,
		`transitionOrderToState(id: %s, state: "ArrangingPayment")`,
	} {
		for _, result := range v.askMerchant("mutation { " + fmt.Sprintf(mutation, draft) + " { __typename } }") {
			if string(result) != `{"__typename":"Order"}` {
				t.Fatalf("%s: %s", mutation, result)
			}
		}
	}
	order := decode[shopOrder](t, v.askMerchant(fmt.Sprintf("{ order(id: %s) { state } }", draft))["order"])
	if order.State != "ArrangingPayment" {
		t.Errorf("%+v", order)
	}
}

func vendureHeedsNoChangedBytes(t *testing.T, v *vendure) {
	v.newBuyer()
	b := v.checkOut()
	signed, header := paidAs(t, b, "1", "IDR")
	for _, body := range []string{strings.Replace(signed, `"amount":"1"`, `"amount":"15000"`, 1), signed + " ", ""} {
		v.tell(body, header...).want(t, http.StatusUnauthorized)
	}
	if order := v.seen(b); order.State != "ArrangingPayment" || len(order.Payments)+len(order.notes()) != 0 {
		t.Errorf("%+v", order)
	}
}

// What is told again for days would not help with is taken, and said in the log.
func vendureTakesWhatItDoesNotKnow(t *testing.T, v *vendure) {
	unknown, header := paidAs(t, billJSON{ID: "00000000-0000-4000-8000-000000000001", OrderCode: "NOBODYS"}, "15000", "IDR")
	v.tell(unknown, header...).want(t, http.StatusNoContent)
	v.await("a word in the shop's log", func() bool { return strings.Contains(v.log.String(), "NOBODYS; there is no such order") })
	ofTomorrow := `{"type":"of.tomorrow","data":null}`
	v.tell(ofTomorrow, signedNotification(t, ofTomorrow)...).want(t, http.StatusNoContent)
}
