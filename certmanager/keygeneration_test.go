package certmanager

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// TestRSAKeysAreMadeOneByOne has the only turn be taken: RSA keys wait for it, until their ctx ends, and others do not.
func TestRSAKeysAreMadeOneByOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ring := newKeyring(nil, nil, 1)
		ring.making <- struct{}{}
		if _, err := ring.generate(t.Context(), ECDSAP256); err != nil {
			t.Error(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		began := time.Now()
		if _, err := ring.generate(ctx, RSA2048); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Hour {
			t.Errorf("without a turn: %v after %v", err, time.Since(began))
		}
		waiting := make(chan error)
		go func() {
			_, err := ring.generate(t.Context(), RSA2048)
			waiting <- err
		}()
		synctest.Wait()
		<-ring.making
		if err := <-waiting; err != nil {
			t.Error(err)
		}
		if len(ring.making) != 0 {
			t.Error("the turn was not given back")
		}
	})
}
