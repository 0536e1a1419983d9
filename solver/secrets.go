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
	var pairs []string
	for _, part := range s.parts() {
		pairs = append(pairs, part.text, part.name)
	}
	return strings.NewReplacer(pairs...).Replace(text)
}

// maskCut is mask for a text that was cut off, perhaps amid a secret: at its beginning, or else at its end.
func (s secrets) maskCut(text string, atBeginning bool) string {
	masked := s.mask(text)
	rest := masked
	for _, part := range s.parts() {
		for n := minSecret; n < len(part.text); n++ {
			if left, ok := strings.CutPrefix(masked, part.text[len(part.text)-n:]); ok && atBeginning && len(left) < len(rest) {
				rest = left
			}
			if left, ok := strings.CutSuffix(masked, part.text[:n]); ok && !atBeginning && len(left) < len(rest) {
				rest = left
			}
		}
	}
	return rest
}

// A secretPart is a secret, or a line of one, and what stands in its place.
type secretPart struct{ text, name string }

// parts returns the longest first: one may begin as another does.
func (s secrets) parts() []secretPart {
	var parts []secretPart
	for _, named := range s {
		name, secret, _ := strings.Cut(named, "=")
		for _, part := range append(strings.Split(secret, "\n"), secret) {
			if part = strings.TrimSpace(part); len(part) >= minSecret {
				parts = append(parts, secretPart{part, "<" + name + ">"})
			}
		}
	}
	slices.SortStableFunc(parts, func(a, b secretPart) int { return len(b.text) - len(a.text) })
	return parts
}

// A maskedError is an error without the secrets in its text.
type maskedError struct {
	error
	secrets secrets
}

func (e maskedError) Error() string { return e.secrets.mask(e.error.Error()) }

func (e maskedError) Unwrap() error { return e.error }
