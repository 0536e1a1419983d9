package peers

import (
	"context"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/miekg/dns"
)

// A neighbourhood is addresses of the loopback network that a test has for itself. Name servers listen on port 53 there, to
// which resolvers go from NS records.
type neighbourhood [2]byte

// newNeighbourhood chooses one. Where port 53 is only for root, the test is skipped, but not in CI.
func newNeighbourhood(t *testing.T) neighbourhood {
	t.Helper()
	for range 100 {
		n := neighbourhood{byte(1 + mathrand.IntN(250)), byte(mathrand.IntN(250))}
		packets, err := net.ListenPacket("udp", n.port53(1))
		if err == nil {
			_ = packets.Close()
			return n
		}
		if os.Getenv("CI") == "" {
			t.Skipf("%v: run it as root, on Linux, to run this test", err)
		}
	}
	t.Fatal("there is no address with a free port 53")
	return neighbourhood{}
}

// host returns an address by its number, from 1 on.
func (n neighbourhood) host(number int) string {
	return fmt.Sprintf("127.%d.%d.%d", n[0], n[1], number)
}

func (n neighbourhood) port53(number int) string { return net.JoinHostPort(n.host(number), "53") }

// lead has the server be asked at an address of the neighbourhood, too: BIND listens at none that no interface has.
func (n neighbourhood) lead(t *testing.T, number int, to *nameServer) {
	t.Helper()
	packets, err := net.ListenPacket("udp", n.port53(number))
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", n.port53(number))
	if err != nil {
		t.Fatal(err)
	}
	for _, server := range []*dns.Server{{PacketConn: packets}, {Listener: listener}} {
		network := "udp"
		if server.Listener != nil {
			network = "tcp"
		}
		server.Handler = dns.HandlerFunc(func(w dns.ResponseWriter, query *dns.Msg) {
			if answer, _, err := (&dns.Client{Net: network}).ExchangeContext(within(t), query, to.Address); err == nil {
				_ = w.WriteMsg(answer)
			}
		})
		ended := make(chan error, 1)
		started := make(chan struct{})
		server.NotifyStartedFunc = func() { close(started) }
		go func() { ended <- server.ActivateAndServe() }()
		<-started
		t.Cleanup(func() {
			if err := errors.Join(server.Shutdown(), <-ended); err != nil {
				t.Errorf("DNS server: %v", err)
			}
		})
	}
}

// startUnbound starts Unbound as a resolver that finds everything from the root at an address, as CAs have it: it asks for no
// more of a name than it must (RFC 9156), in letters of random case, and believes that below a name that is not there there
// is none. It returns the address. Where Unbound is not installed the test is skipped, but not in CI.
func startUnbound(t *testing.T, root string) string {
	t.Helper()
	program, folder, address := lookUpServer(t, "unbound"), t.TempDir(), freeAddress(t)
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	hints, file := filepath.Join(folder, "root"), filepath.Join(folder, "unbound.conf")
	writeFile(t, hints, fmt.Sprintf(". 3600 NS ns1.\nns1. 3600 A %s\n", root))
	writeFile(t, file, fmt.Sprintf(`server:
	directory: %[1]q
	root-hints: %[2]q
	interface: %[3]s@%[4]s
	pidfile: ""
	username: ""
	chroot: ""
	logfile: ""
	use-syslog: no
	do-daemonize: no
	do-ip6: no
	do-not-query-localhost: no
	local-zone: "test." nodefault
	module-config: "iterator"
	num-threads: 1
	incoming-num-tcp: 100 # usually 10: of more, it closes some before they are answered
	qname-minimisation: yes
	qname-minimisation-strict: yes
	use-caps-for-id: yes
	harden-below-nxdomain: yes
	harden-referral-path: yes
remote-control:
	control-enable: no
`, folder, hints, host, port))
	startProgram(t, exec.Command(program, "-d", "-c", file), syscall.SIGKILL, func(ctx context.Context) error {
		answer, err := dns.ExchangeContext(ctx, new(dns.Msg).SetQuestion(dns.Fqdn(mainZone), dns.TypeSOA), address)
		if err == nil && len(answer.Answer) == 0 {
			err = fmt.Errorf("it finds no zone %s: %v", mainZone, answer)
		}
		return err
	})
	return address
}
