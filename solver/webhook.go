package solver

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/everseal/everseal/solver/internal/escape"
)

// Webhook is a [Provider] that calls a service of one's own over HTTP, in the form of lego's provider
// httpreq (its default mode): a POST to the endpoint's /present or /cleanup with the JSON object
//
//	{"fqdn":"_acme-challenge.www.example.com.","value":"LHDhK3oGRvkiefQnx7OOczTY5Tic_xZ6HcMOc_gmtoM"}
//
// where fqdn is the name of the record to create or delete, so that the service follows no CNAMEs itself. Any
// status of the 2xx kind is success, and its body is not read. Redirects are not followed. The beginning of any
// other answer stands in the error, but for what it repeats of the credentials and the URL, from five bytes on. A status
// of the 4xx kind says that nothing was done: what was not created so is not deleted.
type Webhook struct {
	URL      string // the endpoint, such as "https://dns.example.com/acme"; the only required field
	Username string // for HTTP basic authentication; empty: none
	Password string

	HTTPClient *http.Client // nil: one with a timeout of half a minute
}

const (
	webhookTimeout       = 30 * time.Second
	webhookReasonTimeout = 2 * time.Second // for the body of an answer that is no success
	maxReason            = 1 << 10         // bytes of it
)

// AppendRecord posts to /present.
func (w *Webhook) AppendRecord(ctx context.Context, r Record) error { return w.post(ctx, "present", r) }

// DeleteRecord posts to /cleanup.
func (w *Webhook) DeleteRecord(ctx context.Context, r Record) error { return w.post(ctx, "cleanup", r) }

// String names the endpoint by its host: any other part of the URL may be a secret, as the password is.
func (w Webhook) String() string {
	if u, err := url.Parse(w.URL); err == nil && u.Host != "" {
		return "webhook " + u.Host
	}
	return "webhook without a valid URL"
}

// GoString does as String.
func (w Webhook) GoString() string { return w.String() }

// LogValue does as String.
func (w Webhook) LogValue() slog.Value { return slog.StringValue(w.String()) }

// Ready reports what is wrong with the URL.
func (w *Webhook) Ready() error {
	_, err := w.endpoint()
	return err
}

func (w *Webhook) endpoint() (*url.URL, error) {
	endpoint, err := url.Parse(w.URL)
	if err != nil || endpoint.Host == "" || endpoint.Scheme != "https" && endpoint.Scheme != "http" {
		return nil, errors.New("solver: Webhook.URL is none of http or https with a host: set it to the endpoint's")
	}
	return endpoint, nil
}

func (w *Webhook) post(ctx context.Context, action string, r Record) error {
	endpoint, err := w.endpoint()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	request, err := w.request(ctx, endpoint.JoinPath(action), r)
	if err != nil {
		return err
	}
	secrets := w.secrets(endpoint)
	response, err := w.client().Do(request)
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err // without the URL
	}
	if err != nil {
		failure := fmt.Errorf("solver: %v: %s: %w", w, action, escape.Error(maskedError{err, secrets}))
		if dial, ok := errors.AsType[*net.OpError](err); ok && dial.Op == "dial" {
			return notCreated{failure} // nothing was sent
		}
		return failure
	}
	defer response.Body.Close()
	if response.StatusCode >= 200 && response.StatusCode <= 299 {
		return nil
	}
	defer time.AfterFunc(webhookReasonTimeout, cancel).Stop()
	reason, _ := io.ReadAll(io.LimitReader(response.Body, maxReason)) // what came is enough for the error
	text := secrets.mask(string(reason))
	if len(reason) == maxReason {
		text = secrets.maskCut(string(reason), false)
	}
	err = fmt.Errorf("solver: %v: %s: the answer is %.60q, %.200q", w, action, secrets.mask(response.Status), strings.TrimSpace(text))
	if response.StatusCode >= 400 && response.StatusCode <= 499 {
		return notCreated{err} // RFC 9110 §15.5: the request was not fulfilled; of other answers it is not known
	}
	return err
}

// secrets returns what the service is told in confidence: as it stands in the fields, and as it is sent.
func (w *Webhook) secrets(endpoint *url.URL) secrets {
	var all secrets
	all.add("Password", w.Password)
	all.add("Username", w.Username)
	all.add("credentials", base64.StdEncoding.EncodeToString([]byte(w.Username+":"+w.Password)))
	add := func(value string) {
		all.add("URL", value)
		all.add("URL", url.QueryEscape(value))
		all.add("URL", url.PathEscape(value))
	}
	for _, segment := range strings.Split(endpoint.Path, "/") {
		add(segment)
	}
	for _, parameter := range strings.Split(endpoint.RawQuery, "&") {
		_, value, _ := strings.Cut(parameter, "=")
		all.add("URL", value)
	}
	for _, values := range endpoint.Query() {
		for _, value := range values {
			add(value)
		}
	}
	password, _ := endpoint.User.Password()
	add(password)
	add(endpoint.User.Username())
	all.add("credentials", base64.StdEncoding.EncodeToString([]byte(endpoint.User.Username()+":"+password)))
	return all
}

func (w *Webhook) request(ctx context.Context, endpoint *url.URL, r Record) (*http.Request, error) {
	var body bytes.Buffer
	message := struct {
		FQDN  string `json:"fqdn"`
		Value string `json:"value"`
	}{r.Name + ".", r.Value}
	if err := json.NewEncoder(&body).Encode(message); err != nil {
		return nil, fmt.Errorf("solver: %v: %w", w, err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint.String(), &body)
	if err != nil {
		return nil, fmt.Errorf("solver: %v cannot be called", w) // the reason quotes the URL
	}
	request.Header.Set("Accept", "application/json")
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("User-Agent", "everseal webhook")
	if w.Username != "" || w.Password != "" {
		request.SetBasicAuth(w.Username, w.Password)
	}
	return request, nil
}

// client returns a client that follows no redirect: the credentials are for the endpoint alone.
func (w *Webhook) client() *http.Client {
	client := http.Client{Timeout: webhookTimeout}
	if w.HTTPClient != nil {
		client = *w.HTTPClient
	}
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &client
}
