package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// A repository is a checkout of git's.
type repository struct {
	folder      string
	environment []string // in addition to the process's
}

// A gitError is a command of git that has failed.
type gitError struct {
	arguments []string
	status    int
	said      string
}

func (e *gitError) Error() string {
	return fmt.Sprintf("git %s: status %d: %s", strings.Join(e.arguments, " "), e.status, e.said)
}

// git runs a command of git and returns what it prints, without white space around it.
func (o repository) git(ctx context.Context, arguments ...string) (string, error) {
	command := exec.CommandContext(ctx, "git", arguments...)
	command.Dir = o.folder
	command.Env = append(os.Environ(), o.environment...)
	var stderr bytes.Buffer
	command.Stderr = &stderr
	out, err := command.Output()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		err = &gitError{arguments, exit.ExitCode(), strings.TrimSpace(stderr.String())}
	}
	return strings.TrimSpace(string(out)), err
}

// cloned clones the repository's HEAD, with all tags, into a new folder. Who is named in the repository's configuration
// makes the clone's commits.
func (o repository) cloned(ctx context.Context, folder string) (repository, error) {
	clone := repository{folder: folder}
	name, email := "release", "release@localhost"
	if configured, err := o.git(ctx, "config", "user.name"); err == nil {
		name = configured
	}
	if configured, err := o.git(ctx, "config", "user.email"); err == nil {
		email = configured
	}
	clone.environment = []string{"GIT_AUTHOR_NAME=" + name, "GIT_AUTHOR_EMAIL=" + email, "GIT_COMMITTER_NAME=" + name, "GIT_COMMITTER_EMAIL=" + email}
	head, err := o.git(ctx, "rev-parse", "HEAD")
	if err != nil {
		return clone, err
	}
	if _, err := o.git(ctx, "clone", "--quiet", "--no-checkout", ".", folder); err != nil {
		return clone, err
	}
	_, err = clone.git(ctx, "checkout", "--quiet", "--detach", head)
	return clone, err
}

const changelogFile = ".github/CHANGELOG.md"

// An entry is what the changelog says of one version.
type entry struct {
	version string
	dated   bool // the version has been released, or is about to be
	text    string
}

var headings = regexp.MustCompile(`(?m)^## (v\S+) - (.+)$`)

// changelog returns the changelog's first entry.
func (o repository) changelog() (entry, error) {
	content, err := os.ReadFile(filepath.Join(o.folder, changelogFile))
	if err != nil {
		return entry{}, err
	}
	found := headings.FindAllSubmatchIndex(content, 2)
	if len(found) == 0 {
		return entry{}, fmt.Errorf("%s has no heading such as %q", changelogFile, "## v0.1.0 - unreleased")
	}
	end := len(content)
	if len(found) == 2 {
		end = found[1][0]
	}
	first := found[0]
	_, undated := time.Parse(time.DateOnly, string(content[first[4]:first[5]]))
	return entry{string(content[first[2]:first[3]]), undated == nil, string(content[first[1]:end])}, nil
}
