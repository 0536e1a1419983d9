package acme_test

import (
	"context"
	"fmt"
	"log"
	"math/rand/v2"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/acme/acmetest"
)

// A certificate is watched until it is time to renew it (RFC 9773 §4). The instant is chosen once for each
// window that the CA suggests. Here the CA has to revoke the certificate soon, and moves the window.
func ExampleClient_GetRenewalInfo() {
	ca := acmetest.NewUnstartedServer()
	ca.StartInMemory()
	defer ca.Close()
	ctx := context.Background()
	client, _, certificate := issueExample(ctx, ca)

	wait := func(d time.Duration) { // a real program waits for a timer or the end of ctx
		fmt.Println("not yet; to be asked again in", d)
		ca.SetRenewalInfo(certificate.Leaf.SerialNumber, acmetest.RenewalInfo{
			Start:          time.Now().Add(-2 * time.Hour),
			End:            time.Now().Add(-time.Hour),
			ExplanationURL: "https://ca.example/incident",
		})
	}

	var window acme.Window
	var due time.Time
	for {
		info, err := client.GetRenewalInfo(ctx, certificate.Leaf)
		if err != nil {
			log.Fatal(err) // a real program asks again later, and renews by the certificate's age meanwhile
		}
		if w := info.SuggestedWindow; !w.Start.Equal(window.Start) || !w.End.Equal(window.End) {
			window, due = w, w.At(rand.Float64())
			if info.ExplanationURL != "" {
				fmt.Println("the CA explains it at", info.ExplanationURL)
			}
		}
		left := time.Until(due)
		if left <= 0 {
			break
		}
		wait(min(left, info.RetryAfter))
	}
	fmt.Println("time to renew, with the certificate in Request.Replaces")
	// Output:
	// not yet; to be asked again in 6h0m0s
	// the CA explains it at https://ca.example/incident
	// time to renew, with the certificate in Request.Replaces
}
