package page

import (
	"fmt"
	"html/template"
	"net"
	"net/url"
	"strings"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

// actionView is how the buyer pays: at most one of its fields is set.
type actionView struct {
	QR   *picture
	Link *link
	Code *grouped
}

// picture is a QR code for the page, and the size of the one with a caption
// that a phone shows in its place.
type picture struct {
	SVG           template.HTML
	Width, Height int // pixels
}

// link is a button that leads to where the buyer pays.
type link struct {
	URL    template.URL
	Host   string // "": an app
	Detail string
}

// grouped is a code to be typed, in groups that are easier to read. The groups
// are set apart by the style alone, so that copying yields the code.
type grouped struct {
	Value  string
	Groups []string
}

// action decides anew what the gateway's value is: what becomes a link has to
// be safe now, whatever was thought of it when it was stored.
func (r *Renderer) action(b bill.Bill, v *voice, caption []string) actionView {
	value := b.Action.Value
	switch bill.NewAction(value).Kind {
	case bill.ActionNone:
		return actionView{}
	case bill.ActionQR:
		if c, err := r.codes.get(value); err == nil {
			width, height := c.captionedSize(len(caption))
			return actionView{QR: &picture{c.inline(v.say("qr.label")), width, height}}
		}
	case bill.ActionURL:
		if u, err := url.Parse(value); err == nil && mayLink(u, b.LiveMode) {
			return actionView{Link: &link{template.URL(value), u.Host, v.say("link.detail")}} //nolint:gosec // an http(s) address, checked above
		}
	case bill.ActionDeepLink:
		return actionView{Link: &link{URL: template.URL(value), Detail: v.say("deeplink.detail")}} //nolint:gosec // bill.NewAction rules out the schemes that run scripts
	case bill.ActionCode:
	}
	return actionView{Code: &grouped{Value: value, Groups: groups(value)}}
}

// mayLink allows https, and plain http only to this machine while testing.
func mayLink(u *url.URL, live bool) bool {
	if u.Scheme == "https" {
		return true
	}
	ip := net.ParseIP(u.Hostname())
	return !live && (u.Hostname() == "localhost" || ip != nil && ip.IsLoopback())
}

// groups cuts a long number into fours; any other text stays whole.
func groups(value string) []string {
	if len(value) < 8 || strings.Trim(value, "0123456789") != "" {
		return []string{value}
	}
	var cut []string
	for len(value) > 4 {
		cut = append(cut, value[:4])
		value = value[4:]
	}
	return append(cut, value)
}

// inline is the code for the page, with its quiet zone.
func (c *code) inline(label string) template.HTML {
	return template.HTML(fmt.Sprintf( //nolint:gosec // numbers, a path made of numbers, and an escaped label
		`<svg viewBox="0 0 %[1]d %[1]d" role="img" aria-label="%[4]s" shape-rendering="crispEdges"><path transform="translate(%[2]d %[2]d)" d="%[3]s"/></svg>`,
		c.size+2*quietZone, quietZone, c.path, template.HTMLEscapeString(label)))
}
