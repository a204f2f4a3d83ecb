package doctor

import (
	"context"
	"sync"
	"time"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/qlink"
)

// Row is an account as an operator may see it: what is in force, and what the
// gateway lists for it.
type Row struct {
	Name             string             `json:"name"`
	Endpoint         string             `json:"endpoint"`
	LiveMode         bool               `json:"livemode"`
	AppKey           string             `json:"appKey"`
	PayAccount       string             `json:"payAccount"`
	Edition          qlink.Edition      `json:"edition"`
	ServiceProvider  string             `json:"serviceProvider"`
	SignatureContent qlink.ContentMode  `json:"signatureContent"`
	BodyEscape       qlink.BodyEscape   `json:"bodyEscape"`
	AccountField     qlink.AccountField `json:"accountField"`
	TimeZone         string             `json:"timeZone"`
	Country          string             `json:"country"`
	Currency         string             `json:"currency"`
	PayType          string             `json:"payType"`
	PayChannel       string             `json:"payChannel"`
	// Choice says that buyers choose; Offer is what from, and empty where that is
	// what the gateway lists.
	Choice      bool     `json:"choice"`
	Offer       []string `json:"offer"`
	ExpireAfter string   `json:"expireAfter"` // "0s": never
	Methods     []Method `json:"methods"`
	Error       string   `json:"error"` // why Methods could not be read
}

// Method is a row of what the gateway lists: untrusted text, one line each.
type Method struct {
	Type            string   `json:"type"`
	Code            string   `json:"code"`
	Name            string   `json:"name"`
	ServiceProvider string   `json:"serviceProvider"`
	Country         string   `json:"country"`
	Currencies      []string `json:"currencies"`
}

// Rows describes accounts, and asks each one's gateway what it lists. It takes
// no longer than the slowest of them, and 10 s at most.
func Rows(ctx context.Context, accounts []Account) []Row {
	rows := make([]Row, len(accounts))
	room := make(chan struct{}, atOnce)
	var running sync.WaitGroup
	ctx, cancel := context.WithTimeout(ctx, defaultTimeout)
	defer cancel()
	for i, a := range accounts {
		room <- struct{}{}
		running.Go(func() {
			defer func() { <-room }()
			a = a.normal()
			rows[i] = rowOf(a)
			rows[i].ask(ctx, a)
		})
	}
	running.Wait()
	return rows
}

func rowOf(a Account) Row {
	r := Row{
		Name: a.Name, Endpoint: bill.ShownURL(a.Gateway.Endpoint), LiveMode: a.LiveMode, AppKey: a.Gateway.AppKey, PayAccount: a.Gateway.PayAccount,
		Edition: a.Gateway.Edition, ServiceProvider: a.Gateway.ServiceProvider,
		SignatureContent: a.Gateway.Content, BodyEscape: a.Gateway.Escape, AccountField: a.Gateway.AccountField,
		TimeZone: a.Gateway.Location.String(), Country: a.Defaults.Country, Currency: string(a.Defaults.Currency),
		PayType: a.Defaults.PayType, PayChannel: a.Defaults.PayChannel, Choice: a.Defaults.Choice,
		Offer: []string{}, ExpireAfter: a.ExpireAfter.String(), Methods: []Method{},
	}
	for _, w := range a.Defaults.Offer {
		r.Offer = append(r.Offer, w.PayType+"/"+w.PayChannel)
	}
	return r
}

// ask fills in what the gateway lists.
func (r *Row) ask(ctx context.Context, a Account) {
	x := &examination{Config: Config{Now: time.Now, Timeout: defaultTimeout}}
	g, closeIdle := x.gateway(a)
	defer closeIdle()
	methods, t := g.list(ctx, g.config.AccountField)
	switch {
	case t.err != nil && t.err.HTTPStatus == 0:
		r.Error = "the gateway cannot be reached: " + quoted(reason(t.err))
	case t.err != nil:
		r.Error = "the gateway " + t.words()
	}
	for _, m := range methods {
		currencies := []string{}
		for _, c := range m.Currencies {
			currencies = append(currencies, quoted(c))
		}
		r.Methods = append(r.Methods, Method{
			Type: quoted(m.Type), Code: quoted(m.Code), Name: quoted(m.Name),
			ServiceProvider: quoted(m.ServiceProvider), Country: quoted(m.Country), Currencies: currencies,
		})
	}
}
