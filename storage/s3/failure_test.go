package s3

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/everseal/everseal/storage"
	"github.com/everseal/everseal/storage/internal/enginetest"
	"github.com/everseal/everseal/storage/internal/server"
)

// secret is a secret key that nobody has.
const secret = `s3cr#t:/?@[%&='"\ é`

var wanted = enginetest.Errors{Package: "storage/s3", Secrets: []string{rootSecret, userSecret, secret}}

func TestFailures(t *testing.T) {
	real := realServer(t)
	d := realTarget(t)
	port, err := server.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	nobody, wrongSecret, wrongKey, denied, tls := d, d, d, d, d.with("endpoint", "https://"+real.Address())
	nobody.address = "127.0.0.1:" + port
	wrongSecret.secret = secret
	wrongKey.user, wrongKey.secret = "nobody", secret
	denied.user, denied.secret = "user", userSecret
	for _, test := range []struct {
		name string
		url  string
		want []string
	}{
		{"unreachable", nobody.url(), []string{"refused", "whether the service can be reached"}},
		{"wrong secret", wrongSecret.url(), []string{"SignatureDoesNotMatch", "correct access key"}},
		{"wrong key", wrongKey.url(), []string{"InvalidAccessKeyId", "correct access key"}},
		{"no rights", denied.url(), []string{"AccessDenied", "allow s3:GetObject"}},
		{"no bucket", strings.Replace(d.url(), "@"+bucket, "@nowhere", 1), []string{"NoSuchBucket", "create the bucket", "bucket nowhere"}},
		{"TLS with a server that has none", tls.url(), []string{"make both sides agree on TLS"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			opened, err := Open(t.Context(), test.url, Config{})
			if err != nil {
				t.Fatal(err)
			}
			defer opened.Close()
			s := through(t, opened, func(r *http.Request, next tripper) (*http.Response, error) { return next(r) })
			_, err = s.Save(t.Context(), "certificates/a", []byte("x"), "")
			wanted.Want(t, err, append(test.want, `save "certificates/a"`, "prefix "+d.prefix, s.address)...)
			_, err = s.Load(t.Context(), "certificates/a")
			wanted.Want(t, err, test.want...)
			wanted.Want(t, s.Delete(t.Context(), "certificates/a", "abc"), test.want...)
			for _, err := range s.List(t.Context(), "") {
				wanted.Want(t, err, test.want...)
			}
			for _, err := range s.Scan(t.Context(), "", "") {
				wanted.Want(t, err, test.want...)
			}
			for _, err := range s.Watch(t.Context(), "a") {
				wanted.Want(t, err, test.want...)
			}
		})
	}
}

// A policy of the bucket lets the program do what it needs, and nothing else.
func TestLeastPrivileges(t *testing.T) {
	started, err := startServer()
	if started != nil {
		t.Cleanup(started.Remove)
	}
	server.Skip(t, err)
	policy := func(actions string) {
		t.Helper()
		text := fmt.Sprintf(`{"Version":"2012-10-17","Statement":[
			{"Effect":"Allow","Principal":"user","Action":[%s],"Resource":"arn:aws:s3:::%s/everseal/*"},
			{"Effect":"Allow","Principal":"user","Action":"s3:ListBucket","Resource":"arn:aws:s3:::%[2]s"}]}`, actions, bucket)
		_, err := rootOf(started).client.PutBucketPolicy(t.Context(), &s3.PutBucketPolicyInput{Bucket: aws.String(bucket), Policy: &text})
		if err != nil {
			t.Fatal(err)
		}
	}
	d := target{address: started.Address(), user: "user", secret: userSecret}
	policy(`"s3:GetObject","s3:PutObject"`)
	if err := storage.Check(t.Context(), d.open(t)); err != nil {
		t.Error(err)
	}
	policy(`"s3:GetObject"`)
	_, err = d.open(t).Save(t.Context(), "a", nil, "")
	wanted.Want(t, err, "AccessDenied", "allow s3:GetObject, s3:PutObject")
	d.prefix = "elsewhere"
	_, err = d.open(t).Load(t.Context(), "a")
	wanted.Want(t, err, "AccessDenied")
}

// What others have put into the store's folder is neither read nor overwritten, and stops nobody.
func TestForeignObjects(t *testing.T) {
	eachService(t, func(t *testing.T, d target) {
		s := d.open(t)
		revision := save(t, s, "a", "1", "")
		for name, body := range map[string]string{
			"b!": "foreign, and long enough for a record's size", "c!": "everseal/2 and what a later version has made of it",
			"d": "x", "e/": "", "f/!x": "x", "G!": "x", "x!/y!": "x",
		} {
			if _, err := s.put(t.Context(), s.prefix+name, []byte(body), ""); err != nil && !strings.HasSuffix(name, "/") {
				t.Fatal(err)
			}
		}
		for key, want := range map[string]error{"b": errForeign, "c": errVersion} {
			_, err := s.Load(t.Context(), key)
			_, saveErr := s.Save(t.Context(), key, nil, "")
			if !errors.Is(err, want) || !errors.Is(saveErr, want) {
				t.Errorf("%s: Load: %v, Save: %v, want %v", key, err, saveErr, want)
			}
		}
		var listed []string
		for key, err := range s.List(t.Context(), "") {
			if err != nil {
				t.Fatal(err)
			}
			listed = append(listed, key)
		}
		if got := strings.Join(listed, " "); got != "a b c" {
			t.Errorf("List yields %s", got)
		}
		scanned := make(map[string]error)
		for record, err := range s.Scan(t.Context(), "", "") {
			scanned[record.Key] = err
		}
		if len(scanned) != 3 || scanned["a"] != nil || !errors.Is(scanned["b"], errForeign) || !errors.Is(scanned["c"], errVersion) {
			t.Errorf("Scan yields %v", scanned)
		}
		wantStored(t, s, "a", "1", revision)
	})
}

// Nothing is written into a folder that another version has marked.
func TestForeignMark(t *testing.T) {
	eachService(t, func(t *testing.T, d target) {
		s := d.open(t)
		if _, err := s.put(t.Context(), s.prefix+markName, []byte("everseal/2\n"), ""); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Save(t.Context(), "a", nil, ""); !errors.Is(err, errForeignMark) {
			t.Errorf("Save: %v, want errForeignMark", err)
		}
		if _, err := s.Load(t.Context(), "a"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Load: %v", err)
		}
	})
}

// A service that ignores a condition is refused before anything is entrusted to it, and by storage.Check even if nothing
// has been tried out.
func TestIgnoredConditions(t *testing.T) {
	for _, test := range []struct {
		ignores string
		want    error
		promise string
	}{
		{"If-None-Match", errIgnoresCreate, "create one key"},
		{"If-Match", errIgnoresSwap, "change one revision"},
		{"DELETE", errIgnoresDelete, ""},
	} {
		_, d := newFake(t, test.ignores)
		s := d.with("conditional_delete", "true").open(t)
		_, err := s.Save(t.Context(), "a", nil, "")
		if !errors.Is(err, test.want) {
			t.Errorf("%s: Save: %v, want %v", test.ignores, err, test.want)
		}
		wanted.Want(t, err, test.ignores[:3], "save")
		if test.promise == "" {
			if err := storage.Check(t.Context(), d.open(t)); err != nil {
				t.Errorf("with tombstones: %v", err)
			}
			continue
		}
		s.checked.Store(true)
		broken, ok := errors.AsType[*storage.ContractError](storage.Check(t.Context(), s))
		if !ok || !strings.Contains(broken.Promise, test.promise) {
			t.Errorf("%s: Check: %v, want the promise %q", test.ignores, broken, test.promise)
		}
	}
	f, d := newFake(t)
	f.setFault(func(w http.ResponseWriter, r *http.Request) bool {
		conditional := r.Header.Get("If-None-Match")+r.Header.Get("If-Match") != ""
		if conditional {
			fail(w, 501, "NotImplemented")
		}
		return conditional
	})
	_, err := d.open(t).Save(t.Context(), "a", nil, "")
	wanted.Want(t, err, "no conditional writes", "501")
}

// A connection that leads nowhere must not hold up a caller whose context ends.
func TestContextWhileServerIsSilent(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	s := target{address: listener.Addr().String(), user: "a", secret: secret}.open(t)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		if conn, err := listener.Accept(); err == nil {
			cancel()
			defer conn.Close()
			<-t.Context().Done()
		}
	}()
	if _, err := s.Load(ctx, "a"); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want context.Canceled", err)
	}
}

// An endedContext is past its deadline, and notices that only when somebody waits for it.
type endedContext struct {
	context.Context
	end context.CancelFunc
}

func (c endedContext) Deadline() (time.Time, bool) { return time.Now().Add(-time.Second), true }

func (c endedContext) Done() <-chan struct{} {
	c.end()
	return c.Context.Done()
}

// A dialer may time out at the context's deadline before the context has ended: the error is the context's.
func TestFailureAtTheDeadline(t *testing.T) {
	_, d := newFake(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	err := d.open(t).failure(endedContext{ctx, cancel}, "delete", "a", os.ErrDeadlineExceeded)
	if !errors.Is(err, context.Canceled) || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("error %v, want the context's", err)
	}
}
