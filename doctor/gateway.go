package doctor

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/qlink"
)

// gateway tries how one account's gateway wants to be called.
type gateway struct {
	account Account
	config  qlink.Config // as configured, then as it works
	witness *witness
	newID   func() string
	lost    error // why there was no answer at all
}

// asker is all of the protocol that the doctor may use: neither makes a bill.
type asker interface {
	GetPayStatus(ctx context.Context, tradeUUIDs, billCodes []string) (qlink.StatusAnswer, error)
	QueryPayAccount(ctx context.Context) ([]qlink.PayMethod, error)
}

// client returns a client for a variation of the configuration.
func (g *gateway) client(vary ...func(*qlink.Config)) (asker, error) {
	config := g.config
	for _, v := range vary {
		v(&config)
	}
	return qlink.NewClient(config)
}

func content(m qlink.ContentMode) func(*qlink.Config) {
	return func(c *qlink.Config) { c.Content = m }
}

func escape(e qlink.BodyEscape) func(*qlink.Config) {
	return func(c *qlink.Config) { c.Escape = e }
}

func secret(s string) func(*qlink.Config) {
	return func(c *qlink.Config) { c.AppSecret = s }
}

func field(f qlink.AccountField) func(*qlink.Config) {
	return func(c *qlink.Config) { c.AccountField = f }
}

// trial is how one harmless call ended; err is nil where the gateway answered
// as asked.
type trial struct{ err *qlink.Error }

func trialOf(err error) trial {
	if err == nil {
		return trial{}
	}
	if e, ok := errors.AsType[*qlink.Error](err); ok {
		return trial{e}
	}
	return trial{&qlink.Error{Err: err}}
}

// ask asks after a payment that does not exist: the one call whose answer
// depends on nothing but how it is signed.
func (g *gateway) ask(ctx context.Context, vary ...func(*qlink.Config)) trial {
	return g.askAfter(ctx, []string{g.newID()}, vary...)
}

func (g *gateway) askAfter(ctx context.Context, ids []string, vary ...func(*qlink.Config)) trial {
	client, err := g.client(vary...)
	if err == nil {
		_, err = client.GetPayStatus(ctx, ids, nil)
	}
	return trialOf(err)
}

// accepted reports whether the signature was. No list of the gateway's refusals
// is published: one that also meets a made-up secret may be about the
// signature, whatever it says.
func (t trial) accepted(control trial) bool {
	switch {
	case t.err == nil:
		return true
	case t.err.Kind != qlink.KindRefused:
		return false
	}
	return control.err == nil || control.err.Kind != t.err.Kind ||
		control.err.Message != t.err.Message || control.err.ErrorCode != t.err.ErrorCode
}

// words is what the gateway said, for people.
func (t trial) words() string {
	switch {
	case t.err == nil:
		return "answered"
	case t.err.Message != "" || t.err.ErrorCode != "":
		words := quoted(t.err.Message)
		if t.err.ErrorCode != "" {
			words = quoted(t.err.ErrorCode + ": " + t.err.Message)
		}
		return "said " + strconv.Quote(words)
	case t.err.HTTPStatus != 0 && t.err.HTTPStatus/100 != 2:
		return fmt.Sprintf("answered HTTP %d", t.err.HTTPStatus)
	case t.err.Err != nil:
		return "gave no usable answer (" + quoted(t.err.Err.Error()) + ")"
	}
	return "gave no usable answer"
}

// examine runs the checks of the gateway, each upon what the one before found
// to work. It returns the gateway's list of ways to pay, where it could be had.
func (g *gateway) examine(ctx context.Context, say say) (methods []qlink.PayMethod, listed bool) {
	first := g.ask(ctx)
	if !g.examineReach(first, say) {
		for _, c := range []Check{CheckCredentials, CheckSignature, CheckEscape, CheckAccountField} {
			say(c, Skipped, "not tried: the gateway gave no answer of its own", "")
		}
		return nil, false
	}
	if g.examineSigning(ctx, first, say) {
		g.examineEscape(ctx, say)
	}
	return g.examineField(ctx, say)
}

// examineReach tells whether it is a gateway that answers at the endpoint.
func (g *gateway) examineReach(t trial, say say) bool {
	at := bill.ShownURL(g.config.Endpoint)
	switch {
	case t.err == nil:
	case t.err.HTTPStatus == 0:
		g.lost = t.err
		say(CheckGateway, Failed, "the gateway at "+at+" cannot be reached: "+quoted(reason(t.err)),
			"Check endpoint (or environment), this machine's name resolution, firewall and proxy, and whether QLink has to be told this machine's address.")
		return false
	case t.err.HTTPStatus/100 == 3 || t.err.HTTPStatus == http.StatusNotFound || t.err.HTTPStatus == http.StatusMethodNotAllowed:
		say(CheckGateway, Failed, fmt.Sprintf("something answers at %s, but the gateway's operations are not there: HTTP %d", at, t.err.HTTPStatus),
			"Check endpoint: it is what the document calls the base URL, and ends with its path, such as "+qlink.EndpointTest+".")
		return false
	case t.err.Kind == qlink.KindUnclear && t.err.HTTPStatus/100 == 2:
		say(CheckGateway, Failed, "something answers at "+at+", but not as the gateway does: it "+t.words(),
			"Check endpoint: a proxy, a login page or another server may be in between.")
		return false
	case t.err.Kind == qlink.KindUnclear:
		say(CheckGateway, Failed, "the gateway at "+at+" cannot serve now: it "+t.words(),
			"Try again later; if it lasts, ask QLink. Bills that are open are asked after again by themselves.")
		return false
	}
	say(CheckGateway, OK, "the gateway answers at "+at, "")
	return true
}

// reason is why a call got no answer, without what the error's frame repeats.
func reason(e *qlink.Error) string {
	switch {
	case errors.Is(e, context.DeadlineExceeded):
		return "no answer in time"
	case e.Err != nil:
		return e.Err.Error()
	}
	return e.Error()
}

// examineSigning finds out which secret and which content mode the gateway
// takes, goes on with those, and reports whether there are any.
func (g *gateway) examineSigning(ctx context.Context, first trial, say say) bool {
	control := g.ask(ctx, secret("made-up "+rand.Text()))
	if first.err == nil && control.err == nil {
		const finding = "cannot be told: the gateway also answers a call that is signed with a made-up secret"
		say(CheckCredentials, Warning, finding, "Ask QLink whether it checks signatures at all; make one small payment to see whether /apply does.")
		say(CheckSignature, Skipped, finding, "")
		say(CheckEscape, Skipped, finding, "")
		return false
	}
	configured := sent(g.config.Content)
	other := qlink.ContentObject
	if configured == qlink.ContentObject {
		other = qlink.ContentString
	}
	switch {
	case first.accepted(control):
		say(CheckCredentials, OK, "the gateway knows app_key "+strconv.Quote(g.config.AppKey)+" and accepts the first app_secret", "")
		say(CheckSignature, OK, "the gateway accepts content as "+string(configured), "")
		return true
	case g.ask(ctx, content(other)).accepted(control):
		say(CheckCredentials, OK, "the gateway knows app_key "+strconv.Quote(g.config.AppKey)+" and accepts the first app_secret", "")
		say(CheckSignature, Failed, fmt.Sprintf("the gateway accepts content as %s, but signature_content is %s: every call is refused", other, g.account.Gateway.Content),
			"Set signature_content "+string(other)+".")
		g.config.Content = other
		return true
	}
	return g.examinePrevious(ctx, first, control, say)
}

// sent is the mode that requests are signed in.
func sent(m qlink.ContentMode) qlink.ContentMode {
	if m == qlink.ContentObject {
		return m
	}
	return qlink.ContentString
}

// examinePrevious looks for a secret that is configured, but not first.
func (g *gateway) examinePrevious(ctx context.Context, first, control trial, say say) bool {
	for i, previous := range g.account.Previous {
		for _, mode := range []qlink.ContentMode{qlink.ContentString, qlink.ContentObject} {
			if !g.ask(ctx, secret(previous), content(mode)).accepted(control) {
				continue
			}
			say(CheckCredentials, Failed, fmt.Sprintf("the gateway accepts number %d of the app secrets, not the first, which signs: every call is refused", i+2),
				"Put that secret first, and the new one behind it, until QLink has changed over.")
			if mode == sent(g.config.Content) {
				say(CheckSignature, OK, "the gateway accepts content as "+string(mode), "")
			} else {
				say(CheckSignature, Failed, fmt.Sprintf("the gateway accepts content as %s, but signature_content is %s", mode, g.account.Gateway.Content),
					"Set signature_content "+string(mode)+".")
			}
			g.config.AppSecret, g.config.Content = previous, mode
			return true
		}
	}
	say(CheckCredentials, Failed, "the gateway accepts app_key "+strconv.Quote(g.config.AppKey)+" with none of the app secrets, whichever way the content is signed: it "+first.words(),
		"Compare app_key and app_secret with what QLink gave you for this endpoint: test and production have their own.")
	for _, c := range []Check{CheckSignature, CheckEscape} {
		say(c, Skipped, "cannot be told: no signature is accepted", "")
	}
	return false
}

// special holds what JSON libraries escape differently and shops really send in
// names and links; < > and ' are left out, which a firewall could take for an
// attack.
const special = "doctor/é中文\u00a0&="

// examineEscape finds out how special characters have to be written.
func (g *gateway) examineEscape(ctx context.Context, say say) {
	configured, other := g.config.Escape, qlink.EscapeNone
	if configured == qlink.EscapeNone {
		other = qlink.EscapeASCII
	}
	ids := []string{g.newID(), special}
	control := g.askAfter(ctx, ids, secret("made-up "+rand.Text()))
	t := g.askAfter(ctx, ids)
	switch {
	case t.accepted(control):
		say(CheckEscape, OK, "the gateway accepts signed bodies with special characters, written as body_escape "+string(configured)+" does", "")
	case t.err.Kind == qlink.KindUnclear || t.err.Kind == qlink.KindNotSent:
		say(CheckEscape, Warning, "cannot be told: asked with special characters in the body, the gateway "+t.words(),
			"Run the doctor again; if it stays so, something before the gateway may refuse such bodies: ask QLink.")
	case g.askAfter(ctx, ids, escape(other)).accepted(control):
		say(CheckEscape, Failed, fmt.Sprintf("bodies with special characters are refused as body_escape %s writes them, and accepted as %s does", configured, other),
			"Set body_escape "+string(other)+".")
		g.config.Escape = other
	default:
		say(CheckEscape, Failed, "bodies with special characters are refused in both ways of writing them: the gateway "+t.words(),
			"Ask QLink over which text it checks the signature of a body with characters such as é / & =. Until then keep such characters out of orders.")
	}
}

// examineField finds out under which name the account is sent. It returns the
// gateway's list of ways to pay, where it could be had.
func (g *gateway) examineField(ctx context.Context, say say) (methods []qlink.PayMethod, listed bool) {
	configured := g.config.AccountField
	methods, first := g.list(ctx, configured)
	switch {
	case first.err == nil:
		say(CheckAccountField, OK, "the gateway knows pay_account, sent as "+string(configured), "")
		return methods, true
	case first.err.Kind == qlink.KindAuth:
		say(CheckAccountField, Skipped, "not tried: no signature is accepted", "")
		return nil, false
	case first.err.Kind != qlink.KindRefused:
		say(CheckAccountField, Warning, "cannot be told: asked for the account's ways to pay, the gateway "+first.words(),
			"Run the doctor again; if it stays so, ask QLink whether the account is set up.")
		return nil, false
	}
	fields := []qlink.AccountField{qlink.AccountFieldPayAccount, qlink.AccountFieldGlinkAccount, qlink.AccountFieldBoth}
	for _, f := range slices.DeleteFunc(fields, func(f qlink.AccountField) bool { return f == configured }) {
		if methods, t := g.list(ctx, f); t.err == nil {
			say(CheckAccountField, Failed, fmt.Sprintf("the gateway knows pay_account when it is sent as %s, but account_field is %s: it %s", f, configured, first.words()),
				"Set account_field "+string(f)+".")
			return methods, true
		}
	}
	say(CheckAccountField, Failed, "the gateway does not know pay_account, whichever name it is sent under: it "+first.words(),
		"Compare pay_account with what QLink gave you for this app_key.")
	return nil, false
}

func (g *gateway) list(ctx context.Context, f qlink.AccountField) ([]qlink.PayMethod, trial) {
	client, err := g.client(field(f))
	if err != nil {
		return nil, trialOf(err)
	}
	methods, err := client.QueryPayAccount(ctx)
	return methods, trialOf(err)
}
