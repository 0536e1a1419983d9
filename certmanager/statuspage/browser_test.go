package statuspage

import (
	"context"
	"fmt"
	"iter"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/internal/browser"
)

// A changing source is one that a test changes while a browser shows it.
type changing struct {
	mu sync.Mutex // guards what follows
	at *fake
}

func (c *changing) change(by func(*fake)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = &fake{certificates: slices.Clone(c.at.certificates), counts: c.at.counts, budgets: c.at.budgets}
	by(c.at)
}

func (c *changing) now() *fake {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *changing) All() iter.Seq[certmanager.Status] { return c.now().All() }
func (c *changing) Stats() certmanager.Stats          { return c.now().Stats() }
func (c *changing) Counts() certmanager.Counts        { return c.now().counts }
func (c *changing) Budgets(ctx context.Context) ([]certmanager.Budget, error) {
	return c.now().Budgets(ctx)
}

// quiet fails the test if the page has complained of something, as of a breach of its Content-Security-Policy.
func quiet(t *testing.T, p *browser.Page) {
	t.Helper()
	for _, complaint := range p.Console() {
		t.Error(complaint)
	}
}

func is[T comparable](t *testing.T, p *browser.Page, expression string, want T) {
	t.Helper()
	var got T
	if p.Eval(expression, &got); got != want {
		t.Errorf("%s is %v, want %v", expression, got, want)
	}
}

const colour = "getComputedStyle(document.body).backgroundColor"

// TestBrowser has people's ways with the page in a real browser: look at it by day and by night and on a phone, search, turn
// pages, open what is closed, all by keyboard, and leave it open while things change.
func TestBrowser(t *testing.T) {
	if testing.Short() {
		t.Skip("a browser takes seconds")
	}
	p := browser.Open(t)
	source := &changing{at: newFake(time.Now().UTC(), 300)}
	server := httptest.NewServer(newHandler(source))
	defer server.Close()

	t.Run("renders", func(t *testing.T) {
		p.Prefer("light")
		p.Go(server.URL)
		is(t, p, "document.querySelector('h1').textContent", "1 of 300 certificates has expired")
		is(t, p, "document.querySelectorAll('.list tbody').length", 50)
		is(t, p, "document.querySelectorAll('svg rect').length > 60", true)
		is(t, p, "getComputedStyle(document.querySelector('rect.bad')).fill", "rgb(185, 71, 58)") // the style is let through
		is(t, p, "document.getElementById('pause').hidden", false)                                // and so is the script
		is(t, p, colour, "rgb(251, 250, 247)")
		p.Prefer("dark")
		is(t, p, colour, "rgb(21, 24, 21)")
		quiet(t, p)
	})
	t.Run("phone", func(t *testing.T) {
		hostile := strings.Repeat("a", 63) + "." + strings.Repeat("b", 63) + "." + strings.Repeat("c", 63) + ".example"
		source.change(func(f *fake) {
			f.certificates = append(f.certificates, failed(valid(time.Now(), 3, hostile, hostile), time.Now(), fmt.Errorf("%s", hostile)))
		})
		defer p.Resize(1280, 900)
		for _, width := range []int{320, 360, 800} {
			p.Resize(width, 740)
			p.Go(server.URL)
			p.Eval("document.querySelectorAll('details').forEach(d => d.open = true)", nil)
			is(t, p, "document.documentElement.scrollWidth - innerWidth", 0)
			is(t, p, "innerWidth", width)
		}
	})
	t.Run("filters", func(t *testing.T) {
		p.Go(server.URL)
		p.Follow("document.querySelector('[name=name]').value = 'shop.customer-00001', document.querySelector('form').requestSubmit()")
		is(t, p, "document.querySelector('.note').textContent", "1 certificate matches.")
		is(t, p, "document.querySelector('.list summary').textContent", "shop.customer-00001.example")
		is(t, p, "document.querySelector('[name=name]').value", "shop.customer-00001")
		p.Follow("[...document.querySelectorAll('form a')].find(a => a.textContent === 'Show all').click()")
		p.Follow("[...document.querySelectorAll('.list th a')].find(a => a.textContent === 'Names').click()")
		is(t, p, "document.querySelector('.list summary').textContent.slice(0, 3)", "aaa")
		p.Follow("document.querySelector('[rel=next]').click()")
		is(t, p, "document.querySelector('nav span').textContent", "Page 2 of 7")
		p.Follow("[...document.querySelectorAll('.figures a')].find(a => a.textContent.includes('Failing')).click()")
		is(t, p, "document.querySelectorAll('.list tbody').length", 4)
		quiet(t, p)
	})
	t.Run("keyboard", func(t *testing.T) { testKeyboard(t, p, server.URL) })
	t.Run("refresh", func(t *testing.T) { testRefresh(t, p, source, server.URL) })
	t.Run("policy", func(t *testing.T) { // comes last, for it makes the console loud
		p.Go(server.URL)
		p.Eval(`(() => { window.broken = []; document.addEventListener("securitypolicyviolation", e => broken.push(e.effectiveDirective));
			const s = document.createElement("script"); s.textContent = "window.run = true"; document.body.append(s);
			const i = document.createElement("img"); i.src = location.href; document.body.append(i);
			document.body.setAttribute("style", "display: none") })()`, nil)
		p.Wait("broken.length === 3")
		is(t, p, "broken.sort().join()", "img-src,script-src-elem,style-src-attr")
		is(t, p, "!!window.run", false)
		is(t, p, "getComputedStyle(document.body).display", "block")
	})
}

// testKeyboard walks through the page by the tabulator key, and opens a certificate with Enter.
func testKeyboard(t *testing.T, p *browser.Page, url string) {
	p.Go(url + "/?limit=5")
	var want, got []string
	p.Eval("[...document.querySelectorAll('a, input:not([type=hidden]), select, button, summary')].map((e, i) => e.dataset.at = String(i))", &want)
	for range want {
		p.Press("Tab")
		var at string
		p.Eval("document.activeElement.dataset.at ?? document.activeElement.nodeName", &at)
		got = append(got, at)
	}
	if !slices.Equal(got, want) {
		t.Errorf("the tabulator reaches %q, and there are %q", got, want)
	}
	is(t, p, "getComputedStyle(document.activeElement).outlineStyle", "solid")
	p.Eval("document.querySelector('.list summary').focus()", nil)
	p.Press("Enter")
	is(t, p, "document.querySelector('.list details').open", true)
	p.Eval("document.querySelector('.skip').focus()", nil)
	p.Press("Enter")
	is(t, p, "location.hash", "#certificates")
	quiet(t, p)
}

// testRefresh leaves the page open while certificates are renewed, come and go. What its reader does is left alone.
func testRefresh(t *testing.T, p *browser.Page, source *changing, url string) {
	source.change(func(f *fake) { f.certificates = f.certificates[:300] })
	p.Go(url + "/?sort=name&name=customer-00002")
	is(t, p, "document.querySelectorAll('.list tbody').length", 7)
	p.Eval(`(() => { const last = [...document.querySelectorAll(".list summary")].at(-1); last.click(); last.focus();
		document.querySelector("[name=name]").value = "typed"; scrollTo(0, 400); window.kept = last })()`, nil)
	now := time.Now().UTC()
	source.change(func(f *fake) {
		f.certificates = append(f.certificates, valid(now, 1, "aaa.customer-00002.example"))
		f.certificates = slices.DeleteFunc(f.certificates, func(s certmanager.Status) bool { return s.Names[0] == "mail.customer-00002.example" })
		for i := range f.certificates {
			if f.certificates[i].Names[0] == "www.customer-00002.example" {
				f.certificates[i].State = certmanager.StateRenewing
			}
		}
	})
	p.Eval("document.getElementById('pause').click(), document.getElementById('pause').click()", nil) // to resume means to refresh at once
	p.Wait("document.querySelector('.list summary').textContent.startsWith('aaa.')")
	is(t, p, "document.querySelectorAll('.list tbody').length", 7)
	is(t, p, "document.querySelector('.list').textContent.includes('mail.')", false)
	is(t, p, "window.kept.textContent.trim().slice(0, 4)", "www.")
	is(t, p, "window.kept.isConnected && document.activeElement === window.kept && window.kept.parentNode.open", true)
	is(t, p, "window.kept.closest('tbody').querySelector('.state').textContent", "renewing")
	is(t, p, "document.querySelector('[name=name]').value", "typed")
	is(t, p, "Math.abs(scrollY - 400) < 120", true) // by as much as a row has come in above
	p.Wait("document.getElementById('refreshed').textContent.startsWith('As of ')")
	quiet(t, p)

	p.Eval("document.getElementById('pause').click()", nil)
	is(t, p, "document.getElementById('pause').textContent", "Resume")
	p.Eval("window.fetch = () => Promise.reject(new Error('it is down')), document.getElementById('pause').click()", nil)
	p.Wait(`document.getElementById("refreshed").textContent.endsWith("(it can’t be refreshed)")`)
	is(t, p, "document.querySelectorAll('.list tbody').length", 7)
	quiet(t, p)
}

// TestPictures writes pictures of the page into the folder that EVERSEAL_SHOTS names, for people to look at.
func TestPictures(t *testing.T) {
	folder := os.Getenv("EVERSEAL_SHOTS")
	if folder == "" {
		t.Skip("EVERSEAL_SHOTS names no folder for pictures of the page")
	}
	p := browser.Open(t)
	for _, n := range []int{3, 300, 100_000} {
		server := httptest.NewServer(newHandler(newFake(time.Now().UTC(), n)))
		defer server.Close()
		for _, scheme := range []string{"light", "dark"} {
			for name, width := range map[string]int{"desk": 1280, "phone": 360} {
				p.Prefer(scheme)
				p.Resize(width, 900)
				p.Go(server.URL + "/?limit=12")
				p.Eval("document.querySelector('tbody details').open = true", nil)
				p.Screenshot(filepath.Join(folder, fmt.Sprintf("%d-%s-%s.png", n, scheme, name)))
			}
		}
	}
}
