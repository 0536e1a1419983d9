package escape

import (
	"errors"
	"io"
	"strings"
	"testing"
)

func TestText(t *testing.T) {
	for text, want := range map[string]string{
		"":                            "",
		"as it is: \u00e4 \u4e2d":     "as it is: \u00e4 \u4e2d",
		`with "quotes"`:               `with "quotes"`,
		"\x1b[31m\r\n\x00":            `\x1b[31m\r\n\x00`,
		"\xff":                        `\xff`,
		"\u202e":                      `\u202e`,
		strings.Repeat("a", 40):       strings.Repeat("a", 40),
		strings.Repeat("a", 41):       strings.Repeat("a", 40) + "…",
		strings.Repeat("ä", 21):       strings.Repeat("ä", 20) + "…",
		"a" + strings.Repeat("ä", 21): "a" + strings.Repeat("ä", 19) + "…", // not half of one
	} {
		if got := Text(text, 40); got != want {
			t.Errorf("%q is shown as %q, want %q", text, got, want)
		}
	}
}

func TestError(t *testing.T) {
	err := Error(errors.Join(io.EOF, errors.New(strings.Repeat("\x00", 1000))))
	if text := err.Error(); !strings.HasPrefix(text, `EOF\n\x00`) || len(text) > 1300 || !errors.Is(err, io.EOF) {
		t.Errorf("%q", err)
	}
}

func TestErrors(t *testing.T) {
	all := Errors{io.EOF, io.ErrNoProgress}
	if all.Error() != io.EOF.Error()+"; "+io.ErrNoProgress.Error() || !errors.Is(all, io.ErrNoProgress) {
		t.Errorf("%v", all)
	}
}
