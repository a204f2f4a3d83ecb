package caddyqlink

import (
	"errors"
	"fmt"
	"slices"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-qlink/caddy-qlink/page"
)

// Page is how a site's hosted payment page looks and speaks. Files are read at
// load. docs/buyer-page.md shows what becomes of each option.
type Page struct {
	// Name is who is paid, as buyers know it. Default: the site's public host.
	Name string `json:"name,omitempty"`

	// Logo is the path of a picture (SVG, PNG, JPEG, GIF or WebP) of 16 KiB at
	// most; it travels with every page. Default: none.
	Logo string `json:"logo,omitempty"`

	// Theme is auto (as the buyer's device is set), light or dark. Default: auto.
	Theme string `json:"theme,omitempty"`

	// Accent is the colour of buttons and links as rrggbb, and a second one for
	// the dark theme. Each has to be readable on its theme's card (4.5 to 1).
	// Default: blue; for the dark theme, the first one made lighter.
	Accent []string `json:"accent,omitempty"`

	// Support is whom a buyer may ask: an e-mail address, a telephone number, an
	// http(s) address, or a sentence. Default: none.
	Support string `json:"support,omitempty"`

	// Language is the one of all pages (BCP 47). Default: what the address asks
	// for (?lang=), else what the buyer's browser does.
	Language string `json:"language,omitempty"`

	// Texts are paths of JSON files of texts over the built-in ones, each named
	// by its language (id.json), which may be one that is not built in.
	Texts []string `json:"texts,omitempty"`

	// Template is the path of a Go template (html/template) in the place of the
	// payment page's. Default: the built-in one.
	Template string `json:"template,omitempty"`

	// FrameAncestors are the origins whose pages may embed the page in a frame.
	// Default: none, not even the site itself.
	FrameAncestors []string `json:"frame_ancestors,omitempty"`
}

// hosted is the page's configuration as understood.
type hosted struct {
	page.Config

	name string
}

var pageOptions = []option[Page, hosted]{
	{"name", func(p *Page) *string { return &p.Name }, text(func(h *hosted) *string { return &h.name })},
	{"logo", func(p *Page) *string { return &p.Logo }, text(func(h *hosted) *string { return &h.Logo })},
	{"theme", func(p *Page) *string { return &p.Theme },
		word(func(h *hosted) *string { return &h.Theme }, page.ThemeAuto, page.ThemeLight, page.ThemeDark)},
	{"support", func(p *Page) *string { return &p.Support }, text(func(h *hosted) *string { return &h.Support })},
	{"language", func(p *Page) *string { return &p.Language }, text(func(h *hosted) *string { return &h.Language })},
	{"template", func(p *Page) *string { return &p.Template }, text(func(h *hosted) *string { return &h.Template })},
}

// hosted resolves the block; nil is one that sets nothing.
func (p *Page) hosted(r resolver) (h hosted, err error) {
	if p == nil {
		return h, nil
	}
	if err := resolve(r, pageOptions, p, &h); err != nil {
		return h, err
	}
	accent, err := r.values(p.Accent)
	if err == nil {
		err = setAccent(&h, accent)
	}
	if err != nil {
		return h, fmt.Errorf("accent: %w", err)
	}
	if h.Texts, err = r.values(p.Texts); err != nil {
		return h, fmt.Errorf("texts: %w", err)
	}
	ancestors, err := r.values(p.FrameAncestors)
	if err == nil {
		h.FrameAncestors, err = origins(ancestors)
	}
	if err != nil {
		return h, fmt.Errorf("frame_ancestors: %w", err)
	}
	return h, nil
}

// setAccent takes a colour for the light theme and one for the dark.
func setAccent(h *hosted, colours []string) error {
	switch len(colours) {
	case 0:
		return nil
	case 1:
		h.Accent = colours[0]
	case 2:
		h.Accent, h.AccentDark = colours[0], colours[1]
	default:
		return errors.New("there are more than two colours")
	}
	return page.CheckAccent(h.Accent, h.AccentDark)
}

// origins checks a list of them, and leaves out what is there twice.
func origins(written []string) ([]string, error) {
	var list []string
	for _, w := range written {
		o, err := origin(w)
		if err != nil {
			return nil, fmt.Errorf("%q %w", w, err)
		}
		if !slices.Contains(list, o) {
			list = append(list, o)
		}
	}
	return list, nil
}

func (h *Handler) unmarshalPage(d *caddyfile.Dispenser) error {
	switch {
	case h.Page != nil:
		return d.Err("page is set twice")
	case d.NextArg():
		return d.Err("page takes no value, only a block")
	}
	h.Page = new(Page)
	return parseBlock(d, "page", h.Page, pageOptions, func(name string) error {
		switch name {
		case "accent":
			return unmarshalList(d, name, &h.Page.Accent, func(colours []string) error { return setAccent(new(hosted), colours) })
		case "texts":
			h.Page.Texts = append(h.Page.Texts, d.RemainingArgs()...)
			return nil
		case "frame_ancestors":
			return unmarshalList(d, name, &h.Page.FrameAncestors, func(list []string) error {
				_, err := origins(list)
				return err
			})
		default:
			return unknownOption(d, "page", name)
		}
	})
}

// unmarshalList takes values that stand on one line, and checks them where no
// placeholder has to be resolved first.
func unmarshalList(d *caddyfile.Dispenser, name string, into *[]string, check func([]string) error) error {
	if *into != nil {
		return d.Errf("%s is set twice; put everything on one line", name)
	}
	if *into = d.RemainingArgs(); len(*into) == 0 {
		return d.Errf("%s wants a value (one that begins with # is a comment: put it into quotes)", name)
	}
	if slices.ContainsFunc(*into, hasPlaceholder) {
		return nil
	}
	if err := check(*into); err != nil {
		return d.Errf("%s: %w", name, err)
	}
	return nil
}
