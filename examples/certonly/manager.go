package main

import (
	"cmp"
	"context"
	"crypto/x509"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/certmanager/deploy"
	"github.com/everseal/everseal/solver"
)

// A keeper obtains certificates and keeps their files.
type keeper struct {
	*certmanager.Manager
	files *deploy.Deployer
}

// newKeeper returns one for some of the configuration's certificates.
func (p *program) newKeeper(c *configuration, certificates []certificate, logger *slog.Logger) (*keeper, error) {
	issuer := &certmanager.ACME{DirectoryURL: c.CA}
	if c.CARoot != "" {
		pem, err := os.ReadFile(c.CARoot)
		if err != nil {
			return nil, err
		}
		issuer.Roots = x509.NewCertPool()
		if !issuer.Roots.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("-ca-root: %s has no certificate in PEM", c.CARoot)
		}
	}
	files := &deploy.Deployer{Dir: filepath.Join(p.dir, "live"), Logger: logger}
	if c.Hook != "" {
		files.Command = []string{"sh", "-c", c.Hook}
	}
	config := certmanager.Config{
		Issuers:      []certmanager.Issuer{issuer},
		Email:        c.Email,
		AgreeToTerms: c.AgreeToTerms,
		Solvers:      []acme.Solver{&solver.HTTP01{Addr: cmp.Or(c.Standalone, ":80")}}, // listens while a CA validates
		Storage:      p.store(),
		Logger:       logger,
		OnEvent:      files.OnEvent,
	}
	for _, wanted := range certificates {
		subject := certmanager.Subject{Names: wanted.Names}
		if wanted.Webroot != "" {
			subject.Solvers = []acme.Solver{&solver.Webroot{Dir: wanted.Webroot}}
		}
		config.Subjects = append(config.Subjects, subject)
		files.Names = append(files.Names, wanted.Names[0])
	}
	var err error
	files.Manager, err = certmanager.New(config)
	return &keeper{files.Manager, files}, err
}

// during runs the manager while work is done.
func (k *keeper) during(ctx context.Context, work func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		ended <- k.Run(ctx)
		cancel()
	}()
	err := work(ctx)
	cancel()
	return cmp.Or(<-ended, err) // if the manager can't run, that is why work failed
}

// shown returns what is told of a certificate that is there.
func (k *keeper) shown(name string) string {
	status, _ := k.Status(name)
	folder := strings.ReplaceAll(name, ":", "_") // of an IPv6 address
	return fmt.Sprintf("%s is good until %s", filepath.Join(k.files.Dir, folder, "fullchain.pem"), status.NotAfter.Format("2006-01-02 15:04:05 MST"))
}
