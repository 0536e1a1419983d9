package acme_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"io"
	"log"
	"slices"
	"sync"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/acme/acmetest"
)

// A manual solver of dns-01 asks a person to set the records. Present is called for all names at once, and a
// person can do one thing after another: so it prompts for one at a time.
type manual struct {
	out io.Writer // os.Stdout

	mu sync.Mutex
	in *bufio.Reader // os.Stdin; guarded by mu
}

func (*manual) Type() string { return acme.TypeDNS01 }

func (m *manual) Present(_ context.Context, p acme.Proof) error { return m.prompt("set", p) }

func (m *manual) CleanUp(_ context.Context, p acme.Proof) error { return m.prompt("remove", p) }

// prompt says what to do, and waits for Enter.
func (m *manual) prompt(action string, p acme.Proof) error {
	name, value, err := p.TXTRecord()
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	fmt.Fprintf(m.out, "%s the TXT record %s with the text %s and press Enter\n", action, name, value)
	_, err = m.in.ReadString('\n')
	return err
}

// A person does what is asked for and presses Enter. It returns what was asked for.
func person(ca *acmetest.Server, screen io.Reader, keyboard io.Writer) (asked []string) {
	for prompt := bufio.NewScanner(screen); prompt.Scan(); {
		var action, name, value string
		if _, err := fmt.Sscanf(prompt.Text(), "%s the TXT record %s with the text %s and", &action, &name, &value); err != nil {
			log.Fatal(err)
		}
		asked = append(asked, action+" "+name)
		if action == "set" {
			ca.SetTXT(name, value) // the CA sees it
		} else {
			ca.SetTXT(name)
		}
		fmt.Fprintln(keyboard)
	}
	slices.Sort(asked)
	return asked
}

// A solver that a person helps, for two names.
func ExampleSolver_manual() {
	ca := acmetest.NewUnstartedServer()
	ca.StartInMemory()
	defer ca.Close()

	screen, out := io.Pipe()
	in, keyboard := io.Pipe()
	asked := make(chan []string)
	go func() { asked <- person(ca, screen, keyboard) }()

	accountKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	client := &acme.Client{DirectoryURL: ca.URL, HTTPClient: ca.Client(), Key: accountKey}
	if _, err := client.Register(ctx, acme.Registration{AgreeToTerms: true}); err != nil {
		log.Fatal(err)
	}
	certificate, err := client.Issue(ctx, acme.Request{
		Identifiers: []acme.Identifier{{Type: acme.TypeDNS, Value: "example.com"}, {Type: acme.TypeDNS, Value: "example.net"}},
		Key:         key,
		Solvers:     []acme.Solver{&manual{out: out, in: bufio.NewReader(in)}},
	})
	if err != nil {
		log.Fatal(err)
	}
	out.Close()
	for _, prompt := range <-asked {
		fmt.Println(prompt)
	}
	fmt.Println(certificate.Leaf.DNSNames)
	// Output:
	// remove _acme-challenge.example.com
	// remove _acme-challenge.example.net
	// set _acme-challenge.example.com
	// set _acme-challenge.example.net
	// [example.com example.net]
}
