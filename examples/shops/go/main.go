// Command go is a shop in one file, with Go's net/http.
//
// It sells coffee. What makes it a shop for qlink is three things: the answer of
// /checkout, /notifications, and that an order is fulfilled in one place only.
//
//	go run ./examples/shops/go
package main

import (
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"html/template"
	"io"
	"io/fs"
	"log/slog"
	"math/big"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

const (
	price    = 15000
	currency = "IDR"
)

// order is one of the shop's books.
type order struct {
	Quantity int  `json:"quantity"`
	Paid     bool `json:"paid"`
}

// shop keeps its books, by order code, in a file. Yours are in a database.
type shop struct {
	file    string
	qlink   string // where bills are asked after
	webhook *standardwebhooks.Webhook

	mu     sync.Mutex
	orders map[string]order
}

func main() {
	env := func(name, otherwise string) string { return cmp.Or(os.Getenv(name), otherwise) }
	webhook, err := standardwebhooks.NewWebhook(env("SHOP_NOTIFY_SECRET", "whsec_c2hvcC1ub3RpZmljYXRpb25zLW9mLXRoZS1leGFtcGxlIQ=="))
	if err != nil {
		die("SHOP_NOTIFY_SECRET", err)
	}
	s := &shop{
		file: env("SHOP_DATABASE", os.TempDir()+"/qlink-go-shop.json"), webhook: webhook,
		qlink: "http://127.0.0.1:" + env("SHOP_SITE_PORT", "8095") + "/qlink", orders: make(map[string]order),
	}
	if err := s.open(); err != nil {
		die("the books", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", s.home)
	mux.HandleFunc("POST /cart", s.changeCart)
	mux.HandleFunc("POST /checkout", s.checkout)
	mux.HandleFunc("POST /notifications", s.notified)
	mux.HandleFunc("GET /orders/{code}", s.show)
	server := &http.Server{Addr: "127.0.0.1:" + env("SHOP_PORT", "8097"), Handler: http.MaxBytesHandler(mux, 1<<20), ReadHeaderTimeout: 10 * time.Second}
	slog.Info("the shop listens", "address", server.Addr)
	die("serve", server.ListenAndServe())
}

func die(what string, err error) {
	slog.Error(what, "error", err)
	os.Exit(1)
}

func (s *shop) open() error {
	data, err := os.ReadFile(s.file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return json.Unmarshal(data, &s.orders)
}

// change changes an order, or makes it, and writes that down.
func (s *shop) change(code string, change func(*order)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.orders[code]
	change(&o)
	s.orders[code] = o
	data, err := json.Marshal(s.orders)
	if err != nil {
		return err
	}
	if err := os.WriteFile(s.file+".new", data, 0o600); err != nil {
		return err
	}
	return os.Rename(s.file+".new", s.file)
}

func (s *shop) order(code string) (order, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o, ok := s.orders[code]
	return o, ok
}

// cart returns the order of the buyer's cart: its code is the cart's, not the
// click's, so that two clicks are one order.
func (s *shop) cart(r *http.Request) (code string, o order, ok bool) {
	cookie, err := r.Cookie("cart")
	if err != nil {
		return "", order{}, false
	}
	o, ok = s.order(cookie.Value)
	return cookie.Value, o, ok && !o.Paid
}

func (s *shop) home(w http.ResponseWriter, r *http.Request) {
	_, o, ok := s.cart(r)
	if !ok {
		code := "GO-" + rand.Text()
		o = order{Quantity: 1}
		if err := s.change(code, func(made *order) { *made = o }); err != nil {
			fail(w, r, err)
			return
		}
		//nolint:gosec // without Secure: the example is served without TLS
		http.SetCookie(w, &http.Cookie{Name: "cart", Value: code, Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode})
	}
	show(w, r, map[string]any{"Price": price, "Currency": currency, "Quantity": o.Quantity, "Amount": o.Quantity * price})
}

func (s *shop) changeCart(w http.ResponseWriter, r *http.Request) {
	quantity, err := strconv.Atoi(r.PostFormValue("quantity"))
	if err != nil || quantity < 1 || quantity > 99 {
		http.Error(w, "From 1 to 99.", http.StatusUnprocessableEntity)
		return
	}
	if code, _, ok := s.cart(r); ok {
		err := s.change(code, func(o *order) {
			if !o.Paid { // meanwhile
				o.Quantity = quantity
			}
		})
		if err != nil {
			fail(w, r, err)
			return
		}
	}
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

// checkout gives the answer that qlink makes a payment of. The amount is the
// shop's, from its own books.
func (s *shop) checkout(w http.ResponseWriter, r *http.Request) {
	code, o, ok := s.cart(r)
	if !ok {
		http.Redirect(w, r, "/", http.StatusSeeOther)
		return
	}
	w.Header().Set("Content-Type", "application/vnd.qlink.order+json")
	w.WriteHeader(http.StatusCreated)
	err := json.MarshalWrite(w, map[string]any{
		"orderCode": code, "amount": strconv.Itoa(o.Quantity * price), "currency": currency, "description": "Coffee",
		"items": []any{map[string]any{"skuCode": "COFFEE", "skuName": "Coffee", "quantity": o.Quantity}},
	})
	if err != nil {
		slog.Warn("checkout", "order", code, "error", err)
	}
}

// bill is what the shop reads of one.
type bill struct {
	ID        string `json:"id"`
	OrderCode string `json:"orderCode"`
	Status    string `json:"status"`
	Amount    string `json:"amount"`
	Currency  string `json:"currency"`
}

// notified hears how an order ended. 2xx says that this need not be told again; it
// may come twice all the same. The signature is over the bytes as they came.
func (s *shop) notified(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil || s.webhook.Verify(body, r.Header) != nil {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	var told struct {
		Type string `json:"type"`
		Data struct {
			bill

			Order struct {
				Paid     bool   `json:"paid"`
				PaidBill string `json:"paidBill"`
			} `json:"order"`
		} `json:"data"`
	}
	if err := json.Unmarshal(body, &told); err != nil {
		fail(w, r, err)
		return
	}
	if strings.HasPrefix(told.Type, "bill.") && told.Data.Order.Paid { // unpaid is what an order is until it is paid
		paid := told.Data.bill
		if paid.ID != told.Data.Order.PaidBill { // this is about another attempt than the one that paid
			paid, err = s.ask(r, told.Data.Order.PaidBill)
		}
		if err == nil {
			err = s.paid(paid)
		}
		if err != nil {
			fail(w, r, err)
			return
		}
	}
	w.WriteHeader(http.StatusNoContent)
}

func (s *shop) paid(b bill) error {
	o, ok := s.order(b.OrderCode)
	amount, isNumber := new(big.Rat).SetString(b.Amount) // "15000.00" is 15000
	if !ok || !isNumber || b.Status != "SUCCESS" || b.Currency != currency || amount.Cmp(big.NewRat(int64(o.Quantity*price), 1)) != 0 {
		slog.Error("to be looked at: paid otherwise than ordered", "order", b.OrderCode, "amount", b.Amount, "currency", b.Currency)
		return nil
	}
	return s.change(b.OrderCode, func(o *order) { o.Paid = true }) // fulfil here, once
}

// ask asks after a bill.
func (s *shop) ask(r *http.Request, id string) (b bill, err error) {
	req, err := http.NewRequestWithContext(r.Context(), http.MethodGet, s.qlink+"/bills/"+id, nil)
	if err != nil {
		return bill{}, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return bill{}, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return bill{}, fmt.Errorf("bill %s: %s", id, resp.Status)
	}
	return b, json.UnmarshalRead(resp.Body, &b)
}

func (s *shop) show(w http.ResponseWriter, r *http.Request) {
	code := r.PathValue("code")
	o, ok := s.order(code)
	if !ok {
		http.Error(w, "There is no such order.", http.StatusNotFound)
		return
	}
	show(w, r, map[string]any{"Code": code, "Paid": o.Paid})
}

var page = template.Must(template.New("page").Parse(`<!doctype html><html lang="en"><meta charset="utf-8"><title>Coffee</title><h1>Coffee</h1>
{{if .Code -}}
<p>Order {{.Code}}: {{if .Paid}}paid, thank you{{else}}waiting for the payment{{end}}</p>
{{- else -}}
<form method="post" action="/cart">Coffee, {{.Price}} {{.Currency}} each:
<input name="quantity" value="{{.Quantity}}" size="2"> <button>Change</button></form>
<form method="post" action="/checkout"><button>Pay {{.Amount}} {{.Currency}}</button></form>
{{- end}}
</html>
`))

func show(w http.ResponseWriter, r *http.Request, values map[string]any) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	if err := page.Execute(w, values); err != nil {
		slog.Warn("page", "path", r.URL.Path, "error", err)
	}
}

// fail keeps what went wrong from the buyer; qlink will tell it again.
func fail(w http.ResponseWriter, r *http.Request, err error) {
	slog.Error("request failed", "path", r.URL.Path, "error", err)
	http.Error(w, "Try again.", http.StatusInternalServerError)
}
