// Package operator is the admin API: what an operator sees of all bills, and
// does about them, as plain HTTP. It answers in Caddy's admin endpoint's own
// style, {"error": …} included.
//
// It decides nothing and stores nothing: it asks the engine, which writes every
// act into the history of its bill. It knows no Caddy; the module's root hangs
// its routes into Caddy's admin endpoint, which is who guards them: nobody is
// asked for a password here, and a bill is shown whole, metadata included.
package operator

import (
	"context"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/payment"
)

// Payments is the engine, as far as it is for operators; *payment.Engine is
// one.
type Payments interface {
	List(ctx context.Context, q bill.Query) (page []bill.Bill, next string, err error)
	Lookup(ctx context.Context, name string) (bill.Bill, error)
	Timeline(ctx context.Context, id string) (payment.Timeline, error)
	DetailsOf(ctx context.Context, id string) (bill.Details, error)
	Notifications(ctx context.Context, q bill.NotificationQuery) (page []bill.Notification, next string, err error)
	Orphans(ctx context.Context, cursor string, limit int) (page []bill.Orphan, next string, err error)
	Gauges(ctx context.Context) (payment.Gauges, error)
	Follow(ctx context.Context, begun func(), each func(bill.Bill) error) error
	Report(ctx context.Context, q payment.ReportQuery, progress func(done int)) (payment.Report, error)
	Backup(ctx context.Context, w io.Writer) (bill.Manifest, error)
	Reopen(ctx context.Context) error
	Operator(name string) payment.Operator
}

// Desk is what one request is answered with: the running configuration's.
type Desk struct {
	Payments Payments
	Now      func() time.Time
	// Ended is closed when the configuration stops: streams end by it.
	Ended <-chan struct{}

	// Accounts describes the accounts, in a form to be encoded as JSON.
	Accounts func(ctx context.Context) any
	// Doctor returns what examines an account ("": all) and passes each finding
	// on; site, where not "", is the URL under which the site is seen. An error
	// says what is wrong with these two.
	Doctor func(account, site string) (func(ctx context.Context, report func(finding any)), error)
}

// Route is an address of the admin API.
type Route struct {
	Path    string            // in the syntax of http.ServeMux, without a method
	methods map[string]answer // by HTTP method
}

// answer serves one request, or returns why not, without having written
// anything.
type answer func(d Desk, w http.ResponseWriter, r *http.Request) error

// Routes returns all addresses.
func Routes() []Route {
	get := func(path string, serve answer) Route { return Route{path, map[string]answer{http.MethodGet: serve}} }
	post := func(path string, serve answer) Route { return Route{path, map[string]answer{http.MethodPost: serve}} }
	return []Route{
		get("/qlink/bills", serveBills),
		get("/qlink/bills/{id}", serveBill),
		post("/qlink/bills/{id}/refresh", serveRefresh),
		post("/qlink/bills/{id}/cancel", serveCancel),
		post("/qlink/bills/{id}/redeliver", serveRedeliver),
		post("/qlink/bills/{id}/resolve", serveResolve),
		post("/qlink/redeliver", serveBulkRedeliver),
		get("/qlink/notifications", serveNotifications),
		get("/qlink/orphans", serveOrphans),
		get("/qlink/stats", serveStats),
		get("/qlink/watch", serveWatch),
		get("/qlink/export", serveExport),
		get("/qlink/report", serveReport),
		get("/qlink/accounts", serveAccounts),
		post("/qlink/doctor", serveDoctor),
		post("/qlink/backup", serveBackup),
		post("/qlink/reopen", serveReopen),
		{Path: "/qlink/"}, // all else
	}
}

// Serve answers a request to the route. An error it returns was not written:
// StatusOf tells how it is to be answered.
func (t Route) Serve(d Desk, w http.ResponseWriter, r *http.Request) error {
	if len(t.methods) == 0 {
		return refuse(http.StatusNotFound, "there is no such address: %.200q", r.URL.Path)
	}
	serve, ok := t.methods[r.Method]
	if r.Method == http.MethodHead && !ok {
		serve, ok = t.methods[http.MethodGet]
	}
	if !ok {
		var allowed []string
		for method := range t.methods {
			allowed = append(allowed, method)
		}
		slices.Sort(allowed)
		w.Header().Set("Allow", strings.Join(allowed, ", "))
		return refuse(http.StatusMethodNotAllowed, "method not allowed: %s", r.Method)
	}
	w.Header().Set("Cache-Control", "no-store")
	return serve(d, w, r)
}

// actor is who acts, by his own word: whoever reaches the admin endpoint may do
// all there is.
func actor(r *http.Request) string {
	if name := r.Header.Get("QLink-Operator"); name != "" {
		return name
	}
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return "admin"
	}
	return "admin " + host
}

// maxBody bounds a request's body, in bytes.
const maxBody = 64 << 10

// body reads the request's body, whole.
func body(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		return nil, refuse(http.StatusBadRequest, "the body could not be read: %w", err)
	}
	return data, nil
}
