package solver_test

import (
	"errors"
	"fmt"
	"time"

	"github.com/everseal/everseal/solver"
)

// Which servers lacked a record can be told from the error of an issuance that failed for it.
func ExamplePropagationError() {
	err := fmt.Errorf("obtain example.com: %w", &solver.PropagationError{
		Name:   "_acme-challenge.example.com",
		Target: "_acme-challenge.example.com",
		Value:  "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr-oA",
		Servers: []solver.ServerAnswer{
			{Server: "ns1.example.com", Address: "192.0.2.1:53", Found: true, Answered: true},
			{Server: "ns2.example.com", Address: "[2001:db8::2]:53", Answered: true, Said: "that there is no TXT record"},
		},
		After: 5 * time.Minute,
	})
	if failure, ok := errors.AsType[*solver.PropagationError](err); ok {
		for _, server := range failure.Servers {
			if !server.Found {
				fmt.Println(server)
			}
		}
	}
	// Output: ns2.example.com ([2001:db8::2]:53) says that there is no TXT record
}
