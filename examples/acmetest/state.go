package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"sync"

	"github.com/everseal/everseal/acme/acmetest"
)

// A state is what is kept of the CA, so that it is the same when it is started again.
type state struct {
	rootFile string // for clients; the rest is beside it

	mu       sync.Mutex // guards what follows
	root     tls.Certificate
	accounts []acmetest.Account
}

// A stateRecord is a state as the file has it.
type stateRecord struct {
	Root     string             `json:"root"` // certificate and key, PEM
	Accounts []acmetest.Account `json:"accounts"`
}

func (s *state) path() string { return s.rootFile + ".state" }

// loadState returns what is kept beside the root certificate's file. That is nothing at the first start.
func loadState(rootFile string) (*state, error) {
	s := &state{rootFile: rootFile}
	data, err := os.ReadFile(s.path())
	if errors.Is(err, fs.ErrNotExist) {
		return s, s.checkFree()
	}
	if err != nil {
		return nil, err
	}
	var record stateRecord
	if err := json.Unmarshal(data, &record); err != nil {
		return nil, fmt.Errorf("%s is not what was kept: %w", s.path(), err)
	}
	if s.root, err = tls.X509KeyPair([]byte(record.Root), []byte(record.Root)); err != nil {
		return nil, fmt.Errorf("the root in %s: %w", s.path(), err)
	}
	s.accounts = record.Accounts
	return s, nil
}

// checkFree keeps a file that is not a CA's from being overwritten.
func (s *state) checkFree() error {
	if _, err := os.Stat(s.rootFile); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return fmt.Errorf("%[1]s is there, but not %[1]s.state with its key: remove it, or name another file by -root", s.rootFile)
}

// begin starts the CA, keeps its root, and writes the root's certificate for clients. Accounts wait for that.
func (s *state) begin(ca *acmetest.Server) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := caught(ca.Start); err != nil {
		return err
	}
	s.root = ca.Root
	if err := s.save(); err != nil {
		return err
	}
	return os.WriteFile(s.rootFile, certificatePEM(s.root), 0o644)
}

// keep keeps a new or changed account.
func (s *state) keep(a acmetest.Account) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.accounts = slices.DeleteFunc(s.accounts, func(b acmetest.Account) bool { return b.ID == a.ID })
	s.accounts = append(s.accounts, a)
	return s.save()
}

// save writes the whole file anew: a reader sees the old one or the new one. It is called with s.mu held.
func (s *state) save() error {
	key, err := x509.MarshalPKCS8PrivateKey(s.root.PrivateKey)
	if err != nil {
		return err
	}
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})
	data, err := json.MarshalIndent(stateRecord{string(bytes.Join([][]byte{certificatePEM(s.root), keyPEM}, nil)), s.accounts}, "", "\t")
	if err != nil {
		return err
	}
	if err := os.WriteFile(s.path()+".new", data, 0o600); err != nil {
		return err
	}
	return os.Rename(s.path()+".new", s.path())
}

func certificatePEM(c tls.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate[0]})
}
