package doctor

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/qlink"
)

// examineWays compares the configured types and channels with those that the
// gateway lists.
func examineWays(a Account, methods []qlink.PayMethod, listed bool, say say) {
	if !listed {
		say(CheckWays, Skipped, "not compared: the gateway's list could not be read", "")
		return
	}
	types, channels := codesOf(methods, qlink.PayType), codesOf(methods, qlink.PayChannel, qlink.GlobalPay)
	if len(types)+len(channels) == 0 {
		say(CheckWays, Warning, "the gateway lists no way to pay for this account", "Ask QLink which ways to pay are switched on for the account.")
		return
	}
	strangers := append(missing(namedTypes(a), types), missing(namedChannels(a), channels)...)
	if len(strangers) > 0 {
		say(CheckWays, Failed, "the gateway does not list "+enumerated(strangers)+": it has "+enumerated(types, channels),
			"Correct pay_type, pay_channel and offer, or ask QLink to switch that way to pay on.")
	}
	odd := missing(slices.Sorted(maps.Keys(a.ExpireChannel)), channels)
	if len(odd) > 0 {
		say(CheckWays, Warning, "expire_after names channels that the gateway does not list: "+enumerated(odd), "Correct the channel, or take the rule out.")
	}
	foreign := ofAnotherCurrency(methods, namedChannels(a), string(a.Defaults.Currency))
	if len(foreign) > 0 {
		say(CheckWays, Failed, "not for "+string(a.Defaults.Currency)+", the account's currency, are "+enumerated(foreign), "Correct currency or the channels.")
	}
	if len(strangers)+len(odd)+len(foreign) == 0 {
		say(CheckWays, OK, "the gateway lists "+enumerated(types, channels)+", and all that is configured is among it", "")
	}
}

func codesOf(methods []qlink.PayMethod, kinds ...string) (codes []string) {
	for _, m := range methods {
		if slices.Contains(kinds, m.Type) && !slices.Contains(codes, m.Code) {
			codes = append(codes, m.Code)
		}
	}
	return codes
}

func namedTypes(a Account) []string {
	return named(a, a.Defaults.PayType, func(w bill.Way) string { return w.PayType })
}

func namedChannels(a Account) []string {
	return named(a, a.Defaults.PayChannel, func(w bill.Way) string { return w.PayChannel })
}

// named returns the default and what is offered, each once.
func named(a Account, byDefault string, of func(bill.Way) string) (codes []string) {
	if byDefault != "" {
		codes = append(codes, byDefault)
	}
	for _, w := range a.Defaults.Offer {
		if code := of(w); !slices.Contains(codes, code) {
			codes = append(codes, code)
		}
	}
	return codes
}

// missing returns which of the codes are not listed. Of a kind that the gateway
// lists none of (edition global has no types), nothing can be told.
func missing(codes, listed []string) []string {
	if len(listed) == 0 {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(codes), func(c string) bool { return slices.Contains(listed, c) })
}

// ofAnotherCurrency returns the channels all of whose rows are for currencies
// that do not include the given one.
func ofAnotherCurrency(methods []qlink.PayMethod, channels []string, currency string) []string {
	if currency == "" {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(channels), func(channel string) bool {
		return !slices.ContainsFunc(methods, func(m qlink.PayMethod) bool { return m.Code == channel && m.Type == qlink.GlobalPay }) ||
			slices.ContainsFunc(methods, func(m qlink.PayMethod) bool {
				takes := func(c string) bool { return strings.EqualFold(c, currency) }
				return m.Code == channel && (len(m.Currencies) == 0 || slices.ContainsFunc(m.Currencies, takes))
			})
	})
}

// enumerated names codes, which are the gateway's words.
func enumerated(lists ...[]string) string {
	var words []string
	for _, code := range slices.Concat(lists...) {
		if code = quoted(code); !bill.IsCode(code) {
			code = strconv.Quote(code)
		}
		words = append(words, code)
	}
	return listed(words)
}
