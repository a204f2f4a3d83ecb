package handlers

import (
	"cmp"
	"net/http"
	"net/url"
	"strings"

	"go.uber.org/zap"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/page/content"
)

// payPage answers GET /pay/{id}: the hosted payment page.
func (h *Handler) payPage(w http.ResponseWriter, r *http.Request, id string) {
	shown, err := h.Payments.Showing(r.Context(), h.Scope, id, h.Retry)
	if err != nil {
		h.failBuyer(w, r, err, false)
		return
	}
	b := shown.Bill
	h.admit(w, r, b)
	document, err := h.Page.Payment(content.Payment{
		Reader: reader(r), Bill: b, Details: shown.Details, Merchant: h.merchant(r), ReturnURL: h.returnURL(b, shown.Details),
		Refresh: h.MinInterval, Now: h.Now(), Ways: h.ways(r, b),
		Newer: shown.Newer, PaidBill: shown.PaidBill, Told: shown.Told, MayRetry: shown.MayRetry,
	})
	if err != nil {
		h.Logger.Error("draw payment page", zap.String("bill", id), zap.Error(err))
		h.failBuyer(w, r, internal, false)
		return
	}
	writePage(w, r, http.StatusOK, document)
}

// ways are what the buyer may choose from; none where they are not known now,
// which the page says.
func (h *Handler) ways(r *http.Request, b bill.Bill) []content.Way {
	if b.Status != bill.Choose {
		return nil
	}
	offered, err := h.Payments.Ways(r.Context(), h.Scope, b)
	if err != nil {
		h.Logger.Warn("ways to pay are not known", zap.String("bill", b.ID), zap.Error(err))
		return nil
	}
	channels := make(map[string]int)
	for _, w := range offered {
		channels[w.PayChannel]++
	}
	ways := make([]content.Way, 0, len(offered))
	for _, w := range offered {
		way := content.Way{PayType: w.PayType, PayChannel: w.PayChannel, Name: cmp.Or(w.Name, w.PayChannel)}
		if channels[w.PayChannel] > 1 {
			way.Type = cmp.Or(w.TypeName, w.PayType)
		}
		ways = append(ways, way)
	}
	return ways
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
