package cli

import (
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/spf13/cobra"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

func billsCommand(host Host) *cobra.Command {
	var which filter
	var limit int
	cmd := asJSON(remote(&cobra.Command{
		Use:   "bills",
		Short: "List bills, the newest first",
		Long: `Lists the bills of a running Caddy, the newest first. Filters add up.

The column NOTE says what wants attention: a bill that is stuck and why, a late
payment, a refund that is due, a cancel that was asked for and is not certain.`,
		Example: `  caddy qlink bills
  caddy qlink bills --status WAIT --from 24h
  caddy qlink bills --stuck
  caddy qlink bills --order O2025 --amount 15000 --json
  caddy qlink bills --refund --from 7d
  caddy qlink bills --untold --limit 0 --json | jq -r .id`,
		Args: host.counted(0, 0, ""),
		RunE: host.run(func(s *session, _ []string) error {
			query, err := which.query(time.Now())
			if err != nil {
				return err
			}
			t := s.out.billTable()
			return listing{"/qlink/bills", query, "bills", limit}.show(s, "No bills.", t.rows, t.raw)
		}),
	}))
	which.flags(cmd)
	limitFlag(cmd, &limit)
	return cmd
}

// billTable is a table of bills, a line each.
type billTable struct{ *rows }

func (p *printer) billTable() billTable {
	t := billTable{p.table("CREATED", "STATUS", "AMOUNT", "", "ORDER", "CHANNEL", "BILL", "NOTE")}
	t.rightAligned(3)
	return t
}

func (t billTable) raw(object jsontext.Value) error {
	b, err := decode[billJSON](object)
	if err == nil {
		t.bill(b)
	}
	return err
}

func (t billTable) bill(b billJSON) {
	t.add(moment(b.CreatedAt), b.statusCell(), string(b.Amount), string(b.Currency), b.OrderCode, b.PayChannel, b.ID, cell{b.note(), doubt})
}

func (b billJSON) statusCell() cell { return cell{string(b.Status), colourOf(b.Status)} }

func colourOf(s bill.Status) text.Color {
	switch s {
	case bill.Success:
		return good
	case bill.Fail:
		return bad
	case bill.Canceled, bill.Expired:
		return dim
	case bill.Choose, bill.Created, bill.Wait:
	}
	return doubt
}

// words writes a word of the API for people.
func words(code string) string { return strings.ReplaceAll(code, "_", " ") }

// note gathers what wants attention.
func (b billJSON) note() string {
	var notes []string
	if b.Stuck != "" {
		notes = append(notes, "stuck: "+words(b.Stuck))
	}
	if b.LatePayment {
		notes = append(notes, "late payment")
	}
	if b.RefundDue {
		notes = append(notes, "refund due")
	}
	if b.CancelRequested && !b.Final {
		notes = append(notes, "cancel asked for")
	}
	if b.ErrorCode != "" {
		notes = append(notes, b.ErrorCode)
	}
	if b.ResolvedAt != "" {
		notes = append(notes, "resolved")
	}
	return strings.Join(notes, ", ")
}
