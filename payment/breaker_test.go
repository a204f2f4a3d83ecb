package payment_test

import (
	"testing"

	"github.com/caddy-qlink/caddy-qlink/payment"
)

// pooled is a gateway that keeps connections for later calls.
type pooled struct {
	payment.Gateway

	closed int
}

func (p *pooled) CloseIdleConnections() { p.closed++ }

// A configuration that is given up has to be able to close what its accounts
// keep open: else each reload leaves the old ones' connections behind.
func TestAnAccountsIdleConnectionsCanBeClosedWhileTheEngineHasIt(t *testing.T) {
	gateway := new(pooled)
	c := newCounter(t, func(cfg *payment.Config) { cfg.Accounts[0].Gateway = gateway })
	account, ok := c.account.Gateway.(interface{ CloseIdleConnections() })
	if !ok {
		t.Fatal("the engine hides the gateway's way to close them")
	}
	account.CloseIdleConnections()
	if gateway.closed != 1 {
		t.Errorf("closed %d times", gateway.closed)
	}
}
