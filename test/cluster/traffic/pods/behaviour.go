package pods

import (
	"strconv"
	"strings"
	"time"
)

// Behaviour says how the server of a pod behaves. It follows from the image tag, see ParseImage.
type Behaviour struct {
	// Version is the part of the tag that is no modifier, "1.0.0" of "1.0.0-errors5".
	Version string
	// Errors is the share of requests that are answered with status 500, or Internal in gRPC.
	Errors Rate
	// Latency is added to every answer.
	Latency time.Duration
	// SlowStart is the time from the pod's address being known to readiness.
	SlowStart time.Duration
	// NeverReady keeps the pod unready for good.
	NeverReady bool
	// Crash is the time from readiness to unreadiness; 0 means never.
	Crash time.Duration
}

// ParseImage reads the behaviour from the tag of an image reference.
//
// A tag is text and modifiers, in any order, with dashes between them. Modifiers are
//
//	errors<percent>      that share of requests is answered with status 500: errors5, errors0.5
//	latency<duration>    each answer takes that much longer: latency200ms
//	slowstart<duration>  ready only after that time: slowstart3s
//	neverready           never ready
//	crash<duration>      unready again that long after it became ready: crash10s
//
// Durations are Go's and positive, percent is a decimal from 0 to 100. Anything else, a modifier
// that does not read as above among it, is text of the version: the tag "1.2.0-rc1-errors5" is
// version "1.2.0-rc1" with 5 % errors, and "errors101" is a version that does well. If a modifier
// stands twice, the last one holds. An image without a tag (none at all or a digest alone) behaves
// well and has an empty version.
func ParseImage(image string) Behaviour {
	var b Behaviour
	var version []string
	for part := range strings.SplitSeq(tagOf(image), "-") {
		if !b.modify(part) {
			version = append(version, part)
		}
	}
	b.Version = strings.Join(version, "-")
	return b
}

// tagOf returns the tag of an image reference, or "".
func tagOf(image string) string {
	image, _, _ = strings.Cut(image, "@")
	name := image[strings.LastIndex(image, "/")+1:] // A colon before the last slash starts a port.
	_, tag, _ := strings.Cut(name, ":")
	return tag
}

// modify applies one part of a tag and reports whether it is a modifier.
func (b *Behaviour) modify(part string) bool {
	if part == "neverready" {
		b.NeverReady = true
		return true
	}
	if percent, ok := strings.CutPrefix(part, "errors"); ok {
		rate, ok := parsePercent(percent)
		if ok {
			b.Errors = rate
		}
		return ok
	}
	for prefix, field := range map[string]*time.Duration{
		"latency":   &b.Latency,
		"slowstart": &b.SlowStart,
		"crash":     &b.Crash,
	} {
		if value, ok := strings.CutPrefix(part, prefix); ok {
			d, err := time.ParseDuration(value)
			if err != nil || d <= 0 {
				return false
			}
			*field = d
			return true
		}
	}
	return false
}

// Rate is an exact share, so that 0.5 % of 1000 requests is 5 and never 4 or 6. The zero value is
// none at all.
type Rate struct {
	numerator, denominator uint64
}

// parsePercent reads a decimal from 0 to 100 with at most six digits behind the point.
func parsePercent(s string) (Rate, bool) {
	whole, fraction, pointed := strings.Cut(s, ".")
	if whole == "" || (pointed && fraction == "") || len(fraction) > 6 {
		return Rate{}, false
	}
	n, err := strconv.ParseUint(whole+fraction, 10, 32)
	if err != nil {
		return Rate{}, false
	}
	d := uint64(100)
	for range fraction {
		d *= 10
	}
	if n > d {
		return Rate{}, false
	}
	return Rate{numerator: n, denominator: d}, true
}

// Hits reports whether the n-th event, counted from 1, belongs to the share. Hits are spread as
// evenly as whole numbers allow: of any first n events, exactly the whole part of n times the
// share are hits.
func (r Rate) Hits(n uint64) bool {
	if r.denominator == 0 || n == 0 {
		return false
	}
	return n*r.numerator/r.denominator > (n-1)*r.numerator/r.denominator
}

// Percent is the share as a number for people, 5 for five of a hundred.
func (r Rate) Percent() float64 {
	if r.denominator == 0 {
		return 0
	}
	return 100 * float64(r.numerator) / float64(r.denominator)
}
