package cli

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"
)

func backupCommand(host Host) *cobra.Command {
	var dry bool
	cmd := asJSON(remote(&cobra.Command{
		Use:   "backup <file|->",
		Short: "Back up the store of a running Caddy",
		Long: `Takes a consistent backup of the store while Caddy runs. The file appears under its
name when it is complete and was read through once more, and not before: an older
backup of that name stays until then. Only you can read it, for it holds what
buyers ordered.

'-' writes it to standard output; whoever reads it there has to see to it that
all of it arrived: 'caddy qlink restore' refuses one that is cut short.`,
		Example: `  caddy qlink backup /var/backups/qlink-$(date +%F).backup
  caddy qlink backup - | age -r age1… > qlink.backup.age
  caddy qlink backup qlink.backup --dry-run`,
		Args: host.counted(1, 1, "the file to write, or -,"),
		RunE: host.run(func(s *session, args []string) error {
			c, err := s.admin()
			switch {
			case err != nil:
				return err
			case dry:
				return s.wouldBackUp(c, args[0])
			case args[0] == "-" && isTerminal(s.out.out):
				return misuse("a backup is nothing for a terminal: name a file, or send it on")
			}
			return s.backup(c, args[0])
		}),
	}))
	dryRun(cmd, &dry)
	return cmd
}

func (s *session) wouldBackUp(c *client, file string) error {
	stats, err := ask[statsJSON](s, c, get("/qlink/stats", nil))
	if err != nil {
		return err
	}
	if s.out.json {
		return s.out.value(map[string]any{"dryRun": true, "would": "backup", "bills": stats.Bills.Total})
	}
	return s.out.line("Would write a backup of %d bills to %s; the store has %s.", stats.Bills.Total, file, size(stats.Store.SizeBytes))
}

func (s *session) backup(c *client, file string) error {
	body, err := c.open(s, post("/qlink/backup", nil))
	if err != nil {
		return err
	}
	defer body.Close()
	var content Content
	err = s.save("Backing up", body, file, func(path string) (err error) {
		content, err = s.verified(path)
		return err
	})
	if err != nil || file == "-" {
		return err
	}
	if s.out.json {
		return s.out.value(content)
	}
	return s.out.line("%s is complete: %d bills.", file, content.Bills)
}

// verified reads a backup through, where a store that can is linked.
func (s *session) verified(path string) (Content, error) {
	if s.host.Stores == nil {
		return Content{}, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return Content{}, err
	}
	defer f.Close()
	content, err := s.host.Stores.Verify(s, f)
	if err != nil {
		return Content{}, fmt.Errorf("the backup is not whole: %w", err)
	}
	return content, nil
}
