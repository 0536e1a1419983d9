package main

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/everseal/everseal/acme/acmetest"
)

// parseFault reads a fault: [RESOURCE:][next=N:|share=X:]FAULT. All but FAULT can be nested at will.
func parseFault(ca *acmetest.Server, text string) (acmetest.Fault, error) {
	kinds := faultKinds(ca)
	name, value, _ := strings.Cut(text, "=")
	if makeFault, ok := kinds[name]; ok {
		return makeFault(value)
	}
	word, rest, more := strings.Cut(text, ":")
	if !more {
		return nil, fmt.Errorf("%q is no fault; there are %q", text, slices.Sorted(maps.Keys(kinds)))
	}
	inner, err := parseFault(ca, rest)
	if err != nil {
		return nil, err
	}
	switch name, value, _ := strings.Cut(word, "="); name {
	case "next":
		n, err := strconv.Atoi(value)
		if err != nil || n < 1 {
			return nil, fmt.Errorf("%q: want next=N with a number from 1", word)
		}
		return acmetest.Next(n, inner), nil
	case "share":
		share, err := strconv.ParseFloat(value, 64)
		if err != nil || !(share > 0 && share <= 1) {
			return nil, fmt.Errorf("%q: want share=X with a number above 0, up to 1", word)
		}
		return acmetest.Share(share, inner), nil
	}
	var limited acmetest.Fault
	err = caught(func() { limited = acmetest.On(word, inner) })
	return limited, err
}

// A faultKind makes a fault from what follows its name and "=".
type faultKind func(value string) (acmetest.Fault, error)

func faultKinds(ca *acmetest.Server) map[string]faultKind {
	const detail = "acmetest was told so by -fault"
	return map[string]faultKind{
		"status": withNumber(func(status int) acmetest.Fault {
			return acmetest.Answer(status, "text/html", "<h1>"+http.StatusText(status)+"</h1>\n")
		}, 200, 599),
		"problem": func(value string) (acmetest.Fault, error) {
			code, problemType, _ := strings.Cut(value, "/")
			status, err := strconv.Atoi(code)
			if err != nil || status < 400 || status > 599 || problemType == "" {
				return nil, errors.New("want problem=CODE/TYPE, such as problem=403/unauthorized")
			}
			return ca.Problem(status, problemType, detail), nil
		},
		"rate-limited":  func(value string) (acmetest.Fault, error) { return ca.RateLimited(value), nil },
		"bad-nonce":     alone(ca.BadNonce),
		"delay":         withDuration(acmetest.Delay),
		"delay-answer":  withDuration(acmetest.DelayAnswer),
		"cut":           alone(acmetest.Cut),
		"cut-answer":    alone(acmetest.CutAnswer),
		"cut-body":      alone(acmetest.CutBody),
		"oversized":     withNumber(func(n int) acmetest.Fault { return acmetest.Oversized(int64(n)) }, 1, 1<<40),
		"relative-urls": alone(acmetest.RelativeURLs),
		"header": func(text string) (acmetest.Fault, error) {
			name, value, ok := strings.Cut(text, "=")
			if !ok || name == "" {
				return nil, errors.New("want header=NAME=VALUE")
			}
			return acmetest.WithHeader(name, value), nil
		},
		"no-header":  withText(acmetest.WithoutHeader),
		"processing": withNumber(ca.Processing, 1, 1<<20),
		"invalidate": withText(func(problemType string) acmetest.Fault { return ca.Invalidate(problemType, detail) }),
		"fail-issuance": withText(func(problemType string) acmetest.Fault {
			return ca.FailIssuance(problemType, detail)
		}),
	}
}

func alone(makeFault func() acmetest.Fault) faultKind {
	return func(value string) (acmetest.Fault, error) {
		if value != "" {
			return nil, fmt.Errorf("nothing can follow this fault, as %q does", value)
		}
		return makeFault(), nil
	}
}

func withText(makeFault func(string) acmetest.Fault) faultKind {
	return func(value string) (acmetest.Fault, error) {
		if value == "" {
			return nil, errors.New("something must follow this fault after \"=\": see acmetest -h")
		}
		return makeFault(value), nil
	}
}

func withNumber(makeFault func(int) acmetest.Fault, least, most int) faultKind {
	return func(value string) (acmetest.Fault, error) {
		n, err := strconv.Atoi(value)
		if err != nil || n < least || n > most {
			return nil, fmt.Errorf("want a number from %d to %d after \"=\", not %q", least, most, value)
		}
		return makeFault(n), nil
	}
}

func withDuration(makeFault func(time.Duration) acmetest.Fault) faultKind {
	return func(value string) (acmetest.Fault, error) {
		d, err := time.ParseDuration(value)
		if err != nil || d <= 0 {
			return nil, fmt.Errorf("want a duration such as 1.5s after \"=\", not %q", value)
		}
		return makeFault(d), nil
	}
}
