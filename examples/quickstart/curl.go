package main

import (
	"os"
	"path/filepath"
	"strings"
)

// curlCommand returns the command that gets the page. It needs no quotes in any shell.
func curlCommand(root, url string) string {
	words := []string{"curl", "--cacert", root}
	for _, name := range []string{"https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"} {
		if os.Getenv(name) != "" {
			words = append(words, "--noproxy", "localhost")
			break
		}
	}
	return strings.Join(append(words, url), " ")
}

// A rootFile is the CA's root certificate in a file for curl.
type rootFile struct {
	path   string
	remove func()
}

// writeRoot writes the root certificate into the folder, or, if a shell would want that folder's name
// in quotes, into a temporary one that lasts as long as the program.
func writeRoot(folder string, pem []byte) (rootFile, error) {
	root := rootFile{filepath.Join(folder, "root.pem"), func() {}}
	if !isPlain(root.path) {
		temporary, err := os.MkdirTemp("", "everseal-")
		if err != nil {
			return rootFile{}, err
		}
		root = rootFile{filepath.Join(temporary, "root.pem"), func() { _ = os.RemoveAll(temporary) }}
	}
	if err := os.WriteFile(root.path, pem, 0o600); err != nil {
		root.remove()
		return rootFile{}, err
	}
	return root, nil
}

// isPlain reports whether no shell finds anything special in the path.
func isPlain(path string) bool {
	return strings.IndexFunc(path, func(r rune) bool {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
		return !letter && r != filepath.Separator && !strings.ContainsRune("/._-+:@", r)
	}) < 0
}
