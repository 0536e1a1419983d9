package certmanager_test

import (
	"bytes"
	"encoding/json"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/solver"
)

// The record of a certificate says who signed it, how control was proved and when, and what it replaced.
func TestRecordSaysWhereACertificateComesFrom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.ca.ReuseAuthorizations = true
		config := w.config("example.com")
		config.Solvers = []acme.Solver{new(solver.TLSALPN01)}
		m, stop := w.start(config)
		defer stop()
		var serials []string
		var first time.Time
		for n := range 2 {
			if n > 0 {
				if err := m.Renew(t.Context(), "example.com"); err != nil {
					t.Fatal(err)
				}
			}
			obtained := w.await(certmanager.EventObtained, "example.com", n+1)
			synctest.Wait()
			_, item := w.certificateRecord("example.com")
			line, _, _ := bytes.Cut(item.Value, []byte("\n"))
			_, text, _ := bytes.Cut(line, []byte("certificate 1 "))
			var meta struct {
				Issuer, Predecessor string
				Validations         []struct {
					Name, Type string
					Validated  time.Time
				}
			}
			if err := json.Unmarshal(text, &meta); err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			if meta.Issuer != obtained.Issuer || n > 0 && meta.Predecessor != serials[n-1] || n == 0 && meta.Predecessor != "" {
				t.Errorf("certificate %d: %s", n, text)
			}
			if len(meta.Validations) != 1 || meta.Validations[0].Name != "example.com" || meta.Validations[0].Type != "tls-alpn-01" ||
				obtained.Time.Sub(meta.Validations[0].Validated).Abs() > time.Minute {
				t.Fatalf("certificate %d: %s", n, text)
			}
			// The second order needs no proof: the CA remembers the first.
			if n == 0 {
				first = meta.Validations[0].Validated
			} else if !meta.Validations[0].Validated.Equal(first) {
				t.Errorf("validated at %v and at %v: the CA asked for proof again", first, meta.Validations[0].Validated)
			}
			serials = append(serials, obtained.Serial)
			time.Sleep(time.Second)
		}
	})
}

// So does that of a certificate with another kind of key, for which the CA, which has just seen a proof, wants none.
func TestProofsOfBothKinds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.ca.ReuseAuthorizations = true
		config := w.config("example.com")
		config.KeyTypes, config.Workers = bothKinds, 1
		m, stop := w.start(config)
		defer stop()
		w.await(certmanager.EventObtained, "example.com", 2)
		synctest.Wait()
		kinds := 0
		for s := range m.All() {
			if kinds++; len(s.Challenges) != 1 || s.Challenges[0] != acme.TypeTLSALPN01 || s.Validated.IsZero() {
				t.Errorf("%s: proved by %v at %v", s.KeyType, s.Challenges, s.Validated)
			}
		}
		if kinds != 2 || w.ca.Requests()["challenge"] != 1 {
			t.Errorf("%d kinds of key, %v", kinds, w.ca.Requests())
		}
	})
}
