package cli

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/spf13/cobra"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

// agree is the verdict of a report that found every bill as the gateway has it.
const agree = "agree"

// reportJSON is what a report comes to, and what it lists.
type reportJSON struct {
	From        string `json:"from"`
	To          string `json:"to"`
	Account     string `json:"account"`
	Verdict     string `json:"verdict"`
	Wrong       int64  `json:"wrong"`
	InFlight    int64  `json:"inFlight"`
	Resolved    int64  `json:"resolved"`
	Bills       int64  `json:"bills"`
	Compared    int64  `json:"compared"`
	NotCompared int64  `json:"notCompared"`
	Unsent      int64  `json:"unsent"`

	Totals []struct {
		LiveMode bool          `json:"livemode"`
		Currency bill.Currency `json:"currency"`
		Status   bill.Status   `json:"status"`
		Count    int64         `json:"count"`
		Amount   string        `json:"amount"`
	} `json:"totals"`
	Unanswered []struct {
		Reason string    `json:"reason"`
		Bills  foundList `json:"bills"`
	} `json:"unanswered"`
	Mismatches []struct {
		Finding  string    `json:"finding"`
		Remedy   string    `json:"remedy"`
		Wrong    foundList `json:"wrong"`
		InFlight foundList `json:"inFlight"`
	} `json:"mismatches"`
	Untold       foundList `json:"untold"`
	Unconfirmed  foundList `json:"unconfirmed"`
	RefundsDue   foundList `json:"refundsDue"`
	Orphans      foundList `json:"orphans"`
	LatePayments foundList `json:"latePayments"`
	PaidTwice    foundList `json:"paidTwice"`
	Stuck        foundList `json:"stuck"`
}

// foundList is how many there are of a kind, and the first of them.
type foundList struct {
	Count  int64       `json:"count"`
	Listed []foundLine `json:"listed"`
}

// foundLine is a bill, or an orphan, with whatever its list says of it.
type foundLine struct {
	ID           string      `json:"id"`
	OrderCode    string      `json:"orderCode"`
	Status       bill.Status `json:"status"`
	Amount       string      `json:"amount"`
	Currency     string      `json:"currency"`
	CreatedAt    string      `json:"createdAt"`
	At           string      `json:"at"`
	GatewayWord  string      `json:"gatewayWord"`
	Differs      []string    `json:"differs"`
	Answer       string      `json:"answer"`
	URL          string      `json:"url"`
	State        string      `json:"state"`
	LastError    string      `json:"lastError"`
	Reason       string      `json:"reason"`
	PaidBills    []string    `json:"paidBills"`
	BillCode     string      `json:"billCode"`
	GatewayState string      `json:"gatewayStatus"`
	ResolvedAt   string      `json:"resolvedAt"`
	InFlight     bool        `json:"inFlight"`
}

func reportCommand(host Host) *cobra.Command {
	var from, to, account string
	cmd := asJSON(remote(&cobra.Command{
		Use:   "report --from <time> [--to <time>]",
		Short: "Compare the books with the gateway's",
		Long: `Asks the gateway about every bill of a period and tells what differs, what was paid
but not told to the shop, late payments, refunds that are due, orphans, and the
totals by currency and status. It changes nothing.

It exits with 0 only where every bill was compared and nothing is wrong, and with
4 where something is wrong or could not be proven right.`,
		Example: `  caddy qlink report --from 2026-11-01 --to 2026-12-01
  caddy qlink report --from 24h --to 5m --account default
  caddy qlink report --from 2026-11-25 --to 2026-11-26 --json > report.json`,
		Args: host.counted(0, 0, ""),
		RunE: host.run(func(s *session, _ []string) error {
			query, err := period(from, to, time.Now())
			if err != nil {
				return err
			}
			if account != "" {
				query.Set("account", account)
			}
			c, err := s.admin()
			if err != nil {
				return err
			}
			return s.report(c, query)
		}),
	}))
	cmd.Flags().StringVar(&from, "from", "", "Bills created at this time or later: 2026-11-26 (UTC), RFC 3339, or how long ago (24h, 7d)")
	cmd.Flags().StringVar(&to, "to", "", "Bills created before this time; default: now")
	cmd.Flags().StringVar(&account, "account", "", "Only this account's")
	return cmd
}

// period is what a report is about.
func period(from, to string, now time.Time) (url.Values, error) {
	if from == "" {
		return nil, misuse("--from is needed: the books of which time?")
	}
	begin, err := instant("from", from, now)
	if err != nil || to == "" {
		return url.Values{"from": {begin}}, err
	}
	end, err := instant("to", to, now)
	return url.Values{"from": {begin}, "to": {end}}, err
}

func (s *session) report(c *client, query url.Values) error {
	c.patient()
	raw, err := c.fetch(s, get("/qlink/report", query))
	if err != nil {
		return err
	}
	r, err := decode[reportJSON](raw)
	if err != nil {
		return err
	}
	if s.out.json {
		err = s.out.object(raw)
	} else {
		err = s.out.report(r)
	}
	if err == nil && r.Verdict != agree {
		err = said(exitFault)
	}
	return err
}

// verdict says in words what the report comes to.
func (r reportJSON) verdict() fact {
	switch r.Verdict {
	case agree:
		return fact{"The books", "agree", good}
	case "not_proven":
		return fact{"The books", "are not proven: not every bill could be compared", doubt}
	}
	return fact{"The books", "do not agree: " + number(r.Wrong) + " differences", bad}
}

func (p *printer) report(r reportJSON) error {
	err := p.facts([]fact{
		{"Period", moment(r.From) + " to " + moment(r.To), 0},
		{"Account", r.Account, 0},
		r.verdict(),
		{"Bills", number(r.Bills), 0},
		{"  compared", number(r.Compared), 0},
		{"  not compared", number(r.NotCompared), 0},
		{"  never sent", number(r.Unsent), 0},
		{"On their way", number(r.InFlight), 0},
		{"Seen to already", number(r.Resolved), 0},
	})
	if err != nil {
		return err
	}
	if err := p.totals(r); err != nil {
		return err
	}
	for _, section := range r.sections() {
		if err := p.section(section); err != nil {
			return err
		}
	}
	return nil
}

func (p *printer) totals(r reportJSON) error {
	if len(r.Totals) == 0 {
		return nil
	}
	if err := p.heading("Totals"); err != nil {
		return err
	}
	t := p.table("CURRENCY", "STATUS", "BILLS", "AMOUNT", "")
	t.rightAligned(3, 4)
	for _, total := range r.Totals {
		mode := "test"
		if total.LiveMode {
			mode = "live"
		}
		t.add(string(total.Currency), cell{string(total.Status), colourOf(total.Status)}, total.Count, total.Amount, mode)
	}
	return t.print("  ")
}

// section is a list of the report with its heading.
type section struct {
	title, remedy string
	colour        text.Color
	list          foundList
}

// sections returns what there is, the gravest first.
func (r reportJSON) sections() (sections []section) {
	for _, m := range r.Mismatches {
		sections = append(sections, section{m.Finding, m.Remedy, bad, m.Wrong})
	}
	sections = append(sections,
		section{"paid, and the shop was not told", "caddy qlink redeliver", bad, r.Untold},
		section{"reported as paid, not confirmed by a query", "caddy qlink refresh", bad, r.Unconfirmed},
		section{"refund due: another attempt of the order is paid, too", "", bad, r.RefundsDue},
		section{"orphans: paid, and no bill here belongs to it", "caddy qlink orphans", bad, r.Orphans})
	for _, u := range r.Unanswered {
		sections = append(sections, section{"not compared: " + words(u.Reason), "", doubt, u.Bills})
	}
	for _, m := range r.Mismatches {
		sections = append(sections, section{m.Finding + " (on its way)", "", doubt, m.InFlight})
	}
	return append(sections,
		section{"late payments", "", doubt, r.LatePayments},
		section{"orders paid twice", "", doubt, r.PaidTwice},
		section{"stuck", "", doubt, r.Stuck})
}

func (p *printer) section(s section) error {
	if s.list.Count == 0 {
		return nil
	}
	if !slices.ContainsFunc(s.list.Listed, foundLine.waits) {
		s.colour = dim // all of it is seen to, or on its way
	}
	if err := p.heading(p.paint(s.colour, capital(harmless(s.title))+": "+number(s.list.Count))); err != nil {
		return err
	}
	if s.remedy != "" {
		if err := p.line("  → %s", s.remedy); err != nil {
			return err
		}
	}
	t := p.table("CREATED", "STATUS", "AMOUNT", "", "ORDER", "BILL", "MORE")
	t.rightAligned(3)
	for _, l := range s.list.Listed {
		t.add(moment(l.CreatedAt+l.At), cell{string(l.Status), colourOf(l.Status)}, l.Amount, l.Currency, l.OrderCode, l.ID, l.more())
	}
	if err := t.print("  "); err != nil {
		return err
	}
	if rest := s.list.Count - int64(len(s.list.Listed)); rest > 0 {
		return p.line("  … and %s more", strconv.FormatInt(rest, 10))
	}
	return nil
}

// capital begins a sentence.
func capital(s string) string {
	r, width := utf8.DecodeRuneInString(s)
	return string(unicode.ToUpper(r)) + s[width:]
}

// waits reports whether something is left to do.
func (l foundLine) waits() bool { return l.ResolvedAt == "" && !l.InFlight }

func (l foundLine) more() string {
	var more []string
	for _, m := range []fact{
		{name: "gateway: ", value: l.GatewayWord}, {name: "differs in ", value: strings.Join(l.Differs, ", ")},
		{value: l.Answer}, {value: words(l.Reason)}, {value: l.State}, {value: l.URL}, {value: l.LastError},
		{name: "paid by ", value: strings.Join(l.PaidBills, ", ")}, {name: "seen to ", value: moment(l.ResolvedAt)},
	} {
		if m.value != "" {
			more = append(more, m.name+m.value)
		}
	}
	if l.InFlight {
		more = append(more, "on its way")
	}
	return strings.Join(more, "; ")
}
