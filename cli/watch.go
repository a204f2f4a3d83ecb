package cli

import (
	"context"
	"errors"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"
)

// Waits before a lost connection is made again.
const (
	firstWait = time.Second
	lastWait  = 15 * time.Second
)

// errEnough ends a watch that has shown what it was asked for.
var errEnough = errors.New("enough")

func watchCommand(host Host) *cobra.Command {
	var limit int
	cmd := asJSON(remote(&cobra.Command{
		Use:   "watch",
		Short: "Follow bills as they change",
		Long: `Prints every bill that changes, as it changes, until it is interrupted.

A connection that is lost, at a reload of Caddy say, is made again by itself; what
changed meanwhile is not shown, and a line on standard error says so.`,
		Example: `  caddy qlink watch
  caddy qlink watch --json | jq -r 'select(.status == "SUCCESS") | .orderCode'
  caddy qlink watch --limit 1`,
		Args: host.counted(0, 0, ""),
		RunE: host.run(func(s *session, _ []string) error {
			if limit < 0 {
				return misuse("--limit must not be below zero")
			}
			return s.watch(limit)
		}),
	}))
	cmd.Flags().IntVar(&limit, "limit", 0, "End after so many changes; 0: never")
	return cmd
}

// watch follows until it was interrupted. Only a first connection that cannot
// be made is an error.
func (s *session) watch(limit int) error {
	c, err := s.admin()
	if err != nil {
		return err
	}
	seen, wait := 0, firstWait
	show := func(object jsontext.Value) error {
		if err := s.change(object); err != nil {
			return err
		}
		wait = firstWait
		if seen++; seen == limit {
			return errEnough
		}
		return nil
	}
	for first := true; ; first = false {
		broken, err := s.follow(c, show)
		switch {
		case errors.Is(err, errEnough) || s.Err() != nil:
			return nil
		case broken:
			s.out.note("The connection was lost; what changes meanwhile is not shown.")
		case first:
			return err
		}
		if !pause(s, wait) {
			return nil
		}
		wait = min(2*wait, lastWait)
	}
}

// follow shows changes until the stream ends, and reports whether there was
// one.
func (s *session) follow(c *client, show func(jsontext.Value) error) (connected bool, err error) {
	body, err := c.open(s, get("/qlink/watch", nil))
	if err != nil {
		return false, err
	}
	defer body.Close()
	decoder := jsontext.NewDecoder(body)
	for {
		object, err := decoder.ReadValue()
		if err != nil {
			return true, err
		}
		if err := show(object); err != nil {
			return true, err
		}
	}
}

// pause waits, unless ctx ends before.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// change prints a bill in one line, whose columns no later line can widen.
func (s *session) change(object jsontext.Value) error {
	if s.out.json {
		return s.out.object(object)
	}
	b, err := decode[billJSON](object)
	if err != nil {
		return err
	}
	t := s.out.table()
	t.add(moment(b.UpdatedAt), b.statusCell(), string(b.Amount)+" "+string(b.Currency), b.OrderCode, b.ID, cell{b.note(), doubt})
	return t.print("")
}
