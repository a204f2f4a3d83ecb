package page

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/page/content"
)

// returnWithin is how long after a payment its page leads back to the shop by
// itself. Who opens it later wants to see it.
const returnWithin = time.Minute

// returnAfter is how many seconds such a page stays.
const returnAfter = 5

// paymentView is what the template of a payment's page is given. Its fields,
// its methods and those of shell are documented for operators, whose own
// templates use them: docs/buyer-page.md.
type paymentView struct {
	shell
	content.Payment

	State  state
	Class  string
	Title  string
	Detail string
	Money  string

	PayBefore moments // set while the bill is open
	PaidAt    moments
	Left      string // time to pay as m:ss; "": no limit
	Seconds   int    // likewise, of the server's clock
	Refresh   int    // seconds; 0: never
	Again     int    // seconds after which a live page asks again though nothing has happened; 0: it need not
	GoBack    int    // seconds after which the page leads back; 0: it does not

	Action    actionView
	Payee     string // whom a QR code pays, by its own word
	Other     string // amount that a QR code asks for, where it is another
	Damaged   bool   // a QR code does not pass its own check
	MayCheck  bool
	MayCancel bool
	Paid      bool
}

// moments is one time in two forms; the zero value is none.
type moments struct {
	Text    string
	Machine string // RFC 3339
}

func momentsOf(t time.Time) moments {
	if t.IsZero() {
		return moments{}
	}
	return moments{moment(t), t.UTC().Format(time.RFC3339)}
}

func (r *Renderer) paymentView(p content.Payment) *paymentView {
	b, s := p.Bill, stateOf(p)
	v := &paymentView{
		shell: r.in(p.Reader), Payment: p, State: s, Class: s.class(),
		Paid:      b.Status == bill.Success,
		MayCheck:  b.Status != bill.Success && b.Status != bill.Choose,
		MayCancel: !b.Status.Final() && !b.Cancel.Requested,
		PaidAt:    momentsOf(b.PayTime),
	}
	v.Title, v.Detail = v.Say("state."+string(s)+".title"), v.Say("state."+string(s)+".detail")
	v.Money = v.voice.money(b.Amount, b.Currency)
	if !mayReturn(p.ReturnURL) {
		v.ReturnURL = ""
	}
	switch {
	case !b.Status.Final():
		v.Refresh = seconds(p.Refresh)
		v.Again = v.again()
		v.setTime(b, p.Now)
	case v.Paid && v.ReturnURL != "" && p.Now.Sub(b.UpdatedAt) < returnWithin:
		v.GoBack = returnAfter
	}
	if s == stateWaiting {
		r.setAction(v)
	}
	return v
}

// again is when the page will say something else without any change of the
// bill: that it takes too long, or which ways to pay there are.
func (v *paymentView) again() int {
	switch {
	case v.State == stateCreated:
		return seconds(max(v.Bill.UpdatedAt.Add(slowAfter).Sub(v.Now), 0)) + 1
	case v.State == stateChoose && len(v.Ways) == 0:
		return v.Refresh
	}
	return 0
}

func (v *paymentView) setTime(b bill.Bill, now time.Time) {
	if b.ExpiresAt.IsZero() {
		return
	}
	v.PayBefore = momentsOf(b.ExpiresAt)
	v.Seconds = max(seconds(b.ExpiresAt.Sub(now)), 0)
	v.Left = clock(v.Seconds)
}

func (r *Renderer) setAction(v *paymentView) {
	b := v.Bill
	v.Action = r.action(b, v.voice, captionLines(v.voice, v.caption()))
	if v.Action.QR == nil {
		return
	}
	read, err := bill.ParseEMVCo(b.Action.Value)
	v.Damaged = err != nil
	if err == nil {
		v.Payee = strings.Join(filled(read.MerchantName, read.MerchantCity), ", ")
	}
	if other, is := b.OtherAmount(); is {
		v.Other = v.voice.money(other, b.Currency)
	}
}

// caption is the one of the picture that a phone shows in the code's place.
func (v *paymentView) caption() content.Caption {
	return content.Caption{
		Reader: v.Reader, Merchant: v.Merchant, Amount: v.Bill.Amount, Currency: v.Bill.Currency,
		OrderCode: v.Bill.OrderCode, PayBefore: v.Bill.ExpiresAt,
	}
}

func filled(texts ...string) []string {
	var kept []string
	for _, t := range texts {
		if t = strings.TrimSpace(t); t != "" {
			kept = append(kept, t)
		}
	}
	return kept
}

// mayReturn allows what the shop may lead to: an http(s) address or a path.
func mayReturn(address string) bool {
	u, err := url.Parse(address)
	if err != nil || strings.ContainsFunc(address, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		return false
	}
	if u.Scheme == "" && u.Host == "" {
		return strings.HasPrefix(address, "/") && !strings.HasPrefix(address, "//") && !strings.Contains(address, `\`)
	}
	return (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && u.User == nil
}

// clock writes seconds as m:ss, or with hours before.
func clock(s int) string {
	if s < int(time.Hour/time.Second) {
		return fmt.Sprintf("%02d:%02d", s/60, s%60)
	}
	return fmt.Sprintf("%d:%02d:%02d", s/3600, s/60%60, s%60)
}

// seconds rounds up, so that a page never asks more often than it may.
func seconds(d time.Duration) int {
	return int((d + time.Second - 1) / time.Second)
}

// failureView is what the failure template is given.
type failureView struct {
	shell
	content.Failure

	RefreshTo string // content of the meta element; "": none
}

func (r *Renderer) failureView(f content.Failure) *failureView {
	v := &failureView{shell: r.in(f.Reader), Failure: f}
	v.Languages = nil // the address may be one that takes no GET
	if title := "problem." + f.Code + ".title"; v.voice.has(title) {
		v.Title, v.Detail = v.Say(title), v.Say("problem."+f.Code+".detail")
	}
	if !mayReturn(f.ReturnURL) {
		v.ReturnURL = ""
	}
	if f.Refresh > 0 && f.PayURL != "" {
		v.RefreshTo = strconv.Itoa(seconds(f.Refresh)) + "; url=" + f.PayURL
	}
	return v
}

// timed is a phrase whose value is a time.
type timed struct {
	phrase
	moments
}

// Timed returns a text of the catalogue cut at a time.
func (v *paymentView) Timed(id string, t moments) timed { return timed{v.Phrase(id, t.Text), t} }

// Way names a way to pay: in the reader's language where the catalogue knows
// its channel, else as the gateway does.
func (v *paymentView) Way(w content.Way) string {
	if id := channelPrefix + w.PayChannel; v.voice.has(id) {
		return v.Say(id)
	}
	return w.Name
}
