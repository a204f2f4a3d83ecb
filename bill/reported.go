package bill

import "time"

// Reported is a signed notification's word that a bill is paid, kept until a
// query agrees (Rules.ConfirmSuccess). Neither buyers nor shops are shown it.
type Reported struct {
	At      time.Time `json:"at,omitzero"`      // of the first such notification; zero: there was none, or it is settled
	PayTime time.Time `json:"payTime,omitzero"` // as the notification had it
}

// Unconfirmed reports whether a signed notification said that b is paid while
// no query has agreed yet. Until one does, or an operator ends it by force, b
// neither ends nor gives way to another attempt of its order.
func (b Bill) Unconfirmed() bool { return !b.Reported.At.IsZero() }

// Unconfirmed returns the attempt that a notification reported as paid and no
// query has confirmed yet, the earliest where there are several.
func (r OrderRecord) Unconfirmed() (Attempt, bool) {
	for _, a := range r.Attempts {
		if a.Unconfirmed {
			return a, true
		}
	}
	return Attempt{}, false
}

// reportedUnconfirmed remembers a notification's word that b is paid. It shows
// that the gateway has been reached, whatever /apply seemed to say.
func (b Bill) reportedUnconfirmed(e Event) (Bill, Follow, error) {
	b.Reported = Reported{At: e.At, PayTime: e.Report.PayTime}
	b.Apply.NotSent, b.Apply.Tries = false, max(b.Apply.Tries, 1)
	return b, FollowQuery, nil
}

// whileUnconfirmed is the column of the table for a bill that is reported as
// paid and not confirmed: a query's SUCCESS pays it, an operator's word ends
// it, and nothing else does. What would end it at the gateway, or make it
// payable anew, has the gateway asked instead.
func (b Bill) whileUnconfirmed(e Event, rules Rules) (Bill, Follow, error) {
	switch e.Kind {
	case EventApplyStarted:
		return Bill{}, FollowNone, ErrApplyForbidden
	case EventReportedPaid:
		if e.confirms(rules) {
			return b.paid(e)
		}
		if b.Reported.PayTime.IsZero() {
			b.Reported.PayTime = e.Report.PayTime
		}
		return b.askInstead(e, rules)
	case EventCancelAsked:
		return b.askInstead(e, rules)
	case EventReportedFail, EventReportedCancel, EventReportedExpiry:
		if e.Source == ByQuery {
			return b, FollowNone, nil // it has just been asked
		}
		return b.askInstead(e, rules)
	case EventNotKnown, EventRefusalStands, EventCancelStands:
		return b, FollowNone, nil
	default:
	}
	next, follow, err := b.dispatch(e, rules)
	if follow == FollowCancel || follow == FollowReapply {
		follow = FollowNone
	}
	return next, follow, err
}

// confirms reports whether a report of a payment is to be believed by itself.
func (e Event) confirms(rules Rules) bool {
	return e.Source != ByWebhook || !rules.ConfirmSuccess
}

// askInstead has the gateway asked, unless that was done within MinInterval:
// a captured notification may come again for ever.
func (b Bill) askInstead(e Event, rules Rules) (Bill, Follow, error) {
	if b.askedLately(e.At, rules) {
		return b, FollowNone, nil
	}
	b.AskedAt = e.At
	return b, FollowQuery, nil
}
