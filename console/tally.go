package console

import (
	"fmt"
	"slices"
	"time"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

// tally gathers what the charts show.
type tally struct {
	period period
	begin  time.Time
	now    time.Time

	paid    [maxSteps]int // payments by when they were made
	won     [maxSteps]int // bills made then and paid …
	ended   [maxSteps]int // … of those made then that have ended
	waiting [maxSteps + 1]int

	toPay    []time.Duration // from the hand-over to the payment
	webhooks []time.Duration // from the payment to the gateway's webhook
	asked    int             // payments that were not learnt of by a webhook
	dead     int             // notifications given up
}

// maxSteps is the most bars that a period has.
const maxSteps = 30

// step is the bar of a time; the gateway's clock, which may run ahead, makes no
// bar beyond now.
func (t *tally) step(at time.Time) int {
	return min(max(int(at.Sub(t.begin)/t.period.step), 0), t.period.steps-1)
}

// paidAt is when a bill was paid: as the gateway says, or where it does not say
// or cannot mean it, when it was learnt of.
func paidAt(b bill.Bill) time.Time {
	if b.PayTime.IsZero() || b.PayTime.Before(b.CreatedAt.Add(-clockSkew)) || b.PayTime.After(b.UpdatedAt.Add(clockSkew)) {
		return b.UpdatedAt
	}
	return b.PayTime
}

// clockSkew is by how much the gateway's clock may differ; its times have no
// fractions of a second.
const clockSkew = time.Minute

func (t *tally) takeBill(b bill.Bill) {
	if !b.Status.Final() {
		return
	}
	made := t.step(b.CreatedAt)
	t.ended[made]++
	if b.Status != bill.Success {
		return
	}
	t.won[made]++
	at := paidAt(b)
	t.paid[t.step(at)]++
	t.toPay = append(t.toPay, max(at.Sub(b.CreatedAt), 0))
	switch {
	case b.SettledBy != bill.ByWebhook:
		t.asked++
	case at.Equal(b.PayTime):
		t.webhooks = append(t.webhooks, max(b.UpdatedAt.Sub(b.PayTime), 0))
	}
}

// takeTold counts a notification in each step at whose end it was not delivered.
func (t *tally) takeTold(n bill.Notification) {
	until := t.now.Add(t.period.step) // it waits still
	switch n.State {
	case bill.Dead:
		t.dead++
		until = n.TriedAt
	case bill.Delivered:
		until = n.TriedAt
	case bill.Superseded:
		return // when is not known, and it was soon
	case bill.Pending:
	}
	for i := range t.period.steps {
		end := t.begin.Add(time.Duration(i+1) * t.period.step)
		if end.After(t.now) {
			end = t.now
		}
		if !n.CreatedAt.After(end) && until.After(end) {
			t.waiting[i]++
		}
	}
}

func (t *tally) charts() []chart {
	by := t.period.by
	paid := t.chart("paid", "Payments "+by, "Payments", t.paid[:])
	paid.Summary = fmt.Sprintf("Payments of bills made in this time: %d.", len(t.toPay))
	rate := t.rates()
	toPay := spread("topay", "Time to pay", "Payments", t.toPay, payTimes)
	toPay.Summary = fmt.Sprintf("From the order to the payment%s.", middle(t.toPay))
	webhooks := spread("webhooks", "Webhook delay", "Payments", t.webhooks, webhookTimes)
	webhooks.Summary = fmt.Sprintf("From the payment to QLink's webhook%s. Payments found by asking, without one: %d.", middle(t.webhooks), t.asked)
	backlog := t.chart("backlog", "Notification backlog "+by, "Waiting", t.waiting[:])
	backlog.Summary = fmt.Sprintf("Notifications that shops had not taken yet, at the end of each time. Given up in this time: %d.", t.dead)
	return []chart{paid, rate, toPay, webhooks, backlog}
}

// rates is how many of the bills that ended were paid.
func (t *tally) rates() chart {
	ended, won := 0, 0
	values := make([]int, t.period.steps)
	for i := range values {
		ended, won = ended+t.ended[i], won+t.won[i]
		values[i] = none
		if t.ended[i] > 0 {
			values[i] = 100 * t.won[i] / t.ended[i]
		}
	}
	c := t.chart("rate", "Success rate "+t.period.by, "Paid", values)
	c.percent()
	c.Summary = "No bill made in this time has ended yet."
	if ended > 0 {
		c.Summary = fmt.Sprintf("Bills made in this time that have ended: %d; paid of them: %d, which is %d%%.", ended, won, 100*won/ended)
	}
	return c
}

// chart is one with a bar for each step.
func (t *tally) chart(id, title, unit string, values []int) chart {
	c := chart{ID: id, Title: title, Unit: unit, Of: "From"}
	for i, value := range values[:t.period.steps] {
		at := t.begin.Add(time.Duration(i) * t.period.step)
		label := at.Format("2006-01-02 15:04") + " UTC"
		c.Points = append(c.Points, point{Label: label, Short: at.Format(t.period.layout), Value: value})
	}
	return c.drawn()
}

// limit ends a bar of a spread.
type limit struct {
	below time.Duration // 0: everything else
	short string
}

var (
	payTimes = []limit{
		{30 * time.Second, "<30s"}, {time.Minute, "<1m"}, {2 * time.Minute, "<2m"}, {5 * time.Minute, "<5m"},
		{15 * time.Minute, "<15m"}, {time.Hour, "<1h"}, {6 * time.Hour, "<6h"}, {0, "more"},
	}
	webhookTimes = []limit{
		{time.Second, "<1s"}, {2 * time.Second, "<2s"}, {5 * time.Second, "<5s"}, {15 * time.Second, "<15s"},
		{time.Minute, "<1m"}, {5 * time.Minute, "<5m"}, {time.Hour, "<1h"}, {0, "more"},
	}
)

// spread is a chart of how many durations are how long.
func spread(id, title, unit string, durations []time.Duration, limits []limit) chart {
	c := chart{ID: id, Title: title, Unit: unit, Of: "Time"}
	for _, l := range limits {
		c.Points = append(c.Points, point{Label: l.short, Short: l.short})
	}
	for _, d := range durations {
		i := slices.IndexFunc(limits, func(l limit) bool { return l.below == 0 || d < l.below })
		c.Points[i].Value++
	}
	return c.drawn()
}

// middle says how long half of the durations are at the most.
func middle(durations []time.Duration) string {
	if len(durations) == 0 {
		return ""
	}
	slices.Sort(durations)
	median := durations[len(durations)/2]
	if median == 0 {
		return "; half of them took no time that could be told"
	}
	return "; half of them took " + took(median) + " at the most"
}
