package migrate_test

import (
	"context"
	"crypto"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/certmanager/migrate"
)

type signer = crypto.Signer

// A source is a tool: how the world writes what it would have, and how that is migrated.
type source struct {
	write   func(w *world, folder string, all []pair)
	migrate func(ctx context.Context, g *migrate.Migration, folder string) (*migrate.Report, error)

	single    bool // its certificates have one name each
	noAccount bool
	namesNoCA bool // but for Migration.Directory
}

func sources() map[string]source {
	return map[string]source{
		"certbot": {write: (*world).certbot, migrate: func(ctx context.Context, g *migrate.Migration, folder string) (*migrate.Report, error) {
			return g.Certbot(ctx, folder)
		}},
		"lego 4": {write: (*world).legoV4, migrate: func(ctx context.Context, g *migrate.Migration, folder string) (*migrate.Report, error) {
			return g.Lego(ctx, folder)
		}},
		"lego 5": {write: (*world).legoV5, migrate: func(ctx context.Context, g *migrate.Migration, folder string) (*migrate.Report, error) {
			return g.Lego(ctx, folder)
		}},
		"acme.sh": {write: (*world).acmesh, migrate: func(ctx context.Context, g *migrate.Migration, folder string) (*migrate.Report, error) {
			return g.ACMESh(ctx, folder)
		}},
		"dehydrated": {write: (*world).dehydrated, migrate: func(ctx context.Context, g *migrate.Migration, folder string) (*migrate.Report, error) {
			return g.Dehydrated(ctx, folder)
		}},
		"certmagic": {write: (*world).certmagic, migrate: func(ctx context.Context, g *migrate.Migration, folder string) (*migrate.Report, error) {
			return g.CertMagic(ctx, folder)
		}},
		"autocert": {write: (*world).autocert, single: true, namesNoCA: true, migrate: func(ctx context.Context, g *migrate.Migration, folder string) (*migrate.Report, error) {
			return g.Autocert(ctx, folder)
		}},
		"traefik": {write: (*world).traefik, migrate: func(ctx context.Context, g *migrate.Migration, folder string) (*migrate.Report, error) {
			return g.Traefik(ctx, filepath.Join(folder, "acme.json"))
		}},
		"secrets": {write: (*world).secrets, noAccount: true, namesNoCA: true, migrate: func(ctx context.Context, g *migrate.Migration, folder string) (*migrate.Report, error) {
			f, err := os.Open(filepath.Join(folder, "secrets.json"))
			if err != nil {
				return nil, err
			}
			defer f.Close()
			return g.Secrets(ctx, f)
		}},
		"pem": {write: (*world).pemFiles, noAccount: true, namesNoCA: true, migrate: func(ctx context.Context, g *migrate.Migration, folder string) (*migrate.Report, error) {
			return g.PEM(ctx, folder)
		}},
	}
}

// forEachSource runs a subtest, in a bubble, for each source with a world in which the tool has three certificates.
func forEachSource(t *testing.T, test func(t *testing.T, s source, w *world, all []pair, folder string)) {
	all := sources()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		s := all[name]
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				names := []string{"example.com", "*.example.net", "a.example.org b.example.org"}
				if s.single {
					names = []string{"example.com", "example.net", "a.example.org"}
				}
				pairs := w.obtainAll(names...)
				s.write(w, folder, pairs)
				test(t, s, w, pairs, folder)
			})
		})
	}
}

// migration returns that of the source into a new manager.
func (s source) migration(t *testing.T, w *world, all []pair) *migrate.Migration {
	g := &migrate.Migration{Manager: newManager(t, w.config(sets(all)...))}
	if s.namesNoCA {
		g.Directory = w.ca.URL
	}
	return g
}

// TestSources has a manager take over from each tool: it serves what the tool had without a request to the CA, also after a
// restart, and renews it when it is due, with the same account, telling the CA what it replaces.
func TestSources(t *testing.T) {
	forEachSource(t, func(t *testing.T, s source, w *world, all []pair, folder string) {
		before := tree(t, folder)
		asked, made := w.requests(), w.seenAccounts()
		g := s.migration(t, w, all)
		report, err := s.migrate(t.Context(), g, folder)
		if err != nil {
			t.Fatal(err)
		}
		want := len(all) + 1
		if s.noAccount {
			want--
		}
		if len(report.Taken) != want || len(report.Left) != 0 {
			t.Fatalf("want %d taken:\n%v", want, report)
		}
		if !maps.Equal(before, tree(t, folder)) {
			t.Error("the source has changed")
		}
		for _, m := range []*certmanager.Manager{g.Manager, newManager(t, w.config(sets(all)...))} {
			stop := run(t, m)
			time.Sleep(24 * time.Hour)
			for _, p := range all {
				if leaf := served(t, m, p.names[0]); leaf != nil && !leaf.Equal(p.leaf(t)) {
					t.Errorf("%s: another certificate is served", p.names[0])
				}
			}
			stop()
		}
		if n := w.requests() - asked; n != 0 {
			t.Errorf("%d requests to the CA", n)
		}
		m := newManager(t, w.config(sets(all)...))
		stop := run(t, m)
		defer stop()
		time.Sleep(70 * 24 * time.Hour)
		for _, p := range all {
			if leaf := served(t, m, p.names[0]); leaf != nil && leaf.Equal(p.leaf(t)) {
				t.Errorf("%s: it is not renewed", p.names[0])
			}
		}
		orders := w.ca.Orders()
		if len(orders) != 2*len(all) {
			t.Errorf("%d orders", len(orders))
		}
		if s.noAccount {
			return
		}
		for _, o := range orders[len(all):] {
			if o.Replaces == "" {
				t.Errorf("%v: the order does not say what it replaces", o.Names)
			}
		}
		if n := w.seenAccounts() - made; n != 0 {
			t.Errorf("%d accounts were made", n)
		}
	})
}

// tree returns the files of a folder with what they have.
func tree(t *testing.T, folder string) map[string]string {
	t.Helper()
	files := make(map[string]string)
	err := filepath.WalkDir(folder, func(name string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := os.ReadFile(name)
		files[name] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}
