package cli

import (
	"fmt"
	"io"
	"os"

	"github.com/jedib0t/go-pretty/v6/progress"
	"github.com/spf13/cobra"
)

func restoreCommand(host Host) *cobra.Command {
	var dry bool
	cmd := asJSON(&cobra.Command{
		Use:   "restore <file|-> <store folder>",
		Short: "Make a store of a backup; no Caddy runs on it meanwhile",
		Long: `Makes a store of a backup, in a folder that is empty or not there yet. A backup
that is damaged or cut short is refused, and leaves nothing behind.

A Caddy on the restored store takes the gateway's webhooks but no checkouts:
orders that were paid since the backup would be payable again. See 'caddy qlink
report' and 'caddy qlink reopen'.`,
		Example: `  caddy qlink restore qlink.backup /var/lib/caddy/.local/share/caddy/qlink
  age -d qlink.backup.age | caddy qlink restore - ./restored
  caddy qlink restore qlink.backup ./restored --dry-run`,
		Args: host.counted(2, 2, "the backup or the folder"),
		RunE: host.run(func(s *session, args []string) error {
			stores, err := s.stores()
			if err != nil {
				return err
			}
			backup, total, err := s.source(args[0])
			if err != nil {
				return err
			}
			defer backup.Close()
			title := "Restoring"
			if dry {
				title = "Verifying"
			}
			b := s.bar(title, total, progress.UnitsBytes)
			content, err := s.restore(stores, b.counted(backup), args[1], dry)
			b.end(err)
			if err != nil {
				return err
			}
			return s.restored(content, args[1], dry)
		}),
	})
	dryRun(cmd, &dry)
	return cmd
}

// source opens a backup, and says how many bytes it has, 0 where nobody knows.
func (s *session) source(file string) (io.ReadCloser, int64, error) {
	if file == "-" {
		return io.NopCloser(s.cmd.InOrStdin()), 0, nil
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, 0, err
	}
	return f, info.Size(), nil
}

func (s *session) restore(stores Stores, backup io.Reader, dir string, dry bool) (Content, error) {
	if !dry {
		return stores.Restore(s, backup, dir)
	}
	entries, err := os.ReadDir(dir)
	if err == nil && len(entries) > 0 {
		return Content{}, fmt.Errorf("%s is not empty", dir)
	}
	return stores.Verify(s, backup)
}

func (s *session) restored(content Content, dir string, dry bool) error {
	if s.out.json {
		return s.out.value(content)
	}
	verb := "Restored"
	if dry {
		verb = "Would restore"
	}
	if err := s.out.line("%s %d bills to %s.", verb, content.Bills, dir); err != nil || dry {
		return err
	}
	s.out.note("Its checkouts stay closed until 'caddy qlink reopen'.")
	return nil
}
