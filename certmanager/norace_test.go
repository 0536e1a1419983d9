//go:build !race

package certmanager_test

// raceDetector reports whether the tests run under the race detector: long simulations are shorter then.
const raceDetector = false

// yearDays is for how many days a year is simulated. Members that have nothing to do are most of the work of it.
const yearDays = 365
