package solver

import (
	"net/http"
	"strings"
	"testing"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/solver/internal/challenge"
	"github.com/everseal/everseal/storage"
)

// What a server name is parsed to has that server name and no other, and a key that every store takes.
func FuzzServerName(f *testing.F) {
	for _, name := range []string{
		"example.com", "EXAMPLE.com.", "*.example.com", "xn--bcher-kva.example", "bücher.example", "../etc/passwd",
		"1.2.0.192.in-addr.arpa", "01.2.0.192.in-addr.arpa", "b.a.9.8.7.6.5.0.4.0.0.0.3.0.0.0.2.0.0.0.1.0.0.0.0.0.0.0.1.2.3.4.ip6.arpa",
		"192.0.2.1", "::1", "\u212Aelvin.example",
	} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		id, ok := challenge.ParseServerName(name)
		if !ok {
			if id != (acme.Identifier{}) {
				t.Errorf("%q was refused, and yet is %q", name, id)
			}
			return
		}
		if again := challenge.ServerName(id); again != strings.ToLower(name) {
			t.Errorf("%q is %q, whose server name is %q", name, id, again)
		}
		if parsed, err := acme.ParseIdentifier(id.Value); err != nil || parsed != id {
			t.Errorf("%q is %q, which ParseIdentifier takes for %q, %v", name, id, parsed, err)
		}
		key := tlsALPN01Key(id)
		if err := storage.CheckKey(key); err != nil || strings.Count(key, "/") != 2 {
			t.Errorf("%q leads to the key %q: %v", name, key, err)
		}
	})
}

// What a path is taken for as a token can be nothing but a token.
func FuzzRequestedToken(f *testing.F) {
	for _, path := range []string{
		"/.well-known/acme-challenge/DGyRejmCefe7v4NfDGDKfA", "/.well-known/acme-challenge/", "/.well-known/acme-challenge/../x",
		"/.well-known/acme-challenge/a/b", "/.well-known/acme-challenge/a\x00b", "/.well-known/acme-challenge/a.b", "/",
		"//.well-known/acme-challenge/a", "/.well-known/acme-challenge/" + strings.Repeat("a", 257),
	} {
		f.Add(path)
	}
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	f.Fuzz(func(t *testing.T, path string) {
		token, ok := requestedToken(http.MethodGet, path)
		if !ok {
			return
		}
		if token == "" || len(token) > 256 || strings.Trim(token, alphabet) != "" || path != "/.well-known/acme-challenge/"+token {
			t.Errorf("%q asks for the token %q", path, token)
		}
		if err := storage.CheckKey(http01Key(token)); err != nil {
			t.Error(err)
		}
	})
}
