package main

import (
	"strings"
	"testing"
	"time"
)

func TestTheFlagsOfTheAuditAreChecked(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*auditOptions)
		wrong  string
	}{
		"the defaults are fine":                  {func(*auditOptions) {}, ""},
		"an interval that never lets it rest":    {func(o *auditOptions) { o.interval = time.Second }, "--audit-interval: wanted at least 10s, found 1s"},
		"no requests at all":                     {func(o *auditOptions) { o.qps = 0 }, "--audit-qps: wanted more than 0"},
		"more requests than an API server likes": {func(o *auditOptions) { o.qps = 1000 }, "--audit-qps: wanted more than 0 and at most 100, found 1000"},
	} {
		t.Run(name, func(t *testing.T) {
			o := defaults(func(string) string { return "" })
			tc.change(&o.audit)
			err := o.validate()
			if (err == nil) != (tc.wrong == "") || (err != nil && !strings.Contains(err.Error(), tc.wrong)) {
				t.Errorf("wanted %q, got %v", tc.wrong, err)
			}
		})
	}
}
