package payment

import (
	"time"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

// slowing is the part of a bill's age after which it is asked after again: a
// young bill often, an old one rarely, between MinInterval and MaxInterval.
const slowing = 4

// jitter is the part of a wait by which it is lengthened at most, so that
// bills made together are not asked after together for ever.
const jitter = 5

// lateChecks are the waits, from a bill's unpaid end, until it is asked after
// again: a picture of a QR code stays payable.
var lateChecks = []time.Duration{5 * time.Minute, time.Hour, 6 * time.Hour, 24 * time.Hour, 72 * time.Hour}

// due says when b wants to be asked after next; zero for never. Until a
// payment that was reported is confirmed, an ended bill is as good as open.
func (e *Engine) due(b bill.Bill, now time.Time) time.Time {
	switch {
	case b.Status == bill.Success:
		return time.Time{}
	case b.Status == bill.Choose:
		return b.ExpiresAt
	case b.Status.Final() && !b.Unconfirmed():
		return lateCheck(b, now)
	}
	wait := now.Sub(latest(b.CreatedAt, b.Apply.StartedAt, b.Cancel.At, b.Reported.At)) / slowing
	wait = min(max(wait, e.cfg.MinInterval), e.cfg.MaxInterval)
	wait += time.Duration(e.cfg.Rand(int64(wait)/jitter + 1))
	next := now.Add(wait)
	if now.Before(b.ExpiresAt) && b.ExpiresAt.Before(next) {
		return b.ExpiresAt
	}
	return next
}

// lateCheck is the first of the late checks that lies ahead. A bill that never
// reached the gateway has none.
func lateCheck(b bill.Bill, now time.Time) time.Time {
	if b.Apply.Tries == 0 || b.Apply.NotSent {
		return time.Time{}
	}
	for _, wait := range lateChecks {
		if next := b.UpdatedAt.Add(wait); next.After(now) {
			return next
		}
	}
	return time.Time{}
}

func latest(times ...time.Time) time.Time {
	var most time.Time
	for _, t := range times {
		if t.After(most) {
			most = t
		}
	}
	return most
}
