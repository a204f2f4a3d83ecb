package integration

import (
	"bytes"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// harm is what becomes of a call on its way to the gateway and back.
type harm int

const (
	swallowed  harm = iota // never arrives, never answered
	unanswered             // arrives, never answered
	late                   // arrives when the caller has given up
	resetFirst             // the connection is reset, and the call never arrives
	resetLast              // it arrives, and the connection is reset
	halved                 // the connection is cut in the middle of the answer
	cutShort               // half of the answer, as if that were all
	dripping               // the answer comes in pieces
	refused                // success:false by somebody before the gateway
	denied                 // it arrives, and the answer is success:false
	status                 // 408, 429, 500, 502 or 503, whether it arrives or not
	html                   // a web page and 200, whether it arrives or not
	swapped                // another bill's answer, which says whose it is
	wrapped                // another envelope
	twice                  // it arrives twice
	harms
)

// spoiled is how many calls and webhooks in a hundred come to harm.
const spoiled = 45

// dripPieces and dripPause make an answer last most of what the trial's
// account waits.
const (
	dripPieces = 10
	dripPause  = 60 * time.Millisecond
)

// meddler stands between module and gateway and does harm by the seed alone:
// the same to the first query about an order, whenever that comes.
type meddler struct {
	*world

	gateway *caddy
	board   switchboard
	healed  atomic.Bool

	mu    sync.Mutex
	calls map[string]int        // how often there was one, by operation and order
	last  map[string]namedReply // by operation: an answer with something in it
	done  [harms]int
	count int
}

type namedReply struct {
	reply

	trade string
}

// roll throws the dice for the next call of that name.
func (m *meddler) roll(name string) (chance uint64, harmed bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	h := fnv.New64a()
	fmt.Fprint(h, *proveSeed, name, m.calls[name])
	m.calls[name]++
	m.count++
	chance = h.Sum64() >> 8
	return chance / 100, !m.healed.Load() && chance%100 < spoiled
}

func (m *meddler) call(w http.ResponseWriter, r *http.Request) {
	in, err := m.board.read(r)
	if err != nil {
		m.t.Errorf("call: %v", err)
		return
	}
	chance, harmed := m.roll(in.operation + in.order)
	if !harmed {
		m.forward(r, in).write(w)
		return
	}
	how := harm(chance % uint64(harms))
	m.mu.Lock()
	m.done[how]++
	m.mu.Unlock()
	m.harm(w, r, in, how, chance/uint64(harms))
}

func (m *meddler) harm(w http.ResponseWriter, r *http.Request, in call, how harm, chance uint64) {
	switch how {
	case swallowed:
		<-r.Context().Done()
	case unanswered:
		m.forward(r, in)
		<-r.Context().Done()
	case late:
		<-r.Context().Done()
		m.forward(r, in)
	case resetFirst:
		reset(w)
	case resetLast:
		m.forward(r, in)
		reset(w)
	case halved, cutShort, dripping:
		m.forward(r, in).writeBadly(w, how)
	case refused:
		no(chance).write(w)
	case denied:
		m.forward(r, in)
		no(chance).write(w)
	case status, html:
		if chance%2 == 0 {
			m.forward(r, in)
		}
		instead(how, chance/2).write(w)
	case swapped:
		m.swap(m.forward(r, in), in).write(w)
	case wrapped:
		m.forward(r, in).wrap(chance).write(w)
	case twice:
		m.forward(r, in)
		m.forward(r, in).write(w)
	case harms:
	}
}

// forward passes a call on and keeps the answer, to give it to somebody else.
func (m *meddler) forward(r *http.Request, in call) reply {
	answer, err := pass(m.client, "http://"+m.world.gateway+r.URL.Path, in.header, in.body)
	if err != nil {
		m.t.Errorf("the gateway does not answer: %v", err)
		return reply{status: http.StatusBadGateway}
	}
	if len(in.trades) == 1 && answer.tells() {
		m.mu.Lock()
		m.last[in.operation] = namedReply{answer.naming(in), in.trades[0]}
		m.mu.Unlock()
	}
	return answer
}

// swap answers with what another bill was answered. An answer that says
// nothing of any bill stays as it is.
func (m *meddler) swap(own reply, in call) reply {
	m.mu.Lock()
	defer m.mu.Unlock()
	other, ok := m.last[in.operation]
	if !ok || !own.tells() || len(in.trades) == 1 && other.trade == in.trades[0] {
		return own
	}
	return other.reply
}

// tells reports whether the gateway has answered with something about a bill.
func (a reply) tells() bool {
	return a.status == http.StatusOK && len(a.body) > len("[]") && !bytes.Contains(a.body, []byte(`"success":false`))
}

// naming adds to an answer whose it is, where the operation's does not tell.
func (a reply) naming(in call) reply {
	if rest, ok := bytes.CutPrefix(a.body, []byte("{")); ok && in.operation != "getPayStatus" {
		a.body = fmt.Appendf(nil, `{"tradeUuid":%q,"orderCode":%q,%s`, in.trades[0], in.order, rest)
	}
	return a
}

// wrap puts an answer into an envelope (protocol 3).
func (a reply) wrap(chance uint64) reply {
	if !a.tells() {
		return a
	}
	const begin = `{"success":true,"message":"",`
	rest, isObject := bytes.CutPrefix(a.body, []byte("{"))
	switch names := []string{"result", "data", "content"}; chance % 5 {
	case 0, 1, 2:
		a.body = fmt.Appendf(nil, `%s%q:%s}`, begin, names[chance%5], a.body)
	case 3:
		text, _ := json.Marshal(string(a.body)) // a string, which cannot fail
		a.body = fmt.Appendf(nil, `%s"content":%s}`, begin, text)
	case 4:
		if isObject {
			a.body = append([]byte(begin), rest...)
		}
	}
	return a
}

// no is a refusal in the gateway's words.
func no(chance uint64) reply {
	codes := []string{"SYSTEM_ERROR", "LIMIT", "", "DUPLICATE"}
	return jsonReply(fmt.Sprintf(`{"success":false,"message":"not now","errorCode":%q}`, codes[chance%uint64(len(codes))]))
}

func jsonReply(body string) reply {
	return reply{http.StatusOK, http.Header{"Content-Type": {"application/json"}}, []byte(body)}
}

// instead is the answer of something on the way.
func instead(how harm, chance uint64) reply {
	codes := []int{http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable}
	page := reply{http.StatusOK, http.Header{"Content-Type": {"text/html"}}, []byte("<!doctype html><title>Gateway</title><h1>Be right back</h1>")}
	if how == status {
		page.status = codes[chance%uint64(len(codes))]
	}
	return page
}

func (a reply) writeBadly(w http.ResponseWriter, how harm) {
	w.Header().Set("Content-Type", a.header.Get("Content-Type"))
	half, out := len(a.body)/2, http.NewResponseController(w)
	switch how {
	case halved:
		w.Header().Set("Content-Length", fmt.Sprint(len(a.body)))
		_, _ = w.Write(a.body[:half])
		_ = out.Flush()
		panic(http.ErrAbortHandler)
	case cutShort:
		_, _ = w.Write(a.body[:half])
	case dripping:
		for piece := range dripPieces {
			_, _ = w.Write(a.body[piece*len(a.body)/dripPieces : (piece+1)*len(a.body)/dripPieces])
			_ = out.Flush()
			<-time.After(dripPause)
		}
	default:
	}
}

// reset ends a connection by an RST.
func reset(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

// webhook loses notifications, posts them twice or late, and loses answers.
func (m *meddler) webhook(w http.ResponseWriter, r *http.Request) {
	var body bytes.Buffer
	if _, err := body.ReadFrom(r.Body); err != nil {
		m.t.Errorf("webhook: %v", err)
	}
	post := func() reply {
		answer, err := pass(m.client, "http://"+m.public+r.URL.Path, r.Header, body.Bytes())
		if err != nil || answer.status != http.StatusOK {
			m.t.Errorf("webhook: %v %d %s", err, answer.status, answer.body)
		}
		return answer
	}
	chance, harmed := m.roll("webhook" + body.String())
	if !harmed {
		post().write(w)
		return
	}
	switch chance % 4 {
	case 0: // lost, and nobody knows
	case 1:
		post()
		w.WriteHeader(http.StatusBadGateway)
		return
	case 2:
		post()
		post()
	case 3:
		<-time.After(dripPieces * dripPause)
		post()
	}
	jsonReply(`{"success":true}`).write(w)
}

// story 1, story 2, story 5, story 8, story 12, story 18: every call between
// module and gateway may come to any harm, while buyers post again, pay,
// cancel, fail and change their carts. No order ever has two payments that
// could both be paid, no bill is SUCCESS that the gateway's ledger does not
// hold paid, and within a minute of the harm's end all bills are as that
// ledger says.
//
// An answer about another bill says so here. One that does not is nothing that
// could be told from the right one.
func TestProveFaultsTowardsTheGatewayNeverBecomeASecondPayment(t *testing.T) {
	m := &meddler{calls: make(map[string]int), last: make(map[string]namedReply)}
	m.world, m.gateway = relayedGround(t, plainSite, m.call, m.webhook)
	m.control("POST", "/settings", `{"envelope":"bare"}`)
	m.values["timeout"] = "1s"
	m.write(strings.Replace(siteConfig, "unknown_after 2s", "unknown_after 5s\n\t\t\tmax_interval 5s", 1), m.values)
	m.start()
	crowd(faultBuyers, *proveCheckouts, m.live)
	m.healed.Store(true)
	healed := time.Now()
	unsettled := m.settle(healed.Add(time.Minute))
	m.judge(unsettled, time.Since(healed))
}

// faultBuyers are more than other trials have: each mostly waits for answers
// that do not come.
const faultBuyers = 64

func faultOrder(n int) string { return fmt.Sprintf("F.%d", n) }

// live is what a buyer does with an order.
func (m *meddler) live(n int) {
	code := faultOrder(n)
	b, shown := m.persuade(code)
	switch fate := n % 8; {
	case !shown:
	case fate <= 2:
		m.pay(b, "")
	case fate == 3:
		m.pay(b, `{"silent":true}`)
	case fate == 4:
		m.cancel(b)
	case fate == 5:
		m.control("POST", "/payments/"+b.ID+"/fail", "")
		if b, shown = m.persuade(code); shown {
			m.pay(b, "")
		}
	case fate == 6: // another cart
		if b, shown = m.persuade(code + "&amount=20000"); shown {
			m.pay(b, "")
		}
	}
}

// persuade posts a checkout until there is something to pay, or the buyer has
// had enough.
func (m *meddler) persuade(code string) (b billJSON, shown bool) {
	for range 6 {
		answer, b, err := m.order(code)
		switch {
		case err != nil:
			m.t.Errorf("checkout of %s: %v", code, err)
			return b, false
		case answer != http.StatusConflict && b.ID == "":
			m.t.Errorf("checkout of %s: %d", code, answer)
			return b, false
		case b.Status == "WAIT" && b.Action.Value != "", b.Status == "SUCCESS":
			return b, b.Status == "WAIT"
		}
		<-time.After(4 * dripPause)
	}
	return b, false
}

// pay has the gateway take the money, where it would.
func (m *meddler) pay(b billJSON, options string) {
	a := m.must("GET", "http://"+m.world.gateway+"/sandbox/control/payments/"+b.ID, "")
	if a.StatusCode == http.StatusOK && bytes.Contains(a.body, []byte(`"status":"WAIT"`)) {
		m.control("POST", "/payments/"+b.ID+"/pay", options)
	}
}

func (m *meddler) cancel(b billJSON) {
	a, err := m.do(m.request("POST", "/qlink/bills/"+b.ID+"/cancel", ""))
	if err != nil || a.StatusCode >= http.StatusInternalServerError {
		m.t.Errorf("cancel of %s: %v %s", b.OrderCode, err, a.body)
	}
}
