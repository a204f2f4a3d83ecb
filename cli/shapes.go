package cli

import (
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

// The answers of the admin API, as far as tables show them. What an older or
// newer Caddy leaves out is the zero value, and what it adds is ignored; --json
// prints all of it.

// billJSON is a bill for its operator.
type billJSON struct {
	bill.View

	Stuck        string `json:"stuck"` // why; "": it isn't
	CancelReason string `json:"cancelReason"`
	DueAt        string `json:"dueAt"`
	ResolvedAt   string `json:"resolvedAt"`
}

type billDetail struct {
	Bill          billJSON           `json:"bill"`
	Order         orderJSON          `json:"order"`
	Details       *detailsJSON       `json:"details"`
	History       []eventJSON        `json:"history"`
	Notifications []notificationJSON `json:"notifications"`
}

type orderJSON struct {
	Paid     bool     `json:"paid"`
	PaidBill string   `json:"paidBill"`
	OpenBill string   `json:"openBill"`
	Bills    []string `json:"bills"`
}

type detailsJSON struct {
	Description string         `json:"description"`
	Items       jsontext.Value `json:"items"`
	Metadata    jsontext.Value `json:"metadata"`
	ReturnURL   string         `json:"returnUrl"`
}

type eventJSON struct {
	At      string         `json:"at"`
	Kind    string         `json:"kind"`
	Source  string         `json:"source"`
	Actor   string         `json:"actor"`
	From    string         `json:"from"`
	To      string         `json:"to"`
	Version uint64         `json:"version"`
	Reason  string         `json:"reason"`
	Note    string         `json:"note"`
	TookMS  float64        `json:"tookMs"`
	Report  jsontext.Value `json:"report"`
}

type notificationJSON struct {
	ID        string        `json:"id"`
	URL       string        `json:"url"`
	Type      string        `json:"type"`
	State     string        `json:"state"`
	Bill      string        `json:"bill"`
	OrderCode string        `json:"orderCode"`
	CreatedAt string        `json:"createdAt"`
	DueAt     string        `json:"dueAt"`
	Tries     int           `json:"tries"`
	TriedAt   string        `json:"triedAt"`
	LastError string        `json:"lastError"`
	Attempts  []attemptJSON `json:"attempts"`
}

type attemptJSON struct {
	At     string  `json:"at"`
	TookMS float64 `json:"tookMs"`
	Status int     `json:"status"`
	Error  string  `json:"error"`
}

type orphanJSON struct {
	ID               string `json:"id"`
	At               string `json:"at"`
	OrderCode        string `json:"orderCode"`
	BillCode         string `json:"billCode"`
	PaymentRequestID string `json:"paymentRequestId"`
	PayTime          string `json:"payTime"`
	ResolvedAt       string `json:"resolvedAt"`
	Note             string `json:"note"`
	Actor            string `json:"actor"`
}

// actedJSON is the answer to an act on one bill or orphan.
type actedJSON struct {
	Bill   jsontext.Value `json:"bill"`
	Orphan jsontext.Value `json:"orphan"`
}

// moment shows a time of the admin API to the second, in UTC.
func moment(rfc3339 string) string {
	t, err := time.Parse(time.RFC3339, rfc3339)
	if err != nil {
		return rfc3339
	}
	return t.UTC().Format("2006-01-02 15:04:05Z")
}
