package sandbox

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
)

const (
	maxControlBody = 1 << 20
	maxWait        = time.Minute
	maxDuplicate   = 100
)

// fates are the words of the paths on which a payment is decided.
var fates = map[string]Status{
	"pay": StatusSuccess, "fail": StatusFail, "expire": StatusExpired, "cancel": StatusCanceled,
}

// FateOptions are the optional body of POST …/payments/{id}/pay|fail|expire|cancel.
type FateOptions struct {
	// ErrorCode and PayTime replace the usual ones; PayTime is sent as it is.
	ErrorCode string `json:"errorCode,omitzero"`
	PayTime   string `json:"payTime,omitzero"`
	// Silent sends no webhook.
	Silent bool `json:"silent,omitzero"`
}

// WebhookOptions are the optional body of POST …/payments/{id}/webhook.
type WebhookOptions struct {
	// Duplicate sends so many more of the same.
	Duplicate int `json:"duplicate,omitzero"`
	// Delay waits before the first try.
	Delay Duration `json:"delay,omitzero"`
	// WrongSign signs with a secret nobody has.
	WrongSign bool `json:"wrongSign,omitzero"`
	// Status, PayTime and ErrorCode replace the payment's own.
	Status    string `json:"status,omitzero"`
	PayTime   string `json:"payTime,omitzero"`
	ErrorCode string `json:"errorCode,omitzero"`
	// Body replaces the whole notification, as it is.
	Body string `json:"body,omitzero"`
}

// errUnknownPayment is the one reason a decision is not taken.
var errUnknownPayment = errors.New("no payment has this tradeUuid, billCode or orderCode")

// settle decides a payment. Any status may follow any other: a late success
// and a failure after payment are what a shop has to be tried with.
func (s *Sandbox) settle(led *ledger, id, fate, by string, o FateOptions) error {
	return led.commit(func(t *tx) error {
		p := t.find(id)
		if p == nil {
			return errUnknownPayment
		}
		c := s.change(p, fates[fate], t.now)
		c.By = by
		if o.ErrorCode != "" {
			c.ErrorCode = o.ErrorCode
		}
		if o.PayTime != "" {
			c.PayTime = o.PayTime
		}
		t.entry.Change = &c
		if !o.Silent {
			t.queue(s.notice(p, c))
		}
		return nil
	})
}

func (s *Sandbox) getLedger(w http.ResponseWriter, _ *http.Request, led *ledger) {
	writeJSON(w, http.StatusOK, led.snapshot())
}

func (s *Sandbox) getPayments(w http.ResponseWriter, _ *http.Request, led *ledger) {
	writeJSON(w, http.StatusOK, led.snapshot().Payments)
}

func (s *Sandbox) getPayment(w http.ResponseWriter, r *http.Request, led *ledger) {
	id := r.PathValue("id")
	if wait := r.URL.Query().Get("wait"); wait != "" {
		var d Duration
		if err := d.UnmarshalText([]byte(wait)); err != nil {
			writeProblem(w, http.StatusBadRequest, "bad_request", "wait: "+err.Error())
			return
		}
		led.awaitSettled(r, id, min(time.Duration(d), maxWait))
	}
	writePayment(w, led, id)
}

func writePayment(w http.ResponseWriter, led *ledger, id string) {
	record, _, ok := led.payment(id)
	if !ok {
		writeProblem(w, http.StatusNotFound, "unknown_payment", errUnknownPayment.Error())
		return
	}
	writeJSON(w, http.StatusOK, record)
}

func (s *Sandbox) postFate(w http.ResponseWriter, r *http.Request, led *ledger) {
	var o FateOptions
	if !readJSON(w, r, &o) {
		return
	}
	fate := r.PathValue("fate")
	if _, ok := fates[fate]; !ok {
		writeProblem(w, http.StatusNotFound, "unknown_fate", "a payment can be sent to pay, fail, expire, cancel or webhook")
		return
	}
	if err := s.settle(led, r.PathValue("id"), fate, "control", o); err != nil {
		writeError(w, err)
		return
	}
	writePayment(w, led, r.PathValue("id"))
}

func (s *Sandbox) postWebhook(w http.ResponseWriter, r *http.Request, led *ledger) {
	var o WebhookOptions
	if !readJSON(w, r, &o) {
		return
	}
	if o.Duplicate < 0 || o.Duplicate > maxDuplicate {
		writeProblem(w, http.StatusBadRequest, "bad_request", fmt.Sprintf("duplicate must be from 0 to %d", maxDuplicate))
		return
	}
	err := led.commit(func(t *tx) error {
		p := t.find(r.PathValue("id"))
		if p == nil {
			return errUnknownPayment
		}
		made := s.extra(p, o)
		if made == nil {
			return errNoWebhook
		}
		t.queue(made)
		return nil
	})
	if err != nil {
		writeError(w, err)
		return
	}
	writePayment(w, led, r.PathValue("id"))
}

// errNoWebhook is what asking for a webhook gets where there is nobody to tell.
var errNoWebhook = errors.New("no webhook URL is configured for this payment's app")

// extra makes the notifications somebody asked for.
func (s *Sandbox) extra(p *Payment, o WebhookOptions) []Webhook {
	c := Change{Status: p.Status, PayTime: p.PayTime, ErrorCode: p.ErrorCode}
	if o.Status != "" {
		c.Status = Status(o.Status)
	}
	if o.PayTime != "" {
		c.PayTime = o.PayTime
	}
	if o.ErrorCode != "" {
		c.ErrorCode = o.ErrorCode
	}
	made := s.notice(p, c)
	if o.Body != "" {
		made = s.signed(p, o.Body)
	}
	if made == nil {
		return nil
	}
	made[0].Delay += o.Delay
	if o.WrongSign {
		made[0].Sign = strings.Repeat("0", 40)
	}
	for range o.Duplicate {
		again := made[0]
		again.ID = "wh-" + rand.Text()
		made = append(made, again)
	}
	return made
}

func (s *Sandbox) getFaults(w http.ResponseWriter, _ *http.Request, led *ledger) {
	writeJSON(w, http.StatusOK, led.snapshot().Faults)
}

// postFaults adds one fault or an array of them, all or none.
func (s *Sandbox) postFaults(w http.ResponseWriter, r *http.Request, led *ledger) {
	added, ok := readFaults(w, r)
	if !ok {
		return
	}
	for i := range added {
		if err := added[i].complete(); err != nil {
			writeProblem(w, http.StatusBadRequest, "bad_request", fmt.Sprintf("fault %d: %v", i+1, err))
			return
		}
	}
	err := led.commit(func(t *tx) error {
		if len(t.faults)+len(added) > maxFaults {
			return fmt.Errorf("%w: %d are there", errTooMany, len(t.faults))
		}
		queue := slices.Concat(t.faults, added)
		t.entry.Faults = &queue
		return nil
	})
	if err != nil {
		writeError(w, err)
		return
	}
	writeJSON(w, http.StatusCreated, added)
}

// errTooMany bounds the queue.
var errTooMany = fmt.Errorf("the queue holds %d faults at most", maxFaults)

func readFaults(w http.ResponseWriter, r *http.Request) ([]Fault, bool) {
	var raw onesOrMany
	if !readJSON(w, r, &raw) {
		return nil, false
	}
	if len(raw) == 0 {
		writeProblem(w, http.StatusBadRequest, "bad_request", "the body must be a fault or an array of faults")
		return nil, false
	}
	return raw, true
}

// onesOrMany is an array of faults, or a lone fault.
type onesOrMany []Fault

// UnmarshalJSON takes either.
func (o *onesOrMany) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '[' {
		return json.Unmarshal(b, (*[]Fault)(o), json.RejectUnknownMembers(true))
	}
	*o = make([]Fault, 1)
	return json.Unmarshal(b, &(*o)[0], json.RejectUnknownMembers(true))
}

// deleteFaults forgets one fault, or all.
func (s *Sandbox) deleteFaults(w http.ResponseWriter, r *http.Request, led *ledger) {
	id := r.PathValue("id")
	err := led.commit(func(t *tx) error {
		left := []Fault{}
		if id != "" {
			left = slices.DeleteFunc(slices.Clone(t.faults), func(f Fault) bool { return f.ID == id })
			if len(left) == len(t.faults) {
				return errUnknownFault
			}
		}
		t.entry.Faults = &left
		return nil
	})
	if err != nil {
		writeError(w, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// errUnknownFault is what deleting a fault that is not there gets.
var errUnknownFault = errors.New("no fault has this id; it may have been used up")

func (s *Sandbox) getSettings(w http.ResponseWriter, _ *http.Request, led *ledger) {
	writeJSON(w, http.StatusOK, s.rules(led.snapshot().Settings))
}

func (s *Sandbox) postSettings(w http.ResponseWriter, r *http.Request, led *ledger) {
	var set Settings
	if !readJSON(w, r, &set) {
		return
	}
	if err := set.check(); err != nil {
		writeProblem(w, http.StatusBadRequest, "bad_request", err.Error())
		return
	}
	s.changeSettings(w, led, func(old Settings) Settings { return set.over(old) })
}

func (s *Sandbox) deleteSettings(w http.ResponseWriter, _ *http.Request, led *ledger) {
	s.changeSettings(w, led, func(Settings) Settings { return Settings{} })
}

func (s *Sandbox) changeSettings(w http.ResponseWriter, led *ledger, change func(Settings) Settings) {
	var now Settings
	err := led.commit(func(t *tx) error {
		now = change(t.settings)
		t.entry.Settings = &now
		return nil
	})
	if err != nil {
		writeError(w, err)
		return
	}
	writeJSON(w, http.StatusOK, s.rules(now))
}

func serveNoControl(w http.ResponseWriter, r *http.Request) {
	writeProblem(w, http.StatusNotFound, "unknown_endpoint", "there is no control endpoint "+r.Method+" "+valid(r.URL.Path))
}

// readJSON reads a body that may be missing; it has answered where it returns
// false. Unknown members are refused: a misspelt option would be a test that
// tests something else.
func readJSON(w http.ResponseWriter, r *http.Request, into any) bool {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxControlBody))
	if err != nil {
		if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
			writeProblem(w, http.StatusRequestEntityTooLarge, "too_large", "the body is over 1 MiB")
			return false
		}
		writeProblem(w, http.StatusBadRequest, "bad_request", "the body did not arrive whole")
		return false
	}
	if len(body) == 0 {
		return true
	}
	if err := json.Unmarshal(body, into, json.RejectUnknownMembers(true)); err != nil {
		writeProblem(w, http.StatusBadRequest, "bad_request", valid(err.Error()))
		return false
	}
	return true
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(marshal(v), '\n')) // the caller's hanging up is no concern here
}

// writeError answers an error of the control API itself.
func writeError(w http.ResponseWriter, err error) {
	switch {
	case errors.Is(err, errUnknownPayment):
		writeProblem(w, http.StatusNotFound, "unknown_payment", err.Error())
	case errors.Is(err, errUnknownFault):
		writeProblem(w, http.StatusNotFound, "unknown_fault", err.Error())
	case errors.Is(err, errNoWebhook):
		writeProblem(w, http.StatusConflict, "no_webhook", err.Error())
	case errors.Is(err, errTooMany):
		writeProblem(w, http.StatusConflict, "too_many_faults", err.Error())
	default:
		writeProblem(w, http.StatusServiceUnavailable, "ledger_unavailable", err.Error())
	}
}

// writeProblem answers an error in the form of RFC 9457.
func writeProblem(w http.ResponseWriter, status int, code, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_, _ = w.Write(marshal(struct {
		Status int    `json:"status"`
		Code   string `json:"code"`
		Detail string `json:"detail"`
	}{status, code, valid(detail)}))
}
