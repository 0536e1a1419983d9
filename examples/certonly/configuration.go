package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/everseal/everseal/acme"
)

// A configuration is what certonly.json says.
type configuration struct {
	CA           string        `json:"ca,omitempty"`     // URL of its directory; empty: Let's Encrypt
	CARoot       string        `json:"caRoot,omitempty"` // file
	Email        string        `json:"email,omitempty"`
	AgreeToTerms bool          `json:"agreeToTerms"`
	Standalone   string        `json:"standalone,omitempty"` // address to listen at; empty: ":80"
	Hook         string        `json:"hook,omitempty"`       // for the shell
	Certificates []certificate `json:"certificates"`
}

// A certificate goes by its first name.
type certificate struct {
	Names   []string `json:"names"`
	Webroot string   `json:"webroot,omitempty"` // document root of the server that has port 80; empty: there is none
}

func (p *program) configurationFile() string { return filepath.Join(p.dir, "certonly.json") }

// load returns what was kept; nothing at first.
func (p *program) load() (*configuration, error) {
	c := new(configuration)
	text, err := os.ReadFile(p.configurationFile())
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	if err != nil {
		return nil, err
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields() // somebody may have mistyped one
	if err := decoder.Decode(c); err != nil {
		return nil, fmt.Errorf("%s: %w", p.configurationFile(), err)
	}
	for i, kept := range c.Certificates {
		if len(kept.Names) == 0 {
			return nil, fmt.Errorf("%s: certificate %d has no names", p.configurationFile(), i+1)
		}
	}
	return c, nil
}

// save keeps the configuration. A crash leaves the old file or the new one.
func (p *program) save(c *configuration) error {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false) // people read it
	encoder.SetIndent("", "\t")
	if err := encoder.Encode(c); err != nil {
		return err
	}
	file := p.configurationFile()
	if err := os.WriteFile(file+".new", text.Bytes(), 0o600); err != nil {
		return err
	}
	return os.Rename(file+".new", file)
}

// put adds the certificate, or has it take the place of the one with its first name, whose document root it has unless it was
// given another.
func (c *configuration) put(added *certificate) {
	for i, kept := range c.Certificates {
		if kept.Names[0] == added.Names[0] {
			added.Webroot = cmp.Or(added.Webroot, kept.Webroot)
			c.Certificates[i] = *added
			return
		}
	}
	c.Certificates = append(c.Certificates, *added)
}

// directoryOf returns the URL that -ca means.
func directoryOf(ca string) string {
	switch ca {
	case "letsencrypt":
		return acme.LetsEncrypt
	case "staging":
		return acme.LetsEncryptStaging
	}
	return ca
}

// namesOf returns the arguments as names of one certificate.
func namesOf(args []string) ([]string, error) {
	var names []string
	for _, arg := range args {
		id, err := acme.ParseIdentifier(arg)
		if err != nil {
			return nil, usageError{err}
		}
		if !slices.Contains(names, id.Value) {
			names = append(names, id.Value)
		}
	}
	return names, nil
}
