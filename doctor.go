package caddyqlink

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/google/uuid"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/doctor"
	"github.com/caddy-qlink/caddy-qlink/operator"
	"github.com/caddy-qlink/caddy-qlink/payment"
)

// errUnknownAccount is answered where an account is named that is not there.
var errUnknownAccount = errors.New("no account of that name is configured")

// examination returns what the doctor examines of this configuration: all of
// it, or what concerns one account. site, where it is not empty, is the URL
// under which the sites are seen, whatever is known of them.
func (a *App) examination(account, site string) (doctor.Config, error) {
	accounts := a.examined(account)
	if len(accounts) == 0 {
		return doctor.Config{}, operator.Refuse(http.StatusNotFound, errUnknownAccount)
	}
	if site != "" {
		u, err := absoluteURL(site)
		if err == nil && u.User != nil {
			err = errors.New("must not hold a user")
		}
		if err != nil {
			return doctor.Config{}, operator.Refuse(http.StatusBadRequest, fmt.Errorf("site: %w", err))
		}
	}
	return doctor.Config{
		Accounts: accounts,
		Shops:    a.examinedShops(accounts),
		Sites:    a.sites.examined(accounts, site),
		Store:    a.examinedStore,
		Backlog:  a.backlog,
		Paid:     a.paid,
		Now:      time.Now,
		NewID:    uuid.NewString,
	}, nil
}

// rows describes every account to an operator.
func (a *App) rows(ctx context.Context) []doctor.Row { return doctor.Rows(ctx, a.examined("")) }

// examined returns the accounts, or the one of that name.
func (a *App) examined(name string) (accounts []doctor.Account) {
	for _, c := range a.accounts {
		if name != "" && name != c.Name {
			continue
		}
		t := a.Accounts[c.Name].understood
		accounts = append(accounts, doctor.Account{
			Name: c.Name, LiveMode: c.LiveMode, Gateway: t.client, Previous: t.secrets[1:], Defaults: t.defaults,
			ExpireAfter: t.expireAfter, ExpireChannel: t.expireChannel,
		})
	}
	return accounts
}

// examinedShops returns the URLs that are told of these accounts' bills, each
// once with the same secrets.
func (a *App) examinedShops(accounts []doctor.Account) (shops []doctor.Shop) {
	for _, account := range accounts {
		for _, shop := range a.sites.shopsOf(account.Name) {
			for _, t := range a.audience.targets(account.Name, shop) {
				same := func(s doctor.Shop) bool {
					return s.URL == t.URL && slices.EqualFunc(s.Secrets, t.Secrets, bytes.Equal)
				}
				switch i := slices.IndexFunc(shops, same); {
				case i < 0:
					shops = append(shops, doctor.Shop{Account: account.Name, URL: t.URL, Secrets: t.Secrets})
				case shops[i].Account != account.Name:
					shops[i].Account = ""
				}
			}
		}
	}
	return shops
}

// examinedStore tells how the store is.
func (a *App) examinedStore(ctx context.Context) (doctor.Store, error) {
	s := doctor.Store{MinFreeSpace: a.minFreeSpace}
	if d, ok := a.vault.opener.(interface{ Directory() string }); ok {
		s.Directory = d.Directory()
	}
	opened, release, err := a.vault.lease(ctx)
	if err != nil {
		return s, err
	}
	defer release()
	s.Broken, s.ClosedSince = bill.Broken(opened), bill.CheckoutsClosed(opened)
	if s.OpenBills, err = opened.OpenBills(ctx); err != nil {
		return s, err
	}
	if sized, ok := opened.(bill.Sizer); ok {
		s.SizeBytes, _ = sized.Size() // it is left out where it cannot be told
	}
	if examiner, ok := opened.(bill.Examiner); ok {
		risks, err := examiner.Risks(ctx)
		for _, risk := range risks {
			s.Risks = append(s.Risks, doctor.Risk(risk))
		}
		s.Examined = err == nil
	}
	if f, ok := opened.(bill.FreeSpacer); ok {
		s.FreeBytes, err = f.FreeSpace()
		s.FreeKnown = err == nil
	}
	return s, nil
}

// backlog counts what waits for a person.
func (a *App) backlog(ctx context.Context) (doctor.Backlog, error) {
	gauges, err := a.engine.Gauges(ctx)
	if err != nil {
		return doctor.Backlog{}, err
	}
	stuck, err := a.stuck(ctx)
	return doctor.Backlog{
		Dead: gauges.Notifications[bill.Dead], Orphans: gauges.Orphans, OldestPendingAt: gauges.OldestPending, Stuck: stuck,
	}, err
}

// stuck counts the bills that are stuck, up to so many pages of them.
func (a *App) stuck(ctx context.Context) (n uint64, err error) {
	q := bill.Query{StuckAt: time.Now(), Limit: 1000}
	for range 10 {
		page, next, err := a.engine.List(ctx, q)
		if err != nil {
			return 0, err
		}
		n += uint64(len(page))
		if next == "" {
			break
		}
		q.Cursor = next
	}
	return n, nil
}

// paid returns some of an account's paid bills, the newest first.
func (a *App) paid(ctx context.Context, account string) (bills []bill.Bill, err error) {
	q := bill.Query{Status: bill.Success, Account: account, Limit: 20}
	for range 10 { // a page may be empty before the last
		page, next, err := a.engine.List(ctx, q)
		bills = append(bills, page...)
		if err != nil || next == "" || len(bills) >= q.Limit {
			return bills, err
		}
		q.Cursor = next
	}
	return bills, nil
}

// sites are the places of a configuration where endpoints are served. They join
// while they are provisioned, after the app and one by one.
type sites struct {
	mu     sync.Mutex
	joined []premises
}

// premises are one such place.
type premises struct {
	site
	live    bool
	handler *Handler
	server  *caddyhttp.Server // nil where it is served by another module
}

func (s *sites) join(ctx caddy.Context, h *Handler, account *payment.Account, understood site) {
	server, _ := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.joined = append(s.joined, premises{understood, account.LiveMode, h, server})
}

// shopsOf returns the shops of an account's sites; of an account without any,
// the default.
func (s *sites) shopsOf(account string) (shops []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.joined {
		if p.account == account && !slices.Contains(shops, p.shop) {
			shops = append(shops, p.shop)
		}
	}
	if len(shops) == 0 {
		return []string{defaultName}
	}
	return shops
}

// examined returns the sites of these accounts, each address once.
func (s *sites) examined(accounts []doctor.Account, seenAs string) (all []doctor.Site) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.joined {
		if !slices.ContainsFunc(accounts, func(a doctor.Account) bool { return a.Name == p.account }) {
			continue
		}
		found := doctor.Site{Account: p.account, LiveMode: p.live, Base: p.publicURL, Prefix: p.prefix}
		switch {
		case seenAs != "":
			found.Base = strings.TrimRight(seenAs, "/")
		case found.Base == "":
			found.Base = p.assumedBase()
			found.Assumed = found.Base != ""
		}
		if !slices.Contains(all, found) {
			all = append(all, found)
		}
	}
	return all
}

// assumedBase is the site's address as far as Caddy's configuration tells: the
// first of its host names, and where its server listens. What requests say of
// their host is never taken for it: anybody may send one.
func (p premises) assumedBase() string {
	if p.server == nil || len(p.server.Listen) == 0 {
		return ""
	}
	hosts, _ := hostsOf(p.server.Routes, p.handler)
	usable := slices.IndexFunc(hosts, func(h string) bool { return !strings.ContainsAny(h, "*{") && isHost(h) })
	address, err := caddy.ParseNetworkAddress(p.server.Listen[0])
	if usable < 0 || err != nil || address.IsUnixNetwork() || address.StartPort == 0 {
		return ""
	}
	scheme, usual := "http", uint(80)
	if len(p.server.TLSConnPolicies) > 0 && address.StartPort != usual {
		scheme, usual = "https", 443
	}
	if address.StartPort == usual {
		return scheme + "://" + hosts[usable]
	}
	return fmt.Sprintf("%s://%s:%d", scheme, hosts[usable], address.StartPort)
}

// hostsOf finds a handler among routes, and the host names that lead to it.
func hostsOf(routes caddyhttp.RouteList, h *Handler) (hosts []string, found bool) {
	for _, route := range routes {
		for _, handler := range route.Handlers {
			if sub, ok := handler.(*caddyhttp.Subroute); ok {
				hosts, found = hostsOf(sub.Routes, h)
			}
			if handler == caddyhttp.MiddlewareHandler(h) {
				found = true
			}
			if found && len(hosts) == 0 {
				hosts = hostMatchers(route)
			}
			if found {
				return hosts, true
			}
		}
	}
	return nil, false
}

func hostMatchers(route caddyhttp.Route) (hosts []string) {
	for _, set := range route.MatcherSets {
		for _, matcher := range set {
			switch m := matcher.(type) {
			case *caddyhttp.MatchHost:
				hosts = append(hosts, *m...)
			case caddyhttp.MatchHost:
				hosts = append(hosts, m...)
			}
		}
	}
	return hosts
}
