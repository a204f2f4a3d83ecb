package bill

import (
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// AppendView appends to dst the JSON of b's View, which it does not make: the
// answer that is asked for most costs one allocation like this. Text that is not
// UTF-8 is mended, as what the gateway once sent must not make a bill
// unreadable.
func (b *Bill) AppendView(dst []byte, payURL string) []byte {
	o := members(append(dst, '{'))
	o.text("id", b.ID)
	o.text("account", b.Account)
	o.text("shop", b.Shop)
	o.flag("livemode", b.LiveMode)
	o.text("orderCode", b.OrderCode)
	o.number("attempt", int64(b.Attempt))
	o.text("status", string(b.Status))
	o.flag("final", b.Status.Final())
	o.text("amount", string(b.Amount))
	o.text("currency", string(b.Currency))
	o.text("country", b.Country)
	o.text("payTypeCode", b.PayType)
	o.text("payChannelCode", b.PayChannel)
	o.text("billCode", b.BillCode)
	o.text("paymentRequestId", b.PaymentRequestID)
	o.action("action", b.Action.view())
	o.text("errorCode", b.ErrorCode)
	o.time("createdAt", b.CreatedAt)
	o.time("updatedAt", b.UpdatedAt)
	o.time("expiresAt", b.ExpiresAt)
	o.time("payTime", b.PayTime)
	o.flag("cancelRequested", b.Cancel.Requested)
	o.flag("latePayment", b.LatePayment)
	o.flag("refundDue", b.RefundDue)
	o.text("settledBy", string(b.SettledBy))
	o.text("payUrl", payURL)
	o.name("version")
	o = strconv.AppendUint(o, b.Version, 10)
	return append(o, '}')
}

// members are those of a JSON object that is being written.
type members []byte

// name begins a member. Its name needs no escape.
func (o *members) name(name string) {
	if last := (*o)[len(*o)-1]; last != '{' {
		*o = append(*o, ',')
	}
	*o = append(*o, '"')
	*o = append(*o, name...)
	*o = append(*o, '"', ':')
}

func (o *members) text(name, value string) {
	o.name(name)
	*o, _ = jsontext.AppendQuote(*o, value) // the error is about what it has mended
}

func (o *members) flag(name string, value bool) {
	o.name(name)
	*o = strconv.AppendBool(*o, value)
}

func (o *members) number(name string, value int64) {
	o.name(name)
	*o = strconv.AppendInt(*o, value, 10)
}

// time writes what Timestamp returns.
func (o *members) time(name string, value time.Time) {
	o.name(name)
	*o = append(*o, '"')
	*o = appendTimestamp(*o, value)
	*o = append(*o, '"')
}

func (o *members) action(name string, value ActionView) {
	o.name(name)
	*o = append(*o, '{')
	o.text("kind", string(value.Kind))
	o.text("value", value.Value)
	*o = append(*o, '}')
}
