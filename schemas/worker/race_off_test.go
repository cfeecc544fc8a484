//go:build !race

package worker

// raceDetector is off.
const raceDetector = false
