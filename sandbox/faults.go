package sandbox

import (
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// maxFaults bounds the queue of faults.
const maxFaults = 1000

// FaultKind is what goes wrong.
type FaultKind string

// The faults. "Done" says whether the operation takes effect.
const (
	// FaultDelay answers after Delay (default 5s). Done.
	FaultDelay FaultKind = "delay"
	// FaultDropAnswer cuts the connection instead of answering. Done.
	FaultDropAnswer FaultKind = "drop_answer"
	// FaultDropRequest cuts the connection. Not done.
	FaultDropRequest FaultKind = "drop_request"
	// FaultStatus answers with Status (default 503) and Body. Done where Processed.
	FaultStatus FaultKind = "status"
	// FaultRefuse answers success:false with ErrorCode and Message. Not done.
	FaultRefuse FaultKind = "refuse"
	// FaultEnvelope answers in Envelope. Done.
	FaultEnvelope FaultKind = "envelope"
	// FaultHTML answers with a web page and Status (default 200). Done where Processed.
	FaultHTML FaultKind = "html"
	// FaultTruncate cuts the connection in the middle of the answer. Done.
	FaultTruncate FaultKind = "truncate"
	// FaultWrongBill answers about another bill: Field says what is wrong,
	// tradeUuid, billCode, orderCode, currency or all (default). Done.
	FaultWrongBill FaultKind = "wrong_bill"
	// FaultEmpty answers with nothing in the envelope, or, where Body is "none",
	// without a body. Done.
	FaultEmpty FaultKind = "empty"
	// FaultCancelAnswer answers a cancel with the word in Answer (default
	// FAIL) and ErrorCode; the payment is cancelled where Cancels says so, and
	// else where the word is SUCCESS or begins with CANCEL.
	FaultCancelAnswer FaultKind = "cancel_answer"
	// FaultBadJSON answers with JSON that is none: Field is syntax (default),
	// duplicate (a doubled key) or utf8. Done.
	FaultBadJSON FaultKind = "bad_json"
	// FaultForget has the gateway forget the payment: an apply is answered as
	// if made; before any other operation the payment it names is gone.
	FaultForget FaultKind = "forget"
	// FaultReport has getPayStatus say the word in Answer instead of the
	// status, ErrorCode along with it. Done.
	FaultReport FaultKind = "report"
	// FaultNoAction leaves out apply's actionValue, from the ledger too. Done.
	FaultNoAction FaultKind = "no_action"
	// FaultEarlyWebhook pays an apply and posts the webhook before it is
	// answered. Done.
	FaultEarlyWebhook FaultKind = "early_webhook"
)

var faultKinds = []FaultKind{
	FaultDelay, FaultDropAnswer, FaultDropRequest, FaultStatus, FaultRefuse, FaultEnvelope, FaultHTML, FaultTruncate,
	FaultWrongBill, FaultEmpty, FaultCancelAnswer, FaultBadJSON, FaultForget, FaultReport, FaultNoAction, FaultEarlyWebhook,
}

// Fault goes wrong at the next calls it matches: the first of the queue that
// matches a call falls on it, and no other.
type Fault struct {
	ID string `json:"id"`
	// Operation is queryPayAccount, apply, getPayStatus or cancel; empty: any.
	Operation string `json:"operation,omitzero"`
	// OrderCode, where set, is the order the call must be about.
	OrderCode string `json:"orderCode,omitzero"`
	// Skip lets so many matching calls pass first.
	Skip int `json:"skip,omitzero"`
	// Times is for how many calls it is good; default 1, and -1 is until deleted.
	Times int `json:"times,omitzero"`
	// Fault is the kind; the fields below are the parameters some kinds have.
	Fault     FaultKind `json:"fault"`
	Delay     Duration  `json:"delay,omitzero"`
	Status    int       `json:"status,omitzero"`
	Body      string    `json:"body,omitzero"`
	Processed bool      `json:"processed,omitzero"`
	ErrorCode string    `json:"errorCode,omitzero"`
	Message   string    `json:"message,omitzero"`
	Envelope  string    `json:"envelope,omitzero"`
	Answer    string    `json:"answer,omitzero"`
	Cancels   *bool     `json:"cancels,omitzero"`
	Field     string    `json:"field,omitzero"`
}

// complete checks a fault from outside and fills in what it left out.
func (f *Fault) complete() error {
	switch {
	case !slices.Contains(faultKinds, f.Fault):
		return fmt.Errorf("fault: %q is none of %v", f.Fault, faultKinds)
	case f.Operation != "" && !slices.Contains(operations, f.Operation):
		return fmt.Errorf("operation: %q is none of %s", f.Operation, strings.Join(operations, ", "))
	case f.Times < -1 || f.Skip < 0:
		return errors.New("times must be -1 or above, skip 0 or above")
	case f.Status != 0 && (f.Status < 200 || f.Status > 599):
		return fmt.Errorf("status: %d is not from 200 to 599", f.Status)
	}
	if err := f.checkWords(); err != nil {
		return err
	}
	f.ID = "f-" + rand.Text()
	if f.Times == 0 {
		f.Times = 1
	}
	f.fill()
	return nil
}

// fill sets the kind's own defaults.
func (f *Fault) fill() {
	switch {
	case f.Fault == FaultDelay && f.Delay == 0:
		f.Delay = Duration(5 * time.Second)
	case f.Fault == FaultStatus && f.Status == 0:
		f.Status = 503
	case f.Fault == FaultCancelAnswer && f.Answer == "":
		f.Answer = "FAIL"
	}
}

// checkWords refuses a parameter whose word its kind does not know.
func (f *Fault) checkWords() error {
	var err error
	switch f.Fault {
	case FaultEnvelope:
		err = oneOf(f.Envelope, envelopes...)
	case FaultWrongBill:
		err = oneOf(f.Field, "", "all", "tradeUuid", "billCode", "orderCode", "currency")
	case FaultBadJSON:
		err = oneOf(f.Field, "", "syntax", "duplicate", "utf8")
	case FaultReport:
		if f.Answer == "" {
			err = errors.New("report wants the word to report in answer")
		}
	default:
	}
	if err != nil {
		return fmt.Errorf("%s: %w", f.Fault, err)
	}
	return nil
}

// undone reports whether the fault keeps the operation from taking effect.
func (f *Fault) undone() bool {
	switch f.Fault {
	case FaultDropRequest, FaultRefuse:
		return true
	case FaultStatus, FaultHTML:
		return !f.Processed
	default:
		return false
	}
}

// takeFault finds the fault that falls on a call about these orders and counts
// it down, in the entry. A zero Fault is none.
func (t *tx) takeFault(operation string, orders []string) Fault {
	i := slices.IndexFunc(t.faults, func(f Fault) bool {
		return (f.Operation == "" || f.Operation == operation) &&
			(f.OrderCode == "" || slices.Contains(orders, f.OrderCode))
	})
	if i < 0 {
		return Fault{}
	}
	left := slices.Clone(t.faults)
	found := left[i]
	t.entry.Faults = &left
	switch {
	case found.Skip > 0:
		left[i].Skip--
		return Fault{}
	case found.Times > 1:
		left[i].Times--
	case found.Times == 1:
		left = slices.Delete(left, i, i+1)
	default: // until deleted
		t.entry.Faults = nil
	}
	return found
}
