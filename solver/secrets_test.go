package solver

import (
	"strings"
	"testing"
)

// One secret may begin as another does.
func TestOverlappingSecrets(t *testing.T) {
	var output tail
	output.Write([]byte("login with secret-0123456789abcdef failed"))
	text := output.last([]string{"USER_ID=secret", "TOKEN=secret-0123456789abcdef"}).Error()
	if strings.Contains(text, "0123456789abcdef") {
		t.Errorf("%q", text)
	}
}
