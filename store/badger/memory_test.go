package badger

import (
	"bytes"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"slices"
	"testing"
	"time"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

// synthesize writes the backup of a store with so many bills that wait to be
// paid, a kind of records after the other.
func synthesize(w io.Writer, bills int) error {
	b, err := newBackupWriter(w)
	if err == nil {
		err = b.begin(backupHeader{Format: backupFormat, At: noon, Store: "s", Sequence: 2, Bills: uint64(bills)})
	}
	if err != nil {
		return err
	}
	add := func(key []byte, v any) error {
		r := backupRecord{key: key}
		if v != nil {
			sealed, err := sealedWrite(key, v)
			if err != nil {
				return err
			}
			r.value = sealed.value
		}
		b.add(r)
		if b.isFull() {
			return b.endBlock()
		}
		return nil
	}
	each := func(write func(c bill.Change) error) {
		for n := 0; n < bills && err == nil; n++ {
			err = write(change(fmt.Sprintf("%08d", n)))
		}
	}
	each(func(c bill.Change) error { return add(textKey(kindBill, c.Bills[0].Bill.ID), &c.Bills[0].Bill) })
	each(func(c bill.Change) error { return add(createdKey(noon, c.Bills[0].Bill.ID), nil) })
	each(func(c bill.Change) error { return add(textKey(kindDetails, c.Bills[0].Bill.ID), c.Bills[0].Details) })
	each(func(c bill.Change) error { return add(eventKey(c.Bills[0].Bill.ID, 1, 0), &c.Bills[0].Events[0]) })
	each(func(c bill.Change) error { return add(textKey(kindOpen, c.Bills[0].Bill.ID), nil) })
	each(func(c bill.Change) error { return add(orderKey(c.Order.Key), c.Order) })
	if err == nil {
		err = add(stateKey, stateRecord{state: state{Store: "s", Sequence: 2, Bills: uint64(bills)}})
	}
	each(func(c bill.Change) error { return add(dueKey(kindDue, c.Bills[0].Bill.Due, c.Bills[0].Bill.ID), nil) })
	if err == nil {
		_, err = b.finish()
	}
	return err
}

// liveHeap returns the most that was on the heap in the first and in the second
// half of what is done.
func liveHeap(do func()) (first, second uint64) {
	defer debug.SetGCPercent(debug.SetGCPercent(20))
	runtime.GC() // what was done before counts no more
	done := make(chan struct{})
	go func() {
		defer close(done)
		do()
	}()
	var samples []uint64
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	for {
		select {
		case <-done:
			half := len(samples) / 2
			return slices.Max(append(samples[:half:half], 0)), slices.Max(append(samples[half:], 0))
		case <-time.After(time.Millisecond):
			metrics.Read(sample)
			samples = append(samples, sample[0].Value.Uint64())
		}
	}
}

func TestBackupRestoreAndCheckTakeNoMoreMemoryTheLongerTheyGoOn(t *testing.T) {
	const bills = populous
	dir := target(t)
	level := func(what string, do func()) {
		first, second := liveHeap(do)
		t.Logf("%s: %d KiB at the most in its first half, %d KiB in its second", what, first>>10, second>>10)
		if second > first+40<<20 { // half of the store is twice that
			t.Errorf("%s grows with the store", what)
		}
	}
	level("restore", func() {
		r, w := io.Pipe()
		go func() { _ = w.CloseWithError(synthesize(w, bills)) }()
		if _, err := Restore(ctx, r, dir, nil); err != nil {
			t.Error(err)
		}
	})
	s := mustOpen(t, dir)
	level("backup", func() {
		if m, err := s.Backup(ctx, io.Discard); err != nil || m.Bills != bills {
			t.Errorf("%+v, %v", m, err)
		}
	})
	mustClose(t, s)
	level("check", func() { wantWhole(t, dir) })
}

// BenchmarkBackup writes a store of 100,000 bills to nowhere.
func BenchmarkBackup(b *testing.B) {
	var file bytes.Buffer
	if err := synthesize(&file, 100_000); err != nil {
		b.Fatal(err)
	}
	dir := target(b)
	if _, err := Restore(ctx, &file, dir, nil); err != nil {
		b.Fatal(err)
	}
	s := mustOpen(b, dir)
	for b.Loop() {
		m, err := s.Backup(ctx, io.Discard)
		if err != nil {
			b.Fatal(err)
		}
		b.SetBytes(m.Bytes)
	}
}
