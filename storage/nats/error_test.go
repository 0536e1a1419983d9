package nats

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"strings"
	"testing"

	"github.com/everseal/everseal/storage"
	"github.com/everseal/everseal/storage/internal/server"
)

const (
	password = "p4ss#w:o/rd?@[%&"    // of those that may
	secret   = `s3cr#t:/?@[%&='"\ é` // that nobody has
)

func wantError(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("it succeeds")
	}
	noPassword(t, err)
	for _, part := range append(parts, "storage/nats: ") {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%v\nhas no %q", err, part)
		}
	}
	if n := strings.Count(err.Error(), "storage"); n != 1 || strings.ContainsAny(err.Error(), "\n\r\t") || len(err.Error()) > 1000 {
		t.Errorf("%q has %d prefixes, %d bytes, or more than one line", err, n, len(err.Error()))
	}
	if errors.Is(err, storage.ErrConflict) || errors.Is(err, fs.ErrNotExist) || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v is taken for an answer", err)
	}
}

// noPassword walks through the error and what it wraps.
func noPassword(t *testing.T, err error) {
	t.Helper()
	if err == nil {
		return
	}
	for _, p := range []string{password, secret} {
		for _, form := range []string{p, url.QueryEscape(p), url.PathEscape(p), url.UserPassword("", p).String()[1:], p[:5]} {
			for _, text := range []string{err.Error(), fmt.Sprintf("%+v", err), fmt.Sprintf("%#v", err)} {
				if strings.Contains(text, form) {
					t.Errorf("the password is in %s", text)
				}
			}
		}
	}
	switch wrapper := err.(type) {
	case interface{ Unwrap() error }:
		noPassword(t, wrapper.Unwrap())
	case interface{ Unwrap() []error }:
		for _, inner := range wrapper.Unwrap() {
			noPassword(t, inner)
		}
	}
}

// nobody returns an address at which nobody listens.
func nobody(t *testing.T) string {
	t.Helper()
	port, err := server.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	return net.JoinHostPort("127.0.0.1", port)
}
