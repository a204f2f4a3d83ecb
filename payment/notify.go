package payment

import (
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

// Target is a shop's URL that is told how bills end.
type Target struct {
	URL     string
	Secrets [][]byte // Standard Webhooks keys, decoded; every one signs, so that they rotate without a gap
	Events  []bill.NotificationType
}

// Standard Webhooks' form of a secret; it bounds keys, in bytes.
const (
	KeyPrefix = "whsec_"
	minKey    = 24
	maxKey    = 64
)

// ErrKey is about a secret that is none of Standard Webhooks'. It never quotes
// one.
var ErrKey = errors.New("is not whsec_ and the base64 of 24 to 64 bytes")

// ParseKey decodes a secret of Standard Webhooks; its error is ErrKey.
func ParseKey(secret string) ([]byte, error) {
	encoded, ok := strings.CutPrefix(secret, KeyPrefix)
	if !ok || strings.ContainsAny(encoded, "\r\n") { // which the decoder would skip
		return nil, ErrKey
	}
	key, err := base64.StdEncoding.Strict().DecodeString(encoded)
	if err != nil || len(key) < minKey || len(key) > maxKey {
		return nil, ErrKey
	}
	return key, nil
}

// notice is the body of a notification (Standard Webhooks' payload).
type notice struct {
	Type      bill.NotificationType `json:"type"`
	Timestamp time.Time             `json:"timestamp"` // of the change
	Data      noticeData            `json:"data"`
}

// noticeData is the bill as it stood, and what is known of its order.
type noticeData struct {
	bill.View

	Order noticeOrder `json:"order"`
}

type noticeOrder struct {
	Paid     bool   `json:"paid"`
	PaidBill string `json:"paidBill"`
	OpenBill string `json:"openBill"`
}

// tellShop adds to a change what each of the shop's URLs is told of it. What a
// URL has not taken yet about the same order is superseded, so that a late
// "cancelled" never follows a "paid". The record is the order's as the change
// will leave it; metadata is {} where retention has deleted it.
func (w *work) tellShop(change *bill.Change, b bill.Bill, kind bill.NotificationType, record bill.OrderRecord, details *bill.Details) error {
	if w.engine.cfg.Notify == nil {
		return nil
	}
	var payload string
	for _, target := range w.engine.cfg.Notify(b.Account, b.Shop) {
		if !slices.Contains(target.Events, kind) {
			continue
		}
		if payload == "" {
			var err error
			if payload, err = w.payload(b, kind, record, details); err != nil {
				return fmt.Errorf("notification of bill %s: %w", b.ID, err)
			}
		}
		if err := w.supersede(change, target.URL, b.OrderKey()); err != nil {
			return fmt.Errorf("notification of bill %s: %w", b.ID, err)
		}
		change.Notifications = append(change.Notifications, bill.Notification{
			ID: "msg_" + w.engine.cfg.NewID(), URL: target.URL, Ledger: b.Ledger, Account: b.Account, Shop: b.Shop,
			OrderCode: b.OrderCode, Bill: b.ID, Type: kind, Payload: payload,
			CreatedAt: w.now(), Due: w.now(), State: bill.Pending, Revision: 1, Sequence: record.Revision,
			BillCreatedAt: b.CreatedAt,
		})
	}
	return nil
}

// supersede takes the place of what is pending for a URL about an order, in the
// store or in the change itself.
func (w *work) supersede(change *bill.Change, url string, key bill.OrderKey) error {
	for i := range change.Notifications {
		if n := &change.Notifications[i]; n.URL == url && n.State == bill.Pending {
			n.State, n.Due = bill.Superseded, time.Time{}
			return nil
		}
	}
	older, err := w.store.PendingNotification(w.ctx, url, key)
	switch {
	case isNotFound(err):
		return nil
	case err != nil:
		return err
	}
	older.State, older.Due = bill.Superseded, time.Time{}
	older.Revision++
	change.Notifications = append(change.Notifications, older)
	return nil
}

func (w *work) payload(b bill.Bill, kind bill.NotificationType, record bill.OrderRecord, details *bill.Details) (string, error) {
	if details == nil {
		stored, err := w.store.Details(w.ctx, b.ID)
		if err != nil && !isNotFound(err) {
			return "", err
		}
		details = &stored
	}
	data := noticeData{View: b.View(b.PayURL)}
	data.Metadata = jsontext.Value("{}")
	if details.Metadata != "" {
		data.Metadata = jsontext.Value(details.Metadata)
	}
	if paid, ok := record.Paid(); ok {
		data.Order.Paid, data.Order.PaidBill = true, paid.ID
	}
	if open, ok := record.Open(); ok {
		data.Order.OpenBill = open.ID
	}
	text, err := json.Marshal(notice{Type: kind, Timestamp: b.UpdatedAt, Data: data})
	return string(text), err
}
