package operator

import (
	"errors"
	"net/http"

	"github.com/go-json-experiment/json"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/payment"
)

// target returns the bill that a request is about, if it is still as the
// client saw it (If-Match); false where the request has been answered.
func target(d Desk, w http.ResponseWriter, r *http.Request) (b bill.Bill, going bool, err error) {
	b, going, err = meant(d, w, r)
	seen := r.Header.Get("If-Match")
	if err != nil || !going || seen == "" {
		return b, going, err
	}
	text, err := timelineText(r.Context(), d.Payments, b.ID, d.Now())
	if err != nil {
		return bill.Bill{}, false, named(r, err)
	}
	if !matches(seen, etagOf(text)) {
		return bill.Bill{}, false, refuse(http.StatusPreconditionFailed, "the bill has changed since it was looked at")
	}
	return b, true, nil
}

// input reads a body of JSON that may be missing.
func input(w http.ResponseWriter, r *http.Request, into any) error {
	data, err := body(w, r)
	if err != nil || len(data) == 0 {
		return err
	}
	err = json.Unmarshal(data, into, json.RejectUnknownMembers(true))
	if semantic, ok := errors.AsType[*json.SemanticError](err); ok && semantic.JSONPointer != "" {
		return refuse(http.StatusBadRequest, "the body is not what is expected: its member %.80q is unknown, or of another kind", semantic.JSONPointer.LastToken())
	}
	if err != nil {
		return refuse(http.StatusBadRequest, "the body is no JSON object as it is expected")
	}
	return nil
}

type oneBill struct {
	Bill view `json:"bill"`
}

// serveRefresh answers POST /qlink/bills/{id}/refresh: the gateway is asked
// now.
func serveRefresh(d Desk, w http.ResponseWriter, r *http.Request) error {
	b, going, err := target(d, w, r)
	if err != nil || !going {
		return err
	}
	after, err := d.Payments.Operator(actor(r)).Refresh(r.Context(), b.ID)
	if err != nil {
		return err
	}
	return send(w, http.StatusOK, oneBill{viewOf(after, d.Now())})
}

// serveCancel answers POST /qlink/bills/{id}/cancel: 200 where the bill has
// ended, 202 where the wish is stored.
func serveCancel(d Desk, w http.ResponseWriter, r *http.Request) error {
	var how struct {
		Force  bool   `json:"force"`
		Reason string `json:"reason"`
	}
	if err := input(w, r, &how); err != nil {
		return err
	}
	if how.Reason != "" && !how.Force {
		return refuse(http.StatusBadRequest, "a reason is for force alone")
	}
	b, going, err := target(d, w, r)
	if err != nil || !going {
		return err
	}
	by := d.Payments.Operator(actor(r))
	var after bill.Bill
	if how.Force {
		after, err = by.Force(r.Context(), b.ID, how.Reason)
	} else {
		after, err = by.Cancel(r.Context(), b.ID)
	}
	if refusal, ok := errors.AsType[*payment.Refusal](err); ok {
		return send(w, http.StatusConflict, refused(d, refusal))
	}
	if err != nil {
		return err
	}
	status := http.StatusOK
	if !after.Status.Final() {
		status = http.StatusAccepted
	}
	return send(w, status, oneBill{viewOf(after, d.Now())})
}

// refused puts a rule of the engine into words.
func refused(d Desk, refusal *payment.Refusal) problem {
	p := problem{Code: string(refusal.Code), Error: "the gateway did not cancel the bill: it may still be paid"}
	if refusal.Code == payment.CodeAlreadyPaid {
		p.Error = "the bill is paid: it cannot be cancelled"
	}
	if refusal.Bill != nil {
		v := viewOf(*refusal.Bill, d.Now())
		p.Bill = &v
	}
	return p
}

type redelivered struct {
	Notifications []notificationView `json:"notifications"`
	Overtaken     []overtaken        `json:"overtaken"`
}

// overtaken is a notification that was left alone, as its URL was told
// something newer about the order, about that bill.
type overtaken struct {
	Notification string `json:"notification"`
	Bill         string `json:"bill"`
}

// serveRedeliver answers POST /qlink/bills/{id}/redeliver: the shop is told
// again.
func serveRedeliver(d Desk, w http.ResponseWriter, r *http.Request) error {
	b, going, err := target(d, w, r)
	if err != nil || !going {
		return err
	}
	again, err := d.Payments.Operator(actor(r)).Redeliver(r.Context(), b.ID)
	if err != nil {
		return err
	}
	answer := redelivered{Notifications: notificationsOf(again.Sent)}
	for _, o := range again.Overtaken {
		answer.Overtaken = append(answer.Overtaken, overtaken(o))
	}
	return send(w, http.StatusOK, answer)
}

// serveResolve answers POST /qlink/bills/{id}/resolve: an operator has seen to
// a bill, or to an orphan.
func serveResolve(d Desk, w http.ResponseWriter, r *http.Request) error {
	var what struct {
		Note string `json:"note"`
	}
	if err := input(w, r, &what); err != nil {
		return err
	}
	by := d.Payments.Operator(actor(r))
	b, going, err := target(d, w, r)
	switch {
	case StatusOf(err) == http.StatusNotFound && err != nil:
		orphan, orphanErr := by.ResolveOrphan(r.Context(), r.PathValue("id"), what.Note)
		if errors.Is(orphanErr, bill.ErrNotFound) {
			return err
		}
		if orphanErr != nil {
			return orphanErr
		}
		return send(w, http.StatusOK, struct {
			Orphan orphanView `json:"orphan"`
		}{orphanOf(orphan)})
	case err != nil || !going:
		return err
	}
	after, err := by.Resolve(r.Context(), b.ID, what.Note)
	if err != nil {
		return err
	}
	return send(w, http.StatusOK, oneBill{viewOf(after, d.Now())})
}
