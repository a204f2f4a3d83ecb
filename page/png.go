package page

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"strings"
	"sync"

	"golang.org/x/image/font"
	"golang.org/x/image/font/gofont/goregular"
	"golang.org/x/image/font/opentype"
	"golang.org/x/image/font/sfnt"
	"golang.org/x/image/math/fixed"

	"github.com/caddy-qlink/caddy-qlink/page/content"
)

const (
	modulePixels    = 8  // side of one module of a QR code
	captionFontSize = 22 // pixels
	captionLine     = 32 // pixels from one line to the next
)

var blackAndWhite = color.Palette{color.White, color.Black}

// QRPNG draws a payload as a QR code, eight pixels a module: bare, or with its
// quiet zone and a caption below. The caption's font has Latin, Greek and
// Cyrillic letters: a language whose words it cannot write is written in
// English, and other characters are drawn as a question mark.
func (r *Renderer) QRPNG(payload string, caption *content.Caption) ([]byte, error) {
	c, err := r.codes.get(payload)
	if err != nil {
		return nil, err
	}
	if caption == nil {
		return encodePNG(c.bitmap())
	}
	lines, err := r.drawableLines(*caption)
	if err != nil {
		return nil, err
	}
	drawn, err := c.captioned(lines)
	if err != nil {
		return nil, err
	}
	return encodePNG(drawn)
}

func encodePNG(img image.Image) ([]byte, error) {
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		return nil, fmt.Errorf("encode QR code: %w", err)
	}
	return b.Bytes(), nil
}

// bitmap draws c without any margin.
func (c *code) bitmap() *image.Paletted {
	side := c.size * modulePixels
	img := image.NewPaletted(image.Rect(0, 0, side, side), blackAndWhite)
	for y := range side {
		for x := range side {
			if c.at(x/modulePixels, y/modulePixels) {
				img.Pix[y*img.Stride+x] = 1
			}
		}
	}
	return img
}

// drawableLines is the caption in the reader's language, or in English where
// the font lacks a letter of the language's own words.
func (r *Renderer) drawableLines(caption content.Caption) ([]string, error) {
	typeface, err := captionFont()
	if err != nil {
		return nil, err
	}
	v := r.voices.of(caption.Reader)
	if words := v.say("order") + v.say("pay_before"); drawable(typeface, words) != strings.ReplaceAll(words, slot, "?") {
		v = r.voices.all[0]
	}
	return captionLines(v, caption), nil
}

// captionedSize is the size of the picture with so many lines, in pixels.
func (c *code) captionedSize(lines int) (width, height int) {
	side := (c.size + 2*quietZone) * modulePixels
	return side, side + captionLine*lines
}

// captioned draws c with its quiet zone and lines of text below.
func (c *code) captioned(lines []string) (image.Image, error) {
	typeface, err := captionFont()
	if err != nil {
		return nil, err
	}
	const margin = quietZone * modulePixels
	side, height := c.captionedSize(len(lines))
	img := image.NewGray(image.Rect(0, 0, side, height))
	draw.Draw(img, img.Bounds(), image.White, image.Point{}, draw.Src)
	draw.Draw(img, image.Rect(margin, margin, side-margin, side-margin), c.bitmap(), image.Point{}, draw.Src)
	for i, line := range lines {
		if err := drawLine(img, typeface, line, side+captionLine*i+captionFontSize); err != nil {
			return nil, err
		}
	}
	return img, nil
}

// drawLine writes text centred on a baseline, smaller where it is too long.
func drawLine(img draw.Image, typeface *opentype.Font, text string, baseline int) error {
	text = drawable(typeface, text)
	width := fixed.I(img.Bounds().Dx() - quietZone*modulePixels)
	for size := captionFontSize; ; size -= 2 {
		face, err := opentype.NewFace(typeface, &opentype.FaceOptions{Size: float64(size), DPI: 72})
		if err != nil {
			return fmt.Errorf("size caption's font: %w", err)
		}
		if length := font.MeasureString(face, text); length <= width || size <= captionFontSize/2 {
			pen := font.Drawer{Dst: img, Src: image.Black, Face: face}
			pen.Dot = fixed.Point26_6{X: (fixed.I(img.Bounds().Dx()) - length) / 2, Y: fixed.I(baseline)}
			pen.DrawString(text)
			return nil
		}
	}
}

// drawable replaces what the font has no glyph for.
func drawable(typeface *opentype.Font, text string) string {
	var buffer sfnt.Buffer
	return strings.Map(func(r rune) rune {
		if glyph, err := typeface.GlyphIndex(&buffer, r); err != nil || glyph == 0 {
			return '?'
		}
		return r
	}, text)
}

var captionFont = sync.OnceValues(func() (*opentype.Font, error) {
	parsed, err := opentype.Parse(goregular.TTF)
	if err != nil {
		return nil, fmt.Errorf("read caption's font: %w", err)
	}
	return parsed, nil
})
