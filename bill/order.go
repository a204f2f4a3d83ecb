package bill

import (
	"bytes"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"golang.org/x/text/language"
)

// MaxOrderSize is the largest order accepted, in bytes of JSON.
const MaxOrderSize = 128 << 10

// Bounds of an order's fields, in bytes unless said otherwise.
const (
	maxOrderCode = 128
	maxName      = 64
	maxText      = 4096
	maxURL       = 2048
	maxItems     = 500 // entries
	maxExpiresIn = 366 * 24 * time.Hour
)

// Order is what a shop hands over to be paid, checked. Its names are those of
// QLink's /apply (the document's section 4).
type Order struct {
	OrderCode  string
	Amount     Amount
	Currency   Currency
	Country    string // ISO 3166-1 alpha-2, upper case
	PayType    string
	PayChannel string
	ChannelSet bool          // the order itself names the channel: else an open bill of any channel will do
	ExpiresIn  time.Duration // 0: not given
	Details    Details
}

// Defaults are an account's values for what an order leaves out.
type Defaults struct {
	PayType    string
	PayChannel string
	Country    string
	Currency   Currency
}

// OrderError tells field by field what is wrong with an order.
type OrderError struct {
	Fields []FieldError
}

// FieldError is one fault of an order; Field is "" where the whole is at fault.
type FieldError struct {
	Field   string `json:"field"`
	Message string `json:"message"`
}

// Error lists the faults in one line.
func (e *OrderError) Error() string {
	parts := make([]string, 0, len(e.Fields))
	for _, f := range e.Fields {
		parts = append(parts, strings.TrimPrefix(f.Field+": "+f.Message, ": "))
	}
	return "bad order: " + strings.Join(parts, "; ")
}

// orderJSON is an order as it travels. Values of more than one permitted type
// are kept raw.
type orderJSON struct {
	OrderCode   string         `json:"orderCode"`
	Amount      jsontext.Value `json:"amount"`
	Currency    string         `json:"currency"`
	Country     string         `json:"country"`
	PayType     string         `json:"payTypeCode"`
	PayChannel  string         `json:"payChannelCode"`
	Description string         `json:"description"`
	Metadata    jsontext.Value `json:"metadata"`
	Items       []itemJSON     `json:"items"`
	ReturnURL   string         `json:"returnUrl"`
	ExpiresIn   string         `json:"expiresIn"`
}

type itemJSON struct {
	SKUCode     string         `json:"skuCode"`
	SKUName     string         `json:"skuName"`
	Quantity    jsontext.Value `json:"quantity"`
	URL         string         `json:"url"`
	ImageURL    string         `json:"imageUrl"`
	Category    string         `json:"category"`
	Subcategory string         `json:"subcategory"`
	Description string         `json:"description"`
	Metadata    jsontext.Value `json:"metadata"`
}

// ParseOrder reads an order from strict JSON (no duplicate names, no bad
// UTF-8; unknown names are ignored) and fills in the defaults. Every error is
// an *OrderError.
func ParseOrder(body []byte, defaults Defaults) (Order, error) {
	if len(body) > MaxOrderSize {
		return Order{}, &OrderError{Fields: []FieldError{{Message: fmt.Sprintf("larger than %d bytes", MaxOrderSize)}}}
	}
	var in orderJSON
	if kind := jsontext.Value(bytes.TrimSpace(body)).Kind(); kind != '{' {
		return Order{}, &OrderError{Fields: []FieldError{{Message: "not a JSON object"}}}
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return Order{}, &OrderError{Fields: []FieldError{{Message: "not strict JSON of an order: " + err.Error()}}}
	}
	var check checker
	order := Order{
		OrderCode:  in.OrderCode,
		Currency:   Currency(or(in.Currency, string(defaults.Currency))),
		Country:    or(in.Country, defaults.Country),
		PayType:    or(in.PayType, defaults.PayType),
		PayChannel: or(in.PayChannel, defaults.PayChannel),
		ChannelSet: in.PayChannel != "",
	}
	check.orderCode(order.OrderCode)
	check.codes(order)
	order.Amount = check.amount(in.Amount, order.Currency)
	order.ExpiresIn = check.duration(in.ExpiresIn)
	order.Details = Details{
		Description: check.text("description", in.Description, maxText),
		Metadata:    check.object("metadata", in.Metadata),
		ReturnURL:   check.returnURL(in.ReturnURL),
		Items:       check.items(in.Items),
	}
	if len(check.faults) > 0 {
		return Order{}, &OrderError{Fields: check.faults}
	}
	return order, nil
}

func or(value, fallback string) string {
	if value == "" {
		return fallback
	}
	return value
}

// checker collects what is wrong, so that a shop's developer sees it at once.
type checker struct {
	faults []FieldError
}

func (c *checker) fault(field, format string, args ...any) {
	c.faults = append(c.faults, FieldError{Field: field, Message: fmt.Sprintf(format, args...)})
}

func (c *checker) orderCode(code string) {
	switch {
	case code == "":
		c.fault("orderCode", "is required")
	case len(code) > maxOrderCode:
		c.fault("orderCode", "is longer than %d bytes", maxOrderCode)
	case strings.ContainsFunc(code, func(r rune) bool { return !unicode.IsPrint(r) }):
		c.fault("orderCode", "has a character that cannot be printed")
	case strings.TrimSpace(code) != code:
		c.fault("orderCode", "begins or ends with white space")
	}
}

func (c *checker) codes(o Order) {
	if _, ok := o.Currency.Decimals(); !ok {
		c.required("currency", string(o.Currency), "%.16q is no ISO 4217 code (three upper-case letters)")
	}
	if !IsCountry(o.Country) {
		c.required("country", o.Country, "%.16q is no ISO 3166-1 code (two upper-case letters)")
	}
	if !isName(o.PayType) {
		c.required("payTypeCode", o.PayType, "%.80q is not a plain code")
	}
	if !isName(o.PayChannel) {
		c.required("payChannelCode", o.PayChannel, "%.80q is not a plain code")
	}
}

func (c *checker) required(field, value, format string) {
	if value == "" {
		c.fault(field, "is required, as the account has no default")
		return
	}
	c.fault(field, format, value)
}

// IsCountry reports whether code is an ISO 3166-1 alpha-2 code in upper case.
func IsCountry(code string) bool {
	if len(code) != 2 || strings.ToUpper(code) != code {
		return false
	}
	region, err := language.ParseRegion(code)
	return err == nil && region.IsCountry()
}

func isName(code string) bool {
	return code != "" && len(code) <= maxName && !strings.ContainsFunc(code, func(r rune) bool {
		return r <= ' ' || r > '~'
	})
}

// amount takes a string, or a bare number as its text, so that no float is
// ever made of it.
func (c *checker) amount(raw jsontext.Value, currency Currency) Amount {
	var text string
	switch raw.Kind() {
	case '"':
		if err := json.Unmarshal(raw, &text); err != nil {
			c.fault("amount", "cannot be read")
			return ""
		}
	case '0':
		text = string(raw)
	case jsontext.KindInvalid, 'n':
		c.fault("amount", "is required")
		return ""
	default:
		c.fault("amount", "must be a string or a number")
		return ""
	}
	if _, ok := currency.Decimals(); !ok {
		return "" // the currency's own fault is on the list already
	}
	amount, err := ParseAmount(text, currency)
	if err != nil {
		c.fault("amount", "%s", strings.TrimPrefix(err.Error(), ErrAmount.Error()+": "))
	}
	return amount
}

func (c *checker) duration(text string) time.Duration {
	if text == "" {
		return 0
	}
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 || d > maxExpiresIn {
		c.fault("expiresIn", "%.40q is no duration above zero, such as 30m", text)
		return 0
	}
	return d
}

func (c *checker) text(field, value string, limit int) string {
	switch {
	case len(value) > limit:
		c.fault(field, "is longer than %d bytes", limit)
	case strings.ContainsFunc(value, func(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\t' && r != '\r' }):
		c.fault(field, "has a control character")
	}
	return value
}

// object takes a JSON object, or a string that holds one, and returns its
// text: the gateway's metadata "is a String that holds JSON".
func (c *checker) object(field string, raw jsontext.Value) string {
	switch raw.Kind() {
	case jsontext.KindInvalid, 'n':
		return ""
	case '"':
		var text string
		if err := json.Unmarshal(raw, &text); err != nil || text == "" {
			return ""
		}
		raw = jsontext.Value(text)
	}
	if !raw.IsValid() || raw.Kind() != '{' {
		c.fault(field, "must be a JSON object")
		return ""
	}
	compact := slices.Clone(raw)
	if err := compact.Compact(); err != nil {
		c.fault(field, "must be a JSON object")
		return ""
	}
	return string(compact)
}

// returnURL allows a path of the shop's own site or a web address: it becomes
// a link on the payment page.
func (c *checker) returnURL(text string) string {
	if text == "" {
		return ""
	}
	if len(text) > maxURL || !isWebAddress(text) {
		c.fault("returnUrl", "must be an http(s) address without user info, or a path that begins with one slash")
		return ""
	}
	return text
}

func isWebAddress(text string) bool {
	if !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return unicode.IsControl(r) || r == ' ' || r == '\\' }) {
		return false
	}
	u, err := url.Parse(text)
	if err != nil || u.User != nil {
		return false
	}
	if u.Scheme == "" {
		return u.Host == "" && strings.HasPrefix(text, "/") && !strings.HasPrefix(text, "//")
	}
	return (u.Scheme == "https" || u.Scheme == "http") && u.Host != ""
}

func (c *checker) items(in []itemJSON) []Item {
	if len(in) > maxItems {
		c.fault("items", "has more than %d entries", maxItems)
		return nil
	}
	items := make([]Item, 0, len(in))
	for i, it := range in {
		at := func(name string) string { return fmt.Sprintf("items[%d].%s", i, name) }
		items = append(items, Item{
			SKUCode:     c.needed(at("skuCode"), it.SKUCode),
			SKUName:     c.needed(at("skuName"), it.SKUName),
			Quantity:    c.quantity(at("quantity"), it.Quantity),
			URL:         c.text(at("url"), it.URL, maxURL),
			ImageURL:    c.text(at("imageUrl"), it.ImageURL, maxURL),
			Category:    c.text(at("category"), it.Category, maxText),
			Subcategory: c.text(at("subcategory"), it.Subcategory, maxText),
			Description: c.text(at("description"), it.Description, maxText),
			Metadata:    c.object(at("metadata"), it.Metadata),
		})
	}
	return items
}

func (c *checker) needed(field, value string) string {
	if value == "" {
		c.fault(field, "is required")
	}
	return c.text(field, value, maxText)
}

// quantity takes a number above zero, or a string that holds one: the
// document's table says "number", its example "1".
func (c *checker) quantity(field string, raw jsontext.Value) string {
	text := string(raw)
	switch raw.Kind() {
	case jsontext.KindInvalid, 'n':
		c.fault(field, "is required")
		return ""
	case '"':
		if err := json.Unmarshal(raw, &text); err != nil {
			text = ""
		}
	}
	whole, fraction, hasPoint := strings.Cut(text, ".")
	switch {
	case !digits(whole) || !digits(fraction) || whole == "" || hasPoint && fraction == "",
		len(text) > 20, len(whole) > 1 && whole[0] == '0', strings.Trim(whole+fraction, "0") == "":
		c.fault(field, "must be a number above zero")
		return ""
	}
	return text
}
