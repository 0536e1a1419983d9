package statuspage_test

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"

	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/certmanager/statuspage"
	"github.com/everseal/everseal/storage"
)

// protected lets only those through who know the password, by HTTP Basic authentication. Equal hashes take the same time to
// compare wherever the passwords differ.
func protected(password string, h http.Handler) http.Handler {
	want := sha256.Sum256([]byte(password))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, given, _ := r.BasicAuth()
		if got := sha256.Sum256([]byte(given)); subtle.ConstantTimeCompare(got[:], want[:]) != 1 {
			w.Header().Set("WWW-Authenticate", `Basic realm="certificates"`)
			http.Error(w, "a password is wanted", http.StatusUnauthorized)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// The page is for those who know a password.
func ExampleHandler() {
	m, err := certmanager.New(certmanager.Config{Names: []string{"example.com"}, AgreeToTerms: true, Storage: new(storage.Memory)})
	if err != nil {
		log.Fatal(err)
	}
	password := "correct horse battery staple" // from the environment or a file
	mux := http.NewServeMux()
	mux.Handle("/certificates", protected(password, statuspage.Handler(m)))

	for _, given := range []string{"", password} {
		request := httptest.NewRequest("GET", "https://example.com/certificates", nil)
		request.SetBasicAuth("admin", given)
		answer := httptest.NewRecorder()
		mux.ServeHTTP(answer, request)
		fmt.Println(answer.Code, answer.Header().Get("Content-Type"))
	}
	// Output:
	// 401 text/plain; charset=utf-8
	// 200 text/html; charset=utf-8
}
