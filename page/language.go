package page

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/nicksnyder/go-i18n/v2/i18n"
	"golang.org/x/text/language"
	"golang.org/x/text/language/display"

	"github.com/caddy-qlink/caddy-qlink/page/content"
)

// The catalogues: one JSON object of id and text a language. English is the
// one that is complete by definition.
//
//go:embed languages/*.json
var embedded embed.FS

// slot stands in a text where its value goes: a text has one at the most, so
// that no template is run for a buyer.
const slot = "\x00"

// What is read of a client's Accept-Language, and of a language in an address,
// in bytes.
const (
	maxAcceptLanguage = 512
	maxLanguage       = 64
)

// voice is one language: its texts, and how it writes numbers.
type voice struct {
	tag     language.Tag
	name    string // in the language itself
	rtl     bool
	texts   map[string]string
	group   string // between groups of three digits
	decimal string
}

// voices are the languages of a page, English first.
type voices struct {
	all     []*voice
	matcher language.Matcher
	fixed   *voice // nil: each reader's own
}

// newVoices reads the catalogues, then the operator's files over them. A text
// that a file leaves out is the built-in one, in a language of its own the
// English one.
func newVoices(files []string, fixed string) (*voices, error) {
	bundle := i18n.NewBundle(language.English)
	names, err := fs.Glob(embedded, "languages/*.json")
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if _, err := bundle.LoadMessageFileFS(embedded, name); err != nil {
			return nil, fmt.Errorf("read %s: %w", name, err)
		}
	}
	ids := idsOf(embedded)
	for _, file := range files {
		more, err := loadTexts(bundle, file, ids)
		if err != nil {
			return nil, fmt.Errorf("texts %s: %w", file, err)
		}
		ids = append(ids, more...)
	}
	v := new(voices)
	for _, tag := range bundle.LanguageTags() {
		one, err := newVoice(bundle, tag, ids)
		if err != nil {
			return nil, fmt.Errorf("language %s: %w", tag, err)
		}
		v.all = append(v.all, one)
	}
	v.matcher = language.NewMatcher(bundle.LanguageTags())
	return v, v.fix(fixed)
}

// idsOf lists what a page says, from the English catalogue.
func idsOf(catalogues fs.FS) []string {
	text, err := fs.ReadFile(catalogues, "languages/en.json")
	if err != nil {
		return nil
	}
	file, err := i18n.ParseMessageFileBytes(text, "en.json", nil)
	if err != nil {
		return nil
	}
	ids := make([]string, 0, len(file.Messages))
	for _, m := range file.Messages {
		ids = append(ids, m.ID)
	}
	return ids
}

// channelPrefix begins the ids of the names of ways to pay.
const channelPrefix = "channel."

// loadTexts reads an operator's file, whose name is its language's: id.json. It
// returns the channels that the file alone has a name for; any other id that
// no page uses is a typing error.
func loadTexts(bundle *i18n.Bundle, path string, ids []string) (channels []string, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if _, err := language.Parse(strings.TrimSuffix(filepath.Base(path), ".json")); err != nil {
		return nil, errors.New("its name has to be a language's, such as id.json")
	}
	file, err := bundle.ParseMessageFileBytes(text, path)
	if err != nil {
		return nil, err
	}
	for _, m := range file.Messages {
		switch {
		case slices.Contains(ids, m.ID):
		case strings.HasPrefix(m.ID, channelPrefix):
			channels = append(channels, m.ID)
		default:
			return nil, fmt.Errorf("there is no text %q", m.ID)
		}
	}
	return channels, nil
}

func newVoice(bundle *i18n.Bundle, tag language.Tag, ids []string) (*voice, error) {
	v := &voice{tag: tag, name: display.Self.Name(tag), texts: make(map[string]string), rtl: rightToLeft(tag)}
	v.group, v.decimal = separators(tag)
	own, english := i18n.NewLocalizer(bundle, tag.String()), i18n.NewLocalizer(bundle, language.English.String())
	for _, id := range ids {
		text, err := speak(own, id)
		if isMissing(err) {
			text, err = speak(english, id)
		}
		if isMissing(err) && strings.HasPrefix(id, channelPrefix) {
			continue // another language's file names it
		}
		if err != nil {
			return nil, fmt.Errorf("text %q: %w", id, err)
		}
		v.texts[id] = text
	}
	return v, nil
}

func isMissing(err error) bool {
	_, missing := errors.AsType[*i18n.MessageNotFoundErr](err)
	return missing
}

// values are what texts may name; each becomes the slot.
var values = map[string]string{
	"Merchant": slot, "OrderCode": slot, "Time": slot, "Amount": slot, "Name": slot, "Host": slot, "Contact": slot,
}

func speak(l *i18n.Localizer, id string) (string, error) {
	text, err := l.Localize(&i18n.LocalizeConfig{MessageID: id, TemplateData: values})
	switch {
	case err != nil:
		return "", err
	case strings.Contains(text, "<no value>"):
		return "", errors.New("it names a value that there is not")
	case strings.Count(text, slot) > 1:
		return "", errors.New("it names more than one value")
	}
	return text, nil
}

// fix makes every page speak one language.
func (v *voices) fix(name string) error {
	if name == "" {
		return nil
	}
	tag, err := language.Parse(name)
	if err != nil {
		return fmt.Errorf("language %q: %w", name, err)
	}
	_, i, confidence := v.matcher.Match(tag)
	if confidence < language.High {
		return fmt.Errorf("there are no texts in language %q", name)
	}
	v.fixed = v.all[i]
	return nil
}

// of chooses a reader's language: what the address asks for, else what the
// browser does, else English.
func (v *voices) of(r content.Reader) *voice {
	if v.fixed != nil {
		return v.fixed
	}
	if asked, err := language.Parse(r.Language[:min(len(r.Language), maxLanguage)]); err == nil {
		if _, i, confidence := v.matcher.Match(asked); confidence > language.No {
			return v.all[i]
		}
	}
	accepted, _, err := language.ParseAcceptLanguage(r.Accept[:min(len(r.Accept), maxAcceptLanguage)])
	if err != nil {
		return v.all[0]
	}
	for _, tag := range accepted { // one by one: "zh-HK, zh" wants the traditional script, whatever fits zh alone better
		if _, i, confidence := v.matcher.Match(tag); confidence > language.No {
			return v.all[i]
		}
	}
	return v.all[0]
}

// say returns a text without a value.
func (v *voice) say(id string) string { return v.texts[id] }

// has reports whether there is such a text.
func (v *voice) has(id string) bool { return v.texts[id] != "" }

// phrase is a text cut at its value, so that the value stands in an element of
// its own: it may be in a script that runs the other way.
type phrase struct{ Before, Value, After string }

func (v *voice) phrase(id, value string) phrase {
	before, after, has := strings.Cut(v.texts[id], slot)
	if !has {
		value = ""
	}
	return phrase{before, value, after}
}

// line is a phrase as plain text.
func (p phrase) line() string { return p.Before + p.Value + p.After }

// direction is the value of the attribute dir.
func (v *voice) direction() string {
	if v.rtl {
		return "rtl"
	}
	return "ltr"
}

// rightToLeft tells by the script that a language is written in.
func rightToLeft(tag language.Tag) bool {
	script, _ := tag.Script()
	return slices.Contains([]string{"Arab", "Hebr", "Syrc", "Thaa", "Nkoo", "Adlm", "Rohg"}, script.String())
}
