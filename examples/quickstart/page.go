package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	_ "embed"
	"fmt"
	"html/template"
	"net/http"
	"slices"
	"time"

	"github.com/everseal/everseal/certmanager"
)

//go:embed page.html
var pageText string

// newPage returns the server's handler: one page, about the certificate for the name that the visitor
// called.
func newPage(manager *certmanager.Manager) http.Handler {
	page := newPageTemplate()
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
		if err := page.Execute(&text, newPageData(leaf, slices.Collect(manager.All()))); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
		w.Header().Set("Cache-Control", "no-store") // the next load may show the next certificate
		_, _ = text.WriteTo(w)                      // fails when the visitor has gone
	})
	return mux
}

func newPageTemplate() *template.Template {
	functions := template.FuncMap{
		"date":  func(t time.Time) string { return t.Local().Format("2 January 2006, 15:04:05 MST") },
		"until": func(t time.Time) string { return until(t, time.Now()) },
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
