package cli

import (
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

// filter says which bills are meant.
type filter struct {
	status, account, shop, order, amount, from, to string
	late, refund, stuck, untold                    bool
}

// flags adds those of a listing.
func (f *filter) flags(cmd *cobra.Command) {
	f.lasting(cmd)
	cmd.Flags().BoolVar(&f.stuck, "stuck", false, "Only those that should have come further by now")
	cmd.Flags().BoolVar(&f.untold, "untold", false, "Only those of whose end the shop was not told")
}

// lasting adds those that a bill fits or not whenever one looks.
func (f *filter) lasting(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.status, "status", "", "Only bills in this status: "+strings.Join(statuses(), ", "))
	flags.StringVar(&f.account, "account", "", "Only this account's")
	flags.StringVar(&f.shop, "shop", "", "Only this shop's")
	flags.StringVar(&f.order, "order", "", "Only orders whose code begins so")
	flags.StringVar(&f.amount, "amount", "", "Only this amount, compared as a number")
	flags.StringVar(&f.from, "from", "", "Only those created at this time or later: 2026-11-26 (UTC), RFC 3339, or how long ago (24h, 7d)")
	flags.StringVar(&f.to, "to", "", "Only those created before this time")
	flags.BoolVar(&f.late, "late", false, "Only those paid after they had ended unpaid")
	flags.BoolVar(&f.refund, "refund", false, "Only those whose payment is to be given back: another attempt of the order is paid, too")
	completeStatus(cmd)
}

func completeStatus(cmd *cobra.Command) {
	complete(cmd, "status", statuses())
}

// complete offers values in a shell. It fails only for a flag that is not
// there.
func complete(cmd *cobra.Command, flag string, values []string) {
	err := cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
	if err != nil {
		panic(err)
	}
}

func statuses() (names []string) {
	for _, s := range bill.Statuses() {
		names = append(names, string(s))
	}
	return names
}

// query is the filter as the admin API takes it.
func (f *filter) query(now time.Time) (url.Values, error) {
	status := strings.ToUpper(f.status)
	if status != "" && !slices.Contains(statuses(), status) {
		return nil, misuse("--status %q is none of %s", f.status, strings.Join(statuses(), ", "))
	}
	from, err := instant("from", f.from, now)
	if err != nil {
		return nil, err
	}
	to, err := instant("to", f.to, now)
	if err != nil {
		return nil, err
	}
	query := url.Values{}
	for name, value := range map[string]string{
		"status": status, "account": f.account, "shop": f.shop, "order": f.order, "amount": f.amount, "from": from, "to": to,
	} {
		if value != "" {
			query.Set(name, value)
		}
	}
	for name, on := range map[string]bool{"late": f.late, "refund": f.refund, "stuck": f.stuck, "untold": f.untold} {
		if on {
			query.Set(name, "true")
		}
	}
	return query, nil
}
