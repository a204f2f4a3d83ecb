package caddyqlink

import (
	"fmt"
	"strings"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/caddy-qlink/caddy-qlink/cli"
)

func init() {
	caddycmd.RegisterCommand(caddycmd.Command{
		Name:  "qlink",
		Usage: "<command>",
		Short: "Payments: look them up, act on them, prove them",
		CobraFunc: func(cmd *cobra.Command) {
			cli.Command(cmd, cli.Host{Admin: adminEndpoint, Exit: exitWith, Stores: folders{}, Mover: mover{}})
		},
	})
}

// adminEndpoint finds the admin endpoint as Caddy's own commands do.
func adminEndpoint(address, config, adapter string) (cli.Endpoint, error) {
	name, err := caddycmd.DetermineAdminAPIAddress(address, nil, config, adapter)
	if err != nil {
		return cli.Endpoint{}, err
	}
	parsed, err := caddy.ParseNetworkAddress(name)
	if err != nil || parsed.PortRangeSize() > 1 {
		return cli.Endpoint{}, fmt.Errorf("%q is no admin address", name)
	}
	if parsed.IsUnixNetwork() || parsed.IsFdNetwork() {
		// The file's permissions may stand behind its path. A host has to be named,
		// though none is meant; this is the one that Caddy lets pass.
		parsed.Host, _, _ = strings.Cut(parsed.Host, "|")
		return cli.Endpoint{Network: parsed.Network, Address: parsed.JoinHostPort(0), Origin: "http://127.0.0.1", Name: name}, nil
	}
	hostPort := parsed.JoinHostPort(0)
	return cli.Endpoint{Network: parsed.Network, Address: hostPort, Origin: "http://" + hostPort, Name: name}, nil
}

// exitWith returns the error from which Caddy's main takes the exit code: only
// Caddy itself can make one.
func exitWith(cmd *cobra.Command, code int) error {
	return caddycmd.WrapCommandFuncForCobra(func(caddycmd.Flags) (int, error) { return code, nil })(cmd, nil)
}
