package integration

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/chromedp"

	"github.com/caddy-qlink/caddy-qlink/integration/processtest"
)

// chromium is the one browser that all tests share, each in a profile of its
// own: Debian's package, without a window, spoken to through a pipe.
type chromium struct {
	once      sync.Once
	home      string // HOME and all that XDG names; "" until somebody wants the browser
	ctx       context.Context
	err       error
	userAgent string
	log       processtest.Log
}

// theBrowser is started by the first test that wants one and ended by
// TestMain.
var theBrowser chromium

// started returns the running browser.
func (c *chromium) started(t *testing.T) *chromium {
	t.Helper()
	c.once.Do(func() { c.err = c.start() })
	if c.err != nil {
		t.Fatalf("start chromium (scripts/test installs it): %v\n%s", c.err, c.log.Tail())
	}
	return c
}

func (c *chromium) start() error {
	home, err := os.MkdirTemp("", "caddy-qlink-browser")
	if err != nil {
		return err
	}
	c.home = home
	allocator, _ := chromedp.NewExecAllocator(context.Background(), c.options()...) // ended by its only browser's end
	// What the library has to say, of events that it does not know most of all,
	// is of interest only where the browser does not start.
	note := func(format string, args ...any) { fmt.Fprintf(&c.log, format+"\n", args...) }
	ctx, cancel := chromedp.NewContext(allocator, chromedp.WithLogf(note), chromedp.WithErrorf(note))
	if err := begin(ctx, cancel); err != nil {
		return err
	}
	c.ctx = ctx // ended by stop
	version, err := chromedp.CallBrowser(ctx, browser.GetVersion, struct{}{})
	c.userAgent = version.UserAgent
	return err
}

// options keep the browser to this machine: it looks nothing up, updates
// nothing, reports nothing, and finds no host but this one.
func (c *chromium) options() []chromedp.ExecAllocatorOption {
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath("chromium"),
		chromedp.NoInheritEnv,
		chromedp.Env("PATH="+os.Getenv("PATH"), "LANG=C.UTF-8", "HOME="+c.home, "TMPDIR="+c.home,
			"XDG_CONFIG_HOME="+filepath.Join(c.home, "config"), "XDG_CACHE_HOME="+filepath.Join(c.home, "cache"),
			"XDG_DATA_HOME="+filepath.Join(c.home, "data"), "XDG_RUNTIME_DIR="+c.home),
		chromedp.CombinedOutput(&c.log),
		chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost"),
		chromedp.Flag("disable-features", "Translate,OptimizationHints,MediaRouter,DialMediaRouteProvider,CertificateTransparencyComponentUpdater,AutofillServerCommunication"),
		// A person waits for the next page before pressing anything on it; a
		// press that is dropped because it came before the first frame is the
		// test's alone.
		chromedp.Flag("allow-pre-commit-input", true),
	)
	for _, off := range []string{
		"no-proxy-server", "disable-component-update", "disable-domain-reliability", "no-pings",
		"disable-component-extensions-with-background-pages", "disable-search-engine-choice-screen",
		"disable-gpu", "mute-audio", "hide-scrollbars",
	} {
		options = append(options, chromedp.Flag(off, true))
	}
	return options
}

// stop ends the browser, where there is one.
func (c *chromium) stop() {
	if c.ctx != nil {
		ctx, cancel := context.WithTimeout(c.ctx, startWithin)
		defer cancel()
		if err := chromedp.Cancel(ctx); err != nil {
			fmt.Fprintf(os.Stderr, "end chromium: %v\n%s\n", err, c.log.Tail())
		}
	}
	if c.home != "" {
		_ = os.RemoveAll(c.home) // a temporary folder
	}
}
