package integration

import (
	"slices"

	"github.com/anishathalye/porcupine"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

// What the contract allows of one order, as a model for porcupine.
//
// A call of the engine is not one step: a cancel stores a wish, calls /cancel,
// asks, and stores what it learned, and others see each of these. So a call is
// no operation here. It is taken apart into facts, each of which held at some
// moment between the call and its return, and the model says which facts may
// follow which. That a bill was answered with is one fact: it stood so in the
// store at some moment of the call, not necessarily at its end. That an
// attempt was begun is another, that a notification was acknowledged a third.
// What somebody wants is a fact from the moment before he calls, for good: his
// wish is stored, and may come true at any time, after his call has returned
// too. What the gateway does is a fact of the very moment: it writes its own
// down under its lock.
//
// In between, a bill changes by itself, and nobody need be told. The model
// therefore keeps the least that it must have come to, and lets whatever is
// seen next lie anywhere ahead that the table of the contract's section 4 can
// lead to, given what the gateway has done so far and what was wished. That is
// the freedom: when, and how often, but not where to, never back, and never
// ahead of the gateway.

// fact is what held at one moment. after returns the affair from then on;
// false where the fact cannot hold.
type fact interface {
	after(before affair) (affair, bool)
}

// affairs is the model of one order.
var affairs = porcupine.Model{
	Init: func() any { return affair{} },
	Step: func(state, input, _ any) (bool, any) {
		after, ok := input.(fact).after(state.(affair))
		return ok, after
	},
	Equal: func(one, other any) bool { return one.(affair).equal(other.(affair)) },
}

// affair is an order and its attempts, oldest first.
type affair struct {
	wanted   [len(asked)]bool // at which of the amounts somebody has asked for it
	attempts []attempt
}

// asked are the amounts at which an order may be handed over.
var asked = [...]bill.Amount{"15000", "20000"}

// attempt is one bill of the order.
type attempt struct {
	id     string
	amount bill.Amount
	stands sight
	since  bool // it has come to stands.status, or further: nobody saw the bill that is meant
	wished bool // somebody asked for its end

	// The gateway's ledger.
	booked, failed, cancelled, paid bool

	refused bool // /apply was refused, and nothing is booked
	unclear bool // /apply was not answered, or not with all that is needed to pay
}

// sight is as much of a bill as a history tells apart.
type sight struct {
	version   uint64
	status    bill.Status
	requested bool // its end
	late      bool
	refund    bool
	billCode  string
}

// over is the status of an attempt that has ended in some way, nobody saw which.
const over bill.Status = "over"

func final(s bill.Status) bool { return s == over || s.Final() }

func sightOf(b bill.Bill) sight {
	return sight{b.Version, b.Status, b.Cancel.Requested, b.LatePayment, b.RefundDue, b.BillCode}
}

func (s affair) equal(other affair) bool {
	return s.wanted == other.wanted && slices.Equal(s.attempts, other.attempts)
}

func (s affair) find(id string) (place int, known bool) {
	place = slices.IndexFunc(s.attempts, func(a attempt) bool { return a.id == id })
	return place, place >= 0
}

// with returns s with another state of one attempt.
func (s affair) with(place int, a attempt) affair {
	s.attempts = slices.Clone(s.attempts)
	s.attempts[place] = a
	return s
}

// change is with, for an attempt that must be known.
func (s affair) change(id string, change func(a *attempt)) (affair, bool) {
	place, known := s.find(id)
	if !known {
		return s, false
	}
	a := s.attempts[place]
	change(&a)
	return s.with(place, a), true
}

func (s affair) someIsPaid() bool {
	return slices.ContainsFunc(s.attempts, func(a attempt) bool { return a.stands.status == bill.Success })
}

func (a attempt) payable() bool { return a.booked && !a.failed && !a.cancelled && !a.paid }

// mayEnd reports whether there is a reason to end an attempt: a wish, an order
// of its like at another amount, a payment of another attempt, or that how to
// pay it may have been lost.
func (s affair) mayEnd(a attempt) bool {
	for i, wanted := range s.wanted {
		if wanted && !asked[i].Equal(a.amount) {
			return true
		}
	}
	return a.wished || a.unclear || slices.ContainsFunc(s.attempts, func(other attempt) bool { return other.id != a.id && other.paid })
}

// leads reports whether a may have come to a status: what the gateway has done
// allows it, and nothing is undone.
func (s affair) leads(a attempt, to bill.Status) bool {
	from := a.stands.status
	switch to {
	case bill.Created:
		return from == bill.Created
	case bill.Wait:
		return !final(from) && a.booked
	case bill.Fail:
		return (!final(from) || from == over || from == bill.Fail) && (a.failed || a.refused)
	case bill.Canceled:
		return (!final(from) || from == over || from == bill.Canceled) && (a.cancelled || !a.booked && s.mayEnd(a))
	case bill.Success:
		return a.paid
	case over:
		return final(from) || s.leads(a, bill.Fail) || s.leads(a, bill.Canceled) || a.paid
	default:
		return false
	}
}

// reached is the affair once an attempt has come to a status, or further.
func (s affair) reached(id string, status bill.Status) (affair, bool) {
	place, known := s.find(id)
	if !known {
		return s, false
	}
	a := s.attempts[place]
	from := a.stands.status
	switch {
	case from == status, final(from) && status != bill.Success:
		return s, true
	case !s.leads(a, status):
		return s, false
	case !a.since:
		a.stands.version++ // at the least
	}
	a.stands.status, a.since = status, true
	return s.with(place, a), true
}

// handedOver: somebody hands the order over, at one of the amounts.
type handedOver struct{ amount int }

func (f handedOver) after(s affair) (affair, bool) {
	s.wanted[f.amount] = true
	return s, true
}

// wishes: somebody asks for the end of a bill.
type wishes struct{ id string }

func (f wishes) after(s affair) (affair, bool) {
	return s.change(f.id, func(a *attempt) { a.wished = true })
}

// begun: a new attempt is stored. It is the next one, every earlier one has
// ended, and none is paid, as far as anybody has been told.
type begun struct {
	id     string
	number int
	amount bill.Amount
}

func (f begun) after(s affair) (affair, bool) {
	if _, known := s.find(f.id); known || len(s.attempts) != f.number-1 || s.someIsPaid() {
		return s, false
	}
	for _, a := range s.attempts {
		var ended bool
		if s, ended = s.reached(a.id, over); !ended {
			return s, false
		}
	}
	s.attempts = append(slices.Clone(s.attempts), attempt{id: f.id, amount: f.amount, stands: sight{version: 1, status: bill.Created}, since: true})
	return s, true
}

// saw: a bill stood so. Its version never falls, and tells all that there is
// to be seen.
type saw struct {
	id     string
	amount bill.Amount
	sight  sight
}

func (f saw) after(s affair) (affair, bool) {
	place, known := s.find(f.id)
	if !known {
		return s, false
	}
	a := s.attempts[place]
	switch stood := a.stands; {
	case f.amount != a.amount, f.sight.version < stood.version:
		return s, false
	case f.sight.version == stood.version && !a.since:
		return s, f.sight == stood
	case !s.leads(a, f.sight.status):
		return s, false
	case f.sight.status == bill.Success && stood.status.EndedUnpaid() && !f.sight.late:
		return s, false
	}
	a.stands, a.since = f.sight, false
	return s.with(place, a), true
}

// stood: the newest attempt was open, and none was paid. It is what answering
// an order with an open bill, new or not, is decided on.
type stood struct{ id string }

func (f stood) after(s affair) (affair, bool) {
	place, known := s.find(f.id)
	return s, known && place == len(s.attempts)-1 && !final(s.attempts[place].stands.status) && !s.someIsPaid()
}

// listed: the order had these attempts, oldest first, this one paid, and this
// one open. A bill and its order change together.
type listed struct {
	ids        []string
	paid, open string
}

func (f listed) after(s affair) (affair, bool) {
	ok := slices.EqualFunc(s.attempts, f.ids, func(a attempt, id string) bool { return a.id == id })
	if f.paid == "" {
		ok = ok && !s.someIsPaid()
	} else if ok {
		s, ok = s.reached(f.paid, bill.Success)
	}
	for _, id := range f.ids {
		place, known := s.find(id)
		switch {
		case !ok || !known:
			return s, false
		case id == f.open:
			ok = !final(s.attempts[place].stands.status)
		default:
			s, ok = s.reached(id, over)
		}
	}
	return s, ok
}

// acknowledged: a notification was answered as stored. Whoever looks from then
// on sees what it said, or what has become of that.
type acknowledged struct{ id, status string }

func (f acknowledged) after(s affair) (affair, bool) {
	switch f.status {
	case "SUCCESS":
		return s.reached(f.id, bill.Success)
	case "WAIT":
		return s.reached(f.id, bill.Wait)
	default:
		return s.reached(f.id, over)
	}
}

// booked: the gateway has a new payment, of a bill that was stored before and
// has not ended, and no other of the order that can be paid.
type booked struct {
	id     string
	amount bill.Amount
}

func (f booked) after(s affair) (affair, bool) {
	place, known := s.find(f.id)
	if !known || slices.ContainsFunc(s.attempts, attempt.payable) {
		return s, false
	}
	a := s.attempts[place]
	if a.booked || a.amount != f.amount || final(a.stands.status) {
		return s, false
	}
	a.booked, a.refused = true, false
	return s.with(place, a), true
}

// fails: /apply got no answer, or one that does not do.
type fails struct {
	id      string
	refused bool
}

func (f fails) after(s affair) (affair, bool) {
	return s.change(f.id, func(a *attempt) {
		a.refused = a.refused || f.refused && !a.booked
		a.unclear = a.unclear || !f.refused
	})
}

// turns: a payment at the gateway has another status. Nobody but this side
// cancels, and it needs a reason.
type turns struct{ id, status string }

func (f turns) after(s affair) (affair, bool) {
	place, known := s.find(f.id)
	if !known {
		return s, false
	}
	a := s.attempts[place]
	switch f.status {
	case "CANCEL":
		a.cancelled = true
		return s.with(place, a), s.mayEnd(a)
	case "FAIL":
		a.failed = true
	case "SUCCESS":
		a.paid = true
	}
	return s.with(place, a), true
}

// denies: the gateway says of a payment that was made that it failed. It may be
// believed by who has not heard of the payment yet, until he does.
type denies struct{ id string }

func (f denies) after(s affair) (affair, bool) {
	return s.change(f.id, func(a *attempt) { a.failed = true })
}
