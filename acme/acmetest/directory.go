package acmetest

import (
	"io"
	"net/http"
)

// directoryMeta is what the directory says of the CA.
type directoryMeta struct {
	Profiles                map[string]string `json:"profiles,omitempty"`
	TermsOfService          string            `json:"termsOfService"`
	CAAIdentities           []string          `json:"caaIdentities"`
	ExternalAccountRequired bool              `json:"externalAccountRequired,omitempty"`
	SubdomainAuthAllowed    bool              `json:"subdomainAuthAllowed,omitempty"`
	AccountHashPrefix       string            `json:"accountHashPrefix,omitempty"` // from draft-ietf-acme-dns-persist-02 on
	IssuerDomainNames       []string          `json:"issuerDomainNames,omitempty"` // likewise
}

// directory answers with the URLs that everything begins from (RFC 8555 §7.1.1).
func (s *Server) directory(w http.ResponseWriter, r *http.Request) {
	if !allowMethods(w, r, http.MethodGet, http.MethodHead) {
		return
	}
	about := directoryMeta{
		Profiles:                s.profileDescriptions(),
		TermsOfService:          s.urlOf("terms", ""),
		CAAIdentities:           []string{issuerDomain},
		ExternalAccountRequired: s.ExternalAccounts != nil,
		SubdomainAuthAllowed:    s.SubdomainAuthorizations,
	}
	if s.HashedAccounts {
		about.AccountHashPrefix, about.IssuerDomainNames = s.accountHashPrefix(), []string{issuerDomain}
	}
	writeJSON(w, http.StatusOK, struct {
		NewNonce    string        `json:"newNonce"`
		NewAccount  string        `json:"newAccount"`
		NewOrder    string        `json:"newOrder"`
		NewAuthz    string        `json:"newAuthz"`
		KeyChange   string        `json:"keyChange"`
		RevokeCert  string        `json:"revokeCert"`
		RenewalInfo string        `json:"renewalInfo"`
		Meta        directoryMeta `json:"meta"`
	}{
		NewNonce:    s.urlOf("newNonce", ""),
		NewAccount:  s.urlOf("newAccount", ""),
		NewOrder:    s.urlOf("newOrder", ""),
		NewAuthz:    s.urlOf("newAuthz", ""),
		KeyChange:   s.urlOf("keyChange", ""),
		RevokeCert:  s.urlOf("revokeCert", ""),
		RenewalInfo: s.urlOf("renewalInfo", ""),
		Meta:        about,
	})
}

// terms answers with the terms of service.
func (s *Server) terms(w http.ResponseWriter, r *http.Request) {
	if !allowMethods(w, r, http.MethodGet, http.MethodHead) {
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = io.WriteString(w, "The certificates of this CA are for tests. Nobody should trust them.\n")
}
