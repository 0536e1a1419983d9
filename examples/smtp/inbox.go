package main

import (
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/emersion/go-smtp"
)

// An inbox is a maildir: a message is written in its folder tmp, and moved to new when it is whole.
type inbox struct {
	dir    string
	domain string // whose mail is taken
}

func (b *inbox) prepare() error {
	for _, name := range []string{"tmp", "new", "cur"} {
		if err := os.MkdirAll(filepath.Join(b.dir, name), 0o700); err != nil {
			return err
		}
	}
	return nil
}

// NewSession is called for each client.
func (b *inbox) NewSession(c *smtp.Conn) (smtp.Session, error) {
	return &session{inbox: b, conn: c}, nil
}

// A session is what a client has said so far.
type session struct {
	inbox *inbox
	conn  *smtp.Conn
	from  string
	to    []string
}

// Mail begins a message.
func (s *session) Mail(from string, _ *smtp.MailOptions) error {
	s.from = from
	return nil
}

// Rcpt takes recipients at the domain: nothing is relayed.
func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	if _, domain, _ := strings.Cut(to, "@"); !strings.EqualFold(domain, s.inbox.domain) {
		return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 7, 1}, Message: "This server takes mail for " + s.inbox.domain + " alone"}
	}
	s.to = append(s.to, to)
	return nil
}

// Data delivers the message.
func (s *session) Data(message io.Reader) error {
	protocol := "ESMTP"
	if _, ok := s.conn.TLSConnectionState(); ok {
		protocol = "ESMTPS"
	}
	header := fmt.Sprintf("Return-Path: <%s>\r\nReceived: from %s by %s with %s; %s\r\n",
		s.from, s.conn.Conn().RemoteAddr(), s.conn.Server().Domain, protocol, time.Now().Format(time.RFC1123Z))
	err := s.inbox.deliver(io.MultiReader(strings.NewReader(header), message))
	if refusal := new(smtp.SMTPError); errors.As(err, &refusal) {
		return refusal // it is too large
	}
	if err != nil {
		log.Printf("a message is not taken: %v", err)
		return &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 3, 0}, Message: "Try again later"}
	}
	log.Printf("a message for %s has come by %s", strings.Join(s.to, ", "), protocol)
	return nil
}

// deliver returns when the message is on the disk: the client forgets it then.
func (b *inbox) deliver(message io.Reader) error {
	file, err := os.CreateTemp(filepath.Join(b.dir, "tmp"), fmt.Sprintf("%d.*", time.Now().Unix()))
	if err != nil {
		return err
	}
	_, err = io.Copy(file, message)
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return errors.Join(err, os.Remove(file.Name()))
	}
	return os.Rename(file.Name(), filepath.Join(b.dir, "new", filepath.Base(file.Name())))
}

// Reset ends a message, delivered or not.
func (s *session) Reset() { s.from, s.to = "", nil }

// Logout ends the session.
func (s *session) Logout() error { return nil }
