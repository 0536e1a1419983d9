package kubernetes

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/everseal/everseal/storage"
)

// answering returns a store whose server answers everything with the code and the body.
func answering(t *testing.T, code int, body string) *Store {
	t.Helper()
	fake := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if code/100 == 3 {
			w.Header().Set("Location", "http://192.0.2.1/elsewhere")
		}
		w.WriteHeader(code)
		_, _ = w.Write([]byte(body))
	}))
	t.Cleanup(fake.Close)
	s, err := New(fake.Client(), fake.URL, Config{Namespace: "certificates"})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// eachCall calls all methods.
func eachCall(ctx context.Context, s *Store, call func(name string, err error)) {
	const old = "1/uid/ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	_, err := s.Load(ctx, "a")
	call("Load", err)
	_, err = s.Save(ctx, "a", []byte("x"), "")
	call("Save", err)
	_, err = s.Save(ctx, "a", []byte("x"), old)
	call("Save", err)
	call("Delete", s.Delete(ctx, "a", old))
	for _, err := range s.List(ctx, "") {
		call("List", err)
	}
	for _, err := range s.Scan(ctx, "", "") {
		call("Scan", err)
	}
	for _, err := range s.Watch(ctx, "") {
		call("Watch", err)
	}
}

// What a server answers that is no answer is neither a conflict nor a missing record, and the error says what to do.
func TestAnswersOfOthers(t *testing.T) {
	says := func(code int, reason, message, kind string) string {
		return fmt.Sprintf(`{"kind":"Status","apiVersion":"v1","status":"Failure","message":%q,"reason":%q,"details":{"kind":%q},"code":%d}`, message, reason, kind, code)
	}
	for _, test := range []struct {
		code int
		body string
		want string
	}{
		{404, "404 page not found", "see whether the address is that of an API server"},
		{404, says(404, "NotFound", `namespaces "certificates" not found`, "namespaces"), "make the namespace certificates"},
		{404, says(404, "NotFound", "the server could not find the requested resource", ""), "see whether the address"},
		{403, says(403, "Forbidden", `secrets "x" is forbidden: exceeded quota: q, requested: secrets=1`, "secrets"), "raise the quota"},
		{403, says(403, "Forbidden", `secrets is forbidden: User "u" cannot list resource`, "secrets"), "rbac.yaml"},
		{403, says(403, "Forbidden", `unable to create new content in namespace certificates because it is being terminated`, "secrets"), "make the namespace certificates"},
		{401, says(401, "Unauthorized", "Unauthorized", ""), "the server does not know the token"},
		{409, "Conflict", "HTTP status 409, which is not explained"},
		{410, says(410, "Expired", "too old resource version", ""), "too old resource version"},
		{422, says(422, "Invalid", "field is immutable when `immutable` is set", "Secret"), "marked the Secret as immutable"},
		{429, "busy", "overloaded"},
		{500, says(500, "InternalError", "etcdserver: mvcc: database space exceeded", ""), "etcd is full"},
		{500, "\x00\x1b" + strings.Repeat("x", 100_000), "HTTP status 500"},
		{502, "<html>Bad Gateway</html>", "HTTP status 502"},
		{307, "", "redirects are not followed"},
		{200, "<html>log in</html>", "no proxy with a page of its own"},
		{204, "", "the answer is no JSON of the API"},
	} {
		t.Run(fmt.Sprintf("%d %.20q", test.code, test.body), func(t *testing.T) {
			t.Parallel()
			s := answering(t, test.code, test.body)
			eachCall(t.Context(), s, func(name string, err error) {
				switch {
				case err == nil, errors.Is(err, storage.ErrConflict), errors.Is(err, fs.ErrNotExist):
					t.Errorf("%s: %v", name, err)
				case !strings.Contains(err.Error(), test.want) || !strings.HasPrefix(err.Error(), "storage/kubernetes: 127.0.0.1") ||
					strings.Count(err.Error(), "storage/kubernetes") != 1 || len(err.Error()) > 1500 || strings.ContainsAny(err.Error(), "\x00\x1b"):
					t.Errorf("%s: %v", name, err)
				}
			})
		})
	}
	_, err := answering(t, 403, says(403, "Forbidden", "no", "secrets")).Load(t.Context(), "a")
	if refusal, ok := errors.AsType[*StatusError](err); !ok || refusal.Code != 403 || refusal.Reason != "Forbidden" || refusal.Message != "no" {
		t.Errorf("the error is no StatusError with what the server has said: %#v", err)
	}
}

// A list whose token has expired continues with the one that the server gives in place of it.
func TestExpiredToken(t *testing.T) {
	s := newStoreOf(t)
	keys := make(map[string]bool)
	for i := range 5 {
		key := fmt.Sprintf("list/%d", i)
		if _, err := s.Save(t.Context(), key, []byte("x"), ""); err != nil {
			t.Fatal(err)
		}
		keys[key] = false
	}
	expired := 0
	through(s, func(q *http.Request, next http.RoundTripper) (*http.Response, error) {
		parameters := q.URL.Query()
		parameters.Set("limit", "2")
		token := parameters.Get("continue")
		if token != "" && !strings.HasPrefix(token, "other-") {
			expired++
			answer, _ := json.Marshal(map[string]any{"kind": "Status", "code": 410, "reason": "Expired", "metadata": map[string]string{"continue": "other-" + token}})
			return refusal(q, 410, nil, string(answer)), nil
		}
		if token != "" {
			parameters.Set("continue", strings.TrimPrefix(token, "other-"))
		}
		q.URL.RawQuery = parameters.Encode()
		return next.RoundTrip(q)
	})
	for key, err := range s.List(t.Context(), "list") {
		if seen, ok := keys[key]; err != nil || seen || !ok {
			t.Errorf("List yields %q, %v", key, err)
		}
		keys[key] = true
	}
	n := 0
	for _, err := range s.Scan(t.Context(), "list", "") {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	for key, seen := range keys {
		if !seen || n != len(keys) || expired != 4 {
			t.Errorf("List has left out %q, Scan has yielded %d; %d tokens have expired", key, n, expired)
		}
	}
}

// A cursor that is none of the store's begins from the start.
func TestForeignCursor(t *testing.T) {
	s := newStoreOf(t)
	if _, err := s.Save(t.Context(), "a", []byte("x"), ""); err != nil {
		t.Fatal(err)
	}
	for _, cursor := range []string{"everseal-x nonsense", " eyJ2IjoibWV0YS5rOHMuaW8vdjEifQ"} {
		n := 0
		for record, err := range s.Scan(t.Context(), "", cursor) {
			if err != nil || record.Key != "a" {
				t.Errorf("%q: Scan yields %q, %v", cursor, record.Key, err)
			}
			n++
		}
		if n != 1 {
			t.Errorf("%q: %d records", cursor, n)
		}
	}
}

// Neither a server that is not there nor files that are missing are taken for a missing record.
func TestUnreachable(t *testing.T) {
	folder := t.TempDir()
	for name, test := range map[string]struct{ query, want string }{
		"no token": {"", "mount the service account's token"},
		"no CA":    {"&token=account_test.go", "the CA: open"},
	} {
		s := open(t, "kubernetes://127.0.0.1:1/certificates/place?account="+folder+test.query)
		eachCall(t.Context(), s, func(call string, err error) {
			if err == nil || errors.Is(err, fs.ErrNotExist) || errors.Is(err, storage.ErrConflict) {
				t.Errorf("%s: %s: %v", name, call, err)
			}
			if !strings.Contains(err.Error(), test.want) && name == "no token" {
				t.Errorf("%s: %s: %v", name, call, err)
			}
		})
	}
	if err := writeAccount(folder, adminToken, []byte("no PEM")); err != nil {
		t.Fatal(err)
	}
	s := open(t, "kubernetes://127.0.0.1:1/certificates/place?account="+folder)
	if _, err := s.Load(t.Context(), "a"); err == nil || !strings.Contains(err.Error(), "no certificate in PEM") {
		t.Errorf("with a CA that is none: %v", err)
	}
	if err := writeFile(filepath.Join(folder, "token"), "two\nlines"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Load(t.Context(), "a"); err == nil || !strings.Contains(err.Error(), "has something else") || strings.Contains(err.Error(), "two") {
		t.Errorf("with a token that is none: %v", err)
	}
}
