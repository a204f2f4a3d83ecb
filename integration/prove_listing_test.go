package integration

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

var proveBills = flag.Int("prove.bills", 4000, "bills in the store that an operator looks at")

const (
	listingSmall   = 20      // the part of the bills, one in so many, that it is compared with
	listingJudged  = 100_000 // bills from which on times are compared: the short form, beside other tests, tells nothing of them
	listingAllowed = 5       // times that a look may take as long over all of them …
	listingNoise   = 30      // … and milliseconds on top, which a busy machine takes
	listingLooks   = 15      // of which the median counts
	exportAllowed  = 130     // hundredths of the memory in an export's first quarter that its last quarter may take
)

// An operator's looks take as long over many bills as over few, and an export
// of all of them takes no more memory at its end than at its beginning.
func TestProveAnOperatorSeesAMillionBillsAsFastAsAFew(t *testing.T) {
	w := prepareWorld(t, plainSite, "")
	small := *proveBills / listingSmall
	populate(t, w.home, 0, small)
	w.start()
	few := w.looks(small)
	w.stop(syscall.SIGTERM)
	populate(t, w.home, small, *proveBills)
	w.start()
	many := w.looks(*proveBills)
	var figures []string
	for _, what := range slices.Sorted(maps.Keys(many)) {
		if *proveBills >= listingJudged && many[what] > few[what]*listingAllowed+listingNoise*time.Millisecond {
			t.Errorf("%s took %v over %d bills, %v over %d", what, many[what], *proveBills, few[what], small)
		}
		figures = append(figures, fmt.Sprintf("%s %.1f ms", what, float64(many[what].Microseconds())/1000))
	}
	lines, memory := w.exportAll()
	if lines != *proveBills {
		t.Errorf("%d bills exported of %d", lines, *proveBills)
	}
	quarter := len(memory) / 4
	first, last := slices.Max(memory[:quarter]), slices.Max(memory[3*quarter:])
	if last*100 > first*exportAllowed {
		t.Errorf("memory went from %d to %d bytes in the export", first, last)
	}
	prove(t, "listing", fmt.Sprintf("%d bills", *proveBills), fmt.Sprintf("%s; export: memory at its end %d %% of that at its beginning, %d MB",
		strings.Join(figures, ", "), last*100/first, last>>20))
}

// populate writes bills into the store that a Caddy with this home opens.
func populate(t *testing.T, home string, from, to int) {
	t.Helper()
	store, err := openStore(home + "/data/caddy/qlink")
	if err != nil {
		t.Fatal(err)
	}
	var once sync.Once
	crowd(256, to-from, func(n int) {
		if err := store.Commit(context.Background(), inhabitant(from+n)); err != nil {
			once.Do(func() { t.Errorf("write bill %d: %v", from+n, err) })
		}
	})
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	if t.Failed() {
		t.FailNow()
	}
}

// inhabitant is a bill of a shop that has been open for long: most are paid and
// told of, one in a thousand hangs, was not told, or was paid late.
func inhabitant(n int) bill.Change {
	created := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(n) * 20 * time.Second)
	b := bill.Bill{
		ID: fmt.Sprintf("11111111-1111-4111-8111-%012d", n), Ledger: "ledger", Account: "default", Shop: "default",
		OrderCode: fmt.Sprintf("O-%07d", n), BillCode: fmt.Sprintf("B-%07d", n), PaymentRequestID: fmt.Sprintf("R-%07d", n),
		Attempt: 1, Status: bill.Success, Amount: "15000", Currency: "IDR", Country: "ID", PayType: "ONLINE", PayChannel: "QRIS",
		CreatedAt: created, UpdatedAt: created, PayTime: created, SettledBy: bill.ByWebhook, Version: 3, Revision: 1,
	}
	told := bill.Notification{
		ID: fmt.Sprintf("msg_%d", n), URL: "https://shop.example/told", Ledger: b.Ledger, Account: b.Account, Shop: b.Shop, OrderCode: b.OrderCode,
		Bill: b.ID, Type: bill.BillPaid, Payload: "{}", State: bill.Delivered, CreatedAt: created, Revision: 1, Sequence: 1, BillCreatedAt: created,
	}
	switch n % 1000 {
	case 100:
		b.Status, b.SettledBy, b.PayTime = bill.Created, "", time.Time{}
		b.Apply = bill.Applying{Tries: 1, StartedAt: created, EndedAt: created}
	case 200:
		told.State = bill.Dead
	case 300:
		b.LatePayment = true
	}
	record, _ := bill.OrderRecord{Key: b.OrderKey(), Revision: 1}.With(b)
	return bill.Change{
		Order: &record,
		Bills: []bill.BillChange{{
			Bill:    b,
			Details: &bill.Details{Description: "coffee", Metadata: `{"my_custom_id":"m-123"}`},
			Events: []bill.Event{
				{Kind: bill.EventCreated, At: created, Source: bill.ByShop, To: bill.Created, Version: 1},
				{Kind: bill.EventReportedPaid, At: created, Source: bill.ByWebhook, From: bill.Wait, To: b.Status, Version: 3},
			},
		}},
		Notifications: []bill.Notification{told},
	}
}

// looks measures what an operator looks at first, of so many bills.
func (w *world) looks(bills int) map[string]time.Duration {
	w.t.Helper()
	middle := inhabitant(bills / 2).Bills[0].Bill
	medians := make(map[string]time.Duration)
	for what, path := range map[string]string{
		"all":           "/qlink/bills",
		"by status":     "/qlink/bills?status=SUCCESS",
		"stuck":         "/qlink/bills?stuck=true",
		"untold":        "/qlink/bills?untold=true",
		"late":          "/qlink/bills?late=true",
		"by order":      "/qlink/bills?order=" + middle.OrderCode[:len(middle.OrderCode)-2],
		"by time":       "/qlink/bills?to=" + middle.CreatedAt.Format(time.RFC3339),
		"nothing":       "/qlink/bills?shop=none",
		"one":           "/qlink/bills/" + middle.ID,
		"one by order":  "/qlink/bills/" + middle.OrderCode,
		"one by code":   "/qlink/bills/" + middle.BillCode,
		"notifications": "/qlink/notifications",
		"figures":       "/qlink/stats",
	} {
		var took []time.Duration
		for range listingLooks {
			begun := time.Now()
			w.operate("GET", path, "").want(w.t, 200)
			took = append(took, time.Since(begun))
		}
		slices.Sort(took)
		medians[what] = took[len(took)/2]
	}
	return medians
}

// exportAll reads an export to its end, and the process's own memory as it goes.
func (w *world) exportAll() (lines int, memory []int64) {
	w.t.Helper()
	resp, err := http.Get("http://" + w.admin + "/qlink/export")
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	in := bufio.NewReader(resp.Body)
	for {
		line, err := in.ReadSlice('\n')
		if err == io.EOF && len(line) == 0 {
			return lines, memory
		}
		if err != nil {
			w.t.Fatalf("line %d: %v", lines, err)
		}
		if lines++; lines%max(1, *proveBills/100) == 0 {
			memory = append(memory, anonymousMemory(w.t, w.cmd.Process.Pid))
		}
	}
}
