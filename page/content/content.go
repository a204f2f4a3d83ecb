// Package content holds what a hosted page says, apart from how it looks: the
// input of package page, filled in by package handlers. It has no behaviour
// and does no escaping: every text in it is untrusted.
package content

import (
	"time"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

// Payment is the page of one bill.
type Payment struct {
	Bill      bill.Bill
	Details   bill.Details
	Merchant  string        // who is paid, as the buyer knows it; may be ""
	ReturnURL string        // of the shop: an http(s) address or a path
	Refresh   time.Duration // after which the page asks again while the bill is open
}

// Failure is a page about something that did not work.
type Failure struct {
	Status     int    // of HTTP
	Title      string // a few words
	Detail     string // a sentence or two
	NotCharged bool   // it is certain that this attempt has cost the buyer nothing
	PayURL     string // page of the bill in question; ""
	ReturnURL  string
	Refresh    time.Duration // after which PayURL is opened by itself; 0: never
}

// Caption is what stands below a QR code that leaves the page.
type Caption struct {
	Merchant  string
	Amount    bill.Amount
	Currency  bill.Currency
	OrderCode string
	PayBefore time.Time // zero: no limit
}

// Document is a finished page.
type Document struct {
	HTML           []byte
	SecurityPolicy string // value of Content-Security-Policy, without which the page must not be served
}
