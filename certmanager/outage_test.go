package certmanager_test

import (
	"encoding/json"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/acme/acmetest"
	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/storage/storagetest"
)

// TestOutageOfTheCA has the CA lose orders by its own fault for a day: the pauses stay within the hour, and the
// way to prove control stays the same.
func TestOutageOfTheCA(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.ca.SetFaults(w.ca.FailIssuance("serverInternal", "the HSM is down"))
		_, stop := w.start(w.config("example.com"))
		defer stop()
		for n := 1; n <= 8; n++ {
			failed := w.await(certmanager.EventFailed, "example.com", n)
			if wait := failed.Next.Sub(failed.Time); wait > time.Hour || wait < time.Minute {
				t.Errorf("after %d failures the next attempt is due after %v", n, wait)
			}
			if !errors.Is(failed.Err, acme.ErrServerInternal) {
				t.Errorf("event %+v", failed)
			}
		}
		w.ca.SetFaults()
		w.await(certmanager.EventObtained, "example.com", 1)
	})
}

// forgetsFirstOrder has a CA process the first order that it has a certificate for, and no end of it.
func forgetsFirstOrder() acmetest.Fault {
	forgotten := ""
	return acmetest.On("order", acmetest.Edit(func(r *acmetest.Response) {
		order := make(map[string]any)
		if json.Unmarshal(r.Body, &order) != nil || order["status"] != "valid" {
			return
		}
		finalize, _ := order["finalize"].(string)
		if forgotten == "" {
			forgotten = finalize
		}
		if finalize == forgotten {
			order["status"] = "processing"
			delete(order, "certificate")
			r.Body, _ = json.Marshal(order)
		}
	}))
}

// TestProcessingForEver has the CA forget an order that it was to issue for. Attempts and restarts resume it for
// less than an hour, then another order gives the certificate.
func TestProcessingForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.ca.SetFaults(forgetsFirstOrder())
		_, stop := w.start(w.config("example.com"))
		w.await(certmanager.EventFailed, "example.com", 2)
		stop()
		_, stop = w.start(w.config("example.com"))
		defer stop()
		time.Sleep(20 * time.Minute)
		if n := w.count(certmanager.EventObtained); n > 0 || len(w.ca.Orders()) != 1 {
			t.Errorf("given up early: %d orders", len(w.ca.Orders()))
		}
		time.Sleep(time.Hour)
		if n := w.count(certmanager.EventObtained); n != 1 || len(w.ca.Orders()) != 2 {
			t.Errorf("%d certificates, %d orders", n, len(w.ca.Orders()))
		}
	})
}

// TestProcessingForEverUnderRestarts is TestProcessingForEver with a process that is stopped, or killed, every few
// minutes.
func TestProcessingForEverUnderRestarts(t *testing.T) {
	for _, killed := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.ca.SetFaults(forgetsFirstOrder())
			for range 18 {
				config, process := w.config("example.com"), &storagetest.Faulty{Store: w.store}
				config.Storage = process
				m, err := certmanager.New(config)
				if err != nil {
					t.Fatal(err)
				}
				ended := make(chan struct{})
				wait := w.runUntil(m, ended)
				time.Sleep(4 * time.Minute)
				if killed {
					process.SetFaults(storagetest.Fault{Err: errKilled})
				}
				close(ended)
				wait()
			}
			if n, orders := w.count(certmanager.EventObtained), len(w.ca.Orders()); n != 1 || orders != 2 {
				t.Errorf("killed %v: %d certificates, %d orders; want 1 of the second", killed, n, orders)
			}
		})
	}
}

// TestRegistrationIsRepeatedWithTheSameClient has the CA fail to register: the next attempts fetch neither its
// directory nor a nonce again.
func TestRegistrationIsRepeatedWithTheSameClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.ca.SetFaults(acmetest.On("newAccount", acmetest.Next(5, w.ca.Problem(500, "serverInternal", "an error occurred"))))
		_, stop := w.start(w.config("example.com"))
		defer stop()
		w.await(certmanager.EventObtained, "example.com", 1)
		if asked := w.ca.Requests(); asked["directory"] != 1 || asked["newNonce"] != 1 || asked["newAccount"] != 6 {
			t.Errorf("requests: %v", asked)
		}
	})
}
