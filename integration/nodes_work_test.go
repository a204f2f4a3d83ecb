package integration

import (
	"fmt"
	"testing"
	"time"
)

const (
	sharedBills  = 30              // open, and asked after by whoever is first
	sharedOrders = 12              // told of by whoever is first
	sharedFor    = 8 * time.Second // of questions
	slowAnswer   = 1500 * time.Millisecond
)

// What is due is done by one node: the gateway is asked after a bill no more
// often by three than by one, and the shop is told of an order once, though both
// take their time and every node looks for what is due meanwhile.
func TestWhatIsDueIsDoneByOneNode(t *testing.T) {
	n := startNodes(t, 3, map[string]string{"max": "1s"})
	n.door.dawdle(slowAnswer)
	for i := range sharedBills {
		if _, ok := n.any().place(fmt.Sprint("N-DUE-", i)); !ok {
			t.FailNow()
		}
	}
	begun, before := time.Now(), n.door.questions()
	<-time.After(sharedFor)
	asked, took := n.door.questions()-before, time.Since(begun)
	if most := sharedBills * (int(took/(time.Second+slowAnswer)) + 2); asked > most || asked < sharedBills {
		t.Errorf("%d bills were asked after %d times in %v, instead of %d times at the most", sharedBills, asked, took, most)
	}
	n.door.dawdle(0)
	n.bell.dawdle(slowAnswer)
	orders := make(map[string]bool)
	for i := range sharedOrders {
		code := fmt.Sprint("N-TOLD-", i)
		b, ok := n.any().place(code)
		if !ok {
			t.FailNow()
		}
		n.any().insistOn(n.any().notification(b, "SUCCESS"))
		orders[code] = true
	}
	untold := func() (left int) {
		for code := range orders {
			if told, _ := n.bell.of(code); len(told) == 0 {
				left++
			}
		}
		return left
	}
	n.each[0].await("every order to be told", func() bool { return untold() == 0 })
	<-time.After(2 * slowAnswer) // in which somebody else would tell it again
	for code := range orders {
		if told, _ := n.bell.of(code); len(told) != 1 {
			t.Errorf("the shop was told of %s %d times", code, len(told))
		}
	}
	if len(n.bell.wrong) > 0 {
		t.Error(lines(n.bell.wrong))
	}
}
