package manifest

import (
	"regexp"
	"strings"
	"testing"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

func exact(name, value string) v1alpha1.ValueMatch {
	return v1alpha1.ValueMatch{Name: name, Exact: &value}
}

func prefix(name, value string) v1alpha1.ValueMatch {
	return v1alpha1.ValueMatch{Name: name, Prefix: &value}
}

func regex(name, value string) v1alpha1.ValueMatch {
	return v1alpha1.ValueMatch{Name: name, Regex: &value}
}

func TestCookies(t *testing.T) {
	t.Parallel()
	beta := []v1alpha1.ValueMatch{exact("tester", "yes")}
	both := []v1alpha1.ValueMatch{exact("a", "1"), exact("b", "2")}
	for name, c := range map[string]struct {
		cookies []v1alpha1.ValueMatch
		header  string
		want    bool
	}{
		"the only cookie fits":                            {beta, "tester=yes", true},
		"the first of several fits":                       {beta, "tester=yes; lang=en", true},
		"the last of several fits":                        {beta, "lang=en; tester=yes", true},
		"one between others fits":                         {beta, "lang=en; tester=yes; theme=dark", true},
		"a separator without a blank is one":              {beta, "lang=en;tester=yes;theme=dark", true},
		"a longer value does not fit an exact one":        {beta, "tester=yes2", false},
		"a shorter value does not":                        {beta, "tester=ye", false},
		"a cookie whose name ends like it is another":     {beta, "notatester=yes", false},
		"a cookie whose name begins like it is another":   {beta, "tester2=yes", false},
		"its text in the value of another is not it":      {beta, "x=tester=yes", false},
		"names are compared with their case":              {beta, "Tester=yes", false},
		"no cookie at all does not fit":                   {beta, "", false},
		"a dot in an exact value is a dot":                {[]v1alpha1.ValueMatch{exact("v", "1.2")}, "v=1x2", false},
		"a star in an exact value is a star":              {[]v1alpha1.ValueMatch{exact("v", ".*")}, "v=anything", false},
		"a bracket in a value does no harm":               {[]v1alpha1.ValueMatch{exact("v", "(a|b")}, "v=(a|b", true},
		"an empty value fits an empty one alone":          {[]v1alpha1.ValueMatch{exact("v", "")}, "v=x", false},
		"an empty value fits":                             {[]v1alpha1.ValueMatch{exact("v", "")}, "v=; w=1", true},
		"a prefix fits what goes on":                      {[]v1alpha1.ValueMatch{prefix("v", "beta-")}, "v=beta-7; w=1", true},
		"a prefix does not begin in the middle":           {[]v1alpha1.ValueMatch{prefix("v", "beta-")}, "v=xbeta-7", false},
		"an expression is held to the whole value":        {[]v1alpha1.ValueMatch{regex("v", "[ab]")}, "v=ab", false},
		"alternatives of an expression are held together": {[]v1alpha1.ValueMatch{regex("v", "a|b")}, "v=b", true},
		"no alternative gets out of its cookie":           {[]v1alpha1.ValueMatch{regex("v", "a|b")}, "x=1; b", false},
		"a dot does not go past the end of the value":     {[]v1alpha1.ValueMatch{regex("v", "a.*b")}, "v=a; x=b", false},
		"a negated class does not either":                 {[]v1alpha1.ValueMatch{regex("v", "a[^x]*b")}, "v=a; y=b", false},
		"nor does one of what is no digit":                {[]v1alpha1.ValueMatch{regex("v", `a\D+b`)}, "v=a;y=b", false},
		"a dot fits within the value":                     {[]v1alpha1.ValueMatch{regex("v", "a.*b")}, "x=1; v=a--b; y=2", true},
		"anchors around an expression are no harm":        {[]v1alpha1.ValueMatch{regex("v", "^beta.*$")}, "x=1; v=beta7; y=2", true},
		"upper and lower case may be the same":            {[]v1alpha1.ValueMatch{regex("v", "(?i)beta")}, "v=BeTa", true},
		"two cookies fit in their order":                  {both, "a=1; b=2", true},
		"two cookies fit the other way round":             {both, "b=2; x=3; a=1", true},
		"one of two is not enough":                        {both, "a=1; x=b=2", false},
		"two of two with another value are not enough":    {both, "a=1; b=3", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := cookies(c.cookies)
			if err != nil {
				t.Fatal(err)
			}
			if fits := regexp.MustCompile(got.value).MatchString(c.header); fits != c.want {
				t.Errorf("%q fits %s: %t, want %t", c.header, got.value, fits, c.want)
			}
		})
	}
}

func TestCookiesThatCannotBeAskedFor(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		cookies []v1alpha1.ValueMatch
		want    string
	}{
		"a semicolon is in no cookie":            {[]v1alpha1.ValueMatch{regex("v", "a;b")}, "semicolon"},
		"a class of nothing but one is in none":  {[]v1alpha1.ValueMatch{regex("v", "a[;]b")}, "semicolon"},
		"an anchor in the middle is refused":     {[]v1alpha1.ValueMatch{regex("v", "a|^b")}, "leave them out"},
		"a broken expression is refused":         {[]v1alpha1.ValueMatch{regex("v", "a(")}, "RE2"},
		"one cookie has one condition":           {[]v1alpha1.ValueMatch{exact("v", "a"), prefix("v", "a")}, "one expression"},
		"a condition without a value is refused": {[]v1alpha1.ValueMatch{{Name: "v"}}, "exact, prefix and regex"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got, err := cookies(c.cookies); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %q and %v, want an error with %q", got.value, err, c.want)
			}
		})
	}
}

func TestHeadersOfAStep(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		headers []v1alpha1.ValueMatch
		istio   bool
		want    condition
		value   string
		fits    bool
	}{
		"an exact value stays one":                          {[]v1alpha1.ValueMatch{exact("X-T", "a.c")}, false, condition{"X-T", formExact, "a.c"}, "abc", false},
		"a prefix is an expression in the Gateway API":      {[]v1alpha1.ValueMatch{prefix("X-T", "a.c")}, false, condition{"X-T", formRegex, `^a\.c.*$`}, "abcd", false},
		"a prefix is anchored":                              {[]v1alpha1.ValueMatch{prefix("X-T", "a")}, false, condition{"X-T", formRegex, `^a.*$`}, "ba", false},
		"a prefix is one with Istio":                        {[]v1alpha1.ValueMatch{prefix("X-T", "a.c")}, true, condition{"x-t", formPrefix, "a.c"}, "a.cd", true},
		"no exact value is an expression of the empty text": {[]v1alpha1.ValueMatch{exact("X-T", "")}, false, condition{"X-T", formRegex, "^$"}, "", true},
		"an expression is held to the whole value":          {[]v1alpha1.ValueMatch{regex("X-T", "a|b")}, false, condition{"X-T", formRegex, "^(?:a|b)$"}, "ab", false},
		"the same condition twice is once":                  {[]v1alpha1.ValueMatch{exact("X-T", "a"), exact("x-t", "a")}, false, condition{"X-T", formExact, "a"}, "a", true},
		"what fits the other condition is all that is left": {[]v1alpha1.ValueMatch{regex("X-T", "[ab]"), exact("x-t", "a")}, false, condition{"x-t", formExact, "a"}, "b", false},
		"the longer of two prefixes is left":                {[]v1alpha1.ValueMatch{prefix("X-T", "a"), prefix("x-t", "ab")}, true, condition{"x-t", formPrefix, "ab"}, "ac", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var d dialect = gateway{kind: "HTTPRoute"}
			if c.istio {
				d = istio{}
			}
			got, err := alternatives(d, &v1alpha1.HeaderRoute{Matches: []v1alpha1.RequestMatch{{Headers: c.headers}}})
			if err != nil || len(got) != 1 || len(got[0]) != 1 {
				t.Fatalf("got %v and %v, want one condition", got, err)
			}
			if got[0][0] != c.want {
				t.Errorf("got %+v, want %+v", got[0][0], c.want)
			}
			if fits := fitsValue(got[0][0], c.value); fits != c.fits {
				t.Errorf("%q fits: %t, want %t", c.value, fits, c.fits)
			}
		})
	}
	t.Run("what no request fits is left out", func(t *testing.T) {
		t.Parallel()
		got, err := alternatives(gateway{}, &v1alpha1.HeaderRoute{Matches: []v1alpha1.RequestMatch{
			{Headers: []v1alpha1.ValueMatch{exact("a", "1"), exact("a", "2")}}, {Headers: []v1alpha1.ValueMatch{exact("a", "1")}},
		}})
		if err != nil || len(got) != 1 {
			t.Errorf("got %v and %v, want one", got, err)
		}
	})
	t.Run("two expressions about one header are refused, since no route can have both", func(t *testing.T) {
		t.Parallel()
		_, err := alternatives(gateway{}, &v1alpha1.HeaderRoute{Matches: []v1alpha1.RequestMatch{
			{Headers: []v1alpha1.ValueMatch{regex("a", "1.*"), regex("a", ".*2")}},
		}})
		if err == nil || !strings.Contains(err.Error(), "as one expression") {
			t.Errorf("got %v", err)
		}
	})
}
