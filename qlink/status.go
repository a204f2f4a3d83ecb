package qlink

import "strings"

// StatusCode is what a payment status means.
type StatusCode uint8

const (
	StatusUnknown  StatusCode = iota // a word not in any list: it must change nothing
	StatusWait                       // not paid yet
	StatusSuccess                    // paid
	StatusFail                       // failed, unpaid
	StatusCanceled                   // cancelled, unpaid
	StatusExpired                    // ran out, unpaid
)

// String returns the code's name in the document's spelling, UNKNOWN for any other.
func (c StatusCode) String() string {
	switch c {
	case StatusWait:
		return "WAIT"
	case StatusSuccess:
		return "SUCCESS"
	case StatusFail:
		return "FAIL"
	case StatusCanceled:
		return "CANCELED"
	case StatusExpired:
		return "EXPIRED"
	default:
		return "UNKNOWN"
	}
}

// Status is a value of the document's "Payment Status Enumeration" (sections 5 and 8).
// It is never a CancelStatus: SUCCESS of the one is the opposite of SUCCESS of the other.
type Status struct {
	Code StatusCode
	Raw  string // as received
}

// ParseStatus reads a payment status without regard to case. The document shows WAIT,
// SUCCESS and FAIL; the obvious synonyms are taken for what they say.
func ParseStatus(raw string) Status {
	return Status{Code: statusCode(raw), Raw: raw}
}

func statusCode(raw string) StatusCode {
	switch strings.ToUpper(strings.TrimSpace(raw)) {
	case "WAIT", "PENDING", "PROCESSING", "INIT":
		return StatusWait
	case "SUCCESS", "PAID":
		return StatusSuccess
	case "FAIL", "FAILED":
		return StatusFail
	case "CANCEL", "CANCELED", "CANCELLED", "CLOSED":
		return StatusCanceled
	case "EXPIRED", "TIMEOUT":
		return StatusExpired
	default:
		return StatusUnknown
	}
}

// CancelCode is what the gateway says has become of a request to cancel.
type CancelCode uint8

const (
	CancelUnknown CancelCode = iota // a word not in any list: nothing is certain
	CancelDone                      // the payment is cancelled
	CancelPending                   // the gateway has not decided yet
	CancelRefused                   // the payment is not cancelled, perhaps because it is paid
)

// String returns a word for the code, for logs.
func (c CancelCode) String() string {
	switch c {
	case CancelDone:
		return "done"
	case CancelPending:
		return "pending"
	case CancelRefused:
		return "refused"
	default:
		return "unknown"
	}
}

// CancelStatus is a value of the document's "Pay Cancel status enum" (section 6). It is
// never a Status.
type CancelStatus struct {
	Code CancelCode
	Raw  string // as received
}

// ParseCancelStatus reads a cancel status without regard to case. The document shows WAIT
// alone.
func ParseCancelStatus(raw string) CancelStatus {
	return CancelStatus{Code: cancelCode(raw), Raw: raw}
}

func cancelCode(raw string) CancelCode {
	switch strings.ToUpper(strings.TrimSpace(raw)) {
	case "SUCCESS", "CANCEL", "CANCELED", "CANCELLED":
		return CancelDone
	case "WAIT", "PENDING", "PROCESSING", "INIT":
		return CancelPending
	case "FAIL", "FAILED":
		return CancelRefused
	default:
		return CancelUnknown
	}
}
