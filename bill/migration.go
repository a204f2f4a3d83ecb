package bill

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// ErrMoved is wrapped by the refusals of a store whose bills were carried into
// another one, or are being carried: two stores that take payments are two
// truths.
var ErrMoved = errors.New("the store does not serve")

// Role is a store's part in a migration.
type Role string

// The roles.
const (
	RoleNone   Role = ""       // in none: it serves
	RoleSource Role = "source" // its records are being carried into another store
	RoleTarget Role = "target" // it is being filled, and does not hold everything, or not for certain
	RoleLeft   Role = "left"   // another store has everything, and serves in its place
)

// Migration is what a store durably remembers of being carried into another
// one. The zero value is that of a store that serves.
type Migration struct {
	Role  Role      `json:"role"`
	ID    string    `json:"id"`    // of the migration: the same in both stores
	Other string    `json:"other"` // where the other store is, for people
	Since time.Time `json:"since"` // when it began; of a store that was left, when that was

	// What a target holds: all records of the source's Export up to the cursor,
	// and how many that are. All says that there are no more.
	Cursor  string `json:"cursor,omitzero"`
	Records uint64 `json:"records,omitzero"`
	All     bool   `json:"all,omitzero"`
}

// HasBegun reports whether a target was given anything, or told that there is
// nothing.
func (m Migration) HasBegun() bool { return m.Cursor != "" || m.All }

// Refusal says why a store does not serve, and what to do, as an error that
// wraps ErrMoved; nil where it does.
func (m Migration) Refusal() error {
	since := m.Since.UTC().Format("2006-01-02 15:04:05Z")
	switch m.Role {
	case RoleNone:
		return nil
	case RoleTarget:
		return fmt.Errorf("%w: bills are being carried into it from %s since %s, and not all are there for certain: "+
			"run 'caddy qlink migrate-store' again to finish that, or give it up with --give-up", ErrMoved, m.Other, since)
	case RoleSource:
		return fmt.Errorf("%w: its bills are being carried into %s since %s: "+
			"run 'caddy qlink migrate-store' again to finish that, or give it up with --give-up", ErrMoved, m.Other, since)
	case RoleLeft:
		return fmt.Errorf("%w: its bills were carried into %s on %s, and orders may have been paid there since: "+
			"configure that store; how to go back says 'caddy qlink migrate-store --help'", ErrMoved, m.Other, since)
	}
	return fmt.Errorf("%w: a newer version has given it the role %q in a migration", ErrMoved, m.Role)
}

// Record is one thing that a store holds, as it is carried into another one.
// Exactly one of its fields is set.
type Record struct {
	Bill         *WholeBill
	Order        *OrderRecord
	Notification *Notification
	Idempotency  *Idempotency
	Orphan       *Orphan
}

// WholeBill is a bill with what is kept beside it.
type WholeBill struct {
	Bill    Bill
	Details *Details // nil: there are none, or none any more
	Events  []Event  // oldest first
}

// Movable is implemented by stores whose content can be carried into another
// one. As long as its Migration has a role, a store commits nothing: Commit and
// Reopen return ErrUnavailable and ErrMoved. Who carries is alone with it.
type Movable interface {
	Store

	// Place says where the store is, for people: without a secret in it.
	Place() string
	// Migration returns what SetMigration, or Import, was given last.
	Migration(ctx context.Context) (Migration, error)
	// SetMigration is durable when it returns. A store that was left, and whose
	// migration is the zero one again, has its checkouts closed where it is
	// Restorable: orders may have been paid elsewhere.
	SetMigration(ctx context.Context, m Migration) error
	// Quiesce makes a store ready to be read, once SetMigration has told it its
	// part: it returns when no other process writes into it any more, and has looked
	// for damage that Export would pass over.
	Quiesce(ctx context.Context) error
	// Export returns the next of all records, at most limit and fewer where they
	// are large, each once and in an order that stays, and the cursor behind them,
	// "" at the end. A cursor holds for as long as nothing is written. What is
	// over, as an answer that is remembered no longer, may be left out; what
	// cannot be read is an error.
	Export(ctx context.Context, cursor string, limit int) (page []Record, next string, err error)
	// Import writes the records as they are, whatever their revisions, each in the
	// place of what it finds there, and m. Where it does not write all of that in
	// one transaction, m comes last: to import a page again changes nothing.
	Import(ctx context.Context, page []Record, m Migration) error
	// Abandon deletes all that a target holds, and closes it. Every other role is
	// an error.
	Abandon(ctx context.Context) error
}

// MovableOpener is an Opener of a store that is Movable. Its Open refuses one
// whose Migration has a role, as Refusal says.
type MovableOpener interface {
	Opener
	// OpenToMove opens the store whatever its role, for nobody but who carries. One
	// that is not there is created, or else ErrNotFound.
	OpenToMove(ctx context.Context, env Env, create bool) (Movable, error)
}
