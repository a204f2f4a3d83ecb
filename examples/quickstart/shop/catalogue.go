package shop

import "strconv"

// currency is the one currency this shop sells in.
const currency = "IDR"

// rupiah is an amount of whole rupiah: what the shop's prices are written in.
// ISO 4217 gives IDR two decimals, but nobody has priced in sen for decades.
type rupiah int64

// amount is r as QLink wants it: a decimal string (document, section 4).
func (r rupiah) amount() string { return strconv.FormatInt(int64(r), 10) }

// String is r as a price tag in Indonesia shows it: Rp 175.000.
func (r rupiah) String() string {
	digits := r.amount()
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "." + digits[i:]
	}
	return "Rp " + digits
}

// product is a thing on the shelf. Its price stands here and nowhere else: no
// request of a buyer ever carries one.
type product struct {
	SKU      string
	Name     string
	Note     string
	Category string
	Price    rupiah
}

// catalogue is the shelf, in the order in which it is shown. Each product's
// picture is web/assets/<SKU>.svg.
var catalogue = []product{
	{SKU: "KOPI-GAYO", Name: "Gayo highland coffee", Note: "Whole beans from Aceh, 250 g", Category: "Pantry", Price: 85_000},
	{SKU: "SAMBAL-MATAH", Name: "Sambal matah", Note: "Balinese shallot and lemongrass relish, 180 ml", Category: "Pantry", Price: 38_500},
	{SKU: "MELATI-TEA", Name: "Jasmine tea", Note: "Java green tea with melati blossoms, 40 g", Category: "Pantry", Price: 22_000},
	{SKU: "KERUPUK-UDANG", Name: "Prawn crackers", Note: "Kerupuk from Sidoarjo, fried this morning", Category: "Pantry", Price: 15_000},
	{SKU: "BATIK-PARANG", Name: "Batik scarf, Parang", Note: "Hand-stamped cotton from Solo, 180 cm", Category: "Craft", Price: 175_000},
	{SKU: "TAS-ROTAN", Name: "Round rattan bag", Note: "Woven on Lombok, lined with batik", Category: "Craft", Price: 245_000},
}

// findProduct looks a product up by its SKU.
func findProduct(sku string) (product, bool) {
	for _, p := range catalogue {
		if p.SKU == sku {
			return p, true
		}
	}
	return product{}, false
}
