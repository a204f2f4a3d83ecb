package caddyqlink

import (
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/google/go-cmp/cmp"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/payment"
)

// notifyLine is the option in a Caddyfile.
func notifyLine(url, key string, events ...string) string {
	block := "notify " + url + " {\n\tsecret " + keyOf(key) + "\n"
	if len(events) > 0 {
		block += "\tevents " + strings.Join(events, " ") + "\n"
	}
	return block + "}\n"
}

const (
	key1 = "key one of thirty-two bytes long"
	key2 = "key two of thirty-two bytes long"
)

// audienceOf loads a configuration and returns whom its app tells.
func audienceOf(t *testing.T, text string) *audience {
	t.Helper()
	if err := load(t, text); err != nil {
		t.Fatal(err)
	}
	app, err := caddy.ActiveContext().App("qlink")
	if err != nil {
		t.Fatal(err)
	}
	return app.(*App).audience
}

func urls(targets []payment.Target) string {
	var all []string
	for _, t := range targets {
		all = append(all, t.URL)
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

func TestTheMostSpecificPlaceSaysWhoIsTold(t *testing.T) {
	second := strings.Replace(account, "account {", "account second {", 1)
	second = strings.TrimSuffix(second, "}") + notifyLine("http://account.example/", key1) + "}"
	text := caddyfileOf("store memory\n"+notifyLine("http://app.example/", key1)+account+"\n"+second,
		`handle /a* {
			qlink {
				prefix /a
				`+notifyLine("http://site.example/", key1)+notifyLine("http://site.example/2", key1)+`
			}
		}
		handle /b* {
			qlink {
				prefix /b
				account second
				shop north
				`+notifyLine("http://north.example/", key1)+`
			}
		}
		handle /c* {
			qlink {
				prefix /c
				shop silent
			}
		}
		handle /d* {
			qlink {
				prefix /d
				account second
			}
		}`)
	a := audienceOf(t, text)
	for of, want := range map[ordersOf]string{
		{"default", "default"}: "http://site.example/ http://site.example/2",
		{"default", "silent"}:  "http://app.example/",
		{"second", "north"}:    "http://north.example/",
		{"second", "default"}:  "http://account.example/",
		{"second", "gone"}:     "http://account.example/", // a shop whose site is no longer there
		{"gone", "default"}:    "http://app.example/",
	} {
		if got := urls(a.targets(of.account, of.shop)); got != want {
			t.Errorf("of %v, those told are %q, want %q", of, got, want)
		}
	}
}

func TestSitesOfOneAccountAndShopAreToldTogether(t *testing.T) {
	text := caddyfileOf("store memory\n"+notifyLine("http://app.example/", key1)+account,
		`handle /a* {
			qlink {
				prefix /a
				`+notifyLine("http://both.example/", key1, "bill.paid")+notifyLine("http://a.example/", key1)+`
			}
		}
		handle /b* {
			qlink {
				prefix /b
				`+notifyLine("http://BOTH.example/", key2, "bill.failed", "bill.paid")+`
			}
		}
		handle /c* {
			qlink {
				prefix /c
			}
		}`)
	got := audienceOf(t, text).targets(defaultName, defaultName)
	slices.SortFunc(got, func(a, b payment.Target) int { return strings.Compare(a.URL, b.URL) })
	want := []payment.Target{
		{URL: "http://a.example/", Secrets: [][]byte{[]byte(key1)}, Events: []bill.NotificationType{
			bill.BillPaid, bill.BillLatePayment, bill.BillFailed, bill.BillCanceled, bill.BillExpired,
		}},
		{URL: "http://both.example/", Secrets: [][]byte{[]byte(key1), []byte(key2)}, Events: []bill.NotificationType{
			bill.BillPaid, bill.BillFailed,
		}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("those told are others (-want +got):\n%s", diff)
	}
}

func TestNobodyIsToldWhereNobodyIsNamed(t *testing.T) {
	a := audienceOf(t, caddyfileOf("store memory\n"+account, "qlink"))
	if got := a.targets(defaultName, defaultName); len(got) != 0 {
		t.Errorf("those told are %v", got)
	}
}

func TestAnAudienceInUseIsNotChangedByASiteThatJoins(t *testing.T) {
	a := newAudience()
	named := func(url, key string) []payment.Target {
		return []payment.Target{{URL: url, Secrets: [][]byte{[]byte(key)}, Events: []bill.NotificationType{bill.BillPaid}}}
	}
	a.join("a", "s", named("http://one.example/", key1))
	before := a.targets("a", "s")
	var sites sync.WaitGroup
	for _, url := range []string{"http://one.example/", "http://two.example/", "http://three.example/"} {
		sites.Go(func() { a.join("a", "s", named(url, key2)) })
		sites.Go(func() { a.targets("a", "s") })
	}
	sites.Wait()
	if len(before) != 1 || len(before[0].Secrets) != 1 {
		t.Errorf("what was handed out has become %v", before)
	}
	if got := urls(a.targets("a", "s")); got != "http://one.example/ http://three.example/ http://two.example/" {
		t.Errorf("those told are %q", got)
	}
}
