package integration

import (
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// downloads is the example of gated downloads as it stands, on free ports.
type downloads struct{ *world }

func startDownloads(t *testing.T) *downloads {
	t.Helper()
	files, err := filepath.Abs("../examples/download/files")
	if err != nil {
		t.Fatal(err)
	}
	w := prepareExample(t, "download", onLocalhost(t))
	w.env = append(w.env, "DOWNLOAD_PORT="+port(t, w.public), "DOWNLOAD_SANDBOX_PORT="+port(t, w.gateway),
		"DOWNLOAD_ADMIN="+w.admin, "DOWNLOAD_FILES="+files)
	w.start()
	return &downloads{w}
}

// buy goes as far as the payment page and returns its path.
func (d *downloads) buy(what string) (page, id string) {
	d.t.Helper()
	location, err := d.must("POST", "/buy/"+what, "", "Accept", "text/html").want(d.t, http.StatusSeeOther).Location()
	if err != nil {
		d.t.Fatal(err)
	}
	d.must("GET", location.Path, "", "Accept", "text/html").want(d.t, 200)
	return location.Path, location.Path[strings.LastIndex(location.Path, "/")+1:]
}

// pay pays without the browser's help, as a wallet does.
func (d *downloads) pay(id string) {
	d.t.Helper()
	jar := d.client.Jar
	d.client.Jar = nil
	defer func() { d.client.Jar = jar }()
	d.control("POST", "/payments/"+id+"/pay", "")
	d.awaitStatus(id, "SUCCESS")
}

func (d *downloads) want(path string, status int, part string) {
	d.t.Helper()
	a := d.must("GET", path, "").want(d.t, status)
	if !strings.Contains(string(a.body), part) {
		d.t.Errorf("%s answers %s", path, a.body)
	}
}

func TestADownloadOpensWithItsPaymentAndNoSooner(t *testing.T) {
	d := startDownloads(t)
	d.browser()
	d.want("/", 200, "The whole cookbook")
	d.want("/downloads/cookbook.txt", 402, "paid for first")

	// The cheap one: it opens itself, once its page has been shown as paid.
	cheapPage, cheap := d.buy("recipe")
	d.want("/downloads/recipe.txt", 402, "")
	d.pay(cheap)
	d.want("/downloads/recipe.txt", 402, "")
	page := d.must("GET", cheapPage, "", "Accept", "text/html").want(t, 200)
	if !strings.Contains(string(page.body), `href="/downloads/recipe.txt"`) {
		t.Errorf("the page does not lead to the download:\n%s", page.body)
	}
	d.want("/downloads/recipe.txt", 200, "Sambal matah")

	// And nothing else, however it is asked for.
	for _, path := range []string{
		"/downloads/cookbook.txt", "/downloads/cookbook.txt?opens=/downloads/recipe.txt", "/downloads/recipe.txt/../cookbook.txt",
		"/downloads/cookbook.txt/../recipe.txt", "/downloads//cookbook.txt", "/downloads/cookbook%2etxt", "/downloads/./cookbook.txt", "/downloads/",
	} {
		d.want(path, 402, "paid for first")
	}

	// The dear one beside it.
	dearPage, dear := d.buy("cookbook")
	d.want("/downloads/cookbook.txt", 402, "")
	d.pay(dear)
	d.must("GET", dearPage, "", "Accept", "text/html").want(t, 200)
	d.want("/downloads/cookbook.txt", 200, "bebek betutu")
	d.want("/downloads/recipe.txt", 200, "Sambal matah")

	// Another browser has bought nothing, and the cookie lives through a restart.
	bought := d.client.Jar
	d.browser()
	d.want("/downloads/cookbook.txt", 402, "")
	d.stop(syscall.SIGTERM)
	d.start()
	d.want("/downloads/recipe.txt", 402, "")
	d.client.Jar = bought
	d.want("/downloads/cookbook.txt", 200, "bebek betutu")
}

func TestADownloadThatWasNotPaidForStaysShut(t *testing.T) {
	d := startDownloads(t)
	d.browser()
	page, id := d.buy("cookbook")
	d.must("POST", "/qlink/bills/"+id+"/cancel", "").want(t, 200)
	d.must("GET", page, "", "Accept", "text/html").want(t, 200)
	d.want("/downloads/cookbook.txt", 402, "")
	// A picture of the code stays payable, and a late payment is a payment.
	d.pay(id)
	d.must("GET", page, "", "Accept", "text/html").want(t, 200)
	d.want("/downloads/cookbook.txt", 200, "bebek betutu")
}

// The site of docs/gating.md, with a shop and a gateway of ours.
func TestTheSiteOfTheGatingPageWorksAsWritten(t *testing.T) {
	blocks := pageBlocks(t)
	its := slices.IndexFunc(blocks, func(b pageBlock) bool { return b.page == "docs/gating.md" && b.kind == "caddyfile" })
	_, site, _ := strings.Cut(blocks[its].text, "shop.example.com {\n")
	root := t.TempDir()
	site = strings.NewReplacer("localhost:3000", "{{shop}}", "/srv/shop", root).Replace(strings.TrimSuffix(site, "}\n"))
	w := prepareWorld(t, site, "")
	if err := os.MkdirAll(filepath.Join(root, "downloads"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "downloads", "book.txt"), []byte("the book"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.start()
	d := &downloads{w}
	w.shop.lay(`{"orderCode":"O 1","amount":"15000","metadata":{"opens":"/downloads/book.txt"}}`)
	b := decode[billJSON](t, w.must("POST", "/checkout", "").want(t, 201).body)
	d.browser()
	thanks := "/thanks?order=O%201&bill=" + b.ID
	d.want(thanks, 302, "")
	d.want("/downloads/book.txt", 302, "")
	d.pay(b.ID)
	back := d.must("GET", "/qlink/pay/"+b.ID, "", "Accept", "text/html").want(t, 200)
	if !strings.Contains(string(back.body), `href="`+strings.ReplaceAll(thanks, "&", "&amp;")) {
		t.Errorf("the page does not lead to %s:\n%s", thanks, back.body)
	}
	d.want(thanks, 200, "Thank you. Order O 1 is paid: IDR 15000.")
	if a := d.must("GET", "/downloads/book.txt", "").want(t, 200); string(a.body) != "the book" || !strings.Contains(a.Header.Get("Cache-Control"), "private") {
		t.Errorf("%v %s", a.Header, a.body)
	}
	d.browser()
	d.want("/downloads/book.txt", 302, "")
	d.want("/thanks?order=O%202&bill="+b.ID, 302, "")
	d.want("/thanks?order=O%201", 302, "")
	d.want("/", 200, "shop: GET /")
}
