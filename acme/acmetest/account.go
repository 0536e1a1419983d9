package acmetest

import (
	"cmp"
	"encoding/json"
	"net/http"
	"net/mail"
	"net/url"
	"slices"
	"strings"
	"unicode"

	"github.com/go-jose/go-jose/v4"
)

// An Account is what the server keeps of an account (RFC 8555 §7.1.2). Written down as JSON by
// [Server.OnAccount] and put into [Server.Accounts] of a later server, it is known there too.
type Account struct {
	ID      string          `json:"id"`                // the end of the account's URL
	Key     json.RawMessage `json:"key"`               // public, as a JWK
	Status  string          `json:"status"`            // "valid", as if it is empty, or "deactivated"
	Contact []string        `json:"contact,omitempty"` // URLs, such as "mailto:admin@example.com"
	// ExternalAccountBinding is the binding that the account was made with, if any (RFC 8555 §7.3.4).
	ExternalAccountBinding json.RawMessage `json:"externalAccountBinding,omitempty"`
}

// An account is an Account at work. Server.mu guards what changes, its key included.
type account struct {
	Account
	key        *jose.JSONWebKey
	thumbprint string
}

// clone returns a copy that shares nothing that may change.
func (a *account) clone() Account {
	c := a.Account
	c.Contact = slices.Clone(c.Contact)
	return c
}

// loadAccounts makes the accounts from before known.
func (s *Server) loadAccounts() error {
	for _, kept := range s.Accounts {
		kept.Status = cmp.Or(kept.Status, statusValid)
		switch {
		case kept.ID == "" || strings.Contains(kept.ID, "/"):
			return problemf(serverInternal, "an account in Accounts has no ID, or one with a slash: %q", kept.ID)
		case kept.Status != statusValid && kept.Status != statusDeactivated:
			return problemf(serverInternal, "account %q in Accounts: the status is %q; \"valid\" and \"deactivated\" are possible", kept.ID, kept.Status)
		}
		key, err := parseKey(kept.Key)
		if err != nil {
			return problemf(serverInternal, "account %q in Accounts: %v", kept.ID, err)
		}
		a := &account{Account: kept, key: key}
		if a.thumbprint, err = thumbprint(key); err != nil {
			return err
		}
		s.addAccount(a)
	}
	return nil
}

// addAccount is called with s.mu held, or before the server runs.
func (s *Server) addAccount(a *account) {
	s.accounts[a.ID] = a
	s.accountsByKey[a.thumbprint] = a
}

// An accountRequest is the payload of newAccount and of an account's update (RFC 8555 §7.3, §7.3.2).
type accountRequest struct {
	Status                 string          `json:"status"`
	Contact                *[]string       `json:"contact"`
	TermsOfServiceAgreed   bool            `json:"termsOfServiceAgreed"`
	OnlyReturnExisting     bool            `json:"onlyReturnExisting"`
	ExternalAccountBinding json.RawMessage `json:"externalAccountBinding"`
}

// newAccount creates an account, or finds the one that the key has (RFC 8555 §7.3).
func (s *Server) newAccount(w http.ResponseWriter, r *http.Request, signed *signedRequest) error {
	var request accountRequest
	if err := signed.decode(&request); err != nil {
		return err
	}
	keyPrint, err := thumbprint(signed.key)
	if err != nil {
		return err
	}
	s.accountChange <- struct{}{} // one at a time, each kept before the next
	defer func() { <-s.accountChange }()

	s.mu.Lock()
	existing := s.accountsByKey[keyPrint]
	deactivated := existing != nil && existing.Status != statusValid
	s.mu.Unlock()
	switch {
	case deactivated:
		return errNotValid(existing)
	case existing != nil:
		return s.answerAccount(w, http.StatusOK, existing)
	case request.OnlyReturnExisting:
		return problemf(accountDoesNotExist, "no account has this key")
	case !request.TermsOfServiceAgreed:
		p := problemf(userActionRequired, "the terms of service at %s must be agreed to", s.urlOf("terms", ""))
		p.Instance = s.urlOf("terms", "")
		w.Header().Add("Link", "<"+p.Instance+`>;rel="terms-of-service"`)
		return p
	}
	created, err := s.makeAccount(&request, signed)
	if err != nil {
		return err
	}
	created.thumbprint = keyPrint
	s.mu.Lock()
	if err = s.checkCompromised(keyPrint, badPublicKey); err == nil {
		err = s.admitAccount(r)
	}
	if err == nil {
		s.addAccount(created)
	}
	s.mu.Unlock()
	if err != nil {
		return err
	}
	s.keepAccount(created)
	s.log.InfoContext(r.Context(), "account created", "account", created.ID)
	return s.answerAccount(w, http.StatusCreated, created)
}

// makeAccount checks what newAccount asks for.
func (s *Server) makeAccount(request *accountRequest, signed *signedRequest) (*account, error) {
	if request.Contact == nil {
		request.Contact = new([]string)
	}
	if err := checkContacts(*request.Contact); err != nil {
		return nil, err
	}
	if err := s.checkExternalAccount(request.ExternalAccountBinding, signed); err != nil {
		return nil, err
	}
	jwk, err := signed.key.MarshalJSON()
	if err != nil {
		return nil, err
	}
	return &account{key: signed.key, Account: Account{
		ID:                     randomID(),
		Key:                    jwk,
		Status:                 statusValid,
		Contact:                *request.Contact,
		ExternalAccountBinding: request.ExternalAccountBinding,
	}}, nil
}

// account shows, changes or deactivates the account that asks (RFC 8555 §7.3.2, §7.3.6).
func (s *Server) account(w http.ResponseWriter, r *http.Request, signed *signedRequest) error {
	if signed.account.ID != r.PathValue("id") {
		return problemf(unauthorized, "an account can fetch and change itself only")
	}
	var request accountRequest
	if len(signed.payload) > 0 {
		if err := signed.decode(&request); err != nil {
			return err
		}
	}
	if request.Status != "" && request.Status != statusDeactivated {
		return problemf(malformed, "the status is %s; \"deactivated\" is the only one that can be asked for", quote(request.Status))
	}
	if request.Contact != nil {
		if err := checkContacts(*request.Contact); err != nil {
			return err
		}
	}
	switch {
	case request.Contact != nil || request.Status != "":
		s.changeAccount(signed.account, &request)
	case len(signed.payload) > 0:
		return problemf(malformed, "the update changes nothing; an account is fetched with POST-as-GET (RFC 8555 §6.3)")
	}
	return s.answerAccount(w, http.StatusOK, signed.account)
}

func (s *Server) changeAccount(a *account, request *accountRequest) {
	s.accountChange <- struct{}{}
	defer func() { <-s.accountChange }()
	s.mu.Lock()
	if request.Contact != nil {
		a.Contact = *request.Contact
	}
	if request.Status != "" {
		a.Status = request.Status
	}
	s.mu.Unlock()
	s.keepAccount(a)
}

// keepAccount is called with s.accountChange taken.
func (s *Server) keepAccount(a *account) {
	if s.OnAccount == nil {
		return
	}
	s.mu.Lock()
	kept := a.clone()
	s.mu.Unlock()
	s.OnAccount(kept)
}

func (s *Server) answerAccount(w http.ResponseWriter, status int, a *account) error {
	s.mu.Lock()
	shown := a.clone()
	s.mu.Unlock()
	w.Header().Set("Location", s.urlOf("account", a.ID))
	writeJSON(w, status, struct {
		Status                 string          `json:"status"`
		Contact                []string        `json:"contact,omitempty"`
		TermsOfServiceAgreed   bool            `json:"termsOfServiceAgreed"`
		Orders                 string          `json:"orders"`
		ExternalAccountBinding json.RawMessage `json:"externalAccountBinding,omitempty"`
	}{shown.Status, shown.Contact, true, s.urlOf("orders", a.ID), shown.ExternalAccountBinding})
	return nil
}

func errNotValid(a *account) error {
	return statusProblemf(http.StatusUnauthorized, unauthorized, "the account %s is %s", a.ID, a.Status)
}

// maxContacts is the most contacts that an account may have.
const maxContacts = 2

// checkContacts checks an account's contacts (RFC 8555 §7.3): one plain address in each mailto URL.
func checkContacts(contacts []string) error {
	if len(contacts) > maxContacts {
		return problemf(malformed, "there are %d contacts; %d are possible", len(contacts), maxContacts)
	}
	for _, contact := range contacts {
		u, err := url.Parse(contact)
		if err != nil || u.Scheme == "" {
			return problemf(invalidContact, "the contact %s is not a URL", quote(contact))
		}
		if u.Scheme != "mailto" {
			return problemf(unsupportedContact, "the contact %s is not a mailto URL", quote(contact))
		}
		address, err := url.PathUnescape(u.Opaque)
		if err != nil || u.RawQuery != "" || u.ForceQuery || strings.Contains(contact, "#") {
			return problemf(invalidContact, "the contact %s has header fields, a fragment, or is not well-formed", quote(contact))
		}
		parsed, err := mail.ParseAddress(address)
		if err != nil || parsed.Address != address || strings.ContainsFunc(address, func(r rune) bool { return r > unicode.MaxASCII }) {
			return problemf(invalidContact, "the contact %s does not hold one plain e-mail address in ASCII", quote(contact))
		}
		domain := strings.ToLower(address[strings.LastIndexByte(address, '@')+1:])
		if !strings.Contains(domain, ".") || strings.HasPrefix(domain, "*") || checkDomain(domain) != nil {
			return problemf(invalidContact, "the contact %s has no full domain name", quote(contact))
		}
	}
	return nil
}
