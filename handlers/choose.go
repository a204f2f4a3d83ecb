package handlers

import (
	"mime"
	"net/http"
	"net/url"

	"github.com/go-json-experiment/json"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

// choice is how a buyer wants to pay, names as in an order.
type choice struct {
	PayType    *string `json:"payTypeCode"`
	PayChannel *string `json:"payChannelCode"`
}

// choose answers POST /bills/{id}/choose.
func (h *Handler) choose(w http.ResponseWriter, r *http.Request, id string) {
	body, ok := h.readPress(w, r)
	if !ok {
		return
	}
	c, err := parseChoice(r.Header.Values("Content-Type"), body)
	if err != nil {
		h.failBuyer(w, r, err, false)
		return
	}
	b, err := h.Payments.Choose(r.Context(), h.Scope, id, *c.PayType, *c.PayChannel)
	h.answerPress(w, r, id, b, chooseStatus(b), err)
}

// chooseStatus tells a bill that can be paid now from one of which the
// gateway's answer is not known yet.
func chooseStatus(b bill.Bill) int {
	if b.Status == bill.Created {
		return http.StatusAccepted
	}
	return http.StatusOK
}

// parseChoice reads strict JSON or a form, whichever the content type says.
func parseChoice(contentTypes []string, body []byte) (c choice, err error) {
	var name string
	if len(contentTypes) == 1 {
		name, _, _ = mime.ParseMediaType(contentTypes[0]) // "" where it cannot be read
	}
	switch name {
	case typeJSON:
		err = json.Unmarshal(body, &c)
	case "application/x-www-form-urlencoded":
		var form url.Values
		form, err = url.ParseQuery(string(body))
		c = choice{PayType: once(form["payTypeCode"]), PayChannel: once(form["payChannelCode"])}
	default:
		return choice{}, errMediaType
	}
	if err != nil || c.PayType == nil || c.PayChannel == nil {
		return choice{}, errBadChoice
	}
	return c, nil
}

// once returns the only value, nil where there is none or more than one.
func once(values []string) *string {
	if len(values) != 1 {
		return nil
	}
	return &values[0]
}
