package caddyqlink

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/handlers"
	"github.com/caddy-qlink/caddy-qlink/payment"
)

// MatchBill matches requests that come for an order which is paid, or stands
// as Status says. It is bound to the order: OrderCode or Metadata has to say
// which one, so that a payment of another opens nothing. What both say is
// compared with the store at each request; where the store cannot be asked the
// request is answered 503, whether the matcher stands in a `not` or not.
//
// With Cookie, only browsers match that were shown the order's page as paid.
// With Bill, only requests that know the id of one of the order's bills.
// Without either, whoever names the order matches: that is for pages which
// anybody may see.
//
// Where it matches, it sets the placeholders of the bill that decided:
//
// Placeholder | Description
// ------------|-------------
// `{http.qlink.bill.id}` | The bill's id, QLink's tradeUuid
// `{http.qlink.bill.account}` | The account's name
// `{http.qlink.bill.shop}` | The shop's name
// `{http.qlink.bill.livemode}` | Whether it is real money: true or false
// `{http.qlink.bill.order_code}` | The order's code
// `{http.qlink.bill.attempt}` | 1 for the order's first bill
// `{http.qlink.bill.status}` | The status, such as SUCCESS
// `{http.qlink.bill.paid}` | Whether it is paid: true or false
// `{http.qlink.bill.amount}` | The amount, as the shop wrote it
// `{http.qlink.bill.currency}` | The currency's ISO 4217 code
// `{http.qlink.bill.pay_type}` | The type, as QLink names it
// `{http.qlink.bill.pay_channel}` | The channel, as QLink names it
// `{http.qlink.bill.bill_code}` | The gateway's own name for the bill
// `{http.qlink.bill.pay_time}` | When it was paid, RFC 3339 in UTC, where the gateway has said so
// `{http.qlink.metadata.*}` | What the shop gave under that key of metadata: a text, number or truth value
type MatchBill struct {
	// Account is the name of the account whose orders count. Default: default.
	Account string `json:"account,omitempty"`

	// Shop is the shop whose orders count. Default: default.
	Shop string `json:"shop,omitempty"`

	// OrderCode is the order's code. This and the values of Metadata and Bill
	// take the placeholders of a request; one that is empty or unknown then never
	// matches.
	OrderCode string `json:"order_code,omitempty"`

	// Metadata is what the bill that decides must have in its order's metadata,
	// compared exactly.
	Metadata map[string]string `json:"metadata,omitempty"`

	// Cookie asks for a valid cookie qlink_paid with a pass for the bill.
	Cookie bool `json:"cookie,omitempty"`

	// Bill asks for the id of one of the order's bills.
	Bill string `json:"bill,omitempty"`

	// Status lists the statuses that match: paid, or a bill's (SUCCESS, WAIT …).
	// An order that is paid is paid, whatever became of its other bills; else its
	// newest bill decides. Default: paid.
	Status []string `json:"status,omitempty"`

	gate   *handlers.Gate
	logger *zap.Logger
}

// CaddyModule returns the Caddy module information.
func (MatchBill) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.matchers.qlink_bill",
		New: func() caddy.Module { return new(MatchBill) },
	}
}

// UnmarshalCaddyfile sets up the matcher from Caddyfile tokens. Account and
// shop may hold Caddy's global placeholders, the values of order_code,
// metadata and bill those of the request. Syntax:
//
//	@<name> qlink_bill {
//		# whose orders
//		account <name>               # default: default
//		shop    <name>               # default: default
//
//		# which of them; one is needed, and all that are there must hold
//		order_code <value>
//		metadata   <key> <value>     # of the bill that decides; repeatable
//
//		# how the request proves that the order is its own; none: whoever names it
//		cookie                       # the browser's cookie qlink_paid has a pass for it
//		bill <value>                 # the id of one of its bills
//
//		status <status>...           # default: paid
//	}
//
// It is met by the bill that paid the order, or else by the order's newest. A
// value that turns out empty is met by nothing.
func (m *MatchBill) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the matcher's name
	if d.NextArg() {
		return d.Err("qlink_bill takes no value, only a block")
	}
	err := parseBlock(d, "qlink_bill", m, matcherOptions, func(name string) error {
		switch name {
		case "order_code":
			return unmarshalTerm(d, name, &m.OrderCode)
		case "bill":
			return unmarshalTerm(d, name, &m.Bill)
		case "metadata":
			return m.unmarshalMetadata(d)
		case "cookie":
			return m.unmarshalCookie(d)
		case "status":
			return m.unmarshalStatus(d)
		default:
			return unknownOption(d, "qlink_bill", name)
		}
	})
	if err != nil {
		return err
	}
	if d.Next() {
		return d.Err("qlink_bill is there twice in one matcher; write two matchers")
	}
	if _, err := m.terms(); err != nil {
		return d.Errf("qlink_bill: %w", err)
	}
	return nil
}

// unmarshalTerm takes a value that is filled in for each request.
func unmarshalTerm(d *caddyfile.Dispenser, name string, into *string) error {
	args := d.RemainingArgs()
	switch {
	case *into != "":
		return d.Errf("%s is set twice", name)
	case len(args) != 1 || args[0] == "":
		return d.Errf("%s wants exactly one value", name)
	}
	*into = args[0]
	return nil
}

func (m *MatchBill) unmarshalMetadata(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	if len(args) != 2 || slices.Contains(args, "") {
		return d.Err("metadata wants a key and a value")
	}
	if _, twice := m.Metadata[args[0]]; twice {
		return d.Errf("metadata %q is set twice", args[0])
	}
	if m.Metadata == nil {
		m.Metadata = make(map[string]string)
	}
	m.Metadata[args[0]] = args[1]
	return nil
}

func (m *MatchBill) unmarshalCookie(d *caddyfile.Dispenser) error {
	switch {
	case m.Cookie:
		return d.Err("cookie is set twice")
	case d.NextArg():
		return d.Err("cookie takes no value")
	}
	m.Cookie = true
	return nil
}

func (m *MatchBill) unmarshalStatus(d *caddyfile.Dispenser) error {
	return unmarshalList(d, "status", &m.Status, func(words []string) error {
		_, err := statuses(words)
		return err
	})
}

// matched is a matcher's configuration as understood, but for its terms.
type matched struct{ account, shop string }

var matcherOptions = []option[MatchBill, matched]{
	{"account", func(m *MatchBill) *string { return &m.Account }, func(s *matched, v string) error {
		s.account = v
		return checkName(v)
	}},
	{"shop", func(m *MatchBill) *string { return &m.Shop }, text(func(s *matched) *string { return &s.shop })},
}

func statuses(words []string) ([]bill.Status, error) {
	parsed := make([]bill.Status, 0, len(words))
	for _, word := range words {
		s, err := handlers.ParseStatus(word)
		if err != nil {
			return nil, err
		}
		parsed = append(parsed, s)
	}
	return parsed, nil
}

// terms returns what has to hold, checked.
func (m *MatchBill) terms() (handlers.Terms, error) {
	allowed, err := statuses(m.Status)
	if err != nil {
		return handlers.Terms{}, fmt.Errorf("status: %w", err)
	}
	t := handlers.Terms{OrderCode: m.OrderCode, Metadata: m.Metadata, Bill: m.Bill, Cookie: m.Cookie, Statuses: allowed}
	return t, t.Check()
}

// Provision resolves and checks the configuration, and finds the account.
func (m *MatchBill) Provision(ctx caddy.Context) error {
	m.logger = ctx.Logger()
	s := matched{account: defaultName, shop: defaultName}
	if err := resolve(newResolver(), matcherOptions, m, &s); err != nil {
		return err
	}
	terms, err := m.terms()
	if err != nil {
		return err
	}
	app, account, err := configuredAccount(ctx, s.account)
	if err != nil {
		return err
	}
	if m.Cookie {
		app.gated.add(s.account, s.shop)
	}
	m.warnUnproven()
	m.gate, err = handlers.NewGate(app.engine, payment.Scope{Account: account, Shop: s.shop}, terms, time.Now)
	return err
}

// fromRequest reports whether a value comes with the request: it holds one of
// its placeholders, and not of who is signed in.
func fromRequest(value string) bool {
	return strings.Contains(strings.ReplaceAll(value, "{http.auth.", ""), "{http.")
}

// warnUnproven tells who lets a request say what opens it that nothing proves
// it.
func (m *MatchBill) warnUnproven() {
	if !m.Cookie && m.Bill == "" && fromRequest(m.OrderCode) {
		m.logger.Warn("order_code comes with the request, and neither cookie nor bill proves that the order is the sender's: this matches for whoever names the order; good for a page that anybody may see, and for nothing else")
	}
}

// MatchWithError reports whether the request comes for such an order. An error
// ends the request with a 503: that nobody can say makes it neither paid nor
// unpaid.
func (m *MatchBill) MatchWithError(r *http.Request) (bool, error) {
	replacer := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	b, opens, err := m.gate.Open(r, func(term string) (string, bool) {
		value, err := replacer.ReplaceOrErr(term, true, true)
		return value, err == nil
	})
	switch {
	case err != nil:
		return false, caddyhttp.Error(http.StatusServiceUnavailable, fmt.Errorf("qlink_bill: whether the order is paid is not known: %w", err))
	case opens:
		m.show(r, replacer, b)
	}
	return opens, nil
}

// Match is for callers that take no error: what is not known does not match.
func (m *MatchBill) Match(r *http.Request) bool {
	opens, err := m.MatchWithError(r)
	if err != nil {
		m.logger.Error("not matched", zap.Error(err))
	}
	return opens
}

// shownVar holds, among a request's variables, the bill that its placeholders
// are about: that of the matcher that matched last.
const shownVar = "qlink.bill"

// shown is a bill as placeholders show it.
type shown struct {
	bill.View

	request *http.Request
	matcher *MatchBill
}

// String is what {http.vars.qlink.bill} shows: variables can be printed.
func (s *shown) String() string { return s.ID }

func (m *MatchBill) show(r *http.Request, replacer *caddy.Replacer, b bill.Bill) {
	ctx := r.Context()
	_, again := caddyhttp.GetVar(ctx, shownVar).(*shown)
	caddyhttp.SetVar(ctx, shownVar, &shown{View: b.View(""), request: r, matcher: m})
	if again {
		return
	}
	replacer.Map(func(name string) (any, bool) {
		s, ok := caddyhttp.GetVar(ctx, shownVar).(*shown)
		if !ok {
			return nil, false
		}
		return s.placeholder(name)
	})
}

// placeholder returns what a placeholder stands for.
func (s *shown) placeholder(name string) (any, bool) {
	if key, ok := strings.CutPrefix(name, "http.qlink.metadata."); ok {
		return s.metadata(key), true
	}
	field, ok := strings.CutPrefix(name, "http.qlink.bill.")
	if !ok {
		return nil, false
	}
	value, ok := map[string]string{
		"id":          s.ID,
		"account":     s.Account,
		"shop":        s.Shop,
		"livemode":    strconv.FormatBool(s.LiveMode),
		"order_code":  s.OrderCode,
		"attempt":     strconv.Itoa(s.Attempt),
		"status":      string(s.Status),
		"paid":        strconv.FormatBool(s.Status == bill.Success),
		"amount":      string(s.Amount),
		"currency":    string(s.Currency),
		"pay_type":    s.PayType,
		"pay_channel": s.PayChannel,
		"bill_code":   s.BillCode,
		"pay_time":    s.PayTime,
	}[field]
	return value, ok
}

func (s *shown) metadata(key string) string {
	value, err := s.matcher.gate.Metadata(s.request.Context(), s.ID, key)
	if err != nil {
		s.matcher.logger.Error("metadata for a placeholder", zap.String("bill", s.ID), zap.Error(err))
	}
	return value
}

// gated knows for which accounts and shops a matcher asks for the cookie: only
// their buyers' browsers are given one. Matchers add to it while they are
// provisioned; sites ask it with each paid bill that they show.
type gated struct {
	mu sync.Mutex
	of []ordersOf
}

func (g *gated) add(account, shop string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.of = append(g.of, ordersOf{account, shop})
}

func (g *gated) has(account, shop string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Contains(g.of, ordersOf{account, shop})
}

// Interface guards
var (
	_ caddy.Provisioner                 = (*MatchBill)(nil)
	_ caddyfile.Unmarshaler             = (*MatchBill)(nil)
	_ caddyhttp.RequestMatcherWithError = (*MatchBill)(nil)
)
