package main

import (
	"os"
	"strings"
	"testing"

	"github.com/everseal/everseal/internal/browser"
)

// A visitor who leaves the page open sees it count down, and the renewal; and finds the status page.
func TestBrowserSeesRenewal(t *testing.T) {
	t.Parallel()
	visitor := browser.Open(t)
	p := start(t, "-lifetime", "15s", "-storage", t.TempDir())
	p.served()
	command := p.curlLine()
	url := command[strings.LastIndex(command, " ")+1:]
	visitor.Call("Security.setIgnoreCertificateErrors", map[string]any{"ignore": true}, nil)
	visitor.Go(url)
	visitor.Eval("window.first = document.querySelector('code').textContent, window.countdowns = new Set()", nil)
	visitor.Wait("countdowns.add(document.querySelector('time').textContent).size > 1")
	visitor.Wait("document.querySelector('code').textContent !== first && document.getElementById('renewed').textContent.includes('renewed')")
	var serial string
	visitor.Eval("document.querySelector('code').textContent", &serial)
	visitor.Follow("document.querySelector('a').click()")
	visitor.Wait("document.querySelector('h1').textContent === 'The certificate is valid'")
	var list string
	visitor.Eval("document.querySelector('.list').textContent", &list)
	if !strings.Contains(list, "localhost") {
		t.Errorf("the status page lists %q", list)
	}
	if said := visitor.Console(); len(said) > 0 {
		t.Errorf("the console has %s", said)
	}
	if p.stop(os.Interrupt); !strings.Contains(p.output(), "serial number "+serial) {
		t.Errorf("the page shows %s, and the program said:\n%s", serial, p.output())
	}
}
