//go:build race

package certmanager_test

// raceDetector reports whether the tests run under the race detector: long simulations are shorter then.
const raceDetector = true

// yearDays is for how many days a year is simulated: for the third renewal of each certificate, and what happens on a day of it.
const yearDays = 150
