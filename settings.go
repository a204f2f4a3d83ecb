package caddyqlink

import (
	"fmt"
	"time"
)

// Reconcile says how bills are asked after at the gateway.
type Reconcile struct {
	// MinInterval is the least time between two questions about one bill.
	// Default: 5s.
	MinInterval string `json:"min_interval,omitempty"`

	// MaxInterval is the most time between two questions about one open bill, to
	// which they slow down with its age. Default: 10m.
	MaxInterval string `json:"max_interval,omitempty"`

	// UnknownAfter is how long after a call to /apply ended the gateway's "not
	// known" may be believed. Default: 30s.
	UnknownAfter string `json:"unknown_after,omitempty"`
}

// Limits keep the store and the disk from filling up.
type Limits struct {
	// OpenTotal is how many bills may be open at once; beyond it, buyers are
	// answered 429. 0 is no limit. Default: 100000.
	OpenTotal string `json:"open_total,omitempty"`

	// OpenPerClient is how many bills that one client address began at checkout
	// routes may be open at once; beyond it, its buyers are answered 429. The
	// address is the one that Caddy found behind trusted_proxies; of IPv6 it is
	// the network of 64 bits. Choose it well above what one buyer needs: who has
	// reached it is refused an order, too, that has a bill already, since the shop
	// is not asked for it any more. The signed endpoints know no buyer and do not
	// count. 0 is no limit. Default: none, because carriers put thousands behind
	// one address.
	OpenPerClient string `json:"open_per_client,omitempty"`

	// MinFreeSpace is the free space of the store's disk below which there are
	// no new checkouts (503), while notifications still go through. 0 is no
	// limit. Default: 256MiB.
	MinFreeSpace string `json:"min_free_space,omitempty"`
}

// settings are what concerns all accounts, as understood.
type settings struct {
	minInterval   time.Duration
	maxInterval   time.Duration
	unknownAfter  time.Duration
	openTotal     int
	openPerClient int
	minFreeSpace  uint64
	retention     time.Duration // 0: never
}

func defaultSettings() settings {
	return settings{
		minInterval:  5 * time.Second,
		maxInterval:  10 * time.Minute,
		unknownAfter: 30 * time.Second,
		openTotal:    100_000,
		minFreeSpace: 256 << 20,
	}
}

var reconcileOptions = []option[Reconcile, settings]{
	{"min_interval", func(r *Reconcile) *string { return &r.MinInterval },
		span(func(s *settings) *time.Duration { return &s.minInterval })},
	{"max_interval", func(r *Reconcile) *string { return &r.MaxInterval },
		span(func(s *settings) *time.Duration { return &s.maxInterval })},
	{"unknown_after", func(r *Reconcile) *string { return &r.UnknownAfter },
		span(func(s *settings) *time.Duration { return &s.unknownAfter })},
}

var limitsOptions = []option[Limits, settings]{
	{"open_total", func(l *Limits) *string { return &l.OpenTotal },
		count(func(s *settings) *int { return &s.openTotal }, 0)},
	{"open_per_client", func(l *Limits) *string { return &l.OpenPerClient },
		count(func(s *settings) *int { return &s.openPerClient }, 0)},
	{"min_free_space", func(l *Limits) *string { return &l.MinFreeSpace },
		size(func(s *settings) *uint64 { return &s.minFreeSpace })},
}

var appOptions = []option[App, settings]{
	{"retention", func(a *App) *string { return &a.Retention }, setRetention},
}

// settings resolves and checks the app's own options and both blocks.
func (a *App) settings(r resolver) (settings, error) {
	s := defaultSettings()
	if err := resolve(r, appOptions, a, &s); err != nil {
		return s, err
	}
	if a.Reconcile != nil {
		err := resolve(r, reconcileOptions, a.Reconcile, &s)
		if err == nil && s.maxInterval < s.minInterval {
			err = fmt.Errorf("max_interval (%v) is less than min_interval (%v)", s.maxInterval, s.minInterval)
		}
		if err != nil {
			return s, fmt.Errorf("reconcile: %w", err)
		}
	}
	if a.Limits != nil {
		if err := resolve(r, limitsOptions, a.Limits, &s); err != nil {
			return s, fmt.Errorf("limits: %w", err)
		}
	}
	return s, nil
}
