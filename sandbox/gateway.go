package sandbox

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"math/big"
	"mime"
	"net/http"
	"slices"
	"strings"
	"time"
)

// The gateway's operations (document, sections 3 to 6).
const (
	opQuery  = "queryPayAccount"
	opApply  = "apply"
	opStatus = "getPayStatus"
	opCancel = "cancel"
)

var operations = []string{opQuery, opApply, opStatus, opCancel}

const (
	maxBody = 1 << 20
	// accepted is the verdict of a call that was neither refused nor lost.
	accepted = "accepted"
	// earlyWait is how long an answer waits for the webhook that goes first.
	earlyWait = 5 * time.Second
)

// incoming is a call as it was received.
type incoming struct {
	operation string
	header    http.Header
	body      []byte
	base      string // URL of the prefix, as the caller sees it
}

// serveGateway answers one call of a merchant.
func (s *Sandbox) serveGateway(w http.ResponseWriter, r *http.Request) {
	led, release, err := s.held.lease()
	if err != nil {
		refused(&refusal{status: http.StatusServiceUnavailable, code: "LEDGER_UNAVAILABLE", message: err.Error()}).write(w)
		return
	}
	defer release()
	in, no := s.receive(w, r)
	if no != nil {
		refused(no).write(w)
		return
	}
	var out outcome
	if err := led.commit(func(t *tx) error {
		out = s.decide(t, in)
		return nil
	}); err != nil {
		refused(&refusal{status: http.StatusServiceUnavailable, code: "LEDGER_UNAVAILABLE", message: err.Error()}).write(w)
		return
	}
	out.send(w, r, led)
}

// receive reads a request as far as it has the form of a call at all. What has
// not is refused, and is no call for the ledger.
func (s *Sandbox) receive(w http.ResponseWriter, r *http.Request) (*incoming, *refusal) {
	operation := r.PathValue("operation")
	if !slices.Contains(operations, operation) {
		return nil, &refusal{status: http.StatusNotFound, code: "UNKNOWN_OPERATION",
			message: fmt.Sprintf("no operation %q: there are %s", operation, strings.Join(operations, ", "))}
	}
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		return nil, &refusal{status: http.StatusMethodNotAllowed, code: "METHOD_NOT_ALLOWED", message: "operations are called with POST"}
	}
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return nil, &refusal{status: http.StatusUnsupportedMediaType, code: "UNSUPPORTED_MEDIA_TYPE",
			message: "Content-Type must be application/json"}
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
			return nil, &refusal{status: http.StatusRequestEntityTooLarge, code: "BODY_TOO_LARGE", message: "the body is over 1 MiB"}
		}
		return nil, &refusal{status: http.StatusBadRequest, code: "BODY_INCOMPLETE", message: "the body did not arrive whole"}
	}
	return &incoming{operation: operation, header: r.Header, body: body, base: s.base(r)}, nil
}

// base is the URL of the prefix as the caller, or the operator, has it.
func (s *Sandbox) base(r *http.Request) string {
	if s.conf.publicURL != "" {
		return s.conf.publicURL + s.conf.prefix
	}
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	return scheme + "://" + r.Host + s.conf.prefix
}

// exchange is a call being decided on.
type exchange struct {
	*Sandbox
	tx    *tx
	in    *incoming
	app   *app
	p     params
	call  *Call
	fault Fault
	rules Settings
	// about are the existing payments that the call names.
	about []*Payment
}

// decide does what a call asks for and puts it into the entry.
func (s *Sandbox) decide(t *tx, in *incoming) outcome {
	x := &exchange{Sandbox: s, tx: t, in: in, rules: s.rules(t.settings)}
	x.call = &Call{
		Seq: t.entry.Seq, Time: t.now, Operation: in.operation,
		AppKey: valid(in.header.Get("appKey")), Sign: valid(in.header.Get("sign")), Body: valid(string(in.body)),
	}
	out := x.run()
	x.call.HTTPStatus, x.call.Answer, x.call.Cut = out.status, valid(string(out.body)), out.cut
	t.entry.Call = x.call
	return out
}

// valid makes text fit for JSON.
func valid(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

func (x *exchange) run() outcome {
	merchant, no := x.judge(x.in.header, x.in.body, x.tx.callWithSign)
	if no != nil {
		return x.refuse(no)
	}
	x.app = merchant
	p, err := parseParams(x.in.body)
	if err != nil {
		return x.refuse(&refusal{code: "INVALID_JSON", message: "the body is no JSON object: " + err.Error()})
	}
	x.p = p
	x.identify()
	x.call.Verdict = accepted
	if x.fault = x.tx.takeFault(x.in.operation, x.call.OrderCodes); x.fault.Fault == "" {
		x.fault = x.tx.magicFault(x.in.operation, x.call.OrderCodes)
	}
	x.call.Fault = string(x.fault.Fault)
	return x.perform()
}

// refuse answers success:false and says so in the ledger.
func (x *exchange) refuse(r *refusal) outcome {
	x.call.Verdict = r.code + ": " + valid(r.message)
	return refused(r)
}

// perform runs the operation, unless a fault keeps it from taking effect, and
// lets the fault at the answer.
func (x *exchange) perform() outcome {
	if x.fault.undone() {
		return x.leaveUndone()
	}
	if x.fault.Fault == FaultForget && x.in.operation != opApply {
		x.forget()
	}
	payload, no := x.operate()
	if no != nil {
		return spoil(x.fault, x.refuse(no))
	}
	envelope := x.rules.Envelope
	if x.fault.Fault == FaultEnvelope {
		envelope = x.fault.Envelope
	}
	payload = bend(x.fault, payload)
	if rows, ok := payload.([]statusRow); ok {
		payload = shaped(x.rules.StatusAnswer, rows)
	}
	out := spoil(x.fault, succeeded(envelope, payload))
	if x.fault.Fault == FaultEarlyWebhook && x.tx.entry.Payment != nil {
		out.await = x.tx.entry.Payment.BillCode
	}
	return out
}

func (x *exchange) leaveUndone() outcome {
	x.call.Verdict = "not done: " + string(x.fault.Fault)
	switch x.fault.Fault {
	case FaultDropRequest:
		return outcome{cut: "request"}
	case FaultRefuse:
		r := &refusal{status: x.fault.Status, code: x.fault.ErrorCode, message: x.fault.Message}
		if r.message == "" {
			r.message = "refused by a fault"
		}
		return x.refuse(r)
	default:
		return spoil(x.fault, outcome{})
	}
}

// identify finds what the call is about, mistakes aside: those are the
// operation's to name.
func (x *exchange) identify() {
	quiet := params{fields: x.p.fields, problems: new([]string)}
	trades := append(quiet.texts("tradeUuidList"), quiet.text("tradeUuid"))
	bills := append(quiet.texts("billCodeList"), quiet.text("billCode"))
	for _, id := range trades {
		x.mention(x.tx.byTrade[tradeKey{x.app.key, id}])
	}
	for _, id := range bills {
		if p := x.tx.byBill[id]; p != nil && p.AppKey == x.app.key {
			x.mention(p)
		}
	}
	if order := quiet.text("orderCode"); order != "" && !slices.Contains(x.call.OrderCodes, order) {
		x.call.OrderCodes = append(x.call.OrderCodes, order)
	}
}

func (x *exchange) mention(p *Payment) {
	if p == nil || slices.Contains(x.about, p) {
		return
	}
	x.about = append(x.about, p)
	x.call.BillCodes = append(x.call.BillCodes, p.BillCode)
	if !slices.Contains(x.call.OrderCodes, p.OrderCode) {
		x.call.OrderCodes = append(x.call.OrderCodes, p.OrderCode)
	}
}

// forget loses the payments the call is about.
func (x *exchange) forget() {
	for _, p := range x.about {
		x.tx.entry.Forget = append(x.tx.entry.Forget, p.BillCode)
	}
	x.about = nil
}

func (x *exchange) operate() (any, *refusal) {
	switch x.in.operation {
	case opQuery:
		return x.queryPayAccount()
	case opApply:
		return x.apply()
	case opStatus:
		return x.getPayStatus()
	default:
		return x.cancel()
	}
}

// payAccount reads the account, under the name of the document's table or that
// of its example.
func (x *exchange) payAccount() string {
	name := "payAccount"
	if !x.p.given(name) && x.p.given("glinkAccount") {
		name = "glinkAccount"
	}
	account := x.p.required(name)
	if account != "" && len(x.conf.accounts) > 0 && !slices.Contains(x.conf.accounts, account) {
		x.p.complain(name, "%q is not known here", account)
	}
	return account
}

// queryPayAccount lists what can be paid with (document, section 3).
func (x *exchange) queryPayAccount() (any, *refusal) {
	x.payAccount()
	if no := x.p.refusal(); no != nil {
		return nil, no
	}
	return x.offered(), nil
}

// apply makes a payment (document, section 4).
func (x *exchange) apply() (any, *refusal) {
	wanted := x.wanted()
	if no := x.p.refusal(); no != nil {
		return nil, no
	}
	if known := x.tx.byTrade[tradeKey{x.app.key, wanted.TradeUUID}]; known != nil {
		return x.repeated(known, wanted)
	}
	wanted.BillCode, wanted.PaymentRequestID = "SB"+rand.Text()[:18], "pr-"+rand.Text()
	wanted.Status, wanted.CreatedAt, wanted.UpdatedAt = StatusWait, x.tx.now, x.tx.now
	if x.fault.Fault != FaultNoAction {
		wanted.ActionValue = x.actionValue(wanted)
	}
	x.call.BillCodes = append(x.call.BillCodes, wanted.BillCode)
	if x.fault.Fault != FaultForget {
		x.tx.entry.Payment = wanted
		x.tx.entry.Plans = x.plans(wanted, x.tx.now)
	}
	if x.fault.Fault == FaultEarlyWebhook {
		c := x.change(wanted, StatusSuccess, x.tx.now)
		c.By = "magic"
		x.tx.entry.Change = &c
		x.tx.queue(x.notice(wanted, c))
	}
	return applied(wanted), nil
}

func applied(p *Payment) applyRow {
	return applyRow{BillCode: p.BillCode, PaymentRequestID: p.PaymentRequestID, ActionValue: p.ActionValue}
}

// wanted reads apply's parameters.
func (x *exchange) wanted() *Payment {
	p := x.p
	w := &Payment{
		AppKey: x.app.key, PayAccount: x.payAccount(),
		PayTypeCode: p.required("payTypeCode"), PayChannelCode: p.required("payChannelCode"),
		TradeUUID: p.required("tradeUuid"), TradeTime: p.required("tradeTime"), OrderCode: p.required("orderCode"),
		Country: p.required("country"), Currency: p.required("currency"), Amount: p.required("amount"),
		Description: p.text("description"),
	}
	p.text("metadata")
	p.items()
	if _, err := time.ParseInLocation(timeForm, w.TradeTime, x.conf.zone); w.TradeTime != "" && err != nil {
		p.complain("tradeTime", "must look like 2025-08-04 13:45:21")
	}
	if w.Country != "" && !twoLetters.MatchString(w.Country) {
		p.complain("country", "must be two capital letters")
	}
	if w.Currency != "" && !threeLetters.MatchString(w.Currency) {
		p.complain("currency", "must be three capital letters")
	}
	if problem := amountProblem(w.Amount, w.Currency); w.Amount != "" && problem != "" {
		p.complain("amount", "%s", problem)
	}
	if w.PayTypeCode != "" && !taken(x.conf.types, w.PayTypeCode) {
		p.complain("payTypeCode", "%q is not offered", w.PayTypeCode)
	}
	if w.PayChannelCode != "" && !taken(x.conf.channels, w.PayChannelCode) {
		p.complain("payChannelCode", "%q is not offered", w.PayChannelCode)
	}
	return w
}

// repeated answers an apply whose tradeUuid is known. Whatever the rule, other
// content under the same tradeUuid is a mistake.
func (x *exchange) repeated(known, wanted *Payment) (any, *refusal) {
	if x.rules.Repeat == "refuse" {
		return nil, &refusal{code: "DUPLICATE_TRADE_UUID", message: "tradeUuid was used before: it must be unique under an appKey"}
	}
	content := func(p *Payment) [7]string {
		return [...]string{p.PayAccount, p.PayTypeCode, p.PayChannelCode, p.OrderCode, p.Country, p.Currency, p.Amount}
	}
	if content(known) != content(wanted) {
		return nil, &refusal{code: "DUPLICATE_TRADE_UUID", message: "tradeUuid was used before, with other content"}
	}
	return applied(known), nil
}

// getPayStatus tells how payments stand (document, section 5). What it does
// not know is not in the answer.
func (x *exchange) getPayStatus() (any, *refusal) {
	if len(x.p.texts("tradeUuidList"))+len(x.p.texts("billCodeList")) == 0 {
		x.p.complain("tradeUuidList", "or billCodeList must be given")
	}
	if no := x.p.refusal(); no != nil {
		return nil, no
	}
	rows := []statusRow{}
	for _, p := range x.about {
		rows = append(rows, statusRow{
			TradeUUID: p.TradeUUID, BillCode: p.BillCode, PaymentRequestID: p.PaymentRequestID, OrderCode: p.OrderCode,
			Status: string(p.Status), PayTime: p.PayTime, Currency: p.Currency, ErrorCode: p.ErrorCode,
		})
	}
	return rows, nil
}

// shaped gives rows the form that status_answer asks for.
func shaped(form string, rows []statusRow) any {
	switch {
	case form == "array":
		return rows
	case len(rows) == 0:
		return nil
	case form == "object" || len(rows) == 1:
		return rows[0]
	}
	return rows
}

// cancel cancels a payment that is open (document, section 6). Its statuses are
// a list of their own: SUCCESS is cancelled, FAIL is not.
func (x *exchange) cancel() (any, *refusal) {
	if x.p.text("tradeUuid")+x.p.text("billCode") == "" {
		x.p.complain("tradeUuid", "or billCode must be given")
	}
	if no := x.p.refusal(); no != nil {
		return nil, no
	}
	switch {
	case len(x.about) == 0:
		return nil, &refusal{code: "PAYMENT_NOT_FOUND", message: "no such payment under this appKey"}
	case len(x.about) > 1:
		return nil, &refusal{code: "INVALID_PARAMETER", message: "tradeUuid and billCode are of different payments"}
	}
	row, cancels := x.cancelAnswer(x.about[0])
	if cancels {
		row.CancelTime = x.clock(x.tx.now)
		if x.about[0].open() {
			c := x.change(x.about[0], StatusCanceled, x.tx.now)
			c.By = "cancel"
			x.tx.entry.Change = &c
		}
	}
	return row, nil
}

// cancelAnswer is the word on a cancel, and whether it means cancelled.
func (x *exchange) cancelAnswer(p *Payment) (cancelRow, bool) {
	if f := x.fault; f.Fault == FaultCancelAnswer {
		cancels := f.Answer == "SUCCESS" || strings.HasPrefix(f.Answer, "CANCEL")
		if f.Cancels != nil {
			cancels = *f.Cancels
		}
		return cancelRow{Status: f.Answer, ErrorCode: f.ErrorCode}, cancels
	}
	switch p.Status {
	case StatusWait, StatusCanceled:
		return cancelRow{Status: "SUCCESS"}, true
	case StatusSuccess:
		return cancelRow{Status: "FAIL", ErrorCode: "ALREADY_PAID"}, false
	default:
		return cancelRow{Status: "FAIL", ErrorCode: "ALREADY_ENDED"}, false
	}
}

// send writes the outcome, in the way its fault asks for.
func (o outcome) send(w http.ResponseWriter, r *http.Request, led *ledger) {
	if o.await != "" {
		led.awaitSettled(r, o.await, earlyWait)
	}
	if o.delay > 0 && !pause(r, time.Duration(o.delay)) {
		return
	}
	switch o.cut {
	case "":
		o.write(w)
	case "half":
		w.Header().Set("Content-Length", fmt.Sprint(len(o.body)))
		half := o
		half.body = o.body[:len(o.body)/2]
		half.write(w)
		_ = http.NewResponseController(w).Flush()
		fallthrough
	default:
		// The one way to end a connection without an answer that every version
		// of HTTP has.
		panic(http.ErrAbortHandler)
	}
}

func (o outcome) write(w http.ResponseWriter) {
	w.Header().Set("Content-Type", o.contentType)
	w.WriteHeader(o.status)
	_, _ = w.Write(o.body) // the caller's hanging up is no concern here
}

// pause waits, and reports whether the caller is still there.
func pause(r *http.Request, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-r.Context().Done():
		return false
	}
}

// awaitSettled waits until nothing of a payment is on its way any more, for so
// long at most.
func (l *ledger) awaitSettled(r *http.Request, id string, most time.Duration) {
	timer := time.NewTimer(most)
	defer timer.Stop()
	for {
		record, changed, ok := l.payment(id)
		if !ok || record.settled() {
			return
		}
		select {
		case <-changed:
		case <-timer.C:
			return
		case <-r.Context().Done():
			return
		}
	}
}

// digits is a random number of n digits.
func digits(n int) string {
	most := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(n)), nil)
	v, _ := rand.Int(rand.Reader, most) // never fails: crypto/rand ends the process instead
	return fmt.Sprintf("%0*d", n, v)
}
