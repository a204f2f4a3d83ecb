package shop

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
)

// maxAnswer is more than any honest answer of the module takes, in bytes.
const maxAnswer = 4 << 20

// errNeverBilled is the module's word that it has no bill for an order.
var errNeverBilled = errors.New("the order was never billed")

// till asks the qlink module what became of an order. Its answer and the
// module's notifications are the shop's only ways to learn of a payment: nothing
// a browser says makes an order paid.
type till struct {
	orders *url.URL // {prefix}/orders of the module
	secret []byte
	client *http.Client
	now    func() time.Time
}

// newTill makes the till for the module whose prefix has this URL.
func newTill(prefix *url.URL, secret []byte) *till {
	return &till{
		orders: prefix.JoinPath("orders"),
		secret: secret,
		now:    time.Now,
		client: &http.Client{
			// A pool of its own, which Cleanup can empty.
			Transport: &http.Transport{IdleConnTimeout: time.Minute},
			// The signature is for one path only, and no redirect is expected.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// account is the module's answer: whether the order is paid, and its bills,
// newest first.
type account struct {
	OrderCode string `json:"orderCode"`
	Paid      bool   `json:"paid"`
	PaidBill  string `json:"paidBill"`
	OpenBill  string `json:"openBill"`
	Bills     []bill `json:"bills"`
}

// bill is what the shop reads of a bill; it has many more fields.
type bill struct {
	ID        string `json:"id"`
	OrderCode string `json:"orderCode"`
	Status    string `json:"status"`
	Amount    string `json:"amount"`
	Currency  string `json:"currency"`
	PayURL    string `json:"payUrl"`
}

// find gives the bill with this id.
func (a account) find(id string) (bill, bool) {
	for _, b := range a.Bills {
		if b.ID == id && id != "" {
			return b, true
		}
	}
	return bill{}, false
}

// pays tells whether the bill is a payment of exactly what o costs. Amounts are
// compared as numbers: 15000 is 15000.00.
func (b bill) pays(o order) bool {
	whole, cents, _ := strings.Cut(b.Amount, ".")
	return b.ID != "" && b.Status == "SUCCESS" && b.OrderCode == o.Code && b.Currency == currency &&
		whole == o.Total.amount() && strings.Trim(cents, "0") == ""
}

// ask fetches the account of one order.
func (t *till) ask(ctx context.Context, code string) (account, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, t.orders.JoinPath(url.PathEscape(code)).String(), nil)
	if err != nil {
		return account{}, fmt.Errorf("ask about order %s: %w", code, err)
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("QLink-Signature", sign(t.secret, t.now(), req.Method, req.URL.RequestURI(), nil))
	resp, err := t.client.Do(req)
	if err != nil {
		return account{}, fmt.Errorf("ask about order %s: %w", code, err)
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusNotFound:
		return account{}, errNeverBilled
	default:
		return account{}, fmt.Errorf("ask about order %s: the module answered %s", code, resp.Status)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return account{}, fmt.Errorf("ask about order %s: %w", code, err)
	}
	var a account
	if err := json.Unmarshal(body, &a); err != nil {
		return account{}, fmt.Errorf("ask about order %s: %w", code, err)
	}
	if a.OrderCode != code {
		return account{}, fmt.Errorf("ask about order %s: the answer is about %q", code, a.OrderCode)
	}
	return a, nil
}

// sign makes the QLink-Signature header of a request to the module's signed
// endpoints. target is the path with the query, exactly as sent.
func sign(secret []byte, at time.Time, method, target string, body []byte) string {
	stamp := strconv.FormatInt(at.Unix(), 10)
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(stamp + "." + method + "." + target + "."))
	mac.Write(body)
	return "t=" + stamp + ",v1=" + hex.EncodeToString(mac.Sum(nil))
}
