package caddyqlink

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
	"go.uber.org/zap"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

func init() {
	caddy.RegisterModule(new(ear))
}

// ear is a handler of events that keeps what it hears under its name.
type ear struct {
	Name string `json:"name"`
}

var heard struct {
	sync.Mutex

	by map[string][]caddy.Event
}

func (*ear) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "events.handlers.ear", New: func() caddy.Module { return new(ear) }}
}

func (e *ear) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	if !d.AllArgs(&e.Name) {
		return d.ArgErr()
	}
	return nil
}

func (e *ear) Handle(_ context.Context, event caddy.Event) error {
	heard.Lock()
	defer heard.Unlock()
	if heard.by == nil {
		heard.by = make(map[string][]caddy.Event)
	}
	heard.by[e.Name] = append(heard.by[e.Name], event)
	return nil
}

// awaitHeard waits until so many events were heard under a name.
func awaitHeard(t *testing.T, name string, n int) []caddy.Event {
	t.Helper()
	var events []caddy.Event
	await(t, func() bool {
		heard.Lock()
		defer heard.Unlock()
		events = slices.Clone(heard.by[name])
		return len(events) >= n
	})
	return events
}

// listenedSite is a measured site whose events are heard under a name.
func listenedSite(t *testing.T, on, name string) string {
	heard.Lock()
	defer heard.Unlock()
	delete(heard.by, name)
	return strings.Replace(measuredSite("probe "+probeName(t)), "qlink {", "events {\n\t\ton "+on+" ear "+name+"\n\t}\n\tqlink {", 1)
}

func TestListenersHearThePublicBillAtEachOfItsEvents(t *testing.T) {
	newProbe(t)
	name := t.Name()
	text := listenedSite(t, "qlink.bill.created", name)
	for _, on := range []string{"qlink.bill.paid", "qlink.bill.late_payment", "qlink.bill.failed", "qlink.bill.canceled", "qlink.bill.expired"} {
		text = strings.Replace(text, "on qlink.bill.created", "on "+on+" ear "+name+"\n\t\ton qlink.bill.created", 1)
	}
	base := run(t, text)
	id := handOver(t, base, "O-1")
	for _, status := range []string{"EXPIRED", "EXPIRED", "SUCCESS", "SUCCESS"} {
		settle(t, base, id, status)
	}
	other := handOver(t, base, "O-2")
	settle(t, base, other, "FAIL")
	settle(t, base, handOver(t, base, "O-3"), "CANCELED")
	settle(t, base, handOver(t, base, "O-4"), "SUCCESS")
	var names []string
	events := awaitHeard(t, name, 9)
	for _, e := range events {
		names = append(names, e.Name())
	}
	want := []string{
		"qlink.bill.created", "qlink.bill.expired", "qlink.bill.late_payment", "qlink.bill.created", "qlink.bill.failed",
		"qlink.bill.created", "qlink.bill.canceled", "qlink.bill.created", "qlink.bill.paid",
	}
	if !slices.Equal(names, want) {
		t.Fatalf("heard %v, want %v", names, want)
	}
	late := events[2]
	for key, value := range map[string]any{
		"id": id, "orderCode": "O-1", "status": "SUCCESS", "amount": "15000", "currency": "IDR", "latePayment": true, "account": "default",
	} {
		if late.Data[key] != value {
			t.Errorf("%s is %v, want %v", key, late.Data[key], value)
		}
	}
	if _, told := late.Data["metadata"]; told || late.Origin().CaddyModule().ID != "qlink" {
		t.Errorf("of %v: %v", late.Origin(), slices.Sorted(maps.Keys(late.Data)))
	}
}

func TestEventsGoToTheListenersOfTheNewestConfigurationThatRuns(t *testing.T) {
	newProbe(t)
	run(t, listenedSite(t, "qlink.bill.created", t.Name()+"-old"))
	next := listenedSite(t, "qlink.bill.created", t.Name()+"-new")
	if err := caddy.Load(mustAdapt(t, next), true); err != nil {
		t.Fatal(err)
	}
	handOver(t, siteURL(t), "O-1")
	awaitHeard(t, t.Name()+"-new", 1)
	spoiled := strings.Replace(strings.Replace(string(mustAdapt(t, next)), "-new", "-never", 1), `"apps":{`, `"apps":{"zz_failing":{},`, 1)
	for range 4 {
		if err := caddy.Load([]byte(spoiled), true); err == nil {
			t.Fatal("it loads")
		}
	}
	handOver(t, siteURL(t), "O-2")
	awaitHeard(t, t.Name()+"-new", 2)
	heard.Lock()
	defer heard.Unlock()
	if n, m := len(heard.by[t.Name()+"-old"]), len(heard.by[t.Name()+"-never"]); n != 0 || m != 0 {
		t.Errorf("the old one heard %d, the one that failed %d", n, m)
	}
}

func TestNothingIsHandedOnBeforeAllOfCaddyIsUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := caddy.NewContext(caddy.Context{Context: t.Context()})
		defer cancel()
		app := new(caddyevents.App)
		if err := app.Provision(ctx); err != nil {
			t.Fatal(err)
		}
		var came atomic.Int64
		if err := app.On("qlink.bill.paid", hearing(func() { came.Add(1) })); err != nil {
			t.Fatal(err)
		}
		l := &listeners{ctx: ctx, app: app, started: make(chan struct{})}
		starting := configurations{started: []*vault{{key: "k", listeners: l, logger: zap.NewNop()}}}
		begun := time.Now()
		starting.emit("another store's", bill.BillPaid, bill.Bill{})
		if time.Since(begun) != 0 {
			t.Error("it waits for nobody")
		}
		emitted := make(chan struct{})
		go func() {
			defer close(emitted)
			starting.emit("k", bill.BillPaid, bill.Bill{})
		}()
		advance(emitWait / 2)
		if came.Load() != 0 {
			t.Error("it came before all was up")
		}
		close(l.started)
		<-emitted
		if came.Load() != 1 {
			t.Error("it did not come")
		}
	})
}

// hearing counts events.
type hearing func()

func (h hearing) Handle(context.Context, caddy.Event) error {
	h()
	return nil
}

// Interface guards
var (
	_ caddyevents.Handler   = (*ear)(nil)
	_ caddyfile.Unmarshaler = (*ear)(nil)
)
