package kubernetes

import (
	"os"
	"strings"
	"testing"
)

// The roles that doc.go and README.md show are those of rbac.yaml, with which the tests run.
func TestDocumentedRoles(t *testing.T) {
	roles, err := os.ReadFile("rbac.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for name, shown := range map[string]string{
		"doc.go":    "//\t" + strings.ReplaceAll(strings.TrimSpace(string(roles)), "\n", "\n//\t") + "\n",
		"README.md": "```yaml\n" + string(roles) + "```\n",
	} {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(text), shown) {
			t.Errorf("%s does not show rbac.yaml", name)
		}
	}
}
