// Package console is what an operator sees in a browser: figures and charts,
// search, lists, the whole story of a bill, and what can be done about it. It is
// HTML alone, drawn on the server: no script, no other host, nothing to build.
//
// It decides nothing and stores nothing: it asks the engine, which writes every
// act into the history of its bill, under the name of who is signed in. It asks
// for no password: that is for what stands before it, and where nothing names a
// user it answers nobody, unless it is told to. It knows no Caddy; the module's
// root gives it its place in a site. Every text that it shows is untrusted.
package console

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-qlink/caddy-qlink/operator"
	"github.com/caddy-qlink/caddy-qlink/page"
)

//go:embed templates/*.html
var templates embed.FS

//go:embed style.css
var style string

// Config is what a console works with. Every function of it is called with each
// request; all are required.
type Config struct {
	Payments operator.Payments
	User     func(*http.Request) string // who is signed in, as whatever stands before the console found; "": nobody
	Client   func(*http.Request) string // the address of who asks
	Host     func(*http.Request) string // host and port as the browser has them in its address
	Now      func() time.Time

	Unprotected bool     // answer also where nobody is signed in
	ReadOnly    bool     // show everything, do nothing
	Keys        [][]byte // secret; the first signs forms, which are good as long as it stays among them; the same on all nodes
	Logger      *zap.Logger
}

// Console serves the pages. It is safe for concurrent use.
type Console struct {
	Config

	templates *template.Template
	style     template.CSS
	policy    string
	warnOnce  sync.Once
}

// New returns a console.
func New(c Config) (*Console, error) {
	if len(c.Keys) == 0 {
		return nil, errors.New("console: Keys are required")
	}
	parsed, err := template.New("").Funcs(functions).ParseFS(templates, "templates/*.html")
	if err != nil {
		return nil, fmt.Errorf("parse console templates: %w", err)
	}
	css := page.Colours() + "\n" + style
	sum := sha256.Sum256([]byte(css))
	return &Console{
		Config: c, templates: parsed,
		style: template.CSS(css), //nolint:gosec // embedded
		policy: "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
			"'; img-src data:; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
	}, nil
}

// place is an address of the console.
type place struct {
	get, post func(*visit) error
}

// placeOf returns what is at a path, percent-encoded and without the console's
// prefix.
func placeOf(path string) (place, bool) {
	switch path {
	case "/":
		return place{get: (*visit).overview}, true
	case "/find":
		return place{get: (*visit).find}, true
	case "/bills":
		return place{get: (*visit).bills}, true
	case "/notifications":
		return place{get: (*visit).notifications}, true
	case "/notifications/redeliver":
		return place{post: (*visit).redeliverDead}, true
	case "/orphans":
		return place{get: (*visit).orphans}, true
	case "/orphans/resolve":
		return place{post: (*visit).resolveOrphan}, true
	}
	id, act, acting := strings.Cut(strings.TrimPrefix(path, "/bills/"), "/")
	if !strings.HasPrefix(path, "/bills/") || id == "" {
		return place{}, false
	}
	if !acting {
		return place{get: (*visit).bill}, true
	}
	do, ok := acts[act]
	return place{post: do}, ok
}

// Serve answers a request for a path, percent-encoded and without the console's
// prefix: "/" is the first page.
func (c *Console) Serve(w http.ResponseWriter, r *http.Request, path string) {
	header := w.Header()
	header.Set("Content-Security-Policy", c.policy)
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Referrer-Policy", "same-origin") // none at all would hide from us where a form comes from
	header.Set("Cross-Origin-Opener-Policy", "same-origin")
	header.Set("Cross-Origin-Resource-Policy", "same-origin")
	header.Set("Cache-Control", "no-store")
	v := &visit{Console: c, w: w, r: r, path: path, user: c.User(r)}
	if err := v.serve(); err != nil {
		v.fail(err)
	}
}

// visit is one request.
type visit struct {
	*Console

	w    http.ResponseWriter
	r    *http.Request
	path string
	user string
}

func (v *visit) serve() error {
	if v.user == "" && !v.Unprotected {
		v.warnOnce.Do(func() {
			v.Logger.Warn("the console was asked for and nobody was signed in: it answers nobody so; put basic_auth or forward_auth before it")
		})
		return errNobody
	}
	p, ok := placeOf(v.path)
	if !ok {
		return errNoPage
	}
	switch v.r.Method {
	case http.MethodGet, http.MethodHead:
		if p.get != nil {
			return p.get(v)
		}
		v.w.Header().Set("Allow", http.MethodPost)
	case http.MethodPost:
		if p.post != nil {
			return v.act(p.post)
		}
		v.w.Header().Set("Allow", http.MethodGet)
	}
	return errMethod
}

// act lets a form do what it says, if it is one of ours.
func (v *visit) act(do func(*visit) error) error {
	if v.ReadOnly {
		return errReadOnly
	}
	if err := v.readForm(); err != nil {
		return err
	}
	return do(v)
}

// maxForm bounds a form, in bytes.
const maxForm = 64 << 10

// readForm reads the posted form, and refuses one that did not come from a page
// which this console drew for this user.
func (v *visit) readForm() error {
	if !v.fromHere() {
		v.Logger.Warn("a form for the console from another site was refused")
		return errForeign
	}
	v.r.Body = http.MaxBytesReader(v.w, v.r.Body, maxForm)
	if err := v.r.ParseForm(); err != nil {
		return operator.Refuse(http.StatusBadRequest, fmt.Errorf("the form could not be read: %w", err))
	}
	if !v.validToken(v.r.PostForm.Get("token")) {
		return errToken
	}
	return nil
}

// actor is the name that an act stands under in the history.
func (v *visit) actor() string {
	if v.user == "" {
		return "console " + v.Client(v.r)
	}
	return v.user
}

// root leads from the page that is asked for to the first one, whatever the
// console's address is outside of here.
func (v *visit) root() string {
	if depth := strings.Count(v.path, "/") - 1; depth > 0 {
		return strings.Repeat("../", depth)
	}
	return "./"
}

// segment returns the n-th part of the path.
func (v *visit) segment(n int) string {
	parts := strings.Split(v.path, "/")
	if n >= len(parts) {
		return ""
	}
	text, err := url.PathUnescape(parts[n])
	if err != nil {
		return ""
	}
	return text
}

// seeOther leads to another page of the console, which says the notice of that
// code.
func (v *visit) seeOther(to, said string) error {
	if said != "" {
		to += map[bool]string{true: "&", false: "?"}[strings.Contains(to, "?")] + "said=" + url.QueryEscape(said)
	}
	v.w.Header().Set("Location", v.root()+to)
	v.w.WriteHeader(http.StatusSeeOther)
	return nil
}

// parameters reads the query: those named, and what every page knows.
func (v *visit) parameters(known ...string) (url.Values, error) {
	return operator.Parameters(v.r, slices.Concat(known, []string{"said", "n"})...)
}

// frame is what all pages have around what they are about.
type frame struct {
	Style    template.CSS
	Title    string
	Root     string
	Section  string // which entry of the navigation is the current one
	User     string
	Name     string // what was searched for
	Notice   *notice
	Token    string // of the forms; "" where there are none
	ReadOnly bool
	Now      time.Time
}

func (v *visit) frame(section, title string) frame {
	f := frame{
		Style: v.style, Title: title, Root: v.root(), Section: section, User: v.user, ReadOnly: v.ReadOnly, Now: v.Now(),
		Notice: noticeOf(v.r.URL.Query().Get("said"), v.r.URL.Query().Get("n")),
	}
	if !v.ReadOnly && (v.user != "" || v.Unprotected) {
		f.Token = v.token()
	}
	return f
}

// show answers with a page.
func (v *visit) show(status int, name string, data any) error {
	var b bytes.Buffer
	if err := v.templates.ExecuteTemplate(&b, name, data); err != nil {
		return fmt.Errorf("draw %s: %w", name, err)
	}
	v.w.Header().Set("Content-Type", "text/html; charset=utf-8")
	v.w.WriteHeader(status)
	_, _ = v.w.Write(b.Bytes()) // the client is gone, or it is not
	return nil
}
