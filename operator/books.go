package operator

import (
	"context"
	"errors"
	"net/http"

	"github.com/caddy-qlink/caddy-qlink/payment"
)

// serveReport answers GET /qlink/report: the books against the gateway's.
func serveReport(d Desk, w http.ResponseWriter, r *http.Request) error {
	values, err := Parameters(r, "from", "to", "account")
	if err != nil {
		return err
	}
	q := payment.ReportQuery{Account: values.Get("account")}
	if q.From, err = timeOf(values, "from", d.Now()); err != nil {
		return err
	}
	if q.To, err = timeOf(values, "to", d.Now()); err != nil {
		return err
	}
	endless(w)
	ctx, cancel := untilEnded(d, w, r)
	defer cancel()
	report, err := d.Payments.Report(ctx, q, nil)
	if err != nil {
		return stopped(ctx, r, err)
	}
	return send(w, http.StatusOK, report)
}

// errStopped is answered where a reload came in between.
var errStopped = errors.New("the configuration was stopped meanwhile: ask again")

// stopped tells the end of the configuration from other errors.
func stopped(ctx context.Context, r *http.Request, err error) error {
	if ctx.Err() != nil && r.Context().Err() == nil {
		return Refuse(http.StatusServiceUnavailable, errStopped)
	}
	return err
}

type accountsView struct {
	Accounts any `json:"accounts"`
}

// serveAccounts answers GET /qlink/accounts: how they are configured, secrets
// left out, and what their gateways list.
func serveAccounts(d Desk, w http.ResponseWriter, r *http.Request) error {
	if _, err := Parameters(r); err != nil {
		return err
	}
	return send(w, http.StatusOK, accountsView{d.Accounts(r.Context())})
}

// serveDoctor answers POST /qlink/doctor: a line for each check, as soon as it
// has been made.
func serveDoctor(d Desk, w http.ResponseWriter, r *http.Request) error {
	var what struct {
		Account string `json:"account"`
		Site    string `json:"site"`
	}
	if err := input(w, r, &what); err != nil {
		return err
	}
	examine, err := d.Doctor(what.Account, what.Site)
	if err != nil {
		return err
	}
	ctx, cancel := untilEnded(d, w, r)
	defer cancel()
	l := startLines(w)
	examine(ctx, func(finding any) {
		if l.send(finding) != nil || l.flush() != nil {
			cancel() // nobody is listening any more
		}
	})
	if ctx.Err() != nil {
		cut()
	}
	return nil
}

// serveBackup answers POST /qlink/backup: the store as it is now.
func serveBackup(d Desk, w http.ResponseWriter, r *http.Request) error {
	ctx, cancel := untilEnded(d, w, r)
	defer cancel()
	out := &attachment{w: w}
	_, err := d.Payments.Backup(ctx, out)
	switch {
	case err != nil && out.begun:
		cut()
	case err != nil:
		return stopped(ctx, r, err)
	}
	return nil
}

// attachment begins an answer with its first byte, so that what goes wrong
// before can still be said.
type attachment struct {
	w     http.ResponseWriter
	begun bool
}

func (a *attachment) Write(p []byte) (int, error) {
	if !a.begun {
		a.begun = true
		endless(a.w)
		a.w.Header().Set("Content-Type", "application/octet-stream")
		a.w.Header().Set("Content-Disposition", `attachment; filename="qlink.backup"`)
		a.w.WriteHeader(http.StatusOK)
	}
	return a.w.Write(p)
}

// serveReopen answers POST /qlink/reopen: checkouts are taken again.
func serveReopen(d Desk, w http.ResponseWriter, r *http.Request) error {
	if err := d.Payments.Reopen(r.Context()); err != nil {
		return err
	}
	return send(w, http.StatusOK, struct {
		Reopened bool `json:"reopened"`
	}{true})
}
