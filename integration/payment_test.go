package integration

import (
	"bytes"
	"fmt"
	"image/png"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/makiuchi-d/gozxing"
	"github.com/makiuchi-d/gozxing/qrcode"
)

// story 2, story 4, story 6
func TestSixtyFourPostsOfOneOrderAreOneApplyAtTheGateway(t *testing.T) {
	w := newWorld(t, plainSite)
	w.shop.lay(order("O-64", "15000"))
	var wg sync.WaitGroup
	var mu sync.Mutex
	ids, statuses := make(map[string]int), make(map[int]int)
	for range 64 {
		wg.Go(func() {
			a, err := w.do(w.request("POST", "/checkout", ""))
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			statuses[a.StatusCode]++
			ids[decode[billJSON](t, a.body).ID]++
		})
	}
	wg.Wait()
	if len(ids) != 1 || statuses[201] != 1 || statuses[200] != 63 {
		t.Errorf("bills %v, statuses %v", ids, statuses)
	}
	if n, booked := w.applies("O-64"), w.booked("O-64"); n != 1 || booked != 1 {
		t.Errorf("%d /apply and %d payments at the gateway", n, booked)
	}
}

// story 1
func TestALostAnswerOfApplyNeverBecomesASecondPayment(t *testing.T) {
	w := newWorld(t, plainSite)
	w.control("POST", "/faults", `{"operation":"apply","fault":"drop_answer"}`)
	b := w.checkout(order("O-LOST", "15000"), 202)
	if b.Status != "CREATED" || b.Final {
		t.Fatalf("%+v", b)
	}
	again := w.checkout(order("O-LOST", "15000"), 200)
	if again.ID != b.ID || again.Attempt != 1 {
		t.Errorf("posted again: %+v", again)
	}
	_, payments := w.ledger()
	if len(payments) != 1 || payments[0].TradeUUID != b.ID {
		t.Errorf("%d payments at the gateway", len(payments))
	}
}

func TestAnOrderIsPaidByAWebhookAndTheLongPollTellsAtOnce(t *testing.T) {
	w := newWorld(t, plainSite)
	w.shop.lay(order("O-1", "15000.00"))
	a := w.must("POST", "/checkout", "").want(t, 201)
	b := decode[billJSON](t, a.body)
	if a.Header.Get("X-Internal") != "" || bytes.Contains(a.body, []byte("not for buyers")) {
		t.Errorf("the shop's order reached the buyer: %v %s", a.Header, a.body)
	}
	if !strings.Contains(a.Header.Get("Set-Cookie"), "basket=kept") {
		t.Errorf("the shop's cookie is gone: %v", a.Header)
	}
	if b.Status != "WAIT" || b.Action.Kind != "qr" || b.Amount != "15000.00" || a.Header.Get("Location") == "" {
		t.Fatalf("%+v, Location %q", b, a.Header.Get("Location"))
	}
	etag := w.must("GET", "/qlink/bills/"+b.ID, "").want(t, 200).Header.Get("ETag")
	w.must("GET", "/qlink/bills/"+b.ID, "", "If-None-Match", etag).want(t, 304)

	polled := make(chan answer, 1)
	go func() {
		a, err := w.do(w.request("GET", "/qlink/bills/"+b.ID, "", "If-None-Match", etag, "Prefer", "wait=30"))
		if err != nil {
			t.Error(err)
		}
		polled <- a
	}()
	w.control("POST", "/payments/"+b.ID+"/pay", "")
	if paid := decode[billJSON](t, (<-polled).want(t, 200).body); paid.Status != "SUCCESS" || paid.SettledBy != "webhook" {
		t.Errorf("%+v", paid)
	}
	if again := w.checkout(order("O-1", "15000"), 200); again.ID != b.ID || again.Status != "SUCCESS" {
		t.Errorf("a paid order got %+v", again)
	}
	w.shop.lay(order("O-1", "1"))
	w.must("POST", "/checkout", "").want(t, 409)
	if n := w.applies("O-1"); n != 1 {
		t.Errorf("%d /apply", n)
	}
}

func TestAQRCodeDecodesToTheGatewaysPayload(t *testing.T) {
	w := newWorld(t, plainSite)
	b := w.checkout(order("O-QR", "15000"), 201)
	img, err := png.Decode(bytes.NewReader(w.must("GET", "/qlink/bills/"+b.ID+"/qr.png", "").want(t, 200).body))
	if err != nil {
		t.Fatal(err)
	}
	bitmap, err := gozxing.NewBinaryBitmapFromImage(img)
	if err != nil {
		t.Fatal(err)
	}
	result, err := qrcode.NewQRCodeReader().Decode(bitmap, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, payments := w.ledger(); result.GetText() != payments[0].ActionValue {
		t.Errorf("decoded %q, the gateway gave %q", result.GetText(), payments[0].ActionValue)
	}
	if svg := w.must("GET", "/qlink/bills/"+b.ID+"/qr.svg", "").want(t, 200); !strings.HasPrefix(svg.Header.Get("Content-Type"), "image/svg+xml") {
		t.Errorf("%v", svg.Header)
	}
}

func TestAShopLooksUpAndCancelsByOrderCode(t *testing.T) {
	w := newWorld(t, plainSite)
	body := order("O/7 ü", "15000")
	created, err := w.do(signed(w.request("POST", "/qlink/bills", body), body))
	if err != nil {
		t.Fatal(err)
	}
	b := decode[billJSON](t, created.want(t, 201).body)
	w.must("POST", "/qlink/bills", body).want(t, 401)

	path := "/qlink/orders/O%2F7%20%C3%BC"
	w.must("GET", path, "").want(t, 401)
	found, err := w.do(signed(w.request("GET", path, ""), ""))
	if err != nil {
		t.Fatal(err)
	}
	view := decode[struct {
		Paid     bool       `json:"paid"`
		OpenBill string     `json:"openBill"`
		Bills    []billJSON `json:"bills"`
	}](t, found.want(t, 200).body)
	if view.Paid || view.OpenBill != b.ID || len(view.Bills) != 1 {
		t.Errorf("%s", found.body)
	}
	ended, err := w.do(signed(w.request("POST", path+"/cancel", ""), ""))
	if err != nil {
		t.Fatal(err)
	}
	if c := decode[billJSON](t, ended.want(t, 200).body); c.Status != "CANCELED" || c.ID != b.ID {
		t.Errorf("%+v", c)
	}
	if _, payments := w.ledger(); payments[0].Status != "CANCELED" {
		t.Errorf("the gateway has it %s", payments[0].Status)
	}
	unknown, err := w.do(signed(w.request("GET", "/qlink/orders/nothing", ""), ""))
	if err != nil {
		t.Fatal(err)
	}
	unknown.want(t, 404)
}

// story 9, story 12, story 20, story 21, story 23, story 26: forged, replayed
// and contradicting webhooks.
func TestOnlyGenuineWebhooksChangeABill(t *testing.T) {
	w := newWorld(t, plainSite)
	b := w.checkout(order("O-W", "15000"), 201)
	genuine := fmt.Sprintf(`{"tradeUuid":%q,"billCode":%q,"orderCode":"O-W","paymentRequestId":"r","status":"SUCCESS","payTime":"2026-11-22 18:00:00"}`, b.ID, b.BillCode)
	post := func(body string, header ...string) answer {
		return w.must("POST", "/qlink/payNotification", body, header...)
	}
	sign := func(body string) string { return signOf(body, appSecret) }
	calls, _ := w.ledger()
	for name, attempt := range map[string]struct {
		got  answer
		want int
	}{
		"unsigned":           {post(genuine), 401},
		"without appKey":     {post(genuine, "sign", sign(genuine)), 401},
		"empty sign":         {post(genuine, "appKey", appKey, "sign", ""), 401},
		"another key":        {post(genuine, "appKey", "app-other", "sign", sign(genuine)), 401},
		"wrong secret":       {w.webhook("guess", genuine), 401},
		"empty secret":       {w.webhook("", genuine), 401},
		"one byte altered":   {post(strings.Replace(genuine, "18:00", "18:01", 1), "appKey", appKey, "sign", sign(genuine)), 401},
		"doubled sign":       {post(genuine, "appKey", appKey, "sign", sign(genuine), "sign", sign(genuine)), 401},
		"doubled appKey":     {post(genuine, "appKey", appKey, "appKey", appKey, "sign", sign(genuine)), 401},
		"our own request":    {post(calls[0].Body, "appKey", calls[0].AppKey, "sign", calls[0].Sign), 400},
		"no notification":    {w.webhook(appSecret, `[]`), 400},
		"doubled status":     {w.webhook(appSecret, strings.Replace(genuine, `"status":"SUCCESS"`, `"status":"FAIL","status":"SUCCESS"`, 1)), 400},
		"another order":      {w.webhook(appSecret, strings.Replace(genuine, "O-W", "O-X", 1)), 409},
		"another billCode":   {w.webhook(appSecret, strings.Replace(genuine, b.BillCode, "B-X", 1)), 409},
		"unknown bill":       {w.webhook(appSecret, strings.Replace(genuine, b.ID, "3f1c0a52-aaaa-4000-8000-000000000001", 1)), 404},
		"over 64 KiB":        {w.webhook(appSecret, genuine+strings.Repeat(" ", 64<<10)), 413},
		"unknown status":     {w.webhook(appSecret, strings.Replace(genuine, `"SUCCESS"`, `"PERHAPS"`, 1)), 200},
		"status as a cancel": {w.webhook(appSecret, strings.Replace(genuine, `"payTime"`, `"cancelTime":"2026-11-22 18:00:00","x"`, 1)), 400},
	} {
		attempt.got.want(t, attempt.want)
		if wantSuccess := attempt.want == 200; bytes.Contains(attempt.got.body, []byte(`"success":true`)) != wantSuccess {
			t.Errorf("%s: %s", name, attempt.got.body)
		}
	}
	if after := w.bill(b.ID); after.Status != "WAIT" || after.Version != b.Version {
		t.Fatalf("changed: %+v", after)
	}
	upper := post(genuine, "APPKEY", appKey, "SIGN", strings.ToUpper(sign(genuine))).want(t, 200)
	if string(bytes.TrimSpace(upper.body)) != `{"success":true}` {
		t.Errorf("%s", upper.body)
	}
	paid := w.bill(b.ID)
	if paid.Status != "SUCCESS" {
		t.Fatalf("%+v", paid)
	}
	for range 3 { // replayed
		w.webhook(appSecret, genuine).want(t, 200)
	}
	w.webhook(appSecret, strings.Replace(genuine, `"SUCCESS"`, `"FAIL"`, 1)).want(t, 200)
	if after := w.bill(b.ID); after.Version != paid.Version || after.Status != "SUCCESS" {
		t.Errorf("a replay changed it: %+v", after)
	}
	w.must("GET", "/qlink/payNotification", "").want(t, http.StatusMethodNotAllowed)
}

func TestACancelIsAsTheGatewaySays(t *testing.T) {
	w := newWorld(t, plainSite)
	for _, test := range []struct {
		answer string
		want   int
		status string
	}{
		{"SUCCESS", 200, "CANCELED"},
		{"CANCELED", 200, "CANCELED"},
		{"WAIT", 202, "WAIT"},
		{"FAIL", 409, "WAIT"},
		{"PERHAPS", 202, "WAIT"},
	} {
		b := w.checkout(order("O-C-"+test.answer, "15000"), 201)
		w.control("POST", "/faults", fmt.Sprintf(`{"operation":"cancel","fault":"cancel_answer","answer":%q}`, test.answer))
		a := w.must("POST", "/qlink/bills/"+b.ID+"/cancel", "").want(t, test.want)
		if after := w.bill(b.ID); after.Status != test.status {
			t.Errorf("cancel answered %s: bill %s, want %s (%s)", test.answer, after.Status, test.status, a.body)
		}
	}
	paid := w.checkout(order("O-C-PAID", "15000"), 201)
	w.control("POST", "/payments/"+paid.ID+"/pay", `{"silent":true}`)
	a := w.must("POST", "/qlink/bills/"+paid.ID+"/cancel", "").want(t, 409)
	if !bytes.Contains(a.body, []byte("already_paid")) || w.bill(paid.ID).Status != "SUCCESS" {
		t.Errorf("paid before the cancel: %s", a.body)
	}
	w.must("POST", "/qlink/bills/"+paid.ID+"/cancel", "", "Origin", "https://evil.example").want(t, 403)
}

func TestABuyerWhoHasPaidIsBelievedByTheGatewayWhenTheWebhookIsLost(t *testing.T) {
	w := newWorld(t, plainSite)
	b := w.checkout(order("O-R", "15000"), 201)
	w.control("POST", "/payments/"+b.ID+"/pay", `{"silent":true}`)
	a := w.must("POST", "/qlink/bills/"+b.ID+"/refresh", "").want(t, 200)
	if paid := decode[billJSON](t, a.body); paid.Status != "SUCCESS" || paid.SettledBy != "query" {
		t.Errorf("%+v", paid)
	}
}

func TestEveryWayToAnswerIsUnderstood(t *testing.T) {
	w := newWorld(t, plainSite)
	for _, envelope := range []string{"bare", "beside", "result", "data", "content", "content_text"} {
		w.control("POST", "/settings", fmt.Sprintf(`{"envelope":%q}`, envelope))
		b := w.checkout(order("O-E-"+envelope, "15000"), 201)
		if b.Status != "WAIT" || b.Action.Kind != "qr" {
			t.Errorf("%s: %+v", envelope, b)
		}
		w.must("POST", "/qlink/bills/"+b.ID+"/cancel", "").want(t, 200)
	}
}

func TestARefusedOrderFailsAndTheSameOrderMayBeTriedAgain(t *testing.T) {
	w := newWorld(t, plainSite)
	w.control("POST", "/faults", `{"operation":"apply","fault":"refuse","errorCode":"LIMIT","message":"amount too small"}`)
	b := w.checkout(order("O-F", "15000"), 201)
	if b.Status != "FAIL" {
		t.Fatalf("%+v", b)
	}
	if next := w.checkout(order("O-F", "15000"), 201); next.Attempt != 2 || next.Status != "WAIT" {
		t.Errorf("%+v", next)
	}
}

func TestARestartKeepsEveryBill(t *testing.T) {
	w := newWorld(t, plainSite)
	open := w.checkout(order("O-OPEN", "15000"), 201)
	paid := w.checkout(order("O-PAID", "15000"), 201)
	w.control("POST", "/payments/"+paid.ID+"/pay", "")
	before := w.awaitStatus(paid.ID, "SUCCESS")
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		w.stop(signal)
		w.start()
		if after := w.bill(paid.ID); after != before {
			t.Errorf("after %v: %+v, before %+v", signal, after, before)
		}
		if again := w.checkout(order("O-OPEN", "15000"), 200); again != open {
			t.Errorf("after %v: %+v, before %+v", signal, again, open)
		}
	}
	w.control("POST", "/payments/"+open.ID+"/pay", "")
	w.awaitStatus(open.ID, "SUCCESS")
}

func TestAnExitWithAnOpenLongPollEndsWithinASecond(t *testing.T) {
	w := newWorld(t, plainSite)
	b := w.checkout(order("O-X", "15000"), 201)
	etag := w.must("GET", "/qlink/bills/"+b.ID, "").Header.Get("ETag")
	polled := make(chan answer, 1)
	sent := make(chan struct{})
	go func() {
		close(sent)
		a, err := w.do(w.request("GET", "/qlink/bills/"+b.ID+"?wait=60s", "", "If-None-Match", etag))
		if err != nil {
			t.Error(err)
		}
		polled <- a
	}()
	<-sent
	w.await("the long poll to be in", func() bool { return w.running("payment.(*Engine).Wait(") > 0 })
	if took := w.stop(syscall.SIGTERM); took > time.Second {
		t.Errorf("the exit took %v\n%s", took, w.log.Tail())
	}
	if a := <-polled; a.Response == nil || a.StatusCode != http.StatusOK && a.StatusCode != http.StatusNotModified {
		t.Errorf("the long poll was cut: %+v", a)
	}
}
