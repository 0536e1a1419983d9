package certmanager_test

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/certmanager"
)

// TestLoadedOnDemandIsQuiet has clients ask a new process for what is stored, of which there may be any number: the log has no line for
// each, and Config.OnEvent is told of each.
func TestLoadedOnDemandIsQuiet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, ca, names := newWorld(t), newLocalCA(t, "local"), siteNames(200)
		ca.stock(t, w.store, names...)
		config, log := w.issuedBy([]certmanager.Issuer{ca}), new(book)
		config.Logger, config.MaxLoaded = log.logger(), 50
		config.OnDemand = func(context.Context, certmanager.Question) error { return nil }
		m, stop := w.running(config)
		defer stop()
		begun := len(log.read())
		for range 2 { // the second time most were evicted
			for chunk := range slices.Chunk(names, 50) {
				for _, name := range chunk {
					if certificate, err := ask(t, m, name); certificate == nil || err != nil {
						t.Fatalf("%s: a certificate is %t, %v", name, certificate != nil, err)
					}
				}
				time.Sleep(time.Hour)
			}
		}
		if lines := log.read()[begun:]; len(lines) > 0 {
			t.Errorf("%d lines, the first of them %s", len(lines), lines[0].text)
		}
		if n := w.count(certmanager.EventLoaded); n != len(names) {
			t.Errorf("%d events of a loaded certificate, want %d", n, len(names))
		}
	})
}
