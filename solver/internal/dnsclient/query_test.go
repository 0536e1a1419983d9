package dnsclient

import (
	"context"
	"errors"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/solver/internal/solvertest"
	"golang.org/x/net/dns/dnsmessage"
)

var challengeQuery = Query{Name: solvertest.ChallengeName, Type: dnsmessage.TypeTXT}

// challengeServer holds the zone example.com with one TXT record "value" at solvertest.ChallengeName.
func challengeServer(d *solvertest.DNS) *solvertest.Nameserver {
	s := d.Zone("example.com", "192.0.2.1")[0]
	s.Add(solvertest.ChallengeName, "TXT", "value")
	return s
}

// askedBy returns how often a server was asked by each network.
func askedBy(s *solvertest.Nameserver) map[string]int {
	asked := make(map[string]int)
	for _, q := range s.Queries() {
		asked[q.Network]++
	}
	return asked
}

func wantValues(t *testing.T, r *Reply, want ...string) {
	t.Helper()
	if r == nil {
		t.Fatal("no reply")
	}
	if got := r.Texts(solvertest.ChallengeName); !slices.Equal(got, want) {
		t.Errorf("the values are %.80q, want %.80q", got, want)
	}
}

func TestExchangeOnLoopback(t *testing.T) {
	d := solvertest.NewDNS(t)
	s := challengeServer(d)
	r, err := clientOf(t, d).Exchange(t.Context(), "192.0.2.1", challengeQuery)
	if err != nil {
		t.Fatal(err)
	}
	wantValues(t, r, "value")
	if !r.Authoritative || r.RCode != dnsmessage.RCodeSuccess {
		t.Errorf("authoritative %v, code %s", r.Authoritative, RCodeText(r.RCode))
	}
	long := strings.Repeat("0123456789", 200)
	s.Add(solvertest.ChallengeName, "TXT", long)
	before := s.Asked(solvertest.ChallengeName, "TXT")
	if r, err = clientOf(t, d).Exchange(t.Context(), "192.0.2.1:53", challengeQuery); err != nil {
		t.Fatal(err)
	}
	wantValues(t, r, "value", long)
	if n := s.Asked(solvertest.ChallengeName, "TXT") - before; n != 2 {
		t.Errorf("asked %d times for an answer that does not fit, want once by UDP and once by TCP", n)
	}
}

func TestExchangeWithASmallerSize(t *testing.T) {
	d := solvertest.NewDNS(t)
	s := challengeServer(d)
	text := strings.Repeat("x", 600)
	s.Add("big.example.com", "TXT", text)
	r, err := clientOf(t, d).Exchange(t.Context(), "192.0.2.1", Query{Name: "big.example.com.", Type: dnsmessage.TypeTXT})
	if err != nil {
		t.Fatal(err)
	}
	if got := r.Texts("BIG.example.com"); !slices.Equal(got, []string{text}) {
		t.Errorf("got %.80q", got)
	}
	if n := s.Asked("big.example.com", "TXT"); n != 1 {
		t.Errorf("asked %d times: EDNS has not made room for 600 bytes", n)
	}
}

// A usable answer by TCP makes up for whatever UDP does.
func TestExchangeFallsBackToTCP(t *testing.T) {
	for name, udp := range map[string]solvertest.Answer{
		"silent": solvertest.Silent,
		"truncated": func(_ string, _, reply *dnsmessage.Message) [][]byte {
			reply.Truncated = true
			return solvertest.Pack(reply)
		},
		"another ID": func(_ string, _, reply *dnsmessage.Message) [][]byte {
			reply.ID++
			return solvertest.Pack(reply)
		},
		"another question": func(_ string, _, reply *dnsmessage.Message) [][]byte {
			reply.Questions = []dnsmessage.Question{{Name: solvertest.NewName("example.org"), Type: dnsmessage.TypeTXT, Class: dnsmessage.ClassINET}}
			return solvertest.Pack(reply)
		},
		"no question": func(_ string, _, reply *dnsmessage.Message) [][]byte {
			reply.Questions = nil
			return solvertest.Pack(reply)
		},
		"a query": func(_ string, _, reply *dnsmessage.Message) [][]byte {
			reply.Response = false
			return solvertest.Pack(reply)
		},
		"cut off": func(_ string, _, reply *dnsmessage.Message) [][]byte {
			packed := solvertest.Pack(reply)[0]
			return [][]byte{packed[:len(packed)-3]}
		},
		"no DNS": func(string, *dnsmessage.Message, *dnsmessage.Message) [][]byte {
			return [][]byte{[]byte("HTTP/1.1 400")}
		},
		"oversize": func(string, *dnsmessage.Message, *dnsmessage.Message) [][]byte { return [][]byte{make([]byte, 60<<10)} },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := solvertest.NewMemoryDNS(t)
				s := challengeServer(d)
				s.Answer(func(network string, query, reply *dnsmessage.Message) [][]byte {
					if network == "udp" {
						return udp(network, query, reply)
					}
					return solvertest.Pack(reply)
				})
				r, err := clientOf(t, d).Exchange(t.Context(), "192.0.2.1", challengeQuery)
				if err != nil {
					t.Fatal(err)
				}
				wantValues(t, r, "value")
				if asked := askedBy(s); asked["tcp"] != 1 || asked["udp"] < 1 || asked["udp"] > 2 {
					t.Errorf("asked %v", asked)
				}
			})
		})
	}
}

// What others send to the port in between is passed over; the true answer that follows is taken.
func TestExchangePassesOverStrays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := solvertest.NewMemoryDNS(t)
		s := challengeServer(d)
		s.Answer(func(_ string, _, reply *dnsmessage.Message) [][]byte {
			right := solvertest.Pack(reply)
			forged := *reply
			forged.Answers = []dnsmessage.Resource{solvertest.NewRecord(solvertest.ChallengeName, "TXT", "forged")}
			forged.ID ^= 0x8000
			strays := solvertest.Pack(&forged)
			forged.ID, forged.Questions = reply.ID, []dnsmessage.Question{{Name: solvertest.NewName(solvertest.ChallengeName), Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}}
			strays = append(strays, solvertest.Pack(&forged)...)
			return slices.Concat(strays, [][]byte{{}, {1}}, right)
		})
		begun := time.Now()
		r, err := clientOf(t, d).Exchange(t.Context(), "192.0.2.1", challengeQuery)
		if err != nil {
			t.Fatal(err)
		}
		wantValues(t, r, "value")
		if asked := askedBy(s); asked["udp"] != 1 || asked["tcp"] != 0 || time.Since(begun) != 0 {
			t.Errorf("asked %v, took %v", asked, time.Since(begun))
		}
	})
}

func TestExchangeFloodedWithStrays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := solvertest.NewMemoryDNS(t)
		challengeServer(d).Answer(func(_ string, _, reply *dnsmessage.Message) [][]byte {
			reply.ID++
			return slices.Repeat(solvertest.Pack(reply), 10_000)
		})
		_, err := clientOf(t, d).Exchange(t.Context(), "192.0.2.1", challengeQuery)
		if err == nil || !strings.Contains(err.Error(), "64 answers to other questions") {
			t.Errorf("got %v", err)
		}
	})
}

func TestExchangeWithASilentServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := solvertest.NewMemoryDNS(t)
		s := challengeServer(d)
		s.Answer(solvertest.Silent)
		begun := time.Now()
		_, err := clientOf(t, d).Exchange(t.Context(), "192.0.2.1", challengeQuery)
		if took := time.Since(begun); took != 8*time.Second {
			t.Errorf("took %v", took)
		}
		if asked := askedBy(s); asked["udp"] != 2 || asked["tcp"] != 1 {
			t.Errorf("asked %v", asked)
		}
		failure, ok := errors.AsType[*ExchangeError](err)
		if !ok || failure.NoRoute || !errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%#v: %v", err, err)
		}
		const want = `"192.0.2.1:53": no answer by udp within 2s: i/o timeout; no answer by udp within 2s: i/o timeout; no answer by tcp within 4s: i/o timeout`
		if err.Error() != want {
			t.Errorf("the error is\n%s, want\n%s", err, want)
		}
	})
}

func TestExchangeEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := solvertest.NewMemoryDNS(t)
		challengeServer(d).Answer(solvertest.Silent)
		cause := errors.New("shutting down")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(cause) })
		begun := time.Now()
		_, err := clientOf(t, d).Exchange(ctx, "192.0.2.1", challengeQuery)
		if !errors.Is(err, cause) || time.Since(begun) != time.Second {
			t.Errorf("after %v: %v", time.Since(begun), err)
		}
		if failure, ok := errors.AsType[*ExchangeError](err); !ok || failure.NoRoute {
			t.Errorf("no route: %v", err)
		}
	})
}

func TestExchangeWithoutARoute(t *testing.T) {
	d := solvertest.NewDNS(t)
	_, err := clientOf(t, d).Exchange(t.Context(), "2001:db8::1", challengeQuery)
	if failure, ok := errors.AsType[*ExchangeError](err); !ok || !failure.NoRoute {
		t.Errorf("got %v", err)
	}
	// A host that refuses is there.
	refusing := New(t.Context(), &Settings{Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		if network == "tcp" {
			return nil, errors.New("connection refused")
		}
		conn, other := net.Pipe()
		other.Close()
		return conn, nil
	}}, "")
	_, err = refusing.Exchange(t.Context(), "192.0.2.1", challengeQuery)
	if failure, ok := errors.AsType[*ExchangeError](err); !ok || failure.NoRoute || len(failure.Tries) != 2 {
		t.Errorf("got %v", err)
	}
}

// Servers older than EDNS refuse the option, some with nothing but a header.
func TestExchangeWithoutEDNS(t *testing.T) {
	d := solvertest.NewDNS(t)
	s := challengeServer(d)
	s.Answer(func(_ string, query, reply *dnsmessage.Message) [][]byte {
		if len(query.Additionals) > 0 {
			*reply = dnsmessage.Message{Header: dnsmessage.Header{ID: reply.ID, Response: true, RCode: dnsmessage.RCodeFormatError}}
		}
		return solvertest.Pack(reply)
	})
	r, err := clientOf(t, d).Exchange(t.Context(), "192.0.2.1", challengeQuery)
	if err != nil {
		t.Fatal(err)
	}
	wantValues(t, r, "value")
	queries := s.Queries()
	if len(queries) != 2 || len(queries[0].Additionals) != 1 || len(queries[1].Additionals) != 0 {
		t.Errorf("asked by %+v", queries)
	}
}

func TestExchangeReturnsFailures(t *testing.T) {
	d := solvertest.NewDNS(t)
	s := challengeServer(d)
	for _, code := range []dnsmessage.RCode{dnsmessage.RCodeServerFailure, dnsmessage.RCodeRefused, dnsmessage.RCodeNameError, dnsmessage.RCodeFormatError, 9} {
		s.Answer(solvertest.Failing(code))
		r, err := clientOf(t, d).Exchange(t.Context(), "192.0.2.1", challengeQuery)
		if err != nil {
			t.Errorf("%s: %v", RCodeText(code), err)
		} else if r.RCode != code {
			t.Errorf("%s: got %s", RCodeText(code), RCodeText(r.RCode))
		}
	}
}

func TestExchangeAsksWhatItIsTold(t *testing.T) {
	d := solvertest.NewDNS(t)
	s := challengeServer(d)
	for _, q := range []Query{
		{Name: solvertest.ChallengeName, Type: dnsmessage.TypeTXT},
		{Name: solvertest.ChallengeName + ".", Type: dnsmessage.TypeSOA, Recurse: true},
		{Name: solvertest.ChallengeName, Type: 257, Recurse: true, checkingDisabled: true},
	} {
		if _, err := clientOf(t, d).Exchange(t.Context(), "192.0.2.1", q); err != nil {
			t.Fatal(err)
		}
		got := s.Queries()
		m := got[len(got)-1]
		if m.RecursionDesired != q.Recurse || m.AuthenticData != q.Recurse || m.CheckingDisabled != q.checkingDisabled ||
			m.Questions[0].Type != q.Type || m.Questions[0].Name.String() != solvertest.ChallengeName+"." {
			t.Errorf("%+v was asked as %s", q, m.GoString())
		}
	}
	if got := s.Queries(); got[0].ID == got[1].ID && got[1].ID == got[2].ID {
		t.Error("the IDs do not change")
	}
}

func TestExchangeRefusesNames(t *testing.T) {
	dns := New(t.Context(), &Settings{Dial: func(context.Context, string, string) (net.Conn, error) {
		t.Error("dialed")
		return nil, net.ErrClosed
	}}, "")
	for _, name := range []string{
		"", "..", ".example.com", "a..example.com", "example.com..",
		strings.Repeat("a", 64) + ".example.com", strings.Repeat("a.", 126) + "aa",
	} {
		_, err := dns.Exchange(t.Context(), "192.0.2.1", Query{Name: name, Type: dnsmessage.TypeA})
		if err == nil || !strings.Contains(err.Error(), "is no domain name") {
			t.Errorf("%.80q: %v", name, err)
		}
	}
	for _, name := range []string{".", "a", strings.Repeat("a.", 126) + "a", strings.Repeat("a.", 126) + "a."} {
		if _, err := (Query{Name: name}).pack(); err != nil {
			t.Errorf("%.80q: %v", name, err)
		}
	}
}

// A server may say anything by TCP as well: what it announces is neither believed nor waited for.
func TestExchangeWithAHostileServerByTCP(t *testing.T) {
	for name, send := range map[string][]byte{
		"closes":             {},
		"half a length":      {0},
		"more than it sends": {0xff, 0xff, 1, 2, 3},
		"nothing":            {0, 0},
		"garbage":            {0, 3, 'a', 'b', 'c'},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dns := New(t.Context(), &Settings{Dial: func(_ context.Context, network, _ string) (net.Conn, error) {
					if network == "udp" {
						return nil, errors.New("no UDP here")
					}
					client, server := net.Pipe()
					go func() {
						server.Read(make([]byte, 512))
						server.Write(send)
						server.Close()
					}()
					return client, nil
				}}, "")
				if r, err := dns.Exchange(t.Context(), "192.0.2.1", challengeQuery); err == nil {
					t.Errorf("got %+v", r)
				} else if failure, ok := errors.AsType[*ExchangeError](err); !ok || failure.NoRoute {
					t.Errorf("got %#v", err)
				}
			})
		})
	}
}
