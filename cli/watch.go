package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"
)

// Waits before a lost connection is made again.
const (
	firstWait = time.Second
	lastWait  = 15 * time.Second
)

// Ends of a stream.
var (
	errEnough = errors.New("enough") // all was seen that was asked for
	errLost   = errors.New("the connection was lost")
)

func watchCommand(host Host) *cobra.Command {
	var which filter
	var limit int
	cmd := asJSON(remote(&cobra.Command{
		Use:   "watch",
		Short: "Follow bills as they change",
		Long: `Prints every bill that changes, as it changes, until it is interrupted. Filters
add up.

A connection that is lost, at a reload of Caddy say, is made again by itself; what
changed meanwhile is not shown, and a line on standard error says so.`,
		Example: `  caddy qlink watch
  caddy qlink watch --json | jq -r 'select(.status == "SUCCESS") | .orderCode'
  caddy qlink watch --order O20250804001 --status SUCCESS --limit 1`,
		Args: host.counted(0, 0, ""),
		RunE: host.run(func(s *session, _ []string) error {
			if limit < 0 {
				return misuse("--limit must not be below zero")
			}
			query, err := which.query(time.Now())
			if err != nil {
				return err
			}
			return s.watch(get("/qlink/watch", query), limit)
		}),
	}))
	which.lasting(cmd)
	cmd.Flags().IntVar(&limit, "limit", 0, "End after so many changes; 0: never")
	return cmd
}

// watch follows until it was interrupted, or has shown enough. A first
// connection that cannot be made is an error, a later one is tried again.
func (s *session) watch(what request, limit int) error {
	c, err := s.admin()
	if err != nil {
		return err
	}
	body, err := c.open(s, what)
	if err != nil && s.Err() == nil {
		return err
	}
	seen := 0
	for body != nil {
		err := follow(body, func(object jsontext.Value) error {
			seen++
			if err := s.change(object); err != nil || seen != limit {
				return err
			}
			return errEnough
		})
		switch {
		case errors.Is(err, errEnough) || s.Err() != nil:
			body = nil
		case errors.Is(err, errLost):
			s.out.note("The connection was lost; what changes meanwhile is not shown.")
			body = c.again(s, what)
		default:
			return err
		}
	}
	return nil
}

// follow passes on what comes until the stream ends, which is never the
// stream's own wish.
func follow(body io.ReadCloser, show func(jsontext.Value) error) error {
	defer body.Close()
	decoder := jsontext.NewDecoder(body)
	for {
		object, err := decoder.ReadValue()
		if err != nil {
			return fmt.Errorf("%w: %w", errLost, err)
		}
		if err := show(object); err != nil {
			return err
		}
	}
}

// again connects until that succeeds; nil means that ctx ended before.
func (c *client) again(ctx context.Context, what request) io.ReadCloser {
	for wait := firstWait; pause(ctx, wait); wait = min(2*wait, lastWait) {
		if body, err := c.open(ctx, what); err == nil {
			return body
		}
	}
	return nil
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
