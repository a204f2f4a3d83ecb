package cli

import (
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

func notificationStates() (names []string) {
	for _, s := range bill.NotificationStates() {
		names = append(names, string(s))
	}
	return names
}

func notificationsCommand(host Host) *cobra.Command {
	var state, since string
	var limit int
	cmd := asJSON(remote(&cobra.Command{
		Use:   "notifications",
		Short: "List what shops were told, or are still to be told",
		Long: `Lists notifications to shops, the newest first: what waits to be delivered
(pending), what was given up after three days (dead), what a newer one about the
same order has replaced (superseded), and what was taken (delivered).

'caddy qlink redeliver' sends again.`,
		Example: `  caddy qlink notifications
  caddy qlink notifications --state dead --since 7d
  caddy qlink notifications --state dead --json | jq -r .bill`,
		Args: host.counted(0, 0, ""),
		RunE: host.run(func(s *session, _ []string) error {
			query := url.Values{}
			if state != "" && !slices.Contains(notificationStates(), state) {
				return misuse("--state %q is none of %s", state, strings.Join(notificationStates(), ", "))
			}
			from, err := instant("since", since, time.Now())
			if err != nil {
				return err
			}
			for name, value := range map[string]string{"state": state, "since": from} {
				if value != "" {
					query.Set(name, value)
				}
			}
			t := s.out.table("CREATED", "TYPE", "STATE", "TRIES", "NEXT TRY", "ORDER", "BILL", "URL", "LAST ERROR")
			t.rightAligned(4)
			return listing{"/qlink/notifications", query, "notifications", limit}.show(s, "No notifications.", t, func(object jsontext.Value) error {
				n, err := decode[notificationJSON](object)
				if err == nil {
					t.add(moment(n.CreatedAt), n.Type, n.stateCell(), n.Tries, moment(n.DueAt), n.OrderCode, n.Bill, n.URL, n.LastError)
				}
				return err
			})
		}),
	}))
	cmd.Flags().StringVar(&state, "state", "", "Only those that are "+strings.Join(notificationStates(), ", "))
	cmd.Flags().StringVar(&since, "since", "", "Only those created at this time or later: 2026-11-26 (UTC), RFC 3339, or how long ago (24h, 7d)")
	limitFlag(cmd, &limit)
	complete(cmd, "state", notificationStates())
	return cmd
}
