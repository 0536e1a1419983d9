package solver_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/solver"
	"github.com/everseal/everseal/solver/internal/solvertest"
	"github.com/everseal/everseal/storage"
)

// newResponder returns a member that serves the challenges of example.com, and a zone for all.
func newResponder(s storage.Store) *solver.Responder {
	return &solver.Responder{
		Zones:       []string{solvertest.ChallengeName, "acme.example.net"},
		Nameservers: []string{"ns1.example.org", "ns2.example.org"},
		Storage:     s,
	}
}

// A questioner asks a Responder.
type questioner struct{ udp, tcp string }

// serveResponder has the Responder answer until the test ends.
func serveResponder(t testing.TB, r *solver.Responder) questioner {
	t.Helper()
	packets, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.Serve(ctx, packets, listener) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return questioner{packets.LocalAddr().String(), listener.Addr().String()}
}

// ask asks for TXT records by UDP, and returns the code and the values, sorted.
func (q questioner) ask(t testing.TB, name string) (dnsmessage.RCode, []string) {
	t.Helper()
	query := dnsmessage.Message{Header: dnsmessage.Header{ID: 7}, Questions: []dnsmessage.Question{{Name: solvertest.NewName(name), Type: dnsmessage.TypeTXT, Class: dnsmessage.ClassINET}}}
	packed, err := query.Pack()
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("udp", q.udp)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(30 * time.Second)) // for a failure
	answer := make([]byte, 2048)
	if _, err := conn.Write(packed); err != nil {
		t.Fatal(err)
	}
	n, err := conn.Read(answer)
	if err != nil {
		t.Fatal(err)
	}
	return textsOf(t, answer[:n])
}

// askTCP does so by TCP.
func (q questioner) askTCP(t testing.TB, name string) (dnsmessage.RCode, []string) {
	t.Helper()
	query := dnsmessage.Message{Questions: []dnsmessage.Question{{Name: solvertest.NewName(name), Type: dnsmessage.TypeTXT, Class: dnsmessage.ClassINET}}}
	packed, err := query.AppendPack([]byte{0, 0})
	if err != nil {
		t.Fatal(err)
	}
	binary.BigEndian.PutUint16(packed, uint16(len(packed)-2))
	conn, err := net.Dial("tcp", q.tcp)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write(packed); err != nil {
		t.Fatal(err)
	}
	var length [2]byte
	_, err = io.ReadFull(conn, length[:])
	answer := make([]byte, binary.BigEndian.Uint16(length[:]))
	if err == nil {
		_, err = io.ReadFull(conn, answer)
	}
	if err != nil {
		t.Fatal(err)
	}
	return textsOf(t, answer)
}

func textsOf(t testing.TB, packed []byte) (dnsmessage.RCode, []string) {
	t.Helper()
	var answer dnsmessage.Message
	if err := answer.Unpack(packed); err != nil {
		t.Fatal(err)
	}
	var values []string
	for _, record := range answer.Answers {
		values = append(values, strings.Join(record.Body.(*dnsmessage.TXTResource).TXT, ""))
	}
	slices.Sort(values)
	return answer.RCode, values
}

func (q questioner) wants(t testing.TB, name string, code dnsmessage.RCode, values ...string) {
	t.Helper()
	slices.Sort(values)
	for way, ask := range map[string]func(testing.TB, string) (dnsmessage.RCode, []string){"UDP": q.ask, "TCP": q.askTCP} {
		if got, texts := ask(t, name); got != code || !slices.Equal(texts, values) {
			t.Errorf("over %s %s has %v %q, want %v %q", way, name, got, texts, code, values)
		}
	}
}

// What one member presents, each answers with, both values of a wildcard and its base name; after CleanUp by any of them, none.
func TestResponderAnswers(t *testing.T) {
	for name, stores := range map[string]func() []storage.Store{
		"one, in its memory": func() []storage.Store { return []storage.Store{nil} },
		"three on a storage": func() []storage.Store { s := storage.Dir(t.TempDir()); return []storage.Store{s, s, s} },
	} {
		t.Run(name, func(t *testing.T) {
			var members []questioner
			var solvers []*solver.DNS01
			for _, s := range stores() {
				r := newResponder(s)
				members = append(members, serveResponder(t, r))
				solvers = append(solvers, &solver.DNS01{Provider: r, Storage: s, Zone: solvertest.ChallengeName, Propagation: solver.Propagation{Off: true}})
			}
			base := solvertest.NewProof(acme.TypeDNS01, "example.com")
			wildcard := solvertest.WithToken(base, "another")
			last := len(solvers) - 1
			solvertest.Present(t, solvers[0], base)
			solvertest.Present(t, solvers[last], wildcard)
			solvertest.Present(t, solvers[0], base) // again
			for _, m := range members {
				m.wants(t, solvertest.ChallengeName, dnsmessage.RCodeSuccess, solvertest.ValueOf(base), solvertest.ValueOf(wildcard))
				m.wants(t, "below."+solvertest.ChallengeName, dnsmessage.RCodeNameError)
			}
			solvertest.CleanUp(t, solvers[last], base)
			for _, m := range members {
				m.wants(t, solvertest.ChallengeName, dnsmessage.RCodeSuccess, solvertest.ValueOf(wildcard))
			}
			solvertest.CleanUp(t, solvers[0], wildcard)
			solvertest.CleanUp(t, solvers[0], wildcard)
			for _, m := range members {
				m.wants(t, solvertest.ChallengeName, dnsmessage.RCodeSuccess)
			}
		})
	}
}

// A record of a customer makes the names above it be there, and no other.
func TestResponderNames(t *testing.T) {
	r := newResponder(nil)
	q := serveResponder(t, r)
	record := solver.Record{Zone: "acme.example.net", Name: "Shop.Customer.acme.example.NET.", Value: strings.Repeat("v", 300), TTL: time.Hour} // longer than one string
	if err := r.AppendRecord(t.Context(), record); err != nil {
		t.Fatal(err)
	}
	if code, values := q.askTCP(t, "shop.customer.acme.example.net"); code != dnsmessage.RCodeSuccess || !slices.Equal(values, []string{record.Value}) {
		t.Errorf("%v %q", code, values)
	}
	q.wants(t, "CUSTOMER.acme.example.net", dnsmessage.RCodeSuccess)
	q.wants(t, "other.acme.example.net", dnsmessage.RCodeNameError)
	record.Name = strings.ToLower(record.Name)
	if err := r.DeleteRecord(t.Context(), record); err != nil {
		t.Fatal(err)
	}
	q.wants(t, "customer.acme.example.net", dnsmessage.RCodeNameError)
}

// Other versions must find the records: keys and fields are written out here.
func TestResponderFormat(t *testing.T) {
	store := new(storage.Memory)
	r := newResponder(store)
	const value = "LHDhK3oGRvkiefQnx7OOczTY5Tic_xZ6HcMOc_gmtoM"
	record := solver.Record{Zone: solvertest.ChallengeName, Name: solvertest.ChallengeName, Value: value}
	if err := r.AppendRecord(t.Context(), record); err != nil {
		t.Fatal(err)
	}
	// printf '_acme-challenge.example.com LHDhK3oGRvkiefQnx7OOczTY5Tic_xZ6HcMOc_gmtoM' | sha256sum
	const key = "challenges/responder/92afdb73a462118cc814b1819cb316a144d0a19f1169fd3ba37e83c6df810c50"
	item, err := store.Load(t.Context(), key)
	if err != nil {
		t.Fatalf("%v; stored are %q", err, keysOf(t, store))
	}
	var stored map[string]string
	if err := json.Unmarshal(item.Value, &stored); err != nil {
		t.Fatal(err)
	}
	created, err := solver.AnswerTime(item.Value)
	if err != nil || stored["created"] != created.Format(time.RFC3339Nano) || !strings.HasSuffix(stored["created"], "Z") {
		t.Errorf("created is %q; AnswerTime: %v, %v", stored["created"], created, err)
	}
	if delete(stored, "created"); len(stored) != 2 || stored["name"] != solvertest.ChallengeName || stored["value"] != value {
		t.Errorf("stored is %s", item.Value)
	}

	// Presented once more, it is not taken for one that was left behind.
	if err := r.AppendRecord(t.Context(), record); err != nil {
		t.Fatal(err)
	}
	again, err := store.Load(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	if later, err := solver.AnswerTime(again.Value); err != nil || !later.After(created) {
		t.Errorf("AnswerTime: %v, %v, before it was %v", later, err, created)
	}

	// A record that stands is not over, however old it is.
	if at, err := solver.AnswerTime([]byte(`{"name":"a","value":"ca.example; accounturi=https://ca.example","created":"2020-01-02T03:04:05Z"}`)); err == nil {
		t.Errorf("AnswerTime of a standing record: %v", at)
	}
}

func TestResponderRefuses(t *testing.T) {
	for name, test := range map[string]struct {
		record solver.Record
		want   string
	}{
		"another zone":   {solver.Record{Name: "_acme-challenge.www.example.com", Value: "v"}, `by the record "_acme-challenge.www.example.com" CNAME "www.example.com._acme-challenge.example.com", with FollowCNAME set`},
		"no value":       {solver.Record{Name: "a.acme.example.net"}, "0 bytes, from 1 to 4096"},
		"a long value":   {solver.Record{Name: "a.acme.example.net", Value: strings.Repeat("v", 4097)}, "4097 bytes, from 1 to 4096"},
		"no name":        {solver.Record{Value: "v"}, "has no name"},
		"an empty label": {solver.Record{Name: "a..acme.example.net", Value: "v"}, "no domain name"},
		"a long name":    {solver.Record{Name: strings.Repeat("a.", 120) + "acme.example.net", Value: "v"}, "no domain name"},
		"no text":        {solver.Record{Name: "a\nb.elsewhere.example", Value: "v"}, `"a\nb.elsewhere.example" is in none`},
	} {
		t.Run(name, func(t *testing.T) {
			store := new(storage.Memory)
			solvertest.RequireError(t, newResponder(store).AppendRecord(t.Context(), test.record), test.want)
			if keys := keysOf(t, store); keys != nil {
				t.Errorf("stored are %q", keys)
			}
		})
	}
}

// A DNS01 says before anything is done that its Responder can't work.
func TestResponderReady(t *testing.T) {
	for want, r := range map[string]*solver.Responder{
		"there are no Zones":       {},
		"there are no Nameservers": {Zones: []string{"acme.example.net"}},
		"add it to Addresses":      {Zones: []string{"acme.example.net"}, Nameservers: []string{"ns.acme.example.net"}},
	} {
		solvertest.RequireError(t, r.Ready(), want)
		dns01 := &solver.DNS01{Provider: r}
		solvertest.RequireError(t, dns01.Ready(), want)
		solvertest.RequireError(t, dns01.Present(t.Context(), solvertest.NewProof(acme.TypeDNS01, "example.com")), want)
		solvertest.RequireError(t, r.Run(t.Context()), want)
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		packets, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		solvertest.RequireError(t, r.Serve(t.Context(), packets, listener), want)
		for _, err := range []error{listener.Close(), packets.Close()} {
			if !errors.Is(err, net.ErrClosed) {
				t.Errorf("%s: a socket is left open: %v", want, err)
			}
		}
	}
	solvertest.RequireError(t, newResponder(nil).Serve(t.Context(), nil, nil), "needs a socket")
}

// listenAlone listens by TCP on a port that nobody has by UDP: below those that systems give to clients.
func listenAlone(t *testing.T) net.Listener {
	t.Helper()
	for range 100 {
		listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 10_000+rand.N(20_000)))
		if err != nil {
			continue
		}
		packets, err := net.ListenPacket("udp", listener.Addr().String())
		if err == nil {
			packets.Close()
			return listener
		}
		listener.Close()
	}
	t.Fatal("no port is free both by TCP and by UDP")
	return nil
}

// Run says what to do if it cannot listen, and lets the other socket go.
func TestResponderAddrTaken(t *testing.T) {
	listener := listenAlone(t)
	defer listener.Close()
	r := newResponder(nil)
	r.Addr = listener.Addr().String()
	solvertest.RequireError(t, r.Run(t.Context()), "in use", "set Addr to another one", "CAP_NET_BIND_SERVICE")
	packets, err := net.ListenPacket("udp", r.Addr)
	if err != nil {
		t.Fatalf("the other socket is left open: %v", err)
	}
	packets.Close()
}

// If the storage fails, that is said once, and so is its end. Questions fail then, but for records that were known.
func TestResponderStorageFails(t *testing.T) {
	store := new(watchedStore)
	var log lockedBuffer
	r := newResponder(store)
	r.Logger = slog.New(slog.NewTextHandler(&log, nil))
	q := serveResponder(t, r)
	record := func(name string) solver.Record { return solver.Record{Name: name + ".acme.example.net", Value: name} }
	other := newResponder(store)
	for _, err := range []error{other.AppendRecord(t.Context(), record("seen")), other.AppendRecord(t.Context(), record("deleted"))} {
		if err != nil {
			t.Fatal(err)
		}
	}
	q.wants(t, "seen.acme.example.net", dnsmessage.RCodeSuccess, "seen")
	for _, err := range []error{r.AppendRecord(t.Context(), record("own")), r.AppendRecord(t.Context(), record("done")), other.AppendRecord(t.Context(), record("unseen")),
		r.DeleteRecord(t.Context(), record("done")), r.DeleteRecord(t.Context(), record("deleted"))} {
		if err != nil {
			t.Fatal(err)
		}
	}
	store.fail(true)
	const fails = dnsmessage.RCodeServerFailure
	q.wants(t, "seen.acme.example.net", dnsmessage.RCodeSuccess, "seen")
	q.wants(t, "own.acme.example.net", dnsmessage.RCodeSuccess, "own")
	for _, name := range []string{"unseen", "made-up", "done", "deleted", "secret-name"} {
		q.wants(t, name+".acme.example.net", fails)
	}
	q.wants(t, "acme.example.net", fails)
	q.wants(t, "elsewhere.example", dnsmessage.RCodeRefused)
	if said := log.String(); strings.Count(said, "can't be read from the storage") != 1 || strings.Contains(said, "secret-name") {
		t.Errorf("the log is %s", said)
	}
	solvertest.RequireError(t, r.AppendRecord(t.Context(), record("more")), "store the record more.acme.example.net", errStoreDown.Error())
	solvertest.RequireError(t, r.DeleteRecord(t.Context(), record("own")), `delete the record "own.acme.example.net"`, errStoreDown.Error())
	store.fail(false)
	q.wants(t, "unseen.acme.example.net", dnsmessage.RCodeSuccess, "unseen")
	q.wants(t, "deleted.acme.example.net", dnsmessage.RCodeNameError)
	if said := log.String(); strings.Count(said, "again") != 1 {
		t.Errorf("the log is %s", said)
	}
}

// What can't be read and never will be is in nobody's way.
func TestResponderUnreadable(t *testing.T) {
	store := new(storage.Memory)
	r := newResponder(store)
	for key, value := range map[string]string{"a": "garbage", "b": "{}", "c": `{"name":"x.acme.example.net"}`, "d": "[]"} {
		if _, err := store.Save(t.Context(), "challenges/responder/"+key, []byte(value), ""); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.AppendRecord(t.Context(), solver.Record{Name: "a.acme.example.net", Value: "v"}); err != nil {
		t.Fatal(err)
	}
	serveResponder(t, r).wants(t, "a.acme.example.net", dnsmessage.RCodeSuccess, "v")

	former, err := storage.SealingKeys(bytes.Repeat([]byte{1}, 32))
	if err != nil {
		t.Fatal(err)
	}
	current, err := storage.SealingKeys(bytes.Repeat([]byte{2}, 32))
	if err != nil {
		t.Fatal(err)
	}
	sealed := new(storage.Memory)
	for i, keys := range []storage.KeyFunc{former, current} {
		r = newResponder(&storage.Sealed{Store: sealed, Keys: keys})
		if err := r.AppendRecord(t.Context(), solver.Record{Name: "a.acme.example.net", Value: fmt.Sprint("v", i)}); err != nil {
			t.Fatal(err)
		}
	}
	serveResponder(t, newResponder(r.Storage)).wants(t, "a.acme.example.net", dnsmessage.RCodeSuccess, "v1")
}

// A lockedBuffer is what a log is written to.
type lockedBuffer struct {
	mu sync.Mutex
	bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.String()
}
