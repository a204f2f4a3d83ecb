package doctor

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/go-json-experiment/json"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/qlink"
)

// examineSite knocks at the webhook's address from outside, as far as this
// machine is outside: without a signature, so that nothing but a refusal can
// come of it.
func (x *examination) examineSite(ctx context.Context, s Site, say say) {
	path := s.Prefix + "/" + qlink.OperationPayNotification
	if s.Base == "" {
		say(CheckWebhookAddress, Skipped, "QLink has to be told https://<your site>"+path+", but nobody has said under which address this site is seen",
			"Set public_url, or name the site: caddy qlink doctor --site https://shop.example.com")
		return
	}
	address := strings.TrimRight(s.Base, "/") + path
	r, err := x.post(ctx, address, nil, []byte("{}"))
	x.judgeAddress(s, address, r, err, say)
	examineCertificate(address, "the site's ("+bill.ShownURL(s.Base)+")", r.sight, err, x.Now(), say)
}

func (x *examination) judgeAddress(s Site, address string, r reply, err error, say say) {
	if err != nil {
		say(CheckWebhookAddress, Failed, "the webhook's address "+bill.ShownURL(address)+" cannot be reached: "+quoted(reasonOf(err)),
			remedyFor(s, "Check the name's DNS, the firewall and the certificate. Where this machine cannot reach its own public address, try from another."))
		return
	}
	if flaw, remedy := strangeAnswer(r); flaw != "" {
		say(CheckWebhookAddress, Failed, fmt.Sprintf("at the webhook's address %s %s: QLink's notifications would not arrive", bill.ShownURL(address), flaw), remedyFor(s, remedy))
		return
	}
	status, tell, remedy := OK, "QLink has to be told "+bill.ShownURL(address)+", where this module answers", ""
	switch {
	case s.LiveMode && outOfReach(address):
		status, tell = Warning, "this module answers at "+bill.ShownURL(address)+", but nobody outside can reach that address"
		remedy = "Set public_url to the address that the world sees, or name it: caddy qlink doctor --site https://shop.example.com"
	case s.LiveMode && plainHTTP(address):
		status, remedy = Warning, "It is plain http, so that buyers' pages can be forged on the way: serve the site over https, and set public_url to that."
	}
	say(CheckWebhookAddress, status, tell, remedy)
}

func remedyFor(s Site, remedy string) string {
	if s.Assumed {
		return remedy + " The address was told from the site's host names: if the world sees another, set public_url, or name it with --site."
	}
	return remedy
}

// strangeAnswer says what is wrong with an answer that is not our own refusal
// of an unsigned notification.
func strangeAnswer(r reply) (flaw, remedy string) {
	if ours(r) {
		return "", ""
	}
	switch {
	case r.status == http.StatusUnauthorized && r.header.Get("WWW-Authenticate") != "":
		return "a login is asked for (HTTP 401)", "Keep basic_auth and the like off the prefix: give them a matcher with `not path` for it."
	case r.status == http.StatusUnauthorized || r.status == http.StatusForbidden || r.status == http.StatusProxyAuthRequired:
		return fmt.Sprintf("something refuses everybody (HTTP %d)", r.status), "Keep forward_auth, firewalls and bot checks off the prefix."
	case r.status/100 == 3:
		return fmt.Sprintf("there is a redirect (HTTP %d)", r.status), "Tell QLink the address that it leads to, and set public_url to that site; keep login pages off the prefix."
	case r.status == http.StatusBadGateway || r.status == http.StatusServiceUnavailable || r.status == http.StatusGatewayTimeout:
		return fmt.Sprintf("a proxy does not get through (HTTP %d)", r.status), "Check the proxy or load balancer in front of this Caddy."
	}
	return fmt.Sprintf("something else answers (HTTP %d)", r.status),
		"Check that the matcher of qlink covers its prefix, that the name leads to this Caddy, and that no proxy in between rewrites the path."
}

// ours recognizes how this module refuses what is not signed, or too often so.
func ours(r reply) bool {
	if r.status != http.StatusUnauthorized && r.status != http.StatusTooManyRequests {
		return false
	}
	var answer struct {
		Success *bool  `json:"success"`
		Message string `json:"message"`
	}
	err := json.Unmarshal(r.body, &answer)
	return err == nil && answer.Success != nil && !*answer.Success && answer.Message != ""
}

// reasonOf is why a call got no answer.
func reasonOf(err error) string {
	if t, ok := errors.AsType[interface {
		error
		Timeout() bool
	}](err); ok && t.Timeout() {
		return "no answer in time"
	}
	return err.Error()
}
