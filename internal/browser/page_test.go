package browser

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// The console has what a page logs, and what breaks its policy.
func TestConsole(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Security-Policy", "default-src 'none'; img-src data:; script-src 'nonce-a'")
		fmt.Fprint(w, `<!DOCTYPE html><link rel=icon href="data:,"><p>text</p><script nonce=a>console.log("logged")</script><script>alert("not run")</script>`)
	}))
	defer server.Close()
	p := Open(t)
	p.Go(server.URL)
	var text string
	if p.Eval("document.querySelector('p').textContent", &text); text != "text" {
		t.Errorf("the page has %q", text)
	}
	said := strings.Join(p.Console(), "\n")
	if !strings.Contains(said, "logged") || !strings.Contains(said, "Content Security Policy") {
		t.Errorf("the console has:\n%s", said)
	}
}
