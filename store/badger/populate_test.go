package badger

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"flag"
	"iter"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	badgerdb "github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/pb"
	"github.com/dgraph-io/ristretto/v2/z"
	gocmp "github.com/google/go-cmp/cmp"
	"go.uber.org/zap"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/store/internal/census"
)

// built returns the closed store of a population.
func (p population) built(tb testing.TB) (dir string) {
	tb.Helper()
	dir = tb.TempDir()
	p.buildInto(tb, dir)
	return dir
}

// buildInto builds the store in a folder that holds none, as if one transaction
// had written all of it, and closes it with a witness.
func (p population) buildInto(tb testing.TB, dir string) {
	tb.Helper()
	db, err := openDatabase(databaseOptions(dir, zap.NewNop))
	if err != nil {
		tb.Fatal(err)
	}
	f := &founder{population: p, writer: db.NewStreamWriter()}
	if err := errors.Join(f.found(), db.Close()); err != nil {
		tb.Fatal(err)
	}
	mustClose(tb, mustOpen(tb, dir))
}

// founder writes a store past its transactions. A StreamWriter takes streams of
// sorted keys, none of them within another's: so the records of some kinds are
// made in the order of their keys, and the entries of some indexes, which are
// made along with them, are sorted.
type founder struct {
	population

	writer  *badgerdb.StreamWriter
	streams atomic.Uint32
	counted census.Counts
}

// hands are how many work at once.
const hands = 2

func (f *founder) found() error {
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(memoryLimit))
	err := f.writer.Prepare()
	for _, r := range []round{
		{f.sorted(ofBill), billRecords, []string{"c", "e", "n", "a", "u", "t", "g", "l"}},
		{f.sorted(ofNotification), notificationRecords, []string{"y", "ko", "kb"}},
		{f.sortedByOrder(), orderRecords, []string{"kr", "m"}},
	} {
		if err == nil {
			err = f.write(r)
		}
	}
	if err == nil {
		err = f.state()
	}
	if err != nil {
		f.writer.Cancel()
		return err
	}
	return f.writer.Flush()
}

// memoryLimit is above what the entries of ten million bills take in any round.
// Most of the rest is tables under way.
const memoryLimit = 4 << 30

// round writes records, in the order of their keys, and entries. A kind of those
// is what their keys begin with: of names, each kind is one.
type round struct {
	numbers []uint32 // of all bills, in the order of their records
	records func(add func(key []byte, v any), l *life)
	kinds   []string
}

func (f *founder) write(r round) error {
	collected := make([]shelves, hands)
	counted := make([]census.Counts, hands)
	var tasks []func() error
	for hand := range hands {
		share := r.numbers[hand*f.bills/hands : (hand+1)*f.bills/hands]
		collected[hand] = shelvesFor(r.kinds)
		tasks = append(tasks, func() error { return f.share(r, share, collected[hand], &counted[hand]) })
	}
	if err := inParallel(tasks); err != nil {
		return err
	}
	f.counted = census.Counts{}
	for _, c := range counted {
		f.counted = f.counted.Plus(c)
	}
	tasks = nil
	for _, kind := range r.kinds {
		tasks = append(tasks, func() error { return f.entries(collected, kind) })
	}
	return inParallel(tasks)
}

// share is what one hand does of a round.
func (f *founder) share(r round, numbers []uint32, collected shelves, counted *census.Counts) error {
	out := f.stretch()
	add := func(key []byte, v any) {
		w, err := sealedWrite(key, v)
		out.err = errors.Join(out.err, err)
		out.send(w)
	}
	l := new(life)
	for _, i := range numbers {
		f.live(l, int(i))
		r.records(add, l)
		collected.add(indexKeys(l.bill()))
		counted.Bill(l.bill(), 1)
		if l.isTold() {
			collected.add(notificationIndexKeys(l.told))
			counted.Notification(l.told, 1)
		}
		if out.err != nil {
			break
		}
	}
	collected.sort()
	return out.end()
}

func billRecords(add func(key []byte, v any), l *life) {
	b := &l.last().Bill
	add(textKey(kindBill, b.ID), b)
	add(textKey(kindDetails, b.ID), &l.details)
	for i := range l.turns {
		add(eventKey(b.ID, l.turns[i].Bill.Revision, 0), &l.turns[i].Line)
	}
}

func notificationRecords(add func(key []byte, v any), l *life) {
	if l.isTold() {
		n := l.notification()
		add(textKey(kindNotification, n.ID), &n)
	}
}

func orderRecords(add func(key []byte, v any), l *life) {
	add(orderKey(l.order.Key), &l.order)
	if n := l.told; n.State == bill.Pending {
		add(pendingKey(n.URL, n.OrderKey()), &n.ID)
	}
}

// entries writes those of one kind, of all hands.
func (f *founder) entries(collected []shelves, kind string) error {
	out := f.stretch()
	for key := range keysOf(collected, kind) {
		out.send(write{key: key})
	}
	return out.end()
}

// state is written as after one transaction.
func (f *founder) state() error {
	held, err := sealedWrite(stateKey, stateRecord{
		state: state{Store: "built", Sequence: 1, Bills: uint64(f.bills)}, Layout: currentLayout, Counts: f.counted,
	})
	if err != nil {
		return err
	}
	out := f.stretch()
	out.send(held)
	return out.end()
}

// sorted returns the numbers of all bills in the order of such ids.
func (f *founder) sorted(whose uint64) []uint32 {
	type place struct {
		id uint64 // its beginning
		i  uint32
	}
	places := make([]place, f.bills)
	for i := range places {
		id := drawnID(i, whose)
		places[i] = place{binary.BigEndian.Uint64(id[:]), uint32(i)}
	}
	slices.SortFunc(places, func(a, b place) int { return cmp.Compare(a.id, b.id) })
	numbers := make([]uint32, f.bills)
	for n, p := range places {
		numbers[n] = p.i
	}
	return numbers
}

func (f *founder) sortedByOrder() []uint32 {
	numbers := make([]uint32, 0, f.bills)
	for group := range orderGroups {
		for i := group; i < f.bills; i += orderGroups {
			numbers = append(numbers, uint32(i))
		}
	}
	return numbers
}

// inParallel runs as many tasks at once as there are hands.
func inParallel(tasks []func() error) error {
	errs := make([]error, len(tasks))
	places := make(chan struct{}, hands)
	var running sync.WaitGroup
	for i, task := range tasks {
		places <- struct{}{}
		running.Go(func() {
			errs[i] = task()
			<-places
		})
	}
	running.Wait()
	return errors.Join(errs...)
}

// shelves hold the keys of one hand by their kinds.
type shelves map[string]*shelf

func shelvesFor(kinds []string) shelves {
	all := make(shelves)
	for _, kind := range kinds {
		all[kind] = new(shelf)
	}
	return all
}

// add keeps those of the keys that are of these kinds.
func (all shelves) add(keys [][]byte) {
	for _, key := range keys {
		kind := key[:1]
		if key[0] == kindName {
			kind = key[:2]
		}
		if s := all[string(kind)]; s != nil {
			s.add(key)
		}
	}
}

func (all shelves) sort() {
	for _, s := range all {
		slices.SortFunc(s.places, func(a, b uint64) int { return bytes.Compare(s.key(a), s.key(b)) })
	}
}

// shelf holds keys without a pointer for each.
type shelf struct {
	blocks [][]byte
	places []uint64 // of a key: its block, its offset in it, its length
}

const (
	blockSize  = 1 << 20
	lengthBits = 16
	offsetBits = 20
)

func (s *shelf) add(key []byte) {
	last := len(s.blocks) - 1
	if last < 0 || len(s.blocks[last])+len(key) > blockSize {
		s.blocks = append(s.blocks, make([]byte, 0, blockSize))
		last++
	}
	s.places = append(s.places, uint64(last)<<(offsetBits+lengthBits)|uint64(len(s.blocks[last]))<<lengthBits|uint64(len(key)))
	s.blocks[last] = append(s.blocks[last], key...)
}

func (s *shelf) key(place uint64) []byte {
	offset := place >> lengthBits % blockSize
	return s.blocks[place>>(offsetBits+lengthBits)][offset : offset+place%(1<<lengthBits)]
}

// keysOf goes through the keys of a kind, in order, on whose shelves they are.
func keysOf(collected []shelves, kind string) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		next := make([]int, len(collected))
		for {
			var least []byte
			of := 0
			for n, all := range collected {
				s := all[kind]
				if next[n] == len(s.places) {
					continue
				}
				if key := s.key(s.places[next[n]]); least == nil || bytes.Compare(key, least) < 0 {
					least, of = key, n
				}
			}
			if least == nil || !yield(least) {
				return
			}
			next[of]++
		}
	}
}

// stretch is a stretch of the keys of every kind, written by one hand.
type stretch struct {
	founder *founder
	streams map[byte]uint32 // by the kind of their keys
	buffer  *z.Buffer
	err     error // the first one: nothing is written after it
}

func (f *founder) stretch() *stretch { return &stretch{founder: f, streams: make(map[byte]uint32)} }

// send writes soon. The keys of each kind come in their order.
func (s *stretch) send(w write) {
	stream, known := s.streams[w.key[0]]
	if !known {
		stream = s.founder.streams.Add(1)
		s.streams[w.key[0]] = stream
	}
	s.put(&pb.KV{StreamId: stream, Version: 1, Key: w.key, Value: w.value})
}

func (s *stretch) put(kv *pb.KV) {
	const enough = 1 << 20
	if s.err != nil {
		return
	}
	if s.buffer == nil {
		s.buffer = z.NewBuffer(enough+enough/4, "population")
	}
	badgerdb.KVToBuffer(kv, s.buffer)
	if s.buffer.LenNoPadding() > enough {
		s.flush()
	}
}

func (s *stretch) flush() {
	if s.buffer != nil {
		s.err = errors.Join(s.err, s.founder.writer.Write(s.buffer), s.buffer.Release())
		s.buffer = nil
	}
}

// end frees the memory of the streams.
func (s *stretch) end() error {
	s.flush()
	for _, stream := range s.streams {
		s.put(&pb.KV{StreamId: stream, StreamDone: true})
	}
	s.flush()
	return s.err
}

// What TestBuildAPopulation builds. A store for a Caddy to open is built by
//
//	go test -c -o badger.test ./store/badger
//	./badger.test -test.run '^TestBuildAPopulation$' -test.timeout 0 -population.into DIR -population.bills 10000000 …
var (
	populationInto    = flag.String("population.into", "", "the folder that a population's store is built in, and left; none: a temporary one")
	populationBills   = flag.Int("population.bills", 2000, "its bills")
	populationOpen    = flag.Int("population.open", 200, "how many of them, the newest, are open")
	populationDue     = flag.Int("population.due", 20, "how many of those are due to be asked after")
	populationLedger  = flag.String("population.ledger", "0123456789abcdef0123456789abcdef", "the ledger of all bills, see bill.NewLedger")
	populationSettled = flag.Bool("population.settled", false, "all bills that have ended are paid, and their shops know")
)

// TestBuildAPopulation builds bills up to an hour ago.
func TestBuildAPopulation(t *testing.T) {
	p := population{
		bills: *populationBills, open: *populationOpen, due: *populationDue, ledger: *populationLedger, settled: *populationSettled,
		newest: time.Now().UTC().Add(-time.Hour).Truncate(time.Second),
	}
	dir := *populationInto
	switch {
	case p.due < 0 || p.due > p.open || p.open > p.bills:
		t.Fatalf("of %d bills %d are to be open, and %d of those due", p.bills, p.open, p.due)
	case dir == "":
		dir = t.TempDir()
	case isStore(dir):
		t.Fatalf("there is a store in %s already", dir)
	}
	p.buildInto(t, dir)
	s := mustOpen(t, dir)
	p.wantCounts(t, s)
	for _, i := range []int{0, p.bills / 3, p.bills - p.open - 1, p.bills - p.open, p.bills - 1} {
		if i >= 0 && i < p.bills {
			wantLived(t, s, p.life(i))
		}
	}
	mustClose(t, s)
}

func (p population) wantCounts(t *testing.T, s *store) {
	t.Helper()
	counts, err := s.Counts(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var bills, told uint64
	for _, n := range counts.Bills {
		bills += n
	}
	for _, n := range counts.Notifications {
		told += n
	}
	ended := uint64(p.bills - p.open)
	if bills != uint64(p.bills) || counts.Bills[bill.Wait] != uint64(p.open) || told != ended {
		t.Errorf("%d bills, %d notifications: %+v", bills, told, counts)
	}
	if p.settled && (counts.Bills[bill.Success] != ended || counts.Notifications[bill.Delivered] != ended) {
		t.Errorf("not all are settled: %+v", counts)
	}
	if open, err := s.OpenBills(ctx); open != p.open || err != nil {
		t.Errorf("%d bills are open, want %d: %v", open, p.open, err)
	}
	wantToDo(t, s, p.due)
	held, err := loadState(s.db)
	if err != nil {
		t.Fatal(err)
	}
	if seen, found, err := readTestimony(s.dir); !found || seen.state != held.state || err != nil {
		t.Errorf("the witness saw %+v (%t, %v), and the store is at %+v", seen, found, err, held.state)
	}
}

// wantToDo wants so many bills to be due, and nothing else to wait for an
// engine.
func wantToDo(t *testing.T, s *store, bills int) {
	t.Helper()
	now := time.Now()
	if due, err := s.Due(ctx, now, bills+1); len(due) != bills || err != nil {
		t.Errorf("%d bills are due, want %d: %v", len(due), bills, err)
	}
	if due, err := s.DueNotifications(ctx, now, 1); len(due) > 0 || err != nil {
		t.Errorf("notification %s is due: %v", due, err)
	}
}

// wantLived wants everything about a bill to be there.
func wantLived(t *testing.T, s *store, l *life) {
	t.Helper()
	b := l.bill()
	held, billErr := s.Bill(ctx, b.ID)
	details, detailsErr := s.Details(ctx, b.ID)
	order, orderErr := s.Order(ctx, b.OrderKey())
	history, historyErr := s.History(ctx, b.ID)
	told, toldErr := s.Notifications(ctx, b.ID)
	if err := errors.Join(billErr, detailsErr, orderErr, historyErr, toldErr); err != nil {
		t.Fatalf("bill %d: %v", l.number, err)
	}
	if !b.CreatedAt.Before(time.Now()) || !b.UpdatedAt.Before(time.Now()) {
		t.Errorf("bill %d is of %s and %s", l.number, b.CreatedAt, b.UpdatedAt)
	}
	want := []any{b, l.details, l.order, len(l.turns), []bill.Notification(nil)}
	if l.isTold() {
		want[4] = []bill.Notification{l.notification()}
	}
	if diff := gocmp.Diff(want, []any{held, details, order, len(history), told}); diff != "" {
		t.Errorf("bill %d:\n%s", l.number, diff)
	}
}

// Whoever changes what a transaction writes, and not what is written here, would
// measure another store than the one that there is.
func TestAPopulationIsWhatTransactionsWouldHaveWritten(t *testing.T) {
	settled := populationOf(50)
	settled.settled, settled.mixed, settled.due = true, false, 3
	for name, p := range map[string]population{"mixed": populationOf(150), "settled": settled} {
		dir, byTransactions := p.built(t), mustOpen(t, t.TempDir())
		for i := range p.bills {
			for _, change := range p.life(i).changes() {
				if err := byTransactions.Commit(ctx, change); err != nil {
					t.Fatalf("%s: bill %d: %v", name, i, err)
				}
			}
		}
		s := mustOpen(t, dir)
		if diff := gocmp.Diff(contentOf(t, byTransactions), contentOf(t, s)); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
		mustClose(t, s)
		if f := wantWhole(t, dir); f.Bills != uint64(p.bills) {
			t.Errorf("%s: %d bills", name, f.Bills)
		}
	}
}
