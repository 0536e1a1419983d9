package chromium

import (
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/everseal/everseal/certmanager"
)

// hostile is a name that no line holds, and that is refused.
var hostile = strings.Repeat("a", 63) + "." + strings.Repeat("b", 63) + "." + strings.Repeat("c", 63) + ".refused.example"

const colour = "getComputedStyle(document.body).backgroundColor"

// TestStatusPage has people's ways with the page in a real browser: look at it by day and by night and on a phone, search,
// turn pages, open what is closed, all by keyboard, and leave it open while things change.
func TestStatusPage(t *testing.T) {
	if testing.Short() {
		t.Skip("a browser takes seconds")
	}
	t.Parallel()
	p := open(t)
	s := newSite(t, "held.example", append(customers(17), "a.refused.example", "b.refused.example", "c.refused.example")...)
	s.manage(hostile, "www."+hostile)
	s.settle(4)
	test := func(name string, f func(*testing.T, *tab, *site)) {
		t.Run(name, func(t *testing.T) {
			p.t, s.t = t, t
			defer func() { p.t, s.t = t, t }()
			f(t, p, s)
		})
	}
	test("renders", testRenders)
	test("phone", testPhone)
	test("filters", testFilters)
	test("keyboard", testKeyboard)
	test("refresh", testRefresh)
	test("policy", testPolicy) // comes last, for it makes the console loud
}

func testRenders(t *testing.T, p *tab, s *site) {
	p.prefer("light")
	p.visit(s.url)
	is(p, "document.querySelector('h1').textContent", "4 of 124 certificates can’t be obtained or renewed")
	is(p, "[...document.querySelectorAll('.figures li')].map(f => f.textContent.trim()).join()", "119 Valid,0 Renewing,1 Obtaining,4 Waiting,0 Expired,4 Failing,5 Overdue")
	is(p, "document.querySelectorAll('.list tbody').length", 50)
	is(p, "[...document.querySelectorAll('.list .state')].slice(0, 6).map(s => s.textContent).join()", "waiting,waiting,waiting,waiting,obtaining,valid")
	is(p, "document.querySelector('.list').textContent.includes('a.refused.example is on a list of names that it does not issue for')", true)
	is(p, "document.querySelectorAll('svg[role=img]').length", 2)
	is(p, "getComputedStyle(document.querySelector('rect.bad')).fill", "rgb(185, 71, 58)") // the style is let through
	is(p, "document.getElementById('pause').hidden", false)                                // and so is the script
	is(p, colour, "rgb(251, 250, 247)")
	p.prefer("dark")
	is(p, colour, "rgb(21, 24, 21)")
	p.quiet()
}

func testPhone(t *testing.T, p *tab, s *site) {
	defer p.resize(1280, 900)
	for _, width := range []int64{320, 360, 800} {
		p.resize(width, 740)
		p.visit(s.url)
		p.eval("document.querySelectorAll('details').forEach(d => d.open = true)")
		is(p, "document.querySelector('.list').textContent.includes('"+hostile+"')", true)
		is(p, "document.documentElement.scrollWidth - innerWidth", 0)
		is(p, "innerWidth", width)
	}
	p.quiet()
}

func testFilters(t *testing.T, p *tab, s *site) {
	p.visit(s.url)
	p.eval("document.querySelector('[name=name]').focus()")
	p.follow(chromedp.KeyEvent("shop.customer-00001" + kb.Enter))
	is(p, "document.querySelector('.note').textContent", "1 certificate matches.")
	is(p, "document.querySelector('.list summary').textContent", "shop.customer-00001.example")
	is(p, "document.querySelector('[name=name]').value", "shop.customer-00001")
	p.follow(run("[...document.querySelectorAll('form a')].find(a => a.textContent === 'Show all').click()"))
	p.follow(run("[...document.querySelectorAll('.list th a')].find(a => a.textContent === 'Names').click()"))
	is(p, "document.querySelector('.list th[aria-sort]').textContent", "Names")
	is(p, "document.querySelector('.list summary').textContent.slice(0, 3)", "a.r")
	p.follow(run("document.querySelector('[rel=next]').click()"))
	is(p, "document.querySelector('nav span').textContent", "Page 2 of 3")
	is(p, "document.querySelectorAll('.list tbody').length", 50)
	p.follow(run("[...document.querySelectorAll('.figures a')].find(a => a.textContent.includes('Failing')).click()"))
	is(p, "document.querySelectorAll('.list tbody').length", 4)
	p.quiet()
}

// testKeyboard walks through the page by the tabulator key, and opens a certificate with Enter.
func testKeyboard(t *testing.T, p *tab, s *site) {
	p.visit(s.url + "/?limit=5")
	want := valueOf[[]string](p, "[...document.querySelectorAll('a, input:not([type=hidden]), select, button, summary')].map((e, i) => e.dataset.at = String(i))")
	var got []string
	for range want {
		p.do(chromedp.KeyEvent(kb.Tab))
		got = append(got, valueOf[string](p, "document.activeElement.dataset.at ?? document.activeElement.nodeName"))
	}
	if !slices.Equal(got, want) {
		t.Errorf("the tabulator reaches %q, and there are %q", got, want)
	}
	is(p, "getComputedStyle(document.activeElement).outlineStyle", "solid")
	p.eval("document.querySelector('.list summary').focus()")
	p.do(chromedp.KeyEvent(kb.Enter))
	is(p, "document.querySelector('.list details').open", true)
	p.eval("document.querySelector('.skip').focus()")
	p.do(chromedp.KeyEvent(kb.Enter))
	is(p, "location.hash", "#certificates")
	p.quiet()
}

// testRefresh leaves the page open while certificates are renewed, come and go. What its reader does is left alone.
func testRefresh(t *testing.T, p *tab, s *site) {
	p.visit(s.url + "/?sort=name&name=customer-00002")
	is(p, "document.querySelectorAll('.list tbody').length", 7)
	p.eval(`(() => { const last = [...document.querySelectorAll(".list summary")].at(-1); last.click(); last.focus();
		document.querySelector("[name=name]").value = "typed"; scrollTo(0, 400); window.kept = last })()`)
	const renewed = "www.customer-00002.example"
	s.issuer.hold(renewed)
	s.manager.RenewAll(func(c certmanager.Status) bool { return c.Names[0] == renewed })
	if err := s.manager.Forget("mail.customer-00002.example"); err != nil {
		t.Fatal(err)
	}
	s.manage("aaa.customer-00002.example")
	s.await("one is renewed and one has come", func() bool {
		return s.state(renewed) == certmanager.StateRenewing && s.state("aaa.customer-00002.example") == certmanager.StateValid
	})
	resume(p)
	p.wait("document.querySelector('.list summary').textContent.startsWith('aaa.')")
	is(p, "document.querySelector('.list .state').textContent", "valid")
	is(p, "document.querySelectorAll('.list tbody').length", 7)
	is(p, "document.querySelector('.list').textContent.includes('mail.')", false)
	is(p, "window.kept.textContent.trim().slice(0, 4)", "www.")
	is(p, "window.kept.isConnected && document.activeElement === window.kept && window.kept.parentNode.open", true)
	is(p, "window.kept.closest('tbody').querySelector('.state').textContent", "renewing")
	is(p, "document.querySelector('[name=name]').value", "typed")
	is(p, "Math.abs(scrollY - 400) < 120", true) // by as much as a row has come in above
	p.wait("document.getElementById('refreshed').textContent.startsWith('As of ')")
	p.quiet()

	p.eval("document.getElementById('pause').click()")
	is(p, "document.getElementById('pause').textContent", "Resume")
	p.eval("window.fetch = () => Promise.reject(new Error('it is down')), document.getElementById('pause').click()")
	p.wait(`document.getElementById("refreshed").textContent.endsWith("(it can’t be refreshed)")`)
	is(p, "document.querySelectorAll('.list tbody').length", 7)
	p.quiet()
}

// resume pauses the page and resumes it, so that it refreshes at once.
func resume(p *tab) {
	p.t.Helper()
	p.eval("document.getElementById('pause').click(), document.getElementById('pause').click()")
}

// testPolicy adds to the page what the Content-Security-Policy does not allow.
func testPolicy(t *testing.T, p *tab, s *site) {
	p.visit(s.url)
	p.eval(`(() => { window.broken = []; document.addEventListener("securitypolicyviolation", e => broken.push(e.effectiveDirective));
		const s = document.createElement("script"); s.textContent = "window.run = true"; document.body.append(s);
		const i = document.createElement("img"); i.src = location.href; document.body.append(i);
		document.body.setAttribute("style", "display: none") })()`)
	p.wait("broken.length === 3")
	is(p, "broken.sort().join()", "img-src,script-src-elem,style-src-attr")
	is(p, "!!window.run", false)
	is(p, "getComputedStyle(document.body).display", "block")
	if said := strings.Join(p.said(), "\n"); strings.Count(said, "Content Security Policy") != 3 {
		t.Errorf("the console has:\n%s", said)
	}
}
