package certmanager_test

import (
	"fmt"
	"log"
	"time"

	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/storage"
)

// A storage that costs by the request is swept once a week. How many records that has deleted is among the figures.
func ExampleConfig_sweepInterval() {
	m, err := certmanager.New(certmanager.Config{Names: []string{"example.com"}, AgreeToTerms: true, Storage: new(storage.Memory), SweepInterval: 7 * 24 * time.Hour})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(m.Stats().Swept, "records were deleted")
	// Output: 0 records were deleted
}

// Servers behind a balancer resume each other's sessions. The keys for that are in the storage they share, and have to be
// sealed there.
func ExampleConfig_sharedTickets() {
	config := certmanager.Config{Names: []string{"example.com"}, AgreeToTerms: true, Storage: new(storage.Memory), SharedTickets: true}
	_, err := certmanager.New(config)
	fmt.Println(err)

	secret := make([]byte, 32) // of a secret of the fleet's, not of zeros
	keys, err := storage.SealingKeys(secret)
	if err != nil {
		log.Fatal(err)
	}
	config.Storage = &storage.Sealed{Store: new(storage.Memory), Keys: keys}
	_, err = certmanager.New(config)
	fmt.Println(err)
	// Output:
	// certmanager: Config.SharedTickets keeps keys in the storage that must be sealed there: set Config.Storage to a *storage.Sealed around the present one
	// <nil>
}
