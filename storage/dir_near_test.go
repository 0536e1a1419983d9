package storage_test

import (
	"slices"
	"strings"
	"testing"
)

// A listing that has opened a folder which is removed yields what is in the one made anew in its place.
func TestDirListFolderMadeAnew(t *testing.T) {
	d := dirOfThree(t)
	var keys []string
	for key, err := range d.List(t.Context(), "certificates") {
		if err != nil {
			t.Fatal(err)
		}
		if keys = append(keys, key); len(keys) > 1 {
			continue
		}
		for _, name := range []string{"a", "b", "c"} {
			mustDelete(t, d, "certificates/issuer/"+name+"/p256")
		}
		for _, name := range []string{"a", "b", "c"} {
			mustCreate(t, d, "certificates/issuer/"+name+"/p256", "new")
		}
	}
	if slices.Sort(keys); len(slices.Compact(keys)) != 3 {
		t.Errorf("List yields %s, want all three", strings.Join(keys, ", "))
	}
}
