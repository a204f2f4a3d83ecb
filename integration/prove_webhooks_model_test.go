package integration

import (
	"slices"
	"time"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

// belief is the model of one bill: what it may be after all that the gateway
// and people have said of it, by the contract's table (section 4). It is
// written from that table alone and shares nothing with the engine but the
// names of the statuses.
type belief struct {
	id, order string
	may       []bill.Status // one, but where words or moments are the engine's choice
	expires   time.Time
	endedAt   time.Time // of its unpaid end; late payments are looked for from then on

	applies    int  // calls of /apply that may have been received
	applying   bool // one is under way
	refused    bool // the first one was refused
	notSent    bool // the latest one never reached the gateway
	applyEnded time.Time
	firstMiss  time.Time // first query since that found nothing
	hasAction  bool      // an answer said how to pay

	wished    bool // its end was asked for, by whomever but its own time
	called    bool // /cancel was called
	confirmed bool // the gateway's latest answer to that was "cancelled"
	paidSaid  bool // something signed, or an answer, said that it is paid
	lied      bool // the gateway reported what its ledger never held
}

// What may still end, and what may still be paid.
var (
	openOnes   = []bill.Status{bill.Created, bill.Wait}
	unpaidOnes = []bill.Status{bill.Created, bill.Wait, bill.Fail, bill.Canceled, bill.Expired}
)

// move leads from the given statuses to any of others. Where the engine may
// not have taken notice, it may also stay.
func (b *belief) move(sure bool, from []bill.Status, to ...bill.Status) {
	var after []bill.Status
	for _, s := range b.may {
		if !slices.Contains(from, s) {
			after = append(after, s)
			continue
		}
		after = append(after, to...)
		if !sure {
			after = append(after, s)
		}
	}
	slices.Sort(after)
	b.may = slices.Compact(after)
}

func (b *belief) maybe(s bill.Status) bool { return slices.Contains(b.may, s) }

// ended reports whether b may have ended.
func (b *belief) ended() bool { return slices.ContainsFunc(b.may, bill.Status.Final) }

func (b *belief) expired(now time.Time) bool { return !b.expires.IsZero() && !now.Before(b.expires) }

// ends are the words for an unpaid end that nobody but this side named.
func (b *belief) ends(now time.Time) []bill.Status {
	switch {
	case !b.expired(now):
		return []bill.Status{bill.Canceled}
	case b.called && !b.wished:
		return []bill.Status{bill.Expired}
	}
	return []bill.Status{bill.Canceled, bill.Expired}
}

// told is the effect of a report, by webhook or query.
func (b *belief) told(status string, now time.Time, sure bool) {
	switch status {
	case "WAIT":
		b.move(sure, []bill.Status{bill.Created}, bill.Wait)
	case "SUCCESS":
		b.paidSaid = b.paidSaid || !b.maybe(bill.Choose)
		b.move(sure, unpaidOnes, bill.Success)
	case "FAIL":
		b.move(sure, openOnes, bill.Fail)
	case "EXPIRED":
		b.move(sure, openOnes, bill.Expired)
	case "CANCEL":
		b.move(sure, openOnes, b.ends(now)...)
	}
}

// queried is the effect of an answer about this bill alone that could be read:
// a status, or "" where the gateway certainly has nothing.
func (b *belief) queried(status string, asked, now time.Time, sure bool) {
	if status == "" {
		b.missed(asked, sure)
	}
	b.told(status, now, sure)
	if b.confirmed && status != "SUCCESS" {
		b.move(sure, openOnes, b.ends(now)...)
	}
}

// missed is a query that found nothing. A first refusal stands by it; anything
// else takes two, the second late enough, and only a wish or time ends a bill.
func (b *belief) missed(asked time.Time, sure bool) {
	created := []bill.Status{bill.Created}
	switch {
	case b.applying:
		return
	case b.refused:
		b.move(sure, created, bill.Fail)
		return
	}
	first := b.firstMiss.IsZero()
	if first {
		b.firstMiss = asked
	}
	late := !asked.Before(b.applyEnded.Add(unknownAfter))
	if (b.notSent || !first && late) && (b.wished || b.expired(asked)) {
		b.move(false, created, b.ends(asked)...)
	}
}

// pass is the effect of time and wishes on what the gateway has never heard
// of: nobody need be asked.
func (b *belief) pass(now time.Time) {
	over := b.wished || b.expired(now)
	if over && b.notSent {
		b.move(false, []bill.Status{bill.Created}, b.ends(now)...)
	}
	if over {
		b.move(!b.expired(now), []bill.Status{bill.Choose}, b.ends(now)...)
	}
}

// applied is the effect of an answer of /apply.
func (b *belief) applied(how applyFault, now time.Time) {
	b.applying, b.applyEnded = false, now
	first := b.applies == 1
	b.refused, b.notSent = false, false
	switch how {
	case applyTakes, applyHidesAction:
		b.hasAction = b.hasAction || how == applyTakes
		b.move(true, []bill.Status{bill.Created}, bill.Wait)
	case applyRefuses:
		b.refused = first
	case applyUnreachable:
		b.applies--
		b.notSent = true
	case applyTimesOut, applyLosesAnswer, applyBooksLate:
	}
}

// mayCancel reports whether there is a reason to call /cancel.
func (b *belief) mayCancel(now time.Time) bool {
	return b.wished || b.expired(now) || b.ended() || !b.hasAction
}

// mayApply names what forbids a call of /apply; "" if nothing does.
func (b *belief) mayApply(now time.Time) string {
	switch {
	case b.applies == 0:
		return ""
	case b.expired(now):
		return "applied for again after its time"
	case b.wished && slices.Equal(b.may, []bill.Status{bill.Created}):
		return "applied for again after a wish to cancel"
	case !b.maybe(bill.Created) && !b.maybe(bill.Wait):
		return "applied for again after its end"
	}
	return ""
}
