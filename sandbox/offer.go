package sandbox

import (
	"cmp"
	"net/url"
	"slices"
	"strings"
)

// usualTypes and usualChannels are listed where the configuration names none.
var (
	usualTypes = []Offer{
		{Code: "ONLINE", Name: "在线支付"},
		{Code: "QR_CODE_PAYMENT", Name: "二维码扫描支付"},
	}
	usualChannels = []Offer{
		{Code: "QRIS", Name: "QRIS", Action: "qr"},
		{Code: "BCA_VA", Name: "BCA Virtual Account", Action: "code"},
		{Code: "DANA", Name: "DANA", Action: "deeplink"},
		{Code: "CARDS", Name: "Credit or debit card", Action: "url"},
	}
)

// taken reports whether apply takes a code: of those configured, or any.
func taken(configured []Offer, code string) bool {
	return len(configured) == 0 || slices.ContainsFunc(configured, func(o Offer) bool { return o.Code == code })
}

// offered are the rows of queryPayAccount: types and channels, unpaired, or the
// channels alone in the form of the global edition.
func (s *Sandbox) offered() []accountRow {
	types, channels := s.conf.types, s.conf.channels
	if len(types) == 0 {
		types = usualTypes
	}
	if len(channels) == 0 {
		channels = usualChannels
	}
	const provider = "sandbox"
	var rows []accountRow
	if s.conf.global {
		for _, o := range channels {
			rows = append(rows, accountRow{
				ServiceProvider: provider, Type: "PAY", ChannelCode: o.Code, Desc: cmp.Or(o.Name, o.Code), Country: "ID",
				CurrencyList: []string{"IDR", "PHP", "VND", "THB", "SGD", "MYR", "USD"},
			})
		}
		return rows
	}
	for _, o := range types {
		rows = append(rows, accountRow{ServiceProvider: provider, Type: "PAY_TYPE", Code: o.Code, Name: cmp.Or(o.Name, o.Code)})
	}
	for _, o := range channels {
		rows = append(rows, accountRow{ServiceProvider: provider, Type: "PAY_CHANNEL", Code: o.Code, Name: cmp.Or(o.Name, o.Code)})
	}
	return rows
}

// actionValue is what the buyer needs to pay, in the form of the channel.
func (x *exchange) actionValue(p *Payment) string {
	page := x.in.base + "/pay-page/" + url.PathEscape(p.BillCode)
	switch x.actionKind(p.PayChannelCode) {
	case "none":
		return ""
	case "code":
		return "8808" + digits(12)
	case "deeplink":
		return "qlinksandbox://pay?" + url.Values{"bill": {p.BillCode}, "page": {page}}.Encode()
	case "qr":
		if currencies[p.Currency].number != "" {
			return qrisPayload(p, x.conf.merchant, x.conf.city)
		}
	}
	return page
}

// actionKind is the configured one, else what the code sounds like.
func (s *Sandbox) actionKind(channel string) string {
	for _, o := range slices.Concat(s.conf.channels, usualChannels) {
		if o.Code == channel && o.Action != "" {
			return o.Action
		}
	}
	words := strings.FieldsFunc(strings.ToUpper(channel), func(r rune) bool { return r == '_' || r == '-' || r == ' ' })
	switch {
	case strings.Contains(strings.ToUpper(channel), "QR"):
		return "qr"
	case slices.Contains(words, "VA") || slices.Contains(words, "VIRTUAL") || slices.Contains(words, "PAYCODE"):
		return "code"
	case slices.Contains(words, "OVO") || slices.Contains(words, "DEEPLINK"):
		return "deeplink"
	}
	return "url"
}
