package storage

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// A leaseRecord is what is stored under a lease's key: a line of JSON with the fields below, then the
// value as it is.
//
//	{"version":1,"owner":"5d0f…-kq3v…","fence":7,"term":"30s","beat":"J5CN…"}
//	the value
type leaseRecord struct {
	Version int    `json:"version"`
	Owner   string `json:"owner"` // empty: nobody holds the lease
	Fence   uint64 `json:"fence"` // how often the lease was taken
	Term    string `json:"term"`  // as time.ParseDuration reads it
	Beat    string `json:"beat"`  // random, another one in each write

	term  time.Duration // what Term says
	value []byte
}

const leaseVersion = 1

var (
	errNoLease    = errors.New("it is no lease record")
	errNewerLease = errors.New("the lease was written by a newer version of this library; update this one")
)

func (r leaseRecord) encode() ([]byte, error) {
	r.Version = leaseVersion
	r.Term = r.term.String()
	line, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("storage: encoding a lease: %w", err)
	}
	return append(append(line, '\n'), r.value...), nil
}

// LeaseValue returns the value in the record of a lease, as a Load of its key returned that, whoever holds the lease: what
// [Lease.Value] returns to the holder. It is what was true when it was read, and may be nil. The error is that of a record
// that can't be read.
func LeaseValue(record []byte) ([]byte, error) {
	r, err := decodeLease(record)
	if err != nil {
		return nil, fmt.Errorf("storage: %w", err)
	}
	return r.value, nil
}

// decodeLease returns the record, errNewerLease, or errNoLease for what is no lease record at all.
func decodeLease(data []byte) (leaseRecord, error) {
	line, value, _ := bytes.Cut(data, []byte("\n"))
	var r leaseRecord
	if err := json.Unmarshal(line, &r); err != nil || r.Version < 1 {
		return leaseRecord{}, errNoLease
	}
	if r.Version > leaseVersion {
		return leaseRecord{}, errNewerLease
	}
	term, err := time.ParseDuration(strings.TrimSpace(r.Term))
	if err != nil || term <= 0 || r.Beat == "" {
		return leaseRecord{}, errNoLease
	}
	r.term = min(term, maxTerm)
	if len(value) > 0 {
		r.value = value
	}
	return r, nil
}
