package integration

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// Answers that docs/openapi.yaml describes, and that no story of another test
// comes by. That they are as described is compared as they come.

const nobody = "00000000-0000-4000-8000-000000000000"

// unclear has the gateway not hear the next call of an operation, which nobody
// knows.
func (w *world) unclear(operation string) {
	w.t.Helper()
	w.control("POST", "/faults", `{"operation":"`+operation+`","fault":"drop_request"}`)
}

// signs posts what a shop signs.
func (w *world) signs(path, body string, header ...string) answer {
	w.t.Helper()
	a, err := w.do(signed(w.request("POST", path, body, header...), body))
	if err != nil {
		w.t.Fatal(err)
	}
	return a
}

func TestTheAnswersToChoicesAndNewAttempts(t *testing.T) {
	w := offering(t, "offer ONLINE/QRIS BANK/BCA_VA", "retry 10m")
	const json, choice = "application/json", `{"payTypeCode":"ONLINE","payChannelCode":"QRIS"}`
	b := w.checkout(order("O-1", "15000"), 201)
	at := "/qlink/bills/" + b.ID
	w.must("POST", at+"/choose", `{"payTypeCode":7}`, "Content-Type", json).wantProblem(t, 400, "bad_choice", "")
	w.must("POST", at+"/choose", choice, "Content-Type", json, "Origin", "http://evil.example").wantProblem(t, 403, "origin_not_allowed", "")
	w.must("POST", "/qlink/bills/"+nobody+"/choose", choice, "Content-Type", json).wantProblem(t, 404, "not_found", "")
	w.must("POST", at+"/choose", choice, "Content-Type", "text/plain").wantProblem(t, 415, "unsupported_media_type", "")
	w.must("GET", at+"/choose", "").wantProblem(t, 405, "method_not_allowed", "")
	w.unclear("apply")
	w.must("POST", at+"/choose", choice, "Content-Type", json).want(t, 202)
	w.awaitStatus(b.ID, "WAIT")
	w.control("POST", "/payments/"+b.ID+"/fail", "")
	w.awaitStatus(b.ID, "FAIL")

	w.must("POST", at+"/retry", "", "Origin", "http://evil.example").wantProblem(t, 403, "origin_not_allowed", "")
	w.retry(nobody).wantProblem(t, 404, "not_found", "")
	again := decode[billJSON](t, w.retry(b.ID).want(t, 201).body)
	w.must("POST", "/qlink/bills/"+again.ID+"/refresh", "", "Accept", "text/html").want(t, 303)
}

func TestTheAnswersWhileTheGatewayIsUnclear(t *testing.T) {
	w := offering(t, "confirm_success off", "retry 10m")
	b := w.checkout(order("O-1", "15000"), 201)
	w.control("POST", "/payments/"+b.ID+"/fail", "")
	w.awaitStatus(b.ID, "FAIL")
	w.unclear("apply")
	w.retry(b.ID).want(t, 202)
	w.unclear("apply")
	w.signs("/qlink/bills", order("O-2", "15000")).want(t, 202)
	w.signs("/qlink/bills", order("O-3", "15000"), "Accept", "text/html").want(t, 303)
	w.unclear("cancel")
	w.signs("/qlink/orders/O-3/cancel", "").want(t, 202)

	w.control("POST", "/faults", `{"operation":"apply","orderCode":"O-4","fault":"delay","delay":"1s"}`)
	var both sync.WaitGroup
	answers := make(chan answer, 2)
	for range cap(answers) {
		both.Go(func() { answers <- w.signs("/qlink/bills", order("O-4", "15000"), "Idempotency-Key", "k") })
	}
	both.Wait()
	first, second := <-answers, <-answers // the second one was refused at once
	first.wantProblem(t, 409, "idempotency_running", "")
	second.want(t, 201)
}

func TestTheAnswersToWhoFollowsABill(t *testing.T) {
	w := newWorld(t, plainSite)
	w.must("GET", "/qlink/health", "").want(t, 200)
	b := w.checkout(order("O-1", "15000"), 201)
	w.control("POST", "/payments/"+b.ID+"/pay", "")
	b = w.awaitStatus(b.ID, "SUCCESS")
	for _, path := range []string{"/qlink/bills/" + b.ID, "/qlink/bills/" + b.ID + "/events"} {
		stream := w.must("GET", path, "", "Accept", "text/event-stream").want(t, 200)
		if !strings.Contains(string(stream.body), `"status":"SUCCESS"`) {
			t.Errorf("%s", stream.body)
		}
		w.must("GET", path, "", "Accept", "text/event-stream", "Last-Event-ID", fmt.Sprint(b.Version)).want(t, 204)
	}
	w.must("GET", "/qlink/bills/"+nobody+"/events", "").wantProblem(t, 404, "not_found", "")
	w.webhook(appSecret, `{"tradeUuid":"`+strings.Repeat("x", 64<<10)+`"}`).want(t, http.StatusRequestEntityTooLarge)
}

func TestTheAnswersBeyondALimit(t *testing.T) {
	w := prepareWorld(t, strings.Replace(plainSite, "checkout /checkout", "checkout /checkout\n\t\tretry 10m", 1), "")
	w.write(strings.Replace(worldConfig, "\tqlink {\n\t\taccount", "\tservers {\n\t\ttimeouts {\n\t\t\tread_body 1s\n\t\t}\n\t}\n"+
		"\tqlink {\n\t\tlimits {\n\t\t\topen_total 2\n\t\t\topen_per_client 1\n\t\t}\n\t\taccount", 1), w.values)
	w.start()
	b := w.checkout(order("O-1", "15000"), 201)
	w.control("POST", "/payments/"+b.ID+"/fail", "")
	w.awaitStatus(b.ID, "FAIL")
	w.checkout(order("O-2", "15000"), 201)
	w.retry(b.ID).wantProblem(t, 429, "too_many_open_of_client", "")
	w.signs("/qlink/bills", order("O-3", "15000")).want(t, 201)
	w.signs("/qlink/bills", order("O-4", "15000")).wantProblem(t, 429, "too_many_open", "")

	w.bare("POST /qlink/bills HTTP/1.1\r\nHost: "+w.public+"\r\nContent-Length: 9\r\n\r\n{", false).wantProblem(t, 408, "body_timeout", "")
	w.bare("POST /qlink/bills HTTP/1.1\r\nHost: "+w.public+"\r\nContent-Length: 9\r\n\r\n{", true).wantProblem(t, 400, "body_incomplete", "")
	const atOnce = 1000 // docs/limits.md
	for n := 0; ; n++ {
		refused := w.must("POST", "/qlink/bills", "{}", "QLink-Signature", "t=1,v1=00")
		if refused.StatusCode != http.StatusUnauthorized {
			refused.wantProblem(t, 429, "too_many_bad_signatures", "")
			break
		}
		if n == 2*atOnce {
			t.Fatal("nobody minds")
		}
	}
}

// bare sends text to the site, and may then say that no more comes.
func (w *world) bare(text string, ends bool) answer {
	w.t.Helper()
	conn := w.dial()
	request, err := http.ReadRequest(bufio.NewReader(strings.NewReader(text)))
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := io.WriteString(conn, text); err != nil {
		w.t.Fatal(err)
	}
	if ends {
		if err := conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
			w.t.Fatal(err)
		}
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), request)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	a := answer{Response: resp, body: body}
	if err := theDescription.check(request, a); err != nil {
		w.t.Errorf("%s: %v\n%s", text, err, body)
	}
	return a
}

func TestTheAnswersOverARestoredStore(t *testing.T) {
	o := operatedShop(t)
	o.sell("O-1", "")
	for _, command := range []string{"backup monday.backup", "restore monday.backup restored"} {
		if out := o.shell("caddy qlink " + command); strings.Contains(out, "exit code") {
			t.Fatal(out)
		}
	}
	o.stop(syscall.SIGTERM)
	o.values["store"] = "restored"
	o.configure()
	o.start()
	o.signs("/qlink/bills", order("O-2", "15000")).wantProblem(t, 503, "checkouts_closed", "")
}
