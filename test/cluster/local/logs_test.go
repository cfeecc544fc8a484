package local

import (
	"slices"
	"strings"
	"testing"
)

func TestADigestOfALogIsWhatMatters(t *testing.T) {
	many := strings.Repeat("E1123 00:02:26.1 1 a.go:1] again\n", 20)
	for name, tc := range map[string]struct {
		log  string
		want []string
	}{
		"nothing of an uneventful log": {"I1123 00:02:26.1 1 a.go:1] error is a word here\nlevel=INFO msg=x\n", nil},
		"errors before warnings, whatever came first": {
			"W1123 00:02:26.1 1 a.go:1] hm\nE1123 00:02:26.1 1 a.go:1] oh\n",
			[]string{"E1123 00:02:26.1 1 a.go:1] oh", "W1123 00:02:26.1 1 a.go:1] hm"},
		},
		"errors of JSON and logfmt logs": {
			`{"level":"error","msg":"a"}` + "\n" + `time=x level=ERROR msg=b` + "\n" + `{"time":"x","level":"WARN","msg":"c"}` + "\n",
			[]string{`{"level":"error","msg":"a"}`, `time=x level=ERROR msg=b`, `{"time":"x","level":"WARN","msg":"c"}`},
		},
		"not what every start complains about": {
			`E1123 00:02:26.1 1 c.go:208] "Failed to ensure lease exists" err="namespaces \"kube-system\" not found"` + "\n", nil,
		},
		"the last few of many": {many + "panic: boom\n", append(slices.Repeat([]string{"E1123 00:02:26.1 1 a.go:1] again"}, logLines-1), "panic: boom")},
		"a long line is cut":   {"panic: " + strings.Repeat("x", 1000), []string{"panic: " + strings.Repeat("x", logLineMax-len("panic: ")) + "..."}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := digest(tc.log); !slices.Equal(got, tc.want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(tc.want, "\n"))
			}
		})
	}
}
