package cli

import (
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

func checkOrderCommand(host Host) *cobra.Command {
	var g given
	var defaults bill.Defaults
	var currency, name string
	cmd := asJSON(remote(&cobra.Command{
		Use:   "check-order [<file>]",
		Short: "Check an order that a shop would hand over, field by field",
		Long: `Reads an order as the module does and tells, field by field, what is wrong with it.
What the order may leave out comes from an account: that of a running Caddy
(--account), or the flags. Nothing is sent to anybody.

It exits with 0 for a good order, and with 3 for a bad one.`,
		Example: `  caddy qlink check-order order.json --currency IDR --country ID --pay-type ONLINE --pay-channel QRIS
  caddy qlink check-order --account default < order.json
  caddy qlink check-order order.json --account default --json | jq .errors`,
		Args: host.counted(0, 1, "the order"),
		RunE: host.run(func(s *session, args []string) error {
			body, err := g.body(s, args)
			if err != nil {
				return err
			}
			known := defaults
			if name != "" {
				if known, err = s.accountDefaults(name); err != nil {
					return err
				}
			}
			known.Currency = bill.Currency(or(currency, string(known.Currency)))
			known.Country, known.PayType = or(defaults.Country, known.Country), or(defaults.PayType, known.PayType)
			known.PayChannel = or(defaults.PayChannel, known.PayChannel)
			return s.checkOrder(body, known)
		}),
	}))
	cmd.Flags().StringVar(&name, "account", "", "Take the defaults of this account of the running Caddy")
	cmd.Flags().StringVar(&currency, "currency", "", "The account's currency (ISO 4217)")
	cmd.Flags().StringVar(&defaults.Country, "country", "", "The account's country (ISO 3166-1)")
	cmd.Flags().StringVar(&defaults.PayType, "pay-type", "", "The account's pay_type")
	cmd.Flags().StringVar(&defaults.PayChannel, "pay-channel", "", "The account's pay_channel")
	cmd.Flags().BoolVar(&defaults.Choice, "offer", false, "The account lets the buyer choose how to pay")
	return cmd
}

func or(value, fallback string) string {
	if value == "" {
		return fallback
	}
	return value
}

// accountDefaults are what the account of a running Caddy fills in.
func (s *session) accountDefaults(name string) (bill.Defaults, error) {
	c, err := s.admin()
	if err != nil {
		return bill.Defaults{}, err
	}
	accounts, err := c.accounts(s)
	if err != nil {
		return bill.Defaults{}, err
	}
	i := slices.IndexFunc(accounts, func(a account) bool { return a.Name == name })
	if i < 0 {
		return bill.Defaults{}, no("no account is named %q", name)
	}
	a := accounts[i]
	d := bill.Defaults{
		PayType: a.PayType, PayChannel: a.PayChannel, Country: a.Country, Currency: bill.Currency(a.Currency), Choice: a.Choice,
	}
	for _, raw := range a.Offer {
		if way, ok := wayOf(raw); ok {
			d.Offer = append(d.Offer, way)
		}
	}
	return d, nil
}

// wayOf reads a way to pay, written "type/channel" or as an object.
func wayOf(raw jsontext.Value) (way bill.Way, ok bool) {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		way.PayType, way.PayChannel, ok = strings.Cut(text, "/")
		return way, ok
	}
	return way, json.Unmarshal(raw, &way) == nil && way.PayChannel != ""
}

func (s *session) checkOrder(body []byte, defaults bill.Defaults) error {
	order, err := bill.ParseOrder(body, defaults)
	var bad *bill.OrderError
	if err != nil && !errors.As(err, &bad) {
		return err
	}
	if s.out.json {
		result := struct {
			OK     bool              `json:"ok"`
			Errors []bill.FieldError `json:"errors"`
		}{OK: bad == nil, Errors: []bill.FieldError{}}
		if bad != nil {
			result.Errors = bad.Fields
		}
		err = s.out.value(result)
	} else {
		err = s.out.checkedOrder(order, bad)
	}
	if err == nil && bad != nil {
		err = said(exitNo)
	}
	return err
}

func (p *printer) checkedOrder(o bill.Order, faults *bill.OrderError) error {
	if faults != nil {
		t := p.table("FIELD", "FAULT")
		for _, f := range faults.Fields {
			t.add(or(f.Field, "(all of it)"), cell{f.Message, bad})
		}
		return t.print("")
	}
	channel := or(o.PayChannel, "the buyer chooses")
	expires := ""
	if o.ExpiresIn > 0 {
		expires = o.ExpiresIn.String()
	}
	items := ""
	if n := len(o.Details.Items); n > 0 {
		items = strconv.Itoa(n)
	}
	return p.facts([]fact{
		{"Order", "good", good},
		{"Order code", o.OrderCode, 0},
		{"Amount", string(o.Amount) + " " + string(o.Currency), 0},
		{"Country", o.Country, 0},
		{"Way to pay", strings.TrimPrefix(o.PayType+" / "+channel, " / "), 0},
		{"Expires in", expires, 0},
		{"Description", o.Details.Description, 0},
		{"Items", items, 0},
		{"Metadata", o.Details.Metadata, 0},
		{"Return URL", o.Details.ReturnURL, 0},
	})
}
