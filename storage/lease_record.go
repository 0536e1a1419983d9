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

// LeaseValue returns the value that the record of a lease carries, as [Lease.Value] does, and whether somebody holds the
// lease, who may be dead. So what leases carry can be read without taking them. An error says that it is no such record,
// or one of a later version of this library. A record that nobody holds is deleted as any other, by its revision.
func LeaseValue(record []byte) (value []byte, held bool, err error) {
	r, err := decodeLease(record)
	if err != nil {
		return nil, false, fmt.Errorf("storage: read a lease: %w", err)
	}
	return r.value, r.Owner != "", nil
}
