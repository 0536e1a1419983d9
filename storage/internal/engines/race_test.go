//go:build race

package engines

// raceDetector is set when everything takes several times as long.
const raceDetector = true
