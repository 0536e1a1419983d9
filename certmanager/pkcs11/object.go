package pkcs11

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/asn1"
	"errors"
	"fmt"
	"io/fs"
	"math/big"

	"github.com/miekg/pkcs11"

	"github.com/everseal/everseal/certmanager"
)

// maxObjects bounds those of one reference.
const maxObjects = 16

// objects returns what the token has by the reference, of the given attributes.
func (k *Keys) objects(s pkcs11.SessionHandle, ref string, more ...*pkcs11.Attribute) (found []pkcs11.ObjectHandle, err error) {
	template := append([]*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_LABEL, ref)}, more...)
	if err := k.module.FindObjectsInit(s, template); err != nil {
		return nil, fmt.Errorf("look for the key %s: %w", ref, err)
	}
	defer func() {
		if final := k.module.FindObjectsFinal(s); err == nil && final != nil {
			err = fmt.Errorf("look for the key %s: %w", ref, final)
		}
	}()
	found, _, err = k.module.FindObjects(s, maxObjects)
	if err != nil {
		return nil, fmt.Errorf("look for the key %s: %w", ref, err)
	}
	return found, nil
}

// object returns the one object of the class that has the reference. The error is [fs.ErrNotExist] if there is none.
func (k *Keys) object(s pkcs11.SessionHandle, ref string, class uint) (pkcs11.ObjectHandle, error) {
	found, err := k.objects(s, ref, pkcs11.NewAttribute(pkcs11.CKA_CLASS, class))
	switch {
	case err != nil:
		return 0, err
	case len(found) == 0:
		return 0, fmt.Errorf("the token has no key %s: %w", ref, fs.ErrNotExist)
	case len(found) > 1:
		return 0, fmt.Errorf("the token has %d keys %s: delete those that others have made", len(found), ref)
	}
	return found[0], nil
}

// find returns the key pair that has the reference.
func (k *Keys) find(s pkcs11.SessionHandle, ref string) (*signer, error) {
	private, err := k.object(s, ref, pkcs11.CKO_PRIVATE_KEY)
	if err != nil {
		return nil, err
	}
	object, err := k.object(s, ref, pkcs11.CKO_PUBLIC_KEY)
	if err != nil {
		return nil, err
	}
	public, err := k.public(s, object)
	if err != nil {
		return nil, fmt.Errorf("read the public key of %s: %w", ref, err)
	}
	found := &signer{keys: k, ref: ref, public: public}
	found.handle.Store(uint64(private))
	return found, nil
}

// public reads a public key.
func (k *Keys) public(s pkcs11.SessionHandle, object pkcs11.ObjectHandle) (crypto.PublicKey, error) {
	attributes, err := k.module.GetAttributeValue(s, object, []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_KEY_TYPE, nil)})
	if err != nil {
		return nil, err
	}
	switch kind := keyTypeOf(attributes[0].Value); kind {
	case pkcs11.CKK_RSA:
		attributes, err = k.module.GetAttributeValue(s, object, []*pkcs11.Attribute{
			pkcs11.NewAttribute(pkcs11.CKA_MODULUS, nil), pkcs11.NewAttribute(pkcs11.CKA_PUBLIC_EXPONENT, nil)})
		if err != nil {
			return nil, err
		}
		exponent := new(big.Int).SetBytes(attributes[1].Value)
		if !exponent.IsInt64() || exponent.Int64() > 1<<31-1 {
			return nil, errors.New("its exponent is too large")
		}
		return &rsa.PublicKey{N: new(big.Int).SetBytes(attributes[0].Value), E: int(exponent.Int64())}, nil
	case pkcs11.CKK_EC:
		attributes, err = k.module.GetAttributeValue(s, object, []*pkcs11.Attribute{
			pkcs11.NewAttribute(pkcs11.CKA_EC_PARAMS, nil), pkcs11.NewAttribute(pkcs11.CKA_EC_POINT, nil)})
		if err != nil {
			return nil, err
		}
		return parsePoint(attributes[0].Value, attributes[1].Value)
	default:
		return nil, fmt.Errorf("it is of the type %#x, and neither RSA nor EC", kind)
	}
}

// keyTypeOf reads a CK_KEY_TYPE, which has this machine's size and order of bytes; one that is not known here is ^0.
func keyTypeOf(value []byte) uint {
	for _, known := range []uint{pkcs11.CKK_RSA, pkcs11.CKK_EC} {
		if string(value) == string(pkcs11.NewAttribute(pkcs11.CKA_KEY_TYPE, known).Value) {
			return known
		}
	}
	return ^uint(0)
}

// The curves by their object identifiers (RFC 5480 §2.1.1.1).
func curveOf(t certmanager.KeyType) (elliptic.Curve, asn1.ObjectIdentifier) {
	if t == certmanager.ECDSAP384 {
		return elliptic.P384(), asn1.ObjectIdentifier{1, 3, 132, 0, 34}
	}
	return elliptic.P256(), asn1.ObjectIdentifier{1, 2, 840, 10045, 3, 1, 7}
}

// parsePoint reads the public key of an EC key. The point is in a DER octet string, or as it is, of which tokens differ.
func parsePoint(params, point []byte) (*ecdsa.PublicKey, error) {
	for _, t := range []certmanager.KeyType{certmanager.ECDSAP256, certmanager.ECDSAP384} {
		curve, id := curveOf(t)
		if encoded, err := asn1.Marshal(id); err != nil || string(encoded) != string(params) {
			continue
		}
		var inner []byte
		if rest, err := asn1.Unmarshal(point, &inner); err == nil && len(rest) == 0 {
			point = inner
		}
		return ecdsa.ParseUncompressedPublicKey(curve, point)
	}
	return nil, errors.New("its curve is neither P-256 nor P-384")
}

// generate makes a key pair of the type.
func (k *Keys) generate(s pkcs11.SessionHandle, ref string, t certmanager.KeyType) error {
	common := []*pkcs11.Attribute{
		pkcs11.NewAttribute(pkcs11.CKA_TOKEN, true),
		pkcs11.NewAttribute(pkcs11.CKA_LABEL, ref),
		pkcs11.NewAttribute(pkcs11.CKA_ID, []byte(ref)),
	}
	public := append([]*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_VERIFY, true)}, common...)
	private := append([]*pkcs11.Attribute{
		pkcs11.NewAttribute(pkcs11.CKA_PRIVATE, true),
		pkcs11.NewAttribute(pkcs11.CKA_SENSITIVE, true),
		pkcs11.NewAttribute(pkcs11.CKA_EXTRACTABLE, false),
		pkcs11.NewAttribute(pkcs11.CKA_SIGN, true),
	}, common...)
	mechanism := uint(pkcs11.CKM_RSA_PKCS_KEY_PAIR_GEN)
	bits := map[certmanager.KeyType]int{certmanager.RSA2048: 2048, certmanager.RSA3072: 3072, certmanager.RSA4096: 4096}
	switch t {
	case certmanager.RSA2048, certmanager.RSA3072, certmanager.RSA4096:
		public = append(public, pkcs11.NewAttribute(pkcs11.CKA_MODULUS_BITS, bits[t]), pkcs11.NewAttribute(pkcs11.CKA_PUBLIC_EXPONENT, []byte{1, 0, 1}))
	case certmanager.ECDSAP256, certmanager.ECDSAP384:
		_, id := curveOf(t)
		params, err := asn1.Marshal(id)
		if err != nil {
			return err
		}
		mechanism = pkcs11.CKM_EC_KEY_PAIR_GEN
		public = append(public, pkcs11.NewAttribute(pkcs11.CKA_EC_PARAMS, params))
	default:
		return fmt.Errorf("the key type %.40q is not supported", string(t))
	}
	if _, _, err := k.module.GenerateKeyPair(s, []*pkcs11.Mechanism{pkcs11.NewMechanism(mechanism, nil)}, public, private); err != nil {
		return fmt.Errorf("make the key %s of the type %s: %w", ref, t, err)
	}
	return nil
}
