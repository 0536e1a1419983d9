package examples

import (
	"io/fs"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// A document is a page of the repository in Markdown.
type document struct {
	name   string // path from the repository's root, with slashes
	text   string // without its blocks
	blocks []codeBlock
}

// A codeBlock is what stands between two fences.
type codeBlock struct {
	language string
	text     string
	line     int // of the page on which it begins
}

// documents returns all pages, but those that tests read.
func documents(t *testing.T) []document {
	t.Helper()
	var all []document
	err := filepath.WalkDir("..", func(name string, entry fs.DirEntry, err error) error {
		base := entry.Name()
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (base == "testdata" || base == ".git"):
			return filepath.SkipDir
		case entry.IsDir() || filepath.Ext(name) != ".md":
			return nil
		}
		relative, err := filepath.Rel("..", name)
		all = append(all, parseDocument(t, filepath.ToSlash(relative), string(read(t, name))))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 25 {
		t.Fatalf("only %d pages were found", len(all))
	}
	return all
}

func parseDocument(t *testing.T, name, text string) document {
	t.Helper()
	d := document{name: name}
	var prose strings.Builder
	var block *codeBlock
	number := 0
	for line := range strings.Lines(text) {
		number++
		fence, isFence := strings.CutPrefix(strings.TrimSpace(line), "```")
		switch {
		case isFence && block == nil:
			block = &codeBlock{language: fence, line: number + 1}
			prose.WriteString("\n")
		case isFence:
			d.blocks = append(d.blocks, *block)
			block = nil
		case block != nil:
			block.text += line
		default:
			prose.WriteString(line)
		}
	}
	if block != nil {
		t.Errorf("%s: the block that begins before line %d has no end", name, block.line)
	}
	d.text = prose.String()
	return d
}

// headings returns the anchors of the page's headings, as GitHub makes them.
func (d *document) headings() []string {
	var anchors []string
	for _, match := range regexp.MustCompile(`(?m)^#+ +(.*)$`).FindAllStringSubmatch(d.text, -1) {
		title := regexp.MustCompile(`\]\([^)]*\)`).ReplaceAllString(match[1], "")
		anchor := regexp.MustCompile(`[^\p{L}\p{N} _-]`).ReplaceAllString(strings.ToLower(title), "")
		anchors = append(anchors, strings.ReplaceAll(anchor, " ", "-"))
	}
	return anchors
}

// links returns the targets of the page's links, but those to elsewhere.
func (d *document) links() []string {
	var targets []string
	for _, match := range regexp.MustCompile(`\]\(([^)\s]+)\)`).FindAllStringSubmatch(d.text, -1) {
		if u, err := url.Parse(match[1]); err != nil || u.Scheme == "" {
			targets = append(targets, match[1])
		}
	}
	return targets
}

// spans returns what stands in the page as code within a line.
func (d *document) spans() []string {
	var spans []string
	for _, match := range regexp.MustCompile("`([^`\n]+)`").FindAllStringSubmatch(d.text, -1) {
		spans = append(spans, match[1])
	}
	return spans
}

// Each link leads to a file or folder, and if it has an anchor to a heading.
func TestDocumentsLinkToWhatThereIs(t *testing.T) {
	pages := make(map[string]*document)
	for _, d := range documents(t) {
		pages[d.name] = &d
	}
	count := 0
	for name, d := range pages {
		for _, link := range d.links() {
			count++
			target, anchor, _ := strings.Cut(link, "#")
			target = path.Join(path.Dir(name), target)
			if target == path.Dir(name) && strings.HasPrefix(link, "#") {
				target = name
			}
			if _, err := os.Stat(filepath.Join("..", filepath.FromSlash(target))); err != nil || strings.HasPrefix(target, "..") {
				t.Errorf("%s: the link %s leads to nothing in the repository", name, link)
				continue
			}
			if anchor == "" {
				continue
			}
			if page := pages[target]; page == nil || !slices.Contains(page.headings(), anchor) {
				t.Errorf("%s: the link %s leads to no heading", name, link)
			}
		}
	}
	if count < 50 {
		t.Errorf("only %d links were found", count)
	}
}

// Whoever begins with the README gets to each page by links. GitHub shows those of .github by itself.
func TestDocumentsAreLinkedFromTheReadme(t *testing.T) {
	pages := make(map[string]*document)
	for _, d := range documents(t) {
		pages[d.name] = &d
	}
	reached := map[string]bool{}
	var follow func(name string)
	follow = func(name string) {
		d := pages[name]
		if d == nil {
			name = path.Join(name, "README.md") // of a folder
			d = pages[name]
		}
		if d == nil || reached[name] {
			return
		}
		reached[name] = true
		for _, link := range d.links() {
			target, _, _ := strings.Cut(link, "#")
			follow(path.Join(path.Dir(name), target))
		}
	}
	follow("README.md")
	for name := range pages {
		if !reached[name] && !strings.HasPrefix(name, ".github/") {
			t.Errorf("no link leads to %s", name)
		}
	}
}

// Figures that were measured stand in a section with the command that measures them, or with a link to the page that has it.
func TestDocumentsSayWhatMeasured(t *testing.T) {
	figure := regexp.MustCompile(`\d (ns|µs|us|ms)\b|\d\.\d+ (s|GB|MB|MiB)\b`)
	measured := 0
	for _, d := range documents(t) {
		for section := range strings.SplitSeq(d.text, "\n## ") {
			found := figure.FindString(section)
			if found == "" {
				continue
			}
			measured++
			if !regexp.MustCompile("`[^`]*(go test -|Benchmark|TestYear|-ldflags)|scale.md").MatchString(section) {
				title, _, _ := strings.Cut(section, "\n")
				t.Errorf("%s, %s: %q is a figure, and no command stands beside it", d.name, title, found)
			}
		}
	}
	if measured < 8 {
		t.Errorf("only %d sections have figures", measured)
	}
}

// TestPackageIsReadInTenMinutes bounds what go doc shows of the manager's package: 2,300 words at 230 a minute, beside its index.
func TestPackageIsReadInTenMinutes(t *testing.T) {
	text, _, _ := strings.Cut(string(read(t, "../certmanager/doc.go")), "\npackage certmanager")
	words := len(strings.Fields(strings.ReplaceAll(text, "//", "")))
	if words > 2_300 || words < 500 {
		t.Errorf("the package's documentation has %d words", words)
	}
}
