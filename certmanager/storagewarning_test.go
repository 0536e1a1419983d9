package certmanager_test

import (
	"os"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/storage"
)

// An operator who does nothing special is told that others can read the folder with the keys.
func TestReadableStorageIsLogged(t *testing.T) {
	if os.PathSeparator == '\\' {
		t.Skip("Windows has no such permissions")
	}
	for mode, warns := range map[os.FileMode]bool{0o755: true, 0o700: false} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			folder := t.TempDir()
			if err := os.Chmod(folder, mode); err != nil {
				t.Fatal(err)
			}
			w.store = storage.Dir(folder)
			var logged logs
			config := w.config("example.com")
			config.Logger = logged.logger()
			_, stop := w.start(config)
			w.await(certmanager.EventObtained, "example.com", 1)
			stop()
			if n := strings.Count(logged.String(), "chmod 0700"); warns != (n == 1) {
				t.Errorf("mode %o: %d warnings", mode, n)
			}
		})
	}
}
