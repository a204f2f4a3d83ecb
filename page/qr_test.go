package page_test

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/makiuchi-d/gozxing"
	"github.com/makiuchi-d/gozxing/qrcode"

	"github.com/caddy-qlink/caddy-qlink/page/content"
)

var caption = &content.Caption{
	Merchant: "Kopi & Roti – 咖啡", Amount: "15000", Currency: "IDR", OrderCode: "O1<2>", PayBefore: time.Date(2026, 11, 22, 13, 0, 0, 0, time.UTC),
}

// scan reads a picture as a wallet's camera does.
func scan(t *testing.T, picture image.Image, bare bool) string {
	t.Helper()
	bitmap, err := gozxing.NewBinaryBitmapFromImage(picture)
	if err != nil {
		t.Fatal(err)
	}
	hints := map[gozxing.DecodeHintType]any{gozxing.DecodeHintType_TRY_HARDER: true}
	if bare {
		hints = map[gozxing.DecodeHintType]any{gozxing.DecodeHintType_PURE_BARCODE: true}
	}
	result, err := qrcode.NewQRCodeReader().Decode(bitmap, hints)
	if err != nil {
		t.Fatal(err)
	}
	return result.GetText()
}

func decodePNG(t *testing.T, data []byte) image.Image {
	t.Helper()
	picture, err := png.Decode(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	return picture
}

func TestThePNGScansToItsPayload(t *testing.T) {
	for _, text := range []string{payload, "000201", "000201" + strings.Repeat("7", 500)} {
		bare, err := newRenderer(t).QRPNG(text, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := scan(t, decodePNG(t, bare), true); got != text {
			t.Errorf("bare: %q", got)
		}
		captioned, err := newRenderer(t).QRPNG(text, caption)
		if err != nil {
			t.Fatal(err)
		}
		if got := scan(t, decodePNG(t, captioned), false); got != text {
			t.Errorf("captioned: %q", got)
		}
	}
}

func TestACaptionedPNGHasItsQuietZoneAndWordsBelow(t *testing.T) {
	r := newRenderer(t)
	bare, err := r.QRPNG(payload, nil)
	if err != nil {
		t.Fatal(err)
	}
	captioned, err := r.QRPNG(payload, caption)
	if err != nil {
		t.Fatal(err)
	}
	side, picture := decodePNG(t, bare).Bounds().Dx(), decodePNG(t, captioned)
	const margin = 32
	if picture.Bounds().Dx() != side+2*margin {
		t.Fatalf("width = %d, code %d", picture.Bounds().Dx(), side)
	}
	for y := range side + 2*margin {
		for x := range side + 2*margin {
			inside := x >= margin && y >= margin && x < margin+side && y < margin+side
			if !inside && !isWhite(picture.At(x, y)) {
				t.Fatalf("the quiet zone is not white at %d,%d", x, y)
			}
		}
	}
	for line := range 4 {
		if !hasInk(picture, side+2*margin+32*line, 32) {
			t.Errorf("line %d of the caption is empty", line)
		}
	}
}

func isWhite(c color.Color) bool {
	r, g, b, _ := c.RGBA()
	return r == 0xffff && g == 0xffff && b == 0xffff
}

func hasInk(picture image.Image, top, height int) bool {
	for y := top; y < top+height; y++ {
		for x := range picture.Bounds().Dx() {
			if !isWhite(picture.At(x, y)) {
				return true
			}
		}
	}
	return false
}

// rasterize draws the one path of our SVG: boxes of black on white.
func rasterize(t *testing.T, svg string) image.Image {
	t.Helper()
	var root struct {
		ViewBox string `xml:"viewBox,attr"`
	}
	if err := xml.Unmarshal([]byte(svg), &root); err != nil {
		t.Fatal(err)
	}
	var width, height int
	if _, err := fmt.Sscanf(root.ViewBox, "0 0 %d %d", &width, &height); err != nil {
		t.Fatal(err)
	}
	const scale = 4
	picture := image.NewGray(image.Rect(0, 0, width*scale, height*scale))
	for i := range picture.Pix {
		picture.Pix[i] = 0xff
	}
	shift := 0
	if m := regexp.MustCompile(`translate\((\d+) `).FindStringSubmatch(svg); m != nil {
		shift, _ = strconv.Atoi(m[1])
	}
	for _, m := range regexp.MustCompile(`M(\d+) (\d+)h(\d+)v1h-(\d+)z`).FindAllStringSubmatch(svg, -1) {
		x, _ := strconv.Atoi(m[1])
		y, _ := strconv.Atoi(m[2])
		run, _ := strconv.Atoi(m[3])
		for py := (y + shift) * scale; py < (y+shift+1)*scale; py++ {
			for px := (x + shift) * scale; px < (x+shift+run)*scale; px++ {
				picture.SetGray(px, py, color.Gray{})
			}
		}
	}
	return picture
}

func TestTheSVGScansToItsPayload(t *testing.T) {
	r := newRenderer(t)
	bare, err := r.QRSVG(payload, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := scan(t, rasterize(t, string(bare)), true); got != payload {
		t.Errorf("bare: %q", got)
	}
	captioned, err := r.QRSVG(payload, caption)
	if err != nil {
		t.Fatal(err)
	}
	if got := scan(t, rasterize(t, string(captioned)), false); got != payload {
		t.Errorf("captioned: %q", got)
	}
	wantContains(t, string(captioned), "Kopi &amp; Roti – 咖啡", "IDR\u00a015,000", "Order O1&lt;2&gt;", "Pay before 2026-11-22 13:00 UTC")
	decoder := xml.NewDecoder(bytes.NewReader(captioned))
	for {
		if _, err := decoder.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

func TestTheCodeOnThePageScansToItsPayload(t *testing.T) {
	html := draw(t, nil)
	svg := html[strings.Index(html, "<svg"):]
	svg = svg[:strings.Index(svg, "</svg>")+len("</svg>")]
	if got := scan(t, rasterize(t, svg), false); got != payload {
		t.Errorf("scanned %q", got)
	}
}

func TestWhatDoesNotFitIsAnError(t *testing.T) {
	for _, text := range []string{"", strings.Repeat("x", 3000)} {
		if _, err := newRenderer(t).QRSVG(text, nil); err == nil {
			t.Errorf("%d bytes: no error", len(text))
		}
		if _, err := newRenderer(t).QRPNG(text, caption); err == nil {
			t.Errorf("%d bytes: no error", len(text))
		}
	}
}

func TestManyCodesAtOnceStayApart(t *testing.T) {
	r := newRenderer(t)
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			text := "000201" + strconv.Itoa(1000+i%80)
			picture, err := r.QRPNG(text, nil)
			if err != nil {
				t.Error(err)
				return
			}
			if got := scan(t, decodePNG(t, picture), true); got != text {
				t.Errorf("%q scans to %q", text, got)
			}
		})
	}
	wg.Wait()
}
