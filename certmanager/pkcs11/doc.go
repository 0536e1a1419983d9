// Package pkcs11 keeps the private keys of package certmanager where they can't be read: in an HSM, a smart card or a
// software token that speaks PKCS #11 (Cryptoki 2.40). It needs cgo, and the library that comes with the token.
//
//	keys, err := pkcs11.Connect(ctx, pkcs11.Config{
//		Module: "/usr/lib/softhsm/libsofthsm2.so",
//		Token:  "everseal",
//		PIN:    func() (string, error) { return os.Getenv("PIN"), nil },
//	})
//	if err != nil {
//		log.Fatal(err)
//	}
//	defer keys.Close()
//	m, err := certmanager.New(certmanager.Config{Names: []string{"example.com"}, AgreeToTerms: true, Keys: keys})
//
// A key is a pair of objects on the token, both with the manager's reference as their label and identifier
// (CKA_LABEL, CKA_ID). The private one is sensitive and can't be extracted. With the manager the token is not to be shared
// by others who name objects so; a fleet shares the token of a network HSM. Members with a token each can't serve one another's
// certificates.
//
// A token keeps for each certificate the key in use, those that it replaced for as long as a certificate for them is valid, and
// one for an order under way: room for three of each name is enough.
package pkcs11
