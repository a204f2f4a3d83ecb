package qlink

import (
	"errors"
	"fmt"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// ApplyRequest asks for one payment (section 4). All fields but Description, Metadata and
// Items are required.
type ApplyRequest struct {
	PayTypeCode    string
	PayChannelCode string
	TradeUUID      string    // the idempotency key: unique under one appKey
	TradeTime      time.Time // sent in Config.Location, to the second
	OrderCode      string
	Country        string // ISO 3166-1 alpha-2
	Currency       string // ISO 4217
	Amount         string // decimal, in units of the currency; sent as it is written
	Description    string
	Metadata       string // JSON text, sent as a string
	Items          []Item
}

// Item is one line of an order. SKUCode, SKUName and Quantity are required.
type Item struct {
	SKUCode     string
	SKUName     string
	Quantity    string // the text of a JSON number, sent as it is written
	URL         string
	ImageURL    string
	Category    string
	Subcategory string
	Description string
	Metadata    string // JSON text, sent as a string
}

// Param is a further top-level parameter of Apply, sent as a string.
type Param struct{ Name, Value string }

func (c *Client) queryPayAccountBody() []byte {
	w := newBody(c.escape)
	c.writeAccount(w)
	return w.bytes()
}

func (c *Client) writeAccount(w *bodyWriter) {
	if c.accountField != AccountFieldGlinkAccount {
		w.field("payAccount", c.payAccount)
	}
	if c.accountField != AccountFieldPayAccount {
		w.field("glinkAccount", c.payAccount)
	}
}

// applyBody writes the members in the order of the document's table.
func (c *Client) applyBody(r ApplyRequest) []byte {
	w := newBody(c.escape)
	c.writeAccount(w)
	w.field("payTypeCode", r.PayTypeCode)
	w.field("payChannelCode", r.PayChannelCode)
	w.field("tradeUuid", r.TradeUUID)
	w.field("tradeTime", r.TradeTime.In(c.location).Format(TimeLayout))
	w.field("orderCode", r.OrderCode)
	w.field("country", r.Country)
	w.field("currency", r.Currency)
	w.field("amount", r.Amount)
	w.optional("description", r.Description)
	w.optional("metadata", r.Metadata)
	writeItems(w, r.Items)
	for _, p := range c.applyParams {
		w.field(p.Name, p.Value)
	}
	return w.bytes()
}

func writeItems(w *bodyWriter, items []Item) {
	if len(items) == 0 {
		return
	}
	w.name("items")
	w.buf = append(w.buf, '[')
	for _, item := range items {
		w.comma()
		w.buf = append(w.buf, '{')
		w.field("skuCode", item.SKUCode)
		w.field("skuName", item.SKUName)
		w.number("quantity", item.Quantity)
		w.optional("url", item.URL)
		w.optional("imageUrl", item.ImageURL)
		w.optional("category", item.Category)
		w.optional("subcategory", item.Subcategory)
		w.optional("description", item.Description)
		w.optional("metadata", item.Metadata)
		w.buf = append(w.buf, '}')
	}
	w.buf = append(w.buf, ']')
}

func (c *Client) getPayStatusBody(tradeUUIDs, billCodes []string) []byte {
	w := newBody(c.escape)
	w.list("tradeUuidList", tradeUUIDs)
	w.list("billCodeList", billCodes)
	return w.bytes()
}

func (c *Client) cancelBody(tradeUUID, billCode string) []byte {
	w := newBody(c.escape)
	w.optional("tradeUuid", tradeUUID)
	w.optional("billCode", billCode)
	return w.bytes()
}

// named is a value with the name an error calls it by.
type named struct{ name, value string }

func (r *ApplyRequest) validate() error {
	err := errors.Join(
		required(
			named{"payTypeCode", r.PayTypeCode}, named{"payChannelCode", r.PayChannelCode},
			named{"tradeUuid", r.TradeUUID}, named{"orderCode", r.OrderCode},
			named{"country", r.Country}, named{"currency", r.Currency}, named{"amount", r.Amount}),
		readable(named{"description", r.Description}, named{"metadata", r.Metadata}))
	if r.TradeTime.IsZero() {
		err = errors.Join(err, errors.New("tradeTime is missing"))
	}
	for i := range r.Items {
		if itemErr := r.Items[i].validate(); itemErr != nil {
			err = errors.Join(err, fmt.Errorf("items[%d]: %w", i, itemErr))
		}
	}
	return err
}

func (i *Item) validate() error {
	err := errors.Join(
		required(named{"skuCode", i.SKUCode}, named{"skuName", i.SKUName}),
		readable(
			named{"url", i.URL}, named{"imageUrl", i.ImageURL},
			named{"category", i.Category}, named{"subcategory", i.Subcategory},
			named{"description", i.Description}, named{"metadata", i.Metadata}))
	if !number(i.Quantity) {
		err = errors.Join(err, errors.New("quantity is not a number"))
	}
	return err
}

// number says whether s is a JSON number and nothing more, white space included.
func number(s string) bool {
	v := jsontext.Value(s)
	return v.Kind() == jsontext.KindNumber && v.IsValid() &&
		!slices.ContainsFunc(v, func(b byte) bool { return b <= ' ' })
}

// required also demands UTF-8, like readable.
func required(values ...named) error {
	err := readable(values...)
	for _, v := range values {
		if v.value == "" {
			err = errors.Join(err, errors.New(v.name+" is missing"))
		}
	}
	return err
}

func readable(values ...named) (err error) {
	for _, v := range values {
		if !utf8.ValidString(v.value) {
			err = errors.Join(err, errors.New(v.name+" is not UTF-8"))
		}
	}
	return err
}
