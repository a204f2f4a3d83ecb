//go:build linux

package postgrestest

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// Proxy stands before a server, as the network between does, and fails as that
// does. Its clients are processes of the user who runs the tests.
type Proxy struct {
	t      testing.TB
	server *Server // the one whose DSNs are translated
	dir    string

	wg       sync.WaitGroup
	mu       sync.Mutex
	target   string        // path of the socket behind
	listener net.Listener  // nil while it is cut
	open     chan struct{} // closed while bytes may pass
	links    map[*link]struct{}
}

// link is a connection through the proxy: both its sides.
type link struct {
	client, server net.Conn
	cut            chan struct{}
	once           sync.Once
}

// Proxy starts a proxy before the server, which ends with the test.
func (s *Server) Proxy() *Proxy {
	s.t.Helper()
	dir, err := newPlace(nil)
	s.must(err)
	p := &Proxy{t: s.t, server: s, dir: dir, target: s.cluster.socket(), open: make(chan struct{}), links: make(map[*link]struct{})}
	close(p.open)
	s.t.Cleanup(func() {
		p.Cut()
		p.wg.Wait()
		if err := os.RemoveAll(dir); err != nil {
			s.t.Error(err)
		}
	})
	p.mu.Lock()
	defer p.mu.Unlock()
	s.must(p.listen())
	return p
}

// DSN is the server's, through the proxy.
func (p *Proxy) DSN() string { return p.Through(p.server.DSN()) }

// Through turns a DSN of the server, such as that of a Database, into one
// through the proxy.
func (p *Proxy) Through(dsn string) string {
	return strings.Replace(dsn, "host="+p.server.cluster.dir+" ", "host="+p.dir+" ", 1)
}

// Lead leads new connections to another server, as an address that moves does.
// Those that are there stay.
func (p *Proxy) Lead(to *Server) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target = to.cluster.socket()
}

// Pause lets nothing through: connections stay open, new ones are taken, and
// nobody answers on them. It is a network that swallows.
func (p *Proxy) Pause() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.open:
		p.open = make(chan struct{})
	default: // it is paused
	}
}

// Cut ends all connections at once and refuses new ones.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.listener != nil {
		_ = p.listener.Close() // the refusal that it is closed for shows
		p.listener = nil
	}
	for l := range p.links {
		l.end()
	}
}

// Resume undoes Pause and Cut: what was held back goes on.
func (p *Proxy) Resume() {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.open:
	default:
		close(p.open)
	}
	if p.listener == nil {
		if err := p.listen(); err != nil {
			p.t.Fatal(err)
		}
	}
}

// listen must be called under the lock.
func (p *Proxy) listen() error {
	path := filepath.Join(p.dir, socketName)
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("listen: %w", err)
	}
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	listener.SetUnlinkOnClose(false) // "connection refused", as with a host that is there
	p.listener = listener
	p.wg.Go(func() { p.serve(listener) })
	return nil
}

func (p *Proxy) serve(listener net.Listener) {
	for {
		client, err := listener.Accept()
		if err != nil {
			return
		}
		p.wg.Go(func() { p.join(listener, client) })
	}
}

// join connects a client to the server until one of them hangs up, or the
// connection is cut.
func (p *Proxy) join(listener net.Listener, client net.Conn) {
	l := &link{client: client, cut: make(chan struct{})}
	defer l.end()
	p.mu.Lock()
	if p.listener != listener {
		p.mu.Unlock()
		return // cut between Accept and here
	}
	p.links[l] = struct{}{}
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.links, l)
	}()
	if !p.pass(l) || !p.dial(l) {
		return
	}
	var back sync.WaitGroup
	back.Go(func() { p.pump(l, l.client, l.server) })
	p.pump(l, l.server, l.client)
	back.Wait()
}

// dial connects to the server behind, unless the link was cut.
func (p *Proxy) dial(l *link) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-l.cut:
		return false
	default:
	}
	server, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: p.target, Net: "unix"}) // never waits
	if err != nil {
		return false
	}
	l.server = server
	return true
}

// pump moves bytes one way. What it has read when a pause begins it holds.
func (p *Proxy) pump(l *link, to, from net.Conn) {
	defer l.end()
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if !p.pass(l) {
			return
		}
		if _, failed := to.Write(buffer[:n]); failed != nil || err != nil {
			return
		}
	}
}

// pass waits while the proxy is paused; false means that the link was cut.
func (p *Proxy) pass(l *link) bool {
	for {
		p.mu.Lock()
		open := p.open
		p.mu.Unlock()
		select {
		case <-open:
			return true
		default:
		}
		select {
		case <-l.cut:
			return false
		case <-open: // and may be closed again
		}
	}
}

// end closes both sides.
func (l *link) end() {
	l.once.Do(func() {
		close(l.cut)
		_ = l.client.Close() // nobody is left whom an error would concern
		if l.server != nil {
			_ = l.server.Close()
		}
	})
}
