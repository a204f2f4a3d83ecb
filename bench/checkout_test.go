package bench

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	caddyserver "github.com/caddyserver/caddy/v2"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/store/badger"
)

// twoHops asks the gateway, and then the shop, for each request: what a checkout
// does, without the bill.
const twoHops = "{\n" + plainOptions + `}
http://{{site}} {
	forward_auth {{gateway}} {
		uri /pay/apply
	}
	reverse_proxy {{shop}}
}`

func checkoutAt(host string) []string {
	return []string{post(host, "/checkout", "cart=1", "Accept: application/json\r\n", "Content-Type: application/x-www-form-urlencoded\r\n")}
}

func TestCheckouts(t *testing.T) {
	around := startPeers(t)
	s := openShop(t, population{bills: 10_000, open: 1000}, around, hour)
	hops := startCaddy(t, t.TempDir(), twoHops, around.values(hour))
	put := func(to string, connections int, requests []string) func() taken {
		return func() taken {
			return load{to: to, connections: connections, length: *benchLength, requests: requests, again: true}.put(t)
		}
	}
	apply := []string{post(around.gateway, "/pay/apply", "{}", "Content-Type: application/json\r\n")}
	came := inTurn(
		put(s.site, 64, checkoutAt(s.site)),
		put(hops.site, 64, checkoutAt(hops.site)),
		put(s.site, 1, checkoutAt(s.site)),
		put(hops.site, 1, checkoutAt(hops.site)),
		put(around.shop, 1, checkoutAt(around.shop)),
		put(around.gateway, 1, apply),
		committing(t),
	)
	many, proxied, one, proxiedOne, shop, gateway, commits := came[0], came[1], came[2], came[3], came[4], came[5], came[6]
	book.enter(t, claim{What: "checkouts, 64 at once, gateway answering at once", Against: "reverse_proxy doing the same two hops", Goal: 0.5, margin: 0.1},
		over(perSecond(many), perSecond(proxied)), "%s; two hops %s", medians(many), medians(proxied))
	parts, asCaddy := make([]float64, len(one)), make([]float64, len(one))
	for i := range parts {
		written := 2 * commits[i].p50.Seconds()
		parts[i] = shop[i].p50.Seconds() + gateway[i].p50.Seconds() + written
		asCaddy[i] = proxiedOne[i].p50.Seconds() + written
	}
	book.enter(t, claim{
		What: "checkout, one at a time: p50", Against: "shop's time + gateway's time + two commits", AtMost: true, Goal: 1.15, margin: 12,
		Why: "The shop and the gateway are asked by `wrk` here, and by Caddy's HTTP client in a checkout: what that takes, the next row says. The rest is that commits wait for their turns between goroutines, beside a server.",
	}, over(p50(one), parts), "%s; shop %s, gateway %s, commit of a new bill %s", medians(one), rounded(median(p50(shop))), rounded(median(p50(gateway))), rounded(median(p50(commits))))
	book.enter(t, claim{What: "checkout, one at a time: p50", Against: "`reverse_proxy` doing the same two hops + two commits", AtMost: true, Goal: 1.15, margin: 6, Why: noisy}, over(p50(one), asCaddy),
		"the two hops %s", rounded(median(p50(proxiedOne))))
	s.profile(t, "checkouts", load{to: s.site, connections: 64, requests: checkoutAt(s.site), again: true})
}

// committing commits new bills to a store of its own, one at a time.
func committing(t *testing.T) func() taken {
	t.Helper()
	module := &badger.Store{Path: t.TempDir()}
	if err := module.Provision(caddyserver.Context{Context: t.Context()}); err != nil {
		t.Fatal(err)
	}
	store, err := module.Open(t.Context(), bill.Env{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	number := 0
	return func() taken {
		var times []time.Duration
		for begun := time.Now(); time.Since(begun) < *benchLength; {
			number++
			at := time.Now()
			if err := store.Commit(context.Background(), newBill(number)); err != nil {
				t.Fatal(err)
			}
			times = append(times, time.Since(at))
		}
		slices.Sort(times)
		return taken{p50: times[len(times)/2]}
	}
}

// newBill is what a checkout writes first.
func newBill(n int) bill.Change {
	now := time.Now().UTC()
	b := bill.Bill{
		ID: fmt.Sprintf("%08x-0000-4000-8000-%012x", n*2654435761&0xffffffff, n), Ledger: "ledger", Account: "default", Shop: "default", OrderCode: fmt.Sprint("O", n),
		Attempt: 1, Status: bill.Created, Amount: "15000", Currency: "IDR", Country: "ID", PayType: "ONLINE", PayChannel: "QRIS",
		CreatedAt: now, UpdatedAt: now, Due: now.Add(time.Minute), Version: 1, Revision: 1,
	}
	record, _ := bill.OrderRecord{Key: b.OrderKey(), Revision: 1}.With(b)
	return bill.Change{Order: &record, Bills: []bill.BillChange{{
		Bill: b, Details: &bill.Details{Description: "Kopi tubruk", Metadata: `{"cart":"c-1"}`},
		Events: []bill.Event{{Kind: bill.EventCreated, At: now, Source: bill.ByShop, To: bill.Created, Version: 1}},
	}}}
}
