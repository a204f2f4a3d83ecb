package bill

import (
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// ActionKind tells what the gateway's actionValue is.
type ActionKind string

// The kinds of action. The document has no field for it: they are told apart
// by their form.
const (
	ActionNone     ActionKind = "none"
	ActionQR       ActionKind = "qr"       // an EMVCo payload, to be shown as a QR code
	ActionURL      ActionKind = "url"      // a web address to send the buyer to
	ActionDeepLink ActionKind = "deeplink" // a link that opens a wallet's app
	ActionCode     ActionKind = "code"     // a virtual account's or payment code's number, or any other text
)

// Action is what the buyer does to pay. Value is untrusted text.
type Action struct {
	Kind  ActionKind `json:"kind,omitzero"`
	Value string     `json:"value,omitzero"`
}

// emvcoPrefix begins every EMVCo merchant-presented QR payload: tag 00,
// length 02, value 01.
const emvcoPrefix = "000201"

var (
	schemePattern = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.-]{1,31}:`)
	scriptSchemes = []string{"javascript:", "data:", "vbscript:", "file:", "blob:", "about:", "view-source:"}
)

// NewAction classifies an actionValue.
func NewAction(value string) Action {
	return Action{Kind: kindOf(value), Value: value}
}

func kindOf(value string) ActionKind {
	switch {
	case strings.TrimSpace(value) == "":
		return ActionNone
	case strings.HasPrefix(value, emvcoPrefix):
		return ActionQR
	case strings.ContainsFunc(value, func(r rune) bool { return r <= ' ' || r == 0x7f }):
		return ActionCode
	}
	scheme := strings.ToLower(schemePattern.FindString(value))
	u, err := url.Parse(value)
	switch {
	case scheme == "" || err != nil:
		return ActionCode
	case scheme == "http:" || scheme == "https:":
		if u.Host == "" || u.User != nil {
			return ActionCode
		}
		return ActionURL
	}
	if slices.Contains(scriptSchemes, scheme) {
		return ActionCode
	}
	return ActionDeepLink
}
