package acmetest

import (
	"crypto"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"
	exactjson "github.com/go-jose/go-jose/v4/json" // tells members apart by case, and takes none twice
)

// maxBody is the most bytes that a request may have; an order with a hundred of the longest names has
// fewer.
const maxBody = 50_000

// contentType is that of all signed requests, to the letter (RFC 8555 §6.2).
const contentType = "application/jose+json"

// A signedRequest is a request whose signature, nonce and URL have been found to be right.
type signedRequest struct {
	account *account         // nil if the key itself came instead of an account's URL
	key     *jose.JSONWebKey // that signed
	url     string
	payload []byte
}

// An endpoint answers one kind of signed request. It has written the answer or returns an error, which
// is answered as a problem.
type endpoint func(w http.ResponseWriter, r *http.Request, signed *signedRequest) error

// A keyFinder finds the key that a request must be signed with, and notes it in signed.
type keyFinder func(header *protectedHeader, signed *signedRequest) error

// byAccount returns a handler for requests that an account has signed.
func (s *Server) byAccount(answer endpoint) http.HandlerFunc { return s.post(answer, s.keyOfAccount) }

// byKey returns a handler for requests that carry the key they are signed with.
func (s *Server) byKey(answer endpoint) http.HandlerFunc { return s.post(answer, s.keyInHeader) }

// byEither returns a handler for requests that an account or the key they carry has signed.
func (s *Server) byEither(answer endpoint) http.HandlerFunc { return s.post(answer, s.keyOfEither) }

// post returns a handler that verifies a request (RFC 8555 §6.2 to §6.5) before it is answered.
func (s *Server) post(answer endpoint, findKey keyFinder) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if !allowMethods(w, r, http.MethodPost) {
			return
		}
		signed := &signedRequest{url: s.origin + r.URL.RequestURI()}
		jws, err := readJWS(w, r)
		if err == nil {
			err = s.verify(jws, signed, findKey)
		}
		s.addNonce(w) // after the one that came, which this one may displace
		if err == nil {
			err = answer(w, r, signed)
		}
		if err != nil {
			p := asProblem(err)
			s.log.DebugContext(r.Context(), "request refused", "resource", resourceOf(r), "type", p.Type, "detail", p.Detail)
			writeProblem(w, p)
		}
	}
}

func (s *Server) verify(jws *flattenedJWS, signed *signedRequest, findKey keyFinder) error {
	if err := checkHeader(&jws.header, signed.url); err != nil {
		return err
	}
	if err := findKey(&jws.header, signed); err != nil {
		return err
	}
	if err := jws.verify(signed.key); err != nil {
		return err
	}
	if !s.nonces.use(*jws.header.Nonce) { // last, so that only the owner of a key can use one up
		return problemf(badNonce, "the nonce %s is not one that this server gave out, or it was used before", quote(*jws.header.Nonce))
	}
	signed.payload = jws.decoded
	return nil
}

func readJWS(w http.ResponseWriter, r *http.Request) (*flattenedJWS, error) {
	if err := checkRequest(r); err != nil {
		return nil, err
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return nil, statusProblemf(http.StatusRequestEntityTooLarge, malformed, "the request has more than %d bytes", maxBody)
	}
	if err != nil {
		return nil, problemf(malformed, "the request's body could not be read: %s", quote(err.Error()))
	}
	return parseJWS(body)
}

// checkRequest checks what a signed request must have beside its body.
func checkRequest(r *http.Request) error {
	if types := r.Header.Values("Content-Type"); len(types) != 1 || types[0] != contentType {
		return statusProblemf(http.StatusUnsupportedMediaType, malformed, "the Content-Type must be %s, without parameters (RFC 8555 §6.2), not %s",
			contentType, quote(strings.Join(types, ", ")))
	}
	if r.ContentLength < 0 {
		return statusProblemf(http.StatusLengthRequired, malformed, "the request has no Content-Length: its body must not be sent in chunks")
	}
	if r.Header.Get("Replay-Nonce") != "" {
		return problemf(malformed, "the request has a Replay-Nonce header; the nonce belongs into the JWS's protected header (RFC 8555 §6.5.2)")
	}
	return nil
}

// checkHeader checks what a protected header must have whoever signed.
func checkHeader(header *protectedHeader, url string) error {
	if err := checkAlgorithm(header.Algorithm); err != nil {
		return err
	}
	if (header.JWK == nil) == (header.KeyID == nil) {
		return problemf(malformed, "the JWS must have either \"jwk\" or \"kid\" in its protected header (RFC 8555 §6.2)")
	}
	if header.URL == nil {
		return problemf(malformed, "the JWS has no \"url\" in its protected header (RFC 8555 §6.4)")
	}
	if *header.URL != url {
		return problemf(unauthorized, "the JWS's url is %s, yet the request went to %s (RFC 8555 §6.4)", quote(*header.URL), quote(url))
	}
	if header.Nonce == nil {
		return problemf(badNonce, "the JWS has no \"nonce\" in its protected header (RFC 8555 §6.5)")
	}
	_, err := decodeBase64URL("nonce", *header.Nonce)
	return err
}

// checkAlgorithm returns a problem that lists the algorithms there are, unless name is one of them.
func checkAlgorithm(name string) error {
	algorithms := signatureAlgorithms()
	if slices.Contains(algorithms, jose.SignatureAlgorithm(name)) {
		return nil
	}
	p := problemf(badSignatureAlgorithm, "the JWS is signed with %s, which is not supported", quote(name))
	for _, algorithm := range algorithms {
		p.Algorithms = append(p.Algorithms, string(algorithm))
	}
	return p
}

// keyInHeader takes the key from the request itself.
func (s *Server) keyInHeader(header *protectedHeader, signed *signedRequest) error {
	if header.JWK == nil {
		return problemf(malformed, "the JWS has \"kid\" where \"jwk\" is needed (RFC 8555 §6.2)")
	}
	key, err := parseKey(header.JWK)
	signed.key = key
	return err
}

// keyOfEither takes the key from the account that the request names or, if it names none, from the
// request itself.
func (s *Server) keyOfEither(header *protectedHeader, signed *signedRequest) error {
	if header.KeyID != nil {
		return s.keyOfAccount(header, signed)
	}
	return s.keyInHeader(header, signed)
}

// keyOfAccount takes the key from the account that the request names.
func (s *Server) keyOfAccount(header *protectedHeader, signed *signedRequest) error {
	if header.KeyID == nil {
		return problemf(malformed, "the JWS has \"jwk\" where \"kid\" is needed (RFC 8555 §6.2)")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	id, ok := strings.CutPrefix(*header.KeyID, s.urlOf("account", ""))
	account := s.accounts[id]
	if !ok || account == nil {
		return problemf(accountDoesNotExist, "there is no account %s", quote(*header.KeyID))
	}
	if account.Status != statusValid {
		return errNotValid(account)
	}
	signed.account, signed.key = account, account.key
	return nil
}

// thumbprint returns the key's thumbprint (RFC 7638) as key authorizations have it (RFC 8555 §8.1).
func thumbprint(key *jose.JSONWebKey) (string, error) {
	sum, err := key.Thumbprint(crypto.SHA256)
	return base64.RawURLEncoding.EncodeToString(sum), err
}

// thumbprintOf is thumbprint for a key that is yet to be read and checked.
func thumbprintOf(jwk json.RawMessage) (string, error) {
	key, err := parseKey(jwk)
	if err != nil {
		return "", err
	}
	return thumbprint(key)
}

// asGet returns an error unless the request is a POST-as-GET (RFC 8555 §6.3).
func (signed *signedRequest) asGet() error {
	if len(signed.payload) > 0 {
		return problemf(malformed, "the payload must be empty: this resource is fetched with POST-as-GET (RFC 8555 §6.3)")
	}
	return nil
}

// decode reads the payload, a JSON object, into v.
func (signed *signedRequest) decode(v any) error {
	if err := exactjson.Unmarshal(signed.payload, v); err != nil {
		return problemf(malformed, "the payload is not a JSON object of the right form: %s", quote(err.Error()))
	}
	return nil
}

// allowMethods reports whether the request has one of the methods; if not, it has answered so.
func allowMethods(w http.ResponseWriter, r *http.Request, methods ...string) bool {
	if slices.Contains(methods, r.Method) {
		return true
	}
	allowed := strings.Join(methods, ", ")
	w.Header().Set("Allow", allowed)
	writeProblem(w, statusProblemf(http.StatusMethodNotAllowed, malformed, "the method is %s; this resource allows %s", quote(r.Method), allowed))
	return false
}
