package census_test

import (
	"reflect"
	"testing"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/store/internal/census"
)

// A count that is forgotten in one of the places that name them all would stand
// still.
func TestEveryCountIsAddedAndHasItsColumn(t *testing.T) {
	var c census.Counts
	columns := c.Columns()
	fields := reflect.ValueOf(&c).Elem()
	if len(columns) != fields.NumField() {
		t.Fatalf("%d columns of %d counts", len(columns), fields.NumField())
	}
	for i, n := range columns {
		if fields.Field(i).Addr().Interface() != n {
			t.Errorf("column %d is not %s", i, fields.Type().Field(i).Name)
		}
		*n = int64(i + 1)
	}
	twice := c.Plus(c)
	for i, n := range twice.Columns() {
		if *n != int64(2*(i+1)) {
			t.Errorf("%s: twice %d is %d", fields.Type().Field(i).Name, i+1, *n)
		}
	}
}

func TestEveryStatusAndStateIsCountedOnce(t *testing.T) {
	var c census.Counts
	for _, s := range bill.Statuses() {
		c.Bill(bill.Bill{Status: s}, 1)
	}
	for _, s := range bill.NotificationStates() {
		c.Notification(bill.Notification{State: s}, 1)
	}
	c.Bill(bill.Bill{Status: "nobody's"}, 1)
	shown := c.Public()
	for _, s := range bill.Statuses() {
		if shown.Bills[s] != 1 {
			t.Errorf("%s: %d", s, shown.Bills[s])
		}
	}
	for _, s := range bill.NotificationStates() {
		if shown.Notifications[s] != 1 {
			t.Errorf("%s: %d", s, shown.Notifications[s])
		}
	}
}
