package acmetest

import (
	"encoding/base64"
	"encoding/json"
	"strings"

	"github.com/go-jose/go-jose/v4"
	exactjson "github.com/go-jose/go-jose/v4/json" // tells members apart by case, and takes none twice
)

// signatureAlgorithms are those that requests may be signed with. EdDSA is not among them, as it is
// not at public CAs.
func signatureAlgorithms() []jose.SignatureAlgorithm {
	return []jose.SignatureAlgorithm{jose.RS256, jose.ES256, jose.ES384, jose.ES512}
}

// A flattenedJWS is a JWS in the one serialization that ACME allows (RFC 8555 §6.2), split into its
// parts and not verified yet.
type flattenedJWS struct {
	header    protectedHeader
	protected string // as it came
	payload   string // as it came
	signature string // as it came
	decoded   []byte // the payload
}

// A protectedHeader has the header parameters that ACME knows.
type protectedHeader struct {
	Algorithm string          `json:"alg"`
	JWK       json.RawMessage `json:"jwk"`
	KeyID     *string         `json:"kid"`
	Nonce     *string         `json:"nonce"`
	URL       *string         `json:"url"`
	Base64    *bool           `json:"b64"`
	Critical  json.RawMessage `json:"crit"` // extensions that must be understood: there are none
}

// parseJWS takes a flattened JWS apart. The error is a malformed problem.
func parseJWS(data []byte) (*flattenedJWS, error) {
	var parts struct {
		Protected  *string         `json:"protected"`
		Payload    *string         `json:"payload"`
		Signature  *string         `json:"signature"`
		Header     json.RawMessage `json:"header"`
		Signatures json.RawMessage `json:"signatures"`
	}
	if err := exactjson.Unmarshal(data, &parts); err != nil {
		return nil, problemf(malformed, "the JWS is not a JSON object in flattened serialization (RFC 7515 §7.2.2)")
	}
	switch {
	case parts.Signatures != nil:
		return nil, problemf(malformed, "the JWS has a member \"signatures\"; only the flattened serialization with one signature is allowed (RFC 8555 §6.2)")
	case parts.Header != nil:
		return nil, problemf(malformed, "the JWS has an unprotected header, which is not allowed (RFC 8555 §6.2)")
	case parts.Protected == nil || parts.Payload == nil || parts.Signature == nil:
		return nil, problemf(malformed, "the JWS lacks \"protected\", \"payload\" or \"signature\"")
	}
	jws := &flattenedJWS{protected: *parts.Protected, payload: *parts.Payload, signature: *parts.Signature}
	header, err := decodeBase64URL("protected", jws.protected)
	if err != nil {
		return nil, err
	}
	if jws.decoded, err = decodeBase64URL("payload", jws.payload); err != nil {
		return nil, err
	}
	if _, err := decodeBase64URL("signature", jws.signature); err != nil {
		return nil, err
	}
	if err := exactjson.Unmarshal(header, &jws.header); err != nil {
		return nil, problemf(malformed, "the JWS's protected header is not a JSON object of the right form")
	}
	if jws.header.Critical != nil {
		return nil, problemf(malformed, "the JWS's protected header has \"crit\"; no extension is understood here (RFC 7515 §4.1.11)")
	}
	if jws.header.Base64 != nil {
		return nil, problemf(malformed, "the JWS's protected header has \"b64\"; unencoded payloads are not allowed (RFC 8555 §6.2)")
	}
	return jws, nil
}

// parseInnerJWS is parseJWS for one that came within another; problems call it name.
func parseInnerJWS(name string, data []byte) (*flattenedJWS, error) {
	jws, err := parseJWS(data)
	if err != nil {
		p := asProblem(err)
		p.Detail = name + ": " + p.Detail
		return nil, p
	}
	return jws, nil
}

// verify checks the signature with key, and that the algorithms named in the header and in the key, if
// there is one, are that of the key.
func (jws *flattenedJWS) verify(key *jose.JSONWebKey) error {
	want := string(algorithmFor(key))
	if jws.header.Algorithm != want {
		return problemf(malformed, "the JWS is signed with %s; for its key that must be %s", jws.header.Algorithm, want)
	}
	if key.Algorithm != "" && key.Algorithm != want {
		return problemf(malformed, "the JWK's alg is %s; for this key it can be %s or left out", quote(key.Algorithm), want)
	}
	// Only the members that parseJWS has looked at are given to the verifier.
	flattened, err := json.Marshal(map[string]string{"protected": jws.protected, "payload": jws.payload, "signature": jws.signature})
	if err != nil {
		return err
	}
	parsed, err := jose.ParseSignedJSON(string(flattened), signatureAlgorithms())
	if err != nil {
		return problemf(malformed, "the JWS cannot be read: %s", quote(err.Error()))
	}
	if _, err := parsed.Verify(key); err != nil {
		return problemf(malformed, "the JWS's signature does not verify with the %s key", jws.header.Algorithm)
	}
	return nil
}

// decodeBase64URL decodes base64url without padding, the only form that RFC 8555 §6.1 allows; name
// is what holds it. The error is a malformed problem.
func decodeBase64URL(name, s string) ([]byte, error) {
	decoded, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil || strings.ContainsAny(s, "\r\n") { // which the decoder skips
		return nil, problemf(malformed, "%q is not base64url without padding: %s", name, quote(s))
	}
	return decoded, nil
}
