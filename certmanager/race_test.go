//go:build race

package certmanager_test

// raceDetector reports whether the tests run under the race detector: long simulations are shorter then.
const raceDetector = true
