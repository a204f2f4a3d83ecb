package cli

import (
	"context"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"
)

// accountJSON is an account of the running configuration; it has no secrets.
type accountJSON struct {
	Name             string           `json:"name"`
	Endpoint         string           `json:"endpoint"`
	LiveMode         bool             `json:"livemode"`
	AppKey           string           `json:"appKey"`
	PayAccount       string           `json:"payAccount"`
	Edition          string           `json:"edition"`
	SignatureContent string           `json:"signatureContent"`
	BodyEscape       string           `json:"bodyEscape"`
	AccountField     string           `json:"accountField"`
	TimeZone         string           `json:"timeZone"`
	Country          string           `json:"country"`
	Currency         string           `json:"currency"`
	PayType          string           `json:"payType"`
	PayChannel       string           `json:"payChannel"`
	Choice           bool             `json:"choice"`
	Offer            []jsontext.Value `json:"offer"`
	ExpireAfter      jsontext.Value   `json:"expireAfter"`
	Methods          []jsontext.Value `json:"methods"`
	Error            string           `json:"error"`
}

func accountCommand(host Host) *cobra.Command {
	return asJSON(remote(&cobra.Command{
		Use:   "account [<name>]",
		Short: "Show the accounts, and what their gateways list for them",
		Long: `Lists the accounts of the running configuration, without secrets; with a name,
one of them in full, with the ways to pay that its gateway lists
(/queryPayAccount) at this moment.

It exits with 1 where a gateway did not answer.`,
		Example: `  caddy qlink account
  caddy qlink account default
  caddy qlink account default --json | jq .methods`,
		Args: host.counted(0, 1, "an account's name"),
		RunE: host.run(func(s *session, args []string) error {
			c, err := s.admin()
			if err != nil {
				return err
			}
			accounts, err := c.accounts(s)
			if err != nil {
				return err
			}
			if len(args) == 1 {
				accounts = slices.DeleteFunc(accounts, func(a account) bool { return a.Name != args[0] })
				if len(accounts) == 0 {
					return no("no account is named %q", args[0])
				}
			}
			return s.out.accounts(accounts, len(args) == 1)
		}),
	}))
}

// account is one with all that the admin API said of it.
type account struct {
	accountJSON

	raw jsontext.Value
}

func (c *client) accounts(ctx context.Context) ([]account, error) {
	answer, err := ask[struct {
		Accounts []jsontext.Value `json:"accounts"`
	}](ctx, c, get("/qlink/accounts", nil))
	if err != nil {
		return nil, err
	}
	accounts := make([]account, len(answer.Accounts))
	for i, raw := range answer.Accounts {
		accounts[i].raw = raw
		if accounts[i].accountJSON, err = decode[accountJSON](raw); err != nil {
			return nil, err
		}
	}
	return accounts, nil
}

func (p *printer) accounts(accounts []account, full bool) (err error) {
	t := p.table("ACCOUNT", "MODE", "ENDPOINT", "APP KEY", "PAY ACCOUNT", "COUNTRY", "CURRENCY", "WAY TO PAY", "GATEWAY")
	failed := false
	for _, a := range accounts {
		failed = failed || a.Error != ""
		switch {
		case p.json:
			err = p.object(a.raw)
		case full:
			err = p.facts(a.facts())
		default:
			t.add(a.Name, a.mode(), a.Endpoint, a.AppKey, a.PayAccount, a.Country, a.Currency, a.way(), a.gateway())
		}
		if err != nil {
			return err
		}
	}
	if err := t.print(""); err != nil {
		return err
	}
	if failed {
		return said(exitFailed)
	}
	return nil
}

func (a accountJSON) mode() string {
	if a.LiveMode {
		return "live"
	}
	return "test"
}

func (a accountJSON) way() string {
	if a.Choice {
		return "the buyer chooses"
	}
	return strings.Trim(a.PayType+" / "+a.PayChannel, " /")
}

func (a accountJSON) gateway() cell {
	if a.Error != "" {
		return cell{a.Error, bad}
	}
	return cell{"answers", good}
}

func (a accountJSON) facts() []fact {
	facts := []fact{
		{"Account", a.Name, 0},
		{"Mode", a.mode(), 0},
		{"Endpoint", a.Endpoint, 0},
		{"App key", a.AppKey, 0},
		{"Pay account", a.PayAccount, 0},
		{"Edition", a.Edition, 0},
		{"Signature content", a.SignatureContent, 0},
		{"Body escape", a.BodyEscape, 0},
		{"Account field", a.AccountField, 0},
		{"Time zone", a.TimeZone, 0},
		{"Country", a.Country, 0},
		{"Currency", a.Currency, 0},
		{"Way to pay", a.way(), 0},
		{"Expire after", strings.Trim(compact(a.ExpireAfter), `"`), 0},
		{"Gateway", a.gateway().text, a.gateway().colour},
	}
	for _, way := range a.Offer {
		facts = append(facts, fact{"  offers", compact(way), 0})
	}
	for _, method := range a.Methods {
		facts = append(facts, fact{"  lists", compact(method), 0})
	}
	return facts
}
