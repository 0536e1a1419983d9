// Acmetool obtains, renews and revokes certificates, with package acme and nothing else: see usage.txt.
package main

import (
	"bufio"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	_ "embed"
	"encoding/json"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/everseal/everseal/acme"
)

//go:embed usage.txt
var usage string

type tool struct { // one call of the program
	stdin              *bufio.Reader
	stdout             io.Writer
	terminal           sync.Mutex // held while a person is asked
	client             acme.Client
	registration       acme.Registration
	request            acme.Request
	reason             acme.RevocationReason
	address, file      string // where to answer http-01; path of the certificate's files, without .pem and .order
	manual, force, own bool
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	t := &tool{stdin: bufio.NewReader(os.Stdin), stdout: os.Stdout, client: acme.Client{HTTPClient: &http.Client{Timeout: time.Minute}}}
	if err := t.run(ctx, os.Args[1:]); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "acmetool:", err)
		os.Exit(1)
	}
}

func (t *tool) run(ctx context.Context, args []string) (err error) {
	f := flag.NewFlagSet("acmetool", flag.ContinueOnError)
	f.SetOutput(io.Discard) // main prints the error, once
	f.Usage = func() { fmt.Fprint(t.stdout, usage) }
	f.StringVar(&t.client.DirectoryURL, "ca", acme.LetsEncrypt, "")
	folder := f.String("dir", "acmetool", "")
	f.BoolVar(&t.registration.AgreeToTerms, "agree", false, "")
	contact := f.String("contact", "", "")
	f.Func("eab-kid", "", func(id string) error {
		key, err := acme.ParseMACKey(os.Getenv("EAB_KEY"))
		t.registration.ExternalAccount = &acme.ExternalAccount{KeyID: id, MACKey: key}
		return err
	})
	f.StringVar(&t.address, "http", ":80", "")
	f.BoolVar(&t.manual, "manual", false, "")
	f.StringVar(&t.request.Profile, "profile", "", "")
	f.BoolVar(&t.force, "force", false, "")
	f.BoolVar(&t.own, "certificate-key", false, "")
	f.IntVar((*int)(&t.reason), "reason", 0, "")
	err = f.Parse(args)
	commands := map[string]func(context.Context) error{"register": t.register, "order": t.order, "renew": t.renew, "revoke": t.revoke}
	command, ok := commands[f.Arg(0)]
	switch names := f.NArg() - 1; {
	case err != nil:
		return err
	case f.Arg(0) == "directory" && names == 0:
		return t.directory(ctx)
	case !ok || (names > 0) == (f.Arg(0) == "register") || names > 1 && f.Arg(0) != "order":
		return fmt.Errorf("%q is no command with its names: see acmetool -h", f.Args())
	}
	for _, name := range f.Args()[1:] {
		id, err := acme.ParseIdentifier(name)
		if err != nil {
			return err
		}
		t.request.Identifiers = append(t.request.Identifiers, id)
		t.file = filepath.Join(*folder, strings.NewReplacer("*", "_", ":", "_").Replace(t.request.Identifiers[0].Value))
	}
	t.registration.Contact = strings.Fields(*contact)
	if t.client.Key, _, err = load(filepath.Join(*folder, "account.key")); err != nil {
		return err
	}
	return command(ctx)
}

func (t *tool) directory(ctx context.Context) error {
	d, err := t.client.GetDirectory(ctx)
	if err != nil {
		return err
	}
	text, err := json.MarshalIndent(d, "", "  ")
	fmt.Fprintf(t.stdout, "%s\n", text)
	return err
}

func (t *tool) register(ctx context.Context) error {
	account, err := t.client.Register(ctx, t.registration)
	if err == nil {
		fmt.Fprintln(t.stdout, "The account is", account.URL)
	}
	return err
}

// order obtains the certificate that is requested.
func (t *tool) order(ctx context.Context) error {
	key, url, err := load(t.file + ".order")
	if err != nil {
		return err
	}
	t.request.Key, t.request.OrderURL, t.request.Solvers = key, url, []acme.Solver{t}
	if !t.manual {
		listener, err := net.Listen("tcp", t.address)
		if err != nil {
			return err
		}
		defer listener.Close()
		web := new(webSolver)
		go http.Serve(listener, web)
		t.request.Solvers = []acme.Solver{web}
	}
	t.request.Before = func(_ context.Context, s acme.Step) error {
		return save(t.file+".order", key, map[string]string{"Order": s.OrderURL}, nil)
	}
	certificate, err := t.client.Issue(ctx, t.request)
	if _, ok := errors.AsType[*acme.OrderError](err); ok {
		return errors.Join(err, os.Remove(t.file+".order")) // to make another at the next call
	} else if err != nil {
		return err
	}
	if err := save(t.file+".pem", key, nil, certificate.PEM()); err != nil {
		return err
	}
	fmt.Fprintln(t.stdout, t.file+".pem", "is good until", certificate.Leaf.NotAfter)
	return os.Remove(t.file + ".order")
}

// renew orders a certificate like the one there is, if it is time.
func (t *tool) renew(ctx context.Context) error {
	current, err := tls.LoadX509KeyPair(t.file+".pem", t.file+".pem")
	if err != nil {
		return err
	}
	leaf := current.Leaf
	due := leaf.NotAfter.Add(-leaf.NotAfter.Sub(leaf.NotBefore) / 3)
	if info, err := t.client.GetRenewalInfo(ctx, leaf); err == nil { // one of 256 instants, the same at each call
		due = info.SuggestedWindow.At(float64(leaf.Raw[len(leaf.Raw)-1]) / 256) // by the signature's last byte
	}
	if !t.force && time.Now().Before(due) {
		_, err = fmt.Fprintln(t.stdout, t.file+".pem", "is to be renewed at", due)
		return err
	}
	t.request.Replaces, t.request.Identifiers = leaf, nil
	for _, name := range leaf.DNSNames {
		t.request.Identifiers = append(t.request.Identifiers, acme.Identifier{Type: acme.TypeDNS, Value: name})
	}
	for _, ip := range leaf.IPAddresses {
		t.request.Identifiers = append(t.request.Identifiers, acme.Identifier{Type: acme.TypeIP, Value: ip.String()})
	}
	return t.order(ctx)
}

func (t *tool) revoke(ctx context.Context) error {
	current, err := tls.LoadX509KeyPair(t.file+".pem", t.file+".pem")
	if err != nil {
		return err
	}
	if t.own {
		return t.client.RevokeWithKey(ctx, current.Leaf.Raw, current.PrivateKey.(crypto.Signer), t.reason)
	}
	return t.client.RevokeCertificate(ctx, current.Leaf.Raw, t.reason)
}

// A webSolver answers http-01 challenges; it maps paths to key authorizations.
type webSolver struct{ sync.Map }

func (s *webSolver) Type() string                              { return acme.TypeHTTP01 }
func (s *webSolver) CleanUp(context.Context, acme.Proof) error { return nil } // the program ends
func (s *webSolver) Present(_ context.Context, p acme.Proof) error {
	s.Store("/.well-known/acme-challenge/"+p.Token, p.KeyAuthorization)
	return nil
}
func (s *webSolver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if answer, ok := s.Load(r.URL.Path); ok {
		fmt.Fprint(w, answer)
	}
}

// The tool itself is the solver that has a person answer dns-01 challenges.
func (t *tool) Type() string                              { return acme.TypeDNS01 }
func (t *tool) CleanUp(context.Context, acme.Proof) error { return nil } // the person does
func (t *tool) Present(ctx context.Context, p acme.Proof) error {
	name, value, err := p.TXTRecord()
	if err != nil {
		return err
	}
	t.terminal.Lock()
	defer t.terminal.Unlock()
	fmt.Fprintf(t.stdout, "Set this record, beside others at that name, and press Enter once it can be seen:\n%s. TXT %q\n", name, value)
	entered := make(chan error, 1)
	go func() { _, err := t.stdin.ReadString('\n'); entered <- err }()
	select {
	case err := <-entered:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// load reads a key and the URL of the order it is for, if any. Where there is no file it makes a key.
func load(path string) (*ecdsa.PrivateKey, string, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		return key, "", errors.Join(err, save(path, key, nil, nil))
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, "", errors.Join(err, fmt.Errorf("%s: no key in PEM was read", path))
	}
	key, err := x509.ParseECPrivateKey(block.Bytes)
	return key, block.Headers["Order"], err
}

// save writes what load reads, and a chain. A crash leaves all of the old file or all of the new one.
func save(path string, key *ecdsa.PrivateKey, headers map[string]string, chain []byte) error {
	der, err := x509.MarshalECPrivateKey(key)
	text := append(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Headers: headers, Bytes: der}), chain...)
	if err = errors.Join(err, os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path+".new", text, 0o600)); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}
