// Localca puts HTTPS before a program under development, with certificates of a CA that lives in a folder: see README.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/storage"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	configuration, err := os.UserConfigDir()
	if err != nil {
		configuration = "."
	}
	folder := flag.String("ca", filepath.Join(configuration, "everseal-localca"), "`folder` of the CA, the same for all programs")
	listen := flag.String("listen", "127.0.0.1:8443", "`address` to serve HTTPS on")
	to := flag.String("to", "http://127.0.0.1:8080", "`URL` of the program under development")
	trust := flag.Bool("trust", false, "write the CA's root certificate, and say how to trust it")
	flag.Parse()
	// The only names, and those below them, for which clients believe the root: nobody else's, should its key get lost.
	ca := &certmanager.LocalCA{Name: "development", Permitted: []string{"localhost", "internal", "test", "127.0.0.0/8", "::1/128"}}
	if *trust {
		err = writeRoot(ctx, ca, *folder)
	} else {
		err = serve(ctx, *listen, *to, certmanager.Config{
			Names: flag.Args(), DefaultName: flag.Arg(0), Issuers: []certmanager.Issuer{ca}, Storage: storage.Dir(*folder), NoHTTP: true,
		})
	}
	if err != nil {
		log.Fatal("localca: ", err)
	}
}

// serve passes on what comes for the names until ctx ends.
func serve(ctx context.Context, listen, to string, config certmanager.Config) error {
	if len(config.Names) == 0 {
		return errors.New("name what the program is called, such as app.internal or localhost")
	}
	upstream, err := url.Parse(to)
	if err != nil || upstream.Host == "" {
		return fmt.Errorf("-to %q is no URL such as http://127.0.0.1:8080", to)
	}
	manager, err := certmanager.New(config)
	if err != nil {
		return err
	}
	log.Printf("serving %v at %s before %s", config.Names, listen, to)
	return manager.Serve(ctx, &http.Server{
		Addr: listen,
		Handler: &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(upstream)
			r.Out.Host = r.In.Host
			r.SetXForwarded()
		}},
		ReadHeaderTimeout: 10 * time.Second,
	})
}

// writeRoot writes the root certificate, without its key, beside the folder, and says how it is trusted.
func writeRoot(ctx context.Context, ca *certmanager.LocalCA, folder string) error {
	root, err := ca.Root(ctx, storage.Dir(folder))
	if err != nil {
		return err
	}
	path, err := filepath.Abs(folder + ".pem")
	if err != nil {
		return err
	}
	if err := os.WriteFile(path, root, 0o644); err != nil {
		return err
	}
	install := `sudo install -m 644 "%[1]s" /usr/local/share/ca-certificates/everseal-localca.crt && sudo update-ca-certificates`
	switch runtime.GOOS {
	case "darwin":
		install = `security add-trusted-cert -r trustRoot -k ~/Library/Keychains/login.keychain-db "%[1]s"`
	case "windows":
		install = `certutil -user -addstore Root "%[1]s"`
	}
	fmt.Printf(`The root certificate is %[1]s. Trust it for one program
  curl --cacert "%[1]s" https://localhost:8443/
  SSL_CERT_FILE="%[1]s"        (programs in Go on Unix, and most that use OpenSSL)
  NODE_EXTRA_CA_CERTS="%[1]s"  (Node.js)
  certutil -d sql:$HOME/.pki/nssdb -A -t C,, -n everseal-localca -i "%[1]s"  (Chromium on Linux)
  Firefox: Settings, Privacy & Security, View Certificates, Authorities, Import
or for all of this system
  `+install+"\n", path)
	return nil
}
