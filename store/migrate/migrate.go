// Package migrate carries everything from one store into another: page by page,
// so that a run that was killed is gone on with by the next, and then reads both
// once more to compare what they hold. Each store durably remembers its part, so
// that at every moment at most one of the two serves.
//
// It knows no engine and no kind of store, makes no commit of a bill, and runs
// while nobody else uses either store. The command line calls it.
package migrate

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

// ErrDiffers is wrapped by the error about stores that do not hold the same
// after all was carried over.
var ErrDiffers = errors.New("the stores do not hold the same")

// errDamage says that what a store knows of itself speaks against what it holds.
var errDamage = errors.New("the store is damaged: 'caddy qlink check' says more where it is a folder")

// Stage is what a migration is at.
type Stage int

// The stages, in their order.
const (
	Resting Stage = iota // until nobody writes into either store any more
	Copying
	VerifyingFrom // reading the source once more
	VerifyingTo   // and the target
)

// Move is a migration.
type Move struct {
	From, To bill.Movable // To is nil where it is not there yet, which only Plan bears
	Now      func() time.Time
	NewID    func() string
	// Progress is told again and again how many records were gone through, of how
	// many: while they are being copied that is an estimate. nil: nobody asks.
	Progress func(stage Stage, done, total uint64)
}

// pageRecords bounds a page; a store makes it shorter where records are large.
const pageRecords = 1000

// Run carries everything over, or what an earlier run has left, and compares.
// When it returns nil the source was left, and the target serves; after an
// error the target does not, and what was carried over stays for the next run.
// An error that wraps ErrDiffers says that the target has to be given up.
func (m Move) Run(ctx context.Context) (Content, error) {
	state, err := m.begin(ctx)
	if err != nil {
		return Content{}, err
	}
	m.report(Resting, 0, 0)
	if !state.HasBegun() {
		if err := m.secure(ctx); err != nil {
			return Content{}, err
		}
	}
	if err := rest(ctx, m.From); err != nil {
		return Content{}, err
	}
	if err := m.copy(ctx, state); err != nil {
		return Content{}, err
	}
	content, err := m.verify(ctx)
	if err != nil {
		return Content{}, err
	}
	return content, m.finish(ctx)
}

// Plan returns what the source counts, or why Run would not begin.
func (m Move) Plan(ctx context.Context) (bill.Counts, error) {
	r, err := m.roles(ctx)
	if err == nil && !r.belong() {
		err = m.mayBegin(ctx, r)
	}
	if err != nil {
		return bill.Counts{}, err
	}
	return m.From.Counts(ctx)
}

// roles are the parts that both stores have.
type roles struct {
	from, to bill.Migration
}

func (m Move) roles(ctx context.Context) (r roles, err error) {
	if r.from, err = m.From.Migration(ctx); err != nil || m.To == nil {
		return r, err
	}
	r.to, err = m.To.Migration(ctx)
	return r, err
}

// belong reports whether both have their parts in one migration.
func (r roles) belong() bool {
	return r.to.Role == bill.RoleTarget && r.from.ID == r.to.ID &&
		(r.from.Role == bill.RoleSource || r.from.Role == bill.RoleLeft)
}

// begin returns the state of the target, once both stores know their parts. The
// target learns it first: until the source does, nothing was carried over, and
// the source may serve on.
func (m Move) begin(ctx context.Context) (bill.Migration, error) {
	r, err := m.roles(ctx)
	if err != nil || r.belong() {
		return r.to, err
	}
	if err := m.mayBegin(ctx, r); err != nil {
		return bill.Migration{}, err
	}
	if r.to.Role == bill.RoleNone {
		r.to = bill.Migration{Role: bill.RoleTarget, ID: m.NewID(), Other: m.From.Place(), Since: m.Now().UTC()}
		if err := m.To.SetMigration(ctx, r.to); err != nil {
			return bill.Migration{}, err
		}
	}
	source := bill.Migration{Role: bill.RoleSource, ID: r.to.ID, Other: m.To.Place(), Since: r.to.Since}
	return r.to, m.From.SetMigration(ctx, source)
}

// mayBegin returns why no migration can begin, or nil.
func (m Move) mayBegin(ctx context.Context, r roles) error {
	from := m.From.Place()
	closed := bill.CheckoutsClosed(m.From)
	switch {
	case r.from.Role == bill.RoleTarget:
		return fmt.Errorf("%s does not hold everything yet: %w", from, r.from.Refusal())
	case r.from.Role == bill.RoleLeft:
		return fmt.Errorf("%s was left already: %w", from, r.from.Refusal())
	case r.to.Role == bill.RoleSource, r.to.Role == bill.RoleLeft:
		return fmt.Errorf("%s holds bills of its own, choose an empty store: %w", m.To.Place(), r.to.Refusal())
	case r.to.Role == bill.RoleTarget && (r.from.Role != bill.RoleNone || r.to.HasBegun()):
		return fmt.Errorf("%s holds a part of another migration, from %s, which has to be given up first: --give-up", m.To.Place(), r.to.Other)
	case !closed.IsZero():
		return fmt.Errorf("%s was restored from a backup, and its checkouts are closed since %s, which no other store would remember: "+
			"start a Caddy on it, run 'caddy qlink reopen', and come back", from, closed.Format("2006-01-02 15:04:05Z"))
	case r.to.Role == bill.RoleTarget, m.To == nil: // the last run ended before its source knew
		return nil
	}
	return m.empty(ctx)
}

// empty returns an error where the target holds anything.
func (m Move) empty(ctx context.Context) error {
	page, next, err := m.To.Export(ctx, "", 1)
	if err == nil && (len(page) > 0 || next != "") {
		err = fmt.Errorf("%s is not empty: choose an empty store", m.To.Place())
	}
	return err
}

func rest(ctx context.Context, s bill.Movable) error {
	if err := s.Quiesce(ctx); err != nil {
		return fmt.Errorf("bring %s to rest: %w", s.Place(), err)
	}
	return nil
}

// secure sees to it that nobody has written into the target before it knew its
// part. Where somebody has, all is as it was: what is there may be a payment.
func (m Move) secure(ctx context.Context) error {
	if err := rest(ctx, m.To); err != nil {
		return err
	}
	taken := m.empty(ctx)
	if taken == nil || ctx.Err() != nil {
		return taken
	}
	return errors.Join(taken, m.From.SetMigration(ctx, bill.Migration{}), m.To.SetMigration(ctx, bill.Migration{}))
}

// copy carries over what the target does not have yet.
func (m Move) copy(ctx context.Context, state bill.Migration) error {
	total, err := m.estimate(ctx)
	if err != nil {
		return err
	}
	for !state.All {
		m.report(Copying, state.Records, max(total, state.Records+1))
		page, next, err := m.From.Export(ctx, state.Cursor, pageRecords)
		if err != nil {
			return fmt.Errorf("read %s: %w", m.From.Place(), err)
		}
		state.Cursor, state.All = next, next == ""
		state.Records += uint64(len(page))
		if err := m.To.Import(ctx, page, state); err != nil {
			return fmt.Errorf("write into %s: %w", m.To.Place(), err)
		}
	}
	m.report(Copying, state.Records, state.Records)
	return nil
}

// estimate returns about how many records there are to be copied.
func (m Move) estimate(ctx context.Context) (total uint64, err error) {
	counts, err := m.From.Counts(ctx)
	for _, n := range counts.Bills {
		total += 2 * n // each with about one order
	}
	for _, n := range counts.Notifications {
		total += n
	}
	return total, err
}

func (m Move) report(stage Stage, done, total uint64) {
	if m.Progress != nil {
		m.Progress(stage, done, total)
	}
}

// finish leaves the source, and then only lets the target serve.
func (m Move) finish(ctx context.Context) error {
	r, err := m.roles(ctx)
	if err != nil {
		return err
	}
	if r.from.Role != bill.RoleLeft {
		r.from.Role, r.from.Since = bill.RoleLeft, m.Now().UTC()
		if err := m.From.SetMigration(ctx, r.from); err != nil {
			return err
		}
	}
	return m.To.SetMigration(ctx, bill.Migration{})
}

// GiveUp ends a migration that is not finished: what the target holds is
// deleted, and the source serves again. The target is closed by that.
func (m Move) GiveUp(ctx context.Context) error {
	if err := m.MayGiveUp(ctx); err != nil {
		return err
	}
	r, err := m.roles(ctx)
	if err == nil {
		err = m.To.Abandon(ctx)
	}
	if err != nil || !r.belong() {
		return err
	}
	return m.From.SetMigration(ctx, bill.Migration{})
}

// MayGiveUp returns why GiveUp would do nothing, or nil.
func (m Move) MayGiveUp(ctx context.Context) error {
	r, err := m.roles(ctx)
	switch {
	case err != nil:
		return err
	case r.to.Role != bill.RoleTarget:
		return fmt.Errorf("nothing is being carried into %s, so that nothing is given up", m.To.Place())
	case r.belong() && r.from.Role == bill.RoleLeft:
		return fmt.Errorf("everything is in %s already: run it once more to finish", m.To.Place())
	}
	return nil
}

// TakeBack lets a store serve again that was left, or is being left. Where it
// was left, orders may have been paid in its successor since, and would be
// payable again: so force has to say that this is meant.
func TakeBack(ctx context.Context, s bill.Movable, force bool) error {
	if err := MayTakeBack(ctx, s, force); err != nil {
		return err
	}
	return s.SetMigration(ctx, bill.Migration{})
}

// MayTakeBack returns why TakeBack would do nothing, or nil.
func MayTakeBack(ctx context.Context, s bill.Movable, force bool) error {
	state, err := s.Migration(ctx)
	switch {
	case err != nil:
		return err
	case state.Role == bill.RoleNone:
		return fmt.Errorf("%s serves: there is nothing to take back", s.Place())
	case state.Role == bill.RoleTarget:
		return fmt.Errorf("%s is being filled, and can only be given up: --give-up", s.Place())
	case state.Role == bill.RoleLeft && !force:
		return fmt.Errorf("%s was left for %s on %s: orders that were paid there since would be payable here again. "+
			"Carry the bills back from there instead; where that store is lost for good, take this one back with --force",
			s.Place(), state.Other, state.Since.Format("2006-01-02 15:04:05Z"))
	}
	return nil
}
