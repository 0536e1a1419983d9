package certmanager_test

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/acme/acmetest"
	"github.com/everseal/everseal/certmanager"
)

// A confidant is a world whose CA wants an external account, with all that its managers say.
type confidant struct {
	*world
	logs   logs
	macKey []byte
	said   strings.Builder // status, handshake errors
}

func newConfidant(t *testing.T) *confidant {
	t.Helper()
	c := &confidant{macKey: make([]byte, 32)}
	_, _ = rand.Read(c.macKey) // never fails
	c.world = newWorld(t, func(ca *acmetest.Server) { ca.ExternalAccounts = map[string][]byte{"kid-1": c.macKey} })
	return c
}

func (c *confidant) config(names ...string) certmanager.Config {
	config := c.world.config(names...)
	config.Logger = c.logs.logger()
	acmeOf(config).ExternalAccount = &acme.ExternalAccount{KeyID: "kid-1", MACKey: c.macKey}
	return config
}

// listen takes down all that can be had from a manager now.
func (c *confidant) listen(m *certmanager.Manager, config certmanager.Config) {
	for _, s := range statuses(m) {
		fmt.Fprintf(&c.said, "%v %+v %#v\n", s, s, s)
		if s.Failure != nil {
			fmt.Fprintf(&c.said, "%v %+v\n", s.Failure.Err, s.Failure)
		}
		if encoded, err := json.Marshal(s); err == nil {
			c.said.Write(encoded)
		}
	}
	for _, name := range []string{"example.com", "example.net", "", "\x1b[31m"} {
		if _, err := ask(c.t, m, name); err != nil {
			fmt.Fprintf(&c.said, "%v %+v\n", err, err)
		}
	}
	fmt.Fprintf(&c.said, "%v %+v %v\n", acmeOf(config).ExternalAccount, *acmeOf(config).ExternalAccount, m.Renew(c.t.Context(), "not managed"))
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range c.events {
		fmt.Fprintf(&c.said, "%v %+v %#v %v %v\n", e, e, e, e.Err, e.LogValue())
	}
}

// check searches what was said for all the secrets that the storage holds, and the MAC key.
func (c *confidant) check(t *testing.T) {
	t.Helper()
	text := c.logs.String() + c.said.String()
	if len(text) < 200 {
		t.Fatalf("the test has heard next to nothing: %q", text)
	}
	secrets := map[string][]byte{"the MAC key": c.macKey}
	for key, err := range c.store.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		item, err := c.store.Load(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		// Keys stand in JSON too, in quotes and with line breaks escaped.
		rest := bytes.ReplaceAll(bytes.ReplaceAll(item.Value, []byte(`\n`), []byte("\n")), []byte(`"`), []byte("\n"))
		for n := 0; ; n++ {
			var block *pem.Block
			if block, rest = pem.Decode(rest); block == nil {
				break
			}
			if strings.Contains(block.Type, "PRIVATE") {
				secrets[fmt.Sprintf("key %d of %s", n, key)] = block.Bytes
			}
		}
	}
	if strings.Contains(text, "PRIVATE KEY") {
		t.Error("a private key was said in PEM")
	}
	for name, secret := range secrets {
		for encoding, encoded := range encodings(secret) {
			if strings.Contains(text, encoded) {
				t.Errorf("%s was said, as %s", name, encoding)
			}
		}
	}
	if len(secrets) < 2 {
		t.Errorf("the storage has %d secrets; the test has missed them", len(secrets)-1)
	}
}

// encodings are the forms in which a secret might be seen. The end of a key is enough of it; its
// beginning is the same for all.
func encodings(secret []byte) map[string]string {
	end := secret[len(secret)-24:]
	list := make([]string, len(end))
	for i, b := range end {
		list[i] = fmt.Sprint(b)
	}
	return map[string]string{
		"text": string(end), "hexadecimal": hex.EncodeToString(end), "capital hexadecimal": strings.ToUpper(hex.EncodeToString(end)),
		"a list": strings.Join(list, " "), "quoted": strings.Trim(fmt.Sprintf("%q", end), `"`),
		"base64": base64.RawStdEncoding.EncodeToString(secret)[:32], "base64url": base64.RawURLEncoding.EncodeToString(secret)[:32],
		"the end in base64": base64.StdEncoding.EncodeToString(secret)[len(base64.StdEncoding.EncodeToString(secret))-24:],
	}
}

func TestSecretsAreNotSaid(t *testing.T) {
	for _, test := range []struct {
		name    string
		disturb func(c *confidant, config *certmanager.Config, f *front)
	}{
		{"success", func(*confidant, *certmanager.Config, *front) {}},
		{"a name is refused", func(c *confidant, _ *certmanager.Config, _ *front) { c.ca.Refuse("example.net") }},
		{"a wrong MAC key", func(c *confidant, config *certmanager.Config, _ *front) {
			acmeOf(*config).ExternalAccount = &acme.ExternalAccount{KeyID: "kid-1", MACKey: append([]byte("wrong"), c.macKey...)}
		}},
		{"an unknown MAC algorithm", func(c *confidant, config *certmanager.Config, _ *front) {
			acmeOf(*config).ExternalAccount = &acme.ExternalAccount{KeyID: "kid-1", MACKey: c.macKey, Algorithm: "none"}
		}},
		{"an echo", func(_ *confidant, _ *certmanager.Config, f *front) { f.answerWith(only("finalize", echo)) }},
		{"an unreachable CA", func(_ *confidant, _ *certmanager.Config, f *front) {
			f.answerWith(only("authorization", func(*http.Request) (*http.Response, error) { return nil, errors.New("no route") }))
		}},
		{"a full disk for certificates", func(_ *confidant, config *certmanager.Config, _ *front) {
			config.Storage = failingSaves(config.Storage, "certificates", 0, false)
		}},
		{"a full disk for journals", func(_ *confidant, config *certmanager.Config, _ *front) {
			config.Storage = failingSaves(config.Storage, "work", 3, false)
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newConfidant(t)
				front := c.front()
				config := c.config("example.com", "example.net")
				acmeOf(config).HTTPClient = front.client()
				test.disturb(c, &config, front)
				m, stop := c.start(config)
				defer stop()
				for range 5 {
					time.Sleep(20 * time.Minute)
					c.listen(m, config)
				}
				c.check(t)
			})
		})
	}
}

// echo answers with what it was sent, as a confused front end might.
func echo(r *http.Request) (*http.Response, error) {
	var body bytes.Buffer
	if _, err := body.ReadFrom(r.Body); err != nil {
		return nil, err
	}
	detail, err := json.Marshal(map[string]string{"detail": body.String()})
	if err != nil {
		return nil, err
	}
	return reply(r, http.StatusForbidden, "application/problem+json", string(detail)), nil
}

// TestSecretsInCorruptRecords damages records that hold keys: neither the reports nor the errors show
// what is in them.
func TestSecretsInCorruptRecords(t *testing.T) {
	for _, prefix := range []string{"certificates", "accounts", "work"} {
		t.Run(prefix, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newConfidant(t)
				front := c.front()
				if prefix == "work" {
					front.answerWith(only("finalize", hang)) // so that a key is under way
				}
				config := c.config("example.com")
				acmeOf(config).HTTPClient = front.client()
				_, stop := c.start(config)
				time.Sleep(time.Minute)
				stop()
				front.answerWith(nil)
				key, item := c.record(prefix)
				// What is cut off last leaves the key in it.
				if _, err := c.store.Save(t.Context(), key, bytes.Replace(item.Value, []byte(`"version":1,"`), []byte(`"version":1,`), 2)[:len(item.Value)-9], item.Revision); err != nil {
					t.Fatal(err)
				}
				m, stop := c.start(config)
				defer stop()
				time.Sleep(time.Minute)
				c.listen(m, config)
				c.check(t)
			})
		})
	}
}

// TestExternalAccount obtains from a CA that makes accounts only with an external one, and shows what is
// said where there is none.
func TestExternalAccount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newConfidant(t)
		var made accounts
		config := c.config("example.com")
		acmeOf(config).ExternalAccount = nil
		_, stop := c.start(config)
		failed := c.await(certmanager.EventFailed, "example.com", 1)
		if !strings.Contains(failed.Err.Error(), "ExternalAccount") {
			t.Errorf("the error does not say what to set: %v", failed.Err)
		}
		stop()
		made.watch(c.ca)
		_, stop = c.start(c.config("example.com"))
		defer stop()
		c.await(certmanager.EventObtained, "example.com", 1)
		made.one(t)
		if len(made.all[0].ExternalAccountBinding) == 0 {
			t.Error("the account is not bound")
		}
	})
}

// evil is what a terminal or a log must not see raw.
const evil = "\x1b[2J\x1b]0;pwned\x07\r\nlevel=INFO msg=forged\u202e\x00\xff"

// TestNetworkInputIsQuoted has clients and the CA send such things.
func TestNetworkInputIsQuoted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		front := w.front()
		var logged logs
		config := w.onDemand(new(policy))
		config.Names = []string{"example.com", "*.example.org"}
		acmeOf(config).HTTPClient, config.Logger = front.client(), logged.logger()
		config.Solvers = append(config.Solvers, newDNS01(w.ca))
		var said []error
		for _, answer := range evilAnswers(t) {
			front.answerWith(answer)
			said = append(said, w.provoke(config)...)
			time.Sleep(24 * time.Hour)
		}
		for _, err := range said {
			text := err.Error()
			if strings.ContainsAny(text, "\x1b\x07\r\n\x00\u202e") || strings.Contains(text, "\xff") {
				t.Errorf("an error shows it raw: %q", text)
			}
			if len(text) > 5000 {
				t.Errorf("an error has %d bytes", len(text))
			}
		}
		if len(said) < 40 {
			t.Errorf("only %d errors were heard", len(said))
		}
		for line := range strings.Lines(logged.String()) {
			if strings.ContainsAny(strings.TrimSuffix(line, "\n"), "\x1b\x07\r\x00\u202e") || strings.HasPrefix(line, "level=INFO msg=forged") {
				t.Errorf("the log shows it raw: %q", line)
			}
		}
	})
}

func evilAnswers(t *testing.T) []func(*http.Request) (*http.Response, error) {
	problem := mustJSON(t, map[string]string{"type": "urn:ietf:params:acme:error:" + evil, "title": evil, "detail": evil, "instance": evil})
	directory := mustJSON(t, map[string]string{"newNonce": evil, "newAccount": "x", "newOrder": "y"})
	var all []func(*http.Request) (*http.Response, error)
	for _, a := range []struct {
		status            int
		contentType, body string
	}{
		{400, "application/problem+json", problem},
		{400, evil, evil},
		{200, "text/html" + evil, evil},
		{200, "application/json", directory},
	} {
		all = append(all, func(r *http.Request) (*http.Response, error) {
			return reply(r, a.status, a.contentType, a.body), nil
		})
	}
	return all
}

// provoke returns the errors of a manager that is asked for evil names in all ways, running and not.
func (w *world) provoke(config certmanager.Config) (said []error) {
	w.t.Helper()
	hear := func(err error) {
		if err != nil {
			said = append(said, err)
		}
	}
	m, stop := w.running(config)
	for _, name := range []string{evil, evil + ".example.com", evil + ".example.org", "www." + evil, strings.Repeat(evil, 50), "new.example.com"} {
		_, err := ask(w.t, m, name)
		hear(err)
		hear(m.Renew(w.t.Context(), name))
		hear(m.Manage(certmanager.Subject{Names: []string{name}}))
	}
	for _, s := range statuses(m) {
		if s.Failure != nil {
			hear(s.Failure.Err)
		}
	}
	stop()
	m, err := certmanager.New(config)
	if err != nil {
		w.t.Fatal(err)
	}
	_, err = ask(w.t, m, evil+".example.org")
	hear(err)
	return said
}

func mustJSON(t *testing.T, v any) string {
	t.Helper()
	encoded, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(encoded)
}
