package nats

import (
	"fmt"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nkeys"

	"github.com/everseal/everseal/storage"
	"github.com/everseal/everseal/storage/internal/enginetest"
)

// mayPublish and mayHear are what the package's documentation lists for a user, and the bucket mine.
var (
	mayPublish = []string{"$KV.mine.>", "$JS.API.STREAM.INFO.KV_mine", "$JS.API.STREAM.MSG.GET.KV_mine", "$JS.API.STREAM.PURGE.KV_mine",
		"$JS.API.CONSUMER.CREATE.KV_mine.>", "$JS.API.CONSUMER.INFO.KV_mine.>", "$JS.API.CONSUMER.MSG.NEXT.KV_mine.>", "$JS.API.CONSUMER.DELETE.KV_mine.>"}
	mayHear = []string{"_INBOX_program.>"}
)

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
	cursor := ""
	for record, err := range s.Scan(t.Context(), "work", "") {
		if err != nil || record.Key != "work/a" {
			t.Errorf("Scan yields %q, %v", record.Key, err)
		}
		cursor = record.Cursor
	}
	for record, err := range s.Scan(t.Context(), "work", cursor) {
		t.Errorf("Scan after the last record yields %q, %v", record.Key, err)
	}
	if err := lease.Delete(t.Context()); err != nil {
		t.Error(err)
	}
}

// A program needs what the documentation lists and no more, by a password, a key, or a client certificate, and over TLS.
func TestLeastPrivileges(t *testing.T) {
	pair, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	public, err := pair.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	seed, err := pair.Seed()
	if err != nil {
		t.Fatal(err)
	}
	leastPrivileges := fmt.Sprintf(`permissions: { publish: [ "%s" ], subscribe: [ "%s" ] }`, strings.Join(mayPublish, `", "`), strings.Join(mayHear, `", "`))
	node, err := newServer()
	var certificate, key, seedFile string
	if err == nil {
		certificate, key, err = node.Certificate()
	}
	if err == nil {
		seedFile, err = node.Write("program.nk", string(seed))
	}
	if err == nil {
		err = configure(node,
			fmt.Sprintf(`tls: { cert_file: %q, key_file: %q, ca_file: %q, verify: true }`, certificate, key, certificate),
			fmt.Sprintf(`authorization: { users: [ { user: admin, password: admin }, { user: program, password: %q, %s }, { nkey: %s, %s },`, password, leastPrivileges, public, leastPrivileges),
			fmt.Sprintf(`{ user: reader, password: %q, permissions: { publish: ["$JS.API.STREAM.INFO.KV_mine", "$JS.API.STREAM.MSG.GET.KV_mine"], subscribe: ["_INBOX.>"] } } ] }`, password))
	}
	node = start(t, node, err)
	files := fmt.Sprintf("?ca=%s&cert=%s&key=%s", certificate, certificate, key)
	as := func(user *url.Userinfo, bucket, more string) target {
		identity := ""
		if user != nil {
			identity = user.String() + "@"
		}
		return target{"nats://" + identity + node.Address() + "/" + bucket + files + more}
	}
	admin := as(url.UserPassword("admin", "admin"), "mine", "").open(t) // makes the bucket
	save(t, admin, "before")
	const inbox = "&inbox=_INBOX_program"
	program := url.UserPassword("program", password)
	for _, d := range []target{as(program, "mine", inbox), as(nil, "mine", inbox+"&nkey="+seedFile)} {
		wantWorks(t, d.open(t), d.open(t))
	}

	refused := func(d target, want ...string) {
		t.Helper()
		s, err := Open(t.Context(), d.url, Config{})
		if err == nil {
			_, err = s.Load(t.Context(), "a")
			_ = s.Close()
		}
		wanted.Want(t, err, want...)
	}
	refused(as(url.UserPassword("program", secret), "mine", inbox), "uthorization", "correct user and password")
	refused(as(program, "other", inbox), "ermissions", "grant the user")
	refused(target{"nats://" + program.String() + "@" + node.Address() + "/mine?tls=false"}, "TLS")
	refused(target{"nats://" + node.Address() + "/mine?tls=true"}, "TLS")
	unknown := strings.Replace(as(program, "mine", inbox).url, "?ca="+certificate+"&", "?", 1)
	refused(target{unknown}, "x509", "give the CA that has signed the servers' certificates (ca)")
	reader := as(url.UserPassword("reader", password), "mine", "").open(t)
	if _, err := reader.Load(t.Context(), "before"); err != nil {
		t.Errorf("Load by who may read: %v", err)
	}
	_, err = reader.Save(t.Context(), "a", nil, "")
	wanted.Want(t, err, "ermissions", "grant the user")

	// The connection comes back, with its certificate and password, when the server was killed.
	s := as(program, "mine", inbox).open(t)
	node.End(os.Kill)
	if err := node.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	enginetest.Until(t, func() (storage.Item, error) { return s.Load(t.Context(), "before") })
}

func TestToken(t *testing.T) {
	node, err := newServer(fmt.Sprintf(`authorization: { token: %q }`, password))
	node = start(t, node, err)
	d := target{"nats://" + url.User(password).String() + "@" + node.Address() + "/mine"}
	wantWorks(t, d.open(t), d.open(t))
}
