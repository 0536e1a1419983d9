package stepca

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/smallstep/certificates/authority/provisioner"

	"github.com/everseal/everseal/acme"
)

// A device has a key and its maker's certificate for it, which names the device's serial number.
type device struct {
	serial      string
	key         *ecdsa.PrivateKey
	certificate []byte // DER
}

func newDevice(t *testing.T, serial string, maker *x509.Certificate, makerKey crypto.Signer) *device {
	t.Helper()
	d := &device{serial: serial, key: newKey(t)}
	managed, err := asn1.Marshal(struct{ DeviceID string }{serial})
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "a device"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		// What Smallstep calls a managed device.
		ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 37476, 9000, 64, 4}, Value: managed}},
	}
	if d.certificate, err = x509.CreateCertificate(rand.Reader, template, maker, d.key.Public(), makerKey); err != nil {
		t.Fatal(err)
	}
	return d
}

// attest returns the answer to a challenge of the type device-attest-01: a WebAuthn attestation object in the format
// "step", whose signature is that of the device's key over the key authorization.
func (d *device) attest(t *testing.T, keyAuthorization string) json.RawMessage {
	t.Helper()
	digest := sha256.Sum256([]byte(keyAuthorization))
	signature, err := ecdsa.SignASN1(rand.Reader, d.key, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := cbor.Marshal(signature)
	if err != nil {
		t.Fatal(err)
	}
	object, err := cbor.Marshal(map[string]any{
		"fmt":     "step",
		"attStmt": map[string]any{"x5c": []any{d.certificate}, "sig": encoded},
	})
	if err != nil {
		t.Fatal(err)
	}
	return attestation(t, base64.RawURLEncoding.EncodeToString(object))
}

func attestation(t *testing.T, object string) json.RawMessage {
	t.Helper()
	payload, err := json.Marshal(map[string]string{"attObj": object})
	if err != nil {
		t.Fatal(err)
	}
	return payload
}

// startWithDevices starts a CA that accepts the attestations of a maker of devices.
func startWithDevices(t *testing.T) (s *authorityServer, maker *x509.Certificate, makerKey crypto.Signer) {
	t.Helper()
	maker, makerKey = newIssuer(t, "maker of devices", nil, nil)
	s = start(t, func(p *provisioner.ACME) {
		p.Challenges = []provisioner.ACMEChallenge{provisioner.DEVICE_ATTEST_01}
		p.AttestationRoots = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: maker.Raw})
	})
	return s, maker, makerKey
}

// orderForDevice returns an order for a device, with the one challenge that there is.
func orderForDevice(t *testing.T, client *acme.Client, serial string) (*acme.Order, acme.Proof) {
	t.Helper()
	ctx := within(t)
	order, err := client.NewOrder(ctx, acme.OrderRequest{Identifiers: []acme.Identifier{{Type: "permanent-identifier", Value: serial}}})
	if err != nil {
		t.Fatal(err)
	}
	a, err := client.GetAuthorization(ctx, order.Authorizations[0])
	if err != nil {
		t.Fatal(err)
	}
	if len(a.Challenges) != 1 || a.Challenges[0].Type != acme.TypeDeviceAttest01 {
		t.Fatalf("the challenges are %+v", a.Challenges)
	}
	proof, err := client.NewProof(ctx, a, a.Challenges[0])
	if err != nil {
		t.Fatal(err)
	}
	return order, proof
}

// The whole way of a device: what the CA is told with the challenge's acceptance is the answer itself.
func TestDeviceAttest(t *testing.T) {
	const serial = "device-1234"
	s, maker, makerKey := startWithDevices(t)
	ctx := within(t)
	client := newAccount(t, s)
	d := newDevice(t, serial, maker, makerKey)
	order, proof := orderForDevice(t, client, serial)
	challenge, err := client.AcceptChallenge(ctx, proof.URL, d.attest(t, proof.KeyAuthorization))
	if err != nil || challenge.Status != acme.StatusValid {
		t.Fatalf("the challenge is %+v, %v", challenge, err)
	}
	if order, err = client.WaitOrder(ctx, order); err != nil || order.Status != acme.StatusReady {
		t.Fatalf("the order is %+v, %v", order, err)
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, new(x509.CertificateRequest), d.key)
	if err != nil {
		t.Fatal(err)
	}
	if order, err = client.FinalizeOrder(ctx, order, csr); err != nil {
		t.Fatal(err)
	}
	certificate, err := client.GetCertificate(ctx, order.Certificate)
	if err != nil {
		t.Fatal(err)
	}
	if !d.key.PublicKey.Equal(certificate.Leaf.PublicKey) {
		t.Error("the certificate is for another key than the device's")
	}
	names := slices.IndexFunc(certificate.Leaf.Extensions, func(e pkix.Extension) bool {
		return e.Id.Equal(asn1.ObjectIdentifier{2, 5, 29, 17}) && strings.Contains(string(e.Value), serial)
	})
	if names < 0 {
		t.Errorf("the certificate does not name %s", serial)
	}
	s.wants(t, 1, 1)
}

func TestDeviceAttestRefused(t *testing.T) {
	const serial = "device-1234"
	s, maker, makerKey := startWithDevices(t)
	client := newAccount(t, s)
	otherMaker, otherKey := newIssuer(t, "another maker", nil, nil)
	tests := []struct {
		name   string
		answer func(keyAuthorization string) json.RawMessage
		words  string
	}{
		{"no base64url", func(string) json.RawMessage { return attestation(t, "not base64!") }, "failed base64 decoding"},
		{"an empty object", func(string) json.RawMessage { return attestation(t, "") }, "must not be empty"},
		{"no CBOR", func(string) json.RawMessage { return attestation(t, "_____w") }, "not well formed CBOR"},
		{"another key authorization", func(k string) json.RawMessage { return newDevice(t, serial, maker, makerKey).attest(t, k+"x") }, "failed to validate signature"},
		{"another device", func(k string) json.RawMessage { return newDevice(t, "device-1", maker, makerKey).attest(t, k) }, "permanent identifier does not match"},
		{"another maker", func(k string) json.RawMessage { return newDevice(t, serial, otherMaker, otherKey).attest(t, k) }, "x5c is not valid"},
	}
	var last *acme.Order
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			ctx := within(t)
			order, proof := orderForDevice(t, client, serial)
			challenge, err := client.AcceptChallenge(ctx, proof.URL, test.answer(proof.KeyAuthorization))
			if err != nil {
				t.Fatal(err)
			}
			if challenge.Status != acme.StatusInvalid || !errors.Is(challenge.Error, acme.ErrBadAttestationStatement) || !strings.Contains(challenge.Error.Detail, test.words) {
				t.Errorf("the challenge is %s: %v; want it to be invalid, saying %q", challenge.Status, challenge.Error, test.words)
			}
			last = order
		})
	}
	var failed *acme.OrderError
	if _, err := client.WaitOrder(within(t), last); !errors.As(err, &failed) || !errors.Is(err, acme.ErrBadAttestationStatement) || !strings.Contains(err.Error(), serial) {
		t.Errorf("WaitOrder: %v", err)
	}
	_, proof := orderForDevice(t, client, serial)
	if _, err := client.AcceptChallenge(within(t), proof.URL, json.RawMessage(`["garbage"]`)); !errors.Is(err, acme.ErrServerInternal) {
		t.Errorf("an answer that is no JSON object: %v", err)
	}
	if n := s.made(t, certificates); n != 0 {
		t.Errorf("the CA has issued %d certificates", n)
	}
}
