package shop

import (
	"bytes"
	"embed"
	"errors"
	"html/template"
	"io/fs"
	"net/http"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"go.uber.org/zap"
)

//go:embed web
var web embed.FS

// assets serves the style sheet and the pictures.
var assets = func() http.Handler {
	sub, err := fs.Sub(web, "web/assets")
	if err != nil {
		panic(err) // the folder is compiled in
	}
	return http.FileServerFS(sub)
}()

// pages has one template set a page, each with the frame around it.
var pages = func() map[string]*template.Template {
	frame := template.Must(template.ParseFS(web, "web/pages/frame.html"))
	set := make(map[string]*template.Template)
	for _, name := range []string{"shelf", "cart", "order", "message"} {
		set[name] = template.Must(template.Must(frame.Clone()).ParseFS(web, "web/pages/"+name+".html"))
	}
	return set
}()

// page is what the frame and the page inside it are filled from.
type page struct {
	Title   string
	InCart  int // pieces, shown in the head
	Sandbox string
	Refresh int // seconds until the page loads itself again; 0 = never
	Content any
}

// message is the content of a page that only says something.
type message struct{ Text string }

// cartView is the cart as it is shown.
type cartView struct {
	Items []item
	Total rupiah
}

func (s *Shop) showShelf(w http.ResponseWriter, r *http.Request, l *ledger) {
	s.render(w, http.StatusOK, "shelf", s.newPage(r, l, "Warung Pasar Pagi", catalogue))
}

func (s *Shop) showCart(w http.ResponseWriter, r *http.Request, l *ledger) {
	items := priced(l.cart(cartID(r, l.cookieKey)).Lines)
	s.render(w, http.StatusOK, "cart", s.newPage(r, l, "Your cart", cartView{Items: items, Total: totalOf(items)}))
}

// addToCart puts one more piece of the form's sku into the cart.
func (s *Shop) addToCart(w http.ResponseWriter, r *http.Request, l *ledger) {
	s.changeCart(w, r, l, func(now int) int { return now + 1 })
}

// setInCart sets how many pieces of the form's sku lie in the cart.
func (s *Shop) setInCart(w http.ResponseWriter, r *http.Request, l *ledger) {
	quantity, err := strconv.Atoi(r.PostFormValue("quantity"))
	if err != nil {
		s.refuse(w, r, http.StatusUnprocessableEntity, "bad_quantity", "How many? That was not a number.")
		return
	}
	s.changeCart(w, r, l, func(int) int { return quantity })
}

func (s *Shop) changeCart(w http.ResponseWriter, r *http.Request, l *ledger, change func(now int) int) {
	sku := r.PostFormValue("sku")
	err := l.setQuantity(ensureCartID(w, r, l.cookieKey), sku, change)
	switch {
	case errors.Is(err, errUnknownProduct):
		s.refuse(w, r, http.StatusUnprocessableEntity, "unknown_product", "We do not sell “"+sku+"”.")
	case err != nil:
		s.fail(w, r, err)
	default:
		http.Redirect(w, r, "/cart", http.StatusSeeOther)
	}
}

func (s *Shop) newPage(r *http.Request, l *ledger, title string, content any) page {
	p := page{Title: title, Sandbox: s.sandbox, Content: content}
	for _, line := range l.cart(cartID(r, l.cookieKey)).Lines {
		p.InCart += line.Quantity
	}
	return p
}

// render fills a page whole before it sends the first byte of it.
func (s *Shop) render(w http.ResponseWriter, status int, name string, p page) {
	var body bytes.Buffer
	if err := pages[name].Execute(&body, p); err != nil {
		s.logger.Error("filling a page", zap.String("page", name), zap.Error(err))
		http.Error(w, "This page is broken.", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	s.send(w, status, body.Bytes())
}

// sendJSON sends v; only values that always marshal are given to it.
func (s *Shop) sendJSON(w http.ResponseWriter, status int, contentType string, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		s.logger.Error("encoding an answer", zap.Error(err))
		http.Error(w, "This answer is broken.", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", contentType)
	s.send(w, status, body)
}

func (s *Shop) send(w http.ResponseWriter, status int, body []byte) {
	w.Header().Set("Vary", "Accept")
	w.WriteHeader(status)
	if _, err := w.Write(body); err != nil {
		s.logger.Debug("the client went away", zap.Error(err))
	}
}

// problem is an error for programs (RFC 9457).
type problem struct {
	Title  string `json:"title"`
	Status int    `json:"status"`
	Code   string `json:"code"`
	Detail string `json:"detail"`
}

// refuse answers a request that cannot be done, in the client's language.
func (s *Shop) refuse(w http.ResponseWriter, r *http.Request, status int, code, text string) {
	title := http.StatusText(status)
	if wantsJSON(r) {
		s.sendJSON(w, status, "application/problem+json", problem{Title: title, Status: status, Code: code, Detail: text})
		return
	}
	s.render(w, status, "message", page{Title: title, Sandbox: s.sandbox, Content: message{Text: text}})
}

// fail answers a request that the shop itself could not do.
func (s *Shop) fail(w http.ResponseWriter, r *http.Request, err error) {
	s.logger.Error("serving a request", zap.String("path", r.URL.Path), zap.Error(err))
	s.refuse(w, r, http.StatusInternalServerError, "internal", "Something went wrong on our side. Nothing was charged; please try again.")
}

// wantsJSON tells a program from a browser.
func wantsJSON(r *http.Request) bool {
	accept := strings.Join(r.Header.Values("Accept"), ",")
	return strings.Contains(accept, "application/json") && !strings.Contains(accept, "text/html")
}
