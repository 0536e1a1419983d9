package etcd

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/url"
	"os"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/everseal/everseal/storage"
	"github.com/everseal/everseal/storage/internal/enginetest"
	"github.com/everseal/everseal/storage/internal/server"
)

// startSecured starts a member that wants TLS and a client certificate, which it has written beside it.
func startSecured(t *testing.T) (s *server.Server, certificate, key string) {
	t.Helper()
	s, err := newMember("--unsafe-no-fsync")
	if err == nil {
		certificate, key, err = s.Certificate()
	}
	if err == nil {
		for i, argument := range s.Arguments {
			if argument == "--listen-client-urls" || argument == "--advertise-client-urls" {
				s.Arguments[i+1] = "https://" + s.Address()
			}
		}
		s.Arguments = append(s.Arguments, "--cert-file", certificate, "--key-file", key, "--trusted-ca-file", certificate, "--client-cert-auth")
	}
	return start(t, s, err), certificate, key
}

// enableAuth makes users: root; a writer, with a password, who may read and write below the prefix; a reader, who may only
// read there; and the one that the client certificate names, who may write there too.
func enableAuth(t *testing.T, admin *clientv3.Client, prefix string) {
	t.Helper()
	ctx := t.Context()
	for role, may := range map[string]clientv3.PermissionType{"writer": clientv3.PermissionType(clientv3.PermReadWrite), "reader": clientv3.PermissionType(clientv3.PermRead)} {
		_, err := admin.RoleAdd(ctx, role)
		if err == nil {
			_, err = admin.RoleGrantPermission(ctx, role, prefix, clientv3.GetPrefixRangeEnd(prefix), may)
		}
		if err == nil {
			_, err = admin.UserAdd(ctx, role, password)
		}
		if err == nil {
			_, err = admin.UserGrantRole(ctx, role, role)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	_, err := admin.UserAddWithOptions(ctx, "server", "", &clientv3.UserAddOptions{NoPassword: true})
	if err == nil {
		_, err = admin.UserGrantRole(ctx, "server", "writer")
	}
	if err == nil {
		_, err = admin.UserAdd(ctx, "root", password)
	}
	if err == nil {
		_, err = admin.UserGrantRole(ctx, "root", "root")
	}
	if err == nil {
		_, err = admin.AuthEnable(ctx)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// A program needs a role that may read and write below its prefix, and no more. Its user is one with a password, or the one
// that its client certificate names.
func TestLeastPrivileges(t *testing.T) {
	member, certificate, key := startSecured(t)
	secured := fmt.Sprintf("@%s/mine?ca=%s&cert=%s&key=%s", member.Address(), certificate, certificate, key)
	as := func(user, password string) string {
		return "etcd://" + url.UserPassword(user, password).String() + secured
	}
	enableAuth(t, newClient(t, configOf(t, member, certificate, key)), "mine/")

	byName := "etcd://" + secured[1:]
	for _, d := range []target{{as("writer", password)}, {byName}} {
		wantWorks(t, d.open(t), d.open(t))
	}
	wantFailures(t,
		failing{"wrong password", as("writer", secret), []string{"authentication failed", "correct user and password"}},
		failing{"no such user", as("nobody", secret), []string{"authentication failed", "correct user and password"}},
		failing{"unknown CA", "etcd://" + member.Address() + "/mine?tls=true", []string{"x509", "agree on TLS"}},
		failing{"no client certificate", "etcd://" + member.Address() + "/mine?ca=" + certificate, []string{"client certificate"}},
	)
	for name, raw := range map[string]string{
		"read only":      as("reader", password),
		"another prefix": "etcd://" + url.UserPassword("writer", password).String() + "@" + member.Address() + "/other?" + secured[len("@"+member.Address()+"/mine?"):],
		"plain":          "etcd://" + member.Address() + "/mine",
	} {
		_, err := target{raw}.open(t).Save(t.Context(), "a", nil, "")
		want := "readwrite on the prefix"
		if name == "plain" {
			want = "whether they want TLS"
		}
		wanted.Want(t, err, want)
	}

	// The member forgets all tokens when it is killed, and the client gets another.
	s := target{as("writer", password)}.open(t)
	save(t, s, "before")
	member.End(os.Kill)
	if err := member.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	enginetest.Until(t, func() (storage.Item, error) { return s.Load(t.Context(), "before") })
	save(t, s, "before")
}

// configOf returns what a client needs for a secured member.
func configOf(t *testing.T, member *server.Server, certificate, key string) clientv3.Config {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(certificate, key)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(certificate)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(text)
	return clientv3.Config{Endpoints: []string{"https://" + member.Address()}, TLS: &tls.Config{Certificates: []tls.Certificate{pair}, RootCAs: roots}}
}

// wantWorks uses all that two handles on one place can do.
func wantWorks(t *testing.T, s, other *Store) {
	t.Helper()
	if err := storage.Check(t.Context(), s); err != nil {
		t.Error(err)
	}
	w := startWatch(t.Context(), t, s, "work")
	lease, err := storage.Acquire(t.Context(), other, "work/a", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	w.want(t, "work/a")
	for record, err := range s.Scan(t.Context(), "work", "") {
		if err != nil || record.Key != "work/a" {
			t.Errorf("Scan yields %q, %v", record.Key, err)
		}
	}
	owner, _ := markOwner(t, other)
	wantDead(t, s, owner, false)
	if err := lease.Delete(t.Context()); err != nil {
		t.Error(err)
	}
}
