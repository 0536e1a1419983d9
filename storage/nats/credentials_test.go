package nats

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"

	"github.com/everseal/everseal/storage/internal/server"
)

// An identity is a key with its public part, as operators, accounts and users have one.
type identity struct {
	nkeys.KeyPair
	public string
}

func newIdentity(t *testing.T, create func() (nkeys.KeyPair, error)) identity {
	t.Helper()
	pair, err := create()
	if err != nil {
		t.Fatal(err)
	}
	public, err := pair.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	return identity{pair, public}
}

// signed returns the claims as a JWT of the one who signs them.
func (i identity) signed(t *testing.T, claims interface {
	Encode(nkeys.KeyPair) (string, error)
}) string {
	t.Helper()
	token, err := claims.Encode(i)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// credentials writes the file that nsc writes for a user of the account, and returns its path.
func (i identity) credentials(t *testing.T, s *server.Server, name string, permissions jwt.Permissions) string {
	t.Helper()
	user := newIdentity(t, nkeys.CreateUser)
	claims := jwt.NewUserClaims(user.public)
	claims.Permissions = permissions
	seed, err := user.Seed()
	if err != nil {
		t.Fatal(err)
	}
	content, err := jwt.FormatUserConfig(i.signed(t, claims), seed)
	if err != nil {
		t.Fatal(err)
	}
	path, err := s.Write(name, string(content))
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// A user of an operator's account, as nsc makes them, opens the bucket by the file of its credentials, with the rights that the
// documentation lists.
func TestCredentials(t *testing.T) {
	operator, account, system := newIdentity(t, nkeys.CreateOperator), newIdentity(t, nkeys.CreateAccount), newIdentity(t, nkeys.CreateAccount)
	claims := jwt.NewAccountClaims(account.public)
	claims.Limits.JetStreamLimits = jwt.JetStreamLimits{MemoryStorage: -1, DiskStorage: -1, Streams: -1, Consumer: -1}
	s, err := newServer("operator: "+operator.signed(t, jwt.NewOperatorClaims(operator.public)), "resolver: MEMORY", "system_account: "+system.public,
		fmt.Sprintf("resolver_preload: { %s: %s, %s: %s }", account.public, operator.signed(t, claims), system.public, operator.signed(t, jwt.NewAccountClaims(system.public))))
	s = start(t, s, err)
	admin := account.credentials(t, s, "admin.creds", jwt.Permissions{})
	program := account.credentials(t, s, "program.creds", jwt.Permissions{Pub: jwt.Permission{Allow: mayPublish}, Sub: jwt.Permission{Allow: mayHear}})
	foreign := newIdentity(t, nkeys.CreateAccount).credentials(t, s, "foreign.creds", jwt.Permissions{})
	as := func(file, more string) target {
		return target{"nats://" + s.Address() + "/mine?creds=" + file + more}
	}
	save(t, as(admin, "").open(t), "before") // makes the bucket
	d := as(program, "&inbox=_INBOX_program")
	wantWorks(t, d.open(t), d.open(t))
	for file, parts := range map[string][]string{
		foreign:                                {"uthorization", "correct user and password"},
		filepath.Join(s.Folder, "server.conf"): {"server.conf"},
	} {
		_, err := Open(t.Context(), as(file, "").url, Config{})
		wanted.Want(t, err, parts...)
	}
}

// A server at the edge leads its clients to the bucket of the hub, which is in another domain of JetStream than its own.
func TestDomain(t *testing.T) {
	port, err := server.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	jetStream := func(s *server.Server, domain string) string {
		return fmt.Sprintf("jetstream { store_dir: %q, domain: %s }", filepath.Join(s.Folder, "data"), domain)
	}
	hub, err := newServer()
	if err == nil {
		err = configure(hub, jetStream(hub, "hub"), `leafnodes { listen: "127.0.0.1:`+port+`" }`, "server_name: hub")
	}
	hub = start(t, hub, err)
	edge, err := newServer()
	if err == nil {
		err = configure(edge, jetStream(edge, "edge"), `leafnodes { remotes: [ { url: "nats://127.0.0.1:`+port+`" } ] }`, "server_name: edge")
	}
	edge = start(t, edge, err)
	at := func(s *server.Server, more string) target { return target{"nats://" + s.Address() + "/mine" + more} }
	d := at(edge, "?domain=hub")
	wantWorks(t, d.open(t), d.open(t))
	save(t, d.open(t), "afar")
	if _, err := at(hub, "").open(t).Load(t.Context(), "afar"); err != nil {
		t.Errorf("the hub does not have it: %v", err)
	}
	if _, err := at(edge, "").open(t).Load(t.Context(), "afar"); err == nil {
		t.Error("the edge has it in a bucket of its own")
	}
}
