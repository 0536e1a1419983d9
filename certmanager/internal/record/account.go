package record

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// An Account is the account with a CA. Its record is made with the key alone; the URL follows once the account is
// registered. So any number of processes that start at once make one account.
type Account struct {
	Directory string // URL of the CA's directory
	Key       Key
	URL       string // RFC 8555 §7.3; empty until registered

	// NextKey is what the key is being changed to (RFC 8555 §7.3.5), noted before the CA is asked: after a process that
	// was killed, the account has one of the two. Zero: the key is not being changed.
	NextKey Key

	Unused      UnusedKeys // that the account had
	Deactivated time.Time  // since when the account is not to be used, UTC (§7.3.6); zero: it is
}

type storedAccount struct {
	Version   int    `json:"version"`
	Directory string `json:"directory"`
	storedKey
	URL           string `json:"url,omitempty"`
	NextKey       string `json:"nextKey,omitempty"` // PEM
	NextReference string `json:"nextKeyReference,omitempty"`

	Unused      UnusedKeys `json:"unusedKeys,omitempty"`
	Deactivated time.Time  `json:"deactivated,omitzero"`
}

// Encode returns the record as it is stored: of version 2 if its key has a reference, else of version 1.
func (a *Account) Encode() ([]byte, error) {
	if a.Key.IsZero() {
		return nil, errors.New("the account has no private key, nor a reference to one")
	}
	key, err := a.Key.store()
	if err != nil {
		return nil, err
	}
	next, err := a.NextKey.store()
	if err != nil {
		return nil, err
	}
	stored := storedAccount{1, a.Directory, key, a.URL, next.PEM, next.Reference, a.Unused.bounded(), utc(a.Deactivated)}
	if key.Reference != "" {
		stored.Version = 2
	}
	return json.Marshal(stored)
}

// DecodeAccount reads a stored record.
func DecodeAccount(data []byte) (Account, error) {
	version, err := versionOf(data)
	if err != nil {
		return Account{}, err
	}
	var stored storedAccount
	if json.Unmarshal(data, &stored) != nil {
		return Account{}, errors.New("it is not the JSON of an account, or a member of it has the wrong type")
	}
	a := Account{Directory: stored.Directory, URL: stored.URL, Unused: stored.Unused.bounded(), Deactivated: utc(stored.Deactivated)}
	if a.Key, err = stored.load(); err != nil {
		return Account{}, err
	}
	if a.Key.IsZero() || (version == 2) != (a.Key.Reference != "") {
		return Account{}, errors.New("it has no private key (version 1), or no reference to one (version 2)")
	}
	if a.NextKey, err = (storedKey{stored.NextKey, stored.NextReference}).load(); err != nil {
		return Account{}, fmt.Errorf("the key that it is changed to: %w", err)
	}
	return a, nil
}
