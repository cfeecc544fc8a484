package prom

import (
	"strings"
	"testing"
	"time"
)

func TestExpandPutsTheSubjectIntoTheQuery(t *testing.T) {
	t.Parallel()
	s := subject{namespace: "shop", release: "cart-api", revision: "0123456789", window: 90 * time.Second}
	cases := map[string]struct{ in, want string }{
		"all four":                      {`rate(x{ns="$namespace",r="$release",v="$revision"}[$window])`, `rate(x{ns="shop",r="cart-api",v="0123456789"}[1m30s])`},
		"names that only begin alike":   {`$releases $revision_1`, `$releases $revision_1`},
		"a regular expression's end":    {`x{a=~"^$release$"}`, `x{a=~"^cart-api$"}`},
		"groups of label_replace":       {`label_replace(x, "a", "$1", "b", "(.*)")`, `label_replace(x, "a", "$1", "b", "(.*)")`},
		"named groups of label_replace": {`label_replace(x, "a", "$name", "b", "(?P<name>.*)")`, `label_replace(x, "a", "$name", "b", "(?P<name>.*)")`},
		"a name that joins another":     {`"$release-$revision"`, `"cart-api-0123456789"`},
		"nothing to replace":            {`vector(1)`, `vector(1)`},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := expand(tc.in, s)
			if err != nil || got != tc.want {
				t.Errorf("%q, %v; wanted %q", got, err, tc.want)
			}
		})
	}
}

func TestExpandRefusesValuesThatCouldBreakOut(t *testing.T) {
	t.Parallel()
	for name, evil := range map[string]string{
		"a double quote":   `a"} or vector(0) or x{b="`,
		"a single quote":   `a'`,
		"a backtick":       "a`",
		"a backslash":      `a\`,
		"a newline":        "a\nb",
		"a brace":          "a}",
		"a regular dot":    "a.b",
		"an alternative":   "a|b",
		"another variable": "$window",
		"nothing at all":   "",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := expand(`x{r="$release"}`, subject{release: evil})
			if err == nil || got != "" || !strings.Contains(err.Error(), "$release") {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
	if _, err := expand(`x[$window]`, subject{}); err == nil {
		t.Error("a window of zero was put into a query")
	}
}
