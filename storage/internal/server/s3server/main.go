// S3server is an S3 server (the gateway of Versity) that keeps each bucket in a folder and each object in a file, whose
// extended attributes have its ETag: for the tests of package s3. Conditional PUTs are atomic in it. Conditional DELETEs are
// not: it looks at the ETag and removes the file, and what is written between both is lost.
//
// Run it in its folder, which is a module of its own because its dependencies must not decide those of others:
//
//	go tool s3server -port 7070 -folder /tmp/buckets -root admin:secret -user program:secret2
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/versity/versitygw/auth"
	"github.com/versity/versitygw/backend/meta"
	"github.com/versity/versitygw/backend/posix"
	"github.com/versity/versitygw/embedgw"
)

// settings are what the flags say.
type settings struct {
	port             string
	folder           string
	root, user       string // access key and secret
	certificate, key string
	sidecar          bool
}

func main() {
	var s settings
	flag.StringVar(&s.port, "port", "7070", "of 127.0.0.1, where the server listens")
	flag.StringVar(&s.folder, "folder", "", "where the data is, on a file system with extended attributes")
	flag.StringVar(&s.root, "root", "", "access key and secret of who may do everything, with a colon between them")
	flag.StringVar(&s.user, "user", "", "those of who may do what the policies of buckets say")
	flag.StringVar(&s.certificate, "certificate", "", "file of the server's certificate; no TLS if it is empty")
	flag.StringVar(&s.key, "key", "", "file of the certificate's key")
	flag.BoolVar(&s.sidecar, "sidecar", false, "keep ETags in files of their own: then conditional PUTs are not atomic")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := s.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func (s *settings) run(ctx context.Context) error {
	access, secret, found := strings.Cut(s.root, ":")
	if !found || s.folder == "" {
		return errors.New("say -folder and -root")
	}
	for _, folder := range []string{"buckets", "accounts", "sidecar"} {
		if err := os.MkdirAll(filepath.Join(s.folder, folder), 0o700); err != nil {
			return err
		}
	}
	most := 1000 // connections and requests at once
	config := &embedgw.Config{
		RootUserAccess: access, RootUserSecret: secret, Ports: []string{net.JoinHostPort("127.0.0.1", s.port)},
		MaxConnections: most, MaxRequests: most, MultipartMaxParts: 10_000, Quiet: true, KeepAlive: true,
		CertFile: s.certificate, KeyFile: s.key, IAMDir: filepath.Join(s.folder, "accounts"),
	}
	if err := s.addUser(config); err != nil {
		return err
	}
	objects, err := s.open()
	if err != nil {
		return err
	}
	return embedgw.RunVersityGW(ctx, objects, config)
}

// addUser makes the account of the user, unless it is there.
func (s *settings) addUser(config *embedgw.Config) error {
	access, secret, found := strings.Cut(s.user, ":")
	if !found {
		return nil
	}
	accounts, err := auth.New(config.IamOpts())
	if err != nil {
		return err
	}
	err = accounts.CreateAccount(auth.Account{Access: access, Secret: secret, Role: auth.RoleUser})
	if errors.Is(err, auth.ErrUserExists) {
		err = nil
	}
	return errors.Join(err, accounts.Shutdown())
}

func (s *settings) open() (*posix.Posix, error) {
	folder := filepath.Join(s.folder, "buckets")
	if s.sidecar {
		sidecar := filepath.Join(s.folder, "sidecar")
		ms, err := meta.NewSideCar(sidecar)
		if err != nil {
			return nil, err
		}
		return posix.New(folder, ms, posix.PosixOpts{SideCarDir: sidecar, Concurrency: 1000})
	}
	if err := (meta.XattrMeta{}).Test(folder); err != nil {
		return nil, fmt.Errorf("the file system of %s has no extended attributes: %w", folder, err)
	}
	return posix.New(folder, meta.XattrMeta{}, posix.PosixOpts{Concurrency: 1000})
}
