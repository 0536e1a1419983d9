package acmetest

import (
	"encoding/json"
	"net/http"

	"github.com/go-jose/go-jose/v4"
	exactjson "github.com/go-jose/go-jose/v4/json" // tells members apart by case, and takes none twice
)

// keyChange gives the account that asks another key (RFC 8555 §7.3.5). The account's URL stays.
func (s *Server) keyChange(w http.ResponseWriter, _ *http.Request, signed *signedRequest) error {
	inner, key, err := verifyKeyChange(signed)
	if err != nil {
		return err
	}
	var change struct {
		Account string          `json:"account"`
		OldKey  json.RawMessage `json:"oldKey"`
	}
	if err := exactjson.Unmarshal(inner.decoded, &change); err != nil {
		return problemf(malformed, "the key change's inner payload is not a JSON object of the right form: %s", quote(err.Error()))
	}
	if change.Account != s.urlOf("account", signed.account.ID) {
		return problemf(malformed, "the key change is for the account %s, yet another one signed the request", quote(change.Account))
	}
	oldPrint, err := thumbprintOf(change.OldKey)
	if err != nil {
		return problemf(malformed, "the key change's oldKey is not a JWK that an account may have")
	}
	newPrint, err := thumbprint(key)
	if err != nil {
		return err
	}
	s.accountChange <- struct{}{}
	defer func() { <-s.accountChange }()
	if err := s.replaceKey(w, signed.account, oldPrint, &account{key: key, thumbprint: newPrint}); err != nil {
		return err
	}
	s.keepAccount(signed.account)
	return s.answerAccount(w, http.StatusOK, signed.account)
}

// verifyKeyChange returns the inner JWS of a key change, and the new key, which has signed it.
func verifyKeyChange(outer *signedRequest) (*flattenedJWS, *jose.JSONWebKey, error) {
	inner, err := parseInnerJWS("key change", outer.payload)
	if err != nil {
		return nil, nil, err
	}
	switch header := &inner.header; {
	case header.Nonce != nil:
		return nil, nil, problemf(malformed, "the key change's inner JWS must not have a nonce")
	case header.JWK == nil || header.KeyID != nil:
		return nil, nil, problemf(malformed, "the key change's inner JWS must have \"jwk\", the new key, and no \"kid\"")
	case header.URL == nil || *header.URL != outer.url:
		return nil, nil, problemf(malformed, "the url of the key change's inner JWS is not %s", quote(outer.url))
	}
	if err := checkAlgorithm(inner.header.Algorithm); err != nil {
		return nil, nil, err
	}
	key, err := parseKey(inner.header.JWK)
	if err != nil {
		return nil, nil, err
	}
	return inner, key, inner.verify(key)
}

// replaceKey gives the account the key of next if its key still has the thumbprint old. It is called
// with s.accountChange taken.
func (s *Server) replaceKey(w http.ResponseWriter, a *account, old string, next *account) error {
	jwk, err := next.key.MarshalJSON()
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if a.thumbprint != old {
		return problemf(malformed, "the key change's oldKey is not the account's key")
	}
	if owner := s.accountsByKey[next.thumbprint]; owner != nil {
		w.Header().Set("Location", s.urlOf("account", owner.ID))
		return statusProblemf(http.StatusConflict, malformed, "the new key is that of the account %s", owner.ID)
	}
	if err := s.checkCompromised(next.thumbprint, badPublicKey); err != nil {
		return err
	}
	delete(s.accountsByKey, old)
	a.Key, a.key, a.thumbprint = jwk, next.key, next.thumbprint
	s.addAccount(a)
	return nil
}
