package certmanager_test

import (
	"errors"
	"sync"

	"github.com/everseal/everseal/storage"
	"github.com/everseal/everseal/storage/storagetest"
)

var (
	errDisk   = errors.New("no space left on device")
	errKilled = errors.New("the process was killed")
)

// failingSaves returns a store that fails to save records under keys with the prefix, times often (0: always), and
// may have stored them nevertheless.
func failingSaves(s storage.Store, prefix string, times int, reaches bool) *storagetest.Faulty {
	faulty := &storagetest.Faulty{Store: s}
	faulty.SetFaults(savesFail(prefix, times, reaches))
	return faulty
}

func savesFail(prefix string, times int, reaches bool) storagetest.Fault {
	return storagetest.Fault{Kind: failing(reaches), On: storagetest.Save, Prefix: prefix, Times: times, Err: errDisk}
}

// failing is how a call fails that reaches the medium or not.
func failing(reaches bool) storagetest.Kind {
	if reaches {
		return storagetest.Lost
	}
	return storagetest.Fail
}

// mortal returns a storage as a process has it that is killed after so many writes, at the next: of that one, and of
// all that comes after, nothing is known in the process. The write itself reaches the medium or not. die is told its key.
func mortal(s storage.Store, writes int, reaches bool, die func(key string)) storage.Store {
	faulty := &storagetest.Faulty{Store: s}
	var once sync.Once
	faulty.SetFaults(storagetest.Fault{Kind: failing(reaches), On: storagetest.Writes, After: writes, Err: errKilled, Hit: func(key string) {
		once.Do(func() {
			faulty.SetFaults(storagetest.Fault{Err: errKilled})
			die(key)
		})
	}})
	return faulty
}
