// Package page draws what a buyer sees: the hosted payment page, a page for
// what went wrong, and QR codes as SVG and PNG. The pages are whole without
// scripts and live with one, speak the reader's language, are made for a phone
// first, and ask no other host for anything.
//
// It never talks to a store, an engine or a client: package handlers fills in
// package content and sends the result. Every text it is given is untrusted
// and is escaped where it lands.
package page

import (
	"bytes"
	"crypto/rand"
	"embed"
	"fmt"
	"html/template"
	"strings"

	"github.com/caddy-qlink/caddy-qlink/page/content"
)

//go:embed templates/*.html
var templates embed.FS

//go:embed style.css
var style string

//go:embed script.js
var script string

// Config is how one site's pages look. The zero value is ready to use.
type Config struct {
	Logo           string   // path of a picture, of 16 KiB at most; "": none
	Theme          string   // ThemeAuto, ThemeLight or ThemeDark; "": ThemeAuto
	Accent         string   // rrggbb or #rrggbb, readable on white; "": the style sheet's blue
	AccentDark     string   // likewise on the dark theme's card; "": Accent, lightened
	Support        string   // whom a buyer may ask: an e-mail address, a telephone number, an http(s) address or any text
	Language       string   // BCP 47: the one of all pages; "": each reader's own
	Texts          []string // paths of catalogues over the built-in ones, named by language: id.json
	Template       string   // path of a template in the place of the payment page's; "": the built-in one
	FrameAncestors []string // origins that may embed the pages; none: nobody
}

// Renderer draws pages and QR codes. It is safe for concurrent use.
type Renderer struct {
	templates *template.Template
	payment   string // name of the payment page's template
	shell     shell  // what all pages share
	ancestors string
	voices    *voices
	codes     codes
}

// New returns a renderer. It reads the files that the configuration names,
// and draws an operator's template once, so that its faults are seen now.
func New(c Config) (*Renderer, error) {
	parsed, err := template.New("").ParseFS(templates, "templates/*.html")
	if err != nil {
		return nil, fmt.Errorf("parse page templates: %w", err)
	}
	r := &Renderer{templates: parsed, payment: "payment.html", codes: codes{known: make(map[string]*code)}}
	if r.shell, err = newShell(c); err != nil {
		return nil, err
	}
	if r.voices, err = newVoices(c.Texts, c.Language); err != nil {
		return nil, err
	}
	r.ancestors = "'none'"
	if len(c.FrameAncestors) > 0 {
		r.ancestors = strings.Join(c.FrameAncestors, " ")
	}
	if c.Template != "" {
		if err := r.useTemplate(c.Template); err != nil {
			return nil, fmt.Errorf("template: %w", err)
		}
	}
	return r, nil
}

// Payment draws the page of a bill.
func (r *Renderer) Payment(p content.Payment) (content.Document, error) {
	return r.execute(r.payment, r.paymentView(p))
}

// Failure draws a page about something that did not work.
func (r *Renderer) Failure(f content.Failure) (content.Document, error) {
	return r.execute("failure.html", r.failureView(f))
}

// view is what a template is given: the part of it that differs with each
// drawing.
type view interface{ setNonce(string) }

func (r *Renderer) execute(name string, v view) (content.Document, error) {
	nonce := rand.Text()
	v.setNonce(nonce)
	var b bytes.Buffer
	if err := r.templates.ExecuteTemplate(&b, name, v); err != nil {
		return content.Document{}, fmt.Errorf("draw %s: %w", name, err)
	}
	return content.Document{HTML: b.Bytes(), SecurityPolicy: r.policy(nonce)}, nil
}

// policy allows what carries the page's own nonce, and nothing else.
func (r *Renderer) policy(nonce string) string {
	return "default-src 'none'; script-src 'nonce-" + nonce + "'; style-src 'nonce-" + nonce +
		"'; img-src 'self' data:; connect-src 'self'; form-action 'self'; frame-ancestors " + r.ancestors + "; base-uri 'none'"
}
