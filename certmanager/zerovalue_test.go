package certmanager_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"iter"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path"
	"path/filepath"
	"reflect"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/acme/acmetest"
	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/certmanager/deploy"
	"github.com/everseal/everseal/certmanager/migrate"
	"github.com/everseal/everseal/solver"
	"github.com/everseal/everseal/solver/diagnose"
	"github.com/everseal/everseal/storage"
	"github.com/everseal/everseal/storage/storagetest"
)

// zeroTypes are all exported types of the core that a caller can make. Those that dial by themselves, as their
// zero values mean the Internet, are only ever given a context that has ended.
func zeroTypes() (quiet, dialing []reflect.Type) {
	quiet = []reflect.Type{
		reflect.TypeFor[acme.Account](), reflect.TypeFor[acme.Action](), reflect.TypeFor[acme.Authorization](),
		reflect.TypeFor[acme.AuthorizationError](), reflect.TypeFor[acme.Certificate](), reflect.TypeFor[acme.Challenge](),
		reflect.TypeFor[acme.Exchange](), reflect.TypeFor[acme.Directory](), reflect.TypeFor[acme.DirectoryMeta](), reflect.TypeFor[acme.ExternalAccount](),
		reflect.TypeFor[acme.Identifier](), reflect.TypeFor[acme.Order](), reflect.TypeFor[acme.OrderError](),
		reflect.TypeFor[acme.OrderRequest](), reflect.TypeFor[acme.Problem](), reflect.TypeFor[acme.ProblemType](),
		reflect.TypeFor[acme.Proof](), reflect.TypeFor[acme.Registration](), reflect.TypeFor[acme.RenewalInfo](),
		reflect.TypeFor[acme.Request](), reflect.TypeFor[acme.RetryAfterError](), reflect.TypeFor[acme.RevocationReason](),
		reflect.TypeFor[acme.Step](), reflect.TypeFor[acme.TermsError](), reflect.TypeFor[acme.Window](),

		reflect.TypeFor[acmetest.Account](), reflect.TypeFor[acmetest.Fault](), reflect.TypeFor[acmetest.Limit](),
		reflect.TypeFor[acmetest.Order](), reflect.TypeFor[acmetest.OtherChallenge](), reflect.TypeFor[acmetest.Profile](),
		reflect.TypeFor[acmetest.RateLimits](), reflect.TypeFor[acmetest.RenewalInfo](), reflect.TypeFor[acmetest.Response](),
		reflect.TypeFor[acmetest.Network](), reflect.TypeFor[acmetest.Server](),

		reflect.TypeFor[solver.DNS](), reflect.TypeFor[solver.Exec](), reflect.TypeFor[solver.Propagation](),
		reflect.TypeFor[solver.PropagationError](), reflect.TypeFor[solver.Record](), reflect.TypeFor[solver.Responder](), reflect.TypeFor[solver.ServerAnswer](),
		reflect.TypeFor[solver.StandingRecordError](), reflect.TypeFor[solver.Webroot](),

		reflect.TypeFor[diagnose.Cause](), reflect.TypeFor[diagnose.Hop](), reflect.TypeFor[diagnose.Lookup](),
		reflect.TypeFor[diagnose.Report](), reflect.TypeFor[diagnose.Vantage](), reflect.TypeFor[diagnose.Visit](),

		reflect.TypeFor[storage.Dir](), reflect.TypeFor[storage.Item](), reflect.TypeFor[storage.Lease](),
		reflect.TypeFor[storage.Memory](), reflect.TypeFor[storage.Revision](), reflect.TypeFor[storage.Claim](),
		reflect.TypeFor[acme.SolverError](), reflect.TypeFor[acme.PanicError](), reflect.TypeFor[storage.HeldError](), reflect.TypeFor[storage.KeyFunc](), reflect.TypeFor[storage.Record](),
		reflect.TypeFor[storage.Sealed](), reflect.TypeFor[storage.SealingKey](), reflect.TypeFor[storage.CachedStore](), reflect.TypeFor[storage.Copy](), reflect.TypeFor[storage.ContractError](),
		reflect.TypeFor[storagetest.Fault](), reflect.TypeFor[storagetest.Faulty](), reflect.TypeFor[storagetest.Kind](),
		reflect.TypeFor[storagetest.Methods](), reflect.TypeFor[storagetest.Suite](),

		reflect.TypeFor[certmanager.Action](), reflect.TypeFor[certmanager.Config](), reflect.TypeFor[certmanager.Event](),
		reflect.TypeFor[certmanager.EventKind](), reflect.TypeFor[certmanager.Failure](), reflect.TypeFor[certmanager.KeyType](),
		reflect.TypeFor[certmanager.Manager](), reflect.TypeFor[certmanager.Preflight](), reflect.TypeFor[certmanager.Request](),
		reflect.TypeFor[certmanager.Reason](), reflect.TypeFor[certmanager.State](), reflect.TypeFor[certmanager.Stats](), reflect.TypeFor[certmanager.Status](), reflect.TypeFor[certmanager.Subject](),
		reflect.TypeFor[certmanager.UnavailableError](), reflect.TypeFor[certmanager.Question](), reflect.TypeFor[certmanager.Role](),
		reflect.TypeFor[certmanager.Services](), reflect.TypeFor[certmanager.LocalCA](), reflect.TypeFor[certmanager.Account](),
		reflect.TypeFor[deploy.Deployer](), reflect.TypeFor[deploy.Result](),
		reflect.TypeFor[certmanager.Revocation](), reflect.TypeFor[certmanager.Limit](), reflect.TypeFor[certmanager.Limits](),
		reflect.TypeFor[certmanager.Counts](), reflect.TypeFor[certmanager.Outcome](), reflect.TypeFor[certmanager.FailureKind](),
		reflect.TypeFor[certmanager.Requests](), reflect.TypeFor[certmanager.Histogram](), reflect.TypeFor[certmanager.CallCount](),
		reflect.TypeFor[certmanager.Day](), reflect.TypeFor[certmanager.Budget](), reflect.TypeFor[certmanager.BudgetKind](),
		reflect.TypeFor[certmanager.Transfer](), reflect.TypeFor[certmanager.Transferred](), reflect.TypeFor[certmanager.AccountTransfer](),
		reflect.TypeFor[migrate.Migration](), reflect.TypeFor[migrate.Report](), reflect.TypeFor[migrate.Item](),
	}
	dialing = []reflect.Type{
		reflect.TypeFor[acme.Client](), reflect.TypeFor[certmanager.ACME](),
		reflect.TypeFor[solver.DNS01](), reflect.TypeFor[solver.DNSAccount01](), reflect.TypeFor[solver.DNSPersist01](),
		reflect.TypeFor[solver.HTTP01](), reflect.TypeFor[solver.Lego](), reflect.TypeFor[solver.TLSALPN01](),
		reflect.TypeFor[solver.Webhook](),
	}
	return quiet, dialing
}

// Every method of every exported type's zero value works or says what is wrong.
func TestZeroValues(t *testing.T) {
	quiet, dialing := zeroTypes()
	for _, of := range quiet {
		zero := func(*testing.T) any { return reflect.New(of).Interface() }
		t.Run(nameOf(of), func(t *testing.T) {
			walk(t, zero, true)
			walk(t, zero, false)
		})
	}
	for _, of := range dialing {
		t.Run(nameOf(of), func(t *testing.T) {
			walk(t, func(*testing.T) any { return reflect.New(of).Interface() }, true)
		})
	}
}

// The walk leaves out no type, and the table of calls no function. Those of acmetest and storagetest are tested there.
func TestZeroValuesAreComplete(t *testing.T) {
	types, functions := exported(t)
	var walked, called []string
	quiet, dialing := zeroTypes()
	for _, of := range slices.Concat(quiet, dialing) {
		walked = append(walked, nameOf(of))
	}
	for name := range zeroCalls() {
		function, _, _ := strings.Cut(name, " ")
		called = append(called, function)
	}
	checkSame(t, "zeroTypes", walked, types)
	called = slices.DeleteFunc(called, func(name string) bool { return strings.Count(name, ".") > 1 }) // methods
	functions = slices.DeleteFunc(functions, func(name string) bool { return strings.HasPrefix(name, "acmetest.") || name == "storagetest.Run" })
	checkSame(t, "zeroCalls", called, functions)
}

func checkSame(t *testing.T, table string, has, wants []string) {
	t.Helper()
	if len(wants) == 0 {
		t.Errorf("nothing was found in the source for %s", table)
	}
	for _, name := range wants {
		if !slices.Contains(has, name) {
			t.Errorf("%s is exported and not in %s", name, table)
		}
	}
	for _, name := range has {
		if !slices.Contains(wants, name) {
			t.Errorf("%s is in %s and not exported", name, table)
		}
	}
}

func nameOf(of reflect.Type) string { return path.Base(of.PkgPath()) + "." + of.Name() }

// exported returns the exported types but interfaces, and the exported functions, as the source has them.
func exported(t *testing.T) (types, functions []string) {
	t.Helper()
	for _, folder := range []string{"../acme", "../acme/acmetest", "../solver", "../solver/diagnose", "../storage", "../storage/storagetest", ".", "deploy", "migrate", "statuspage"} {
		files, err := filepath.Glob(filepath.Join(folder, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range files {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			for _, declaration := range file.Decls {
				switch d := declaration.(type) {
				case *ast.FuncDecl:
					if d.Recv == nil && d.Name.IsExported() {
						functions = append(functions, file.Name.Name+"."+d.Name.Name)
					}
				case *ast.GenDecl:
					types = append(types, typesOf(d, file.Name.Name)...)
				}
			}
		}
	}
	return types, functions
}

func typesOf(d *ast.GenDecl, pkg string) (names []string) {
	for _, spec := range d.Specs {
		s, ok := spec.(*ast.TypeSpec)
		if !ok || !s.Name.IsExported() {
			continue
		}
		if _, ok := s.Type.(*ast.InterfaceType); !ok {
			names = append(names, pkg+"."+s.Name.Name)
		}
	}
	return names
}

// walk calls each method of a fresh value with arguments that are zero.
func walk(t *testing.T, fresh func(t *testing.T) any, ended bool) {
	t.Helper()
	for method := range reflect.TypeOf(fresh(t)).Methods() {
		if slices.Contains(slices.Collect(method.Type.Ins()), reflect.TypeFor[*testing.T]()) {
			continue // its own test runs it in another process
		}
		try(t, method.Name, ended, func(t *testing.T, ctx context.Context) any {
			value := reflect.ValueOf(fresh(t))
			if closer, ok := value.Interface().(interface{ Close() }); ok {
				defer closer.Close()
			}
			got := value.MethodByName(method.Name).Call(zeroArguments(ctx, method.Type))
			var results []any
			for _, result := range got {
				if method.Name == "Error" && result.IsZero() || result.Type() == reflect.TypeFor[context.Context]() && result.IsNil() {
					t.Error("there is nothing in what it returns")
				}
				if method.Name != "GoString" { // which has empty strings in Go's syntax
					results = append(results, result.Interface())
				}
			}
			return results
		})
	}
}

// zeroArguments returns arguments for a method, whose receiver is the first: zero values, and pointers to such.
func zeroArguments(ctx context.Context, method reflect.Type) (arguments []reflect.Value) {
	for i := 1; i < method.NumIn(); i++ {
		of := method.In(i)
		switch {
		case method.IsVariadic() && i == method.NumIn()-1:
		case of == reflect.TypeFor[context.Context]():
			arguments = append(arguments, reflect.ValueOf(ctx))
		case of == reflect.TypeFor[storage.Store]():
			arguments = append(arguments, reflect.ValueOf(new(storage.Memory)))
		case of == reflect.TypeFor[net.Listener]():
			arguments = append(arguments, reflect.ValueOf(closedListener{}))
		case of.Kind() == reflect.Pointer:
			arguments = append(arguments, reflect.New(of.Elem()))
		default:
			arguments = append(arguments, reflect.Zero(of))
		}
	}
	return arguments
}

// A closedListener is what is left of a listener.
type closedListener struct{}

func (closedListener) Accept() (net.Conn, error) { return nil, net.ErrClosed }
func (closedListener) Close() error              { return nil }
func (closedListener) Addr() net.Addr            { return &net.TCPAddr{} }

// try makes a call in a bubble, with a context that has ended or goes on, and judges how it ends and what it
// returns.
func try(t *testing.T, name string, ended bool, call func(t *testing.T, ctx context.Context) any) {
	t.Helper()
	if ended {
		name += "/ended"
	}
	t.Run(name, func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if ended {
				cancel()
			}
			done := make(chan string, 1)
			go func() {
				defer func() {
					if reason := recover(); reason != nil {
						done <- fmt.Sprintf("it panics: %v\n%s", reason, debug.Stack())
					}
					close(done)
				}()
				judge(t, call(t, ctx))
			}()
			select {
			case failure := <-done:
				if failure != "" {
					t.Error(failure)
				}
			case <-time.After(time.Hour):
				t.Error("it hangs")
			}
		})
	})
}

// judge uses what a call has returned, and reads the errors and texts.
func judge(t *testing.T, result any) {
	switch r := result.(type) {
	case []any:
		for _, one := range r {
			judge(t, one)
		}
	case error:
		if _, ok := errors.AsType[net.UnknownNetworkError](r); !ok { // whose text is Go's
			judge(t, r.Error())
		}
	case string:
		for _, flaw := range flawsOf(r) {
			t.Errorf("%s in %q", flaw, r)
		}
	case *diagnose.Report:
		judge(t, []any{r.String(), r.LogValue()})
	case slog.Value:
		judge(t, r.String())
	case context.Context:
		select {
		case <-r.Done():
			judge(t, []any{r.Err(), context.Cause(r)})
		default:
			judge(t, r.Err())
		}
	case iter.Seq2[string, error]:
		for key, err := range r {
			if judge(t, err); key == "" {
				break // a Watch goes on for as long as its context
			}
		}
	case iter.Seq2[storage.Record, error]:
		for _, err := range r {
			judge(t, err)
		}
	case acmetest.Fault:
		judge(t, r(http.NotFoundHandler()))
	case http.Handler:
		for _, target := range []string{"/", "/.well-known/acme-challenge/token"} {
			r.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), http.MethodGet, target, nil))
		}
	case net.Listener:
		_, err := r.Accept()
		judge(t, err)
	case *tls.Config:
		for _, protos := range [][]string{nil, {certmanager.ALPNProto}} {
			_, err := r.GetCertificate(&tls.ClientHelloInfo{SupportedProtos: protos})
			judge(t, err)
		}
	}
}

// flawsOf returns what shows that a text was put together from parts that were not there, or were there twice.
func flawsOf(text string) (flaws []string) {
	for _, hole := range []string{": :", "%!", "<nil>", "  ", " ,", " ;", " : ", "; ;", ": ;", "()", "''"} {
		if strings.Contains(text, hole) {
			flaws = append(flaws, fmt.Sprintf("the hole %q", hole))
		}
	}
	if strings.Contains(text, `""`) && !strings.Contains(text, "empty") {
		flaws = append(flaws, "a name that is empty, which is not said")
	}
	if strings.Trim(text, " :;,") != text {
		flaws = append(flaws, "a loose end")
	}
	for _, prefix := range []string{"acme", "solver", "storage", "certmanager", "deploy"} {
		if len(regexp.MustCompile(`\b`+prefix+": ").FindAllString(text, 2)) > 1 {
			flaws = append(flaws, fmt.Sprintf("twice the prefix %q", prefix))
		}
	}
	return flaws
}

func TestFlaws(t *testing.T) {
	for _, text := range []string{
		"acme: : : an address", "acme: change key: acme: no key", ": the authorization is pending", "the authorization is ",
		`the name "" is malformed`, "100%!d(MISSING)", "program ", "it failed: <nil>", "the order () failed",
	} {
		if flawsOf(text) == nil {
			t.Errorf("no flaw is found in %q", text)
		}
	}
	for _, text := range []string{"", "acme: get order: the URL is not one of https", `storage: the key "" is empty`} {
		if flaws := flawsOf(text); flaws != nil {
			t.Errorf("%q has %v", text, flaws)
		}
	}
}
