package bill

import "time"

// StuckAfter is how long a bill may hang before an operator should look at it:
// long enough for what heals by itself.
const StuckAfter = 5 * time.Minute

// StuckReason says why a bill wants an operator's eye.
type StuckReason string

// The reasons, the most pressing first.
const (
	StuckUnconfirmed   StuckReason = "payment_not_confirmed"     // a notification reported it as paid, and no query has agreed
	StuckRefusesUs     StuckReason = "gateway_refuses_signature" // the gateway refused our signature or key at /apply
	StuckAnswerUnknown StuckReason = "answer_unknown"            // the gateway's answer to /apply is not known
	StuckCancel        StuckReason = "cancel_not_confirmed"      // its end was asked for and has not come
	StuckOverdue       StuckReason = "expiry_not_confirmed"      // its time is over and it has not ended
)

// Stuck says why b, as it is, wants an operator's eye at the given time; ""
// where it does not, or an operator has seen to it since its last change.
func (b Bill) Stuck(now time.Time) StuckReason {
	since := func(t time.Time) bool { return !t.IsZero() && !now.Before(t.Add(StuckAfter)) }
	switch {
	case !b.ResolvedAt.IsZero():
		return ""
	case since(b.Reported.At):
		return StuckUnconfirmed
	case b.Status.Final():
		return ""
	case b.Status == Created && b.Apply.Complained:
		return StuckRefusesUs
	case b.Status == Created && since(b.UpdatedAt):
		return StuckAnswerUnknown
	case b.Cancel.Requested && since(b.UpdatedAt):
		return StuckCancel
	case since(b.ExpiresAt):
		return StuckOverdue
	}
	return ""
}
