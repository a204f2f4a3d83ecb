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

// Bounds of an order's fields, in bytes unless said otherwise; what is named
// nowhere is bounded by the order's size alone.
const (
	maxOrderCode = 256
	maxName      = 64
	maxText      = MaxOrderSize
	maxURL       = 2048
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
	PayChannel string        // "": the buyer chooses, of PayType's channels where that is set
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

	// Choice leaves the way to pay to the buyer where an order names no channel,
	// whatever PayChannel says.
	Choice bool
	Offer  []Way // what there is to choose from; none: what the gateway lists
}

// Way is a way to pay: a type and a channel (the document's section 4).
type Way struct {
	PayType    string `json:"type"`
	PayChannel string `json:"channel"`
}

// typeOf returns the type for an order that names a channel alone: the
// account's, else that under which the channel is offered first.
func (d Defaults) typeOf(channel string) string {
	for _, w := range d.Offer {
		if d.PayType == "" && w.PayChannel == channel {
			return w.PayType
		}
	}
	return d.PayType
}

// ways fills in how o is to be paid, where it does not say.
func (d Defaults) ways(o *Order) {
	switch {
	case o.ChannelSet:
		o.PayType = or(o.PayType, d.typeOf(o.PayChannel))
	case !d.Choice:
		o.PayType, o.PayChannel = or(o.PayType, d.PayType), d.PayChannel
	}
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

// orderJSON is an order as it travels. Values are kept raw, so that each is
// judged, and complained of, by its own name.
type orderJSON struct {
	OrderCode   jsontext.Value `json:"orderCode"`
	Amount      jsontext.Value `json:"amount"`
	Currency    jsontext.Value `json:"currency"`
	Country     jsontext.Value `json:"country"`
	PayType     jsontext.Value `json:"payTypeCode"`
	PayChannel  jsontext.Value `json:"payChannelCode"`
	Description jsontext.Value `json:"description"`
	Metadata    jsontext.Value `json:"metadata"`
	Items       jsontext.Value `json:"items"`
	ReturnURL   jsontext.Value `json:"returnUrl"`
	ExpiresIn   jsontext.Value `json:"expiresIn"`
}

type itemJSON struct {
	SKUCode     jsontext.Value `json:"skuCode"`
	SKUName     jsontext.Value `json:"skuName"`
	Quantity    jsontext.Value `json:"quantity"`
	URL         jsontext.Value `json:"url"`
	ImageURL    jsontext.Value `json:"imageUrl"`
	Category    jsontext.Value `json:"category"`
	Subcategory jsontext.Value `json:"subcategory"`
	Description jsontext.Value `json:"description"`
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
		return Order{}, &OrderError{Fields: []FieldError{{Message: "not strict JSON: " + err.Error()}}}
	}
	var check checker
	channel := check.str("payChannelCode", in.PayChannel)
	order := Order{
		OrderCode:  check.str("orderCode", in.OrderCode),
		Currency:   Currency(or(check.str("currency", in.Currency), string(defaults.Currency))),
		Country:    or(check.str("country", in.Country), defaults.Country),
		PayType:    check.str("payTypeCode", in.PayType),
		PayChannel: channel,
		ChannelSet: channel != "",
	}
	defaults.ways(&order)
	check.orderCode(order.OrderCode)
	check.codes(order)
	check.way(order, defaults)
	order.Amount = check.amount(in.Amount, order.Currency)
	order.ExpiresIn = check.duration(check.str("expiresIn", in.ExpiresIn))
	order.Details = Details{
		Description: check.text("description", check.str("description", in.Description), maxText),
		Metadata:    check.object("metadata", in.Metadata),
		ReturnURL:   check.returnURL(check.str("returnUrl", in.ReturnURL)),
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
	item   int // whose fields they are: 1 for the first; 0: the order's own
}

// fault notes a complaint, the first one of each field.
func (c *checker) fault(field, format string, args ...any) {
	if c.item > 0 {
		field = fmt.Sprintf("items[%d].%s", c.item-1, field)
	}
	if slices.ContainsFunc(c.faults, func(f FieldError) bool { return f.Field == field }) {
		return
	}
	c.faults = append(c.faults, FieldError{Field: field, Message: fmt.Sprintf(format, args...)})
}

// str takes a string, or null for none.
func (c *checker) str(field string, raw jsontext.Value) string {
	switch raw.Kind() {
	case jsontext.KindInvalid, 'n':
		return ""
	case '"':
		var text string
		if err := json.Unmarshal(raw, &text); err == nil {
			return text
		}
	}
	c.fault(field, "must be a string")
	return ""
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

// IsOrderCode reports whether text can be an order's code.
func IsOrderCode(text string) bool {
	var check checker
	check.orderCode(text)
	return len(check.faults) == 0 && utf8.ValidString(text)
}

func (c *checker) codes(o Order) {
	if _, ok := o.Currency.Decimals(); !ok {
		c.required("currency", string(o.Currency), "%.16q is no ISO 4217 code (three upper-case letters)")
	}
	if !IsCountry(o.Country) {
		c.required("country", o.Country, "%.16q is no ISO 3166-1 code (two upper-case letters)")
	}
}

// way checks type and channel, or, where the buyer chooses, that there is
// something to choose from.
func (c *checker) way(o Order, d Defaults) {
	chooses := d.Choice && !o.ChannelSet
	if !IsCode(o.PayType) && (!chooses || o.PayType != "") {
		c.required("payTypeCode", o.PayType, "%.80q is not a plain code")
	}
	if !IsCode(o.PayChannel) && !chooses {
		c.required("payChannelCode", o.PayChannel, "%.80q is not a plain code")
	}
	offered := func(w Way) bool { return w.PayType == o.PayType }
	if chooses && o.PayType != "" && len(d.Offer) > 0 && !slices.ContainsFunc(d.Offer, offered) {
		c.fault("payTypeCode", "%.80q is none that the account offers", o.PayType)
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

// IsCode reports whether code can be that of a type or a channel: printable
// ASCII without a space.
func IsCode(code string) bool {
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
	if days, ok := strings.CutSuffix(text, "d"); ok { // as Caddy's own durations may be given
		d, err = time.ParseDuration(days + "h")
		d = 24 * min(d, maxExpiresIn)
	}
	if err != nil || d <= 0 || d > maxExpiresIn {
		c.fault("expiresIn", "%.40q is no duration above zero, such as 30m or 1d", text)
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

func (c *checker) items(raw jsontext.Value) []Item {
	switch raw.Kind() {
	case jsontext.KindInvalid, 'n':
		return nil
	case '[':
	default:
		c.fault("items", "must be an array")
		return nil
	}
	var in []jsontext.Value
	if err := json.Unmarshal(raw, &in); err != nil {
		c.fault("items", "cannot be read")
		return nil
	}
	items := make([]Item, 0, len(in))
	for i, entry := range in {
		var it itemJSON
		if entry.Kind() != '{' || json.Unmarshal(entry, &it) != nil {
			c.fault(fmt.Sprintf("items[%d]", i), "must be an object")
			continue
		}
		items = append(items, c.itemAt(i, it))
	}
	return items
}

func (c *checker) itemAt(index int, it itemJSON) Item {
	c.item = index + 1
	defer func() { c.item = 0 }()
	text := func(field string, raw jsontext.Value, limit int) string {
		return c.text(field, c.str(field, raw), limit)
	}
	return Item{
		SKUCode:     c.needed("skuCode", it.SKUCode),
		SKUName:     c.needed("skuName", it.SKUName),
		Quantity:    c.quantity("quantity", it.Quantity),
		URL:         text("url", it.URL, maxURL),
		ImageURL:    text("imageUrl", it.ImageURL, maxURL),
		Category:    text("category", it.Category, maxText),
		Subcategory: text("subcategory", it.Subcategory, maxText),
		Description: text("description", it.Description, maxText),
		Metadata:    c.object("metadata", it.Metadata),
	}
}

func (c *checker) needed(field string, raw jsontext.Value) string {
	value := c.str(field, raw)
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
