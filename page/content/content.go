// Package content holds what a hosted page says, apart from how it looks: the
// input of package page, filled in by package handlers. It has no behaviour
// and does no escaping: every text in it is untrusted.
package content

import (
	"time"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

// Reader is who reads a page, as far as it decides the language.
type Reader struct {
	Language string // asked for by the address (?lang=); "": not
	Accept   string // the header Accept-Language
}

// Payment is the page of one bill.
type Payment struct {
	Reader

	Bill      bill.Bill
	Details   bill.Details
	Merchant  string        // who is paid, as the buyer knows it; may be ""
	ReturnURL string        // of the shop: an http(s) address or a path
	Refresh   time.Duration // after which a page without scripts asks again while the bill is open
	Now       time.Time

	Ways     []Way  // to pay, of a bill in CHOOSE; none: they are not known now
	Newer    string // id of the order's newest attempt; "": it is this bill
	PaidBill string // id of the attempt that paid the order; "": none has
	Told     bool   // the shop has taken every notification about this bill
	MayRetry bool   // the buyer may start a new attempt
}

// Way is a way to pay that a buyer may choose.
type Way struct {
	PayType    string
	PayChannel string
	Name       string // of the channel, for people; never ""
	Type       string // name of the type, where that alone tells two ways apart; ""
}

// Failure is a page about something that did not work.
type Failure struct {
	Reader

	Code       string // of the problem: its texts are found by it
	Title      string // a few words, in English, where there are no texts
	Detail     string // a sentence or two, likewise
	NotCharged bool   // it is certain that this attempt has cost the buyer nothing
	PayURL     string // page of the bill in question; ""
	ReturnURL  string
	Refresh    time.Duration // after which PayURL is opened by itself; 0: never
}

// Caption is what stands below a QR code that leaves the page.
type Caption struct {
	Reader

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
