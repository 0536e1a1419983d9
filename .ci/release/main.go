// Release tags a version of the core and of all nested modules that others can require: those whose folder is neither
// below one named internal nor below one whose name begins with a dot.
//
// In the repository nested modules require the core at v0.0.0 and replace that by its folder. Whoever requires a module
// does without its replacements, and go install refuses a module that has some. So the version of a nested module is a
// commit of its own, outside the branch, in which it requires the others at the version and replaces nothing.
//
// All of it is done in a clone in a temporary folder. There each module is compared with the version before by
// gorelease, and the go command makes from its tag what the module proxy will serve; from that, a program outside the
// repository is built and run, and the examples are installed. With -rehearse that is all. Otherwise the tags are then fetched
// into the repository. Nothing is pushed.
//
//	GOWORK=off go -C .ci/release run . -rehearse
//	GOWORK=off go -C .ci/release run . v0.1.0
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"golang.org/x/mod/semver"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("release: ")
	rehearse := flag.Bool("rehearse", false, "makes no tags in the repository; without a version, the one that the changelog begins with")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: release VERSION, or release -rehearse [VERSION]")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() > 1 || flag.NArg() == 0 && !*rehearse {
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, ".", flag.Arg(0), *rehearse); err != nil {
		log.Fatal(err)
	}
}

// run makes the version in the repository that the folder belongs to, or only rehearses it.
func run(ctx context.Context, folder, version string, rehearse bool) error {
	top, err := repository{folder: folder}.git(ctx, "rev-parse", "--show-toplevel")
	if err != nil {
		return err
	}
	origin := repository{folder: top}
	if rehearse {
		return withRelease(ctx, origin, version, func(*release) error { return nil })
	}
	if err := origin.ready(ctx, version); err != nil {
		return err
	}
	return withRelease(ctx, origin, version, func(r *release) error {
		var tags, refs []string
		for _, m := range r.modules {
			tags = append(tags, m.tag(version))
			refs = append(refs, "refs/tags/"+m.tag(version)+":refs/tags/"+m.tag(version))
		}
		if _, err := origin.git(ctx, append([]string{"fetch", "--quiet", "--no-tags", r.clone.folder}, refs...)...); err != nil {
			return err
		}
		fmt.Printf("The tags are made. To publish them, which can't be undone:\n\n\tgit push --atomic origin %s\n", strings.Join(tags, " "))
		return nil
	})
}

// ready returns why the repository can't have the version, or nil.
func (o repository) ready(ctx context.Context, version string) error {
	if !semver.IsValid(version) || semver.Canonical(version) != version {
		return fmt.Errorf("%q is no version such as v0.1.0", version)
	}
	changed, err := o.git(ctx, "status", "--porcelain")
	if err == nil && changed != "" {
		err = fmt.Errorf("there are changes that are not committed:\n%s", changed)
	}
	if err != nil {
		return err
	}
	existing, err := o.git(ctx, "tag", "--list", version, "*/"+version)
	if err == nil && existing != "" {
		err = fmt.Errorf("%s exists (%s): a version is never changed, so take another", version, strings.Fields(existing)[0])
	}
	if err != nil {
		return err
	}
	entry, err := o.changelog()
	switch {
	case err != nil:
		return err
	case entry.version != version:
		return fmt.Errorf("%s begins with %s: it must say first what is new in %s", changelogFile, entry.version, version)
	case !entry.dated:
		return fmt.Errorf("%s: the heading of %s must have its date, such as 2026-12-01", changelogFile, version)
	}
	stale, err := o.git(ctx, "grep", "--files-with-matches", "-e", "not published", "-e", "not released", "--", "README.md", "*/README.md", "*/doc.go")
	if err == nil {
		return fmt.Errorf("the documentation says that the modules are not published or not released, and the version would say so for ever:\n%s", stale)
	}
	if found := (&gitError{}); errors.As(err, &found) && found.status == 1 { // nothing is found
		return nil
	}
	return err
}
