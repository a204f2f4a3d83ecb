package bill

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"
)

// Errors every store returns, wrapped or bare.
var (
	// ErrNotFound: no such record.
	ErrNotFound = errors.New("not found")
	// ErrConflict: a revision was not the one expected; nothing was written.
	// The caller reads again and decides anew.
	ErrConflict = errors.New("changed meanwhile")
	// ErrUnavailable: the store cannot serve now (closed, disk full, database
	// gone). Nothing was acknowledged, but a change may have been written.
	ErrUnavailable = errors.New("store unavailable")
	// ErrTooLarge: the change exceeds what one transaction can hold; nothing
	// was written.
	ErrTooLarge = errors.New("change too large")
	// ErrCursor: a cursor that no page of this store returned.
	ErrCursor = errors.New("bad cursor")
)

// Store keeps bills, their orders and their history. It is safe for concurrent
// use. Every time it returns is UTC. It trusts its caller, the engine, in all
// but revisions.
//
// What it promises:
//   - a Commit that returned nil is durable and visible to every later read;
//   - a Commit is atomic: all of the change, or none of it;
//   - a Commit whose revisions do not match writes nothing: ErrConflict;
//   - its cost follows what is read or due, never the size of the store.
type Store interface {
	// Commit writes a change as one transaction. ErrConflict and ErrTooLarge,
	// and text that is not UTF-8, mean that nothing was written; after any other
	// error that is unknown: read again.
	Commit(ctx context.Context, c Change) error

	// Bill returns the bill with the given id, or ErrNotFound.
	Bill(ctx context.Context, id string) (Bill, error)
	// Details returns what the shop handed over with the bill, or ErrNotFound.
	Details(ctx context.Context, id string) (Details, error)
	// Order returns the record of an order, or ErrNotFound.
	Order(ctx context.Context, key OrderKey) (OrderRecord, error)
	// History returns the events of a bill, oldest first; none is no error.
	History(ctx context.Context, id string) ([]Event, error)
	// Idempotent returns what was remembered under key, or ErrNotFound, also
	// once the record's time is over.
	Idempotent(ctx context.Context, key string, now time.Time) (Idempotency, error)

	// List returns a page of bills, newest first, and the cursor of the next
	// page, "" after the last; ErrCursor for a cursor it cannot read. A page may be short, or empty, before the last.
	List(ctx context.Context, q Query) (page []Bill, next string, err error)
	// Find returns the bills that a name means (their id, order code, billCode or
	// paymentRequestId, letter for letter), newest first and at most limit; none
	// is no error.
	Find(ctx context.Context, name string, limit int) ([]Bill, error)
	// ListNotifications returns a page of notifications, newest first, as List
	// does.
	ListNotifications(ctx context.Context, q NotificationQuery) (page []Notification, next string, err error)
	// Counts tells what the store holds; its cost does not follow how much that
	// is.
	Counts(ctx context.Context) (Counts, error)
	// Orphans returns a page of orphans by ledger and id, as List does.
	Orphans(ctx context.Context, cursor string, limit int) (page []Orphan, next string, err error)
	// Due returns the ids of at most limit bills whose Due is set and not after
	// until, the longest due first.
	Due(ctx context.Context, until time.Time, limit int) ([]string, error)
	// Ended returns a page of the ids of bills that are Forgettable and whose
	// UpdatedAt is not after until, the longest ended first, and the cursor of the
	// next page, as List does. What has been forgotten costs nothing.
	Ended(ctx context.Context, until time.Time, cursor string, limit int) (page []string, next string, err error)
	// Notification returns a notification by its id, or ErrNotFound.
	Notification(ctx context.Context, id string) (Notification, error)
	// PendingNotification returns the one notification to url about the order
	// that is pending, or ErrNotFound. The caller supersedes it in the change
	// that brings the next.
	PendingNotification(ctx context.Context, url string, key OrderKey) (Notification, error)
	// Notifications returns every notification about a bill, oldest first: by
	// Sequence, and by id where several came with one change. None is no error.
	Notifications(ctx context.Context, billID string) ([]Notification, error)
	// DueNotifications returns the ids of at most limit notifications whose Due
	// is set and not after until, the longest due first.
	DueNotifications(ctx context.Context, until time.Time, limit int) ([]string, error)
	// OpenBills returns how many bills have not ended.
	OpenBills(ctx context.Context) (int, error)
	// OpenBillsOf returns how many bills that name the client have not ended, but
	// limit where there are more, which is also what it costs at the most. The
	// empty client has none.
	OpenBillsOf(ctx context.Context, client string, limit int) (int, error)

	// Watch tells of later commits that move the version of a bill. The channel
	// holds the newest version not yet received: a slow receiver misses
	// versions, never the last, and delays nobody. Subscribe first, then read.
	// It is closed by stop, and when the store closes or breaks.
	Watch(id string) (versions <-chan uint64, stop func())

	// WatchAll tells of every bill whose version later commits move.
	WatchAll() Feed

	// Close waits for commits under way and releases everything. Every call
	// after it, Close itself included, returns ErrUnavailable.
	Close() error
}

// Change is what one transaction writes: bills and the record of one order,
// and what is remembered beside them. Every revision in it is the new one: the
// store must hold its predecessor, or nothing where it is 1. A store may hold an
// order's attempts apart besides: a second bill of one order with the same
// Attempt is ErrConflict then.
type Change struct {
	Order *OrderRecord // nil: the order's record stays as it is
	Bills []BillChange
	// Notifications are new ones, and new states of old ones. At most one of a
	// URL and an order is pending: a change that would make it two is
	// ErrConflict.
	Notifications []Notification
	Idempotency   *Idempotency
	Orphan        *Orphan
}

// BillChange is a bill's new state with what goes along.
type BillChange struct {
	Bill    Bill
	Details *Details // with a new bill only; kept until it is forgotten
	Events  []Event  // appended to the history

	// Forget deletes the bill's details, its history up to Events, and every
	// notification about it. Where one of those is still undelivered, pending or
	// dead, that is ErrConflict. It stands in no change that brings details or
	// notifications of the bill.
	Forget bool
}

// Idempotency remembers which bill answered a request with an Idempotency-Key.
// Where another answer is remembered under the key, a change with it is
// ErrConflict: see GivesWay.
type Idempotency struct {
	Key       string    `json:"-"`      // scope and key, hashed by the caller
	At        time.Time `json:"-"`      // when it is written
	Request   string    `json:"body"`   // hash of the request's body
	Bill      string    `json:"bill"`   // id
	ExpiresAt time.Time `json:"expire"` // forgotten afterwards
}

// GivesWay reports whether a later answer may take i's place under its key: one
// to the same request, or any once i is forgotten.
func (i Idempotency) GivesWay(later Idempotency) bool {
	return !later.At.Before(i.ExpiresAt) || i.Request == later.Request && i.Bill == later.Bill
}

// Orphan is a signed notification about a bill that the store does not know.
type Orphan struct {
	Ledger string    `json:"ledger"`
	ID     string    `json:"id"` // the notification's tradeUuid
	At     time.Time `json:"at"` // of the first one kept; a later one does not replace it
	Report Report    `json:"report"`

	// Resolved is set once an operator has seen to it: written again with it, an
	// orphan takes the place of the one that is held, and has to be there.
	Resolved *Resolution `json:"resolved,omitzero"`
}

// Resolution is an operator's word that nothing is left to do.
type Resolution struct {
	At    time.Time `json:"at"`
	Note  string    `json:"note"`
	Actor string    `json:"actor,omitzero"`
}

// Opener is a configured store that is not open yet: what a guest module in
// the namespace qlink.stores has to be.
type Opener interface {
	// Key names the store itself (a directory, a database and schema): two
	// configurations with equal keys share one open store. It creates nothing.
	Key() (string, error)
	// Open opens the store, creating it where it does not exist. What it returns
	// can be compared, as a pointer can.
	Open(ctx context.Context, env Env) (Store, error)
}

// Adopter is implemented by openers whose open store can go on with what a newer
// configuration says of it, under the same key: another password, say.
type Adopter interface {
	// Adopt takes the settings over; an error leaves the store as it was.
	Adopt(ctx context.Context, opened Store) error
}

// Env is what a store may use of its surroundings. A store outlives
// configurations, so it asks for its logger at each use and keeps none.
type Env struct {
	Logger func() *zap.Logger
	// Committed is told of each transaction that became durable: how many changes
	// shared it, and how long that took. It must not block,
	// and outlives configurations as the store does. nil: nobody counts.
	Committed func(changes int, took time.Duration)
}

// Feed tells of every bill that changes, until Stop.
type Feed interface {
	// Next waits for changes and returns the ids of the bills whose versions have
	// moved since the last call, each once. It ends with ctx, and with
	// ErrUnavailable when the store closes or breaks, or when so many changes
	// were not asked for that they are kept no longer: who follows has to begin
	// anew then.
	Next(ctx context.Context) (ids []string, err error)
	// Stop may be called more than once.
	Stop()
}

// Risk is something around a store that may lose what it has confirmed.
type Risk struct {
	What   string // a sentence
	Remedy string
}

// Examiner is implemented by stores that can tell the risks around them.
type Examiner interface {
	Risks(ctx context.Context) ([]Risk, error)
}

// FreeSpacer is implemented by stores that can tell how many bytes are free
// where they write.
type FreeSpacer interface {
	FreeSpace() (bytes uint64, err error)
}

// Sizer is implemented by stores that can tell how many bytes they take.
type Sizer interface {
	Size() (bytes uint64, err error)
}

// Breakable is implemented by stores that a fault can leave unfit for use until
// they are closed and opened anew: after a write that failed half-way, what is
// on disk is known only to who reads all of it again. A broken store answers
// ErrUnavailable, and ends its watches so that nobody waits on it in vain.
type Breakable interface {
	// Broken returns what broke the store, an error that wraps ErrUnavailable,
	// or nil. A broken store stays so. It is asked often: it does no I/O and
	// waits for nothing.
	Broken() error
}

// Broken returns what broke s, or nil, also where s is no Breakable.
func Broken(s Store) error {
	if b, ok := s.(Breakable); ok {
		return b.Broken()
	}
	return nil
}
