package dnsclient

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/everseal/everseal/solver/internal/escape"
	"github.com/everseal/everseal/solver/internal/reach"
)

const (
	udpSize    = 1232            // bytes of UDP answers asked for (RFC 6891 §6.2.3): larger ones get lost as fragments
	udpTimeout = 2 * time.Second // of each try
	tcpTimeout = 4 * time.Second
	maxStrays  = 64 // datagrams per try that belong to no question of ours
)

// A Query is a question to one server.
type Query struct {
	Name             string // with or without a final dot
	Type             dnsmessage.Type
	Recurse          bool // ask the server to ask others, as resolvers do
	checkingDisabled bool // also have answers whose DNSSEC signatures are wrong (RFC 4035 §3.2.2)
	withoutEDNS      bool
}

// An ExchangeError says that a server gave nothing usable. In it stands what each try met with.
type ExchangeError struct {
	server  string
	Tries   escape.Errors
	NoRoute bool // nothing could be sent: no route, no such address family
}

// Error names the server and what each try met with.
func (e *ExchangeError) Error() string { return fmt.Sprintf("%.100q: %v", e.server, e.Tries) }

// Unwrap returns the tries.
func (e *ExchangeError) Unwrap() error { return e.Tries }

// Exchange asks one server: by UDP, and by TCP if the answer does not fit or none that is usable
// comes. Every answer in reply to the question is returned, failures such as SERVFAIL too; the error is
// an *exchangeError, or says why nothing was asked.
//
// The server is an address or a host name, with or without a port. It takes 8 seconds at most, or twice that
// if the server refuses EDNS.
func (c *Client) Exchange(ctx context.Context, server string, q Query) (*Reply, error) {
	address, err := serverAddress(server)
	if err != nil {
		return nil, err
	}
	r, err := c.attempt(ctx, address, q)
	if err != nil || q.withoutEDNS || (r.RCode != dnsmessage.RCodeFormatError && r.RCode != dnsmessage.RCodeNotImplemented) {
		return r, err
	}
	// A server older than EDNS says so by these codes (RFC 6891 §7).
	q.withoutEDNS = true
	if plain, err := c.attempt(ctx, address, q); err == nil {
		return plain, nil
	}
	return r, nil
}

func (c *Client) attempt(ctx context.Context, address string, q Query) (*Reply, error) {
	failure := &ExchangeError{server: address}
	dialed := false
	for _, network := range []string{"udp", "udp", "tcp"} {
		if network == "udp" && len(failure.Tries) > 0 && !errors.Is(failure.Tries[0], os.ErrDeadlineExceeded) {
			continue // what is refused or broken gets no better by asking the same way again
		}
		sent, err := q.pack()
		if err != nil {
			return nil, err
		}
		r, err := c.try(ctx, network, address, sent)
		if err == nil {
			return r, nil
		}
		failure.Tries = append(failure.Tries, err)
		if ctx.Err() != nil || errors.Is(err, ErrSpent) {
			dialed = true
			break
		}
		_, undialed := errors.AsType[*dialError](err)
		dialed = dialed || !undialed || !reach.IsUnroutable(err)
	}
	failure.NoRoute = !dialed && ctx.Err() == nil
	return nil, failure
}

// A dialError says that a connection could not be opened. With UDP nothing is sent for that: the reason
// is on this machine.
type dialError struct{ err error }

func (e *dialError) Error() string { return escape.Error(e.err).Error() }

func (e *dialError) Unwrap() error { return e.err }

// try asks once, by a connection of its own: its port and the query's ID are what a forger has to guess.
func (c *Client) try(ctx context.Context, network, address string, sent packedQuery) (*Reply, error) {
	limit, speak := udpTimeout, speakUDP
	if network == "tcp" {
		limit, speak = tcpTimeout, speakTCP
	}
	done, err := c.call.open(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	tryCtx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var r *Reply
	conn, err := c.dial(tryCtx, network, address)
	if err != nil {
		err = &dialError{err}
	} else {
		defer conn.Close()
		defer context.AfterFunc(tryCtx, func() { conn.Close() })()
		r, err = speak(conn, sent)
	}
	switch {
	case err == nil:
		return r, nil
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case tryCtx.Err() != nil:
		return nil, fmt.Errorf("no answer by %s within %v: %w", network, limit, os.ErrDeadlineExceeded)
	}
	return nil, fmt.Errorf("%s: %w", network, err)
}

// A packedQuery is what is sent, and what answers are known by.
type packedQuery struct {
	message  []byte
	id       uint16
	question dnsmessage.Question
}

func (q Query) pack() (packedQuery, error) {
	name, err := QuestionName(q.Name)
	if err != nil {
		return packedQuery{}, err
	}
	var id [2]byte
	rand.Read(id[:])
	p := packedQuery{
		id:       binary.BigEndian.Uint16(id[:]),
		question: dnsmessage.Question{Name: name, Type: q.Type, Class: dnsmessage.ClassINET},
	}
	message := dnsmessage.Message{
		Header: dnsmessage.Header{
			ID:               p.id,
			RecursionDesired: q.Recurse,
			AuthenticData:    q.Recurse, // asks to be told (RFC 6840 §5.7)
			CheckingDisabled: q.checkingDisabled,
		},
		Questions: []dnsmessage.Question{p.question},
	}
	if !q.withoutEDNS {
		option := dnsmessage.Resource{Body: &dnsmessage.OPTResource{}}
		if err := option.Header.SetEDNS0(udpSize, dnsmessage.RCodeSuccess, false); err != nil {
			return packedQuery{}, err
		}
		message.Additionals = []dnsmessage.Resource{option}
	}
	if p.message, err = message.Pack(); err != nil {
		return packedQuery{}, fmt.Errorf("a question for %.260q cannot be written: %w", q.Name, err)
	}
	return p, nil
}

// QuestionName returns name as dnsmessage takes it, or an error if no server could be asked for it.
func QuestionName(name string) (dnsmessage.Name, error) {
	bare := strings.TrimSuffix(name, ".")
	for label := range strings.SplitSeq(bare, ".") {
		if (label == "" && name != ".") || len(label) > 63 {
			return dnsmessage.Name{}, fmt.Errorf("%.260q is no domain name: it has a label of %d bytes, from 1 to 63 are possible", name, len(label))
		}
	}
	if len(bare) > 253 {
		return dnsmessage.Name{}, fmt.Errorf("%.260q is no domain name: it has %d bytes, 253 are possible", name, len(bare))
	}
	return dnsmessage.NewName(bare + ".")
}

var errTruncated = errors.New("the answer does not fit")

func speakUDP(conn net.Conn, sent packedQuery) (*Reply, error) {
	if _, err := conn.Write(sent.message); err != nil {
		return nil, err
	}
	buffer := make([]byte, 4<<10)
	for range maxStrays {
		n, err := conn.Read(buffer)
		if err != nil {
			return nil, err
		}
		r, err := parseReply(buffer[:n], sent)
		if errors.Is(err, errStray) {
			continue
		}
		if err == nil && r.Truncated {
			return nil, errTruncated
		}
		return r, err
	}
	return nil, fmt.Errorf("%d answers to other questions came instead of one to this", maxStrays)
}

func speakTCP(conn net.Conn, sent packedQuery) (*Reply, error) {
	framed := binary.BigEndian.AppendUint16(nil, uint16(len(sent.message)))
	if _, err := conn.Write(append(framed, sent.message...)); err != nil {
		return nil, err
	}
	var length [2]byte
	if _, err := io.ReadFull(conn, length[:]); err != nil {
		return nil, err
	}
	message := make([]byte, binary.BigEndian.Uint16(length[:]))
	if _, err := io.ReadFull(conn, message); err != nil {
		return nil, err
	}
	r, err := parseReply(message, sent)
	if err == nil && r.Truncated {
		return nil, errTruncated
	}
	return r, err
}
