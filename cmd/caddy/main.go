// Command caddy is a Caddy with everything in this repository compiled in:
// the module, the PostgreSQL store, the gateway simulator and the quickstart's
// shop. It is for
// try-outs and tests; production builds come from xcaddy.
package main

import (
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/caddy-qlink/caddy-qlink"
	_ "github.com/caddy-qlink/caddy-qlink/examples/quickstart/shop"
	_ "github.com/caddy-qlink/caddy-qlink/sandbox"
	_ "github.com/caddy-qlink/caddy-qlink/store/postgres"
)

func main() { caddycmd.Main() }
