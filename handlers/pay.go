package handlers

import (
	"errors"
	"net/http"
	"net/url"
	"strings"

	"go.uber.org/zap"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/page/content"
)

// payPage answers GET /pay/{id}: the hosted payment page.
func (h *Handler) payPage(w http.ResponseWriter, r *http.Request, id string) {
	b, err := h.Payments.Bill(r.Context(), h.Scope, id)
	if err != nil {
		h.failBuyer(w, r, err, false)
		return
	}
	details, err := h.Payments.Details(r.Context(), h.Scope, id)
	if err != nil && !errors.Is(err, bill.ErrNotFound) {
		h.failBuyer(w, r, err, false)
		return
	}
	document, err := h.Page.Payment(content.Payment{
		Reader: reader(r), Bill: b, Details: details, Merchant: h.merchant(r), ReturnURL: h.returnURL(b, details),
		Refresh: h.MinInterval, Now: h.Now(),
	})
	if err != nil {
		h.Logger.Error("draw payment page", zap.String("bill", id), zap.Error(err))
		h.failBuyer(w, r, internal, false)
		return
	}
	writePage(w, r, http.StatusOK, document)
}

// reader is whose language a page is in.
func reader(r *http.Request) content.Reader {
	return content.Reader{Language: r.URL.Query().Get(languageParameter), Accept: strings.Join(r.Header.Values("Accept-Language"), ",")}
}

// languageParameter asks for a page in a language (BCP 47), whatever the
// browser's is.
const languageParameter = "lang"

// keepLanguage adds to a page's address the language that a form was shown in
// because its own address asked for it.
func keepLanguage(r *http.Request, address string) string {
	asked := r.URL.Query().Get(languageParameter)
	if asked == "" {
		return address
	}
	return address + "?" + languageParameter + "=" + url.QueryEscape(asked)
}

// writePage answers with a page. The referrer keeps an id, which is all it
// takes to see a bill, from other sites; it is not hidden from our own, since
// a form would then be sent with the origin "null".
func writePage(w http.ResponseWriter, r *http.Request, status int, document content.Document) {
	header := w.Header()
	header.Set("Content-Security-Policy", document.SecurityPolicy)
	header.Set("Referrer-Policy", "same-origin")
	header.Add("Vary", "Accept-Language")
	header.Set("X-Robots-Tag", "noindex")
	write(w, r, status, typeHTML, document.HTML)
}

// needsBill reports whether a return address has a place for what only a bill
// can fill.
func needsBill(template string) bool {
	return strings.Contains(template, "{order_code}") || strings.Contains(template, "{bill}")
}
