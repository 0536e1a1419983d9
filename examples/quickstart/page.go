package main

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"net/http"
	"slices"
	"time"

	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/certmanager/statuspage"
)

//go:embed page.html
var pageText string

//go:embed page.js
var scriptText string

// newPage returns the server's handler: one page, about the certificate for the name that the visitor
// called.
func newPage(manager *certmanager.Manager) *http.ServeMux { return newPageWithLink(manager, "") }

// newPageWithStatus returns the same with the manager's status page beside it, for everybody who can reach
// the server: to the Internet it would tell too much.
func newPageWithStatus(manager *certmanager.Manager) *http.ServeMux {
	mux := newPageWithLink(manager, "/certificates")
	mux.Handle("/certificates", statuspage.Handler(manager))
	return mux
}

func newPageWithLink(manager *certmanager.Manager, statusPage string) *http.ServeMux {
	page := newPageTemplate()
	scriptSum := sha256.Sum256([]byte(scriptText))
	policy := "default-src 'none'; style-src 'unsafe-inline'; connect-src 'self'; script-src 'sha256-" + base64.StdEncoding.EncodeToString(scriptSum[:]) + "'"
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		served, err := manager.GetCertificate(&tls.ClientHelloInfo{ServerName: r.TLS.ServerName})
		if err == nil && served == nil {
			err = fmt.Errorf("there is no certificate for %q", r.TLS.ServerName)
		}
		var leaf *x509.Certificate
		if err == nil {
			leaf, err = x509.ParseCertificate(served.Certificate[0])
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		var text bytes.Buffer
		data := newPageData(leaf, slices.Collect(manager.All()))
		data.StatusPage = statusPage
		if err := page.Execute(&text, data); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Security-Policy", policy)
		w.Header().Set("Cache-Control", "no-store") // the next load may show the next certificate
		_, _ = text.WriteTo(w)                      // fails when the visitor has gone
	})
	return mux
}

func newPageTemplate() *template.Template {
	functions := template.FuncMap{
		"date":    func(t time.Time) string { return t.Local().Format("2 January 2006, 15:04:05 MST") },
		"until":   func(t time.Time) string { return until(t, time.Now()) },
		"instant": func(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) },
		"script":  func() template.JS { return template.JS(scriptText) },
	}
	return template.Must(template.New("page").Funcs(functions).Parse(pageText))
}

// pageData is what the page shows.
type pageData struct {
	Names     []string
	Issuer    string
	Serial    string
	NotBefore time.Time
	NotAfter  time.Time
	Renewal   time.Time // zero: unknown

	StatusPage string // its path; empty: there is none
}

func newPageData(leaf *x509.Certificate, all []certmanager.Status) pageData {
	data := pageData{
		Names:     leaf.DNSNames,
		Issuer:    leaf.Issuer.String(),
		Serial:    fmt.Sprintf("%x", leaf.SerialNumber.Bytes()),
		NotBefore: leaf.NotBefore,
		NotAfter:  leaf.NotAfter,
	}
	for _, ip := range leaf.IPAddresses {
		data.Names = append(data.Names, ip.String())
	}
	for _, status := range all {
		if status.Serial == data.Serial {
			data.Renewal = status.Next
		}
	}
	return data
}

// until returns how far away t is, in words.
func until(t, now time.Time) string {
	d := t.Sub(now)
	switch {
	case d <= 0:
		return "now"
	case d < 48*time.Hour:
		return "in " + d.Round(time.Second).String()
	}
	return fmt.Sprintf("in %d days", d/(24*time.Hour))
}
