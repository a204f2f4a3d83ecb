package badger

import (
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

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
			b.ResetTimer()
			commitAll(b, s, writers)
			perCommit := b.Elapsed() / time.Duration(b.N)
			b.ReportMetric(float64(perSync)/float64(perCommit), "commits/fsync")
		})
	}
}

// commitAll commits b.N bills, so many writers at a time.
func commitAll(b *testing.B, s *store, writers int) {
	var next atomic.Int64
	var tasks sync.WaitGroup
	for range writers {
		tasks.Go(func() {
			for n := next.Add(1); n <= int64(b.N); n = next.Add(1) {
				if err := s.Commit(ctx, change(strconv.FormatInt(n, 10))); err != nil {
					b.Errorf("Commit: %v", err)
					return
				}
			}
		})
	}
	tasks.Wait()
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

// BenchmarkBill reads bills from a store that holds some.
func BenchmarkBill(b *testing.B) {
	s := mustOpen(b, b.TempDir())
	const held = 1000
	for n := range held {
		if err := s.Commit(ctx, change(strconv.Itoa(n))); err != nil {
			b.Fatal(err)
		}
	}
	for n := 0; b.Loop(); n++ {
		if _, err := s.Bill(ctx, strconv.Itoa(n%held)); err != nil {
			b.Fatal(err)
		}
	}
}
