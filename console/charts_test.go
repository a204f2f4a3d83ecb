package console_test

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/console"
)

func TestTheOverviewCountsAndDraws(t *testing.T) {
	o := open(t)
	for _, status := range []string{"SUCCESS", "SUCCESS", "SUCCESS", "FAIL", ""} {
		b := o.sell("A-"+time.Now().Format(time.RFC3339Nano), "1")
		if status != "" {
			o.report(b, status)
		}
	}
	for _, path := range []string{"/", "/?range=24h", "/?range=7d", "/?range=30d"} {
		page := o.get(path).want(200, "Open bills 1", "Bills looked at: 5.", "Payments of bills made in this time: 3.",
			"have ended: 4; paid of them: 3, which is 75%", "Notifications that shops had not taken yet").
			lacks("are left out")
		for name, bars := range map[string]int{"paid": 1, "rate": 1, "topay": 1, "webhooks": -1, "backlog": 1} {
			if got := strings.Count(figure(t, page.text, name), "<rect"); got != bars && bars >= 0 {
				t.Errorf("%s: %d bars of %s", path, got, name)
			}
		}
		if rows := strings.Count(figure(t, page.text, "rate"), "<tr><th scope=\"row\">"); rows != map[string]int{"/": 24, "/?range=24h": 24, "/?range=7d": 28, "/?range=30d": 30}[path] {
			t.Errorf("%s: %d rows", path, rows)
		}
		if backlog := figure(t, page.text, "backlog"); !strings.Contains(backlog, `<td class="number">4</td>`) {
			t.Errorf("%s: the backlog is not 4:\n%s", path, backlog)
		}
	}
}

// figure is one chart of a page.
func figure(t *testing.T, page, id string) string {
	t.Helper()
	for _, figure := range regexp.MustCompile(`(?s)<figure.*?</figure>`).FindAllString(page, -1) {
		if strings.Contains(figure, `id="`+id+`-title"`) {
			return figure
		}
	}
	if id == "webhooks" {
		return ""
	}
	t.Fatalf("no chart %s in\n%s", id, page)
	return ""
}

func TestAChartOfNothingSaysSo(t *testing.T) {
	o := open(t)
	page := o.get("/").want(200, "Nothing in this time", "No bill made in this time has ended yet")
	if strings.Contains(page.text, "<svg") {
		t.Error("there is a picture of nothing")
	}
}

// settled is a bill that was paid so long after it was made, of which the
// gateway's webhook came so long after that.
func settled(made time.Time, toPay, webhook time.Duration) bill.Bill {
	return bill.Bill{
		ID: "x", Status: bill.Success, CreatedAt: made, PayTime: made.Add(toPay), UpdatedAt: made.Add(toPay + webhook), SettledBy: bill.ByWebhook,
	}
}

func TestChartsTellHowLongPaymentsAndWebhooksTook(t *testing.T) {
	now := time.Now()
	late := settled(now.Add(-10*time.Minute), 3*time.Minute, 0)
	late.SettledBy = bill.ByQuery
	ahead := settled(now.Add(-time.Second), 0, 0)
	ahead.PayTime = now.Add(8 * time.Hour) // the gateway's zone is not what was configured
	o := open(t, func(c *console.Config) {
		c.Payments = &crowd{Payments: c.Payments, last: true, page: []bill.Bill{
			ahead, settled(now.Add(-time.Minute), 20*time.Second, 4*time.Second), settled(now.Add(-time.Hour), 45*time.Second, 500*time.Millisecond), late,
		}}
	})
	page := o.get("/").want(200, "in this time: 4.", "half of them took 45.0 s at the most", "found by asking, without one: 1.")
	for id, want := range map[string]map[string]string{
		"topay":    {"&lt;30s": "2", "&lt;1m": "1", "&lt;5m": "1", "more": "0"},
		"webhooks": {"&lt;1s": "1", "&lt;5s": "1", "more": "0"},
	} {
		chart := figure(t, page.text, id)
		for label, count := range want {
			if row := `<tr><th scope="row">` + label + `</th><td class="number">` + count + `</td></tr>`; !strings.Contains(chart, row) {
				t.Errorf("%s: no %s in\n%s", id, row, chart)
			}
		}
	}
}

func TestTooManyBillsToDrawAreCutAndSaidSo(t *testing.T) {
	now := time.Now()
	many := &crowd{page: make([]bill.Bill, 1000)}
	for i := range many.page {
		many.page[i] = settled(now.Add(-time.Minute), time.Second, time.Second)
	}
	o := open(t, func(c *console.Config) {
		many.Payments = c.Payments
		c.Payments = many
	})
	o.get("/?range=30d").want(200, "There are too many to look at all")
	if many.pages > 20 {
		t.Errorf("%d pages were read", many.pages)
	}
}
