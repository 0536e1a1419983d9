package acmetest_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/everseal/everseal/acme/acmetest"
)

// A CA whose address, root and accounts are kept is the same CA after a restart, also for those who reach it by
// other names of the machine.
func TestAddr(t *testing.T) {
	kept := make(chan acmetest.Account, 1)
	first := &acmetest.Server{Addr: "127.0.0.1:0", OnAccount: func(a acmetest.Account) { kept <- a }}
	first.Start()
	c := newAccount(t, first)
	first.Close()

	address, err := url.Parse(first.URL)
	if err != nil {
		t.Fatal(err)
	}
	second := &acmetest.Server{Addr: address.Host, Root: first.Root, Accounts: []acmetest.Account{<-kept}}
	second.Start()
	defer second.Close()
	if second.URL != first.URL {
		t.Errorf("URL %s after the restart, %s before", second.URL, first.URL)
	}
	c.nonce = ""
	c.post(c.kid, nil).want(http.StatusOK, "") // the first server's client
	c.get("https://localhost:"+address.Port()+"/directory").want(http.StatusOK, "")
}

func TestHostOfURL(t *testing.T) {
	for addr, want := range map[string]string{
		"":            "https://127.0.0.1:",
		"localhost:0": "https://localhost:",
		":0":          "https://localhost:",
		"0.0.0.0:0":   "https://localhost:",
		"127.0.0.2:0": "https://127.0.0.2:",
	} {
		ca := &acmetest.Server{Addr: addr}
		if said := panicOf(ca.Start); strings.Contains(said, "127.0.0.2") {
			t.Logf("not all loopback addresses are there: %s", said)
			continue
		} else if said != "" {
			t.Fatal(said)
		}
		if !strings.HasPrefix(ca.URL, want) {
			t.Errorf("the URL for Addr %q is %s", addr, ca.URL)
		}
		newAccount(t, ca)
		ca.Close()
	}
}

func TestUnusableAddr(t *testing.T) {
	ca := acmetest.NewServer()
	defer ca.Close()
	for _, addr := range []string{"127.0.0.1", "127.0.0.1:http-and-more", strings.TrimSuffix(strings.TrimPrefix(ca.URL, "https://"), "/directory")} {
		other := &acmetest.Server{Addr: addr}
		if got := panicOf(other.Start); !strings.Contains(got, addr) || !strings.Contains(got, "Addr") {
			t.Errorf("Addr %q: %q", addr, got)
		}
		other.Close()
	}
}

// The URL is in the answers about an order, unless a fault takes it away.
func TestLocationOfOrder(t *testing.T) {
	ca := inMemory(t)
	c := newAccount(t, ca)
	o := c.newOrder("example.com")
	location := func(want string) {
		t.Helper()
		if got := c.post(o.URL, nil).want(http.StatusOK, "").header.Get("Location"); got != want {
			t.Errorf("Location %q, want %q", got, want)
		}
	}
	location(o.URL)
	ca.SetFaults(acmetest.On("order", acmetest.WithoutHeader("Location")))
	location("")
}
