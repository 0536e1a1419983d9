package kubernetes

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/netip"
	"strings"
	"time"
)

// A certificate is what the record of one says, as far as a Secret has it.
type certificate struct {
	key      string // of the record
	name     string // the first in order
	names    []string
	obtained time.Time
	end      time.Time
	chain    []byte // PEM, leaf first
	private  []byte // PEM, PKCS #8
}

// parseCertificate reads a record "certificates/<issuer>/<subject>/<key type>", which is one line with JSON in it, and
// PEM.
func parseCertificate(key string, value []byte) (*certificate, error) {
	parts := strings.Split(key, "/")
	if len(parts) != 4 || parts[0] != allCertificates {
		return nil, errors.New("its key is not that of a certificate")
	}
	line, text, _ := bytes.Cut(value, []byte("\n"))
	_, encoded, _ := bytes.Cut(line, []byte("{"))
	var said struct {
		Names        []string  `json:"names"`
		Obtained     time.Time `json:"obtained"`
		KeyReference string    `json:"keyReference"`
	}
	if !bytes.HasPrefix(line, []byte("everseal certificate ")) || json.Unmarshal(append([]byte("{"), encoded...), &said) != nil {
		return nil, errors.New("its first line is not that of a certificate: if the storage is sealed, Source has to be the storage.Sealed")
	}
	if said.KeyReference != "" {
		return nil, errors.New("its key is kept elsewhere, where nobody can take it from")
	}
	c := &certificate{key: key, names: said.Names, obtained: said.Obtained}
	c.name, _, _ = strings.Cut(parts[2], "+")
	for {
		var block *pem.Block
		block, text = pem.Decode(text)
		if block == nil {
			break
		}
		if block.Type == "CERTIFICATE" {
			c.chain = append(c.chain, pem.EncodeToMemory(block)...)
		} else {
			c.private = append(c.private, pem.EncodeToMemory(block)...)
		}
	}
	pair, err := tls.X509KeyPair(c.chain, c.private)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		return nil, err
	}
	c.end = leaf.NotAfter
	return c, nil
}

// replaces reports whether the Secret has to be changed to have the certificate: it has an earlier one, or not what it
// should have.
func (c *certificate) replaces(found *secret) bool {
	obtained, err := time.Parse(time.RFC3339Nano, found.Metadata.Annotations[obtainedAnnotation])
	if err == nil && !obtained.Equal(c.obtained) {
		return c.obtained.After(obtained)
	}
	return err != nil || !bytes.Equal(found.Data["tls.crt"], c.chain) || !bytes.Equal(found.Data["tls.key"], c.private)
}

// withoutColons returns an IPv6 address in full with "-" for ":", and any other name as it is.
func withoutColons(name string) string {
	if address, err := netip.ParseAddr(name); err == nil && address.Is6() {
		return strings.ReplaceAll(address.StringExpanded(), ":", "-")
	}
	return name
}
