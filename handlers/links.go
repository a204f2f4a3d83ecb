package handlers

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

// base returns scheme, host and path under which the buyer sees the prefix.
func (h *Handler) base(r *http.Request) string {
	if h.publicBase != "" {
		return h.publicBase + h.Prefix
	}
	return h.BaseURL(r) + h.Prefix
}

func (h *Handler) payURL(r *http.Request, id string) string  { return h.base(r) + "/pay/" + id }
func (h *Handler) billURL(r *http.Request, id string) string { return h.base(r) + "/bills/" + id }

// returnURL leads back to the shop: the order's own address, or the
// configured one. It is for display only; nothing is ever sent to it.
func (h *Handler) returnURL(b bill.Bill, d bill.Details) string {
	if d.ReturnURL != "" {
		return d.ReturnURL
	}
	return fillIn(h.ReturnURL, b)
}

func fillIn(template string, b bill.Bill) string {
	return strings.NewReplacer("{order_code}", escapeAnywhere(b.OrderCode), "{bill}", escapeAnywhere(b.ID)).Replace(template)
}

// escapeAnywhere makes text fit for a path as well as for a query: QueryEscape
// alone writes a plus for a space, which a path takes literally.
func escapeAnywhere(text string) string {
	return strings.ReplaceAll(url.QueryEscape(text), "+", "%20")
}

// checkReturnURL allows an http(s) address or a path of the site itself, also
// with the placeholders filled in.
func checkReturnURL(template string) error {
	text := fillIn(template, bill.Bill{OrderCode: "O", ID: "I"})
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return err
	case u.Scheme == "" && u.Host == "" && strings.HasPrefix(text, "/") && !strings.HasPrefix(text, "//") && !strings.Contains(text, `\`):
		return nil
	case (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && u.User == nil:
		return nil
	}
	return fmt.Errorf("%q is neither an http(s) address nor a path that begins with one slash", template)
}

// merchant is who is paid, as a buyer knows it.
func (h *Handler) merchant(r *http.Request) string {
	if h.Merchant != "" {
		return h.Merchant
	}
	u, err := url.Parse(h.base(r))
	if err != nil {
		return ""
	}
	return u.Host
}
