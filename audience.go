package caddyqlink

import (
	"slices"
	"sync"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/payment"
)

// audience knows who is told of a bill. Sites join it while they are
// provisioned, after the app and one by one; the engine asks it once all of
// them have, but for that it may do so at any time.
type audience struct {
	app      []payment.Target
	accounts map[string][]payment.Target // by name

	mu    sync.Mutex
	sites map[ordersOf][]payment.Target
}

// ordersOf is all that a bill knows of the site it came from.
type ordersOf struct{ account, shop string }

func newAudience() *audience {
	return &audience{accounts: make(map[string][]payment.Target), sites: make(map[ordersOf][]payment.Target)}
}

// join adds what a site names to what others of its account and shop do.
func (a *audience) join(account, shop string, named []payment.Target) {
	a.mu.Lock()
	defer a.mu.Unlock()
	key := ordersOf{account, shop}
	a.sites[key] = union(a.sites[key], named)
}

// targets returns the URLs that are told of the bills of an account and a
// shop. The caller must not change them.
func (a *audience) targets(account, shop string) []payment.Target {
	a.mu.Lock()
	defer a.mu.Unlock()
	if named := a.sites[ordersOf{account, shop}]; len(named) > 0 {
		return named
	}
	if named := a.accounts[account]; len(named) > 0 {
		return named
	}
	return a.app
}

// union returns a with b added, in slices of its own: a may be in use. A URL
// that is in both gets the secrets and events of both, and thus one
// notification with a signature for whichever site's secret it checks.
func union(a, b []payment.Target) []payment.Target {
	all := slices.Clone(a)
	for _, t := range b {
		i := indexOf(all, t.URL)
		if i < 0 {
			all = append(all, t)
			continue
		}
		all[i].Secrets = merged(all[i].Secrets, t.Secrets, slices.Equal[[]byte])
		all[i].Events = merged(all[i].Events, t.Events, func(x, y bill.NotificationType) bool { return x == y })
	}
	return all
}

func merged[T any](a, b []T, same func(T, T) bool) []T {
	all := slices.Clone(a)
	for _, v := range b {
		if !slices.ContainsFunc(all, func(had T) bool { return same(had, v) }) {
			all = append(all, v)
		}
	}
	return all
}
