package integration

import (
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// offering is a world whose account has a further line, and whose site lets
// buyers try again where it says so.
func offering(t *testing.T, account, retry string) *world {
	t.Helper()
	w := prepareWorld(t, strings.Replace(plainSite, "checkout /checkout", "checkout /checkout\n\t\t"+retry, 1), "")
	w.write(strings.Replace(worldConfig, "account {", "account {\n\t\t\t"+account, 1), w.values)
	w.start()
	return w
}

// choose posts a buyer's choice as a program does.
func (w *world) choose(id, payType, channel string) answer {
	w.t.Helper()
	return w.must("POST", "/qlink/bills/"+id+"/choose", `{"payTypeCode":"`+payType+`","payChannelCode":"`+channel+`"}`, "Content-Type", "application/json")
}

func (w *world) retry(id string) answer {
	w.t.Helper()
	return w.must("POST", "/qlink/bills/"+id+"/retry", "")
}

// story 4: two tabs both pay.
func TestABuyerChoosesOfWhatTheGatewayListsAndPaysOnce(t *testing.T) {
	w := offering(t, "offer", "")
	b := w.checkout(order("O-CH", "15000"), 201)
	if b.Status != "CHOOSE" || b.PayChannel != "" || w.applies("O-CH") != 0 {
		t.Fatalf("%+v after %d /apply", b, w.applies("O-CH"))
	}
	w.choose(b.ID, "ONLINE", "GOLD").wantProblem(t, 422, "not_offered", b.ID)
	w.choose(b.ID, "QR_CODE_PAYMENT", "DANA").wantProblem(t, 422, "not_offered", b.ID) // the account's type is ONLINE
	w.stop(syscall.SIGKILL)
	w.start()
	if now := w.bill(b.ID); now.Status != "CHOOSE" {
		t.Fatalf("killed and started again: %+v", now)
	}

	var tabs sync.WaitGroup
	answers := make(chan answer, 16)
	for i := range cap(answers) {
		tabs.Go(func() {
			a, err := w.do(w.request("POST", "/qlink/bills/"+b.ID+"/choose",
				"payTypeCode=ONLINE&payChannelCode="+[]string{"DANA", "BCA_VA"}[i%2], "Content-Type", "application/x-www-form-urlencoded"))
			if err != nil {
				t.Error(err)
			}
			answers <- a
		})
	}
	tabs.Wait()
	close(answers)
	channel := w.awaitStatus(b.ID, "WAIT").PayChannel
	for a := range answers {
		if a.StatusCode == http.StatusOK && decode[billJSON](t, a.body).PayChannel == channel {
			continue
		}
		a.wantProblem(t, 409, "not_choosable", b.ID)
	}
	if _, payments := w.ledger(); len(payments) != 1 || payments[0].PayChannelCode != channel || payments[0].PayTypeCode != "ONLINE" || payments[0].Amount != "15000" {
		t.Fatalf("chosen was %s; at the gateway: %+v", channel, payments)
	}
	if again := w.checkout(order("O-CH", "15000"), 200); again.ID != b.ID {
		t.Errorf("the same order is another bill: %+v", again)
	}

	w.control("POST", "/payments/"+b.ID+"/pay", "")
	w.awaitStatus(b.ID, "SUCCESS")
	w.choose(b.ID, "ONLINE", "QRIS").wantProblem(t, 409, "not_choosable", b.ID)
	if w.applies("O-CH") != 1 || w.booked("O-CH") != 1 {
		t.Errorf("%d /apply, %d payments", w.applies("O-CH"), w.booked("O-CH"))
	}
}

func TestABrowsersChoiceLeadsBackToThePageAndAnOrdersOwnChannelIsNotChosen(t *testing.T) {
	w := offering(t, "offer ONLINE/QRIS BANK/BCA_VA", "")
	b := w.checkout(order("O-CB", "15000"), 201)
	seen := w.must("POST", "/qlink/bills/"+b.ID+"/choose", "payTypeCode=BANK&payChannelCode=BCA_VA",
		"Content-Type", "application/x-www-form-urlencoded", "Accept", "text/html", "Origin", "http://"+w.public).want(t, 303)
	if to, err := seen.Location(); err != nil || to.Path != "/qlink/pay/"+b.ID {
		t.Errorf("sent to %v, %v", to, err)
	}
	if now := w.bill(b.ID); now.Status != "WAIT" || now.PayType != "BANK" || now.Action.Kind != "code" {
		t.Errorf("%+v", now)
	}

	open := w.checkout(order("O-CO", "15000"), 201)
	fixed := w.checkout(strings.Replace(order("O-CO", "15000"), "{", `{"payTypeCode":"ONLINE","payChannelCode":"CARDS",`, 1), 201)
	if fixed.ID == open.ID || fixed.Status != "WAIT" || fixed.PayChannel != "CARDS" || w.bill(open.ID).Status != "CANCELED" {
		t.Errorf("%+v after %+v", fixed, w.bill(open.ID))
	}
	w.choose(open.ID, "ONLINE", "QRIS").wantProblem(t, 409, "not_choosable", open.ID)
	if w.booked("O-CO") != 1 {
		t.Errorf("%d payments", w.booked("O-CO"))
	}
}

// story 2, story 5
func TestABuyerTriesAgainAfterAFailureAndThatIsOneMorePayment(t *testing.T) {
	w := offering(t, "confirm_success off", "retry 10m")
	b := w.checkout(order("O-R", "15000"), 201)
	w.retry(b.ID).wantProblem(t, 409, "previous_attempt_open", b.ID)
	w.control("POST", "/payments/"+b.ID+"/fail", "")
	w.awaitStatus(b.ID, "FAIL")

	var presses sync.WaitGroup
	answers := make(chan answer, 16)
	for range cap(answers) {
		presses.Go(func() {
			a, err := w.do(w.request("POST", "/qlink/bills/"+b.ID+"/retry", ""))
			if err != nil {
				t.Error(err)
			}
			answers <- a
		})
	}
	presses.Wait()
	close(answers)
	begun, next := 0, billJSON{}
	for a := range answers {
		if a.StatusCode == http.StatusCreated {
			begun++
		} else {
			a.want(t, 200)
		}
		got := decode[billJSON](t, a.body)
		if next.ID == "" {
			next = got
		}
		if got.ID != next.ID || got.ID == b.ID || got.Attempt != 2 || got.Amount != "15000" || !strings.HasSuffix(a.Header.Get("Location"), "/bills/"+got.ID) {
			t.Errorf("%+v at %s", got, a.Header.Get("Location"))
		}
	}
	if begun != 1 || w.applies("O-R") != 2 || w.booked("O-R") != 2 {
		t.Errorf("%d began an attempt; %d /apply, %d payments", begun, w.applies("O-R"), w.booked("O-R"))
	}
	page := w.must("POST", "/qlink/bills/"+b.ID+"/retry", "", "Accept", "text/html").want(t, 303)
	if to, err := page.Location(); err != nil || to.Path != "/qlink/pay/"+next.ID {
		t.Errorf("sent to %v, %v", to, err)
	}

	w.control("POST", "/payments/"+next.ID+"/pay", "")
	w.awaitStatus(next.ID, "SUCCESS")
	w.retry(b.ID).wantProblem(t, 409, "already_paid", next.ID)
	w.retry(next.ID).wantProblem(t, 409, "already_paid", next.ID)
	if again := w.checkout(order("O-R", "15000"), 200); again.ID != next.ID || w.booked("O-R") != 2 {
		t.Errorf("%+v, %d payments", again, w.booked("O-R"))
	}
}

func TestWhereTryingAgainIsOffTheWayLeadsThroughTheShop(t *testing.T) {
	w := newWorld(t, plainSite)
	b := w.checkout(order("O-X", "15000"), 201)
	w.control("POST", "/payments/"+b.ID+"/fail", "")
	w.awaitStatus(b.ID, "FAIL")
	w.retry(b.ID).wantProblem(t, 409, "retry_not_allowed", b.ID)
	if next := w.checkout(order("O-X", "15000"), 201); next.Attempt != 2 || w.booked("O-X") != 2 {
		t.Errorf("%+v, %d payments", next, w.booked("O-X"))
	}
}

func TestAnOrderThatItsShopCancelledIsNotTriedAgain(t *testing.T) {
	w := offering(t, "confirm_success off", "retry 10m")
	b := w.checkout(order("O-S", "15000"), 201)
	w.control("POST", "/payments/"+b.ID+"/fail", "")
	w.awaitStatus(b.ID, "FAIL")
	a, err := w.do(signed(w.request("POST", "/qlink/orders/O-S/cancel", ""), ""))
	if err != nil {
		t.Fatal(err)
	}
	a.want(t, 200)
	w.retry(b.ID).wantProblem(t, 409, "retry_not_allowed", b.ID)
	if w.booked("O-S") != 1 {
		t.Errorf("%d payments", w.booked("O-S"))
	}
}
