package lifecycle_test

import (
	"testing"
	"time"

	"github.com/everseal/everseal/certmanager/internal/lifecycle"
)

// A script is a course of events in letters, each with what is to follow.
//
//	c  a caller commands
//	q  the certificate is queued for replacement
//	(  a task begins; F after it: it must be forced, C: commanded and not forced, U: neither, Q: queued and neither
//	s  another certificate is served
//	L O K D X W  the task ends as loaded, obtained, current, deferred, failed, and without a try; ! after it: callers are answered, . after it: not
//	=  the next plan is due at once; +: it is not
func run(t *testing.T, s *lifecycle.State, script string) {
	t.Helper()
	kinds := map[byte]lifecycle.Kind{'L': lifecycle.Loaded, 'O': lifecycle.Obtained, 'K': lifecycle.Current, 'D': lifecycle.Deferred, 'X': lifecycle.Failed, 'W': lifecycle.Failed}
	for i := 0; i < len(script); i++ {
		switch c := script[i]; c {
		case 'c':
			s.Command()
		case 'q':
			s.Queue()
		case 's':
			serve(s, begun)
		case '(':
			i++
			task, want := s.Begin(begun), script[i]
			if task.Forced != (want == 'F') || task.Commanded != (want == 'F' || want == 'C') || want != 'F' && task.Queued != (want == 'Q') {
				t.Errorf("%s: at %d the task is %+v", script, i, task)
			}
		case '=', '+':
			if p := s.Plan(begun); p.Due.After(begun) != (c == '+') {
				t.Errorf("%s: at %d it is due in %v", script, i, p.Due.Sub(begun))
			}
		default:
			i++
			report := s.Finish(lifecycle.Result{Kind: kinds[c], Until: begun.Add(time.Hour), Waited: c == 'W'}, begun, 0.5)
			if report.Answered != (script[i] == '!') {
				t.Errorf("%s: at %d the report is %+v", script, i, report)
			}
		}
	}
}

// TestCommands has callers come before, during and after tasks.
func TestCommands(t *testing.T) {
	for name, script := range map[string]string{
		"while a task finds that it has to wait":  "(UsL.(UcW.=(FX!+",
		"before a task finds that it has to wait": "(UsL.c(FW!+",
		"nobody":                                     "(UL.=(UsO.+",
		"before the certificate is due":              "(UsL.+c=(FsO!+",
		"before the storage was asked":               "c=(FsL.=(FsO!+",
		"before the storage was asked, which fails":  "c=(FX.+(FX.+(FsL.=(FsO!+",
		"while the storage is asked":                 "(UscL.=(FsO!+",
		"while the storage is asked, before it says": "(UcsL.=(FsO!+",
		"before the first certificate":               "(UL.c=(FsO!+",
		"while the first is obtained":                "(UL.(Uc=sO!+",
		"when the first is served but not stored":    "(UL.(UscO.=(FsO!+",
		"while a renewal is under way":               "(UsL.(Uc=sO!+",
		"when the renewal is served but not stored":  "(UsL.(UscO.=(FsO!+",
		"while another's is under way":               "(UsL.c(FcsO!+",
		"when another's is served but not stored":    "(UsL.c(FscO.=(FsO!+",
		"the storage has not taken another's yet":    "(UsL.c(FsX!+c=(FO.=(FsO!+",
		"answered by another process":                "(UsL.c(FsK!+",
		"answered by what another process did first": "(UsL.c=s(CK!+",
		"not answered as nothing was replaced":       "(UsL.c(FK.=(FsO!+",
		"before a failure":                           "(UsL.c(FX!+",
		"during a failure":                           "(UsL.(UcX!+",
		"after a failure":                            "(UsL.(UX.+c=(FX!+",
		"before a deferral":                          "(UsL.c(FD.+(FsO!+",
		"during a deferral":                          "(UsL.(UcD.=(FD.+(FsO!+",
		"after a deferral":                           "(UsL.(UD.+c=(FD.+c=(FX!+",
		"before two deferrals and a failure":         "(UsL.c(FD.+(FD.+(FX!+(UsO.+",
		"queued":                                     "(UsL.+q=(QsO.+",
		"queued twice":                               "(UsL.qq=(QsO.+(UsO.",
		"queued before the storage was asked":        "q=(QsL.=(QsO.+",
		"queued and the storage has nothing":         "q=(QL.=(UsO.+",
		"queued without a certificate":               "(UL.q=(UsO.+",
		"queued, and it fails":                       "(UsL.q=(QX.+(QsO.+",
		"queued after a failure":                     "(UsL.(UX.q+(QsO.+",
		"queued, and deferred":                       "(UsL.q(QD.+(QsO.+",
		"queued, and nothing was replaced":           "(UsL.q(QK.=(QsO.+",
		"queued, and another process replaces it":    "(UsL.qs+(UsO.+",
		"queued while a renewal is under way":        "(UsL.(UqsO.+",
		"queued when the renewal is served":          "(UsL.(UsqO.=(QsO.+",
		"queued, and a caller comes":                 "(UsL.qc=(FsO!+",
		"one after the other":                        "(UsL.c(FsO!+c=(FsO!+c=(FX!+c=(FsO!+",
	} {
		t.Run(name, func(t *testing.T) { run(t, new(lifecycle.State), script) })
	}
}
