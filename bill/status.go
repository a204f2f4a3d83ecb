package bill

// Status is how far a bill has come.
type Status string

// The statuses of a bill. Fail, Canceled and Expired have ended unpaid, and
// yet give way to a late payment: a picture of a QR code stays payable.
const (
	Choose   Status = "CHOOSE"   // stored; nothing at the gateway; the buyer has not chosen how to pay
	Created  Status = "CREATED"  // stored; the gateway's answer to /apply is not known
	Wait     Status = "WAIT"     // the gateway has it; the buyer can pay
	Success  Status = "SUCCESS"  // paid, for ever
	Fail     Status = "FAIL"     // refused or failed
	Canceled Status = "CANCELED" // cancelled
	Expired  Status = "EXPIRED"  // ran out
)

// Statuses returns every status, in the order of a bill's life.
func Statuses() []Status {
	return []Status{Choose, Created, Wait, Success, Fail, Canceled, Expired}
}

// Final reports whether s ends a bill.
func (s Status) Final() bool {
	switch s {
	case Success, Fail, Canceled, Expired:
		return true
	case Choose, Created, Wait:
	}
	return false
}

// EndedUnpaid reports whether s ends a bill without payment.
func (s Status) EndedUnpaid() bool { return s.Final() && s != Success }
