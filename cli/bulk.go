package cli

import (
	"errors"

	"github.com/jedib0t/go-pretty/v6/progress"
	"github.com/spf13/cobra"
)

// dryRun adds the flag that makes an act tell what it would do.
func dryRun(cmd *cobra.Command, dry *bool) {
	cmd.Flags().BoolVar(dry, "dry-run", false, "Only say what would be done")
}

// each acts on one after the other and goes on after a failure; the gravest of
// them ends the command. What failed is told when the bar is out of the way.
func (s *session) each(title string, names []string, act func(name string) error) error {
	var b *bar
	if len(names) > 1 {
		b = s.bar(title, int64(len(names)), progress.UnitsDefault)
	}
	var failed []string
	worst := 0
	for _, name := range names {
		if s.Err() != nil {
			break
		}
		err := act(name)
		b.add(1)
		if err == nil {
			continue
		}
		failed = append(failed, name+": "+err.Error())
		if code := codeOf(err); worst == 0 || code < worst {
			worst = code
		}
	}
	b.end(s.Err())
	for _, text := range failed {
		s.out.note("Error: %s", text)
	}
	switch {
	case s.Err() != nil:
		return s.Err()
	case worst != 0:
		return said(worst)
	}
	return nil
}

// one resolves any of a bill's names to the bill.
func (c *client) one(s *session, name string) (billJSON, error) {
	raw, err := c.detail(s, name)
	if err != nil {
		return billJSON{}, err
	}
	d, err := decode[billDetail](raw)
	if err == nil && d.Bill.ID == "" {
		err = errors.New("understand the answer: it names no bill")
	}
	return d.Bill, err
}
