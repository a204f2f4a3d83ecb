package shop

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
)

// maxQuantity is how many of one product a cart holds.
const maxQuantity = 99

var (
	errEmptyCart      = errors.New("the cart is empty")
	errUnknownProduct = errors.New("no such product")
	errUnknownOrder   = errors.New("no such order")
	errOtherAmount    = errors.New("paid at another amount or currency than the order's")
)

// cartLine says how many of a product lie in a cart. It holds no price: a price
// is looked up when the order is placed.
type cartLine struct {
	SKU      string `json:"sku"`
	Quantity int    `json:"quantity"`
}

// cart is what one buyer has gathered. OrderCode is the order it was last
// checked out as, "" before the first time.
type cart struct {
	ID        string     `json:"id"`
	Lines     []cartLine `json:"lines"`
	OrderCode string     `json:"orderCode,omitzero"`
}

// item is a product as it was ordered, at the price it then had.
type item struct {
	SKU      string `json:"sku"`
	Name     string `json:"name"`
	Category string `json:"category"`
	Price    rupiah `json:"price"`
	Quantity int    `json:"quantity"`
}

// Total is what the item costs in all.
func (i item) Total() rupiah { return i.Price * rupiah(i.Quantity) }

// order is what a buyer wants to pay for. Until it is paid a changed cart
// changes it; from then on nothing does.
type order struct {
	Code     string    `json:"code"`
	Cart     string    `json:"cart"`
	Items    []item    `json:"items"`
	Total    rupiah    `json:"total"`
	PlacedAt time.Time `json:"placedAt"`
	PaidAt   time.Time `json:"paidAt,omitzero"`
	PaidBill string    `json:"paidBill,omitzero"`
}

// Paid tells whether the order is paid: once true, true for ever.
func (o order) Paid() bool { return o.PaidBill != "" }

// entry is one line of the journal: what changed, as a whole, so that a cart
// and its order never change apart.
type entry struct {
	CookieKey []byte `json:"cookieKey,omitzero"`
	Cart      *cart  `json:"cart,omitzero"`
	Order     *order `json:"order,omitzero"`
}

// ledger holds the carts and orders, in memory and in a journal. Its values are
// copies: their slices are replaced, never written into.
type ledger struct {
	now       func() time.Time
	cookieKey []byte // signs the cart cookies; made once, with the journal

	mu      sync.Mutex
	journal *journal
	carts   map[string]cart
	orders  map[string]order
}

// openLedger reads the ledger in dir, starting one where there is none.
func openLedger(dir string, now func() time.Time) (*ledger, error) {
	l := &ledger{now: now, carts: make(map[string]cart), orders: make(map[string]order)}
	j, err := openJournal(filepath.Join(dir, "shop.ndjson"), l.replay)
	if err != nil {
		return nil, err
	}
	l.journal = j
	if l.cookieKey == nil {
		key := make([]byte, 32)
		rand.Read(key)
		if err := l.write(entry{CookieKey: key}); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// shared has the ledgers that this process uses, by folder: over a reload the
// old and the new configuration serve requests side by side, and both must see
// the same carts.
var shared = struct {
	sync.Mutex
	ledgers map[string]*ledger
}{ledgers: make(map[string]*ledger)}

// sharedLedger gives the process's one ledger in dir. A failure is not kept:
// the next call tries again.
func sharedLedger(dir string) (*ledger, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("create data folder: %w", err)
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("find data folder: %w", err)
	}
	key, err := filepath.EvalSymlinks(abs)
	if err != nil {
		return nil, fmt.Errorf("find data folder: %w", err)
	}
	shared.Lock()
	defer shared.Unlock()
	if l := shared.ledgers[key]; l != nil {
		return l, nil
	}
	l, err := openLedger(key, time.Now)
	if err != nil {
		return nil, err
	}
	shared.ledgers[key] = l
	return l, nil
}

// cart gives the cart with this id, an empty one where there is none.
func (l *ledger) cart(id string) cart {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cartLocked(id)
}

// order looks an order up by its code.
func (l *ledger) order(code string) (order, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	o, ok := l.orders[code]
	return o, ok
}

// setQuantity makes change decide how many of a product lie in a cart, from how
// many do now; none takes the product out.
func (l *ledger) setQuantity(cartID, sku string, change func(now int) int) error {
	if _, ok := findProduct(sku); !ok {
		return errUnknownProduct
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.cartLocked(cartID)
	i := slices.IndexFunc(c.Lines, func(line cartLine) bool { return line.SKU == sku })
	c.Lines = slices.Clone(c.Lines)
	if i < 0 {
		i = len(c.Lines)
		c.Lines = append(c.Lines, cartLine{SKU: sku})
	}
	quantity := min(max(change(c.Lines[i].Quantity), 0), maxQuantity)
	if quantity == 0 {
		c.Lines = slices.Delete(c.Lines, i, i+1)
	} else {
		c.Lines[i].Quantity = quantity
	}
	return l.write(entry{Cart: &c})
}

// place turns a cart into an order; created tells a new one from one that was
// there. The code belongs to the cart, not to the call: placing an unchanged
// cart twice gives one order, and a cart that changed since keeps its code,
// with a new total, for as long as the order is unpaid. With errEmptyCart comes
// the cart's last order, where it had one.
func (l *ledger) place(cartID string) (o order, created bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.cartLocked(cartID)
	items := priced(c.Lines)
	o, known := l.orders[c.OrderCode]
	if len(items) == 0 {
		return o, false, errEmptyCart
	}
	open := known && !o.Paid()
	if open && slices.Equal(o.Items, items) {
		return o, false, nil
	}
	if !open {
		// 80 random bits: who knows the code may see the order.
		o = order{Code: "S" + rand.Text()[:16], Cart: c.ID, PlacedAt: l.now().UTC()}
		c.OrderCode = o.Code
	}
	o.Items, o.Total = items, totalOf(items)
	if err := l.write(entry{Cart: &c, Order: &o}); err != nil {
		return order{}, false, err
	}
	return o, !open, nil
}

// settle marks an order as paid by the bill, if that was for exactly what the
// order costs now: the check and the mark are one step, so that no cart changes
// in between. The bought things leave the cart. A paid order stays as it is.
func (l *ledger) settle(code string, b bill) (order, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	o, ok := l.orders[code]
	if !ok {
		return order{}, errUnknownOrder
	}
	if o.Paid() {
		return o, nil
	}
	if !b.pays(o) {
		return o, errOtherAmount
	}
	o.PaidBill, o.PaidAt = b.ID, l.now().UTC()
	c := l.cartLocked(o.Cart)
	c.Lines = without(c.Lines, o.Items)
	if err := l.write(entry{Cart: &c, Order: &o}); err != nil {
		return order{}, err
	}
	return o, nil
}

func (l *ledger) cartLocked(id string) cart {
	if c, ok := l.carts[id]; ok {
		return c
	}
	return cart{ID: id}
}

// write makes e durable, then true.
func (l *ledger) write(e entry) error {
	line, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("encode ledger entry: %w", err)
	}
	if err := l.journal.append(append(line, '\n')); err != nil {
		return err
	}
	l.apply(e)
	return nil
}

func (l *ledger) replay(line []byte) error {
	var e entry
	if err := json.Unmarshal(line, &e); err != nil {
		return err
	}
	l.apply(e)
	return nil
}

func (l *ledger) apply(e entry) {
	if e.CookieKey != nil {
		l.cookieKey = e.CookieKey
	}
	if e.Cart != nil {
		l.carts[e.Cart.ID] = *e.Cart
	}
	if e.Order != nil {
		l.orders[e.Order.Code] = *e.Order
	}
}

// priced gives each line of a cart the catalogue's price. What the shop has
// stopped selling drops out.
func priced(lines []cartLine) []item {
	items := make([]item, 0, len(lines))
	for _, line := range lines {
		if p, ok := findProduct(line.SKU); ok {
			items = append(items, item{SKU: p.SKU, Name: p.Name, Category: p.Category, Price: p.Price, Quantity: line.Quantity})
		}
	}
	return items
}

func totalOf(items []item) rupiah {
	var sum rupiah
	for _, i := range items {
		sum += i.Total()
	}
	return sum
}

// without takes bought items out of a cart's lines; what the buyer added since
// stays for the next order.
func without(lines []cartLine, bought []item) []cartLine {
	var left []cartLine
	for _, line := range lines {
		for _, i := range bought {
			if i.SKU == line.SKU {
				line.Quantity -= i.Quantity
			}
		}
		if line.Quantity > 0 {
			left = append(left, line)
		}
	}
	return left
}
