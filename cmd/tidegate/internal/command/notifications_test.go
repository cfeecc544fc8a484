package command

import (
	"strings"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
)

const notifications = `secretName: s
sinks:
- {name: a, url: {key: k}}
routes:
- {sinks: [a]}
`

func TestNotificationsCheckSaysWhatTheManagerWould(t *testing.T) {
	under := "manager: {replicas: 2}\nnotifications:\n  " + strings.ReplaceAll(strings.TrimSpace(notifications), "\n", "\n  ") + "\n"
	for name, c := range map[string]struct {
		text string
		code int
		said string
	}{
		"the file itself":               {notifications, ExitOK, "1 sinks, 1 routes"},
		"values of the chart":           {under, ExitOK, "1 sinks, 1 routes"},
		"a mistake":                     {strings.Replace(notifications, "sinks: [a]", "sinks: [b]", 1), ExitRenderFindings, `routes[0].sinks: wanted names of sinks of this file, found "b"`},
		"a mistake in values":           {strings.Replace(under, "sinks: [a]", "sinks: [b]", 1), ExitRenderFindings, `routes[0].sinks`},
		"values without any, but typos": {"notification: {}\n", ExitRenderFindings, `unknown field "notification"`},
		"no YAML":                       {"sinks: [", ExitRenderFindings, "wanted YAML"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, interceptor.Funcs{})
			w.wantCode(w.run(t.Context(), "notifications", "check", file(t, "n.yaml", c.text)), c.code)
			if said := w.out.String() + w.err.String(); !strings.Contains(said, c.said) {
				t.Errorf("wanted %q in %q", c.said, said)
			}
		})
	}
	w := newWorld(t, interceptor.Funcs{})
	w.wantCode(w.run(t.Context(), "notifications", "check", "/there/is/none"), ExitRefused)
}
