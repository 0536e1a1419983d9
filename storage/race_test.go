//go:build race

package storage_test

// raceDetector reports whether the tests run under the race detector: long simulations are shorter then.
const raceDetector = true
