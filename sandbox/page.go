package sandbox

import (
	"bytes"
	"embed"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

//go:embed page/*.html page/style.css
var pageFiles embed.FS

var pages = template.Must(template.New("").Funcs(template.FuncMap{
	"lower": func(s Status) string { return strings.ToLower(string(s)) },
}).ParseFS(pageFiles, "page/*.html"))

// maxListed is how many payments the page shows.
const maxListed = 200

// view is what the templates see.
type view struct {
	Prefix   string
	Merchant string
	Payments []PaymentRecord // newest first
	Payment  PaymentRecord
	More     int // payments too old to be listed
	Words    []MagicWord
	Message  string
}

// Open reports whether a record can still be decided, for the templates.
func (r PaymentRecord) Open() bool { return r.open() }

// servePayments is the page with every payment and what can become of it.
func (s *Sandbox) servePayments(w http.ResponseWriter, _ *http.Request, led *ledger) {
	list := led.snapshot().Payments
	slices.Reverse(list)
	more := max(0, len(list)-maxListed)
	s.render(w, http.StatusOK, "payments.html", view{Payments: list[:len(list)-more], More: more, Words: MagicWords})
}

// serveBuyer is the page of one payment, on which the buyer "pays". It goes by
// billCode alone: that is in the actionValue, and nobody guesses it.
func (s *Sandbox) serveBuyer(w http.ResponseWriter, r *http.Request, led *ledger) {
	record, _, ok := led.payment(r.PathValue("id"))
	if !ok || record.BillCode != r.PathValue("id") {
		s.render(w, http.StatusNotFound, "missing.html", view{Message: "There is no such payment."})
		return
	}
	s.render(w, http.StatusOK, "buyer.html", view{Payment: record})
}

// serveDecision takes a form of either page and goes back to it. A payment
// that has ended meanwhile stays as it is: the page was out of date.
func (s *Sandbox) serveDecision(w http.ResponseWriter, r *http.Request, led *ledger) {
	id, fate := r.PathValue("id"), r.PathValue("fate")
	record, _, ok := led.payment(id)
	if _, known := fates[fate]; !known || !ok || record.BillCode != id {
		s.render(w, http.StatusNotFound, "missing.html", view{Message: "There is no such payment, or nothing of that kind to do with it."})
		return
	}
	if record.open() {
		if err := s.settle(led, id, fate, "page", FateOptions{}); err != nil {
			s.render(w, http.StatusServiceUnavailable, "missing.html", view{Message: "The decision could not be recorded: " + err.Error()})
			return
		}
	}
	back := s.conf.prefix + "/"
	if strings.HasPrefix(r.URL.Path, s.conf.prefix+"/pay-page/") {
		back += "pay-page/" + url.PathEscape(id)
	}
	http.Redirect(w, r, back, http.StatusSeeOther)
}

// render writes a page whole or not at all.
func (s *Sandbox) render(w http.ResponseWriter, status int, name string, v view) {
	v.Prefix, v.Merchant = s.conf.prefix, s.conf.merchant
	var b bytes.Buffer
	if err := pages.ExecuteTemplate(&b, name, v); err != nil {
		http.Error(w, "the page could not be made: "+err.Error(), http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy",
		"default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "same-origin")
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes()) // the browser's hanging up is no concern here
}

func serveStyle(w http.ResponseWriter, r *http.Request) {
	http.ServeFileFS(w, r, pageFiles, "page/style.css")
}
