package cli

import (
	"context"
	"errors"

	"github.com/jedib0t/go-pretty/v6/progress"
	"github.com/spf13/cobra"
)

// Mover carries what the store of one configuration holds into that of
// another, while no Caddy runs on either. Errors say in plain words what is
// wrong, and what to do.
type Mover interface {
	Move(ctx context.Context, m Migration, told func(doing string, done, total int64)) (Moved, error)
	// GiveUp deletes what an unfinished migration has carried over, and has its
	// source serve again.
	GiveUp(ctx context.Context, m Migration) (Moved, error)
	// TakeBack has the store that bills were carried from serve again.
	TakeBack(ctx context.Context, m Migration) (Moved, error)
}

// Migration is what an operator asks for.
type Migration struct {
	From, To string // files of configurations; each names a store
	Adapter  string // of those that are no JSON; "": as their names say
	Force    bool   // to take back a store that was left
	Dry      bool   // to do nothing but look whether it can be done
}

// Moved is what was moved, or would be.
type Moved struct {
	From          string `json:"from"`         // where it was
	To            string `json:"to,omitempty"` // and is
	Bills         uint64 `json:"bills"`
	Orders        uint64 `json:"orders,omitzero"`
	Notifications uint64 `json:"notifications"`
	Answers       uint64 `json:"answers,omitzero"` // under Idempotency-Keys
	Orphans       uint64 `json:"orphans,omitzero"`
	Checksum      string `json:"checksum,omitempty"` // of both

	CheckoutsClosed bool `json:"checkoutsClosed,omitzero"` // of a store that was taken back
}

// Fault gives an error the exit code of faults and damage that were found.
func Fault(err error) error { return &failure{exitFault, err} }

var errNoMover = errors.New("this Caddy has no store that bills can be carried from")

func migrateCommand(host Host) *cobra.Command {
	var m Migration
	var giveUp, takeBack bool
	cmd := asJSON(&cobra.Command{
		Use:   "migrate-store --from <config> --to <config>",
		Short: "Carry all bills into another store; no Caddy runs on either meanwhile",
		Long: `Carries everything from the store that one configuration names into the empty
store of another, reads both once more, and compares them by count and checksum.
Only then does the new store serve; the old one does not any more, so that no
order is paid in both. Each configuration is a Caddyfile or Caddy's JSON: the
settings are those that Caddy uses afterwards, and no secret is an argument.

A run that was interrupted is gone on with by the same command. Until it is done
no Caddy starts on the new store, nor, once it has begun, on the old one.

--give-up ends a migration that is not done: what the new store has got is
deleted, and the old one serves again. --take-back lets an old store serve again
whose new one is not there any more; with --force, one whose bills were carried
over for good, which comes back with its checkouts closed: orders that were paid
in the new store would be payable again. To go back without that, carry the bills
back, into an empty store.

It exits with 4 where the stores do not hold the same.`,
		Example: `  caddy qlink migrate-store --from Caddyfile --to Caddyfile.new --dry-run
  caddy qlink migrate-store --from /etc/caddy/Caddyfile --to /etc/caddy/Caddyfile.new
  caddy qlink migrate-store --from Caddyfile --to Caddyfile.new --give-up
  caddy qlink migrate-store --from Caddyfile --take-back --force`,
		Args: host.counted(0, 0, ""),
		RunE: host.run(func(s *session, _ []string) error {
			switch {
			case m.From == "":
				return misuse("--from is missing")
			case giveUp && takeBack:
				return misuse("give it up, or take it back?")
			case m.Force && !takeBack:
				return misuse("--force goes with --take-back")
			case takeBack && m.To != "":
				return misuse("--take-back looks at no new store: leave --to out")
			case !takeBack && m.To == "":
				return misuse("--to is missing")
			case host.Mover == nil:
				return errNoMover
			case giveUp:
				return s.giveUp(m)
			case takeBack:
				return s.takeBack(m)
			}
			return s.move(m)
		}),
	})
	flags := cmd.Flags()
	flags.StringVar(&m.From, "from", "", "Configuration that names the store to carry from")
	flags.StringVar(&m.To, "to", "", "Configuration that names the store to carry into")
	flags.StringVar(&m.Adapter, "adapter", "", "Config adapter of both, where their names do not tell")
	flags.BoolVar(&giveUp, "give-up", false, "Delete what an unfinished migration has carried over")
	flags.BoolVar(&takeBack, "take-back", false, "Let the old store serve again")
	flags.BoolVar(&m.Force, "force", false, "Take it back though it was left for good")
	dryRun(cmd, &m.Dry)
	return cmd
}

func (s *session) move(m Migration) error {
	var b *bar
	var doing string
	var reached int64
	moved, err := s.host.Mover.Move(s, m, func(now string, done, total int64) {
		if now != doing {
			b.end(nil)
			b, doing, reached = s.bar(now, total, progress.UnitsDefault), now, 0
		}
		b.add(done - reached)
		reached = done
	})
	b.end(err)
	switch {
	case err != nil:
		return err
	case s.out.json:
		return s.moved(m, "migrate", moved)
	case m.Dry:
		return s.out.line("Would carry %d bills and %d notifications from %s into %s.", moved.Bills, moved.Notifications, moved.From, moved.To)
	}
	err = s.out.line("%s holds what %s holds: %d bills, %d orders, %d notifications, %d answers under Idempotency-Keys, %d orphans.",
		moved.To, moved.From, moved.Bills, moved.Orders, moved.Notifications, moved.Answers, moved.Orphans)
	if err == nil {
		err = s.out.line("Checksum %s.", moved.Checksum)
	}
	s.out.note("Start Caddy with %s. %s does not serve any more; keep it until you are sure.", m.To, moved.From)
	return err
}

// moved prints it for programs.
func (s *session) moved(m Migration, what string, moved Moved) error {
	if !m.Dry {
		return s.out.value(moved)
	}
	return s.out.value(struct {
		DryRun bool   `json:"dryRun"`
		Would  string `json:"would"`
		Moved  `json:",inline"`
	}{true, what, moved})
}

func (s *session) giveUp(m Migration) error {
	moved, err := s.host.Mover.GiveUp(s, m)
	switch {
	case err != nil:
		return err
	case s.out.json:
		return s.moved(m, "give-up", moved)
	case m.Dry:
		return s.out.line("Would delete what %s holds; %s would serve again.", moved.To, moved.From)
	}
	return s.out.line("%s is empty, and %s serves again.", moved.To, moved.From)
}

func (s *session) takeBack(m Migration) error {
	moved, err := s.host.Mover.TakeBack(s, m)
	closed := ""
	if moved.CheckoutsClosed {
		closed = ", its checkouts closed until 'caddy qlink reopen'"
	}
	switch {
	case err != nil:
		return err
	case s.out.json:
		return s.moved(m, "take-back", moved)
	case m.Dry:
		return s.out.line("%s would serve again%s.", moved.From, closed)
	}
	return s.out.line("%s serves again%s.", moved.From, closed)
}
