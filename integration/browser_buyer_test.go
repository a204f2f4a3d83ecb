package integration

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/accessibility"
	"github.com/chromedp/cdproto/audits"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/dom"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// device is what a buyer holds or sits at.
type device struct {
	width, height int64 // CSS pixels
	scale         float64
	mobile        bool // touch, no mouse, and a browser that says so
}

var (
	phone = device{width: 360, height: 740, scale: 2, mobile: true}
	desk  = device{width: 1280, height: 800, scale: 1}
)

// zoomed is the device with its browser's zoom turned up: everything is so
// many times as large, so the page has as many times fewer CSS pixels.
func (d device) zoomed(times int64) device {
	d.width, d.height, d.scale = d.width/times, d.height/times, d.scale*float64(times)
	return d
}

// habits are how a buyer likes pages.
type habits struct {
	device
	noScript bool
	dark     bool
	still    bool   // reduced motion
	language string // Accept-Language, and the language of the browser
	fontSize int64  // of the browser's settings; 0: its default of 16
}

// tab is a page in front of a buyer. What it asks of the page it waits for:
// only a deadline that no test reaches makes it give up.
type tab struct {
	t      *testing.T
	ctx    context.Context
	habits habits
	seen   *watch
}

// newBuyer opens a tab in a profile of its own, without any cookie. At the end
// of the test the tab must have logged no error, violated no policy and asked
// no other machine for anything.
func newBuyer(t *testing.T, h habits) *tab {
	t.Helper()
	return newTab(t, theBrowser.started(t).ctx, h, chromedp.WithNewBrowserContext())
}

// another opens a second tab of the same buyer, with the same cookies.
func (b *tab) another() *tab {
	b.t.Helper()
	return newTab(b.t, b.ctx, b.habits)
}

func newTab(t *testing.T, parent context.Context, h habits, options ...chromedp.ContextOption) *tab {
	t.Helper()
	b := &tab{t: t, habits: h, seen: newWatch()}
	ctx, cancel := chromedp.NewContext(parent, append(options, chromedp.WithListener(b.seen.note))...)
	b.ctx = ctx
	t.Cleanup(func() {
		cancel()
		for _, fault := range b.seen.take() {
			t.Errorf("the page %s", fault)
		}
	})
	if err := begin(ctx, cancel); err != nil {
		t.Fatalf("open a tab: %v", err)
	}
	b.do("take on habits", b.takeOn)
	return b
}

// begin starts what a context stands for, a browser or a tab. That lives as
// long as the context it is started with, which hence has no deadline.
func begin(ctx context.Context, cancel func()) error {
	timer := time.AfterFunc(startWithin, cancel)
	defer timer.Stop()
	return chromedp.Do(ctx)
}

// takeOn makes the tab that of a buyer with his habits.
func (b *tab) takeOn(ctx context.Context, target *chromedp.Target) error {
	_, err := cdp.Call(ctx, target, audits.Enable, struct{}{})
	h := b.habits
	userAgent := strings.ReplaceAll(theBrowser.userAgent, "Headless", "")
	if h.mobile {
		userAgent = strings.NewReplacer("X11; Linux x86_64", "Linux; Android 10; K", "Safari/", "Mobile Safari/").Replace(userAgent)
	}
	return errors.Join(err,
		command(ctx, target, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{
			Width: h.width, Height: h.height, DeviceScaleFactor: h.scale, Mobile: h.mobile,
		}),
		command(ctx, target, emulation.SetTouchEmulationEnabled, emulation.SetTouchEmulationEnabledParams{Enabled: h.mobile}),
		command(ctx, target, emulation.SetUserAgentOverride, emulation.SetUserAgentOverrideParams{UserAgent: userAgent, AcceptLanguage: h.language}),
		command(ctx, target, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: h.media()}),
		command(ctx, target, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: h.noScript}),
		b.enlarge(ctx, target))
}

func (h habits) media() []*emulation.MediaFeature {
	scheme, motion := "light", "no-preference"
	if h.dark {
		scheme = "dark"
	}
	if h.still {
		motion = "reduce"
	}
	return []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: motion}}
}

func (b *tab) enlarge(ctx context.Context, target *chromedp.Target) error {
	if b.habits.fontSize == 0 {
		return nil
	}
	return command(ctx, target, page.SetFontSizes, page.SetFontSizesParams{FontSizes: &page.FontSizes{Standard: b.habits.fontSize}})
}

// command runs one of the commands that answer with nothing.
func command[P any](ctx context.Context, target *chromedp.Target, c cdp.Command[P, cdp.Empty], params P) error {
	_, err := cdp.Call(ctx, target, c, params)
	return err
}

// do runs an action, once.
func (b *tab) do(what string, action func(context.Context, *chromedp.Target) error) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, startWithin)
	defer cancel()
	if err := chromedp.Do(ctx, chromedp.Func(action)); err != nil {
		b.t.Fatalf("%s: %v", what, err)
	}
}

// await repeats an action until it succeeds: pages come and go meanwhile, and
// take what was found on them along.
func (b *tab) await(what string, action func(context.Context, *chromedp.Target) error) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, startWithin)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := once(ctx, action)
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			b.t.Fatalf("waited in vain for %s: %v\n%s", what, err, b.text())
		}
	}
}

// attemptWithin bounds one attempt: the browser owes an answer for ever where
// the page that was asked for it went meanwhile.
const attemptWithin = startWithin / 4

func once(ctx context.Context, action func(context.Context, *chromedp.Target) error) error {
	ctx, cancel := context.WithTimeout(ctx, attemptWithin)
	defer cancel()
	return chromedp.Do(ctx, chromedp.Func(action))
}

// open goes to an address and waits until it is loaded. A page that reloads
// itself just then may take the tab back; who asked for another asks again.
func (b *tab) open(url string) {
	b.t.Helper()
	var loader cdp.LoaderID
	b.await(url, func(ctx context.Context, target *chromedp.Target) error {
		if loader != "" && !b.seen.superseded(loader) {
			return b.seen.wantLoaded(loader)
		}
		gone, err := cdp.Call(ctx, target, page.Navigate, page.NavigateParams{URL: url})
		if err == nil && gone.ErrorText != "" {
			err = errors.New(gone.ErrorText)
		}
		if err != nil {
			return err
		}
		loader = gone.LoaderID
		return b.seen.wantLoaded(loader)
	})
}

// reload loads the page again.
func (b *tab) reload() {
	b.t.Helper()
	b.do("reload", func(ctx context.Context, target *chromedp.Target) error {
		_, err := chromedp.Reload()(ctx, target)
		return err
	})
}

// goOffline cuts the buyer off the net, or brings him back.
func (b *tab) goOffline(offline bool) {
	b.t.Helper()
	b.do("go offline", func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, network.EmulateNetworkConditionsByRule, network.EmulateNetworkConditionsByRuleParams{
			MatchedNetworkConditions: []*network.Conditions{{Offline: offline, DownloadThroughput: -1, UploadThroughput: -1}},
		})
		return errors.Join(err, command(ctx, target, network.OverrideNetworkState, network.OverrideNetworkStateParams{
			Offline: offline, DownloadThroughput: -1, UploadThroughput: -1,
		}))
	})
}

// excuse lets the page log errors that a test provokes.
func (b *tab) excuse(pattern string) {
	b.seen.mu.Lock()
	defer b.seen.mu.Unlock()
	b.seen.excused = append(b.seen.excused, regexp.MustCompile(pattern))
}

// requests are those that the tab has made so far.
func (b *tab) requests() []request {
	b.seen.mu.Lock()
	defer b.seen.mu.Unlock()
	return slices.Clone(b.seen.requests)
}

// address is where the tab is.
func (b *tab) address() string {
	b.t.Helper()
	return evaluate[string](b, `location.href`)
}

// text is what is to be read on the page.
func (b *tab) text() string {
	ctx, cancel := context.WithTimeout(b.ctx, startWithin)
	defer cancel()
	text, err := chromedp.Run(ctx, chromedp.Evaluate[string](visibleText))
	if err != nil {
		return err.Error()
	}
	return text
}

const visibleText = `document.body ? document.body.innerText : ""`

// sees waits until the page says something that matches.
func (b *tab) sees(pattern string) {
	b.t.Helper()
	wanted := regexp.MustCompile(pattern)
	b.await("the words "+pattern, func(ctx context.Context, target *chromedp.Target) error {
		text, err := chromedp.Evaluate[string](visibleText)(ctx, target)
		if err == nil && !wanted.MatchString(text) {
			err = errors.New("the page says something else")
		}
		return err
	})
}

// evaluate returns what an expression is worth on the page; a promise's value
// where it is one. It works where the page's own scripts are off.
func evaluate[T any](b *tab, expression string) T {
	b.t.Helper()
	var value T
	b.await("the value of "+expression, func(ctx context.Context, target *chromedp.Target) (err error) {
		value, err = chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise)(ctx, target)
		return err
	})
	return value
}

// press waits for the first control that matches and presses it, with a finger
// on a phone and with the mouse at a desk.
func (b *tab) press(c control) {
	b.t.Helper()
	b.await(fmt.Sprint(c), func(ctx context.Context, target *chromedp.Target) error {
		x, y, err := b.middle(ctx, target, c)
		if err != nil {
			return err
		}
		touch := chromedp.TapXY(x, y)
		if !b.habits.mobile {
			touch = chromedp.MouseClickXY(x, y)
		}
		_, err = touch(ctx, target)
		return err
	})
}

// finds waits until there is such a control.
func (b *tab) finds(c control) {
	b.t.Helper()
	b.await(fmt.Sprint(c), func(ctx context.Context, target *chromedp.Target) error {
		_, err := find(ctx, target, c)
		return err
	})
}

// lacks reports whether there is no such control now.
func (b *tab) lacks(c control) (lacks bool) {
	b.t.Helper()
	b.do(fmt.Sprint(c), func(ctx context.Context, target *chromedp.Target) error {
		_, err := find(ctx, target, c)
		lacks = errors.Is(err, errNotThere)
		if lacks {
			return nil
		}
		return err
	})
	return lacks
}

// middle scrolls a control into view and returns where it is then.
func (b *tab) middle(ctx context.Context, target *chromedp.Target, c control) (x, y float64, err error) {
	id, err := find(ctx, target, c)
	if err != nil {
		return 0, 0, err
	}
	if err := command(ctx, target, dom.ScrollIntoViewIfNeeded, dom.ScrollIntoViewIfNeededParams{BackendNodeID: id}); err != nil {
		return 0, 0, err
	}
	quad, err := quadOf(ctx, target, id)
	if err != nil {
		return 0, 0, err
	}
	return (quad[0] + quad[4]) / 2, (quad[1] + quad[5]) / 2, nil
}

// quadOf is where a node's corners are in the viewport, clockwise.
func quadOf(ctx context.Context, target *chromedp.Target, id cdp.BackendNodeID) (dom.Quad, error) {
	where, err := cdp.Call(ctx, target, dom.GetContentQuads, dom.GetContentQuadsParams{BackendNodeID: id})
	if err != nil {
		return nil, err
	}
	if len(where.Quads) == 0 {
		return nil, errors.New("it is not to be seen")
	}
	return where.Quads[0], nil
}

var errNotThere = errors.New("it is not there")

// find asks the browser for what it tells screen readers.
func find(ctx context.Context, target *chromedp.Target, c control) (cdp.BackendNodeID, error) {
	document, err := cdp.Call(ctx, target, runtime.Evaluate, runtime.EvaluateParams{Expression: "document"})
	if err != nil {
		return 0, err
	}
	tree, err := cdp.Call(ctx, target, accessibility.QueryAXTree, accessibility.QueryAXTreeParams{
		ObjectID: document.Result.ObjectID, Role: c.role,
	})
	if err != nil {
		return 0, err
	}
	wanted := regexp.MustCompile(c.name)
	for _, node := range tree.Nodes {
		var name string
		if node.Ignored || node.Name == nil || json.Unmarshal(node.Name.Value, &name) != nil {
			continue
		}
		if wanted.MatchString(name) {
			return node.BackendDOMNodeID, nil
		}
	}
	return 0, errNotThere
}
