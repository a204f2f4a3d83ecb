package payment

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	"go.uber.org/zap"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/qlink"
)

// Way is a way to pay that a buyer may choose. Its names are the gateway's:
// untrusted text, one short line each, "" where the gateway gave none.
type Way struct {
	PayType    string
	PayChannel string
	Name       string // of the channel
	TypeName   string
}

// How a gateway's list of ways to pay is kept. It rarely changes, so an old one
// serves until a new one is there.
const (
	listFresh = 5 * time.Minute
	listPause = 30 * time.Second // after a failure
)

// Bounds of what is taken from such a list.
const (
	maxWays  = 200
	maxLabel = 80 // characters of a name
)

// Ways returns what the buyer of b may choose from: the pairs that the account
// offers, or else those of the gateway's list, where a type that the order or
// the account names leaves the others out. Rows of another currency or country
// than the bill's are none of its ways.
//
// The list is asked for once for all buyers. Who asks first waits for it; where
// it cannot be had, that is an error that wraps bill.ErrUnavailable, and harms
// nothing. Configured pairs wait for no names.
func (e *Engine) Ways(ctx context.Context, s Scope, b bill.Bill) ([]Way, error) {
	defaults := s.Account.Defaults
	if len(defaults.Offer) > 0 {
		return configuredWays(defaults.Offer, b, e.listed(s.Account)), nil
	}
	list, err := e.awaitList(ctx, s.Account)
	if err != nil {
		return nil, fmt.Errorf("%w: ways to pay of account %q: %w", bill.ErrUnavailable, s.Account.Name, err)
	}
	return listedWays(list, defaults.PayType, b), nil
}

func configuredWays(offer []bill.Way, b bill.Bill, list []qlink.PayMethod) []Way {
	var ways []Way
	for _, o := range offer {
		if b.Asked.PayType != "" && b.Asked.PayType != o.PayType {
			continue
		}
		ways = append(ways, Way{
			PayType: o.PayType, PayChannel: o.PayChannel,
			Name:     nameOf(list, o.PayChannel, qlink.PayChannel, qlink.GlobalPay),
			TypeName: nameOf(list, o.PayType, qlink.PayType),
		})
	}
	return ways
}

// listedWays pairs types with channels, which the gateway lists apart.
func listedWays(list []qlink.PayMethod, accountType string, b bill.Bill) []Way {
	types := codesOf(list, b, qlink.PayType)
	for _, named := range []string{accountType, b.Asked.PayType} { // the order's word counts before the account's
		if named != "" {
			types = []string{named}
		}
	}
	var ways []Way
	for _, t := range types {
		for _, c := range codesOf(list, b, qlink.PayChannel, qlink.GlobalPay) {
			if len(ways) == maxWays {
				return ways
			}
			ways = append(ways, Way{
				PayType: t, PayChannel: c,
				Name: nameOf(list, c, qlink.PayChannel, qlink.GlobalPay), TypeName: nameOf(list, t, qlink.PayType),
			})
		}
	}
	return ways
}

// codesOf returns the codes of rows of a kind that are for b, each once.
func codesOf(list []qlink.PayMethod, b bill.Bill, kinds ...string) []string {
	var codes []string
	for _, m := range list {
		if slices.Contains(kinds, m.Type) && isFor(m, b) && bill.IsCode(m.Code) && !slices.Contains(codes, m.Code) {
			codes = append(codes, m.Code)
		}
	}
	return codes
}

// isFor reports whether a row is for b's currency and country, where it says.
func isFor(m qlink.PayMethod, b bill.Bill) bool {
	same := func(c string) bool { return strings.EqualFold(c, string(b.Currency)) }
	return (len(m.Currencies) == 0 || slices.ContainsFunc(m.Currencies, same)) &&
		(m.Country == "" || strings.EqualFold(m.Country, b.Country))
}

func nameOf(list []qlink.PayMethod, code string, kinds ...string) string {
	for _, m := range list {
		if m.Code == code && slices.Contains(kinds, m.Type) {
			return label(m.Name)
		}
	}
	return ""
}

// label makes one short line of a stranger's text, without what could disturb
// the lines around it.
func label(text string) string {
	text = strings.Map(func(r rune) rune {
		if unicode.Is(unicode.Bidi_Control, r) || unicode.Is(unicode.Cf, r) {
			return -1
		}
		if unicode.IsControl(r) || unicode.IsSpace(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, ""))
	text = strings.Join(strings.Fields(text), " ")
	if runes := []rune(text); len(runes) > maxLabel {
		text = strings.TrimSpace(string(runes[:maxLabel]))
	}
	return text
}

// listing is a gateway's list of ways to pay, as last read.
type listing struct {
	mu       sync.Mutex
	rows     []qlink.PayMethod
	readAt   time.Time // zero: never
	failedAt time.Time
	err      error         // of the question that failed then
	asking   chan struct{} // closed when the question under way has ended; nil: there is none
}

var errNoAnswerYet = errors.New("too much else is under way, or the configuration is no longer in use")

// listed returns the account's list as it is, and has an old one asked for.
func (e *Engine) listed(a *Account) []qlink.PayMethod {
	l := a.list
	l.mu.Lock()
	defer l.mu.Unlock()
	e.freshen(a)
	return l.rows
}

// awaitList returns the account's list, and waits for it where there has been
// none yet.
func (e *Engine) awaitList(ctx context.Context, a *Account) ([]qlink.PayMethod, error) {
	l := a.list
	l.mu.Lock()
	e.freshen(a)
	asking, unread := l.asking, l.readAt.IsZero()
	l.mu.Unlock()
	if unread && asking != nil {
		select {
		case <-asking:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case !l.readAt.IsZero():
		return l.rows, nil
	case l.err != nil:
		return nil, l.err
	}
	return nil, errNoAnswerYet
}

// freshen asks for a new list in the background where the old one is old: one
// question at a time, and none soon after a failure. Its caller holds the
// lock.
func (e *Engine) freshen(a *Account) {
	l, now := a.list, e.now()
	fresh := !l.readAt.IsZero() && now.Before(l.readAt.Add(listFresh))
	failed := !l.failedAt.IsZero() && now.Before(l.failedAt.Add(listPause))
	if fresh || failed || l.asking != nil || !e.background.begin() {
		return
	}
	asking := make(chan struct{})
	l.asking = asking
	go func() {
		defer e.background.end()
		defer close(asking)
		e.readList(a)
	}()
}

// readList asks the gateway, for as long as one call may take.
func (e *Engine) readList(a *Account) {
	ctx, cancel := context.WithTimeout(context.Background(), a.CallTimeout)
	defer cancel()
	rows, err := a.Gateway.QueryPayAccount(ctx)
	l := a.list
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asking, l.err = nil, err
	if err != nil {
		l.failedAt = e.now()
		e.cfg.Logger.Warn("the gateway's list of ways to pay cannot be read", zap.String("account", a.Name), zap.Error(err))
		return
	}
	l.rows, l.readAt = rows, e.now()
}
