package page

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/boombuler/barcode/qr"
)

// quietZone is the white margin around a QR code, in modules, that ISO/IEC
// 18004 asks for. Without it many cameras do not see the code on a dark page.
const quietZone = 4

// maxCodes bounds how many codes are remembered: the few dozen bills that are
// being paid at one moment, at about 10 KB each.
const maxCodes = 64

// errNoCode says that a payload cannot be drawn, being empty or longer than
// the largest QR code holds.
var errNoCode = errors.New("the payload does not fit into a QR code")

// code is a QR code: its modules as a square of black (true) and white.
type code struct {
	size  int // modules a side
	black []bool
	path  string // the black modules as the data of one SVG path
}

func (c *code) at(x, y int) bool { return c.black[y*c.size+x] }

// newCode computes the code of a payload. Level M restores 15% of damage: a
// compromise between a scratched screen and modules too small to be seen.
func newCode(payload string) (*code, error) {
	if payload == "" {
		return nil, errNoCode
	}
	drawn, err := qr.Encode(payload, qr.M, qr.Auto)
	if err != nil {
		drawn, err = qr.Encode(payload, qr.L, qr.Auto)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNoCode, err)
	}
	size := drawn.Bounds().Dx()
	c := &code{size: size, black: make([]bool, size*size)}
	for y := range size {
		for x := range size {
			r, _, _, _ := drawn.At(x, y).RGBA()
			c.black[y*size+x] = r == 0
		}
	}
	c.path = c.svgPath()
	return c, nil
}

// svgPath draws each horizontal run of black modules as one box: a single
// path is a tenth of the size of a rectangle for every module, and leaves no
// hairlines between neighbours.
func (c *code) svgPath() string {
	var b strings.Builder
	for y := range c.size {
		for x := 0; x < c.size; x++ {
			start := x
			for x < c.size && c.at(x, y) {
				x++
			}
			if x > start {
				run := strconv.Itoa(x - start)
				b.WriteString("M" + strconv.Itoa(start) + " " + strconv.Itoa(y) + "h" + run + "v1h-" + run + "z")
			}
		}
	}
	return b.String()
}

// codes remembers the codes computed last: one takes milliseconds, and a page
// that reloads itself shows the same one again and again.
type codes struct {
	mu    sync.Mutex
	known map[string]*code
	order []string // oldest first
}

func (c *codes) get(payload string) (*code, error) {
	c.mu.Lock()
	known := c.known[payload]
	c.mu.Unlock()
	if known != nil {
		return known, nil
	}
	made, err := newCode(payload)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.known[payload] == nil {
		if len(c.order) == maxCodes {
			delete(c.known, c.order[0])
			c.order = c.order[1:]
		}
		c.known[payload] = made
		c.order = append(c.order, payload)
	}
	return made, nil
}
