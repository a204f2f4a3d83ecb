package page

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Themes of a page.
const (
	ThemeAuto  = "auto" // as the reader's device is set
	ThemeLight = "light"
	ThemeDark  = "dark"
)

// colour is red, green and blue, 0 to 255.
type colour [3]uint8

// The cards that the accent stands on, and what stands on the accent: the
// style sheet's.
var (
	lightCard = colour{0xff, 0xff, 0xff}
	darkCard  = colour{0x1e, 0x22, 0x26}
	white     = colour{0xff, 0xff, 0xff}
	black     = colour{0, 0, 0}
)

// leastContrast is what text needs (WCAG 2.2, 1.4.3, level AA).
const leastContrast = 4.5

// parseColour reads rrggbb, or #rrggbb.
func parseColour(text string) (colour, error) {
	digits := strings.TrimPrefix(text, "#")
	n, err := strconv.ParseUint(digits, 16, 24)
	if err != nil || len(digits) != len("rrggbb") {
		return colour{}, fmt.Errorf("%q is no colour such as 0b5fff", text)
	}
	return colour{uint8(n >> 16), uint8(n >> 8), uint8(n)}, nil //nolint:gosec // each is a byte of the number
}

func (c colour) String() string { return fmt.Sprintf("#%02x%02x%02x", c[0], c[1], c[2]) }

// luminance is the relative one of WCAG 2.2.
func (c colour) luminance() float64 {
	var linear [3]float64
	for i, channel := range c {
		v := float64(channel) / 255
		if v <= 0.04045 {
			linear[i] = v / 12.92
		} else {
			linear[i] = math.Pow((v+0.055)/1.055, 2.4)
		}
	}
	return 0.2126*linear[0] + 0.7152*linear[1] + 0.0722*linear[2]
}

// contrast is the ratio of WCAG 2.2, from 1 to 21.
func contrast(a, b colour) float64 {
	brighter, darker := a.luminance(), b.luminance()
	if brighter < darker {
		brighter, darker = darker, brighter
	}
	return (brighter + 0.05) / (darker + 0.05)
}

// lightened mixes c with white until it can be read on the ground.
func (c colour) lightened(ground colour) colour {
	for contrast(c, ground) < leastContrast && c != white {
		for i, channel := range c {
			c[i] = uint8(255 - (255-int(channel))*7/8) //nolint:gosec // from 0 to 255
		}
	}
	return c
}

// on is what can be read on c: black or white, whichever stands out more.
func (c colour) on() colour {
	if contrast(c, white) >= contrast(c, black) {
		return white
	}
	return black
}

// accents reads the configured accent, one for light and one for dark cards.
// The dark one is made from the light one where it is not given.
func accents(light, dark string) (onLight, onDark colour, err error) {
	if onLight, err = parseColour(light); err != nil {
		return onLight, onDark, err
	}
	if err := readable(onLight, lightCard, "light"); err != nil {
		return onLight, onDark, err
	}
	if dark == "" {
		return onLight, onLight.lightened(darkCard), nil
	}
	if onDark, err = parseColour(dark); err != nil {
		return onLight, onDark, err
	}
	return onLight, onDark, readable(onDark, darkCard, "dark")
}

// CheckAccent reports what is wrong with a configured accent: no colours of the
// form #rrggbb, or such as cannot be read on the page. dark may be "".
func CheckAccent(light, dark string) error {
	_, _, err := accents(light, dark)
	return err
}

func readable(c, card colour, theme string) error {
	if ratio := contrast(c, card); ratio < leastContrast {
		return fmt.Errorf("%s cannot be read on the %s theme's %s: its contrast is %.1f, and text needs %.1f (WCAG 2.2 AA)",
			c, theme, card, ratio, leastContrast)
	}
	return nil
}

// darkColours are the dark theme's. The ground and ink of a QR code are not
// among them: it is black on white in either.
const darkColours = ":root{--ink:#e8eaed;--soft:#a3abb5;--ground:#14171a;--card:#1e2226;--line:#3a4149;--accent:#6ea0ff;--on:#0b1220;" +
	"--good:#5fd598;--bad:#ff9a85;--note:#4a3b00;--note-ink:#ffe9a6}"

// inDark makes rules those of the dark theme, whenever it is the one shown.
func inDark(theme, rules string) string {
	switch theme {
	case ThemeLight:
		return ""
	case ThemeDark:
		return "@media screen{" + rules + "}" // paper is white
	}
	return "@media screen and (prefers-color-scheme:dark){" + rules + "}"
}

// Colours returns the rules that name the house's colours (--ink, --accent …) in
// both themes, for pages of other packages.
func Colours() string {
	light, _, _ := strings.Cut(style, "\n") // the style sheet begins with them
	return light + darkStyle(ThemeAuto)
}

// darkStyle is what is added to the style sheet for the dark theme.
func darkStyle(theme string) string { return inDark(theme, darkColours) }

// accentStyle is what is added to the style sheet for a configured accent.
func accentStyle(c Config) (string, error) {
	if c.Accent == "" {
		return "", nil
	}
	light, dark, err := accents(c.Accent, c.AccentDark)
	if err != nil {
		return "", err
	}
	rule := func(c colour) string { return fmt.Sprintf(":root{--accent:%s;--on:%s}", c, c.on()) }
	return rule(light) + inDark(c.Theme, rule(dark)), nil
}
