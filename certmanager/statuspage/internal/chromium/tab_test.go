package chromium

import (
	"context"
	"errors"
	"iter"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// patience is after which a test fails, whatever its browser waits for.
const patience = 2 * time.Minute

// A tab is the one of a browser that a test has for itself. What goes wrong in its methods ends the test.
type tab struct {
	t       testing.TB
	ctx     context.Context
	console func() (chromedp.ConsoleMessage, error, bool) // waits for the next message
	heard   []string                                      // those that came
}

// open starts a browser until the test ends. Without one the test is skipped, but on CI it fails.
func open(t testing.TB) *tab {
	t.Helper()
	bounded, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	ctx, stop := chromedp.NewContext(bounded, chromedp.WithAllocatorOptions(chromedp.Flag("no-proxy-server", true)))
	t.Cleanup(stop)
	err := chromedp.Do(ctx)
	if errors.Is(err, exec.ErrNotFound) {
		const message = "Chromium is not installed: the page can't be seen in a browser; Debian has it in the package chromium"
		if os.Getenv("CI") != "" {
			t.Fatal(message + ", and CI must not go without the tests that need it")
		}
		t.Skip(message)
	}
	if err != nil {
		t.Fatalf("Chromium does not start: %v", err)
	}
	console, hangUp := iter.Pull2(chromedp.Console(ctx))
	t.Cleanup(hangUp)
	p := &tab{t: t, ctx: ctx, console: console}
	p.resize(1280, 900)
	return p
}

// said returns what the console has: all that pages logged there, errors that no one caught, and what Chromium itself
// complains of, such as a breach of the Content-Security-Policy.
func (p *tab) said() []string {
	p.t.Helper()
	const end = "the test has come to here"
	p.eval("console.log('" + end + "')")
	for {
		message, err, ok := p.console()
		switch {
		case err != nil || !ok:
			p.t.Fatalf("the console has ended: %v", err)
		case message.Text == end:
			return p.heard
		}
		p.heard = append(p.heard, message.String())
	}
}

// quiet fails the test if the console has something.
func (p *tab) quiet() {
	p.t.Helper()
	for _, complaint := range p.said() {
		p.t.Errorf("the console has: %s", complaint)
	}
}

func (p *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	if err := chromedp.Do(p.ctx, steps...); err != nil {
		p.t.Fatal(err)
	}
}

// visit loads a page.
func (p *tab) visit(url string) {
	p.t.Helper()
	p.follow(chromedp.Navigate(url))
}

// follow does what leads to another page, and waits until that is there.
func (p *tab) follow(steps ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	answer, err := chromedp.RunResponse(p.ctx, steps...)
	if err != nil {
		p.t.Fatal(err)
	}
	if answer.Status != 200 {
		p.t.Fatalf("%s: %d %s", answer.URL, answer.Status, answer.StatusText)
	}
}

// run is a step that runs JavaScript, and waits for it if it is a promise.
func run(expression string) chromedp.Action[chromedp.Void] {
	return chromedp.Evaluate[chromedp.Void](expression, chromedp.EvalAwaitPromise)
}

// eval runs JavaScript, and waits for it if it is a promise.
func (p *tab) eval(expression string) {
	p.t.Helper()
	valueOf[chromedp.Void](p, expression)
}

func valueOf[T any](p *tab, expression string) T {
	p.t.Helper()
	value, err := chromedp.Run(p.ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		p.t.Fatalf("%s: %v", expression, err)
	}
	return value
}

func is[T comparable](p *tab, expression string, want T) {
	p.t.Helper()
	if got := valueOf[T](p, expression); got != want {
		p.t.Errorf("%s is %v, want %v", expression, got, want)
	}
}

// wait waits until an expression is true. chromedp.Poll makes a function of a text, which the page's policy forbids.
func (p *tab) wait(expression string) {
	p.t.Helper()
	p.eval(`new Promise(done => { const look = () => (` + expression + `) ? done() : setTimeout(look, 20); look() })`)
}

// resize gives the page a size in CSS pixels, on a phone if it is narrow.
func (p *tab) resize(width, height int64) {
	p.t.Helper()
	p.do(chromedp.EmulateViewport(width, height, func(size *emulation.SetDeviceMetricsOverrideParams, _ *emulation.SetTouchEmulationEnabledParams) {
		size.Mobile = width < 600
	}))
}

// prefer has the reader prefer a colour scheme: "light" or "dark".
func (p *tab) prefer(scheme string) {
	p.t.Helper()
	p.do(call(emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}}))
}

// call is a step that calls the protocol, for what chromedp has no name.
func call[P, R any](command cdp.Command[P, R], params P) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, command, params)
		return err
	})
}
