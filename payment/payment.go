// Package payment is the engine: it turns orders into bills, asks the gateway
// to collect them, and settles them by what the gateway says. It is the only
// writer of bills.
//
// It knows no HTTP, no Caddy and no database: handlers call it with what a
// buyer, a shop or the gateway sent, already parsed; a bill.Store keeps what it
// decides; a Gateway speaks to QLink. It holds no state of its own that
// matters: everything a crash must not lose is committed before the call to
// the gateway that depends on it, so that any number of engines, on one node
// or several, may work on one store.
package payment

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/qlink"
)

// Gateway is QLink for one account; *qlink.Client is one.
type Gateway interface {
	Apply(ctx context.Context, r qlink.ApplyRequest) (qlink.ApplyAnswer, error)
	GetPayStatus(ctx context.Context, tradeUUIDs, billCodes []string) (qlink.StatusAnswer, error)
	Cancel(ctx context.Context, tradeUUID, billCode string) (qlink.CancelAnswer, error)
	QueryPayAccount(ctx context.Context) ([]qlink.PayMethod, error)
}

// Account is a configured account with its placeholders resolved. New puts a
// breaker before its Gateway; it never changes after that.
type Account struct {
	Name     string
	Ledger   string // bill.NewLedger of its endpoint and app key
	AppKey   string
	Secrets  []string          // the first signs, every one verifies
	Content  qlink.ContentMode // how signatures cover the content
	Location *time.Location    // of the gateway's times
	LiveMode bool
	Defaults bill.Defaults
	Gateway  Gateway

	ExpireAfter   time.Duration            // 0: never
	ExpireChannel map[string]time.Duration // by pay channel, before ExpireAfter
	CallTimeout   time.Duration            // of one call to the gateway
	StatusBatch   int                      // bills in one question of the workers
	AcceptUnknown bool                     // a notification about an unknown bill is answered as if known

	ConfirmSuccess bool // a notification's SUCCESS counts once a query agrees

	list *listing // what the gateway lists to choose from; New sets it
}

// Scope is what a handler answers for: one account and one shop.
type Scope struct {
	Account *Account
	Shop    string
}

func (s Scope) owns(b bill.Bill) bool {
	return b.Account == s.Account.Name && b.Ledger == s.Account.Ledger && b.Shop == s.Shop
}

func (s Scope) key(orderCode string) bill.OrderKey {
	return bill.OrderKey{Ledger: s.Account.Ledger, Shop: s.Shop, OrderCode: orderCode}
}

// Config is what an engine works with. Every field is required unless it says
// otherwise.
type Config struct {
	Accounts []*Account
	// Store leases the store for the duration of one operation; release is
	// called exactly once where err is nil. An error that wraps
	// bill.ErrUnavailable is answered as such.
	Store func(ctx context.Context) (store bill.Store, release func(), err error)

	// Notify returns the URLs that are told of the bills of an account and a
	// shop; nil: none.
	Notify func(account, shop string) []Target
	// NotifyTransport carries notifications; nil: one of its own.
	NotifyTransport http.RoundTripper

	MinInterval   time.Duration // between two questions about one bill, at the least …
	MaxInterval   time.Duration // … and about an old open one that nobody watches, at the most
	UnknownAfter  time.Duration // see bill.Rules
	OpenTotal     int           // bills that may be open at once; 0: no bound
	OpenPerClient int           // likewise of one buyer's address; 0: no bound, and no address is kept
	Retention     time.Duration // after a bill's end, until its details are deleted; MinRetention at least; 0: never
	MinFreeSpace  uint64        // bytes; below, no new checkouts; 0: no bound

	// Metrics counts what happens; nil: nobody does.
	Metrics Metrics
	// Emit is told, soon after the commit and in the process alone, what shops are
	// told too; never two calls at once. What it does not take in time is dropped. nil:
	// nobody listens.
	Emit func(kind bill.NotificationType, b bill.Bill)

	Logger *zap.Logger
	Now    func() time.Time
	NewID  func() string       // a random tradeUuid
	Rand   func(n int64) int64 // a random number from 0 to n-1
}

// Engine does the work for one configuration. Its methods are safe for
// concurrent use, and finish what they have begun at the gateway even when
// the caller's context ends.
type Engine struct {
	cfg        Config
	background background
	emitter    emitter
	tracing    tracing
	watchers   watchers
	posted     chan struct{} // a notification was stored: it is due

	running     context.Context //nolint:containedctx // it ends with Stop, and so does what would go on for long
	stopRunning context.CancelFunc
	warned      atomic.Bool // that checkouts are closed
}

// New returns an engine. It starts nothing: see Run.
func New(cfg Config) *Engine {
	if cfg.Metrics == nil {
		cfg.Metrics = uncounted{}
	}
	e := &Engine{cfg: cfg, posted: make(chan struct{}, 1), emitter: emitter{to: cfg.Emit, logger: cfg.Logger}}
	for _, a := range cfg.Accounts {
		a.Gateway = watch(e, a)
		a.list = new(listing)
	}
	e.running, e.stopRunning = context.WithCancel(context.Background())
	return e
}

// HandOver says how an order came.
type HandOver struct {
	// At is when the shop signed the order, or answered with it.
	At time.Time
	// Signed is set where At is the shop's word: then an order from before the
	// current attempt's hand-over is stale.
	Signed bool
	// PayURL returns the address of the page of a new bill.
	PayURL func(id string) string
	// Client is the address of the buyer who hands it over, in a form that is
	// the same for all who are counted as one; "" where nobody is to be counted.
	Client string
	// Idempotency is set where the shop sent an Idempotency-Key.
	Idempotency *Idempotency

	retryOf string // id of the attempt that a buyer follows by another
}

// Idempotency names a request that a shop may repeat.
type Idempotency struct {
	Key  string // hash of the secret and the header's value
	Body string // hash of the body
}

// Outcome says what became of an order.
type Outcome string

// The outcomes of Create.
const (
	OutcomeNew      Outcome = "new"      // a new bill, waiting or to be chosen
	OutcomeExisting Outcome = "existing" // the bill existed, open or paid
	OutcomeUnknown  Outcome = "unknown"  // the gateway's answer is not known yet
	OutcomeRefused  Outcome = "refused"  // the gateway refused: the bill has failed
)

// Created is the answer of Create.
type Created struct {
	Bill    bill.Bill
	Outcome Outcome
}

// Order is an order as its shop is told of it.
type Order struct {
	Key      bill.OrderKey
	PaidBill string      // id of the bill that paid it, or ""
	OpenBill string      // id of the attempt that has not ended, or ""
	Bills    []bill.Bill // newest first
}

// Code is a stable name of a refusal, part of the contract.
type Code string

// The refusals of the engine.
const (
	CodePreviousOpen  Code = "previous_attempt_open"  // the earlier attempt has not certainly ended
	CodePaidOtherwise Code = "paid_at_another_amount" // paid, but not what is asked now
	CodeAlreadyPaid   Code = "already_paid"           // a paid order is neither cancelled nor paid again
	CodeCancelRefused Code = "cancel_refused"         // the gateway did not cancel
	CodeStaleOrder    Code = "stale_order"            // signed before the current attempt's hand-over
	CodeKeyRunning    Code = "idempotency_running"    // the first request with this key has not ended
	CodeKeyReused     Code = "idempotency_key_reused" // this key came with another body

	CodeNotChoosable    Code = "not_choosable"     // how to pay is not, or no longer, to be chosen
	CodeNotOffered      Code = "not_offered"       // what was chosen is not offered
	CodeRetryNotAllowed Code = "retry_not_allowed" // no new attempt is the buyer's to begin
)

// Refusal is an error that names a rule and, where one is meant, the bill.
type Refusal struct {
	Code Code
	Bill *bill.Bill
}

// Error returns the code: words for people are the HTTP table's.
func (r *Refusal) Error() string { return string(r.Code) }

func isNotFound(err error) bool { return errors.Is(err, bill.ErrNotFound) }

// Errors of the engine besides *Refusal, *bill.OrderError, bill.ErrNotFound
// and bill.ErrUnavailable.
var (
	// ErrTooManyOpen: the limit of open bills is reached; nothing was created.
	ErrTooManyOpen = errors.New("too many open bills")
	// ErrTooManyOpenOfClient is an ErrTooManyOpen about the limit for one
	// address.
	ErrTooManyOpenOfClient = fmt.Errorf("%w of one client", ErrTooManyOpen)
	// ErrContradiction: a notification names another bill or order than the
	// stored one. It was recorded in the bill's history.
	ErrContradiction = errors.New("the notification contradicts the stored bill")
)
