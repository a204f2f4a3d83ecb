package integration

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"math"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	"github.com/makiuchi-d/gozxing"
	"github.com/makiuchi-d/gozxing/qrcode"
)

// awaitStill is await over a page that does not go away meanwhile: where it
// reloads itself by the clock it is stopped, and loaded again afterwards.
func (b *tab) awaitStill(what string, look func(context.Context, *chromedp.Target) error) {
	b.t.Helper()
	var stopped bool
	b.await(what, func(ctx context.Context, target *chromedp.Target) error {
		reloads, err := chromedp.Evaluate[bool](stopReloading)(ctx, target)
		if err != nil {
			return err
		}
		stopped = stopped || reloads
		return look(ctx, target)
	})
	if stopped {
		b.reload()
	}
}

// stopReloading leaves alone what a page that does not reload has under way.
const stopReloading = `(() => {
	const reloads = document.querySelector('meta[http-equiv="refresh"]') !== null;
	if (reloads) window.stop();
	return reloads;
})()`

// whole is a picture of the page from top to bottom, as a PNG.
func (b *tab) whole() []byte {
	b.t.Helper()
	beyond := true
	return b.capture(page.CaptureScreenshotParams{CaptureBeyondViewport: &beyond})
}

func (b *tab) capture(params page.CaptureScreenshotParams) (picture []byte) {
	b.t.Helper()
	b.awaitStill("a picture", func(ctx context.Context, target *chromedp.Target) error {
		taken, err := cdp.Call(ctx, target, page.CaptureScreenshot, params)
		picture = taken.Data
		return err
	})
	return picture
}

// picture is one of a control alone, with so many CSS pixels of what is around
// it.
func (b *tab) picture(c control, around float64) (picture []byte) {
	b.t.Helper()
	b.awaitStill(fmt.Sprint(c), func(ctx context.Context, target *chromedp.Target) error {
		clip, err := b.frame(ctx, target, c, around)
		if err != nil {
			return err
		}
		beyond := true
		taken, err := cdp.Call(ctx, target, page.CaptureScreenshot, page.CaptureScreenshotParams{Clip: clip, CaptureBeyondViewport: &beyond})
		picture = taken.Data
		return err
	})
	return picture
}

// frame is where a control is on the page; a clip counts from the page's top.
func (b *tab) frame(ctx context.Context, target *chromedp.Target, c control, around float64) (*page.Viewport, error) {
	id, err := find(ctx, target, c)
	if err != nil {
		return nil, err
	}
	quad, err := quadOf(ctx, target, id)
	if err != nil {
		return nil, err
	}
	scrolled, err := chromedp.Evaluate[[]float64](`[scrollX, scrollY]`)(ctx, target)
	if err != nil {
		return nil, err
	}
	left, top := math.Floor(quad[0]-around), math.Floor(quad[1]-around)
	return &page.Viewport{
		X: left + scrolled[0], Y: top + scrolled[1], Scale: 1,
		Width: math.Ceil(quad[4] + around - left), Height: math.Ceil(quad[5] + around - top),
	}, nil
}

// decodeQR reads the QR code somewhere in a picture, as a wallet's camera does.
func decodeQR(t *testing.T, picture []byte) string {
	t.Helper()
	text := readQR(picture)
	if text == "" {
		t.Fatal("there is no QR code in the picture")
	}
	return text
}

// readQR is decodeQR where there may be none: "". The picture is looked at from
// each side in turn, as a camera may be held: of faultless pictures of chance
// payloads the decoder overlooks some five in a thousand upright, and reads them
// turned.
func readQR(picture []byte) string {
	img, err := png.Decode(bytes.NewReader(picture))
	if err != nil {
		return ""
	}
	for range 4 {
		if text := readUpright(img); text != "" {
			return text
		}
		img = turned{img}
	}
	return ""
}

// turned is a picture turned by a quarter.
type turned struct{ image.Image }

func (t turned) Bounds() image.Rectangle {
	b := t.Image.Bounds()
	return image.Rect(0, 0, b.Dy(), b.Dx())
}

func (t turned) At(x, y int) color.Color {
	b := t.Image.Bounds()
	return t.Image.At(b.Min.X+y, b.Max.Y-1-x)
}

func readUpright(img image.Image) string {
	bitmap, err := gozxing.NewBinaryBitmapFromImage(img)
	if err != nil {
		return ""
	}
	result, err := qrcode.NewQRCodeReader().Decode(bitmap, map[gozxing.DecodeHintType]any{gozxing.DecodeHintType_TRY_HARDER: true})
	if err != nil {
		return ""
	}
	return result.GetText()
}

// overflows names what reaches beyond the page's right edge, so that somebody
// would have to scroll sideways; nothing, as a rule.
func (b *tab) overflows() string {
	b.t.Helper()
	return strings.Join(evaluate[[]string](b, `(() => {
		const page = document.scrollingElement, room = page.clientWidth;
		if (page.scrollWidth <= room) return [];
		const wide = [...document.body.querySelectorAll("*")].filter(e => e.getBoundingClientRect().right + scrollX > room);
		return ["the page is " + page.scrollWidth + " wide, of " + room,
			...wide.map(e => e.outerHTML.slice(0, 80) + " ends at " + Math.round(e.getBoundingClientRect().right))];
	})()`), "\n")
}
