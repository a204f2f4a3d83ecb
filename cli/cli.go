// Package cli is `caddy qlink …`: what an operator does at a terminal, or in a
// script. Most commands speak to the admin API of a running Caddy; some make
// and check signatures, orders and secrets; a few concern
// stores that no Caddy has open, through what root hands them (Stores, Mover).
//
// It never opens a store that a Caddy has open, never writes a bill itself,
// takes no secret as an argument and prints none but those it makes. Whatever
// it prints for a person has been made harmless to the terminal first. It
// knows no Caddy: root registers Command and says how the admin endpoint is
// reached.
package cli

import (
	"errors"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// Host is the program that the commands are part of.
type Host struct {
	// Admin says how the admin endpoint is reached, from the flags of that name.
	Admin func(address, config, adapter string) (Endpoint, error)

	// Exit returns the error by which cmd ends the process with a code above 1.
	Exit func(cmd *cobra.Command, code int) error

	// Stores reads and writes the folders of stopped stores; nil where no store
	// that can is linked.
	Stores Stores

	// Mover carries bills from store to store; nil where none that can is linked.
	Mover Mover
}

// Endpoint is where a Caddy listens for its administrator.
type Endpoint struct {
	Network string // as net.Dial has it
	Address string
	Origin  string // scheme and authority of its URLs; its own Origin header too, but on sockets
	Name    string // as the operator knows it
}

// Command makes cmd, named qlink, the parent of all commands.
func Command(cmd *cobra.Command, host Host) {
	cmd.Use = "qlink"
	cmd.Short = "Payments: look them up, act on them, prove them"
	cmd.Long = strings.TrimSpace(`
Answers what an operator of a shop asks: did this order pay, when, what did the
gateway say, was the shop told, what is stuck, do the books agree.

Commands that speak to a running Caddy find its admin endpoint as Caddy's own
commands do: --address, else the admin address of --config, else
$CADDY_ADMIN or localhost:2019. Unix sockets are written unix//path/to/socket.

Tables are for people: they are coloured on a terminal, unless NO_COLOR is set,
and their form may change. --json prints one object a line, for programs.

Exit codes:
  0  all is well
  1  the command could not be done: no Caddy there, or an error of its own
  2  wrong usage
  3  not found, or the answer is no: a cancel was refused, a signature does not
     verify, an order is bad
  4  the books do not agree, doctor found a fault, check found damage`)
	cmd.Example = `  caddy qlink bills --stuck
  caddy qlink show O20250804001
  caddy qlink bills --json --status WAIT | jq -r .id
  caddy qlink doctor --address unix//run/caddy/admin.sock`
	cmd.RunE = host.run(func(s *session, args []string) error {
		if len(args) > 0 {
			return misuse("there is no command %q", args[0])
		}
		return s.cmd.Help()
	})
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return host.end(cmd, misuse("%w", err))
	})
	for _, group := range []struct {
		id, title string
		commands  []func(Host) *cobra.Command
	}{
		{"see", "See", []func(Host) *cobra.Command{
			billsCommand, showCommand, watchCommand, statsCommand, notificationsCommand, orphansCommand, accountCommand,
		}},
		{"act", "Act", []func(Host) *cobra.Command{
			refreshCommand, cancelCommand, resolveCommand, redeliverCommand, reopenCommand,
		}},
		{"prove", "Prove", []func(Host) *cobra.Command{
			doctorCommand, reportCommand, exportCommand, backupCommand, restoreCommand, checkCommand, migrateCommand,
		}},
		{"integrate", "Integrate", []func(Host) *cobra.Command{
			signCommand, verifyCommand, checkOrderCommand, secretCommand,
		}},
	} {
		cmd.AddGroup(&cobra.Group{ID: group.id, Title: group.title + ":"})
		for _, command := range group.commands {
			child := command(host)
			child.GroupID = group.id
			cmd.AddCommand(child)
		}
	}
}

// counted refuses fewer or more arguments than a command has use for.
func (h Host) counted(least, most int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < least:
			return h.end(cmd, misuse("%s is missing", what))
		case most >= 0 && len(args) > most && most == 0:
			return h.end(cmd, misuse("it takes no arguments: %q", args[0]))
		case slices.Contains(args, ""):
			return h.end(cmd, misuse("%s is empty", what))
		case most >= 0 && len(args) > most:
			return h.end(cmd, misuse("one argument too many: %q", args[most]))
		}
		return nil
	}
}

// parent makes cmd one that has only commands of its own.
func (h Host) parent(cmd *cobra.Command, children ...*cobra.Command) *cobra.Command {
	cmd.RunE = h.run(func(s *session, args []string) error {
		if len(args) > 0 {
			return misuse("there is no command %q", args[0])
		}
		return errors.Join(s.cmd.Help(), misuse("which? %s", s.cmd.Use))
	})
	cmd.AddCommand(children...)
	return cmd
}
