package badger

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

// population is a store's worth of bills, one made every eight seconds, each
// with all that a checkout, the gateway and the delivery to the shop leave
// behind. The newest are open, those before have ended: of a hundred, 80 are
// paid, 12 ran out, 5 were cancelled and 3 failed; of each thing that an
// operator looks for there is one, whatever the size.
//
// What an engine finds to do once the store is opened are the bills that are
// due, and nothing else, unless it is told to forget what has ended. Two things
// are simpler than life: a shop was told once of a bill, however often that
// ended, and of no order there are two bills.
type population struct {
	bills, open, due int // due: of the open ones, the oldest
	ledger           string
	newest           time.Time // when the last was made
	settled          bool      // all that have ended are paid, in time, and their shops know
	mixed            bool      // every second is another account's, and the open ones have all statuses that those have
}

// populationOf is what listings are tried on: a tenth of it is open.
func populationOf(bills int) population {
	return population{bills: bills, open: bills / 10, ledger: "0123456789abcdef0123456789abcdef", newest: noon, mixed: true}
}

const (
	pace        = 8 * time.Second // between two bills
	orderGroups = 1000            // of three digits, with which order codes begin
)

// Times that no engine comes to see.
var (
	endOfOpen   = time.Date(2089, 1, 1, 0, 0, 0, 0, time.UTC)
	dueOfOthers = time.Date(2090, 1, 1, 0, 0, 0, 0, time.UTC)
)

// Whose random numbers: each of a bill's names has its own.
const (
	ofBill = iota
	ofBillCode
	ofRequest
	ofNotification
	ofBody
	ofPayload
	ofMoments
)

// drawn returns random bits, the same for the same bill.
func drawn(i int, whose uint64) (high, low uint64) {
	high = scattered(uint64(i)<<3 | whose)
	return high, scattered(^high)
}

// scattered is a finalizer of SplitMix64: no two numbers have the same.
func scattered(n uint64) uint64 {
	n += 0x9e3779b97f4a7c15
	n = (n ^ n>>30) * 0xbf58476d1ce4e5b9
	n = (n ^ n>>27) * 0x94d049bb133111eb
	return n ^ n>>31
}

// drawnID returns a random id, as the engine's.
func drawnID(i int, whose uint64) uuid.UUID {
	var id uuid.UUID
	high, low := drawn(i, whose)
	binary.BigEndian.PutUint64(id[:], high)
	binary.BigEndian.PutUint64(id[8:], low)
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80 // version 4, variant 1
	return id
}

func drawnHex(i int, whose uint64) string {
	high, low := drawn(i, whose)
	return hex.EncodeToString(binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, high), low))
}

func orderCode(i int) string { return fmt.Sprintf("O%03d-%08d", i%orderGroups, i) }

// life is what became of a bill, transaction by transaction.
type life struct {
	number  int
	details bill.Details
	turns   []turn
	order   bill.OrderRecord
	end     int               // the turn that its shop is told of; 0: none
	told    bill.Notification // as it is now, without its payload
}

// turn is one transaction about the bill.
type turn struct {
	bill.Step

	order *bill.OrderRecord // as it leaves it; nil: it leaves it alone
}

// bill returns it as it is now.
func (l *life) bill() bill.Bill { return l.last().Bill }

func (l *life) last() *turn { return &l.turns[len(l.turns)-1] }

func (l *life) took(step bill.Step) {
	t := turn{Step: step}
	if record, moved := l.order.With(step.Bill); moved {
		record.Revision++
		l.order, t.order = record, &record
	}
	l.turns = append(l.turns, t)
}

func (l *life) happened(e bill.Event) {
	before := &l.last().Bill
	confirm := e.Kind == bill.EventReportedPaid && before.Status == bill.Canceled
	step, err := before.Next(e, bill.Rules{ConfirmSuccess: confirm})
	if err != nil {
		panic(fmt.Sprintf("%s of bill %d: %v", e.Kind, l.number, err))
	}
	if step.Line.From != step.Line.To && step.Bill.Status.Final() {
		l.end = len(l.turns)
	}
	l.took(step)
}

func (p population) life(i int) *life {
	l := new(life)
	p.live(l, i)
	return l
}

// live makes l the life of bill i, in the memory that it has. The times are UTC,
// in microseconds as the engine's.
func (p population) live(l *life, i int) {
	moments, _ := drawn(i, ofMoments)
	at := p.newest.Add(-pace*time.Duration(p.bills-1-i) - time.Duration(moments%1e6)*time.Microsecond)
	*l = life{number: i, turns: l.turns[:0]}
	p.begin(l, at)
	isOpen := i >= p.bills-p.open
	if l.last().Bill.Status == bill.Created && (!isOpen || !p.mixed || i%10 != 9) {
		l.accepted(at.Add(300*time.Millisecond + time.Duration(moments>>20%1e6)*time.Microsecond))
	}
	switch {
	case !isOpen:
		p.ended(l, at.Add(time.Minute+time.Duration(moments>>40%1e6)*time.Microsecond))
	case i < p.bills-p.open+p.due:
		l.last().Bill.Due = at.Add(time.Minute)
	default:
		l.last().Bill.Due = dueOfOthers.Add(time.Duration(i) * time.Second)
	}
}

// begin hands the order over.
func (p population) begin(l *life, at time.Time) {
	i, id := l.number, drawnID(l.number, ofBill).String()
	template := bill.Bill{
		ID: id, Ledger: p.ledger, Account: "default", Shop: "default", Attempt: 1,
		SignedAt: at.Truncate(time.Second), ExpiresAt: at.Add(30 * time.Minute), PayURL: "https://shop.example/qlink/pay/" + id,
	}
	order := bill.Order{
		OrderCode: orderCode(i), Amount: "15000", Currency: "IDR", Country: "ID",
		PayType: "ONLINE", PayChannel: "QRIS", ExpiresIn: 30 * time.Minute,
	}
	if isOpen := i >= p.bills-p.open; isOpen {
		template.ExpiresAt = endOfOpen
		if p.mixed && i%10 == 8 {
			order.PayChannel = ""
		}
	}
	if p.mixed {
		template.Account = []string{"default", "second"}[i%2]
	}
	l.details = bill.Details{
		Description: "Two shirts, order " + order.OrderCode,
		Metadata:    `{"cart":"` + strconv.Itoa(1_000_000+i) + `","customer":"c-` + strconv.Itoa(i%99_991) + `"}`,
	}
	b, line := bill.New(template, order, at)
	l.order.Key = b.OrderKey()
	l.took(bill.Step{Bill: b, Line: line})
}

// accepted is the gateway's answer to /apply.
func (l *life) accepted(at time.Time) {
	report := l.report()
	report.Currency = "IDR"
	report.ActionValue = emvco(drawnHex(l.number, ofPayload))
	l.happened(bill.Event{
		Kind: bill.EventApplyAccepted, At: at, Source: bill.ByApply, Report: report, Took: int64(at.Sub(l.bill().CreatedAt)),
	})
}

// emvco is a payload as a gateway's, of 27 random characters, and as long.
func emvco(random string) string {
	payload := "00020101021226610014COM.GO-JEK.WWW011893600914" + random[:10] + "0217" + random[10:27] +
		"5204581453033605405150005802ID5912SHOP EXAMPLE6007JAKARTA6304"
	sum := uint16(0xffff)
	for i := range len(payload) {
		sum = sum<<8 ^ emvcoTable[byte(sum>>8)^payload[i]]
	}
	return payload + fmt.Sprintf("%04X", sum)
}

// emvcoTable is CRC-16's, of the polynomial 1021.
var emvcoTable = func() (table [256]uint16) {
	for i := range table {
		sum := uint16(i) << 8
		for range 8 {
			if sum&0x8000 != 0 {
				sum = sum<<1 ^ 0x1021
			} else {
				sum <<= 1
			}
		}
		table[i] = sum
	}
	return table
}()

// report is what the gateway names in all that it says of the bill.
func (l *life) report() bill.Report {
	b := l.bill()
	report := bill.Report{TradeUUID: b.ID, OrderCode: b.OrderCode, BillCode: b.BillCode, PaymentRequestID: b.PaymentRequestID}
	if b.BillCode == "" {
		code, _ := drawn(l.number, ofBillCode)
		report.BillCode, report.PaymentRequestID = fmt.Sprintf("B%020d", code), drawnHex(l.number, ofRequest)
	}
	return report
}

// notified is a webhook.
func (l *life) notified(kind bill.EventKind, status string, at time.Time) {
	report := l.report()
	report.Status, report.BodySHA256 = status, drawnHex(l.number, ofBody)+drawnHex(^l.number, ofBody)
	if kind == bill.EventReportedPaid {
		report.PayTime = at.Truncate(time.Second)
	} else {
		report.ErrorCode = "PAYMENT_FAILED"
	}
	l.happened(bill.Event{Kind: kind, At: at, Source: bill.ByWebhook, Report: report})
}

// withdrawn ends the bill at the gateway.
func (l *life) withdrawn(source bill.Source, reason bill.CancelReason, at time.Time) {
	report := l.report()
	report.Status = "CANCELED"
	const call = 200 * time.Millisecond
	l.happened(bill.Event{Kind: bill.EventCancelAsked, At: at, Source: source, Reason: reason})
	l.happened(bill.Event{
		Kind: bill.EventCancelDone, At: at.Add(call), Source: bill.ByCancel, Report: bill.Report{Status: "SUCCESS"}, Took: int64(call),
	})
	l.happened(bill.Event{Kind: bill.EventReportedCancel, At: at.Add(2 * call), Source: bill.ByQuery, Report: report, Took: int64(call)})
}

// ended ends the bill, and has its shop told.
func (p population) ended(l *life, at time.Time) {
	expiry := l.bill().ExpiresAt
	hundredth := l.number % 100
	switch {
	case p.settled, hundredth < 80 && hundredth != 1:
		l.notified(bill.EventReportedPaid, "SUCCESS", at)
	case hundredth == 1:
		l.withdrawn(bill.ByExpiry, bill.CancelExpiry, expiry)
		l.notified(bill.EventReportedPaid, "SUCCESS", expiry.Add(time.Minute))
	case hundredth < 92:
		l.withdrawn(bill.ByExpiry, bill.CancelExpiry, expiry)
	case hundredth < 97:
		l.withdrawn(bill.ByBuyer, bill.CancelBuyer, at)
	default:
		l.notified(bill.EventReportedFail, "FAIL", at)
	}
	if hundredth == 92 && !p.settled { // and no query has confirmed it
		l.notified(bill.EventReportedPaid, "SUCCESS", at.Add(time.Minute))
		l.last().Bill.Due = dueOfOthers
	}
	if hundredth == 2 && !p.settled {
		l.last().Bill.RefundDue = true
	}
	p.tell(l)
}

// tell is what became of the notification.
func (p population) tell(l *life) {
	b := l.turns[l.end].Bill
	n := bill.Notification{
		ID: "msg_" + drawnID(l.number, ofNotification).String(), URL: "https://shop.example/hook",
		Ledger: b.Ledger, Account: b.Account, Shop: b.Shop, OrderCode: b.OrderCode, Bill: b.ID, Type: b.NotificationType(),
		CreatedAt: b.UpdatedAt, Due: dueOfOthers, State: bill.Pending, Revision: 1, Sequence: l.turns[l.end].order.Revision,
		BillCreatedAt: b.CreatedAt,
	}
	try := bill.Try{At: b.UpdatedAt.Add(150*time.Millisecond + time.Duration(l.number%1000)*time.Microsecond), Took: 149_271_000, Status: 200}
	hundredth := l.number % 100
	if p.settled {
		hundredth = 0
	}
	switch hundredth {
	case 3:
		n.State, try.Status, try.Error = bill.Dead, 500, "answered 500 Internal Server Error"
	case 4: // it was put off, its URL being busy
		n.Revision++
		l.told = n
		return
	case 5:
		n.State = bill.Superseded
	default:
		n.State = bill.Delivered
	}
	n = n.Tried(try)
	n.Due, n.Tries, n.TriedAt, n.LastError = time.Time{}, 1, try.At, try.Error
	n.Revision++
	l.told = n
}

func (l *life) isTold() bool { return l.end > 0 }

// notification returns what the shop was told.
func (l *life) notification() bill.Notification {
	n := l.told
	n.Payload = l.payload()
	return n
}

// payload is the body of the notification, as long as the engine's.
func (l *life) payload() string {
	type order struct {
		Paid     bool   `json:"paid"`
		PaidBill string `json:"paidBill"`
		OpenBill string `json:"openBill"`
	}
	type data struct {
		bill.View

		Order order `json:"order"`
	}
	type notice struct {
		Type      bill.NotificationType `json:"type"`
		Timestamp time.Time             `json:"timestamp"`
		Data      data                  `json:"data"`
	}
	b := l.turns[l.end].Bill
	about := data{View: b.View(b.PayURL)}
	about.Metadata = jsontext.Value(l.details.Metadata)
	if paid, ok := l.turns[l.end].order.Paid(); ok {
		about.Order = order{Paid: true, PaidBill: paid.ID}
	}
	text, err := json.Marshal(notice{Type: l.told.Type, Timestamp: b.UpdatedAt, Data: about})
	if err != nil {
		panic(err)
	}
	return string(text)
}

// changes are the transactions that a store is given for it.
func (l *life) changes() (changes []bill.Change) {
	for i, t := range l.turns {
		change := bill.Change{Order: t.order, Bills: []bill.BillChange{{Bill: t.Bill, Events: []bill.Event{t.Line}}}}
		if i == 0 {
			change.Bills[0].Details = &l.details
		}
		if l.isTold() && i == l.end {
			pending := l.notification()
			pending.State, pending.Due, pending.Revision = bill.Pending, pending.CreatedAt, 1
			change.Notifications = []bill.Notification{pending}
		}
		changes = append(changes, change)
	}
	if l.isTold() {
		changes = append(changes, bill.Change{Notifications: []bill.Notification{l.notification()}})
	}
	return changes
}

// bill returns bill i as it is now.
func (p population) bill(i int) bill.Bill { return p.life(i).bill() }
