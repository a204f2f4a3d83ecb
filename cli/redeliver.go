package cli

import (
	"errors"
	"maps"
	"net/url"
	"slices"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/jedib0t/go-pretty/v6/progress"
	"github.com/spf13/cobra"
)

// redelivered is a line of a bulk redelivery: a bill, or the end.
type redelivered struct {
	Bill        string `json:"bill"`
	OrderCode   string `json:"orderCode"`
	Redelivered int    `json:"redelivered"`
	Overtaken   int    `json:"overtaken"`
	Error       string `json:"error"`

	Done          bool  `json:"done"`
	Bills         int64 `json:"bills"`
	Notifications int64 `json:"notifications"`
	Failed        int64 `json:"failed"`
}

func redeliverCommand(host Host) *cobra.Command {
	var failed, all, dry bool
	var since string
	cmd := asJSON(remote(&cobra.Command{
		Use:   "redeliver <bill>… | --failed --since <time> | --all --since <time>",
		Short: "Tell shops again",
		Long: `Sends the newest notification about a bill again, now, to every URL that was told
of it, under the same webhook-id. Where something newer about the same order went
to a URL, the older one is left alone: an old "cancelled" never follows a "paid".

--failed takes all that were not taken by their shop, --all even those that were;
both since a time: after a shop lost its own records, say.`,
		Example: `  caddy qlink redeliver O20250804001
  caddy qlink redeliver --failed --since 24h --dry-run
  caddy qlink redeliver --all --since 2026-11-26T08:00:00Z --json`,
		RunE: host.run(func(s *session, names []string) error {
			bulk := failed || all
			switch {
			case failed && all:
				return misuse("--failed or --all, not both")
			case bulk == (len(names) > 0):
				return misuse("name bills, or say which with --failed or --all")
			case bulk != (since != ""):
				return misuse("--since goes with --failed and --all, and they with it")
			}
			c, err := s.admin()
			if err != nil {
				return err
			}
			if !bulk {
				return s.redeliver(c, names, dry)
			}
			from, err := instant("since", since, time.Now())
			if err != nil {
				return err
			}
			return s.redeliverAll(c, all, from, dry)
		}),
	}))
	cmd.Flags().BoolVar(&failed, "failed", false, "All that were not delivered")
	cmd.Flags().BoolVar(&all, "all", false, "All, delivered or not")
	cmd.Flags().StringVar(&since, "since", "", "… that are of this time or later: 2026-11-26 (UTC), RFC 3339, or how long ago (24h, 7d)")
	dryRun(cmd, &dry)
	return cmd
}

func (s *session) redeliver(c *client, names []string, dry bool) error {
	t := s.out.table("ORDER", "BILL", "TYPE", "URL", "NOTIFICATION")
	err := s.each("Telling shops", names, func(name string) error {
		raw, err := c.detail(s, name)
		if err != nil {
			return err
		}
		d, err := decode[billDetail](raw)
		switch {
		case err != nil:
			return err
		case dry:
			return s.wouldTell(d)
		}
		return s.redeliverOne(c, d.Bill, t)
	})
	if printed := t.print(""); printed != nil {
		return printed
	}
	return err
}

// wouldTell names the newest notification of each URL.
func (s *session) wouldTell(d billDetail) error {
	newest := make(map[string]notificationJSON)
	for _, n := range d.Notifications {
		if held, ok := newest[n.URL]; !ok || held.CreatedAt < n.CreatedAt {
			newest[n.URL] = n
		}
	}
	if len(newest) == 0 {
		return no("nobody was to be told of bill %s", d.Bill.ID)
	}
	for _, address := range slices.Sorted(maps.Keys(newest)) {
		n := newest[address]
		if err := s.would("send "+n.Type+" again to "+address+" about", d.Bill); err != nil {
			return err
		}
	}
	return nil
}

func (s *session) redeliverOne(c *client, b billJSON, t *rows) error {
	answer, err := ask[struct {
		Notifications []jsontext.Value `json:"notifications"`
		Overtaken     []struct {
			Notification string `json:"notification"`
			Bill         string `json:"bill"`
		} `json:"overtaken"`
	}](s, c, post(billPath(b.ID, "redeliver"), nil))
	if err != nil {
		return err
	}
	for _, raw := range answer.Notifications {
		n, err := decode[notificationJSON](raw)
		switch {
		case err != nil:
			return err
		case s.out.json:
			err = s.out.object(raw)
		default:
			t.add(b.OrderCode, n.Bill, n.Type, n.URL, n.ID)
		}
		if err != nil {
			return err
		}
	}
	for _, o := range answer.Overtaken {
		err = errors.Join(err, no("notification %s is overtaken by a newer one: redeliver bill %s", o.Notification, o.Bill))
	}
	if err == nil && len(answer.Notifications) == 0 {
		err = no("nobody was to be told of it")
	}
	return err
}

// redeliverAll has the server find what is meant, and follows its answer.
func (s *session) redeliverAll(c *client, all bool, since string, dry bool) (err error) {
	r := post("/qlink/redeliver", nil)
	r.query = url.Values{"since": {since}}
	r.query.Set(map[bool]string{true: "all", false: "failed"}[all], "true")
	if dry {
		r.query.Set("dry_run", "true")
	}
	t := s.out.table("ORDER", "BILL", "NOTIFICATIONS", "OVERTAKEN", "ERROR")
	t.rightAligned(3, 4)
	b := s.bar("Telling shops", 0, progress.UnitsDefault)
	defer func() { b.end(err) }()
	var last redelivered
	err = c.stream(s, r, func(object jsontext.Value) error {
		if last, err = decode[redelivered](object); err != nil {
			return err
		}
		b.add(1)
		if s.out.json {
			return s.out.object(object)
		}
		if !last.Done {
			t.add(last.OrderCode, last.Bill, last.Redelivered, last.Overtaken, cell{last.Error, bad})
		}
		return nil
	})
	if err == nil && !last.Done {
		err = errors.New("the answer breaks off")
	}
	if printed := t.print(""); printed != nil {
		return printed
	}
	switch {
	case err != nil:
		return err
	case !s.out.json:
		tense := map[bool]string{true: "would go out again", false: "go out again"}[dry]
		err = s.out.line("%d notifications about %d bills %s; %d failed.", last.Notifications, last.Bills, tense, last.Failed)
	}
	if err == nil && last.Failed > 0 {
		err = said(exitFailed)
	}
	return err
}
