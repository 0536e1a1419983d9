// Responder is an HTTPS server whose certificate is for names and all that is below them, and which is itself the DNS server
// that proves it: no DNS service has to be edited, only two records set once, which it prints when it starts. For a domain of
// one's own,
//
//	responder -agree -nameserver ns1.example.com example.com
//
// and for those of customers, who set one CNAME each, into a zone of one's own:
//
//	responder -agree -nameserver ns1.example.net -zone acme.example.net shop.example customer.example
//
// Several machines name each of them with -nameserver, and share a -storage. It needs the ports 443 and 53.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/solver"
	"github.com/everseal/everseal/storage"
)

type options struct {
	nameservers, zone, resolver string
	dns, https                  string
	storage, ca, email          string
	agree                       bool
	domains                     []string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var o options
	flag.StringVar(&o.nameservers, "nameserver", "", "`names` of the machines that run this, in the zones above, with commas between")
	flag.StringVar(&o.zone, "zone", "", "a `zone` of one's own that the CNAMEs of all domains lead into (default one for each domain)")
	flag.StringVar(&o.resolver, "resolver", "", "`address` of the resolver to look with, if no other DNS can be reached (default the name servers are asked)")
	flag.StringVar(&o.dns, "dns", ":53", "`address` to answer DNS at")
	flag.StringVar(&o.https, "https", ":443", "`address` to serve HTTPS at")
	flag.StringVar(&o.storage, "storage", "responder-data", "`folder` that all machines share")
	flag.StringVar(&o.ca, "ca", "", "directory `URL` of the CA (default Let's Encrypt)")
	flag.StringVar(&o.email, "email", "", "contact `address` of the account at the CA")
	flag.BoolVar(&o.agree, "agree", false, "you agree to the CA's terms of service")
	flag.Parse()
	o.domains = flag.Args()
	if err := run(ctx, o); err != nil {
		log.Fatal("responder: ", err)
	}
}

func run(ctx context.Context, o options) error {
	if len(o.domains) == 0 {
		return errors.New("name a domain, such as example.com")
	}
	store := storage.Dir(o.storage)
	responder := &solver.Responder{Zones: zones(o), Nameservers: strings.Split(o.nameservers, ","), Addr: o.dns, Storage: store}
	proof := &solver.DNS01{
		Provider:    responder,
		FollowCNAME: true,
		Propagation: solver.Propagation{Quorum: 1}, // what one machine answers, all do, as soon as they run
	}
	if o.resolver != "" {
		proof.DNS, proof.Propagation.Recursive = &solver.DNS{Resolvers: []string{o.resolver}}, true
	}
	config := certmanager.Config{
		Issuers:      []certmanager.Issuer{&certmanager.ACME{DirectoryURL: o.ca}},
		Email:        o.email,
		AgreeToTerms: o.agree,
		Storage:      store,
		Solvers:      []acme.Solver{proof},
		NoHTTP:       true,
	}
	for _, domain := range o.domains {
		config.Subjects = append(config.Subjects, certmanager.Subject{Names: []string{domain, "*." + domain}})
	}
	manager, err := certmanager.New(config)
	if err != nil {
		return err
	}
	explain(os.Stdout, o)
	page := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "This is %q.\n", r.Host) })
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return responder.Run(ctx) })
	group.Go(func() error {
		return manager.Serve(ctx, &http.Server{Addr: o.https, Handler: page, ReadHeaderTimeout: 10 * time.Second})
	})
	return group.Wait()
}

// zones are those that this program answers for.
func zones(o options) (names []string) {
	if o.zone != "" {
		return []string{o.zone}
	}
	for _, domain := range o.domains {
		names = append(names, "_acme-challenge."+domain)
	}
	return names
}

// explain says which records are to be set.
func explain(w io.Writer, o options) {
	fmt.Fprintln(w, "Have these records set, once:")
	for _, zone := range zones(o) {
		for _, nameserver := range strings.Split(o.nameservers, ",") {
			fmt.Fprintf(w, "  %s. NS %s.\n", zone, nameserver)
		}
	}
	if o.zone != "" {
		for _, domain := range o.domains {
			fmt.Fprintf(w, "  _acme-challenge.%s. CNAME %s.%s.\n", domain, domain, o.zone)
		}
	}
}
