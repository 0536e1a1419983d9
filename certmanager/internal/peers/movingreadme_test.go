package peers

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// The programs of the README are those that are compiled here.
func TestMovingReadme(t *testing.T) {
	readme, err := os.ReadFile("../../migrate/README.md")
	if err != nil {
		t.Fatal(err)
	}
	compiled, err := os.ReadFile("example_moving_test.go")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllSubmatch(readme, -1)
	if n := strings.Count(string(compiled), "\nfunc "); n != len(blocks) {
		t.Errorf("the README has %d programs, %d are compiled", len(blocks), n)
	}
	for _, block := range blocks {
		var body strings.Builder
		for line := range strings.Lines(string(block[1])) {
			if line != "\n" {
				body.WriteByte('\t')
			}
			body.WriteString(line)
		}
		if !strings.Contains(string(compiled), body.String()) {
			t.Errorf("this is not compiled:\n%s", block[1])
		}
	}
}
