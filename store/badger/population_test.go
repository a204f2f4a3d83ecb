package badger

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	badgerdb "github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/pb"
	"github.com/dgraph-io/ristretto/v2/z"
	"go.uber.org/zap"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/store/internal/census"
)

// population is a store's worth of bills, the last of them created at noon and
// the others every eight seconds before, each with all that listings touch:
// its details and its history are left out. What an operator looks for is a
// hundredth of it, whatever its size; a tenth, the newest, is open.
type population int

const orderGroups = 1000

// scattered is where bill i lies among the records: not beside its neighbours
// in time, as with random ids.
func scattered(i int) uint32 { return uint32(i) * 2654435761 }

func (p population) bill(i int) bill.Bill {
	at := noon.Add(-8 * time.Second * time.Duration(int(p)-1-i))
	id := fmt.Sprintf("%08x-0000-4000-8000-%012x", scattered(i), i)
	b := bill.Bill{
		ID: id, Ledger: "0123456789abcdef0123456789abcdef", Account: []string{"default", "second"}[i%2], Shop: "default",
		OrderCode: fmt.Sprintf("O%03d-%07d", i%orderGroups, i), BillCode: "B-" + id, PaymentRequestID: "R-" + id,
		Attempt: 1, Amount: "15000", Currency: "IDR", Country: "ID", PayType: "ONLINE", PayChannel: "QRIS",
		Action: bill.Action{Kind: bill.ActionQR, Value: "00020101021226610014COM.GO-JEK.WWW01189360091435" + id},
		PayURL: "https://shop.example/qlink/pay/" + id, CreatedAt: at, UpdatedAt: at, ExpiresAt: at.AddDate(1, 0, 0),
		Apply: bill.Applying{Tries: 1, StartedAt: at, EndedAt: at, Accepted: true}, Version: 1, Revision: 1,
	}
	switch hundredth := i % 100; {
	case i >= int(p)-int(p)/10:
		b.Status = []bill.Status{bill.Wait, bill.Wait, bill.Wait, bill.Wait, bill.Wait, bill.Wait, bill.Wait, bill.Wait, bill.Choose, bill.Created}[i%10]
		b.Due = noon.Add(time.Duration(i) * time.Millisecond)
	case hundredth < 80:
		b.Status, b.PayTime, b.SettledBy = bill.Success, at.Add(time.Minute), bill.ByWebhook
		b.LatePayment, b.RefundDue = hundredth == 1, hundredth == 2
	case hundredth < 92:
		b.Status, b.SettledBy = bill.Expired, bill.ByExpiry
	case hundredth < 97:
		b.Status, b.SettledBy = bill.Canceled, bill.ByCancel
		if hundredth == 92 {
			b.Reported.At = at
		}
	default:
		b.Status, b.SettledBy = bill.Fail, bill.ByWebhook
	}
	return b
}

// notification is what the shop was told of bill i once it has ended.
func (p population) notification(i int, b bill.Bill) (n bill.Notification, told bool) {
	if !b.Status.Final() {
		return bill.Notification{}, false
	}
	n = bill.Notification{
		ID: "msg_" + b.ID, URL: "https://shop.example/hook", Ledger: b.Ledger, Account: b.Account, Shop: b.Shop, OrderCode: b.OrderCode,
		Bill: b.ID, Type: b.NotificationType(), Payload: `{"data":"` + strings.Repeat(b.ID, 20) + `"}`,
		CreatedAt: b.UpdatedAt, BillCreatedAt: b.CreatedAt, State: bill.Delivered, Revision: 1, Sequence: 1, Tries: 1,
	}
	switch i % 100 {
	case 3:
		n.State = bill.Dead
	case 4:
		n.State, n.Due = bill.Pending, noon
	case 5:
		n.State = bill.Superseded
	}
	return n, true
}

// records are what the store holds about bill i, without index entries.
func (p population) records(tb testing.TB, i int) (writes []write) {
	add := func(key []byte, v any) {
		w, err := sealedWrite(key, v)
		if err != nil {
			tb.Fatal(err)
		}
		writes = append(writes, w)
	}
	b := p.bill(i)
	add(textKey(kindBill, b.ID), b)
	if n, told := p.notification(i, b); told {
		add(textKey(kindNotification, n.ID), n)
	}
	return writes
}

func (p population) order(tb testing.TB, i int) write {
	b := p.bill(i)
	record, _ := bill.OrderRecord{Key: b.OrderKey(), Revision: 1}.With(b)
	w, err := sealedWrite(orderKey(b.OrderKey()), record)
	if err != nil {
		tb.Fatal(err)
	}
	return w
}

// entries are all index entries, by their kind and in order, and the counts.
func (p population) entries() (kinds map[byte][][]byte, c census.Counts) {
	kinds = make(map[byte][][]byte)
	for i := range int(p) {
		b := p.bill(i)
		keys := indexKeys(b)
		c.Bill(b, 1)
		if n, told := p.notification(i, b); told {
			keys = append(keys, notificationIndexKeys(n)...)
			c.Notification(n, 1)
		}
		for _, key := range keys {
			kinds[key[0]] = append(kinds[key[0]], key)
		}
	}
	for _, keys := range kinds {
		slices.SortFunc(keys, bytes.Compare)
	}
	return kinds, c
}

// byID returns the numbers of all bills, in the order of their ids.
func (p population) byID() []int {
	numbers := make([]int, p)
	for i := range numbers {
		numbers[i] = i
	}
	slices.SortFunc(numbers, func(a, b int) int { return cmp.Or(cmp.Compare(scattered(a), scattered(b)), cmp.Compare(a, b)) })
	return numbers
}

// built returns the closed store of a population, as if one transaction had
// written all of it.
func (p population) built(tb testing.TB) (dir string) {
	tb.Helper()
	dir = tb.TempDir()
	db, err := openDatabase(databaseOptions(dir, zap.NewNop))
	if err != nil {
		tb.Fatal(err)
	}
	to := &streams{tb: tb, writer: db.NewStreamWriter()}
	if err := to.writer.Prepare(); err != nil {
		tb.Fatal(err)
	}
	for _, i := range p.byID() {
		to.send(p.records(tb, i)...)
	}
	for group := range orderGroups {
		for i := group; i < int(p); i += orderGroups {
			to.send(p.order(tb, i))
		}
	}
	entries, counted := p.entries()
	for _, keys := range entries {
		for _, key := range keys {
			to.send(write{key: key})
		}
	}
	held, err := sealedWrite(stateKey, stateRecord{
		state: state{Store: "built", Sequence: 1, Bills: uint64(p)}, Layout: currentLayout, Counts: counted,
	})
	if err != nil {
		tb.Fatal(err)
	}
	to.send(held)
	to.flush()
	if err := errors.Join(to.writer.Flush(), db.Close()); err != nil {
		tb.Fatal(err)
	}
	return dir
}

// streams are as many as there are kinds of keys, each sent in its order.
type streams struct {
	tb     testing.TB
	writer *badgerdb.StreamWriter
	buffer *z.Buffer
}

func (s *streams) send(writes ...write) {
	for _, w := range writes {
		if s.buffer == nil {
			s.buffer = z.NewBuffer(4<<20, "population")
		}
		badgerdb.KVToBuffer(&pb.KV{StreamId: uint32(w.key[0]), Version: 1, Key: w.key, Value: w.value}, s.buffer)
		if s.buffer.LenNoPadding() > 4<<20 {
			s.flush()
		}
	}
}

func (s *streams) flush() {
	if err := s.writer.Write(s.buffer); err != nil {
		s.tb.Fatal(err)
	}
	if err := s.buffer.Release(); err != nil {
		s.tb.Fatal(err)
	}
	s.buffer = nil
}
