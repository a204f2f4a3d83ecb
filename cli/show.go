package cli

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/spf13/cobra"
)

func showCommand(host Host) *cobra.Command {
	var store string
	cmd := asJSON(remote(&cobra.Command{
		Use:   "show <id|order code|bill code|payment request id>",
		Short: "Show one bill with all that happened to it",
		Long: `Shows one bill: how it stands, its order, what happened to it from the
beginning (who did what, what the gateway answered and how long that took), and
what the shop was told, with every attempt.

Any of its names will do. A name that several orders have is answered with their
bills' ids.

With --store it reads a folder instead: that of a stopped store, or of one just
restored. A store that a Caddy has open is refused.`,
		Example: `  caddy qlink show O20250804001
  caddy qlink show 7b0e1e0c-9d0c-4d65-9c39-5d1e64c6a3f5 --json | jq .history
  caddy qlink show O20250804001 --store /var/lib/caddy/.local/share/caddy/qlink`,
		Args: host.counted(1, 1, "what to show"),
		RunE: host.run(func(s *session, args []string) error {
			raw, err := s.detail(args[0], store)
			if err != nil {
				return err
			}
			if s.out.json {
				return s.out.object(raw)
			}
			d, err := decode[billDetail](raw)
			if err != nil {
				return err
			}
			return s.out.detail(d)
		}),
	}))
	cmd.Flags().StringVar(&store, "store", "", "Read this folder of a stopped store instead of a running Caddy")
	return cmd
}

// detail reads a bill with its history from the running Caddy or from a folder.
func (s *session) detail(name, store string) (jsontext.Value, error) {
	if s.cmd.Flags().Changed("store") {
		stores, err := s.stores()
		if err != nil {
			return nil, err
		}
		raw, doubt, err := stores.Show(s, store, name)
		if doubt != nil {
			s.out.note("Beware: %s", doubt)
		}
		if errors.Is(err, ErrUnknown) {
			err = &failure{exitNo, err}
		}
		return raw, err
	}
	c, err := s.admin()
	if err != nil {
		return nil, err
	}
	return c.detail(s, name)
}

func (c *client) detail(ctx context.Context, name string) (jsontext.Value, error) {
	return c.fetch(ctx, get(billPath(name, ""), nil))
}

// detail prints a bill for a person.
func (p *printer) detail(d billDetail) error {
	if err := p.facts(append(d.Bill.facts(), d.facts()...)); err != nil {
		return err
	}
	if err := p.history(d.History); err != nil {
		return err
	}
	return p.told(d.Notifications)
}

// fact is a line of what is known; an empty one is left out.
type fact struct {
	name   string
	value  string
	colour text.Color
}

func (p *printer) facts(facts []fact) error {
	t := p.table()
	for _, f := range facts {
		if f.value != "" {
			t.add(cell{f.name, dim}, cell{f.value, f.colour})
		}
	}
	return t.print("")
}

func (b billJSON) facts() []fact {
	way := strings.Trim(b.PayType+" / "+b.PayChannel, " /")
	mode := "test"
	if b.LiveMode {
		mode = "live"
	}
	return []fact{
		{"Bill", b.ID, text.Bold},
		{"Status", string(b.Status), colourOf(b.Status)},
		{"Note", b.note(), doubt},
		{"Amount", strings.TrimSpace(string(b.Amount) + " " + string(b.Currency)), text.Bold},
		{"Order", b.OrderCode, 0},
		{"Attempt", strconv.Itoa(b.Attempt), 0},
		{"Account", b.Account + " (" + mode + ")", 0},
		{"Shop", b.Shop, 0},
		{"Country", b.Country, 0},
		{"Way to pay", way, 0},
		{"Bill code", b.BillCode, 0},
		{"Payment request", b.PaymentRequestID, 0},
		{"Created", moment(b.CreatedAt), 0},
		{"Updated", moment(b.UpdatedAt), 0},
		{"Expires", moment(b.ExpiresAt), 0},
		{"Paid", moment(b.PayTime), 0},
		{"Asked after next", moment(b.DueAt), 0},
		{"Settled by", string(b.SettledBy), 0},
		{"Cancelled because", b.CancelReason, 0},
		{"Resolved", moment(b.ResolvedAt), 0},
		{"Page", b.PayURL, 0},
	}
}

// facts are those of the order.
func (d billDetail) facts() []fact {
	facts := []fact{{"Bills of the order", strings.Join(d.Order.Bills, ", "), 0}}
	switch {
	case d.Order.PaidBill != "":
		facts = append(facts, fact{"Order is paid by", d.Order.PaidBill, good})
	case d.Order.OpenBill != "":
		facts = append(facts, fact{"Order waits for", d.Order.OpenBill, doubt})
	}
	if d.Details != nil {
		facts = append(facts,
			fact{"Description", d.Details.Description, 0},
			fact{"Items", compact(d.Details.Items), 0},
			fact{"Metadata", compact(d.Details.Metadata), 0},
			fact{"Return URL", d.Details.ReturnURL, 0})
	}
	return facts
}

// compact returns JSON on one line, and nothing for what is empty.
func compact(raw jsontext.Value) string {
	v := raw.Clone()
	if len(v) == 0 || v.Compact() != nil {
		return ""
	}
	switch text := string(v); text {
	case "null", "{}", "[]", `""`:
		return ""
	default:
		return text
	}
}

func (p *printer) history(events []eventJSON) error {
	if len(events) == 0 {
		return nil
	}
	if err := p.heading("History"); err != nil {
		return err
	}
	t := p.table("AT", "EVENT", "BY", "STATUS", "TOOK", "MORE")
	for _, e := range events {
		by := e.Source
		if e.Actor != "" {
			by += " (" + e.Actor + ")"
		}
		status := e.To
		if e.From != "" && e.From != e.To {
			status = e.From + " → " + e.To
		}
		t.add(moment(e.At), e.Kind, by, status, took(e.TookMS), e.more())
	}
	return t.print("  ")
}

// more is what an event says besides.
func (e eventJSON) more() string {
	parts := []string{e.Reason, e.Note, compact(e.Report)}
	var said []string
	for _, part := range parts {
		if part != "" {
			said = append(said, part)
		}
	}
	return strings.Join(said, "; ")
}

func took(ms float64) string {
	if ms <= 0 {
		return ""
	}
	return fmt.Sprintf("%.0f ms", ms)
}

func (p *printer) told(notifications []notificationJSON) error {
	if len(notifications) == 0 {
		return nil
	}
	if err := p.heading("Told to the shop"); err != nil {
		return err
	}
	t := p.table("CREATED", "TYPE", "STATE", "TRIES", "URL", "LAST ERROR", "NOTIFICATION")
	t.rightAligned(4)
	for _, n := range notifications {
		t.add(moment(n.CreatedAt), n.Type, n.stateCell(), n.Tries, n.URL, n.LastError, n.ID)
		for _, a := range n.Attempts {
			t.add("", cell{"  tried " + moment(a.At), dim}, cell{a.answer(), dim}, "", cell{took(a.TookMS), dim}, a.Error, "")
		}
	}
	return t.print("  ")
}

func (a attemptJSON) answer() string {
	if a.Status == 0 {
		return "no answer"
	}
	return strconv.Itoa(a.Status)
}

func (n notificationJSON) stateCell() cell {
	switch n.State {
	case "delivered":
		return cell{n.State, good}
	case "dead":
		return cell{n.State, bad}
	case "superseded":
		return cell{n.State, dim}
	}
	return cell{n.State, doubt}
}
