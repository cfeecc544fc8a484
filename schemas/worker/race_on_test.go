//go:build race

package worker

// raceDetector is on: it reserves terabytes of addresses, which no limit allows.
const raceDetector = true
