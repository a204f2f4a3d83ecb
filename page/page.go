// Package page draws what a buyer sees: the hosted payment page, a page for
// what went wrong, and QR codes as SVG and PNG. The pages work without
// scripts, on a phone first, in light and dark.
//
// It never talks to a store, an engine or a client: package handlers fills in
// package content and sends the result. Every text it is given is untrusted
// and is escaped where it lands.
package page

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"strconv"
	"time"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/page/content"
)

//go:embed templates/*.html
var templates embed.FS

//go:embed style.css
var style string

// Renderer draws pages and QR codes. It is safe for concurrent use.
type Renderer struct {
	templates *template.Template
	policy    string
	codes     codes
}

// New returns a renderer.
func New() (*Renderer, error) {
	parsed, err := template.ParseFS(templates, "templates/*.html")
	if err != nil {
		return nil, fmt.Errorf("parse page templates: %w", err)
	}
	sum := sha256.Sum256([]byte(style))
	return &Renderer{
		templates: parsed,
		policy: "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
			"'; img-src 'self' data:; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
		codes: codes{known: make(map[string]*code)},
	}, nil
}

// paymentView is what the payment template is given.
type paymentView struct {
	content.Payment
	Style     template.CSS
	Words     words
	Money     string
	PaidAt    string
	PayBefore string
	Refresh   int // seconds; 0: never
	Action    actionView
	Paid      bool
	MayCheck  bool
	MayCancel bool
}

// Payment draws the page of a bill.
func (r *Renderer) Payment(p content.Payment) (content.Document, error) {
	b := p.Bill
	view := paymentView{
		Payment:   p,
		Style:     template.CSS(style), //nolint:gosec // embedded, and its hash is in the policy
		Words:     wordsFor(b),
		Money:     money(b.Amount, b.Currency),
		Paid:      b.Status == bill.Success,
		MayCheck:  b.Status != bill.Success && b.Status != bill.Choose,
		MayCancel: !b.Status.Final() && !b.Cancel.Requested,
	}
	if !b.PayTime.IsZero() {
		view.PaidAt = moment(b.PayTime)
	}
	if !b.Status.Final() {
		view.Refresh = seconds(p.Refresh)
		if !b.ExpiresAt.IsZero() {
			view.PayBefore = moment(b.ExpiresAt)
		}
	}
	if b.Status == bill.Wait && !b.Cancel.Requested {
		view.Action = r.action(b)
	}
	return r.execute("payment.html", view)
}

// failureView is what the failure template is given.
type failureView struct {
	content.Failure
	Style     template.CSS
	RefreshTo string // content of the meta element; "": none
}

// Failure draws a page about something that did not work.
func (r *Renderer) Failure(f content.Failure) (content.Document, error) {
	view := failureView{Failure: f, Style: template.CSS(style)} //nolint:gosec // as in Payment
	if f.Refresh > 0 && f.PayURL != "" {
		view.RefreshTo = strconv.Itoa(seconds(f.Refresh)) + "; url=" + f.PayURL
	}
	return r.execute("failure.html", view)
}

func (r *Renderer) execute(name string, view any) (content.Document, error) {
	var b bytes.Buffer
	if err := r.templates.ExecuteTemplate(&b, name, view); err != nil {
		return content.Document{}, fmt.Errorf("draw %s: %w", name, err)
	}
	return content.Document{HTML: b.Bytes(), SecurityPolicy: r.policy}, nil
}

// seconds rounds up, so that a page never asks more often than it may.
func seconds(d time.Duration) int {
	return int((d + time.Second - 1) / time.Second)
}
