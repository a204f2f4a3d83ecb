package badger

import (
	"testing"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

func TestAForgottenBillLeavesItsRecordAndOneLine(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	c := change("a")
	b := &c.Bills[0].Bill
	b.Status = bill.Expired
	c.Notifications = telling("n", bill.Delivered, 1).Notifications
	if err := s.Commit(ctx, c); err != nil {
		t.Fatal(err)
	}
	stub := *b
	stub.Revision, stub.ForgottenAt = 2, noon.AddDate(1, 0, 0)
	forget := bill.BillChange{Bill: stub, Forget: true, Events: []bill.Event{{Kind: bill.EventForgotten, At: stub.ForgottenAt}}}
	if err := s.Commit(ctx, bill.Change{Bills: []bill.BillChange{forget}}); err != nil {
		t.Fatal(err)
	}
	for kind, want := range map[byte]int{
		kindBill: 1, kindOrder: 1, kindCreated: 1, kindEvent: 1,
		kindDetails: 0, kindEnded: 0, kindNotification: 0, kindTold: 0, kindNotificationDue: 0, kindPending: 0,
	} {
		if got := entries(t, s, kind); got != want {
			t.Errorf("%d entries of the kind %c, want %d", got, kind, want)
		}
	}
}
