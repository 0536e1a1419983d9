package browser

import (
	"encoding/json"
	"os"
	"testing"
)

// A Page is a tab of a browser. What goes wrong in its methods ends the test.
type Page struct {
	t       testing.TB
	browser *browser
	session string
}

// Open starts a Chromium for the test and returns its page, which is empty. If there is no Chromium the test is skipped, or
// fails if CI is set in the environment.
func Open(t testing.TB) *Page {
	t.Helper()
	b := start(t)
	p := &Page{t: t, browser: b}
	var target struct{ TargetID, SessionID string }
	p.Call("Target.createTarget", map[string]any{"url": "about:blank"}, &target)
	p.Call("Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &target)
	p.session = target.SessionID
	for _, domain := range []string{"Page", "Runtime", "Log"} {
		p.Call(domain+".enable", struct{}{}, nil)
	}
	p.Resize(1280, 900)
	return p
}

// Call makes a call of the protocol, and decodes its result if it is not nil.
func (p *Page) Call(method string, params, result any) {
	p.t.Helper()
	text, err := p.browser.call(p.session, method, params)
	if err == nil && result != nil {
		err = json.Unmarshal(text, result)
	}
	if err != nil {
		p.t.Fatal(err)
	}
}

// Go loads a page and waits until all of it is there.
func (p *Page) Go(url string) {
	p.t.Helper()
	var loaded struct{ ErrorText string }
	p.Call("Page.navigate", map[string]any{"url": url}, &loaded)
	if loaded.ErrorText != "" {
		p.t.Fatalf("%s: %s", url, loaded.ErrorText)
	}
	p.loaded()
}

// loaded waits until all of the page is there.
func (p *Page) loaded() {
	p.t.Helper()
	p.Eval(`new Promise(done => document.readyState === "complete" ? done() : addEventListener("load", () => done()))`, nil)
}

// Eval evaluates JavaScript in the page, waits for it if it is a promise, and decodes its value if result is not nil.
func (p *Page) Eval(expression string, result any) {
	p.t.Helper()
	var evaluated struct {
		Result           struct{ Value json.RawMessage }
		ExceptionDetails json.RawMessage
	}
	p.Call("Runtime.evaluate", map[string]any{"expression": expression, "awaitPromise": true, "returnByValue": true}, &evaluated)
	if evaluated.ExceptionDetails != nil {
		p.t.Fatalf("%s: %s", expression, evaluated.ExceptionDetails)
	}
	if result == nil {
		return
	}
	if err := json.Unmarshal(evaluated.Result.Value, result); err != nil {
		p.t.Fatalf("%s is %s: %v", expression, evaluated.Result.Value, err)
	}
}

// Wait waits until an expression, which may look at the page again and again, is true.
func (p *Page) Wait(expression string) {
	p.t.Helper()
	p.Eval(`new Promise(done => { const look = () => (`+expression+`) ? done() : setTimeout(look, 20); look() })`, nil)
}

// Follow evaluates what leads to another page, such as a click, and waits until that is there.
func (p *Page) Follow(expression string) {
	p.t.Helper()
	p.Eval(`window.left = true; (`+expression+`)`, nil)
	for left := true; left; {
		p.Eval("!!window.left", &left)
	}
	p.loaded()
}

// Press presses a key by its name in KeyboardEvent.key, such as "Tab" and "Enter".
func (p *Page) Press(key string) {
	p.t.Helper()
	codes := map[string]int{"Tab": 9, "Enter": 13, " ": 32}
	texts := map[string]string{"Enter": "\r", " ": " "}
	for _, kind := range []string{"keyDown", "keyUp"} {
		params := map[string]any{"type": kind, "key": key, "code": key, "windowsVirtualKeyCode": codes[key]}
		if kind == "keyDown" && texts[key] != "" {
			params["text"] = texts[key]
		}
		p.Call("Input.dispatchKeyEvent", params, nil)
	}
}

// Resize gives the page a size in CSS pixels.
func (p *Page) Resize(width, height int) {
	p.t.Helper()
	p.Call("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}, nil)
}

// Prefer has the reader prefer a colour scheme: "light" or "dark".
func (p *Page) Prefer(scheme string) {
	p.t.Helper()
	features := []map[string]string{{"name": "prefers-color-scheme", "value": scheme}}
	p.Call("Emulation.setEmulatedMedia", map[string]any{"features": features}, nil)
}

// Screenshot writes a picture of the page to a PNG file: of all of it, but of no more than 3000 pixels.
func (p *Page) Screenshot(file string) {
	p.t.Helper()
	var size struct{ Width, Height float64 }
	p.Eval("({width: innerWidth, height: Math.min(document.documentElement.scrollHeight, 3000)})", &size)
	var picture struct{ Data []byte }
	p.Call("Page.captureScreenshot", map[string]any{"captureBeyondViewport": true,
		"clip": map[string]any{"x": 0, "y": 0, "width": size.Width, "height": size.Height, "scale": 1}}, &picture)
	if err := os.WriteFile(file, picture.Data, 0o600); err != nil {
		p.t.Fatal(err)
	}
}

// Console returns what the page has written to its console, errors that nothing caught, and what Chromium complained of.
func (p *Page) Console() []string {
	p.t.Helper()
	p.Eval("0", nil) // all that came before has been read when it is answered
	p.browser.mu.Lock()
	defer p.browser.mu.Unlock()
	return p.browser.console[p.session]
}
