package doctor

import (
	"cmp"
	"context"
	"strings"
	"time"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/qlink"
)

// examineAccount goes on from what works: where the gateway takes another form
// than the configured one, the later checks use that, so that one run finds
// all that is wrong.
func (x *examination) examineAccount(ctx context.Context, a Account, say say) {
	a = a.normal()
	examineConfiguration(a, say)
	g, closeIdle := x.gateway(a)
	defer closeIdle()
	methods, listed := g.examine(ctx, say)
	examineWays(a, methods, listed, say)
	examineClock(g.witness.sight(), "the gateway's", say)
	x.examineTimeZone(ctx, a, say)
	examineCertificate(a.Gateway.Endpoint, "the gateway's", g.witness.sight(), g.lost, x.Now(), say)
}

// examineConfiguration finds options that contradict each other. Each alone is
// valid: the load has seen to that.
func examineConfiguration(a Account, say say) {
	endpoint := strings.TrimRight(a.Gateway.Endpoint, "/")
	found := false
	complain := func(s Status, finding, remedy string) {
		found = true
		say(CheckConfiguration, s, finding, remedy)
	}
	if a.LiveMode && (endpoint == qlink.EndpointTest || endpoint == qlink.EndpointGlobalTest) {
		complain(Failed, "mode is live, but the endpoint is QLink's test gateway: shops would be told of live payments while no money moves",
			"Set mode test, or environment prod.")
	}
	if !a.LiveMode && (endpoint == qlink.EndpointProd || endpoint == qlink.EndpointGlobalProd) {
		complain(Failed, "mode is test, but the endpoint is QLink's production gateway: money would move while bills and pages say that it is a test",
			"Set mode live, or environment test.")
	}
	global := endpoint == qlink.EndpointGlobalTest || endpoint == qlink.EndpointGlobalProd
	standard := endpoint == qlink.EndpointTest || endpoint == qlink.EndpointProd
	if global && a.Gateway.Edition != qlink.EditionGlobal || standard && a.Gateway.Edition == qlink.EditionGlobal {
		complain(Failed, "edition and endpoint do not belong together: "+bill.ShownURL(endpoint)+" is of the other edition",
			"Set edition global (with service_provider) for the global gateway, and edition standard for the other, or take endpoint out and let environment choose.")
	}
	if a.LiveMode && plainHTTP(endpoint) && !onThisMachine(endpoint) {
		complain(Warning, "a live account's gateway is called over plain http: who sits on the path can forge its answers",
			"Put a tunnel or a TLS proxy in between and name it as endpoint, before the first sale: orders are told apart by endpoint.")
	}
	if !found {
		say(CheckConfiguration, OK, "mode is "+modeOf(a)+", the endpoint is "+bill.ShownURL(a.Gateway.Endpoint), "")
	}
}

func modeOf(a Account) string {
	if a.LiveMode {
		return "live"
	}
	return "test"
}

// gateway returns what tries an account's gateway, and what closes the
// connections that this leaves behind.
func (x *examination) gateway(a Account) (*gateway, func()) {
	w := &witness{next: a.Gateway.Transport, now: x.Now}
	closeIdle := func() {} // the configured transport goes on being used
	if w.next == nil {
		own := newTransport()
		w.next, closeIdle = own, own.CloseIdleConnections
	}
	config := a.Gateway
	config.Transport = w
	if config.Timeout <= 0 || config.Timeout > x.Timeout {
		config.Timeout = x.Timeout
	}
	return &gateway{account: a, config: config, witness: w, newID: x.NewID}, closeIdle
}

// shanghai is the default zone, which needs no database.
var shanghai = time.FixedZone("Asia/Shanghai", 8*60*60)

// normal returns a with the defaults that package qlink has for what is not
// set.
func (a Account) normal() Account {
	a.Gateway.Edition = cmp.Or(a.Gateway.Edition, qlink.EditionStandard)
	a.Gateway.Content = cmp.Or(a.Gateway.Content, qlink.ContentString)
	a.Gateway.Escape = cmp.Or(a.Gateway.Escape, qlink.EscapeASCII)
	a.Gateway.AccountField = cmp.Or(a.Gateway.AccountField, qlink.AccountFieldPayAccount)
	a.Gateway.Location = cmp.Or(a.Gateway.Location, shanghai)
	return a
}
