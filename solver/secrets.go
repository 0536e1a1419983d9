package solver

import (
	"slices"
	"strings"
)

// secrets are what must not stand in an error, though a program or a service may repeat it: each as
// "name=secret", with the name that stands there instead.
type secrets []string

// minSecret is the length in bytes from which on something is a secret. Less is in many words.
const minSecret = 5

func (s *secrets) add(name, secret string) { *s = append(*s, name+"="+secret) }

// mask returns the text with names in the place of secrets. Of a secret that has several lines each is one:
// programs print them as they like.
func (s secrets) mask(text string) string {
	var pairs [][]string
	for _, named := range s {
		name, secret, _ := strings.Cut(named, "=")
		for _, part := range append(strings.Split(secret, "\n"), secret) {
			if part = strings.TrimSpace(part); len(part) >= minSecret {
				pairs = append(pairs, []string{part, "<" + name + ">"})
			}
		}
	}
	// The longest first: one may begin as another does.
	slices.SortStableFunc(pairs, func(a, b []string) int { return len(b[0]) - len(a[0]) })
	return strings.NewReplacer(slices.Concat(pairs...)...).Replace(text)
}

// A maskedError is an error without the secrets in its text.
type maskedError struct {
	error
	secrets secrets
}

func (e maskedError) Error() string { return e.secrets.mask(e.error.Error()) }

func (e maskedError) Unwrap() error { return e.error }
