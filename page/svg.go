package page

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/caddy-qlink/caddy-qlink/page/content"
)

// QRSVG draws a payload as a QR code: bare, or with its quiet zone and a
// caption below.
func (r *Renderer) QRSVG(payload string, caption *content.Caption) ([]byte, error) {
	c, err := r.codes.get(payload)
	if err != nil {
		return nil, err
	}
	if caption == nil {
		return c.svg(0, nil), nil
	}
	return c.svg(quietZone, captionLines(r.voices.of(caption.Reader), *caption)), nil
}

// svg draws c with a margin and lines of text below, in units of one module.
// Lines too long for the width are squeezed by the viewer rather than cut.
func (c *code) svg(margin int, lines []string) []byte {
	const lineHeight, fontSize = 3, 2
	width := c.size + 2*margin
	height := width + lineHeight*len(lines)
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img" aria-label="QR code" shape-rendering="crispEdges">`,
		width, height, width*modulePixels, height*modulePixels)
	fmt.Fprintf(&b, `<path fill="#fff" d="M0 0h%dv%dH0z"/>`, width, height)
	fmt.Fprintf(&b, `<path transform="translate(%d %d)" d="%s"/>`, margin, margin, c.path)
	for i, line := range lines {
		squeeze := ""
		if utf8.RuneCountInString(line)*fontSize*2/3 > c.size {
			squeeze = fmt.Sprintf(` textLength="%d" lengthAdjust="spacingAndGlyphs"`, c.size)
		}
		fmt.Fprintf(&b, `<text x="%d" y="%d" font-family="sans-serif" font-size="%d" text-anchor="middle"%s>%s</text>`,
			width/2, width+lineHeight*i+fontSize, fontSize, squeeze, escapeXML(line))
	}
	b.WriteString("</svg>")
	return b.Bytes()
}

func escapeXML(text string) string {
	var b strings.Builder
	// A strings.Builder never fails.
	_ = xml.EscapeText(&b, []byte(text))
	return b.String()
}

// captionLines says who is paid, how much, for what and until when.
func captionLines(v *voice, c content.Caption) []string {
	var lines []string
	if c.Merchant != "" {
		lines = append(lines, c.Merchant)
	}
	lines = append(lines, v.money(c.Amount, c.Currency), v.phrase("order", c.OrderCode).line())
	if !c.PayBefore.IsZero() {
		lines = append(lines, v.phrase("pay_before", moment(c.PayBefore)).line())
	}
	return lines
}
