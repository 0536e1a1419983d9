package peers

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	mathrand "math/rand/v2"
	"net"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/everseal/everseal/solver"
)

// tsigKeyName is the name of each server's key, by which updates, transfers and notifications are signed (RFC 8945).
const tsigKeyName = "peers."

// A nameServer is where a DNS server program listens, by UDP and TCP, and the secret of its key. It is a
// solver.Provider by dynamic updates (RFC 2136).
type nameServer struct {
	Address string // host and port
	Secret  string // base64
}

// newNameServer chooses a port and a secret for a server that is about to be started.
func newNameServer(t *testing.T) *nameServer {
	secret := make([]byte, 32)
	_, _ = rand.Read(secret)
	return &nameServer{freeAddress(t), base64.StdEncoding.EncodeToString(secret)}
}

// freeAddress returns an address of which UDP and TCP are free, for a program that can't be handed its sockets. Its port
// is below those that systems give to outgoing connections, so that none of them takes it meanwhile, and is given once.
func freeAddress(t *testing.T) string {
	t.Helper()
	for range 100 {
		address := net.JoinHostPort("127.0.0.1", strconv.Itoa(10_000+mathrand.IntN(20_000)))
		if _, taken := given.LoadOrStore(address, true); taken {
			continue
		}
		stream, err := net.Listen("tcp", address)
		if err != nil {
			continue
		}
		packets, err := net.ListenPacket("udp", address)
		_ = stream.Close()
		if err == nil {
			_ = packets.Close()
			return address
		}
	}
	t.Fatal("no free port found")
	return ""
}

// given are the addresses that freeAddress has tried.
var given sync.Map

// start starts the server program and returns once it serves the zone. The program is killed at the test's end.
func (s *nameServer) start(t *testing.T, zone string, command *exec.Cmd) {
	t.Helper()
	question := new(dns.Msg).SetQuestion(dns.Fqdn(zone), dns.TypeSOA)
	startProgram(t, command, syscall.SIGKILL, func(ctx context.Context) error {
		answer, err := dns.ExchangeContext(ctx, question, s.Address)
		if err == nil && (!answer.Authoritative || len(answer.Answer) == 0) {
			err = fmt.Errorf("it does not serve the zone %s: %v", zone, answer)
		}
		return err
	})
}

// AppendRecord is that of solver.Provider.
func (s *nameServer) AppendRecord(ctx context.Context, r solver.Record) error {
	message := new(dns.Msg).SetUpdate(dns.Fqdn(r.Zone))
	message.Insert([]dns.RR{resourceRecord(r)})
	return s.exchange(ctx, message)
}

// DeleteRecord is that of solver.Provider.
func (s *nameServer) DeleteRecord(ctx context.Context, r solver.Record) error {
	message := new(dns.Msg).SetUpdate(dns.Fqdn(r.Zone))
	message.Remove([]dns.RR{resourceRecord(r)})
	return s.exchange(ctx, message)
}

func resourceRecord(r solver.Record) dns.RR {
	header := dns.RR_Header{Name: dns.Fqdn(r.Name), Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: uint32(r.TTL / time.Second)}
	var texts []string
	for part := range slices.Chunk([]byte(r.Value), 255) {
		texts = append(texts, string(part))
	}
	return &dns.TXT{Hdr: header, Txt: texts}
}

// notify tells the server that the zone has changed at its primary (RFC 1996).
func (s *nameServer) notify(ctx context.Context, zone string) error {
	return s.exchange(ctx, new(dns.Msg).SetNotify(dns.Fqdn(zone)))
}

// exchange sends the message, signed.
func (s *nameServer) exchange(ctx context.Context, message *dns.Msg) error {
	client := &dns.Client{Net: "tcp", Timeout: patience, TsigSecret: s.secrets()}
	answer, _, err := client.ExchangeContext(ctx, s.sign(message), s.Address)
	if err != nil {
		return err
	}
	if answer.Rcode != dns.RcodeSuccess {
		return fmt.Errorf("the server %s says %s", s.Address, dns.RcodeToString[answer.Rcode])
	}
	return nil
}

func (s *nameServer) sign(message *dns.Msg) *dns.Msg {
	const clocksApart = 300 // seconds
	return message.SetTsig(tsigKeyName, dns.HmacSHA256, clocksApart, time.Now().Unix())
}

func (s *nameServer) secrets() map[string]string { return map[string]string{tsigKeyName: s.Secret} }

// zone returns the records of a zone, sorted, as they are transferred to secondaries (RFC 5936); the SOA record, in which
// changes are counted, is left out.
func (s *nameServer) zone(t *testing.T, name string) []string {
	t.Helper()
	transfer := &dns.Transfer{TsigSecret: s.secrets(), ReadTimeout: patience}
	parts, err := transfer.In(s.sign(new(dns.Msg).SetAxfr(dns.Fqdn(name))), s.Address)
	if err != nil {
		t.Fatal(err)
	}
	var records []string
	for part := range parts {
		if part.Error != nil {
			t.Fatal(part.Error)
		}
		for _, record := range part.RR {
			if record.Header().Rrtype != dns.TypeSOA {
				records = append(records, record.String())
			}
		}
	}
	slices.Sort(records)
	return records
}

// texts returns the names in a zone that have TXT records, each as often as it has one.
func (s *nameServer) texts(t *testing.T, zone string) (names []string) {
	t.Helper()
	for _, record := range s.zone(t, zone) {
		if parsed, err := dns.NewRR(record); err == nil && parsed.Header().Rrtype == dns.TypeTXT {
			names = append(names, strings.TrimSuffix(parsed.Header().Name, "."))
		}
	}
	return names
}
