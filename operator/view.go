package operator

import (
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/payment"
)

// view is a bill as an operator sees it: its public form, and what is nobody
// else's to know.
type view struct {
	bill.View

	Stuck        bill.StuckReason  `json:"stuck"` // why it wants an operator's eye; "" where it does not
	CancelReason bill.CancelReason `json:"cancelReason"`
	DueAt        string            `json:"dueAt"` // when it is asked after next
	ResolvedAt   string            `json:"resolvedAt"`
}

func viewOf(b bill.Bill, now time.Time) view {
	return view{
		View: b.View(b.PayURL), Stuck: b.Stuck(now), CancelReason: b.Cancel.Reason,
		DueAt: bill.Timestamp(b.Due), ResolvedAt: bill.Timestamp(b.ResolvedAt),
	}
}

func viewsOf(bills []bill.Bill, now time.Time) []view {
	views := make([]view, 0, len(bills))
	for _, b := range bills {
		views = append(views, viewOf(b, now))
	}
	return views
}

// timelineView is a bill with all that is known of it.
type timelineView struct {
	Bill          view               `json:"bill"`
	Order         orderView          `json:"order"`
	Details       *detailsView       `json:"details"` // null once retention has deleted them
	History       []eventView        `json:"history"` // oldest first
	Notifications []notificationView `json:"notifications"`
}

func timelineOf(t payment.Timeline, now time.Time) timelineView {
	v := timelineView{
		Bill:  viewOf(t.Bill, now),
		Order: orderView{Paid: t.Order.PaidBill != "", PaidBill: t.Order.PaidBill, OpenBill: t.Order.OpenBill},
	}
	for _, b := range t.Order.Bills {
		v.Order.Bills = append(v.Order.Bills, b.ID)
	}
	if t.Details != nil {
		v.Details = &detailsView{
			Description: t.Details.Description, Items: t.Details.Items,
			Metadata: metadataOf(*t.Details), ReturnURL: t.Details.ReturnURL,
		}
	}
	for _, e := range t.History {
		v.History = append(v.History, eventOf(e))
	}
	v.Notifications = notificationsOf(t.Notifications)
	return v
}

type orderView struct {
	Paid     bool     `json:"paid"`
	PaidBill string   `json:"paidBill"`
	OpenBill string   `json:"openBill"`
	Bills    []string `json:"bills"` // newest first
}

type detailsView struct {
	Description string         `json:"description"`
	Items       []bill.Item    `json:"items"`
	Metadata    jsontext.Value `json:"metadata"`
	ReturnURL   string         `json:"returnUrl"`
}

// metadataOf is the metadata as the shop gave it; {} where it gave none, or
// retention has deleted it.
func metadataOf(d bill.Details) jsontext.Value {
	if d.Metadata == "" {
		return jsontext.Value("{}")
	}
	return jsontext.Value(d.Metadata)
}

type eventView struct {
	At      string            `json:"at"`
	Kind    bill.EventKind    `json:"kind"`
	Source  bill.Source       `json:"source"`
	Actor   string            `json:"actor"`
	From    bill.Status       `json:"from"`
	To      bill.Status       `json:"to"`
	Version uint64            `json:"version"`
	Reason  bill.CancelReason `json:"reason"`
	Note    string            `json:"note"`
	TookMS  int64             `json:"tookMs"` // of the call to the gateway that this is the answer to; 0 where it is none
	Report  bill.Report       `json:"report"`
}

func eventOf(e bill.Event) eventView {
	return eventView{
		At: bill.Timestamp(e.At), Kind: e.Kind, Source: e.Source, Actor: e.Actor, From: e.From, To: e.To, Version: e.Version,
		Reason: e.Reason, Note: e.Note, TookMS: milliseconds(e.Took), Report: e.Report,
	}
}

type notificationView struct {
	ID        string                 `json:"id"`
	URL       string                 `json:"url"`
	Type      bill.NotificationType  `json:"type"`
	State     bill.NotificationState `json:"state"`
	Bill      string                 `json:"bill"`
	OrderCode string                 `json:"orderCode"`
	CreatedAt string                 `json:"createdAt"`
	DueAt     string                 `json:"dueAt"`
	Tries     int                    `json:"tries"`
	TriedAt   string                 `json:"triedAt"`
	LastError string                 `json:"lastError"`
	Attempts  []tryView              `json:"attempts"` // the latest, oldest first
}

type tryView struct {
	At     string `json:"at"`
	TookMS int64  `json:"tookMs"`
	Status int    `json:"status"` // of the answer; 0: there was none
	Error  string `json:"error"`
}

func notificationsOf(notifications []bill.Notification) []notificationView {
	views := make([]notificationView, 0, len(notifications))
	for _, n := range notifications {
		v := notificationView{
			ID: n.ID, URL: n.URL, Type: n.Type, State: n.State, Bill: n.Bill, OrderCode: n.OrderCode,
			CreatedAt: bill.Timestamp(n.CreatedAt), DueAt: bill.Timestamp(n.Due),
			Tries: n.Tries, TriedAt: bill.Timestamp(n.TriedAt), LastError: n.LastError,
		}
		for _, t := range n.Log {
			v.Attempts = append(v.Attempts, tryView{bill.Timestamp(t.At), milliseconds(t.Took), t.Status, t.Error})
		}
		views = append(views, v)
	}
	return views
}

type orphanView struct {
	ID         string `json:"id"`
	Ledger     string `json:"ledger"`
	At         string `json:"at"`
	OrderCode  string `json:"orderCode"`
	BillCode   string `json:"billCode"`
	RequestID  string `json:"paymentRequestId"`
	PayTime    string `json:"payTime"`
	BodySHA256 string `json:"bodySHA256"`
	ResolvedAt string `json:"resolvedAt"`
	Note       string `json:"note"`
	Actor      string `json:"actor"`
}

func orphanOf(o bill.Orphan) orphanView {
	v := orphanView{
		ID: o.ID, Ledger: o.Ledger, At: bill.Timestamp(o.At), OrderCode: o.Report.OrderCode, BillCode: o.Report.BillCode,
		RequestID: o.Report.PaymentRequestID, PayTime: bill.Timestamp(o.Report.PayTime), BodySHA256: o.Report.BodySHA256,
	}
	if o.Resolved != nil {
		v.ResolvedAt, v.Note, v.Actor = bill.Timestamp(o.Resolved.At), o.Resolved.Note, o.Resolved.Actor
	}
	return v
}

func milliseconds(nanoseconds int64) int64 { return nanoseconds / int64(time.Millisecond) }
