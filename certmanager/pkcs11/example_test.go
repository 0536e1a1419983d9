package pkcs11_test

import (
	"context"
	"fmt"
	"os"

	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/certmanager/pkcs11"
	"github.com/everseal/everseal/storage"
)

func Example() {
	ctx := context.Background()
	keys, err := pkcs11.Connect(ctx, pkcs11.Config{
		Module: "/usr/lib/softhsm/libsofthsm2.so",
		Token:  "a token that is not there",
		PIN:    func() (string, error) { return os.Getenv("PIN"), nil },
	})
	if err != nil {
		fmt.Println("no token")
		return
	}
	defer keys.Close()
	m, err := certmanager.New(certmanager.Config{
		Names: []string{"example.com"}, AgreeToTerms: true, Storage: storage.Dir("/var/lib/myserver"),
		Keys: keys,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(m.Run(ctx))
	// Output: no token
}
