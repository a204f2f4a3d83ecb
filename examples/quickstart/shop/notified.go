package shop

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"go.uber.org/zap"
)

const (
	notifiedPath = "/notifications"

	// maxNotification is more than any notification takes, in bytes: an order,
	// whose metadata comes back in it, is 128 KiB at most.
	maxNotification = 256 << 10
)

// newVerifier makes what tells the module's notifications from anybody else's.
func newVerifier(secret string) (*standardwebhooks.Webhook, error) {
	const prefix, leastKey = "whsec_", 32 // the library would take an empty key
	if encoded, ok := strings.CutPrefix(secret, prefix); !ok || len(encoded) < leastKey {
		return nil, errors.New("is no secret of Standard Webhooks: whsec_ and the base64 of 24 bytes or more")
	}
	return standardwebhooks.NewWebhook(secret)
}

// notification is what the module posts when a bill has ended. Data stays
// unread where the type is one that the shop does not know.
type notification struct {
	Type string         `json:"type"`
	Data jsontext.Value `json:"data"`
}

// told is what the shop reads of a notification's data: the bill that it is
// about, and how the order stands over all of its bills.
type told struct {
	bill

	Order struct {
		Paid     bool   `json:"paid"`
		PaidBill string `json:"paidBill"`
	} `json:"order"`
}

// notified hears of a bill's end. 2xx means that the shop need not be told
// again; anything else, that it has to be. The same may come twice, and late:
// only "paid" changes anything, and only the first time.
func (s *Shop) notified(w http.ResponseWriter, r *http.Request, l *ledger) {
	body, err := io.ReadAll(r.Body)
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		s.refuse(w, r, http.StatusRequestEntityTooLarge, "too_large", "That is more than a notification.")
		return
	}
	if err != nil {
		s.refuse(w, r, http.StatusBadRequest, "unreadable", "The notification was cut off.")
		return
	}
	// Over the bytes as they came, and before anything in them is believed.
	if err := s.verifier.Verify(body, r.Header); err != nil {
		s.logger.Warn("a notification that is not the module's", zap.Error(err))
		s.refuse(w, r, http.StatusUnauthorized, "bad_signature", "The signature is missing, wrong or stale.")
		return
	}
	var n notification
	if err := json.Unmarshal(body, &n); err != nil {
		s.refuse(w, r, http.StatusBadRequest, "bad_notification", "That is no notification.")
		return
	}
	switch n.Type {
	case "bill.paid", "bill.late_payment", "bill.failed", "bill.canceled", "bill.expired":
		s.billEnded(w, r, l, n.Data)
	default: // of a later version
		w.WriteHeader(http.StatusNoContent)
	}
}

func (s *Shop) billEnded(w http.ResponseWriter, r *http.Request, l *ledger, data jsontext.Value) {
	var t told
	if err := json.Unmarshal(data, &t); err != nil || t.OrderCode == "" {
		s.refuse(w, r, http.StatusBadRequest, "bad_notification", "That is no notification about a bill.")
		return
	}
	if !t.Order.Paid {
		w.WriteHeader(http.StatusNoContent) // nothing to do: unpaid is what an order is until it is paid
		return
	}
	o, ok := l.order(t.OrderCode)
	if !ok {
		// Somebody paid for it: it must not end in silence.
		s.logger.Error("a payment of an order that is not here", zap.String("order", t.OrderCode), zap.String("bill", t.Order.PaidBill))
		s.refuse(w, r, http.StatusNotFound, "unknown_order", "There is no such order here.")
		return
	}
	switch s.hearPaid(r.Context(), l, o, t) {
	case standingPaid, standingMismatch: // a mismatch is a person's to look at: telling it again does not help
		w.WriteHeader(http.StatusNoContent)
	case standingWaiting, standingUnpaid, standingUnknown:
		s.refuse(w, r, http.StatusServiceUnavailable, "try_again", "The payment could not be confirmed yet.")
	}
}

// hearPaid fulfils an order that a notification says is paid. The bill that it
// is about need not be the one that paid: of an order with two attempts, the
// other may have been cancelled after. Then the module is asked for that one.
func (s *Shop) hearPaid(ctx context.Context, l *ledger, o order, t told) standing {
	if t.Order.PaidBill == t.ID {
		_, stand, _ := s.fulfil(l, o, t.bill)
		return stand
	}
	_, stand, _ := s.learn(ctx, l, o)
	return stand
}
