package cli

import (
	"strconv"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

// statsJSON is how the module stands as a whole.
type statsJSON struct {
	Bills struct {
		Total    int64                 `json:"total"`
		Open     int64                 `json:"open"`
		ByStatus map[bill.Status]int64 `json:"byStatus"`
		Late     int64                 `json:"latePayments"`
		Refunds  int64                 `json:"refundsDue"`
	} `json:"bills"`
	Notifications struct {
		Pending         int64  `json:"pending"`
		Dead            int64  `json:"dead"`
		Delivered       int64  `json:"delivered"`
		Superseded      int64  `json:"superseded"`
		OldestPendingAt string `json:"oldestPendingAt"`
	} `json:"notifications"`
	Orphans   int64 `json:"orphans"`
	Reconcile struct {
		OldestDueAt string `json:"oldestDueAt"`
	} `json:"reconcile"`
	Store struct {
		SizeBytes            uint64 `json:"sizeBytes"`
		FreeBytes            uint64 `json:"freeBytes"`
		CheckoutsClosedSince string `json:"checkoutsClosedSince"`
	} `json:"store"`
	Watchers int64 `json:"watchers"`
	Accounts []struct {
		Name             string `json:"name"`
		LiveMode         bool   `json:"livemode"`
		GatewayReachable bool   `json:"gatewayReachable"`
	} `json:"accounts"`
}

func statsCommand(host Host) *cobra.Command {
	return asJSON(remote(&cobra.Command{
		Use:   "stats",
		Short: "Count bills, notifications and orphans; store and gateways",
		Long: `Shows how the module stands: how many bills are in which status, what the shops
have not taken yet, since when; how large the store is and how much room is left;
whether the gateways answer.`,
		Example: `  caddy qlink stats
  caddy qlink stats --json | jq .notifications.dead`,
		Args: host.counted(0, 0, ""),
		RunE: host.run(func(s *session, _ []string) error {
			c, err := s.admin()
			if err != nil {
				return err
			}
			raw, err := c.fetch(s, get("/qlink/stats", nil))
			if err != nil {
				return err
			}
			if s.out.json {
				return s.out.object(raw)
			}
			stats, err := decode[statsJSON](raw)
			if err != nil {
				return err
			}
			return s.out.facts(stats.facts())
		}),
	}))
}

func (s statsJSON) facts() []fact {
	facts := []fact{{"Bills", number(s.Bills.Total), 0}, {"  open", number(s.Bills.Open), 0}}
	for _, status := range bill.Statuses() {
		if n := s.Bills.ByStatus[status]; n > 0 {
			facts = append(facts, fact{"  " + string(status), number(n), colourOf(status)})
		}
	}
	if s.Bills.Late+s.Bills.Refunds > 0 {
		facts = append(facts, fact{"  paid late", number(s.Bills.Late), 0}, fact{"  refunds due", number(s.Bills.Refunds), bad})
	}
	dead := fact{name: "  dead", value: number(s.Notifications.Dead)}
	if s.Notifications.Dead > 0 {
		dead.colour = bad
	}
	facts = append(facts,
		fact{"Notifications pending", number(s.Notifications.Pending), 0},
		fact{"  the oldest since", moment(s.Notifications.OldestPendingAt), doubt},
		dead,
		fact{"  delivered", number(s.Notifications.Delivered), 0},
		fact{"  superseded", number(s.Notifications.Superseded), 0},
		fact{"Orphans", number(s.Orphans), 0},
		fact{"Asked after next", moment(s.Reconcile.OldestDueAt), 0},
		fact{"Watchers", number(s.Watchers), 0},
		fact{"Store", size(s.Store.SizeBytes), 0},
		fact{"  free", size(s.Store.FreeBytes), 0},
		fact{"Checkouts closed since", moment(s.Store.CheckoutsClosedSince), bad})
	for _, a := range s.Accounts {
		facts = append(facts, gatewayFact(a.Name, a.LiveMode, a.GatewayReachable))
	}
	return facts
}

func gatewayFact(name string, live, reachable bool) fact {
	f := fact{"Account " + name, "test", good}
	if live {
		f.value = "live"
	}
	if !reachable {
		f.value += ", its gateway does not answer"
		f.colour = bad
	}
	return f
}

func number(n int64) string { return strconv.FormatInt(n, 10) }

// size shows bytes; 0 is a store that does not know.
func size(bytes uint64) string {
	if bytes == 0 {
		return ""
	}
	return humanize.IBytes(bytes)
}
