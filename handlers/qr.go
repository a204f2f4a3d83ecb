package handlers

import (
	"fmt"
	"net/http"

	"go.uber.org/zap"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/page/content"
)

// drawing draws a payload, with a caption where there is one.
type drawing func(payload string, caption *content.Caption) ([]byte, error)

// qrSVG answers GET /bills/{id}/qr.svg.
func (h *Handler) qrSVG(w http.ResponseWriter, r *http.Request, id string) {
	h.qr(w, r, id, h.Page.QRSVG, "svg", "image/svg+xml")
}

// qrPNG answers GET /bills/{id}/qr.png.
func (h *Handler) qrPNG(w http.ResponseWriter, r *http.Request, id string) {
	h.qr(w, r, id, h.Page.QRPNG, "png", "image/png")
}

func (h *Handler) qr(w http.ResponseWriter, r *http.Request, id string, draw drawing, extension, contentType string) {
	b, err := h.Payments.Bill(r.Context(), h.Scope, id)
	if err != nil {
		h.fail(w, r, err)
		return
	}
	if b.Action.Kind != bill.ActionQR {
		h.fail(w, r, errNoQR)
		return
	}
	var caption *content.Caption
	if r.URL.Query().Has("download") {
		caption = &content.Caption{
			Reader: reader(r), Merchant: h.merchant(r), Amount: b.Amount, Currency: b.Currency, OrderCode: b.OrderCode, PayBefore: b.ExpiresAt,
		}
		w.Header().Set("Content-Disposition", fmt.Sprintf(`attachment; filename="qr-%s.%s"`, id, extension))
	}
	image, err := draw(b.Action.Value, caption)
	if err != nil {
		h.Logger.Warn("draw QR code", zap.String("bill", id), zap.Error(err))
		w.Header().Del("Content-Disposition")
		h.fail(w, r, errNoQR)
		return
	}
	// An SVG opened by itself is a document: it must not be one that can act.
	w.Header().Set("Content-Security-Policy", "default-src 'none'; sandbox")
	write(w, r, http.StatusOK, contentType, image)
}
