package bill

import (
	"context"
	"time"
)

// Lease asks for work that is due, on behalf of one of several who share it.
type Lease struct {
	Holder string        // who asks: a name that nobody else has
	For    time.Duration // how long the work is the holder's alone, by the store's clock
	Until  time.Time     // what is due at this time, or before
	Limit  int
}

// Leaser is implemented by stores that several processes share, so that each
// piece of what is due is done by one of them, and by another one where that
// one dies. A lease keeps nobody from writing: it says who begins.
//
// It ends when its time is over, when it is released, and when what is leased
// is written; but a notification that is superseded stays leased, since its
// delivery may be under way.
type Leaser interface {
	// LeaseDue is Due without what is leased to others, and leases to the holder
	// what it returns; what the holder has leased before, for longer.
	LeaseDue(ctx context.Context, l Lease) ([]string, error)
	// LeaseDueNotifications is DueNotifications likewise. While a notification is
	// leased, those to the same URL about the same order are leased to nobody
	// else: no delivery overtakes another.
	LeaseDueNotifications(ctx context.Context, l Lease) ([]string, error)
	// ReleaseNotification ends the holder's lease of a notification; where there
	// is none, it does nothing.
	ReleaseNotification(ctx context.Context, holder, id string) error
	// Release ends all leases of a holder.
	Release(ctx context.Context, holder string) error
}
