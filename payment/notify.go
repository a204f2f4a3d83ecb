package payment

import "github.com/caddy-qlink/caddy-qlink/bill"

// Target is a shop's URL that is told how bills end.
type Target struct {
	URL     string
	Secrets [][]byte // Standard Webhooks keys, decoded; every one signs, so that they rotate without a gap
	Events  []bill.NotificationType
}
