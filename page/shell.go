package page

import (
	"fmt"
	"html/template"
	"net/mail"
	"net/url"
	"regexp"
	"strings"

	"github.com/caddy-qlink/caddy-qlink/page/content"
)

// shell is what every page has around its card.
type shell struct {
	Style   template.CSS
	Script  template.JS
	Logo    template.URL
	Theme   string
	Support *contact
	Nonce   string // of this drawing: style and script need it as their attribute nonce

	voice     *voice
	asked     string // the language that the address asks for, in its form here; "": none
	Languages []tongue
}

// tongue leads to the page in another language.
type tongue struct{ Tag, Name string }

func newShell(c Config) (shell, error) {
	s := shell{Theme: c.Theme, Support: newContact(c.Support)}
	accent, err := accentStyle(c)
	if err != nil {
		return s, fmt.Errorf("accent: %w", err)
	}
	if s.Logo, err = readLogo(c.Logo); err != nil {
		return s, fmt.Errorf("logo: %w", err)
	}
	s.Style = template.CSS(style + darkStyle(c.Theme) + accent) //nolint:gosec // embedded, and colours made of numbers
	s.Script = template.JS(compacted(script))                   //nolint:gosec // embedded
	return s, nil
}

// compacted leaves out what only people read: lines of comment, and
// indentation.
func compacted(script string) string {
	var b strings.Builder
	for line := range strings.Lines(script) {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasPrefix(line, "//") {
			b.WriteString(line + "\n")
		}
	}
	return b.String()
}

// in returns the shell in a reader's language.
func (r *Renderer) in(reader content.Reader) shell {
	s := r.shell
	s.voice = r.voices.of(reader)
	if r.voices.fixed != nil {
		return s
	}
	if reader.Language != "" {
		s.asked = s.voice.tag.String()
	}
	for _, v := range r.voices.all {
		s.Languages = append(s.Languages, tongue{v.tag.String(), v.name})
	}
	return s
}

func (s *shell) setNonce(nonce string) { s.Nonce = nonce }

// Say returns a text of the catalogue, in the reader's language.
func (s *shell) Say(id string) string { return s.voice.say(id) }

// Phrase returns a text of the catalogue cut at its value, which is untrusted
// and may be in another script: Before, Value and After.
func (s *shell) Phrase(id, value string) phrase { return s.voice.phrase(id, value) }

// Lang is the page's language (BCP 47), Dir its direction: ltr or rtl.
func (s *shell) Lang() string { return s.voice.tag.String() }

// Dir is the value of the attribute dir.
func (s *shell) Dir() string { return s.voice.direction() }

// Query keeps the language that the address asked for: it is put behind the
// addresses of forms and pictures.
func (s *shell) Query(before string) string {
	if s.asked == "" {
		return ""
	}
	return before + "lang=" + url.QueryEscape(s.asked)
}

// contact is whom a buyer may ask.
type contact struct {
	Text string
	URL  template.URL // "": none
}

// telephone is a number as people write it.
var telephone = regexp.MustCompile(`^\+?[0-9][0-9 ()/-]{4,24}$`)

// newContact makes a link of what an operator wrote, where it is one.
func newContact(text string) *contact {
	if text == "" {
		return nil
	}
	c := &contact{Text: text}
	u, err := url.Parse(text)
	switch address, bad := mail.ParseAddress(text); {
	case bad == nil && address.Address == text:
		c.URL = template.URL("mailto:" + text) //nolint:gosec // the operator's, and an address
	case telephone.MatchString(text):
		c.URL = template.URL("tel:" + strings.NewReplacer(" ", "", "(", "", ")", "", "/", "", "-", "").Replace(text)) //nolint:gosec // digits
	case err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "":
		c.URL = template.URL(text) //nolint:gosec // an http(s) address
	}
	return c
}
