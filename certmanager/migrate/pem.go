package migrate

import (
	"bytes"
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/everseal/everseal/certmanager/internal/record"
)

const (
	pemCertificate = "CERTIFICATE"

	maxDepth         = 8    // of folders in folders
	maxIntermediates = 1000 // that are remembered
	maxChain         = 8    // certificates above another
)

// PEM moves the certificates of a folder, and of those below it, whatever its files are named: keys are found by the
// certificates that they belong to, and what is above a certificate by its name.
func (g *Migration) PEM(ctx context.Context, folder string) (*Report, error) {
	return g.inFolder(ctx, folder, func(ctx context.Context, r *run) error {
		s := pemSource{run: r, keys: make(map[fingerprint]*pemKey), leaves: make(map[fingerprint]bool), above: make(map[string][][]byte), ofCAs: make(map[fingerprint]bool)}
		if err := s.walk(ctx, ".", 0); err != nil {
			return err
		}
		return s.takeAll(ctx)
	})
}

// A fingerprint is the hash of a certificate or a public key.
type fingerprint [sha256.Size]byte

// A pemSource is a folder of PEM files: first all are seen, and then what belongs together is taken. It keeps little of each.
type pemSource struct {
	*run
	keys          map[fingerprint]*pemKey // by the public key
	leaves        map[fingerprint]bool
	found         []pemLeaf
	above         map[string][][]byte  // certificates of CAs by their subjects, in DER
	ofCAs         map[fingerprint]bool // the public keys of these
	intermediates int
	files         int
}

// A pemKey is a private key that was seen.
type pemKey struct {
	path   string
	isUsed bool
}

// A pemLeaf is a certificate of no CA that was seen.
type pemLeaf struct {
	path string
	hash fingerprint // of the certificate
	key  fingerprint // of its public key
}

// walk sees the files of a folder and those below it. Links to folders are not followed.
func (s *pemSource) walk(ctx context.Context, folder string, depth int) error {
	entries, err := s.folder.entries(folder)
	if err != nil {
		if depth == 0 {
			return err
		}
		s.leave(Item{Kind: KindCertificate, Source: folder}, err)
		return nil
	}
	for _, entry := range entries {
		if s.files++; s.files > maxEntries {
			return fmt.Errorf("there are more than %d files", maxEntries)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		name := path.Join(folder, entry.Name())
		switch {
		case !entry.IsDir():
			s.see(name)
		case depth == maxDepth:
			s.leave(Item{Kind: KindCertificate, Source: name}, fmt.Errorf("it is more than %d folders deep", maxDepth))
		default:
			if err := s.walk(ctx, name, depth+1); err != nil {
				return err
			}
		}
	}
	return nil
}

// see notes what a file has.
func (s *pemSource) see(name string) {
	read, err := s.folder.read(name)
	if err != nil {
		if info, statErr := s.folder.root.Stat(name); statErr == nil && info.IsDir() {
			return // a link to what is seen anyway
		}
		s.leave(Item{Kind: KindCertificate, Source: name}, err)
		return
	}
	blocks := 0
	for block, rest := pem.Decode(read.data); block != nil; block, rest = pem.Decode(rest) {
		blocks++
		if err := s.seeBlock(name, block); err != nil {
			s.leave(Item{Kind: KindCertificate, Source: name}, err)
		}
	}
	if blocks < bytes.Count(read.data, []byte("-----BEGIN ")) {
		s.leave(Item{Kind: KindCertificate, Source: name}, errDamagedPEM)
	} else if blocks == 0 && slices.Contains([]string{".pem", ".crt", ".cer", ".cert", ".key"}, path.Ext(name)) {
		s.leave(Item{Kind: KindCertificate, Source: name}, errors.New("there is no PEM in it"))
	}
}

// seeBlock notes a certificate or a key.
func (s *pemSource) seeBlock(name string, block *pem.Block) error {
	if strings.HasSuffix(block.Type, "PRIVATE KEY") {
		key, err := record.ParseKeyPEM(pem.EncodeToMemory(block))
		if err != nil {
			return err
		}
		if hash, err := hashOfKey(key.Public()); err == nil && s.keys[hash] == nil {
			s.keys[hash] = &pemKey{path: name}
		}
		return nil
	}
	if block.Type != pemCertificate {
		return nil
	}
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return fmt.Errorf("a certificate can't be parsed: %w", err)
	}
	if c.IsCA {
		if !slices.ContainsFunc(s.above[string(c.RawSubject)], func(der []byte) bool { return string(der) == string(c.Raw) }) && s.intermediates < maxIntermediates {
			s.above[string(c.RawSubject)] = append(s.above[string(c.RawSubject)], c.Raw)
			s.ofCAs[sha256.Sum256(c.RawSubjectPublicKeyInfo)] = true
			s.intermediates++
		}
		return nil
	}
	hash := fingerprint(sha256.Sum256(c.Raw))
	if !s.leaves[hash] {
		s.leaves[hash] = true
		s.found = append(s.found, pemLeaf{name, hash, sha256.Sum256(c.RawSubjectPublicKeyInfo)})
	}
	return nil
}

// hashOfKey returns the fingerprint of a public key.
func hashOfKey(public crypto.PublicKey) (fingerprint, error) {
	der, err := x509.MarshalPKIXPublicKey(public)
	return sha256.Sum256(der), err
}

// takeAll takes what was seen, and notes which keys are no certificate's.
func (s *pemSource) takeAll(ctx context.Context) error {
	for _, leaf := range s.found {
		if err := s.run.found(ctx, s.certificate(leaf)); err != nil {
			return err
		}
	}
	unused := make(map[string]error)
	for hash, key := range s.keys {
		switch {
		case key.isUsed:
		case s.ofCAs[hash]:
			unused[key.path] = errors.New("the certificate for this key is that of a CA, not of a server")
		case unused[key.path] == nil:
			unused[key.path] = errors.New("no certificate is for this key")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(unused)) {
		s.leave(Item{Kind: KindCertificate, Source: name}, unused[name])
	}
	return nil
}

// certificate reads what belongs together.
func (s *pemSource) certificate(leaf pemLeaf) certificate {
	c := certificate{source: leaf.path}
	read, err := s.folder.read(leaf.path)
	if err != nil {
		c.err = err
		return c
	}
	for block, rest := pem.Decode(read.data); block != nil; block, rest = pem.Decode(rest) {
		if sha256.Sum256(block.Bytes) == leaf.hash {
			c.chain = s.chain(block.Bytes)
			break
		}
	}
	key := s.keys[leaf.key]
	switch {
	case c.chain == nil:
		c.err = fmt.Errorf("it changes at the moment: %w", fs.ErrNotExist)
	case key == nil:
		c.err = errors.New("its private key is missing")
	default:
		key.isUsed = true
		read, c.err = s.folder.read(key.path)
		c.key, c.isPublic = keyOf(read.data, leaf.key), read.isPublic
	}
	return c
}

// keyOf returns that one of the private keys in the text which has the public key, or nil.
func keyOf(text []byte, public fingerprint) []byte {
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		one := pem.EncodeToMemory(block)
		if key, err := record.ParseKeyPEM(one); err == nil {
			if hash, err := hashOfKey(key.Public()); err == nil && hash == public {
				return one
			}
		}
	}
	return nil
}

// chain returns the certificate with those above it that were seen, as PEM.
func (s *pemSource) chain(der []byte) []byte {
	text := pem.EncodeToMemory(&pem.Block{Type: pemCertificate, Bytes: der})
	c, err := x509.ParseCertificate(der)
	for range maxChain {
		if err != nil || string(c.RawIssuer) == string(c.RawSubject) {
			break
		}
		above := s.above[string(c.RawIssuer)]
		for _, der := range above { // the one that has signed it is for the manager to find out
			text = append(text, pem.EncodeToMemory(&pem.Block{Type: pemCertificate, Bytes: der})...)
		}
		if len(above) == 0 {
			break
		}
		c, err = x509.ParseCertificate(above[0])
	}
	return text
}
