package integration

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// violation is a rule of axe that a page breaks.
type violation struct {
	ID     string `json:"id"`
	Impact string `json:"impact"`
	Help   string `json:"help"`
	Nodes  []struct {
		HTML           string `json:"html"`
		FailureSummary string `json:"failureSummary"`
	} `json:"nodes"`
}

func (v violation) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s (%s): %s", v.ID, v.Impact, v.Help)
	for _, n := range v.Nodes {
		fmt.Fprintf(&b, "\n\t%s\n\t\t%s", n.HTML, strings.ReplaceAll(n.FailureSummary, "\n", "\n\t\t"))
	}
	return b.String()
}

// axeRuns is the audit by WCAG 2.2, levels A and AA. The size of targets is off
// in axe unless asked for by name.
const axeRuns = `axe.run(document, {
	runOnly: {type: "tag", values: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]},
	rules: {"target-size": {enabled: true}},
	resultTypes: ["violations"],
}).then(found => JSON.stringify(found.violations))`

// audit has axe look at the page, from a world of its own beside the page's.
// Where the page's scripts were off they stay out: what did not run while the
// page was loaded does not run later.
func (b *tab) audit() (found []violation) {
	b.t.Helper()
	source := axe(b.t)
	b.seen.mute(true)
	defer b.seen.mute(false)
	b.awaitStill("an audit", func(ctx context.Context, target *chromedp.Target) error {
		scripts := func(off bool) error {
			return command(ctx, target, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: off})
		}
		if err := scripts(false); err != nil {
			return err
		}
		report, err := runAxe(ctx, target, source)
		if err = errors.Join(err, scripts(b.habits.noScript)); err != nil {
			return err
		}
		return json.Unmarshal([]byte(report), &found)
	})
	return found
}

func runAxe(ctx context.Context, target *chromedp.Target, source string) (report string, err error) {
	frames, err := cdp.Call(ctx, target, page.GetFrameTree, cdp.Empty{})
	if err != nil {
		return "", err
	}
	world, err := cdp.Call(ctx, target, page.CreateIsolatedWorld, page.CreateIsolatedWorldParams{
		FrameID: frames.FrameTree.Frame.ID, WorldName: "audit",
	})
	if err != nil {
		return "", err
	}
	in := func(p *runtime.EvaluateParams) { p.ContextID = world.ExecutionContextID }
	if _, err := chromedp.Evaluate[chromedp.Void](source+"\n;undefined", in)(ctx, target); err != nil {
		return "", err
	}
	return chromedp.Evaluate[string](axeRuns, in, chromedp.EvalAwaitPromise)(ctx, target)
}

// axeFile is put there by npm ci, which scripts/test runs.
const axeFile = "browser/node_modules/axe-core/axe.min.js"

var readAxe = sync.OnceValues(func() ([]byte, error) { return os.ReadFile(axeFile) })

func axe(t *testing.T) string {
	t.Helper()
	source, err := readAxe()
	if err != nil {
		t.Fatalf("%v: scripts/test installs it", err)
	}
	return string(source)
}

// wantAccessible fails the test for each rule that the page breaks.
func (b *tab) wantAccessible() {
	b.t.Helper()
	for _, v := range b.audit() {
		b.t.Errorf("%s: %s", b.address(), v)
	}
}
