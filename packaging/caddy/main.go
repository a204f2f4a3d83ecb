// Command caddy is the Caddy of the packages: the standard one, the module, and
// the PostgreSQL store. What only try-outs want, the gateway's simulator and its
// shop, is left out; those are in cmd/caddy. It is what xcaddy makes of
//
//	xcaddy build --with github.com/caddy-qlink/caddy-qlink \
//		--with github.com/caddy-qlink/caddy-qlink/store/postgres
package main

import (
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/caddy-qlink/caddy-qlink"
	_ "github.com/caddy-qlink/caddy-qlink/store/postgres"
)

func main() { caddycmd.Main() }
