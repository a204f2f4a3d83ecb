package qlink

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
)

// Client calls the gateway for one payment account. It is safe for concurrent use and never
// changes after NewClient. The secret lives in its closures alone, so that printing a
// Client cannot tell it.
type Client struct {
	endpoint     *url.URL
	payAccount   string
	accountField AccountField
	escape       BodyEscape
	location     *time.Location
	applyParams  []Param
	timeout      time.Duration
	address      func(operation string) string
	header       func(sign string) http.Header
	sign         func(body []byte) string
	redact       func(text, sign string) string
	http         *http.Client
}

// NewClient checks the configuration. Its error is an *Error of KindInvalid that names
// everything that is wrong.
func NewClient(config Config) (*Client, error) {
	config = config.withDefaults()
	endpoint, err := parseEndpoint(config.Endpoint)
	if err = errors.Join(err, config.validate()); err != nil {
		return nil, &Error{Operation: "config", Kind: KindInvalid, Err: err}
	}
	transport := config.Transport
	if transport == nil {
		transport = newTransport()
	}
	return &Client{
		endpoint:     endpoint,
		address:      addressOf(endpoint),
		payAccount:   config.PayAccount,
		accountField: config.AccountField,
		escape:       config.Escape,
		location:     config.Location,
		applyParams:  slices.Clone(config.ApplyParams),
		timeout:      config.Timeout,
		header:       headerOf(config),
		sign: func(body []byte) string {
			return Sign(config.Content, config.AppKey, config.AppSecret, body)
		},
		redact: redactorOf(config, endpoint),
		http: &http.Client{
			Transport: transport,
			// A redirect could carry the signed request to anybody.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

// addressOf returns what tells the address of an operation.
func addressOf(endpoint *url.URL) func(operation string) string {
	addresses := make(map[string]string)
	for _, operation := range []string{OperationQueryPayAccount, OperationApply, OperationGetPayStatus, OperationCancel} {
		addresses[operation] = endpoint.JoinPath(operation).String()
	}
	return func(operation string) string { return addresses[operation] }
}

// String names the host only.
func (c *Client) String() string { return "qlink.Client{" + c.endpoint.Host + "}" }

// GoString is String, for %#v.
func (c *Client) GoString() string { return c.String() }

// CloseIdleConnections closes what the transport keeps for later calls. Calls under way
// and later calls are not affected.
func (c *Client) CloseIdleConnections() { c.http.CloseIdleConnections() }

// PayMethod is a way to pay that an account offers (section 3). The rows of EditionGlobal
// are given in the standard's words: their channelCode is Code, their desc is Name.
type PayMethod struct {
	Type            string // PayType, PayChannel or GlobalPay
	Code            string
	Name            string
	ServiceProvider string
	Country         string   // EditionGlobal only: ISO 3166-1 alpha-2
	Currencies      []string // EditionGlobal only: ISO 4217
}

// The types of PayMethod. Types and channels are listed unpaired.
const (
	PayType    = "PAY_TYPE"
	PayChannel = "PAY_CHANNEL"
	GlobalPay  = "PAY" // EditionGlobal: a channel
)

// QueryPayAccount lists the ways to pay that the account offers (section 3). Rows without
// a type or a code are left out.
func (c *Client) QueryPayAccount(ctx context.Context) ([]PayMethod, error) {
	x, err := c.call(ctx, OperationQueryPayAccount, c.queryPayAccountBody())
	if err != nil {
		return nil, err
	}
	methods := make([]PayMethod, 0, len(x.rows))
	for _, row := range x.rows {
		var f payMethodFields
		if err := json.Unmarshal(row, &f); err != nil {
			return nil, x.unclear(err)
		}
		if m := f.method(); m.Type != "" && m.Code != "" {
			methods = append(methods, m)
		}
	}
	if len(methods) == 0 && !x.empty {
		return nil, x.unclear(errNoRow)
	}
	return methods, nil
}

// ApplyAnswer is a payment that the gateway has made (section 4).
type ApplyAnswer struct {
	BillCode         string // never empty
	PaymentRequestID string
	ActionValue      string // untrusted text: a QR payload, a URL, a code; may be empty
	ErrorCode        string

	// These three are empty unless the gateway repeats them. One that differs from the
	// request means that the answer is another payment's.
	TradeUUID string
	OrderCode string
	Currency  string
}

// Apply asks for a payment (section 4). Once the error's Effect is EffectUnknown the
// gateway may have made it: ask with GetPayStatus before another one is made.
func (c *Client) Apply(ctx context.Context, request ApplyRequest) (ApplyAnswer, error) {
	if err := request.validate(); err != nil {
		return ApplyAnswer{}, invalid(OperationApply, err)
	}
	x, err := c.call(ctx, OperationApply, c.applyBody(request))
	if err != nil {
		return ApplyAnswer{}, err
	}
	var f applyFields
	if err := x.only(&f); err != nil {
		return ApplyAnswer{}, x.unclear(err)
	}
	if f.BillCode == "" {
		x.errorCode = string(f.ErrorCode)
		return ApplyAnswer{}, x.unclear(errors.New("the answer has no billCode"))
	}
	return f.answer(), nil
}

// PayStatus is the gateway's word on one payment (section 5).
type PayStatus struct {
	TradeUUID        string
	BillCode         string
	PaymentRequestID string
	OrderCode        string
	Status           Status
	PayTime          time.Time // UTC; zero if missing or unreadable
	Currency         string
	ErrorCode        string

	// Amount is not in the document: it is empty unless the gateway repeats it all the same.
	Amount string
}

// StatusAnswer is what the gateway told about the payments that were asked after.
type StatusAnswer struct {
	Rows []PayStatus
	// Empty says that the gateway certainly answered that it has nothing. A payment that is
	// missing among Rows proves nothing: the document's example answers two lists with one
	// object. Ask for that one alone.
	Empty bool
}

// Find returns the row of one payment: the one with this tradeUuid, of several the one that
// has the billCode too, or else the one with this billCode that names no other tradeUuid. Where
// several rows disagree, one that says paid counts.
func (a StatusAnswer) Find(tradeUUID, billCode string) (PayStatus, bool) {
	same := func(a, b string) bool { return a != "" && a == b }
	for _, matches := range []func(PayStatus) bool{
		func(p PayStatus) bool { return same(p.TradeUUID, tradeUUID) && same(p.BillCode, billCode) },
		func(p PayStatus) bool { return same(p.TradeUUID, tradeUUID) },
		func(p PayStatus) bool {
			return same(p.BillCode, billCode) && (p.TradeUUID == "" || tradeUUID == "")
		},
	} {
		rows := slices.DeleteFunc(slices.Clone(a.Rows), func(p PayStatus) bool { return !matches(p) })
		if i := slices.IndexFunc(rows, func(p PayStatus) bool { return p.Status.Code == StatusSuccess }); i > 0 {
			return rows[i], true
		}
		if len(rows) > 0 {
			return rows[0], true
		}
	}
	return PayStatus{}, false
}

// GetPayStatus asks after payments by tradeUuid, by billCode or by both (section 5). At
// least one must be given; empty ones are left out.
func (c *Client) GetPayStatus(ctx context.Context, tradeUUIDs, billCodes []string) (StatusAnswer, error) {
	tradeUUIDs, billCodes = nonEmpty(tradeUUIDs), nonEmpty(billCodes)
	if err := validateKeys(tradeUUIDs, billCodes); err != nil {
		return StatusAnswer{}, invalid(OperationGetPayStatus, err)
	}
	x, err := c.call(ctx, OperationGetPayStatus, c.getPayStatusBody(tradeUUIDs, billCodes))
	if err != nil {
		return StatusAnswer{}, err
	}
	if len(x.rows) == 0 && !x.empty {
		return StatusAnswer{}, x.unclear(errNoRow)
	}
	a := StatusAnswer{Empty: x.empty}
	for _, row := range x.rows {
		var f payStatusFields
		if err := json.Unmarshal(row, &f); err != nil {
			return StatusAnswer{}, x.unclear(err)
		}
		a.Rows = append(a.Rows, f.status(c.location))
	}
	return a, nil
}

// CancelAnswer is what has become of a request to cancel (section 6).
type CancelAnswer struct {
	Status     CancelStatus // Raw is never empty
	CancelTime time.Time    // UTC; zero if missing or unreadable
	ErrorCode  string
}

// Cancel asks the gateway to cancel a payment by tradeUuid, by billCode or by both, at
// least one (section 6). No error means that the gateway answered, not that the payment is
// cancelled: see CancelAnswer.Status.
func (c *Client) Cancel(ctx context.Context, tradeUUID, billCode string) (CancelAnswer, error) {
	if err := validateKeys(nonEmpty([]string{tradeUUID}), nonEmpty([]string{billCode})); err != nil {
		return CancelAnswer{}, invalid(OperationCancel, err)
	}
	x, err := c.call(ctx, OperationCancel, c.cancelBody(tradeUUID, billCode))
	if err != nil {
		return CancelAnswer{}, err
	}
	var f cancelFields
	if err := x.only(&f); err != nil {
		return CancelAnswer{}, x.unclear(err)
	}
	if differ(string(f.TradeUUID), tradeUUID) || differ(string(f.BillCode), billCode) {
		return CancelAnswer{}, x.unclear(errors.New("the answer is about another payment"))
	}
	if f.Status == "" {
		x.errorCode = string(f.ErrorCode)
		return CancelAnswer{}, x.unclear(errors.New("the answer has no status"))
	}
	return f.answer(c.location), nil
}

func differ(echoed, asked string) bool { return echoed != "" && asked != "" && echoed != asked }

func invalid(operation string, err error) error {
	return &Error{Operation: operation, Kind: KindInvalid, Err: err}
}

func nonEmpty(values []string) []string {
	return slices.DeleteFunc(slices.Clone(values), func(v string) bool { return v == "" })
}

func validateKeys(tradeUUIDs, billCodes []string) error {
	if len(tradeUUIDs)+len(billCodes) == 0 {
		return errors.New("neither a tradeUuid nor a billCode is given")
	}
	return readable(
		named{"tradeUuid", strings.Join(tradeUUIDs, "")},
		named{"billCode", strings.Join(billCodes, "")})
}

// only decodes the single row that the answer to a request about one payment has.
func (x *exchange) only(fields any) error {
	switch len(x.rows) {
	case 0:
		return errNoRow
	case 1:
		return json.Unmarshal(x.rows[0], fields)
	default:
		return errManyRows
	}
}
