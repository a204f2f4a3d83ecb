package sandbox

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestALedgerFileGivesTheSameLedgerAgain(t *testing.T) {
	rec := newReceiver(t, takes)
	file := filepath.Join(t.TempDir(), "ledger.ndjson")
	s, stop := provision(t, &Sandbox{Ledger: file, Webhook: rec.URL, FateDelay: "1ms"})
	g := serve(t, s)
	g.apply("u1", "O1")
	g.apply("u2", "O2-PAY")
	g.fault(`[{"fault":"forget","operation":"cancel"},{"fault":"delay","operation":"apply"}]`)
	g.call(opCancel, `{"tradeUuid":"u1"}`)
	g.control(http.MethodPost, "/settings", `{"repeat":"answer"}`, http.StatusOK)
	g.settled("u2")
	before := s.snapshot(t)
	read, err := ReadLedger(file) // beside the sandbox that writes it
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, read); diff != "" {
		t.Errorf("the file tells another story:\n%s", diff)
	}
	stop()

	again, _ := provision(t, &Sandbox{Ledger: file})
	if diff := cmp.Diff(before, again.snapshot(t)); diff != "" {
		t.Errorf("after reopening:\n%s", diff)
	}
	if len(before.Payments) != 1 || before.Payments[0].Status != StatusSuccess || len(before.Faults) != 1 {
		t.Errorf("%+v", before)
	}
	serve(t, again).call(opStatus, `{"tradeUuidList":["u2"]}`) // and it can be written on
	if read, err = ReadLedger(file); err != nil || len(read.Calls) != len(before.Calls)+1 {
		t.Errorf("%d calls, %v", len(read.Calls), err)
	}
}

// ledgerWith writes a ledger of two payments and returns its file and text.
func ledgerWith(t *testing.T) (string, []byte) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "ledger.ndjson")
	s, stop := provision(t, &Sandbox{Ledger: file})
	g := serve(t, s)
	g.apply("u1", "O1")
	g.apply("u2", "O2")
	stop()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return file, text
}

func rewrite(t *testing.T, file string, text []byte) {
	t.Helper()
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestATornLastLineIsCutOffWhereverItWasTorn(t *testing.T) {
	file, text := ledgerWith(t)
	first := strings.IndexByte(string(text), '\n') + 1
	for _, length := range []int{first, first + 1, (first + len(text)) / 2, len(text) - 1} {
		rewrite(t, file, text[:length])
		s, stop := provision(t, &Sandbox{Ledger: file})
		g := serve(t, s)
		if p := s.snapshot(t).Payments; len(p) != 1 || p[0].TradeUUID != "u1" {
			t.Errorf("torn at %d: %+v", length, p)
		}
		g.apply("u3", "O3")
		stop()
		if read, err := ReadLedger(file); err != nil || len(read.Payments) != 2 {
			t.Errorf("torn at %d and written on: %v, %+v", length, err, read.Payments)
		}
	}
}

func TestADamagedLedgerIsRefusedUntilItIsWhole(t *testing.T) {
	file, text := ledgerWith(t)
	lines := strings.SplitAfter(string(text), "\n")
	for damage, want := range map[string]string{
		"{}garbage\n" + lines[1]: "line 1 is damaged",
		lines[1]:                 "line 1 has seq 2",
		lines[0] + lines[0]:      "line 2 has seq 1",
	} {
		rewrite(t, file, []byte(damage))
		s, stop := provision(t, &Sandbox{Ledger: file})
		g := serve(t, s)
		r := g.control(http.MethodGet, "/ledger", "", http.StatusServiceUnavailable)
		if !strings.Contains(r.body, want) {
			t.Errorf("%s, want %q", r.body, want)
		}
		if r := g.call(opQuery, `{}`); r.status != http.StatusServiceUnavailable || r.object(t)["success"] != false {
			t.Errorf("the gateway: %d %s", r.status, r.body)
		}
		rewrite(t, file, text)
		g.control(http.MethodGet, "/ledger", "", http.StatusOK)
		stop()
	}
}

func TestALedgerInMemoryOutlivesReloadsAndNotTheLastConfiguration(t *testing.T) {
	first, stopFirst := provision(t, &Sandbox{Repeat: "refuse"})
	serve(t, first).apply("u1", "O1")
	second, stopSecond := provision(t, &Sandbox{Repeat: "answer"}) // before the old one goes
	stopFirst()
	serve(t, second).apply("u1", "O1")
	if len(second.snapshot(t).Payments) != 1 {
		t.Error("the payment is gone")
	}
	stopSecond()
	third, _ := provision(t, &Sandbox{})
	if len(third.snapshot(t).Payments) != 0 {
		t.Error("the payment is still there")
	}
}

// story 38
func TestProvisioningAloneLeavesNoFileAndNoGoroutine(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	file := filepath.Join(t.TempDir(), "ledger.ndjson")
	_, stop := provision(t, &Sandbox{Ledger: file})
	stop()
	if _, err := os.Stat(file); !os.IsNotExist(err) {
		t.Errorf("%s: %v", file, err)
	}
}

// story 42
func TestAFailedProvisionReleasesNothing(t *testing.T) {
	running, _ := provision(t, &Sandbox{})
	serve(t, running).apply("u1", "O1")
	failed := &Sandbox{Name: t.Name(), Repeat: "maybe"}
	if err := failed.Provision(emptyContext(t)); err == nil {
		t.Fatal("it was provisioned")
	}
	if err := failed.Cleanup(); err != nil {
		t.Error(err)
	}
	if len(running.snapshot(t).Payments) != 1 {
		t.Error("the running configuration lost its ledger")
	}
}

func TestNoGoroutineStaysBehind(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	held := make(chan struct{})
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		close(held)
		<-r.Context().Done() // a receiver that never answers
	}))
	defer receiver.Close()
	s, stop := provision(t, &Sandbox{Webhook: receiver.URL})
	led, release, err := s.held.lease()
	if err != nil {
		t.Fatal(err)
	}
	if err := led.commit(func(t *tx) error {
		p := &Payment{BillCode: "B", AppKey: defaultAppKey, Status: StatusWait}
		t.entry.Payment = p
		t.queue(s.notice(p, s.change(p, StatusSuccess, t.now)))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	<-held
	stop() // the configuration goes, the request stays
	if err := led.commit(func(t *tx) error {
		t.entry.Settings = &Settings{Repeat: "answer"}
		return nil
	}); err != nil {
		t.Errorf("the ledger closed under a request: %v", err)
	}
	release()
	if _, _, err := s.held.lease(); err == nil {
		t.Error("a ledger that is closed was leased")
	}
}

// story 15
func TestAPendingWebhookIsPostedAfterARestart(t *testing.T) {
	rec := newReceiver(t, takes)
	file := filepath.Join(t.TempDir(), "ledger.ndjson")
	s, stop := provision(t, &Sandbox{Ledger: file, Webhook: rec.URL})
	g := serve(t, s)
	g.apply("u1", "O1")
	g.control(http.MethodPost, "/payments/u1/webhook", `{"delay":"300ms","status":"SUCCESS"}`, http.StatusOK)
	stop()
	if len(rec.got) != 0 {
		t.Fatal("it was posted before the restart")
	}
	again, _ := provision(t, &Sandbox{Ledger: file}) // no webhook URL: what was queued keeps its own
	serve(t, again).settled("u1")
	if n, _ := rec.next(t); n.TradeUUID != "u1" {
		t.Errorf("%+v", n)
	}
}

func TestConcurrentCallsAreAllInTheFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ledger.ndjson")
	rec := newReceiver(t, takes)
	g := newGateway(t, &Sandbox{Ledger: file, Webhook: rec.URL})
	var callers sync.WaitGroup
	for i := range 24 {
		callers.Go(func() {
			id := fmt.Sprintf("u%d", i)
			g.apply(id, "O"+id)
			// What has been answered is in the file.
			if read, err := ReadLedger(file); err != nil || !strings.Contains(fmt.Sprint(read.Payments), id) {
				t.Errorf("%s is not in the file: %v", id, err)
			}
			g.control(http.MethodPost, "/payments/"+id+"/pay", "", http.StatusOK)
			g.settled(id)
		})
	}
	callers.Wait()
	read, err := ReadLedger(file)
	if err != nil || len(read.Payments) != 24 || len(read.Webhooks) != 24 {
		t.Fatalf("%d payments, %d webhooks, %v", len(read.Payments), len(read.Webhooks), err)
	}
	for _, p := range read.Payments {
		if p.Status != StatusSuccess || p.Webhooks[0].State != WebhookDelivered {
			t.Errorf("%+v", p)
		}
	}
}

func TestALedgerThatCannotBeWrittenAnswersNothing(t *testing.T) {
	g := newGateway(t, &Sandbox{Ledger: filepath.Join(t.TempDir(), "ledger.ndjson")})
	g.apply("u1", "O1")
	led, release, err := g.s.held.lease()
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	if err := led.file.Close(); err != nil {
		t.Fatal(err)
	}
	led.mu.Lock()
	led.file, err = os.Open(os.DevNull) // nothing can be written to it
	led.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if r := g.call(opApply, order("u2", "O2")); r.status != http.StatusServiceUnavailable {
			t.Errorf("%d %s", r.status, r.body)
		}
	}
	if len(led.snapshot().Payments) != 1 {
		t.Error("a payment was made that is not in the file")
	}
}

func TestSecretsAreNeitherInTheLedgerNorInAnyAnswer(t *testing.T) {
	// story 25
	t.Setenv("SANDBOX_CANARY", "canary-s3cr3t")
	file := filepath.Join(t.TempDir(), "ledger.ndjson")
	rec := newReceiver(t, takes)
	s, _ := provision(t, &Sandbox{Ledger: file, Webhook: rec.URL, Apps: []App{
		{Key: "other", Secret: "{env.SANDBOX_CANARY}"}, {Key: defaultAppKey, Secret: defaultAppSecret},
	}})
	g := serve(t, s)
	g.apply("u1", "O1")
	g.control(http.MethodPost, "/payments/u1/pay", "", http.StatusOK)
	g.settled("u1")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	all := string(text) + g.control(http.MethodGet, "/ledger", "", http.StatusOK).body + g.page(http.MethodGet, "/", http.StatusOK, nil).body + string(marshal(s))
	for _, secret := range []string{"canary-s3cr3t"} {
		if strings.Contains(all, secret) {
			t.Errorf("%s is told", secret)
		}
	}
	if strings.Contains(string(text), defaultAppSecret) {
		t.Error("the ledger holds a secret")
	}
}
