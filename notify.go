package caddyqlink

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/payment"
)

// Notify is a URL of the shop's that is told how bills end, and how it knows
// that it is us who tell. Of the places that name such URLs the most specific
// one alone counts: the site, else the account, else the app. What sites of
// one account and shop name counts together, since a bill knows of no site.
type Notify struct {
	// URL is posted to. Absolute, http or https. Required.
	URL string `json:"url,omitempty"`

	// Secret is what notifications are signed with, as Standard Webhooks has it:
	// whsec_ and the base64 of 24 to 64 bytes. Every one signs: put a new secret
	// first and keep the old one until the shop has changed over. Required.
	Secret []string `json:"secret,omitempty"`

	// Events are what is told: bill.paid, bill.late_payment, bill.failed,
	// bill.canceled, bill.expired, bill.created. Default: all but bill.created.
	Events []string `json:"events,omitempty"`
}

// resolveNotify resolves and checks the URLs of one place. Errors name entry
// and field.
func resolveNotify(r resolver, written []Notify) ([]payment.Target, error) {
	targets := make([]payment.Target, 0, len(written))
	for i, n := range written {
		target, err := n.target(r)
		if err == nil && indexOf(targets, target.URL) >= 0 {
			err = errSameURL
		}
		if err != nil {
			return nil, fmt.Errorf("notify %d: %w", i+1, err)
		}
		targets = append(targets, target)
	}
	return targets, nil
}

var errSameURL = errors.New("url: another notify here has the same; put all secrets and events into one")

func indexOf(targets []payment.Target, address string) int {
	return slices.IndexFunc(targets, func(t payment.Target) bool { return t.URL == address })
}

func (n Notify) target(r resolver) (t payment.Target, err error) {
	if t.URL, err = n.address(r); err != nil {
		return t, fmt.Errorf("url: %w", err)
	}
	if t.Secrets, err = n.keys(r); err != nil {
		return t, fmt.Errorf("secret: %w", err)
	}
	names, err := r.values(n.Events)
	if err == nil {
		err = checkEvents(names)
	}
	if err != nil {
		return t, fmt.Errorf("events: %w", err)
	}
	t.Events = eventsOf(names)
	return t, nil
}

func (n Notify) address(r resolver) (string, error) {
	if n.URL == "" {
		return "", errMissing
	}
	address, err := r.value(n.URL)
	if err != nil {
		return "", err
	}
	return notifyURL(address)
}

func (n Notify) keys(r resolver) ([][]byte, error) {
	secrets, err := r.secrets(n.Secret)
	if err != nil {
		return nil, err
	}
	if len(secrets) == 0 {
		return nil, errMissing
	}
	keys := make([][]byte, len(secrets))
	for i, s := range secrets {
		if keys[i], err = payment.ParseKey(s); err != nil {
			return nil, err
		}
	}
	return keys, nil
}

var errMissing = errors.New("is missing")

// notifyURL returns a URL in the one form in which it is compared.
func notifyURL(v string) (string, error) {
	u, err := webURL(v)
	switch {
	case err != nil:
		return "", err
	case u.User != nil:
		return "", errors.New("must not hold a user: whom it comes from is in the signature")
	case u.Fragment != "" || strings.HasSuffix(v, "#"):
		return "", errors.New("must not hold a fragment")
	}
	u.Host = strings.ToLower(u.Host)
	return u.String(), nil
}

func checkEvents(names []string) error {
	for i, name := range names {
		switch {
		case !slices.Contains(bill.NotificationTypes(), bill.NotificationType(name)):
			return fmt.Errorf("%q is none of %q", name, bill.NotificationTypes())
		case slices.Contains(names[:i], name):
			return fmt.Errorf("%q is there twice", name)
		}
	}
	return nil
}

// eventsOf returns the types of these names, or the default.
func eventsOf(names []string) []bill.NotificationType {
	if len(names) == 0 {
		return slices.DeleteFunc(bill.NotificationTypes(), func(t bill.NotificationType) bool { return t == bill.BillCreated })
	}
	events := make([]bill.NotificationType, len(names))
	for i, name := range names {
		events[i] = bill.NotificationType(name)
	}
	return events
}

// sameURL compares two URLs as far as placeholders let it.
func sameURL(a, b string) bool {
	canonical := func(v string) string {
		if u, err := notifyURL(v); err == nil {
			return u
		}
		return v
	}
	return canonical(a) == canonical(b)
}
