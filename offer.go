package caddyqlink

import (
	"fmt"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

// Offer is what buyers choose from.
type Offer struct {
	// Ways to pay, each a type and a channel, such as "ONLINE/QRIS", in the order
	// in which they are shown. An order that names one of these channels without
	// a type, where the account has no pay_type, gets the type it first stands
	// with. Default: what the gateway lists (/queryPayAccount): every channel
	// with pay_type, or else with every type.
	Ways []string `json:"ways,omitempty"`
}

// parseWay reads "<pay_type>/<pay_channel>".
func parseWay(v string) (bill.Way, error) {
	payType, channel, ok := strings.Cut(v, "/")
	if !ok || !bill.IsCode(payType) || !bill.IsCode(channel) || strings.Contains(channel, "/") {
		return bill.Way{}, fmt.Errorf("%q is no type and channel such as ONLINE/QRIS", v)
	}
	return bill.Way{PayType: payType, PayChannel: channel}, nil
}

// addWay appends a way that is not there yet.
func addWay(ways []bill.Way, v string) ([]bill.Way, error) {
	way, err := parseWay(v)
	switch {
	case err != nil:
		return nil, err
	case slices.Contains(ways, way):
		return nil, fmt.Errorf("%q is there twice", v)
	}
	return append(ways, way), nil
}

func (a *Account) resolveOffer(r resolver, t *terms) error {
	if a.Offer == nil {
		return nil
	}
	t.defaults.Choice = true
	values, err := r.values(a.Offer.Ways)
	for i := 0; err == nil && i < len(values); i++ {
		t.defaults.Offer, err = addWay(t.defaults.Offer, values[i])
	}
	if err != nil {
		return fmt.Errorf("offer: %w", err)
	}
	return nil
}

func (a *Account) unmarshalOffer(d *caddyfile.Dispenser) error {
	if a.Offer != nil {
		return d.Err("offer is set twice; put all ways on one line")
	}
	a.Offer = &Offer{Ways: d.RemainingArgs()}
	var known []bill.Way
	for _, v := range a.Offer.Ways {
		if hasPlaceholder(v) {
			continue
		}
		var err error
		if known, err = addWay(known, v); err != nil {
			return d.Errf("offer: %w", err)
		}
	}
	return nil
}
