package caddyqlink

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-qlink/caddy-qlink/doctor"
	"github.com/caddy-qlink/caddy-qlink/operator"
)

func init() {
	caddy.RegisterModule(AdminAPI{})
}

// AdminAPI serves operators under /qlink/ on Caddy's admin endpoint: bills with
// their whole history, what can be done about them, figures, exports, backups.
// See docs/operations.md.
type AdminAPI struct{}

// CaddyModule returns the Caddy module information.
func (AdminAPI) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "admin.api.qlink",
		New: func() caddy.Module { return new(AdminAPI) },
	}
}

// Routes returns the addresses of package operator.
func (*AdminAPI) Routes() []caddy.AdminRoute {
	var routes []caddy.AdminRoute
	for _, route := range operator.Routes() {
		routes = append(routes, caddy.AdminRoute{
			Pattern: route.Path,
			Handler: caddy.AdminHandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
				app, err := runningApp()
				if err == nil {
					err = route.Serve(app.desk(), w, r)
				}
				if err != nil {
					return caddy.APIError{HTTPStatus: operator.StatusOf(err), Err: err}
				}
				return nil
			}),
		})
	}
	return routes
}

// errNotRunning is answered while no configuration with the app runs.
var errNotRunning = errors.New("the running configuration has no app qlink")

// runningApp returns the app of the configuration that runs now. Caddy replaces
// the admin endpoint before it loads the apps, and does not roll that back: a
// router that held on to an app could serve one that never started.
func runningApp() (*App, error) {
	app, err := caddy.ActiveContext().AppIfConfigured("qlink")
	if err != nil {
		return nil, operator.Refuse(http.StatusNotFound, errNotRunning)
	}
	return app.(*App), nil
}

// desk is what the admin API works with under this configuration.
func (a *App) desk() operator.Desk {
	return operator.Desk{
		Payments: a.engine, Now: time.Now, Ended: a.ended,
		Accounts: func(ctx context.Context) any { return a.rows(ctx) },
		Doctor: func(account, site string) (func(context.Context, func(any)), error) {
			cfg, err := a.examination(account, site)
			return func(ctx context.Context, report func(any)) {
				doctor.Run(ctx, cfg, func(f doctor.Finding) { report(f) })
			}, err
		},
	}
}

// Interface guards
var (
	_ caddy.Module      = (*AdminAPI)(nil)
	_ caddy.AdminRouter = (*AdminAPI)(nil)
)
