package badger

import (
	"maps"
	"runtime"
	"slices"
	"testing"
	"time"

	badgerdb "github.com/dgraph-io/badger/v4"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

// lookups are the questions of an operator, each for a page of a hundred.
func lookups(p population) map[string]func(*store) (found int, err error) {
	list := func(q bill.Query) func(*store) (int, error) {
		return func(s *store) (int, error) {
			q.Limit = 100
			page, _, err := s.List(ctx, q)
			return len(page), err
		}
	}
	told := func(q bill.NotificationQuery) func(*store) (int, error) {
		return func(s *store) (int, error) {
			q.Limit = 100
			page, _, err := s.ListNotifications(ctx, q)
			return len(page), err
		}
	}
	find := func(name string) func(*store) (int, error) {
		return func(s *store) (int, error) {
			bills, err := s.Find(ctx, name, 100)
			return len(bills), err
		}
	}
	middle := p.bill(p.bills / 2)
	all := map[string]func(*store) (int, error){
		"all":                  list(bill.Query{}),
		"account":              list(bill.Query{Account: "second"}),
		"nobody's":             list(bill.Query{Account: "nobody's"}),
		"amount":               list(bill.Query{Amount: "15000.00"}),
		"time":                 list(bill.Query{From: middle.CreatedAt.Add(-time.Hour), To: middle.CreatedAt}),
		"late":                 list(bill.Query{Late: true}),
		"refund":               list(bill.Query{Refund: true}),
		"untold":               list(bill.Query{Untold: true}),
		"untold late":          list(bill.Query{Untold: true, Late: true}),
		"stuck":                list(bill.Query{StuckAt: noon}),
		"order":                list(bill.Query{Order: middle.OrderCode}),
		"orders":               list(bill.Query{Order: "O123-"}),
		"many orders":          list(bill.Query{Order: "O12"}),
		"too many orders":      list(bill.Query{Order: "O1"}),
		"notifications":        told(bill.NotificationQuery{}),
		"find id":              find(middle.ID),
		"find order code":      find(middle.OrderCode),
		"find bill code":       find(middle.BillCode),
		"find payment request": find(middle.PaymentRequestID),
		"find nothing":         find("nothing"),
		"counts": func(s *store) (int, error) {
			_, err := s.Counts(ctx)
			return 0, err
		},
	}
	for _, status := range bill.Statuses() {
		all["status "+string(status)] = list(bill.Query{Status: status})
	}
	for _, state := range bill.NotificationStates() {
		all["notifications "+string(state)] = told(bill.NotificationQuery{State: state})
	}
	return all
}

// TestAFirstPageGoesOverAsManyKeysOfManyBillsAsOfFew counts instead of timing.
func TestAFirstPageGoesOverAsManyKeysOfManyBillsAsOfFew(t *testing.T) {
	small, large := populationOf(2000), populationOf(10_000)
	few, many := mustOpen(t, small.built(t)), mustOpen(t, large.built(t))
	for name, q := range map[string]bill.Query{
		"all": {}, "account": {Account: "second"}, "late": {Late: true}, "refund": {Refund: true}, "untold": {Untold: true},
		"time": {To: noon.Add(-time.Hour)}, "stuck": {StuckAt: noon}, "order": {Order: small.bill(1).OrderCode},
		"wait": {Status: bill.Wait}, "created": {Status: bill.Created}, "success": {Status: bill.Success}, "expired": {Status: bill.Expired},
	} {
		q.Limit = 10
		of := func(s *store) (keys int) {
			l := &paging{name: listingBills, limit: q.Limit, oldest: q.From, left: maxKeys}
			err := s.view(ctx, func(txn *badgerdb.Txn) error {
				_, _, err := list(ctx, txn, l, q, nil)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			return maxKeys - l.left
		}
		if one, other := of(few), of(many); other > one+one/5 {
			t.Errorf("%s: %d keys of %d bills, %d of %d", name, one, small.bills, other, large.bills)
		}
	}
}

// BenchmarkLookup asks them of a store of a million bills, and says how that
// compares to one of ten thousand.
//
//	go test ./store/badger -run '^$' -bench Lookup -benchtime 50x
func BenchmarkLookup(b *testing.B) {
	small, large := populationOf(10_000), populationOf(1_000_000)
	few, many := mustOpen(b, small.built(b)), mustOpen(b, large.built(b))
	questions, fromFew := lookups(large), lookups(small)
	for _, name := range slices.Sorted(maps.Keys(questions)) {
		b.Run(name, func(b *testing.B) {
			base, _ := asked(b, few, fromFew[name])
			b.ResetTimer()
			took, found := asked(b, many, questions[name])
			b.ReportMetric(milliseconds(took), "best-ms")
			b.ReportMetric(float64(took)/float64(base), "x10k")
			b.ReportMetric(float64(found), "found")
		})
	}
}

// asked returns the shortest of the times that an answer takes: what is above
// it, others have had of the machine.
func asked(b *testing.B, s *store, look func(*store) (int, error)) (best time.Duration, found int) {
	best = time.Hour
	for range b.N {
		begin := time.Now()
		n, err := look(s)
		if err != nil {
			b.Fatal(err)
		}
		found, best = n, min(best, time.Since(begin))
	}
	return best, found
}

// BenchmarkWalk goes through all of a million bills, and says how long the
// slowest page took, and by how much the heap grew at the most.
//
//	go test ./store/badger -run '^$' -bench Walk -benchtime 1x
func BenchmarkWalk(b *testing.B) {
	s := mustOpen(b, populationOf(1_000_000).built(b))
	for name, q := range map[string]bill.Query{
		"all": {Limit: 1000}, "account": {Account: "second", Limit: 100}, "nobody's": {Account: "nobody's", Limit: 100},
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				walked(b, s, q)
			}
		})
	}
}

// walked goes through a listing.
func walked(b *testing.B, s *store, q bill.Query) {
	heap := func() uint64 {
		var now runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&now)
		return now.HeapAlloc
	}
	before := heap()
	var grown, bills uint64
	var took []time.Duration
	for next := "more"; next != ""; q.Cursor = next {
		begin := time.Now()
		page, then, err := s.List(ctx, q)
		if err != nil {
			b.Fatal(err)
		}
		next, bills, took = then, bills+uint64(len(page)), append(took, time.Since(begin))
		if len(took)%100 == 0 {
			now := heap()
			grown = max(grown, now-min(before, now))
		}
	}
	slices.Sort(took)
	b.ReportMetric(milliseconds(took[len(took)/2]), "median-ms")
	b.ReportMetric(milliseconds(took[len(took)*99/100]), "99th-ms")
	b.ReportMetric(float64(grown)/(1<<20), "heap-MB")
	b.ReportMetric(float64(bills), "bills")
	b.ReportMetric(float64(len(took)), "pages")
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
