package prom

import (
	"fmt"
	"regexp"
	"time"

	"github.com/prometheus/common/model"
)

// subject is whom an expression asks about.
type subject struct {
	namespace string
	release   string
	revision  string
	window    time.Duration
}

var (
	variable = regexp.MustCompile(`\$[A-Za-z_][A-Za-z0-9_]*`)
	// harmless is what may stand inside of any PromQL string or regular expression, in
	// any of its three kinds of quotes, without ending it or meaning something else. A dot
	// is not among it, since it matches any character in =~. All names of Kubernetes that
	// are put into queries have this form; escaping would differ by kind of quote.
	harmless = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)
)

// expand replaces $namespace, $release, $revision and $window in expr. Other names are
// left alone: label_replace uses them for its groups.
func expand(expr string, s subject) (string, error) {
	values := map[string]string{
		"$namespace": s.namespace,
		"$release":   s.release,
		"$revision":  s.revision,
	}
	if s.window >= time.Millisecond {
		values["$window"] = model.Duration(s.window).String()
	} else {
		values["$window"] = ""
	}
	var bad error
	out := variable.ReplaceAllStringFunc(expr, func(name string) string {
		value, known := values[name]
		if !known {
			return name
		}
		if !harmless.MatchString(value) {
			bad = fmt.Errorf("putting %s into the query: wanted letters, digits, - and _ only, found %q", name, value)
		}
		return value
	})
	if bad != nil {
		return "", bad
	}
	return out, nil
}
