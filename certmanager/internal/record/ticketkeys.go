package record

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"
)

// TicketsKey is the storage key of the keys of session tickets that a fleet shares.
const TicketsKey = "tickets/keys"

// maxTicketKeys bounds the keys of one record.
const maxTicketKeys = 100

// A TicketKey is a key that session tickets are sealed with (RFC 5077 §4). It is not shown when it is printed, logged or
// marshalled.
type TicketKey struct {
	Secret [32]byte
	From   time.Time // since when tickets are sealed with it, until the next one's; UTC
}

// NewTicketKey returns a new key for tickets from a time on.
func NewTicketKey(from time.Time) TicketKey {
	k := TicketKey{From: utc(from).Truncate(time.Second)}
	_, _ = rand.Read(k.Secret[:]) // it does not fail
	return k
}

// String returns what stands for the key where it is shown.
func (k TicketKey) String() string { return "(a key of session tickets)" }

// Format writes what String returns, whatever the verb.
func (k TicketKey) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, k.String()) // what it returns, fmt notices itself
}

// LogValue returns what String returns.
func (k TicketKey) LogValue() slog.Value { return slog.StringValue(k.String()) }

// MarshalText returns what String returns.
func (k TicketKey) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// TicketKeys are the keys of session tickets, those first that were used first.
type TicketKeys []TicketKey

// A storedTicketKeys is version 1 of the record.
type storedTicketKeys struct {
	Version int               `json:"version"`
	Keys    []storedTicketKey `json:"keys"`
}

type storedTicketKey struct {
	Secret []byte    `json:"key"`
	From   time.Time `json:"from"`
}

// Encode returns the record as it is stored.
func (k TicketKeys) Encode() ([]byte, error) {
	stored := storedTicketKeys{Version: 1}
	for _, key := range k {
		stored.Keys = append(stored.Keys, storedTicketKey{key.Secret[:], key.From})
	}
	return json.Marshal(stored)
}

// DecodeTicketKeys reads a stored record. Its errors show nothing of it.
func DecodeTicketKeys(data []byte) (TicketKeys, error) {
	version, err := versionOf(data)
	if err != nil {
		return nil, err
	}
	var stored storedTicketKeys
	switch {
	case version != 1:
		return nil, &VersionError{fmt.Sprint(version)}
	case json.Unmarshal(data, &stored) != nil:
		return nil, errors.New("it is not the JSON of keys of session tickets, or a member of it has the wrong type")
	case len(stored.Keys) > maxTicketKeys:
		return nil, fmt.Errorf("it has more than %d keys", maxTicketKeys)
	}
	keys := make(TicketKeys, len(stored.Keys))
	for i, s := range stored.Keys {
		if copy(keys[i].Secret[:], s.Secret) != len(keys[i].Secret) || len(s.Secret) != len(keys[i].Secret) {
			return nil, fmt.Errorf("one of its keys has %d bytes, want %d", len(s.Secret), len(keys[i].Secret))
		}
		if keys[i].From = utc(s.From); i > 0 && !keys[i].From.After(keys[i-1].From) {
			return nil, errors.New("its keys are not in the order of their times")
		}
	}
	return keys, nil
}
