package integration

import (
	"bytes"
	"flag"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var images = flag.String("browser.images", "", "folder that pictures of every state of the payment page are written to, such as ../docs/images")

// keepPicture writes a picture of the page as it is, where pictures are wanted.
func (b *tab) keepPicture(name string) {
	b.t.Helper()
	if *images == "" {
		return
	}
	path := filepath.Join(*images, strings.ReplaceAll(name, " ", "-")+".png")
	if err := os.WriteFile(path, small(b.t, b.whole()), 0o644); err != nil {
		b.t.Error(err)
	}
}

// small is a picture in the 256 colours that it has most of.
func small(t *testing.T, picture []byte) []byte {
	t.Helper()
	full, err := png.Decode(bytes.NewReader(picture))
	if err != nil {
		t.Fatal(err)
	}
	bounds, count := full.Bounds(), make(map[color.Color]int)
	for y := range bounds.Dy() {
		for x := range bounds.Dx() {
			count[full.At(x, y)]++
		}
	}
	var palette color.Palette
	for c := range count {
		palette = append(palette, c)
	}
	slices.SortFunc(palette, func(a, b color.Color) int { return count[b] - count[a] })
	palette = palette[:min(len(palette), 256)]
	reduced := image.NewPaletted(bounds, palette)
	index := make(map[color.Color]uint8)
	for c := range count {
		index[c] = uint8(palette.Index(c))
	}
	for y := range bounds.Dy() {
		for x := range bounds.Dx() {
			reduced.SetColorIndex(x, y, index[full.At(x, y)])
		}
	}
	var out bytes.Buffer
	encoder := png.Encoder{CompressionLevel: png.BestCompression}
	if err := encoder.Encode(&out, reduced); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// flat is a phone whose pictures are small.
var flat = device{width: phone.width, height: phone.height, scale: 1, mobile: true}

// paidTwice makes two attempts of one order, both of them paid, and returns the
// one whose payment is to be given back.
func (w *world) paidTwice() billJSON {
	w.t.Helper()
	first := w.stage(scene{name: "twice", channel: "QRIS", fate: "fail", status: "FAIL"})
	second := decode[billJSON](w.t, w.retry(first.ID).want(w.t, 201).body)
	w.control("POST", "/payments/"+second.ID+"/pay", "")
	w.awaitStatus(second.ID, "SUCCESS")
	w.control("POST", "/payments/"+first.ID+"/pay", "")
	return w.awaitStatus(first.ID, "SUCCESS")
}

// paidLate makes a payment of a bill that had ended.
func (w *world) paidLate() billJSON {
	w.t.Helper()
	b := w.stage(scene{name: "late payment", channel: "QRIS", fate: "expire", status: "EXPIRED"})
	w.control("POST", "/payments/"+b.ID+"/pay", "")
	return w.awaitStatus(b.ID, "SUCCESS")
}

// unconfirmed makes a payment that was notified and that the gateway, asked,
// does not show: where confirm_success is on, it is being checked.
func (w *world) unconfirmed() billJSON {
	w.t.Helper()
	b := w.stage(scene{name: "confirmed", channel: "QRIS", status: "WAIT"})
	w.webhook(appSecret, fmt.Sprintf(`{"tradeUuid":%q,"billCode":%q,"orderCode":%q,"status":"SUCCESS"}`, b.ID, b.BillCode, b.OrderCode)).want(w.t, 200)
	return b
}

// TestThePaymentPageInPictures looks at every state once more, on a phone, in
// what it has in common with no other: the choice of the way to pay, another
// language, the dark theme, and paper.
func TestThePaymentPageInPictures(t *testing.T) {
	w := offering(t, "confirm_success on\n\t\t\toffer", "retry 1h\n\t\tpage {\n\t\t\tname \"Kopi Gayo\"\n\t\t\tsupport help@kopi.example\n\t\t}")
	buyer := newBuyer(t, habits{device: flat})
	for _, s := range scenes {
		buyer.open(w.payPage(w.stage(s)))
		buyer.sees(s.says)
		buyer.keepPicture(s.name)
	}
	b := w.checkout(order("O-IN-PICTURES", "15000"), 201)
	buyer.open(w.payPage(b))
	buyer.sees(`How would you like to pay\?`)
	buyer.keepPicture("choose")
	buyer.open(w.payPage(w.unconfirmed()))
	buyer.sees(`is being checked`)
	buyer.keepPicture("checking")
	buyer.open(w.payPage(w.paidTwice()))
	buyer.sees(`more than once`)
	buyer.keepPicture("paid twice")
	waiting := w.stage(scene{name: "to be read", channel: "QRIS", status: "WAIT"})
	for name, h := range map[string]habits{"dark": {device: flat, dark: true}, "arabic": {device: flat, language: "ar"}, "thai": {device: flat, language: "th"}} {
		other := newBuyer(t, h)
		other.open(w.payPage(waiting))
		other.finds(control{"image", "."})
		other.keepPicture(name)
	}
}
