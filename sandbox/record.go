package sandbox

import (
	"fmt"
	"time"
)

// Status is a payment's, in the words getPayStatus and the webhook use
// (document, sections 5 and 8). The document prints no list; these are the
// usual words.
type Status string

// The statuses the sandbox gives. The control API can report any other word.
const (
	StatusWait     Status = "WAIT"
	StatusSuccess  Status = "SUCCESS"
	StatusFail     Status = "FAIL"
	StatusExpired  Status = "EXPIRED"
	StatusCanceled Status = "CANCELED"
)

// Entry is one line of a ledger file: what one call or one decision did, whole
// or not at all. Replayed in order the entries give the ledger's state.
type Entry struct {
	Seq  uint64    `json:"seq"`
	Time time.Time `json:"time"`
	// Call is a request received at the gateway, with its answer.
	Call *Call `json:"call,omitzero"`
	// Payment is a new payment.
	Payment *Payment `json:"payment,omitzero"`
	// Change is a payment's new status.
	Change *Change `json:"change,omitzero"`
	// Forget are the billCodes of payments the gateway knows no more.
	Forget []string `json:"forget,omitzero"`
	// Plans are changes that come by themselves later.
	Plans []Plan `json:"plans,omitzero"`
	// PlanDone is the id of the plan this entry carries out, or drops.
	PlanDone string `json:"planDone,omitzero"`
	// Webhooks are notifications to post.
	Webhooks []Webhook `json:"webhooks,omitzero"`
	// Attempt is a try to post one.
	Attempt *Attempt `json:"attempt,omitzero"`
	// Faults is the whole queue of faults after this entry.
	Faults *[]Fault `json:"faults,omitzero"`
	// Settings are all of the control API's settings after this entry.
	Settings *Settings `json:"settings,omitzero"`
}

// empty reports whether there is nothing to record.
func (e *Entry) empty() bool {
	return e.Call == nil && e.Payment == nil && e.Change == nil && len(e.Forget) == 0 && len(e.Plans) == 0 &&
		e.PlanDone == "" && len(e.Webhooks) == 0 && e.Attempt == nil && e.Faults == nil && e.Settings == nil
}

// Payment is one bill at the gateway, made by one /apply.
type Payment struct {
	TradeUUID        string    `json:"tradeUuid"`
	BillCode         string    `json:"billCode"`
	PaymentRequestID string    `json:"paymentRequestId"`
	OrderCode        string    `json:"orderCode"`
	AppKey           string    `json:"appKey"`
	PayAccount       string    `json:"payAccount"`
	PayTypeCode      string    `json:"payTypeCode"`
	PayChannelCode   string    `json:"payChannelCode"`
	TradeTime        string    `json:"tradeTime"` // as sent, in the gateway's zone
	Country          string    `json:"country"`
	Currency         string    `json:"currency"`
	Amount           string    `json:"amount"` // as sent
	Description      string    `json:"description,omitzero"`
	ActionValue      string    `json:"actionValue"`
	Status           Status    `json:"status"`
	ErrorCode        string    `json:"errorCode,omitzero"`
	PayTime          string    `json:"payTime,omitzero"` // in the gateway's zone
	CreatedAt        time.Time `json:"createdAt"`
	UpdatedAt        time.Time `json:"updatedAt"`
}

// open reports whether the payment can still be paid.
func (p *Payment) open() bool { return p.Status == StatusWait }

// Change is a payment's new status.
type Change struct {
	BillCode  string `json:"billCode"`
	Status    Status `json:"status"`
	ErrorCode string `json:"errorCode,omitzero"`
	PayTime   string `json:"payTime,omitzero"`
	// By says who decided: page, control, cancel (the merchant's /cancel) or magic.
	By string `json:"by"`
}

// Plan is a change that comes by itself.
type Plan struct {
	ID     string    `json:"id"`
	Due    time.Time `json:"due"`
	Change Change    `json:"change"`
	// Late carries the plan out although the payment has ended meanwhile.
	Late     bool      `json:"late,omitzero"`
	Webhooks []Webhook `json:"webhooks,omitzero"`
}

// Call is one request received at one of the gateway's operations.
type Call struct {
	Seq       uint64    `json:"seq"`
	Time      time.Time `json:"time"`
	Operation string    `json:"operation"`
	AppKey    string    `json:"appKey"`
	Sign      string    `json:"sign"`
	Body      string    `json:"body"`
	// OrderCodes and BillCodes are those the call named or was found to mean.
	OrderCodes []string `json:"orderCodes,omitzero"`
	BillCodes  []string `json:"billCodes,omitzero"`
	// Verdict is "accepted", or why the call was refused.
	Verdict string `json:"verdict"`
	// Fault is the fault that fell on the call.
	Fault string `json:"fault,omitzero"`
	// HTTPStatus and Answer are what was decided to send.
	HTTPStatus int    `json:"httpStatus"`
	Answer     string `json:"answer"`
	// Cut tells of a connection that was cut: request (nothing was done),
	// answer (done, not said) or half.
	Cut string `json:"cut,omitzero"`
}

// Webhook is one notification to one URL, signed when it was made: a reload
// with other credentials does not change it.
type Webhook struct {
	ID       string    `json:"id"`
	BillCode string    `json:"billCode"`
	URL      string    `json:"url"`
	AppKey   string    `json:"appKey"`
	Body     string    `json:"body"`
	Sign     string    `json:"sign"`
	Due      time.Time `json:"due"`
	// Delay is how long after its change it was made due.
	Delay Duration `json:"delay,omitzero"`
	// Tries is how often it is posted at most, Retry the first wait between.
	Tries int      `json:"tries"`
	Retry Duration `json:"retry"`
	// Unordered lets it pass, and be passed by, others of the same payment.
	Unordered bool `json:"unordered,omitzero"`
	// Held keeps it back until a later one has been posted, or Due.
	Held     bool         `json:"held,omitzero"`
	State    WebhookState `json:"state"`
	Attempts []Attempt    `json:"attempts,omitzero"`
}

// WebhookState is what became of a notification.
type WebhookState string

// A notification waits to be posted, was answered with a 2xx, was given up, or
// was lost on purpose and never posted.
const (
	WebhookPending   WebhookState = "pending"
	WebhookDelivered WebhookState = "delivered"
	WebhookDead      WebhookState = "dead"
	WebhookLost      WebhookState = "lost"
)

// Attempt is one try to post a notification.
type Attempt struct {
	Webhook    string       `json:"webhook"`
	Time       time.Time    `json:"time"`
	HTTPStatus int          `json:"httpStatus,omitzero"`
	Answer     string       `json:"answer,omitzero"`
	Error      string       `json:"error,omitzero"`
	State      WebhookState `json:"state"`         // after this try
	Next       time.Time    `json:"next,omitzero"` // while pending
}

// Duration is a time.Duration written as text: "1.5s".
type Duration time.Duration

// MarshalText writes d as time.Duration prints it.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText reads what time.ParseDuration takes, zero or above.
func (d *Duration) UnmarshalText(text []byte) error {
	parsed, err := time.ParseDuration(string(text))
	if err != nil || parsed < 0 {
		return fmt.Errorf("%q is no duration such as 500ms or 2s", text)
	}
	*d = Duration(parsed)
	return nil
}
