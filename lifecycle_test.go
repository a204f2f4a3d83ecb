package caddyqlink

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/store"
	"github.com/caddy-qlink/caddy-qlink/store/badger"
)

func openKey(t *testing.T) string { return "probe:" + probeName(t) }

func siteOn(t *testing.T) string {
	return caddyfileOf("store probe "+probeName(t)+"\n\t\t"+account, "qlink")
}

// story 42
func TestALoadThatFailsLeavesTheRunningConfigurationAndItsStoreAlone(t *testing.T) {
	p := newProbe(t)
	base := run(t, siteOn(t))
	// Apps start in the order of a map: of several loads, some fail before ours
	// has started, some after.
	for range 8 {
		for what, spoiled := range map[string]string{
			"another app's Start":  strings.Replace(string(mustAdapt(t, siteOn(t))), `"apps":{`, `"apps":{"zz_failing":{},`, 1),
			"an option":            strings.Replace(string(mustAdapt(t, siteOn(t))), `"currency":"IDR"`, `"currency":"???"`, 1),
			"an account too many":  strings.Replace(string(mustAdapt(t, siteOn(t))), `"handler":"qlink"`, `"handler":"qlink","account":"other"`, 1),
			"a store that is gone": strings.Replace(string(mustAdapt(t, siteOn(t))), `"name":"`, `"name":"no-`, 1),
		} {
			if err := caddy.Load([]byte(spoiled), true); err == nil {
				t.Fatalf("it loads in spite of %s", what)
			}
			if got := ask(t, "GET", base+"/qlink/bills/x"); got.status != 404 || !got.ours() {
				t.Fatalf("after %s failed the site answers %+v", what, got)
			}
			if n := len(running.started); n != 1 {
				t.Fatalf("after %s failed %d configurations count as running", what, n)
			}
		}
	}
	if n := p.opened.Load(); n != 1 {
		t.Errorf("the store was opened %d times", n)
	}
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	if store.Has(openKey(t)) {
		t.Error("the store is open after the end")
	}
}

// story 37
func TestReloadsShareOneOpenStore(t *testing.T) {
	p := newProbe(t)
	run(t, siteOn(t))
	for range 10 {
		if err := caddy.Load(mustAdapt(t, siteOn(t)), true); err != nil {
			t.Fatal(err)
		}
	}
	if n := p.opened.Load(); n != 1 {
		t.Errorf("the store was opened %d times", n)
	}
	if n := len(running.started); n != 1 {
		t.Errorf("%d configurations count as running", n)
	}
}

func TestAReloadToAnotherStoreIsRefusedWhileBillsAreOpen(t *testing.T) {
	p := newProbe(t)
	elsewhere := t.TempDir() // made first: it goes when Caddy has stopped
	base := run(t, siteOn(t))
	moved := mustAdapt(t, caddyfileOf("store badger {\n\t\t\tpath "+elsewhere+"/moved\n\t\t}\n\t\t"+account, "qlink"))
	p.openBills.Store(3)
	err := caddy.Load(moved, true)
	if err == nil || !strings.Contains(err.Error(), "another store than the running one, which holds 3 open bills") {
		t.Errorf("the error is %v", err)
	}
	if got := ask(t, "GET", base+"/qlink/bills/x"); !got.ours() {
		t.Errorf("the site answers %+v", got)
	}
	p.openBills.Store(0)
	if err := caddy.Load(moved, true); err != nil {
		t.Errorf("no bill is open, and yet: %v", err)
	}
	if store.Has(openKey(t)) {
		t.Error("the store that was left is still open")
	}
}

func TestAStoreThatIsLockedFailsTheLoad(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	owner := &badger.Store{Path: dir}
	if err := owner.Provision(caddy.Context{}); err != nil {
		t.Fatal(err)
	}
	// Past the registry, as another process would.
	elsewhere, err := owner.Open(t.Context(), bill.Env{Logger: zap.NewNop})
	if err != nil {
		t.Fatal(err)
	}
	defer elsewhere.Close()
	err = load(t, caddyfileOf("store badger {\n\t\t\tpath "+dir+"\n\t\t}\n\t\t"+account, "qlink"))
	if err == nil || !strings.Contains(err.Error(), "locked") {
		t.Errorf("the error is %v", err)
	}
	if len(running.started) != 0 {
		t.Error("a configuration that did not start counts as running")
	}
}

func TestAStoreThatIsUnavailableLeavesTheRestServing(t *testing.T) {
	for name, err := range map[string]error{
		"database gone": fmt.Errorf("connect: %w", bill.ErrUnavailable),
		"disk full":     fmt.Errorf("open: %w", syscall.ENOSPC),
	} {
		t.Run(name, func(t *testing.T) {
			p := newProbe(t)
			p.breakDown(err)
			base := run(t, caddyfileOf("store probe "+probeName(t)+"\n\t\t"+account,
				"qlink {\n\t\tcheckout /checkout\n\t}\n\trespond shop"))
			if got := ask(t, "GET", base+"/"); got.status != 200 || got.body != "shop" {
				t.Errorf("the shop answers %+v", got)
			}
			for method, path := range map[string]string{"GET": "/qlink/bills/" + someID, "POST": "/checkout"} {
				if got := ask(t, method, base+path); got.status != 503 || !got.ours() {
					t.Errorf("%s answers %+v", path, got)
				}
			}
		})
	}
}

func newTestVault(t *testing.T) (*vault, *probe) {
	p := newProbe(t)
	v, err := newVault(p.opener(t), zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	return v, p
}

// advance moves the clock of a synctest bubble.
func advance(d time.Duration) {
	<-time.After(d)
}

func TestAStoreThatComesBackIsOpenedByTheNextRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v, p := newTestVault(t)
		p.breakDown(bill.ErrUnavailable)
		if err := v.start(); err != nil {
			t.Fatal(err)
		}
		defer v.stop()
		p.breakDown(nil)
		if _, _, err := v.lease(t.Context()); !errors.Is(err, bill.ErrUnavailable) {
			t.Errorf("it is tried again at once: %v", err)
		}
		advance(retryWait)
		_, release, err := v.lease(t.Context())
		if err != nil {
			t.Fatalf("it does not heal: %v", err)
		}
		release()
		if !store.Has(v.key) {
			t.Error("a started configuration does not hold the store it found again")
		}
	})
}

func TestAStoreThatFailsIsNotTriedByEveryRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v, p := newTestVault(t)
		tries := 0
		v.opener = countingOpener{p.opener(t), &tries}
		p.breakDown(errors.New("damaged"))
		for range 100 {
			if _, _, err := v.lease(t.Context()); !errors.Is(err, bill.ErrUnavailable) {
				t.Fatalf("the error is %v", err)
			}
		}
		if tries != 1 {
			t.Errorf("it was tried %d times", tries)
		}
	})
}

type countingOpener struct {
	bill.Opener

	tries *int
}

func (o countingOpener) Open(ctx context.Context, env bill.Env) (bill.Store, error) {
	*o.tries++
	return o.Opener.Open(ctx, env)
}

func TestARequestThatComesBeforeStartOpensTheStoreAndThoseAfterStopStillReachIt(t *testing.T) {
	v, p := newTestVault(t)
	early, release, err := v.lease(t.Context())
	if err != nil || early == nil {
		t.Fatal(err)
	}
	if err := v.start(); err != nil {
		t.Fatal(err)
	}
	release()
	_, late, err := v.lease(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	v.stop()
	v.stop()
	if !store.Has(v.key) {
		t.Error("the store was closed under a request")
	}
	late()
	if store.Has(v.key) {
		t.Error("the last lease did not close the store")
	}
	if n := p.opened.Load(); n != 1 {
		t.Errorf("it was opened %d times", n)
	}
}

func TestTheNewestConfigurationThatHasNotStoppedCounts(t *testing.T) {
	var c configurations
	var working sync.Map
	configured := func(name, key string, logger *zap.Logger) *vault {
		return &vault{key: key, logger: logger, work: func(ctx context.Context) {
			working.Store(name, true)
			<-ctx.Done()
			working.Delete(name)
		}}
	}
	first, second, other := configured("first", "a", zap.NewNop()), configured("second", "a", zap.NewExample()), configured("other", "b", zap.NewNop())
	wantWorking := func(names ...string) {
		t.Helper()
		await(t, func() bool {
			n := 0
			working.Range(func(name, _ any) bool {
				n++
				return slices.Contains(names, name.(string))
			})
			return n == len(names)
		})
	}
	newest := func() *vault {
		v, _ := c.newest(func(v *vault) bool { return v.key == "a" })
		return v
	}
	c.add(first)
	c.add(second)
	c.add(other)
	wantWorking("second", "other")
	if newest() != second || c.logger("a") != second.logger {
		t.Error("the newest does not count")
	}
	c.remove(second)
	c.remove(second)
	if newest() != first || c.logger("a") != first.logger {
		t.Error("it does not fall back to the one before")
	}
	wantWorking("first", "other")
	c.remove(first)
	if newest() != nil || c.logger("a") == nil {
		t.Error("a configuration that has stopped counts")
	}
	wantWorking("other")
	c.remove(other)
	wantWorking()
}

// await polls until the condition holds.
func await(t *testing.T, holds func() bool) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	for !holds() {
		select {
		case <-deadline:
			t.Fatal("waited in vain")
		case <-time.After(time.Millisecond):
		}
	}
}

const someID = "0d8f2a54-6d0c-4c1e-9a51-0c9a8a3f7f10"

// keepBill puts a bill into the store that the account default waits for.
func keepBill(t *testing.T, s bill.Store) {
	t.Helper()
	ledger, err := bill.NewLedger("http://127.0.0.1:9/pay", "key")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now().UTC().Truncate(time.Second)
	b := bill.Bill{
		ID: someID, Ledger: ledger, Account: defaultName, Shop: defaultName, OrderCode: "O1", Attempt: 1,
		Status: bill.Wait, Amount: "10", Currency: "IDR", Country: "ID", BillCode: "B1",
		CreatedAt: now, UpdatedAt: now, Version: 1, Revision: 1,
	}
	record := bill.OrderRecord{
		Key: b.OrderKey(), Revision: 1,
		Attempts: []bill.Attempt{{ID: b.ID, Status: b.Status, Amount: b.Amount, Currency: b.Currency}},
	}
	if err := s.Commit(t.Context(), bill.Change{Order: &record, Bills: []bill.BillChange{{Bill: b}}}); err != nil {
		t.Fatal(err)
	}
}

// story 41
func TestALongPollDoesNotHoldUpReloadOrExit(t *testing.T) {
	for name, end := range map[string]func(t *testing.T) error{
		"reload": func(t *testing.T) error { return caddy.Load(mustAdapt(t, siteOn(t)), true) },
		// An exit waits for the server's handlers before anything is cleaned up:
		// the server's shutdown alone has to be enough.
		"exit": func(t *testing.T) error { return httpApp(t).Stop() },
	} {
		t.Run(name, func(t *testing.T) {
			p := newProbe(t)
			keepBill(t, p.Store)
			base := run(t, siteOn(t))
			answered := make(chan answer, 1)
			go func() { answered <- get(t.Context(), base+"/qlink/bills/"+someID+"?wait=60s") }()
			<-p.watched
			if err := end(t); err != nil {
				t.Fatal(err)
			}
			select {
			case got := <-answered:
				if got.status != 200 || !strings.Contains(got.body, `"status":"WAIT"`) {
					t.Errorf("it answers %+v", got)
				}
			case <-time.After(time.Second):
				t.Error("it goes on waiting")
			}
		})
	}
}
