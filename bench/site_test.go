package bench

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/qlink"
)

const (
	appKey    = "app-bench"
	appSecret = "s3cr3t-bench"
)

// options of the sites that are compared: nothing is asked after, and errors
// alone are logged.
const plainOptions = `	admin {{admin}}
	auto_https off
	log {
		level ERROR
	}
`

const qlinkOptions = `	qlink {
		account {
			endpoint http://{{gateway}}/pay
			app_key app-bench
			app_secret s3cr3t-bench
			pay_account account1
			pay_type ONLINE
			pay_channel QRIS
			country ID
			currency IDR
		}
		reconcile {
			min_interval {{interval}}
			max_interval {{interval}}
		}
		limits {
			open_total 0
		}
	}
`

// plainSite is the shop without the module.
const plainSite = "{\n" + plainOptions + `}
http://{{site}} {
	reverse_proxy {{shop}}
}`

// qlinkSite is the shop with it.
const qlinkSite = "{\n" + plainOptions + qlinkOptions + `}
http://{{site}} {
	qlink {
		checkout /checkout
	}
	reverse_proxy {{shop}}
}`

// shop is a site with the module over bills of a population.
type shop struct {
	*caddy
}

// population is what a store holds.
type population struct {
	bills, open, due int
	settled          bool // all were paid, and told of
}

// build writes it into a folder, or puts one there that was built before.
func (p population) build(t *testing.T, dir, gateway string) {
	t.Helper()
	err := fs.ErrNotExist
	if *benchStores != "" && !p.settled {
		err = errors.Join(os.MkdirAll(filepath.Dir(dir), 0o700), os.Rename(filepath.Join(*benchStores, p.name()), dir))
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = p.write(dir, gateway)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func (p population) name() string { return fmt.Sprintf("%d-%d-%d", p.bills, p.open, p.due) }

func (p population) write(dir, gateway string) error {
	ledger, err := bill.NewLedger("http://"+gateway+"/pay", appKey)
	if err != nil {
		return err
	}
	build := exec.Command("taskset", "--cpu-list", measuredCore+","+loadCore, storeTests, "-test.run", "^TestBuildAPopulation$", "-test.timeout", "0", "-population.into", dir, "-population.ledger", ledger,
		"-population.bills", fmt.Sprint(p.bills), "-population.open", fmt.Sprint(p.open), "-population.due", fmt.Sprint(p.due), fmt.Sprintf("-population.settled=%t", p.settled))
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build a population: %w\n%s", err, out)
	}
	return nil
}

// openShop runs a Caddy with the module over a population.
func openShop(t *testing.T, p population, with *peers, interval time.Duration) *shop {
	t.Helper()
	home := t.TempDir()
	p.build(t, home+"/data/caddy/qlink", with.gateway)
	s := &shop{startCaddy(t, home, qlinkSite, with.values(interval))}
	s.awaitStore()
	s.awaitAdmin()
	return s
}

// awaitStore returns once bills are served.
func (c *caddy) awaitStore() {
	c.t.Helper()
	c.await("the store", func() bool { return answers("http://"+c.site+"/qlink/bills/none", http.StatusNotFound) })
}

// awaitAdmin returns once the configuration is the active one, and operators are
// served, too: that comes after its sites.
func (c *caddy) awaitAdmin() {
	c.t.Helper()
	c.await("the admin API", func() bool { return answers("http://"+c.admin+"/qlink/stats", http.StatusOK) })
}

func answers(url string, status int) bool {
	resp, err := http.Get(url)
	return err == nil && resp.Body.Close() == nil && resp.StatusCode == status
}

// row is a bill of a listing, as an operator sees it.
type row struct {
	ID        string `json:"id"`
	BillCode  string `json:"billCode"`
	OrderCode string `json:"orderCode"`
}

// list returns so many bills of a status, from the newest on.
func (s *shop) list(status bill.Status, count int) []row {
	s.t.Helper()
	var rows []row
	query := url.Values{"status": {string(status)}, "limit": {"1000"}}
	for len(rows) < count {
		var page struct {
			Bills []row  `json:"bills"`
			Next  string `json:"next"`
		}
		if err := json.Unmarshal(s.read("http://"+s.admin+"/qlink/bills?"+query.Encode()), &page); err != nil {
			s.t.Fatal(err)
		}
		rows = append(rows, page.Bills...)
		if page.Next == "" {
			break
		}
		query.Set("cursor", page.Next)
	}
	if len(rows) < count {
		s.t.Fatalf("%d bills are %s, and %d are wanted", len(rows), status, count)
	}
	rand.Shuffle(len(rows), func(i, j int) { rows[i], rows[j] = rows[j], rows[i] })
	return rows[:count]
}

// get is the request for a path.
func (c *caddy) get(path string) string {
	return "GET " + path + " HTTP/1.1\r\nHost: " + c.site + "\r\n\r\n"
}

func post(host, path, body string, header ...string) string {
	return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: %s\r\n%sContent-Length: %d\r\n\r\n%s", path, host, strings.Join(header, ""), len(body), body)
}

// statuses are the requests for bills.
func (s *shop) statuses(of []row) []string {
	requests := make([]string, len(of))
	for i, b := range of {
		requests[i] = s.get("/qlink/bills/" + b.ID)
	}
	return requests
}

// notifications are the gateway's words that bills were paid (the document,
// section 8).
func (c *caddy) notifications(of []row) []string {
	requests := make([]string, len(of))
	for i, b := range of {
		body := fmt.Sprintf(`{"tradeUuid":%q,"billCode":%q,"orderCode":%q,"paymentRequestId":"R-%d","status":"SUCCESS","payTime":"2026-11-22 12:00:00","errorCode":""}`,
			b.ID, b.BillCode, b.OrderCode, i)
		requests[i] = post(c.site, "/qlink/payNotification", body, "Content-Type: application/json\r\n", "appKey: "+appKey+"\r\n",
			"sign: "+qlink.Sign(qlink.ContentString, appKey, appSecret, []byte(body))+"\r\n")
	}
	return requests
}
