package console

import (
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/operator"
	"github.com/caddy-qlink/caddy-qlink/payment"
)

// acts are what can be done about a bill, by the last part of the address.
var acts = map[string]func(*visit) error{
	"refresh":   (*visit).refresh,
	"cancel":    (*visit).cancel,
	"force":     (*visit).force,
	"redeliver": (*visit).redeliver,
	"resolve":   (*visit).resolve,
}

// operator is what who is signed in may do, under his name.
func (v *visit) operator() payment.Operator { return v.Payments.Operator(v.actor()) }

// input is a field of the form.
func (v *visit) input(name string) string { return strings.TrimSpace(v.r.PostForm.Get(name)) }

// target reads the bill that a form is about. Where it is not the one that the
// form showed any more, unchanged is false and the answer is written.
func (v *visit) target() (b bill.Bill, unchanged bool, err error) {
	t, err := v.timeline()
	if err != nil {
		return bill.Bill{}, false, err
	}
	if v.input("version") != strconv.FormatUint(t.Bill.Version, 10) {
		return bill.Bill{}, false, v.back(t.Bill, saidChanged)
	}
	return t.Bill, true, nil
}

// back leads to a bill's page.
func (v *visit) back(b bill.Bill, said string) error {
	return v.seeOther("bills/"+url.PathEscape(b.ID), said)
}

// backFrom leads to a bill's page after an act, with what came of it.
func (v *visit) backFrom(b bill.Bill, done string, err error) error {
	refusal, refused := errors.AsType[*payment.Refusal](err)
	switch {
	case refused:
		return v.back(b, string(refusal.Code))
	case errors.Is(err, payment.ErrAccountGone):
		return v.back(b, saidAccountGone)
	case errors.Is(err, payment.ErrReason):
		return v.back(b, saidReason)
	case errors.Is(err, bill.ErrNotFound):
		return errNoBill(b.ID)
	case err != nil:
		return err
	}
	return v.back(b, done)
}

// refresh asks the gateway now.
func (v *visit) refresh() error {
	t, err := v.timeline()
	if err != nil {
		return err
	}
	_, err = v.operator().Refresh(v.r.Context(), t.Bill.ID)
	return v.backFrom(t.Bill, saidAsked, err)
}

// cancel asks the gateway to end the bill.
func (v *visit) cancel() error {
	b, unchanged, err := v.target()
	if err != nil || !unchanged {
		return err
	}
	after, err := v.operator().Cancel(v.r.Context(), b.ID)
	done := saidCancelled
	if !after.Status.Final() {
		done = saidCancelAsked
	}
	return v.backFrom(b, done, err)
}

// force ends the bill on the operator's word.
func (v *visit) force() error {
	b, unchanged, err := v.target()
	if err != nil || !unchanged {
		return err
	}
	_, err = v.operator().Force(v.r.Context(), b.ID, v.input("reason"))
	return v.backFrom(b, saidForced, err)
}

// resolve notes that somebody has seen to the bill.
func (v *visit) resolve() error {
	b, unchanged, err := v.target()
	if err != nil || !unchanged {
		return err
	}
	_, err = v.operator().Resolve(v.r.Context(), b.ID, v.input("note"))
	return v.backFrom(b, saidResolved, err)
}

// redeliver has the shop told again.
func (v *visit) redeliver() error {
	t, err := v.timeline()
	if err != nil {
		return err
	}
	again, err := v.operator().Redeliver(v.r.Context(), t.Bill.ID)
	done := saidToldAgain
	switch {
	case len(again.Sent) > 0:
	case len(again.Overtaken) > 0:
		done = saidOvertaken
	default:
		done = saidNobodyToTell
	}
	return v.backFrom(t.Bill, done, err)
}

// mostAtOnce bounds the bills that one press sees to.
const mostAtOnce = 200

// redeliverDead has the shops told again of what was given up since a time.
func (v *visit) redeliverDead() error {
	since, ok := operator.ParseTime(v.input("since"), v.Now())
	if !ok {
		return operator.Refuse(http.StatusBadRequest, errors.New("since must be a time (2026-11-26T15:04:05Z), a date (2026-11-26) or a duration back from now (24h)"))
	}
	q := bill.NotificationQuery{State: bill.Dead, Since: since, Limit: mostAtOnce}
	by, seen, told, failed := v.operator(), make(map[string]bool), 0, false
	for {
		page, next, err := v.Payments.Notifications(v.r.Context(), q)
		if err != nil {
			return err
		}
		for _, n := range page {
			switch {
			case seen[n.Bill]:
				continue
			case len(seen) == mostAtOnce:
				return v.toldAgain(saidDeadMore, told)
			}
			seen[n.Bill] = true
			again, err := by.Redeliver(v.r.Context(), n.Bill)
			failed = failed || err != nil
			if len(again.Sent) > 0 {
				told++
			}
		}
		if q.Cursor = next; next == "" {
			break
		}
	}
	if failed {
		return v.toldAgain(saidDeadFailed, told)
	}
	return v.toldAgain(saidDeadAgain, told)
}

func (v *visit) toldAgain(said string, bills int) error {
	return v.seeOther("notifications?n="+strconv.Itoa(bills), said)
}

// resolveOrphan notes that somebody has seen to an orphan.
func (v *visit) resolveOrphan() error {
	id := v.input("id")
	_, err := v.operator().ResolveOrphan(v.r.Context(), id, v.input("note"))
	switch {
	case errors.Is(err, bill.ErrNotFound):
		return operator.Refuse(http.StatusNotFound, errors.New("there is no such orphan any more"))
	case errors.Is(err, payment.ErrReason):
		return v.seeOther("orphans", saidReason)
	case err != nil:
		return err
	}
	return v.seeOther("orphans", saidResolved)
}
