package acmetest_test

import (
	"crypto"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/base32"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/go-jose/go-jose/v4"

	"github.com/everseal/everseal/acme/acmetest"
)

// types returns those of the challenges that an order's only authorization offers.
func (c *client) types(o *order) (types []string) {
	c.t.Helper()
	for _, challenge := range c.authorization(o.Authorizations[0]).Challenges {
		types = append(types, challenge.Type)
	}
	return types
}

func TestOffers(t *testing.T) {
	all := []string{"dns-persist-01", "dns-account-01", "dns-01", "tls-alpn-01", "http-01"}
	other := map[string]acmetest.OtherChallenge{"x-01": {}, "a-01": {}}
	for _, test := range []struct {
		name       string
		challenges []string
		other      map[string]acmetest.OtherChallenge
		want       []string // nil: the order is refused
	}{
		{"example.com", nil, nil, []string{"http-01", "tls-alpn-01", "dns-01"}},
		{"example.com", all, nil, all},
		{"*.example.com", all, nil, all[:3]},
		{"192.0.2.7", all, nil, all[3:]},
		{"192.0.2.7", all[:3], nil, nil},
		{"*.example.com", all[3:], nil, nil},
		{"*.example.com", all[3:], other, []string{"a-01", "x-01"}},
		{"example.com", []string{}, nil, nil},
		{"example.com", all[4:], other, []string{"http-01", "a-01", "x-01"}},
	} {
		t.Run(fmt.Sprint(test.name, test.challenges, len(test.other)), func(t *testing.T) {
			ca := acmetest.NewUnstartedServer()
			defer ca.Close()
			ca.Challenges, ca.OtherChallenges = test.challenges, test.other
			ca.StartInMemory()
			c := newAccount(t, ca)
			if test.want == nil {
				c.post(c.resource("newOrder"), map[string]any{"identifiers": identify(test.name)}).want(http.StatusBadRequest, "rejectedIdentifier")
				return
			}
			if got := c.types(c.newOrder(test.name)); !slices.Equal(got, test.want) {
				t.Errorf("offered %v, want %v", got, test.want)
			}
		})
	}
}

// accountLabel returns the label of an account for dns-account-01.
func accountLabel(account string) string {
	sum := sha256.Sum256([]byte(account))
	return "_" + strings.ToLower(base32.StdEncoding.EncodeToString(sum[:10]))
}

func TestDNSAccount01(t *testing.T) {
	// The example of draft-ietf-acme-dns-account-label §3.2.
	if got := accountLabel("https://example.com/acme/acct/ExampleAccount"); got != "_ujmmovf2vn55tgye" {
		t.Errorf("label %s", got)
	}
	for _, test := range []struct {
		name, host string
		at         func(c *client, name string) string
		want       string
	}{
		{"right", "example.com", func(c *client, name string) string { return accountLabel(c.kid) + "._acme-challenge." + name }, ""},
		{"right, wildcard", "*.example.com", func(c *client, name string) string { return accountLabel(c.kid) + "._acme-challenge." + name }, ""},
		{"of dns-01", "example.com", func(_ *client, name string) string { return "_acme-challenge." + name }, "dns"},
		{"of another account", "example.com", func(c *client, name string) string { return accountLabel(c.kid+"x") + "._acme-challenge." + name }, "dns"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNetwork(t)
				ca := n.newCA(t, func(ca *acmetest.Server) { ca.Challenges = []string{"dns-account-01"} })
				c := newAccount(t, ca)
				got := n.validate(c, test.host, "dns-account-01", func(id identifier, keyAuthorization string) {
					ca.SetTXT(test.at(c, id.Value), "another value", digest(keyAuthorization))
				})
				got.wantProblem(t, test.want, "")
			})
		})
	}
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		ca := n.newCA(t, func(ca *acmetest.Server) { ca.Challenges = []string{"dns-account-01"} })
		c := newAccount(t, ca)
		n.validate(c, "example.com", "dns-account-01", func(id identifier, _ string) {
			ca.SetTXT(accountLabel(c.kid)+"._acme-challenge."+id.Value, "another value")
		}).wantProblem(t, "incorrectResponse", "another value")
	})
}

// thumbprint returns that of the client's key in base64url.
func (c *client) thumbprint() string {
	c.t.Helper()
	sum, err := (&jose.JSONWebKey{Key: c.key.Public()}).Thumbprint(crypto.SHA256)
	if err != nil {
		c.t.Fatal(err)
	}
	return base64.RawURLEncoding.EncodeToString(sum)
}

// hashedAccount returns an account as draft-ietf-acme-dns-persist-02 has it in records.
func hashedAccount(prefix, domain, thumbprint, account string) string {
	sum := sha256.Sum256(append([]byte{byte(len(domain))}, domain+thumbprint+account...))
	return prefix + "sha-256/" + base64.RawURLEncoding.EncodeToString(sum[:])
}

// A persistTest is what is at the TXT record for dns-persist-01, in which ACCOUNT stands for the account, and
// what a validation makes of it.
type persistTest struct {
	name, host   string
	values       []string
	want, detail string
}

func persistTests() []persistTest {
	const right = "acmetest.invalid; accounturi=ACCOUNT"
	return []persistTest{
		{"right", "example.com", []string{right}, "", ""},
		{"right, with less white space", "example.com", []string{"acmetest.invalid;accounturi=ACCOUNT"}, "", ""},
		{"right, with more white space", "example.com", []string{" \tacmetest.invalid ;\taccounturi = ACCOUNT "}, "", ""},
		{"tags in capitals", "example.com", []string{"acmetest.invalid; AccountURI=ACCOUNT; POLICY=none"}, "", ""},
		{"unknown parameters", "example.com", []string{right + "; x-1=; y=a=b"}, "", ""},
		{"among others", "example.com", []string{"v=spf1", "ca.example; accounturi=ACCOUNT;", "acmetest.invalid; accounturi=https://ca.example/1", right}, "", ""},
		{"until later", "example.com", []string{right + "; persistUntil=946684861"}, "", ""}, // a minute into the bubble
		{"until before", "example.com", []string{right + "; persistUntil=946684799"}, "unauthorized", "1999-12-31T23:59:59Z"},
		{"until a date", "example.com", []string{right + "; persistUntil=2030-01-01"}, "malformed", "persistUntil"},
		{"wildcard", "*.example.com", []string{right + "; policy=WildCard"}, "", ""},
		{"wildcard without its policy", "*.example.com", []string{right}, "unauthorized", "policy=wildcard"},
		{"wildcard with another policy", "*.example.com", []string{right + "; policy=all"}, "unauthorized", "policy=wildcard"},
		{"nothing", "example.com", nil, "dns", "_validation-persist.example.com"},
		{"another CA", "example.com", []string{"ca.example; accounturi=ACCOUNT"}, "unauthorized", "acmetest.invalid"},
		{"another account", "example.com", []string{"acmetest.invalid; accounturi=https://ca.example/1"}, "unauthorized", "another account"},
		{"account in capitals", "example.com", []string{strings.Replace(right, "ACCOUNT", "HTTPS:ACCOUNT", 1)}, "unauthorized", "another account"},
		{"no account", "example.com", []string{"acmetest.invalid; policy=wildcard"}, "malformed", "accounturi"},
		{"only the CA", "example.com", []string{"acmetest.invalid"}, "malformed", "accounturi"},
		{"only the CA and a semicolon", "example.com", []string{"acmetest.invalid;"}, "malformed", "accounturi"},
		{"semicolon at the end", "example.com", []string{right + ";"}, "malformed", "parameter"},
		{"semicolons in a row", "example.com", []string{"acmetest.invalid;; accounturi=ACCOUNT"}, "malformed", "parameter"},
		{"twice", "example.com", []string{right + "; AccountURI=ACCOUNT"}, "malformed", "twice"},
		{"no value", "example.com", []string{right + "; policy"}, "malformed", "parameter"},
		{"no tag", "example.com", []string{right + "; =wildcard"}, "malformed", "parameter"},
		{"white space in a value", "example.com", []string{right + "; x=a b"}, "malformed", "characters"},
		{"beyond ASCII", "example.com", []string{right + "; x=ä"}, "malformed", "characters"},
	}
}

func TestDNSPersist01(t *testing.T) {
	for _, hashed := range []bool{false, true} {
		for _, test := range persistTests() {
			t.Run(fmt.Sprintf("%s, hashed %v", test.name, hashed), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					n := newNetwork(t)
					ca := n.newCA(t, func(ca *acmetest.Server) { ca.Challenges, ca.HashedAccounts = []string{"dns-persist-01"}, hashed })
					c := newAccount(t, ca)
					got := n.validate(c, test.host, "dns-persist-01", func(id identifier, _ string) {
						account := c.kid
						if hashed {
							account = hashedAccount(accountHashPrefix(t, c), id.Value, c.thumbprint(), c.kid)
						}
						var values []string
						for _, value := range test.values {
							values = append(values, strings.ReplaceAll(value, "ACCOUNT", account))
						}
						ca.SetTXT("_validation-persist."+id.Value, values...)
					})
					got.wantProblem(t, test.want, test.detail)
				})
			})
		}
	}
}

func accountHashPrefix(t *testing.T, c *client) string {
	t.Helper()
	meta, _ := c.directory["meta"].(map[string]any)
	prefix, _ := meta["accountHashPrefix"].(string)
	if !strings.HasPrefix(prefix, "https://") || !slices.Equal(meta["issuerDomainNames"].([]any), []any{"acmetest.invalid"}) {
		t.Fatalf("meta %v", meta)
	}
	return prefix
}

// What a hash may be of, and that the other format's accounts are not taken.
func TestDNSPersist01Accounts(t *testing.T) {
	// The example of draft-ietf-acme-dns-persist-02 §10.2, with the key of RFC 7638 §3.1.
	if got := hashedAccount("", "example.com", "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs", "https://ca.example/acct/123"); got != "sha-256/5SQm7n6tPh2-PlLbCKGnViTXX5z19SCN4cPGQHSk-kw" {
		t.Errorf("hash %s", got)
	}
	for _, test := range []struct {
		name   string
		hashed bool
		uri    func(c *client, prefix string) string
		want   string
	}{
		{"hash for any domain", true, func(c *client, prefix string) string { return hashedAccount(prefix, "*", c.thumbprint(), c.kid) }, ""},
		{"hash for another domain", true, func(c *client, prefix string) string {
			return hashedAccount(prefix, "example.org", c.thumbprint(), c.kid)
		}, "unauthorized"},
		{"hash of another key", true, func(c *client, prefix string) string {
			return hashedAccount(prefix, "example.com", c.thumbprint()+"x", c.kid)
		}, "unauthorized"},
		{"URL instead of a hash", true, func(c *client, _ string) string { return c.kid }, "unauthorized"},
		{"hash instead of the URL", false, func(c *client, _ string) string {
			return hashedAccount("https://acmetest.invalid/accountHash/", "example.com", c.thumbprint(), c.kid)
		}, "unauthorized"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNetwork(t)
				ca := n.newCA(t, func(ca *acmetest.Server) {
					ca.Challenges, ca.HashedAccounts = []string{"dns-persist-01"}, test.hashed
				})
				c := newAccount(t, ca)
				prefix := ""
				if test.hashed {
					prefix = accountHashPrefix(t, c)
				}
				n.validate(c, "example.com", "dns-persist-01", func(identifier, string) {
					ca.SetTXT("_validation-persist.example.com", "acmetest.invalid; accounturi="+test.uri(c, prefix))
				}).wantProblem(t, test.want, "")
			})
		})
	}
}

// The members of the challenge are what tells the formats apart.
func TestDNSPersist01Challenge(t *testing.T) {
	for _, hashed := range []bool{false, true} {
		ca := acmetest.NewUnstartedServer()
		defer ca.Close()
		ca.Challenges, ca.HashedAccounts = []string{"dns-persist-01"}, hashed
		ca.StartInMemory()
		c := newAccount(t, ca)
		var a struct{ Challenges []map[string]any }
		c.post(c.newOrder("example.com").Authorizations[0], nil).want(http.StatusOK, "").decode(&a)
		got := a.Challenges[0]
		want := map[string]any{"type": "dns-persist-01", "status": "pending", "url": got["url"]}
		if hashed {
			want["issuerDomainNames"] = []any{"acmetest.invalid"}
		} else {
			want["issuer-domain-names"], want["accounturi"] = []any{"acmetest.invalid"}, c.kid
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("challenge %v, want %v", got, want)
		}
	}
}

func TestOtherChallenges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		ca := n.newCA(t, func(ca *acmetest.Server) {
			ca.Challenges = []string{"dns-01"}
			ca.OtherChallenges = map[string]acmetest.OtherChallenge{
				"device-attest-01": {Validate: func(payload []byte) error {
					if string(payload) != `{"attObj":"right"}` {
						return errors.New("no such device")
					}
					return nil
				}},
				"onion-csr-01": {NoToken: true, Fields: map[string]any{"nonce": "bm9uY2U", "authKey": map[string]any{"kty": "EC"}}},
			}
		})
		c := newAccount(t, ca)
		offer := func(challengeType string) (o *order, got map[string]any) {
			o = c.newOrder("example.com")
			var a struct{ Challenges []map[string]any }
			c.post(o.Authorizations[0], nil).want(http.StatusOK, "").decode(&a)
			i := slices.IndexFunc(a.Challenges, func(one map[string]any) bool { return one["type"] == challengeType })
			return o, a.Challenges[i]
		}
		for _, test := range []struct{ challengeType, payload, want string }{
			{"device-attest-01", `{"attObj":"right"}`, "ready"},
			{"device-attest-01", `{"attObj":"wrong"}`, "invalid"},
			{"onion-csr-01", `{"csr":"x"}`, "invalid"},
		} {
			o, challenge := offer(test.challengeType)
			_, hasToken := challenge["token"]
			if onion := test.challengeType == "onion-csr-01"; onion == hasToken || onion != (challenge["nonce"] == "bm9uY2U" && challenge["authKey"] != nil) {
				t.Errorf("challenge %v", challenge)
			}
			c.post(challenge["url"].(string), json.RawMessage(`["no object"]`)).want(http.StatusBadRequest, "malformed")
			c.post(challenge["url"].(string), json.RawMessage(test.payload)).want(http.StatusOK, "")
			synctest.Wait()
			if got := c.getOrder(o.URL); got.Status != test.want || test.want == "invalid" && got.Error.kind() != "unauthorized" {
				t.Errorf("order %+v after %s, want it %s", got, test.payload, test.want)
			}
		}
		_, challenge := offer("dns-01")
		c.post(challenge["url"].(string), json.RawMessage(`{"attObj":"right"}`)).want(http.StatusBadRequest, "malformed")
	})
}

func TestOffersPanic(t *testing.T) {
	for _, change := range []func(*acmetest.Server){
		func(ca *acmetest.Server) { ca.Challenges = []string{"http-02"} },
		func(ca *acmetest.Server) { ca.OtherChallenges = map[string]acmetest.OtherChallenge{"http-01": {}} },
	} {
		ca := acmetest.NewUnstartedServer()
		defer ca.Close()
		change(ca)
		func() {
			defer func() {
				if got := fmt.Sprint(recover()); !strings.Contains(got, "acmetest: ") || !strings.Contains(got, "Challenges") {
					t.Errorf("panic %q", got)
				}
			}()
			ca.StartInMemory()
		}()
	}
}

// After a change of the key, records with a hash of the old one answer nothing.
func TestDNSPersist01AfterKeyChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		ca := n.newCA(t, func(ca *acmetest.Server) { ca.Challenges, ca.HashedAccounts = []string{"dns-persist-01"}, true })
		c := newAccount(t, ca)
		record := "acmetest.invalid; accounturi=" + hashedAccount(accountHashPrefix(t, c), "example.com", c.thumbprint(), c.kid)
		present := func(identifier, string) { ca.SetTXT("_validation-persist.example.com", record) }
		n.validate(c, "example.com", "dns-persist-01", present).wantProblem(t, "", "")
		key := newKey(t, elliptic.P384())
		c.changeKey(key, nil).want(http.StatusOK, "")
		c.key = key
		n.validate(c, "example.com", "dns-persist-01", present).wantProblem(t, "unauthorized", "another account")
	})
}
