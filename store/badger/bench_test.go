package badger

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"runtime/metrics"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4/table"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/store/internal/codec"
)

// BenchmarkCommit commits new bills, with one writer and with many, and says
// how that compares to the least that durability costs: writing the same bytes
// to a file and syncing it, one after the other.
func BenchmarkCommit(b *testing.B) {
	for _, writers := range []int{1, 64} {
		b.Run("writers="+strconv.Itoa(writers), func(b *testing.B) {
			s := mustOpen(b, b.TempDir())
			perSync := syncedWrite(b)
			b.ReportAllocs()
			b.ResetTimer()
			metered(b, func() {
				together(b, writers, b.N, func(n int) error { return s.Commit(ctx, change(strconv.Itoa(n))) })
			})
			perCommit := b.Elapsed() / time.Duration(b.N)
			b.ReportMetric(float64(perSync)/float64(perCommit), "commits/fsync")
		})
	}
}

// BenchmarkSettle is the store's share of a webhook that reports a payment: it
// reads the bill, its order, its details and what is pending of the order, and
// commits the end with its event and a notification. Each has a bill of its own.
func BenchmarkSettle(b *testing.B) {
	for _, writers := range []int{1, 64} {
		b.Run("writers="+strconv.Itoa(writers), func(b *testing.B) {
			s := mustOpen(b, b.TempDir())
			together(b, 64, b.N, func(n int) error { return s.Commit(ctx, change(strconv.Itoa(n))) })
			var syncs int
			s.committer.timed = func(int, time.Duration) { syncs++ }
			perSync := syncedWrite(b)
			b.ReportAllocs()
			b.ResetTimer()
			metered(b, func() {
				together(b, writers, b.N, func(n int) error { return settle(s, strconv.Itoa(n)) })
			})
			b.StopTimer()
			perSettle := b.Elapsed() / time.Duration(b.N)
			mustClose(b, s)
			b.ReportMetric(float64(perSync)/float64(perSettle), "settled/fsync")
			b.ReportMetric(float64(b.N)/float64(syncs), "settled/commit")
		})
	}
}

// metered reports the processor time as well, which on a machine with other
// things to do, or a disk that has, tells more than the time that passed.
func metered(b *testing.B, do func()) {
	b.Helper()
	begin := cpuTime()
	do()
	b.ReportMetric(float64(cpuTime()-begin)/float64(b.N), "cpu-ns/op")
}

// together runs task for 0 to n-1, so many at a time.
func together(b *testing.B, workers, n int, task func(n int) error) {
	b.Helper()
	var next atomic.Int64
	var tasks sync.WaitGroup
	for range workers {
		tasks.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				if err := task(i); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	tasks.Wait()
}

// settle does with the store what the engine does when a payment is reported.
func settle(s *store, id string) error {
	if _, err := s.Bill(ctx, id); err != nil { // whose account verified it
		return err
	}
	b, err := s.Bill(ctx, id)
	if err != nil {
		return err
	}
	order, err := s.Order(ctx, b.OrderKey())
	if err != nil {
		return err
	}
	if _, err := s.Details(ctx, id); err != nil {
		return err
	}
	const url = "https://shop.example/payments"
	if _, err := s.PendingNotification(ctx, url, b.OrderKey()); !errors.Is(err, bill.ErrNotFound) {
		return err
	}
	at := noon.Add(time.Minute)
	line := bill.Event{
		Kind: bill.EventReportedPaid, At: at, Source: bill.ByWebhook, From: b.Status, To: bill.Success, Version: b.Version + 1,
		Report: bill.Report{TradeUUID: id, BillCode: "B" + id, OrderCode: b.OrderCode, Status: "SUCCESS", PayTime: at},
	}
	b.Status, b.BillCode, b.PaymentRequestID = bill.Success, "B"+id, "R"+id
	b.UpdatedAt, b.PayTime, b.Due, b.SettledBy = at, at, time.Time{}, bill.ByWebhook
	b.Version++
	b.Revision++
	order, _ = order.With(b)
	order.Revision++
	return s.Commit(ctx, bill.Change{
		Order: &order,
		Bills: []bill.BillChange{{Bill: b, Events: []bill.Event{line}}},
		Notifications: []bill.Notification{{
			ID: "msg_" + id, URL: url, Ledger: b.Ledger, Account: b.Account, Shop: b.Shop, OrderCode: b.OrderCode, Bill: id,
			Type: b.NotificationType(), Payload: string(make([]byte, 600)), CreatedAt: at, Due: at, State: bill.Pending,
			Revision: 1, Sequence: order.Revision, BillCreatedAt: b.CreatedAt,
		}},
	})
}

// BenchmarkBurst settles a hundred thousand bills in one go, which is time for
// compactions of all levels, and says what the process took of memory at the most.
//
//	go test ./store/badger -run '^$' -bench Burst -benchtime 100000x
func BenchmarkBurst(b *testing.B) {
	p := populationOf(b.N + 100)
	p.open, p.mixed = p.bills, false
	s := mustOpen(b, p.built(b))
	var ids []string
	for q := (bill.Query{Status: bill.Wait, Limit: 1000}); len(ids) == 0 || q.Cursor != ""; {
		page, next, err := s.List(ctx, q)
		if err != nil || len(page) == 0 {
			b.Fatal(len(page), err)
		}
		for i := range page {
			ids = append(ids, page[i].ID)
		}
		q.Cursor = next
	}
	if len(ids) < b.N {
		b.Fatalf("%d bills are open", len(ids))
	}
	runtime.GC()
	most, ended := uint64(0), make(chan struct{})
	var sampling sync.WaitGroup
	sampling.Go(func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				most = max(most, taken())
			case <-ended:
				return
			}
		}
	})
	b.ResetTimer()
	metered(b, func() {
		together(b, 64, b.N, func(n int) error { return settle(s, ids[n]) })
	})
	b.StopTimer()
	close(ended)
	sampling.Wait()
	b.ReportMetric(float64(most)/1e6, "most-MB")
	mustClose(b, s)
}

// taken returns what the runtime has taken of the system's memory and not given
// back, in bytes.
func taken() uint64 {
	read := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(read)
	return read[0].Value.Uint64() - read[1].Value.Uint64()
}

// syncedWrite returns how long it takes to append what a commit writes to a
// file and to sync it.
func syncedWrite(b *testing.B) time.Duration {
	b.Helper()
	const rounds = 200
	record, err := codec.Marshal(change("0"))
	if err != nil {
		b.Fatal(err)
	}
	file, err := os.Create(filepath.Join(b.TempDir(), "raw"))
	if err != nil {
		b.Fatal(err)
	}
	defer file.Close()
	begin := time.Now()
	for range rounds {
		if _, err := file.Write(record); err != nil {
			b.Fatal(err)
		}
		if err := file.Sync(); err != nil {
			b.Fatal(err)
		}
	}
	return time.Since(begin) / rounds
}

// BenchmarkBill reads bills from a store that holds some: one that is read over
// and over, and any of them.
func BenchmarkBill(b *testing.B) {
	const held = 20_000
	s := mustOpen(b, b.TempDir())
	together(b, 64, held, func(n int) error { return s.Commit(ctx, change(strconv.Itoa(n))) })
	for name, id := range map[string]func() string{
		"hot":    func() string { return "7" },
		"random": func() string { return strconv.Itoa(rand.IntN(held)) },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			metered(b, func() {
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						if _, err := s.Bill(ctx, id()); err != nil {
							b.Error(err)
							return
						}
					}
				})
			})
		})
	}
}

// BenchmarkVerify reads tables whole, as every start does, beside Badger's own
// code for that.
func BenchmarkVerify(b *testing.B) {
	dir := b.TempDir()
	s := mustOpen(b, dir)
	together(b, 64, 10_000, func(n int) error { return s.Commit(ctx, change(strconv.Itoa(n))) })
	mustClose(b, s)
	files := listedTables(dir)
	for name, verify := range map[string]func(tableFile) (int64, error){
		"by=us": func(f tableFile) (int64, error) { return f.verify(new(verifier)) },
		"by=badger": func(f tableFile) (int64, error) {
			content, err := os.ReadFile(f.path)
			if err != nil {
				return 0, err
			}
			t, err := table.OpenInMemoryTable(content, f.id, &table.Options{Compression: f.compression, BlockSize: 4 << 10})
			if err != nil {
				return 0, err
			}
			return int64(len(content)), t.VerifyChecksum()
		},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				var read int64
				for _, f := range files {
					n, err := verify(f)
					if err != nil {
						b.Fatal(err)
					}
					read += n
				}
				b.SetBytes(read)
			}
		})
	}
}
