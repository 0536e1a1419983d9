//go:build race

package engines

// raceDetector is set when everything takes several times as long: what only takes many rounds takes fewer then.
const raceDetector = true
