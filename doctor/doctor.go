// Package doctor examines a running configuration: it tries what the operator
// could have got wrong (the account at the gateway, clocks, certificates, the
// shop's URLs, the webhook's address, the store and its disk) and says what it
// found in plain words, with a remedy.
//
// It changes nothing anywhere: at the gateway it only asks (queryPayAccount,
// and getPayStatus of a payment that does not exist), so that no bill is ever
// made; shops get a message of a type that none of them knows; the store is
// only read. It calls no URL but those of its Config, which are the operator's
// own, and follows no redirect. No secret stands in what it says.
//
// It knows no Caddy. The root package, which knows the resolved secrets, builds
// the Config, and the admin API runs it.
package doctor

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/qlink"
)

// Check names what was examined. docs/doctor.md has a section for each.
type Check string

// The checks, in the order in which they are reported of one account, shop,
// site or store.
const (
	CheckStore          Check = "store"             // open, sound, taking checkouts
	CheckDisk           Check = "disk"              // free space
	CheckDirectory      Check = "store_directory"   // owner and permissions
	CheckDurability     Check = "store_durability"  // what may lose what was confirmed
	CheckBacklog        Check = "backlog"           // what waits for a person
	CheckConfiguration  Check = "configuration"     // options that contradict each other
	CheckGateway        Check = "gateway"           // something answers at the endpoint
	CheckCredentials    Check = "credentials"       // app_key and app_secret
	CheckSignature      Check = "signature_content" // how the body stands in the signed text
	CheckEscape         Check = "body_escape"       // how requests write special characters
	CheckAccountField   Check = "account_field"     // the name under which pay_account is sent
	CheckWays           Check = "ways"              // types and channels against the gateway's list
	CheckClock          Check = "clock"             // this machine's against others'
	CheckTimeZone       Check = "time_zone"         // of the gateway's times
	CheckCertificate    Check = "certificate"       // of what is called over TLS
	CheckShop           Check = "shop"              // a notify URL takes a signed message
	CheckShopSignature  Check = "shop_signature"    // and refuses one that is not
	CheckWebhookAddress Check = "webhook_address"   // QLink's way in
)

// Checks returns every check.
func Checks() []Check {
	return []Check{
		CheckStore, CheckDisk, CheckDirectory, CheckDurability, CheckBacklog,
		CheckConfiguration, CheckGateway, CheckCredentials, CheckSignature, CheckEscape, CheckAccountField, CheckWays,
		CheckClock, CheckTimeZone, CheckCertificate,
		CheckShop, CheckShopSignature, CheckWebhookAddress,
	}
}

// Status is how a check came out.
type Status string

// The statuses, from the best to the worst. What was skipped could not be told,
// and is no fault.
const (
	OK      Status = "ok"
	Skipped Status = "skipped"
	Warning Status = "warning"
	Failed  Status = "failed"
)

var byGravity = []Status{OK, Skipped, Warning, Failed}

// Worse returns the worse of two statuses.
func Worse(a, b Status) Status {
	if slices.Index(byGravity, a) < slices.Index(byGravity, b) {
		return b
	}
	return a
}

// Finding is what one check found.
type Finding struct {
	Check   Check  `json:"check"`
	Account string `json:"account"` // "" where it is about none, or all
	Status  Status `json:"status"`
	Finding string `json:"finding"`
	Remedy  string `json:"remedy"` // "" where there is nothing to do
}

// Config is what is examined, and by what. Functions that are nil leave their
// checks out.
type Config struct {
	Accounts []Account
	Shops    []Shop
	Sites    []Site

	// Store tells how the store is; its error is why it cannot be used now.
	Store func(ctx context.Context) (Store, error)
	// Backlog counts what waits for a person.
	Backlog func(ctx context.Context) (Backlog, error)
	// Paid returns some of an account's paid bills, the newest first.
	Paid func(ctx context.Context, account string) ([]bill.Bill, error)

	// Transport carries calls to shops and sites; nil: one of its own.
	Transport http.RoundTripper
	// Timeout bounds each call; 0: 10 s.
	Timeout time.Duration
	Now     func() time.Time
	// NewID returns a random UUID.
	NewID func() string
}

// Account is a configured account with its placeholders resolved.
type Account struct {
	Name     string
	LiveMode bool
	Gateway  qlink.Config // as configured; the doctor varies it
	Previous []string     // the secrets after the first
	Defaults bill.Defaults

	ExpireAfter   time.Duration            // 0: never
	ExpireChannel map[string]time.Duration // by pay channel
}

// String names the account only, so that printing one tells no secret.
func (a Account) String() string { return "doctor.Account{" + a.Name + "}" }

// GoString is String, for %#v.
func (a Account) GoString() string { return a.String() }

// Shop is a URL that is told how bills end.
type Shop struct {
	Account string // "" where it is that of several
	URL     string
	Secrets [][]byte // every one signs
}

// String names the host only, so that printing one tells no secret.
func (s Shop) String() string { return "doctor.Shop{" + hostOf(s.URL) + "}" }

// GoString is String, for %#v.
func (s Shop) GoString() string { return s.String() }

// Site is one place where endpoints are served.
type Site struct {
	Account  string
	LiveMode bool
	// Base is the URL under which the prefix's parent is seen; "" where nobody
	// knows it.
	Base   string
	Prefix string
	// Assumed is set where Base was told from the site's host names, and nobody
	// said that it is what the world sees.
	Assumed bool
}

const defaultTimeout = 10 * time.Second

// atOnce bounds how many accounts, shops and sites are examined at a time.
const atOnce = 8

// examination is one run.
type examination struct {
	Config
	client *http.Client
}

// say reports the finding of a check.
type say func(Check, Status, string, string)

// Run examines everything and reports each finding when it and all before it
// are there: their order does not depend on who answers first. It returns the
// worst status. When ctx ends it stops early; what it returns then is worth
// nothing.
func Run(ctx context.Context, cfg Config, report func(Finding)) Status {
	if cfg.Timeout <= 0 {
		cfg.Timeout = defaultTimeout
	}
	x := &examination{Config: cfg}
	transport := cfg.Transport
	if transport == nil {
		own := newTransport()
		defer own.CloseIdleConnections()
		transport = own
	}
	x.client = newClient(transport, cfg.Timeout)
	worst := OK
	inOrder(ctx, x.parts(), func(f Finding) {
		worst = Worse(worst, f.Status)
		report(f)
	})
	return worst
}

// part is what is examined by itself, one check after the other.
type part struct {
	account string
	examine func(context.Context, say)
}

func (x *examination) parts() []part {
	parts := []part{{"", x.examineStore}}
	for _, a := range x.Accounts {
		parts = append(parts, part{a.Name, func(ctx context.Context, say say) { x.examineAccount(ctx, a, say) }})
	}
	for _, s := range x.Shops {
		parts = append(parts, part{s.Account, func(ctx context.Context, say say) { x.examineShop(ctx, s, say) }})
	}
	for _, s := range x.Sites {
		parts = append(parts, part{s.Account, func(ctx context.Context, say say) { x.examineSite(ctx, s, say) }})
	}
	return parts
}

// inOrder examines several parts at once and reports their findings in the
// parts' order. It returns when all of them have ended.
func inOrder(ctx context.Context, parts []part, report func(Finding)) {
	var running sync.WaitGroup
	defer running.Wait()
	queue := make(chan chan Finding, atOnce-1)
	running.Go(func() {
		defer close(queue)
		for _, p := range parts {
			found := make(chan Finding)
			select {
			case queue <- found:
			case <-ctx.Done():
				return
			}
			running.Go(func() { p.run(ctx, found) })
		}
	})
	for found := range queue {
		for f := range found {
			report(f)
		}
	}
}

func (p part) run(ctx context.Context, found chan<- Finding) {
	defer close(found)
	p.examine(ctx, func(c Check, s Status, finding, remedy string) {
		select {
		case found <- Finding{Check: c, Account: p.account, Status: s, Finding: finding, Remedy: remedy}:
		case <-ctx.Done():
		}
	})
}
