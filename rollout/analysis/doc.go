// Package analysis judges measurements. It is pure: Judge turns one measurement into
// findings, Round turns all of them into a round with one verdict.
//
// Only evidence passes. A judge asks in this order: was the number of observations
// read, are they enough, was the value read, is it within bounds. The answers are
// Unknown with its cause, Inconclusive, Unknown with its cause, Fail or Pass. A value
// that is not a finite number is treated as one that was not read, whatever the source
// said about it.
package analysis
