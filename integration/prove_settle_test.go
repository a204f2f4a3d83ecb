package integration

import (
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/caddy-qlink/caddy-qlink/sandbox"
)

// settle waits until every order is as the gateway's ledger says, or the
// deadline, and returns what is wrong with those that are not.
func (m *meddler) settle(deadline time.Time) map[string]string {
	left := make(map[string]string)
	for n := range *proveCheckouts {
		left[faultOrder(n)] = "not looked at"
	}
	for left = m.unsettled(left); len(left) > 0 && time.Now().Before(deadline); left = m.unsettled(left) {
		<-time.After(time.Second) // a look at the whole ledger is work for the machine under test, too
	}
	return left
}

// unsettled returns those of the orders that are not as the ledger says.
func (m *meddler) unsettled(among map[string]string) map[string]string {
	orders := byOrder(ledgerOf(m.t, m.gateway).Payments)
	left := make(map[string]string)
	codes := make(chan string)
	var mu sync.Mutex
	var clerks sync.WaitGroup
	for range proveWorkers {
		clerks.Go(func() {
			for code := range codes {
				if complaint := m.difference(code, orders[code]); complaint != "" {
					mu.Lock()
					left[code] = complaint
					mu.Unlock()
				}
			}
		})
	}
	for code := range among {
		codes <- code
	}
	close(codes)
	clerks.Wait()
	return left
}

// difference says how an order differs from what the gateway has of it, or "".
func (m *meddler) difference(code string, made []sandbox.PaymentRecord) string {
	a, err := m.lookUp(code)
	if err != nil || a.StatusCode != http.StatusOK {
		return fmt.Sprintf("%v %s", err, a.body)
	}
	found := decode[orderJSON](m.t, a.body)
	booked := make(map[string]string)
	for _, p := range made {
		booked[p.TradeUUID] = string(p.Status)
	}
	paid := false
	for _, b := range found.Bills {
		status, known := booked[b.ID]
		if !known && !b.Final || known && status != b.Status || b.Status == "SUCCESS" && status != "SUCCESS" {
			return fmt.Sprintf("%s is %s here and %q at the gateway: %+v", b.ID, b.Status, status, found)
		}
		paid = paid || status == "SUCCESS"
		delete(booked, b.ID)
	}
	if len(booked) > 0 || found.Paid != paid {
		return fmt.Sprintf("found %+v, the gateway has %+v", found, made)
	}
	return ""
}

// judge counts what must not be, and prints the trial's row.
func (m *meddler) judge(unsettled map[string]string, took time.Duration) {
	var second, unpaid []string
	for code, n := range payableAtOnce(m.t, m.gateway) {
		if n > 1 {
			second = append(second, fmt.Sprintf("%s: %d at once", code, n))
		}
	}
	snapshot := ledgerOf(m.t, m.gateway)
	paid, statuses := make(map[string]bool), make(map[sandbox.Status]int)
	for _, p := range snapshot.Payments {
		paid[p.TradeUUID] = p.Status == sandbox.StatusSuccess
		statuses[p.Status]++
	}
	for n := range *proveCheckouts {
		a, err := m.lookUp(faultOrder(n))
		if err != nil || a.StatusCode != http.StatusOK {
			m.t.Errorf("%s: %v %s", faultOrder(n), err, a.body)
			continue
		}
		for _, b := range decode[orderJSON](m.t, a.body).Bills {
			if b.Status == "SUCCESS" && !paid[b.ID] {
				unpaid = append(unpaid, fmt.Sprintf("%+v", b))
			}
		}
	}
	harmed := 0
	for how, n := range m.done {
		harmed += n
		if n == 0 {
			m.t.Errorf("there was no harm of kind %d", how)
		}
	}
	prove(m.t, "faults between module and gateway (timeout 1s, min_interval 1s, max_interval 5s, unknown_after 5s)",
		fmt.Sprintf("%d checkouts, %d calls and webhooks, %d calls harmed in %d ways; %d payments at the gateway, %d of them paid",
			*proveCheckouts, m.count, harmed, harms, len(snapshot.Payments), statuses[sandbox.StatusSuccess]),
		fmt.Sprintf("%d orders with a second payment, %d false SUCCESS, %d not settled a minute after healing (the last after %.1f s)",
			len(second), len(unpaid), len(unsettled), took.Seconds()))
	var open []string
	for code, complaint := range unsettled {
		open = append(open, code+": "+complaint)
	}
	if len(second)+len(unpaid)+len(open) > 0 {
		m.t.Errorf("second payments:\n%s\nfalse SUCCESS:\n%s\nnot settled:\n%s", lines(second), lines(unpaid), lines(open))
	}
}
