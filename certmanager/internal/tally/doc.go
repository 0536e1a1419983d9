// Package tally counts in a storage what a fleet takes of a CA's limits: each bucket of package budget is one record, which
// is changed by compare and swap.
//
// Of a slow limit (50 a week) each token is one write, so that a process that dies loses none but that which it was about to
// use. Of a fast one (300 in three hours) a process takes as many at once as are asked for at the moment, and writes once
// a second at most; what it does not use it keeps for a few seconds, for whoever asks next, and then loses.
//
// What was seen last of a bucket is remembered. Who finds it empty needs no call of the storage to know, and gets a slot.
package tally
