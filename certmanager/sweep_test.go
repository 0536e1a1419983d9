package certmanager_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/certmanager/internal/record"
	"github.com/everseal/everseal/storage/storagetest"
)

// A litter is what members that are gone have left in a world's storage.
type litter struct {
	*world
	ca  *localCA
	key crypto.Signer
	der map[int64][]byte // certificates by their end
}

func newLitter(w *world, ca *localCA) *litter {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		w.t.Fatal(err)
	}
	return &litter{w, ca, key, make(map[int64][]byte)}
}

// budgetFullAt returns the record of a budget that is full again at a time from now.
func budgetFullAt(d time.Duration) []byte {
	text, _ := (&record.Budget{Full: time.Now().Add(d)}).Encode() // there is nothing that could not be encoded
	return text
}

// put stores a value at the key, and returns the key.
func (l *litter) put(key string, value []byte) string {
	l.t.Helper()
	if _, err := l.store.Save(l.t.Context(), key, value, ""); err != nil {
		l.t.Fatal(err)
	}
	return key
}

// certificate stores one of 90 days that ended so long ago, and returns the key.
func (l *litter) certificate(issuer, name, keyType string, ended time.Duration) string {
	return l.put(record.CertificateKey(issuer, name, keyType), l.certificateText(record.Meta{Issuer: issuer, Names: []string{name}, KeyType: keyType}, ended, ""))
}

func (l *litter) certificateText(meta record.Meta, ended time.Duration, reference string) []byte {
	l.t.Helper()
	end := time.Now().Add(-ended)
	der := l.der[end.Unix()]
	if der == nil {
		var err error
		template := &x509.Certificate{SerialNumber: big.NewInt(end.Unix()), NotBefore: end.Add(-90 * day), NotAfter: end, DNSNames: meta.Names, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
		if der, err = x509.CreateCertificate(rand.Reader, template, l.ca.root, l.key.Public(), l.ca.key); err != nil {
			l.t.Fatal(err)
		}
		l.der[end.Unix()] = der
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		l.t.Fatal(err)
	}
	meta.Obtained = end.Add(-90 * day).UTC()
	c, err := record.New(meta, record.Key{Signer: l.key, Reference: reference}, &acme.Certificate{Leaf: leaf, Chain: [][]byte{der}}, nil)
	if err != nil {
		l.t.Fatal(err)
	}
	text, err := c.Encode()
	if err != nil {
		l.t.Fatal(err)
	}
	return text
}

// freeLease is the record of a lease that nobody holds.
func freeLease(value string) []byte { return leaseOf("", value) }

func leaseOf(owner, value string) []byte {
	return []byte(`{"version":1,"owner":"` + owner + `","fence":3,"term":"1m0s","beat":"x"}` + "\n" + value)
}

// failedWork is the value of a record of work that failed so long ago.
func failedWork(ago time.Duration) string {
	return `{"version":2,"attempts":3,"failed":"` + time.Now().Add(-ago).UTC().Format(time.RFC3339) + `","error":"refused"}`
}

// answer is that to a challenge, published so long ago.
func (l *litter) answer(key string, ago time.Duration, more string) string {
	return l.put("challenges/"+key, []byte(`{"token":"t","keyAuthorization":"t.k","identifier":{"type":"dns","value":"example.com"},"directoryURL":"https://ca.example.com","created":"`+
		time.Now().Add(-ago).UTC().Format(time.RFC3339)+`"`+more+`}`))
}

// pending is a TXT record of a Responder, created so long ago.
func (l *litter) pending(key string, ago time.Duration, value string) string {
	return l.put("challenges/responder/"+key, []byte(`{"name":"_acme-challenge.example.com","value":"`+value+`","created":"`+time.Now().Add(-ago).UTC().Format(time.RFC3339)+`"}`))
}

// deletion is of a certificate that was deleted so long ago, and has ended so long ago; zero: nobody knows.
func (l *litter) deletion(name string, deleted, ended time.Duration) string {
	l.t.Helper()
	now := time.Now()
	d := record.Deletion{Deleted: now.Add(-deleted), Obtained: now.Add(-deleted - 30*day)}
	if ended > 0 {
		d.End = now.Add(-ended)
	}
	value, err := d.Encode()
	if err != nil {
		l.t.Fatal(err)
	}
	return l.put(record.DeletionKey(record.CertificateKey("local", name, "ecdsa-p256")), value)
}

func (l *litter) has(key string) bool {
	_, err := l.store.Load(l.t.Context(), key)
	return err == nil
}

// sweptBy returns a configuration of a manager that sweeps each hour and has one name.
func (w *world) sweptBy(ca *localCA) certmanager.Config {
	config := w.fromLocalCA(ca, "managed.example.com")
	config.SweepInterval = time.Hour
	return config
}

// sweepTime is longer than it takes from the start of a manager to the end of its first sweep of few records.
const sweepTime = 90 * time.Minute

// TestSweepVerdicts has a storage full of what is needed and what is not: each record stays, goes with the first sweep, or fades
// when months have passed in which nobody needed it.
func TestSweepVerdicts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const stays, goes, fades = "stays", "goes", "fades"
		w, local := newWorld(t), newLocalCA(t, "local")
		l := newLitter(w, local)
		p256 := "ecdsa-p256"
		work := func(issuer, name string, value []byte) string {
			return l.put(record.WorkKey(issuer, name, p256), value)
		}
		future := strings.Replace(string(l.certificateText(record.Meta{Issuer: "local", Names: []string{"future.example.com"}, KeyType: p256}, 400*day, "")), "certificate 1", "certificate 9", 1)
		elsewhere := l.certificateText(record.Meta{Issuer: "local", Names: []string{"elsewhere.example.com"}, KeyType: p256}, 400*day, "everseal-certificate-x")
		journal := `{"version":2,"journals":{"local":{"notes":{"a":1}}}}`
		verdicts := map[string]string{
			l.certificate("local", "broken.example.com", p256, 365*day):                       fades, // managed, and can't be renewed
			l.certificate("local", "gone.example.com", p256, 31*day):                          goes,
			l.certificate("local", "just.example.com", p256, 29*day):                          fades,
			l.certificate("local", "valid.example.com", p256, -day):                           fades,
			l.certificate("former", "managed.example.com", p256, 60*day):                      goes, // by another issuer
			l.certificate("former", "busy.example.com", p256, 60*day):                         fades,
			l.certificate("former", "busy2.example.com", p256, 60*day):                        fades,
			l.certificate("local", "managed.example.com", "rsa-2048", 60*day):                 goes,
			l.put(record.CertificateKey("local", "future.example.com", p256), []byte(future)): stays,
			l.put(record.CertificateKey("local", "elsewhere.example.com", p256), elsewhere):   stays, // no Config.Keys
			l.put(record.CertificateKey("local", "moved.example.com", p256), elsewhere):       stays, // another's
			l.put(record.CertificateKey("local", "garbage.example.com", p256), []byte("x")):   stays,
			l.put("certificates/local/later/ecdsa-p256/history", []byte(future)):              stays, // of a later version

			work("local", "idle.example.com", freeLease("")):                                                                                             goes,
			work("local", "idle2.example.com", freeLease(`{"version":2}`)):                                                                               goes,
			work("former", "managed.example.com", freeLease(`{"version":2}`)):                                                                            goes,
			work("chain", "busy.example.com", freeLease(failedWork(10*day))):                                                                             fades,
			work("chain", "busy2.example.com", leaseOf("someone", "")):                                                                                   fades,
			work("local", "quiet.example.com", freeLease(failedWork(61*day))):                                                                            goes,
			work("local", "quiet2.example.com", freeLease(failedWork(50*day))):                                                                           fades,
			work("local", "planned.example.com", freeLease(`{"version":2,"plan":{"at":"`+time.Now().Add(200*day).UTC().Format(time.RFC3339)+`"}}`)):      stays,
			work("local", "unknown.example.com", freeLease(`{"version":2,"more":7}`)):                                                                    fades,
			work("local", "later.example.com", freeLease(`{"version":9}`)):                                                                               stays,
			work("local", "undated.example.com", freeLease(journal)):                                                                                     fades,
			work("local", "valid.example.com", freeLease(strings.Replace(failedWork(70*day), `"attempts":3`, `"journals":{"local":{"refusals":1}}`, 1))): fades,
			work("local", "dead.example.com", leaseOf("someone", journal)):                                                                               fades,
			work("local", "dead2.example.com", leaseOf("someone", failedWork(70*day))):                                                                   fades,
			work("local", "keys.example.com", freeLease(strings.Replace(failedWork(70*day), `"attempts":3`, `"unusedKeys":[{"keyReference":"x"}]`, 1))):  stays,
			l.put("work/local/damaged.example.com/ecdsa-p256", []byte("x")):                                                                              stays,
			l.put("work/local/later", freeLease("")):                                                                                                     stays,

			l.answer("http-01/old", 61*day, ""):                                          goes,
			l.answer("http-01/young", 30*day, ""):                                        fades,
			l.answer("http-01/later", 61*day, `,"version":2`):                            stays,
			l.answer("tls-alpn-01/old.example.com", 61*day, ""):                          goes,
			l.pending("old", 61*day, "LHDhK3oGRvkiefQnx7OOczTY5Tic_xZ6HcMOc_gmtoM"):      goes,
			l.pending("young", 30*day, "LHDhK3oGRvkiefQnx7OOczTY5Tic_xZ6HcMOc_gmtoM"):    fades,
			l.pending("standing", 400*day, "ca.example; accounturi=https://ca.example"):  stays,
			l.answer("dns-01/old", 400*day, ""):                                          stays,
			l.answer("new-01/old", 400*day, ""):                                          stays,
			l.put(record.CorruptKey("certificates/local/x/y", []byte("x")), []byte("x")): fades,
			l.put("corrupt/other", []byte("x")):                                          stays,
			l.put("probe/abc", []byte("written to see whether it can be")):               fades,
			l.put("budgets/local/default/domain/a.com", budgetFullAt(-3*time.Hour)):      goes,
			l.put("budgets/local/default/domain/b.com", budgetFullAt(30*24*time.Hour)):   fades,
			l.put("budgets/local/default/domain/c.com", []byte("x")):                     stays,
			l.put("probe/other", []byte("x")):                                            stays,
			l.deletion("ended", 100*day, 31*day):                                         goes,
			l.deletion("alive", 100*day, 29*day):                                         fades,
			l.deletion("unreadable", 31*day, 0):                                          goes,
			l.deletion("young", 20*day, 25*day):                                          fades,
			l.put("deletions/local/later/ecdsa-p256", []byte(`{"version":9}`)):           stays,

			l.put("accounts/former/default", []byte("x")): stays,
			l.put("authorities/former", []byte("x")):      stays,
			l.put("revocations/former/0abc", []byte("x")): stays,
			l.put("something/else", []byte("x")):          stays,
		}
		local.change(func(ca *localCA) {
			ca.work = func(r certmanager.Request) error {
				if r.Identifiers[0].Value == "broken.example.com" {
					return errClosed
				}
				return nil
			}
		})
		config := w.sweptBy(local)
		config.Names = append(config.Names, "broken.example.com")
		m, stop := w.running(config)
		time.Sleep(sweepTime)
		count := 0
		for key, verdict := range verdicts {
			if verdict == goes {
				count++
			}
			if has := l.has(key); has != (verdict != goes) {
				t.Errorf("after the first sweep: %s is there: %t, want that it %s", key, has, verdict)
			}
		}
		if n := m.Stats().Swept; n != int64(count) {
			t.Errorf("%d are said to be deleted, want %d", n, count)
		}
		stop()
		config.SweepInterval, config.Names = 0, config.Names[:1]
		_, stop = w.running(config)
		defer stop()
		time.Sleep(130 * day)
		for key, verdict := range verdicts {
			if has := l.has(key); has != (verdict == stays) {
				t.Errorf("after months: %s is there: %t, want that it %s", key, has, verdict)
			}
		}
	})
}

// TestSweepNever has managers that are not to sweep.
func TestSweepNever(t *testing.T) {
	for name, set := range map[string]func(*certmanager.Config){
		"negative": func(c *certmanager.Config) { c.SweepInterval = -1 },
		"serves":   func(c *certmanager.Config) { c.Role = certmanager.RoleServe },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, local := newWorld(t), newLocalCA(t, "local")
				l := newLitter(w, local)
				old := l.certificate("local", "gone.example.com", "ecdsa-p256", 60*day)
				l.certificate("local", "managed.example.com", "ecdsa-p256", -60*day)
				config := w.sweptBy(local)
				set(&config)
				_, stop := w.running(config)
				defer stop()
				time.Sleep(3 * day)
				if !l.has(old) || w.keys("sweep") != 0 {
					t.Error("it has swept")
				}
			})
		})
	}
}

// manyOrphans stores so many certificates that nobody manages.
func (l *litter) manyOrphans(n int) {
	for i := range n {
		l.certificate("local", fmt.Sprintf("gone-%05d.example.com", i), "ecdsa-p256", 60*day)
	}
}

// TestSweepIsResumed kills the member that sweeps at each write in turn: another deletes what is left, and nothing else.
func TestSweepIsResumed(t *testing.T) {
	const orphans = 90
	for _, reaches := range []bool{false, true} {
		for n, done := 0, false; !done; n += 7 {
			synctest.Test(t, func(t *testing.T) {
				w, local := newWorld(t), newLocalCA(t, "local")
				config := w.sweptBy(local)
				w.obtainFrom(config)
				l := newLitter(w, local)
				l.manyOrphans(orphans)
				config.Storage = mortal(w.store, n, reaches, func(string) {})
				m, err := certmanager.New(config)
				if err != nil {
					t.Fatal(err)
				}
				ended := make(chan struct{})
				wait := w.runUntil(m, ended)
				time.Sleep(2 * time.Hour)
				close(ended)
				wait()
				left := w.keys("certificates") - 1
				done = left == 0
				config.Storage = w.store
				m, stop := w.running(config)
				defer stop()
				time.Sleep(2 * time.Hour)
				if n := w.keys("certificates"); n != 1 || m.Stats().Swept != int64(left) {
					t.Errorf("killed at write %d: %d are left; then %d, and %d were deleted", n, left, n, m.Stats().Swept)
				}
			})
		}
	}
}

// TestSweepBeginsWhereItWasLeft ends the member that sweeps when it has noted how far it is: another reads only the rest.
func TestSweepBeginsWhereItWasLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const page, rest = 100, 50
		w, local := newWorld(t), newLocalCA(t, "local")
		config := w.sweptBy(local)
		w.obtainFrom(config)
		l := newLitter(w, local)
		for i := range page + rest {
			l.certificate("local", fmt.Sprintf("valid-%d.example.com", i), "ecdsa-p256", -60*day)
		}
		s := &storagetest.Faulty{Store: w.store}
		config.Storage = s
		_, stop := w.running(config)
		time.Sleep(30 * time.Minute) // by when it is noted that the first is due in an hour
		noted := make(chan bool, 10)
		s.SetFaults(storagetest.Fault{Kind: storagetest.Slow, On: storagetest.Save, Prefix: "sweep", After: 1, Times: 1, Hit: func(string) { noted <- true }})
		<-noted // by the second write of the next turn, that of the cursor
		synctest.Wait()
		stop()
		s.SetFaults()
		_, stop = w.running(config)
		defer stop()
		before := s.Calls(storagetest.Load)
		time.Sleep(30 * time.Minute)
		if reads := s.Calls(storagetest.Load) - before; reads < rest || reads > rest+10 {
			t.Errorf("the next member has read %d records, want %d and some", reads, rest)
		}
	})
}

// obtainFrom has a manager obtain what is configured, and stops it.
func (w *world) obtainFrom(config certmanager.Config) {
	w.t.Helper()
	_, stop := w.running(config)
	stop()
	w.mu.Lock()
	w.events = nil
	w.mu.Unlock()
}

// TestSweepOperations counts the calls of a sweep by two members: keys are listed once for each rule, and only what may go is read, by
// one of the two, and noted each hundred records.
func TestSweepOperations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const managed, orphans, valid = 300, 95, 150
		w, local := newWorld(t), newLocalCA(t, "local")
		config := w.sweptBy(local)
		for i := range managed - 1 {
			config.Names = append(config.Names, fmt.Sprintf("managed-%d.example.com", i))
		}
		w.obtainFrom(config)
		l := newLitter(w, local)
		l.manyOrphans(orphans)
		for i := range valid {
			l.certificate("local", fmt.Sprintf("valid-%d.example.com", i), "ecdsa-p256", -60*day)
		}
		members := make([]*certmanager.Manager, 2)
		stores := make([]*storagetest.Faulty, 2)
		var before [2][2]int
		for i := range members {
			stores[i] = &storagetest.Faulty{Store: w.store}
			config.Storage = stores[i]
			var stop func()
			members[i], stop = w.running(config)
			defer stop()
			before[i] = [2]int{stores[i].Calls(storagetest.Load), stores[i].Calls(storagetest.Save)}
		}
		listed := 0
		for _, s := range stores {
			listed -= s.Calls(storagetest.List)
		}
		time.Sleep(sweepTime)
		var loads, saves, deletes int
		for i, s := range stores {
			loads += s.Calls(storagetest.Load) - before[i][0]
			saves += s.Calls(storagetest.Save) - before[i][1]
			deletes += s.Calls(storagetest.Delete)
			listed += s.Calls(storagetest.List)
		}
		// Each orphan is read, and the work of the one chain of issuers; leases are read before they are taken.
		if want := orphans + valid + orphans; loads < want || loads > want+20 {
			t.Errorf("%d records were read, want %d and some", loads, want)
		}
		if deletes < orphans || deletes > orphans+4 {
			t.Errorf("%d deletions, want %d and those of probes", deletes, orphans)
		}
		if saves > 40 {
			t.Errorf("%d writes, want those of the leases alone", saves)
		}
		const rules, chains = 9, 1
		if comparisons := listed - rules - chains; comparisons != 0 {
			t.Errorf("keys were listed %d times more than for each rule and for the chains of issuers", comparisons)
		}
		if a, b := members[0].Stats().Swept, members[1].Stats().Swept; a+b != orphans || a != 0 && b != 0 {
			t.Errorf("the members have deleted %d and %d, want one all %d", a, b, orphans)
		}
	})
}

// TestSweepOfAFailingStorage has a fifth of all calls fail: in the end what nobody needs is gone, and nothing else.
func TestSweepOfAFailingStorage(t *testing.T) {
	for _, kind := range []storagetest.Kind{storagetest.Fail, storagetest.Lost} {
		synctest.Test(t, func(t *testing.T) {
			const orphans = 50
			w, local := newWorld(t), newLocalCA(t, "local")
			config := w.sweptBy(local)
			w.obtainFrom(config)
			l := newLitter(w, local)
			l.manyOrphans(orphans)
			valid := l.certificate("local", "valid.example.com", "ecdsa-p256", -60*day)
			faulty := &storagetest.Faulty{Store: w.store, Seed: 1}
			faulty.SetFaults(storagetest.Fault{Kind: kind, Share: 0.2})
			config.Storage = faulty
			_, stop := w.running(config)
			defer stop()
			time.Sleep(3 * day)
			if n := w.keys("certificates"); n != 2 || !l.has(valid) {
				t.Errorf("%d certificates are stored, want the two that are needed", n)
			}
		})
	}
}

// TestSweepOfAnUnwritableStorage has a storage that can't be written: nothing is deleted though that would succeed.
func TestSweepOfAnUnwritableStorage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, local := newWorld(t), newLocalCA(t, "local")
		config := w.sweptBy(local)
		w.obtainFrom(config)
		l := newLitter(w, local)
		old := l.certificate("local", "gone.example.com", "ecdsa-p256", 60*day)
		faulty := &storagetest.Faulty{Store: w.store}
		faulty.SetFaults(storagetest.Fault{On: storagetest.Save, Prefix: "probe"})
		config.Storage = faulty
		_, stop := w.running(config)
		defer stop()
		time.Sleep(day)
		if !l.has(old) {
			t.Error("a record was deleted")
		}
		faulty.SetFaults()
		time.Sleep(3 * time.Hour)
		if l.has(old) {
			t.Error("nothing was deleted when it could be written")
		}
	})
}

// TestSweepLeavesWhatComesBack has another member take up work, or store a certificate, when a sweep has read the record.
func TestSweepLeavesWhatComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, local := newWorld(t), newLocalCA(t, "local")
		config := w.sweptBy(local)
		w.obtainFrom(config)
		l := newLitter(w, local)
		work := l.put(record.WorkKey("local", "back.example.com", "ecdsa-p256"), freeLease(""))
		certificate := l.certificate("local", "back2.example.com", "ecdsa-p256", 60*day)
		faulty := &storagetest.Faulty{Store: w.store}
		another := func(key string) {
			item, err := w.store.Load(t.Context(), key)
			if err == nil {
				_, err = w.store.Save(t.Context(), key, item.Value, item.Revision)
			}
			if err != nil {
				t.Error(err)
			}
		}
		faulty.SetFaults(storagetest.Fault{Kind: storagetest.Slow, On: storagetest.Delete, Prefix: work, Times: 1, Hit: another},
			storagetest.Fault{Kind: storagetest.Slow, On: storagetest.Delete, Prefix: certificate, Times: 1, Hit: another})
		config.Storage = faulty
		m, stop := w.running(config)
		defer stop()
		time.Sleep(sweepTime)
		if faulty.Hits() != 2 || !l.has(work) || !l.has(certificate) || m.Stats().Swept != 0 {
			t.Errorf("%d were about to be deleted; the work is there: %t, the certificate: %t", faulty.Hits(), l.has(work), l.has(certificate))
		}
	})
}

// TestSweepDeletesKeysFirst has keys kept elsewhere: each is deleted before the record that tells of it, which stays if that
// fails.
func TestSweepDeletesKeysFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, local := newWorld(t), newLocalCA(t, "local")
		config := w.sweptBy(local)
		keys := newMemoryKeys()
		config.Keys = keys
		l := newLitter(w, local)
		certificate := l.put("certificates/local/gone.example.com/ecdsa-p256",
			l.certificateText(record.Meta{Issuer: "local", Names: []string{"gone.example.com"}, KeyType: "ecdsa-p256"}, 400*day, "everseal-certificate-a"))
		work := l.put("work/local/lost.example.com/ecdsa-p256", freeLease(strings.Replace(failedWork(70*day), `"attempts":3`,
			`"unusedKeys":[{"keyReference":"everseal-certificate-b"}],"journals":{"local":{"keyReference":"everseal-certificate-c"}}`, 1)))
		var mu sync.Mutex
		var deleted []string
		failing := true
		keys.setFault(func(method, ref string) error {
			if method != "Delete" {
				return nil
			}
			if !l.has(certificate) || !l.has(work) && ref != "everseal-certificate-a" {
				t.Errorf("the record is gone before the key %s", ref)
			}
			mu.Lock()
			defer mu.Unlock()
			if failing {
				return errClosed
			}
			deleted = append(deleted, ref)
			return nil
		})
		_, stop := w.running(config)
		defer stop()
		time.Sleep(sweepTime)
		if !l.has(certificate) || !l.has(work) {
			t.Error("a record is gone whose key could not be deleted")
		}
		mu.Lock()
		failing = false
		mu.Unlock()
		time.Sleep(sweepTime)
		mu.Lock()
		defer mu.Unlock()
		if slices.Sort(deleted); !slices.Equal(deleted, []string{"everseal-certificate-a", "everseal-certificate-b", "everseal-certificate-c"}) || l.has(certificate) || l.has(work) {
			t.Errorf("the keys %v are deleted, the certificate is there: %t, the work: %t", deleted, l.has(certificate), l.has(work))
		}
	})
}

// TestSweepByAWrongClock has a member whose clock is years ahead of all that is stored: it deletes nothing that is valid by
// the clock of the CA, whose newest certificate it has.
func TestSweepByAWrongClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, local := newWorld(t), newLocalCA(t, "local")
		l := newLitter(w, local)
		valid := l.certificate("local", "valid.example.com", "ecdsa-p256", -70*day)
		ended := l.certificate("local", "ended.example.com", "ecdsa-p256", 5*day)
		failing := l.put(record.WorkKey("other", "ended.example.com", "ecdsa-p256"), freeLease(failedWork(day)))
		own := l.certificate("local", "managed.example.com", "ecdsa-p256", -90*day) // which has just begun
		time.Sleep(5 * 365 * day)
		local.change((*localCA).refusing)
		_, stop := w.running(w.sweptBy(local))
		defer stop()
		time.Sleep(10 * day)
		for _, key := range []string{valid, ended, failing, own} {
			if !l.has(key) {
				t.Errorf("%s was deleted", key)
			}
		}
		local.change(func(ca *localCA) { ca.err = nil })
		time.Sleep(10 * day) // a certificate of today shows that the years have passed
		for _, key := range []string{valid, ended, failing} {
			if l.has(key) {
				t.Errorf("%s is there years later", key)
			}
		}
	})
}

// TestSweepIsBounded has 20,000 records that seem to be needed by nobody: of the certificates no sweep deletes more than a tenth,
// of those of finished work all are gone with the first.
func TestSweepIsBounded(t *testing.T) {
	n := 10000
	if raceDetector {
		n = 2000
	}
	synctest.Test(t, func(t *testing.T) {
		w, local := newWorld(t), newLocalCA(t, "local")
		config := w.sweptBy(local)
		config.SweepInterval = day
		w.obtainFrom(config)
		l := newLitter(w, local)
		l.manyOrphans(n)
		for i := range n {
			l.put(record.WorkKey("local", fmt.Sprintf("done-%05d.example.com", i), "ecdsa-p256"), freeLease(""))
		}
		_, stop := w.running(config)
		defer stop()
		time.Sleep(day + 8*time.Hour)
		if left := w.keys("certificates") - 1; left != n-n/10 {
			t.Errorf("%d certificates are left of %d, want nine tenths", left, n)
		}
		if left := w.keys("work"); left != 1 {
			t.Errorf("%d records of finished work are left", left)
		}
	})
}
