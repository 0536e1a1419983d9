package acme_test

import (
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"math/big"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"crypto/x509"

	"github.com/everseal/everseal/acme"
)

// mostFuzzed bounds what a fuzz target looks at: longer inputs say no more.
const mostFuzzed = 1 << 16

// A stage is a fake CA and a client of it, one for all inputs of a fuzz target: what the CA answers
// at a path is set before each call, and the client knows its account and has nonces.
type stage struct {
	fake   fake
	client *acme.Client
	asked  []*http.Request // since the last call of forget
}

func newStage(t testing.TB) *stage {
	s := &stage{fake: fake{}}
	s.client = &acme.Client{
		DirectoryURL: fakeOrigin + "/directory", AccountURL: fakeOrigin + "/account/1", Key: newKey(t),
		HTTPClient: &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
			s.asked = append(s.asked, r)
			return handlerTransport{s.fake}.RoundTrip(r)
		})},
	}
	return s
}

// fresh returns a client that knows nothing yet, of the same CA.
func (s *stage) fresh() *acme.Client {
	s.asked = nil
	return &acme.Client{DirectoryURL: s.client.DirectoryURL, Key: s.client.Key, HTTPClient: s.client.HTTPClient}
}

// A problem document makes a text that can be logged, bounded, whatever it says; and what was read of it
// can be written down and read back.
func FuzzProblem(f *testing.F) {
	f.Add(403, `{"type":"urn:ietf:params:acme:error:compound","detail":"\u001b[31m","subproblems":[{"identifier":{"type":"dns","value":"a"}},null]}`)
	f.Add(503, `{"type":7,"detail":"x"}`)
	f.Add(302, "<html>\xff")
	s := newStage(f)
	f.Fuzz(func(t *testing.T, status int, document string) {
		if len(document) > mostFuzzed || status < 300 || status > 999 {
			t.Skip("out of bounds")
		}
		s.fake["/directory"] = answer(status, document)
		_, err := s.fresh().GetDirectory(t.Context())
		var p *acme.Problem
		if !errors.As(err, &p) {
			t.Fatalf("error %v is no problem", err)
		}
		wantPrintable(t, err.Error())
		if p.Status != status || p.Type == "" && p.Detail == "" {
			t.Errorf("problem %+v of an answer with status %d", p, status)
		}
		for _, each := range append([]*acme.Problem{p}, p.Subproblems...) {
			wantPrintable(t, each.Type.Error())
			if each.Type != "" && !errors.Is(err, each.Type) {
				t.Errorf("the type %q is not found in its own problem", each.Type)
			}
		}
		written, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		read := new(acme.Problem)
		if err := json.Unmarshal(written, read); err != nil {
			t.Fatalf("%s cannot be read back: %v", written, err)
		}
		if !reflect.DeepEqual(read, p) {
			t.Errorf("read back %+v, want %+v", read, p)
		}
	})
}

// Retry-After is whole seconds or a date, and is between nothing and a month; of renewal information
// between a minute and a day.
func FuzzRetryAfter(f *testing.F) {
	for _, value := range []string{"", "0", "-1", "20", "+5", " 7 ", "1e3", "\u0661", "99999999999999999999999999", "Sat, 01 Jan 2000 00:01:00 GMT", "Fri, 31 Dec 9999 23:59:59 GMT"} {
		f.Add(value)
	}
	const month = 31 * 24 * time.Hour
	leaf := &x509.Certificate{AuthorityKeyId: []byte{1}, SerialNumber: big.NewInt(1)}
	s := newStage(f)
	f.Fuzz(func(t *testing.T, value string) {
		s.fake["/directory"] = answer(http.StatusForbidden, problem("rateLimited", "slowly"), "Retry-After", value)
		before := time.Now()
		_, err := s.fresh().GetDirectory(t.Context())
		after := time.Now()
		var p *acme.Problem
		if !errors.As(err, &p) {
			t.Fatalf("error %v is no problem", err)
		}
		wantPrintable(t, err.Error())
		least, most := time.Duration(0), time.Duration(0)
		value = strings.TrimSpace(value)
		if seconds, ok := new(big.Int).SetString(strings.TrimPrefix(value, "+"), 10); ok && strings.Trim(value, "+-0123456789") == "" {
			least = time.Duration(min(max(new(big.Float).SetInt(seconds).Acc(), 0), 0))
			_ = seconds
		} else if date, err := http.ParseTime(value); err == nil {
			least, most = date.Sub(after), date.Sub(before)
		}
		least, most = min(max(least, 0), month), min(max(most, 0), month)
		if p.RetryAfter < least || p.RetryAfter > most {
			t.Errorf("Retry-After %q asks to wait %v, want from %v to %v", value, p.RetryAfter, least, most)
		}
	})
}
