package manifest_test

import (
	"fmt"
	"strings"
	"testing"

	"tidegate.io/tidegate/schemas/render/internal/manifest"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

const (
	judged   = `, analysis: {source: main, metrics: [{name: errors, query: "1", samples: "1", threshold: {max: "0.01"}}]}`
	compared = `, analysis: {source: main, metrics: [{name: errors, query: "1", samples: "1", ratio: {max: "1.5"}}]}`
	gate     = `, hooks: [{name: gate, url: "https://ci.example.com/gate"}]`
)

// walked is a strategy of a type with steps, and what else it says.
func walked(kind, steps string, more ...string) string {
	return fmt.Sprintf("{type: %s, steps: [%s]%s}", kind, steps, strings.Join(more, ""))
}

// hooked is a strategy with one hook, of which fields are said.
func hooked(fields string) string {
	return fmt.Sprintf("{type: blueGreen, hooks: [{%s}]}", fields)
}

func times(n int, text string) string { return strings.Repeat(text, n) }

// Each is a mistake, and what is told of it from the path on.
var mistakenSteps = map[string]struct{ rollout, want string }{
	"a canary without steps":                                  {"{type: canary}", "rollout.steps: wanted 1 to 50 steps, found none; for none at all use the strategy blueGreen or rolling"},
	"more steps than a Rollout keeps":                         {walked("canary", times(51, "{analyze: {}}, "), judged), "rollout.steps: wanted at most 50 steps, found 51"},
	"as many steps as a Rollout keeps, and one that is added": {walked("canary", "{setWeight: 5}, "+times(49, "{pause: {duration: 1m}}, ")), "rollout.steps: wanted at most 49 steps where none of them brings the weight to 100, since that comes after the last, found 50"},
	"a comparison where the old revision gets nothing":        {walked("canary", "{setWeight: 100}, {analyze: {}}", compared), "rollout.steps[1].analyze: wanted it at a weight below 100 where a metric has a ratio, since the old revision then gets no request to compare with, found it at 100; move it before, or use threshold"},
	"a header of two values":                                  {walked("canary", `{setHeaderRoute: {matches: [{headers: [{name: x-a, exact: "1"}, {name: X-A, exact: "2"}]}]}}`), `rollout.steps[0].setHeaderRoute.matches[0].headers[1]: wanted one value of X-A, since a match fits where all of it does, found "1" and "2"; write a match for each`},
	"a cookie of two values":                                  {walked("canary", `{setHeaderRoute: {matches: [{cookies: [{name: a, exact: "1"}, {name: a, exact: "2"}]}]}}`), `rollout.steps[0].setHeaderRoute.matches[0].cookies[1]: wanted one value of a, since`},
	"a step of nothing":                                       {walked("canary", "{}"), "rollout.steps[0]: wanted exactly one of setWeight, pause, analyze, setScale, setHeaderRoute, setMirrorRoute, setBaseline, job, hook, notify, found none"},
	"a step of two things":                                    {walked("canary", "{setWeight: 5, pause: {duration: 1m}}"), "rollout.steps[0]: wanted exactly one of setWeight, pause, analyze, setScale, setHeaderRoute, setMirrorRoute, setBaseline, job, hook, notify, found setWeight and pause"},
	"a misspelt step":                                         {walked("canary", "{setweight: 5}"), `rollout: wanted the fields of a strategy, found: unknown field "steps[0].setweight"`},
	"a weight of more than all":                               {walked("canary", "{setWeight: 101}"), "rollout.steps[0].setWeight: wanted 0 to 100, found 101"},
	"a weight below nothing":                                  {walked("canary", "{setWeight: -1}"), "rollout.steps[0].setWeight: wanted 0 to 100, found -1"},
	"a weight that it has":                                    {walked("canary", "{setWeight: 5}, {analyze: {}}, {setWeight: 5}", judged), "rollout.steps[2].setWeight: wanted a change of the weight, found 5, which it is already"},
	"a first weight of nothing":                               {walked("canary", "{setWeight: 0}"), "rollout.steps[0].setWeight: wanted a change of the weight, found 0, which it is already"},
	"a share with blueGreen":                                  {walked("blueGreen", "{setWeight: 50}"), "rollout.steps[0].setWeight: wanted 100 with blueGreen, since there is one switch, found 50; for other weights use canary"},
	"a return to fewer pods in place":                         {walked("rolling", "{setWeight: 50}, {setWeight: 20}"), "rollout.steps[1].setWeight: wanted more than the 50 before with rolling, since pods that were replaced do not come back, found 20"},
	"a weight above the share of pods":                        {walked("canary", "{setScale: {percent: 20}}, {setWeight: 50}"), "rollout.steps[1].setWeight: wanted at most 20, the percent of a setScale before, since the pods of the set have to carry it, found 50; add setScale: matchWeight: true before"},
	"a weight for which a baseline leaves no room":            {walked("canary", "{setBaseline: true}, {setWeight: 60}"), "rollout.steps[1].setWeight: wanted at most 50 while a baseline set gets as much, found 60; add setBaseline: false before"},
	"a pause of neither":                                      {walked("canary", "{pause: {}}"), "rollout.steps[0].pause: wanted either a duration or approval: true, found neither"},
	"a pause of both":                                         {walked("canary", "{pause: {duration: 1m, approval: true}}"), "rollout.steps[0].pause: wanted either a duration or approval: true, found both"},
	"a pause below nothing":                                   {walked("canary", "{pause: {duration: -1m}}"), "rollout.steps[0].pause.duration: wanted a duration of at least 0s, found -1m0s"},
	"a pause that is no duration":                             {walked("canary", "{pause: {duration: soon}}"), `rollout.steps[0].pause.duration: wanted a duration such as "30s" or "5m", found soon`},
	"an analysis of nothing":                                  {walked("canary", "{setWeight: 5}, {analyze: {}}"), "rollout.steps[1].analyze: wanted rollout.analysis to say what to measure, found none"},
	"a comparison before the switch":                          {walked("blueGreen", "{analyze: {}}", compared), "rollout.analysis.metrics[0].ratio: wanted none with blueGreen, since on either side of the switch one set gets no request to compare with, found one; use threshold"},
	"a comparison with pods that are gone":                    {walked("rolling", "{setWeight: 100}, {analyze: {}}", compared), "rollout.analysis.metrics[0].ratio: wanted none with rolling, since at the end no pod of the old revision is left to compare with, found one; use threshold"},
	"a scale of nothing":                                      {walked("canary", "{setScale: {}}"), "rollout.steps[0].setScale: wanted exactly one of replicas, percent and matchWeight: true, found 0 of them"},
	"a scale of two":                                          {walked("canary", "{setScale: {replicas: 1, percent: 10}}"), "rollout.steps[0].setScale: wanted exactly one of replicas, percent and matchWeight: true, found 2 of them"},
	"a scale of no pods":                                      {walked("canary", "{setScale: {replicas: 0}}"), "rollout.steps[0].setScale.replicas: wanted at least 1, found 0"},
	"a scale of no percent":                                   {walked("canary", "{setScale: {percent: 0}}"), "rollout.steps[0].setScale.percent: wanted 1 to 100, found 0"},
	"a scale of more than all":                                {walked("canary", "{setScale: {percent: 101}}"), "rollout.steps[0].setScale.percent: wanted 1 to 100, found 101"},
	"a scale below the weight":                                {walked("canary", "{setWeight: 50}, {setScale: {percent: 20}}"), "rollout.steps[1].setScale.percent: wanted at least the weight of 50, since the pods of the set have to carry it, found 20"},
	"a scale with blueGreen":                                  {walked("blueGreen", "{setScale: {replicas: 1}}"), "rollout.steps[0].setScale: wanted none with blueGreen, whose set is whole before the switch, found one; see preview.replicas, or use canary"},
	"a scale in place":                                        {walked("rolling", "{setScale: {replicas: 1}}"), "rollout.steps[0].setScale: wanted none with rolling, where no requests are spread over two sets, found one"},
	"a header route in place":                                 {walked("rolling", "{setHeaderRoute: {matches: [{headers: [{name: x, exact: v}]}]}}"), "rollout.steps[0].setHeaderRoute: wanted none with rolling"},
	"a header route of nothing":                               {walked("canary", "{setHeaderRoute: {}}"), "rollout.steps[0].setHeaderRoute.matches: wanted matches, or an earlier header route to take away, found neither"},
	"a header route that is taken away twice":                 {walked("canary", "{setHeaderRoute: {matches: [{headers: [{name: x, exact: v}]}]}}, {setHeaderRoute: {}}, {setHeaderRoute: {}}"), "rollout.steps[2].setHeaderRoute.matches: wanted matches, or an earlier header route"},
	"a match of nothing":                                      {walked("canary", "{setHeaderRoute: {matches: [{}]}}"), "rollout.steps[0].setHeaderRoute.matches[0]: wanted headers, cookies or both, found neither"},
	"more matches than are taken":                             {walked("canary", "{setHeaderRoute: {matches: ["+times(9, "{headers: [{name: x, exact: v}]}, ")+"]}}"), "rollout.steps[0].setHeaderRoute.matches: wanted at most 8, found 9"},
	"more headers than are taken":                             {walked("canary", "{setHeaderRoute: {matches: [{headers: ["+times(9, "{name: x, exact: v}, ")+"]}]}}"), "rollout.steps[0].setHeaderRoute.matches[0]: wanted at most 8 headers and 4 cookies, found 9 and 0"},
	"more cookies than are taken":                             {walked("canary", "{setHeaderRoute: {matches: [{cookies: ["+times(5, "{name: x, exact: v}, ")+"]}]}}"), "rollout.steps[0].setHeaderRoute.matches[0]: wanted at most 8 headers and 4 cookies, found 0 and 5"},
	"a header without a name":                                 {walked("canary", `{setHeaderRoute: {matches: [{headers: [{exact: v}]}]}}`), `rollout.steps[0].setHeaderRoute.matches[0].headers[0].name: wanted the name of a header or a cookie, found ""`},
	"a cookie of a name with spaces":                          {walked("canary", `{setHeaderRoute: {matches: [{cookies: [{name: "a b", exact: v}]}]}}`), `rollout.steps[0].setHeaderRoute.matches[0].cookies[0].name: wanted the name of a header or a cookie, found "a b"`},
	"a header whose value is not said":                        {walked("canary", "{setHeaderRoute: {matches: [{headers: [{name: x}]}]}}"), "rollout.steps[0].setHeaderRoute.matches[0].headers[0]: wanted exactly one of exact, prefix and regex, found 0 of them"},
	"a header whose value is said twice":                      {walked("canary", "{setHeaderRoute: {matches: [{headers: [{name: x, exact: v, prefix: v}]}]}}"), "rollout.steps[0].setHeaderRoute.matches[0].headers[0]: wanted exactly one of exact, prefix and regex, found 2 of them"},
	"a prefix of nothing":                                     {walked("canary", `{setHeaderRoute: {matches: [{headers: [{name: x, prefix: ""}]}]}}`), "rollout.steps[0].setHeaderRoute.matches[0].headers[0].prefix: wanted at least one character, found none"},
	"a regex of nothing":                                      {walked("canary", `{setHeaderRoute: {matches: [{headers: [{name: x, regex: ""}]}]}}`), "rollout.steps[0].setHeaderRoute.matches[0].headers[0].regex: wanted at least one character, found none"},
	"a value that is too long":                                {walked("canary", "{setHeaderRoute: {matches: [{headers: [{name: x, exact: "+times(1025, "v")+"}]}]}}"), "rollout.steps[0].setHeaderRoute.matches[0].headers[0]: wanted at most 1024 characters, found 1025"},
	"a regex that does not parse":                             {walked("canary", `{setHeaderRoute: {matches: [{headers: [{name: x, regex: "("}]}]}}`), "rollout.steps[0].setHeaderRoute.matches[0].headers[0].regex: wanted an RE2 expression, found error parsing regexp"},
	"a mirror of more than all":                               {walked("canary", "{setMirrorRoute: {percent: 101}}"), "rollout.steps[0].setMirrorRoute.percent: wanted 0 to 100, found 101"},
	"a mirror of nothing":                                     {walked("canary", "{setMirrorRoute: {percent: 0}}"), "rollout.steps[0].setMirrorRoute.percent: wanted more than 0, or an earlier mirror route to take away, found neither"},
	"a mirror in place":                                       {walked("rolling", "{setMirrorRoute: {percent: 5}}"), "rollout.steps[0].setMirrorRoute: wanted none with rolling"},
	"no baseline where there is none":                         {walked("canary", "{setBaseline: false}"), "rollout.steps[0].setBaseline: wanted a change, found false, which is so already"},
	"a baseline that is there":                                {walked("canary", "{setBaseline: true}, {setBaseline: true}"), "rollout.steps[1].setBaseline: wanted a change, found true, which is so already"},
	"a baseline for which the weight leaves no room":          {walked("canary", "{setWeight: 60}, {setBaseline: true}"), "rollout.steps[1].setBaseline: wanted it at a weight of at most 50, since the baseline gets as much as the new revision, found it at 60"},
	"a baseline with blueGreen":                               {walked("blueGreen", "{setBaseline: true}"), "rollout.steps[0].setBaseline: wanted none with blueGreen"},
	"a job without a name":                                    {walked("canary", `{job: {object: ""}}`), "rollout.steps[0].job.object: wanted the name of a Job among objects, of at most 63 characters, found \"\""},
	"a hook that is not there":                                {walked("canary", "{hook: {name: gates}}", gate), `rollout.steps[0].hook.name: wanted the name of one of rollout.hooks, found "gates"`},
	"a message of nothing":                                    {walked("canary", `{notify: {message: ""}}`), "rollout.steps[0].notify.message: wanted 1 to 1024 characters, found 0"},
	"a message that is too long":                              {walked("canary", "{notify: {message: "+times(1025, "v")+"}}"), "rollout.steps[0].notify.message: wanted 1 to 1024 characters, found 1025"},
	"a sink that is too long":                                 {walked("canary", "{notify: {message: v, sink: "+times(64, "v")+"}}"), "rollout.steps[0].notify.sink: wanted at most 63 characters, found 64"},
}

var mistakenStrategies = map[string]struct{ rollout, want string }{
	"an unknown strategy":                     {"{type: recreate}", `rollout.type: wanted "canary", "blueGreen" or "rolling", found "recreate"`},
	"a canary with a preview":                 {walked("canary", "{setWeight: 5}", ", preview: {}"), "rollout.preview: wanted none with canary, found one; it belongs to blueGreen"},
	"a canary with a warm old set":            {walked("canary", "{setWeight: 5}", ", scaleDownDelay: 1m"), "rollout.scaleDownDelay: wanted none with canary, found one; it belongs to blueGreen"},
	"a blueGreen with a moving stable set":    {"{type: blueGreen, dynamicStableScale: true}", "rollout.dynamicStableScale: wanted none with blueGreen, found one; it belongs to canary"},
	"a rolling that drains":                   {"{type: rolling, drainDelay: 5s}", "rollout.drainDelay: wanted none with rolling, found one; it belongs to canary and blueGreen"},
	"a rolling that waits for a route":        {"{type: rolling, routeGrace: 5s}", "rollout.routeGrace: wanted none with rolling"},
	"a rolling that walks a first install":    {"{type: rolling, walkFirstInstall: true}", "rollout.walkFirstInstall: wanted none with rolling"},
	"a preview of no pods":                    {"{type: blueGreen, preview: {replicas: 0}}", "rollout.preview.replicas: wanted at least 1, found 0"},
	"warm for less than it drains":            {"{type: blueGreen, scaleDownDelay: 5s}", "rollout.scaleDownDelay: wanted at least the drainDelay of 30s, found 5s"},
	"a delay that is no duration":             {"{type: blueGreen, scaleDownDelay: soon}", `rollout.scaleDownDelay: wanted a duration such as "30s" or "5m", found soon`},
	"a grace below nothing":                   {"{type: blueGreen, routeGrace: -1s}", "rollout.routeGrace: wanted a duration of at least 0s, found -1s"},
	"a window of no revisions":                {"{type: blueGreen, rollbackWindow: {revisions: 0}}", "rollout.rollbackWindow.revisions: wanted 1 to 100, found 0"},
	"a window of more than is kept":           {"{type: blueGreen, rollbackWindow: {revisions: 101}}", "rollout.rollbackWindow.revisions: wanted 1 to 100, found 101"},
	"a history below nothing":                 {"{type: blueGreen, historyLimit: -1}", "rollout.historyLimit: wanted 0 to 100, found -1"},
	"a history of more than is kept":          {"{type: blueGreen, historyLimit: 101}", "rollout.historyLimit: wanted 0 to 100, found 101"},
	"a reason for what nobody can do":         {"{type: blueGreen, requireReason: [delete]}", `rollout.requireReason[0]: wanted one of approve, pause, resume, abort, skip-step, promote, retry, roll-back, each once, found "delete"`},
	"a reason asked for twice":                {"{type: blueGreen, requireReason: [abort, abort]}", `rollout.requireReason[1]: wanted one of approve`},
	"a hook without a name":                   {hooked(`url: "https://x"`), `rollout.hooks[0].name: wanted at most 40 lower case letters, digits and dashes, found ""`},
	"a hook that nothing calls":               {hooked(`name: a, url: "https://x"`), `rollout.hooks[0]: wanted it to be called, at an event (on: ["promote"]) or by a step ({hook: name: "a"}), found neither`},
	"an analysis that no step asks for":       {walked("canary", "{setWeight: 5}", `, analysis: {source: main, metrics: [{name: errors, query: "1", samples: "1", threshold: {max: 1}}]}`), "rollout.analysis: wanted a step that measures by it, such as {analyze: {}}, found none"},
	"two hooks of one name":                   {`{type: blueGreen, hooks: [{name: a, url: "https://x"}, {name: a, url: "https://x"}]}`, `rollout.hooks[1].name: wanted each name once, found "a" again`},
	"more hooks than are called":              {"{type: blueGreen, hooks: [" + times(11, `{name: a, url: "https://x"}, `) + "]}", "rollout.hooks: wanted at most 10, found 11"},
	"a hook at no address":                    {hooked("name: a, url: ci"), `rollout.hooks[0].url: wanted an address such as https://checks.example.com/rollout, without a user name, found "ci"`},
	"a hook at an address of another kind":    {hooked(`name: a, url: "ftp://ci/x"`), "rollout.hooks[0].url: wanted an address"},
	"a hook with a password in its address":   {hooked(`name: a, url: "https://a:b@ci/x"`), "rollout.hooks[0].url: wanted an address"},
	"a hook at an event that there is not":    {hooked(`name: a, url: "https://x", "on": [end]`), `rollout.hooks[0].on[0]: wanted one of begin, step, promote, rollback, each once, found "end"`},
	"a hook at one event twice":               {hooked(`name: a, url: "https://x", "on": [step, step]`), "rollout.hooks[0].on[1]: wanted one of begin, step, promote, rollback, each once"},
	"a hook without time":                     {hooked(`name: a, url: "https://x", timeout: 0s`), "rollout.hooks[0]: wanted a timeout and an interval above 0s, found 0s and 10s"},
	"a hook without time between tries":       {hooked(`name: a, url: "https://x", interval: 0s`), "rollout.hooks[0]: wanted a timeout and an interval above 0s, found 10s and 0s"},
	"a hook that is tried too often":          {hooked(`name: a, url: "https://x", retries: 21`), "rollout.hooks[0].retries: wanted 0 to 20, found 21"},
	"a hook after which something is unknown": {hooked(`name: a, url: "https://x", onFailure: retry`), `rollout.hooks[0].onFailure: wanted one of abort, hold, ignore, found "retry"`},
	"an analysis without a rest":              {walked("canary", "{setWeight: 5}, {analyze: {}}", `, analysis: {source: main, interval: 1ns, window: 99ms, metrics: [{name: errors, query: "1", samples: "1", threshold: {max: 1}}]}`), "rollout.analysis.interval: wanted a duration of at least 100ms, found 1ns"},
	"a hook that may hang":                    {hooked(`name: a, url: "https://x", timeout: 6m`), "rollout.hooks[0].timeout: wanted at most 5m0s, since only so many calls are under way at a time, found 6m0s; for what takes longer use a job, or onFailure: hold"},
	"a hook at a port of nobody":              {hooked(`name: a, url: "https://:8080/x"`), "rollout.hooks[0].url: wanted an address"},
	"a signature by what is no Secret":        {hooked(`name: a, url: "https://x", secretRef: {name: "A B", key: "../x"}`), `rollout.hooks[0].secretRef: wanted the name and the key of a Secret in the namespace of the manager, found "A B" and "../x"`},
	"a signature with half a key":             {hooked(`name: a, url: "https://x", secretRef: {name: hmac}`), `rollout.hooks[0].secretRef: wanted the name and the key of a Secret in the namespace of the manager, found "hmac" and ""`},
	"a CA with half a key":                    {hooked(`name: a, url: "https://x", caSecretRef: {key: ca}`), `rollout.hooks[0].caSecretRef: wanted the name and the key of a Secret`},
}

var formerSteps = map[string]struct{ rollout, want string }{
	"a step of the form before":             {walked("canary", "{weight: 5, hold: 1m, analysis: true, approval: true}", judged), `rollout.steps[0].weight: wanted one of setWeight, pause, analyze, setScale, setHeaderRoute, setMirrorRoute, setBaseline, job, hook, notify, since a step sets one thing or waits for one thing, found weight and hold and analysis and approval; write {setWeight: 5}, {pause: duration: "1m"}, {analyze: {}}, {pause: approval: true}`},
	"one of that form among others":         {walked("canary", "{setWeight: 5}, {weight: 100}"), "rollout.steps[1].weight: wanted one of"},
	"a step of that form that does nothing": {walked("canary", "{hold: 0s}"), "found hold; write no step at all"},
	"a preview of the form before":          {"{type: blueGreen, preview: {approval: true, hold: 1m}}", `rollout.preview.hold: wanted replicas alone, since what comes before the switch is said in steps, found hold and approval; write steps: [{pause: duration: "1m"}, {pause: approval: true}, {setWeight: 100}]`},
}

func TestMistakesInAStrategyAreRefused(t *testing.T) {
	t.Parallel()
	for _, table := range []map[string]struct{ rollout, want string }{mistakenSteps, mistakenStrategies, formerSteps} {
		for name, c := range table {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				_, _, lines := manifest.Strategy(toJSON(t, c.rollout))
				for _, line := range lines {
					if strings.HasPrefix(line, c.want) || !strings.HasPrefix(c.want, "rollout") && strings.Contains(line, c.want) {
						return
					}
				}
				t.Errorf("got:\n%s\nwant: %s", strings.Join(lines, "\n"), c.want)
			})
		}
	}
}

// Every kind of step has its row in what is good, and so stands in no way of the others.
var goodStrategies = map[string]string{
	"weights up and down": walked("canary", "{setWeight: 5}, {setWeight: 0}, {setWeight: 50}, {setWeight: 100}"),
	"testers before any weight, by headers and by cookies": walked("canary", `{setHeaderRoute: {matches: [{headers: [{name: X-Tester, exact: ""}, {name: x-group, prefix: "qa-"}], cookies: [{name: canary, regex: "^(yes|always)$"}]}]}},
		{pause: {approval: true}}, {setHeaderRoute: {}}, {setWeight: 50}`),
	"a mirror before any weight":             walked("canary", "{setScale: {percent: 25}}, {setMirrorRoute: {percent: 10}}, {pause: {duration: 5m}}, {setMirrorRoute: {percent: 0}}, {setWeight: 25}"),
	"a scale that goes back to the weight's": walked("canary", "{setScale: {percent: 25}}, {setWeight: 25}, {setScale: {matchWeight: true}}, {setWeight: 50}"),
	"a scale in pods":                        walked("canary", "{setScale: {replicas: 1}}, {setWeight: 50}"),
	"a baseline to compare with":             walked("canary", "{setBaseline: true}, {setWeight: 5}, {analyze: {}}, {setBaseline: false}, {setWeight: 100}", compared),
	"an analysis from a step on":             walked("canary", "{setWeight: 5}, {analyze: {background: true}}, {pause: {duration: 10m}}, {setWeight: 50}", judged),
	"as many steps as a Rollout keeps":       walked("canary", "{setWeight: 5}, "+times(48, "{pause: {duration: 1m}}, ")+"{setWeight: 100}"),
	"a comparison on and on, to the end":     walked("canary", "{setWeight: 5}, {analyze: {background: true}}, {setWeight: 100}, {analyze: {background: true}}", compared),
	"one cookie by two names":                walked("canary", `{setHeaderRoute: {matches: [{cookies: [{name: a, exact: "1"}, {name: A, exact: "2"}]}]}}`),
	"all that people and machines say":       walked("canary", `{setWeight: 5}, {job: {object: smoke}}, {hook: {name: gate}}, {notify: {message: "at 5 %", sink: shop}}`, gate),
	"a switch that is looked at before":      walked("blueGreen", "{pause: {duration: 1m}}, {job: {object: smoke}}, {pause: {approval: true}}, {setWeight: 100}, {analyze: {}}", judged, ", preview: {replicas: 1}"),
	"testers before the switch":              walked("blueGreen", "{setHeaderRoute: {matches: [{cookies: [{name: qa, exact: a}]}]}}, {setMirrorRoute: {percent: 100}}, {pause: {approval: true}}"),
	"a partition with a job at it":           walked("rolling", "{setWeight: 20}, {job: {object: smoke}}, {setWeight: 100}"),
	"all that is no step": `{type: canary, steps: [{setWeight: 5}], dynamicStableScale: true, walkFirstInstall: true, routeGrace: 5s, rollbackWindow: {revisions: 3},
		historyLimit: 0, requireReason: [abort, roll-back], hooks: [{name: gate, url: "http://ci/x", "on": [begin, step, promote, rollback], secretRef: {name: hmac, key: key}, caSecretRef: {name: ca, key: ca.crt}}]}`,
}

func TestStrategiesThatCanBeCarriedOut(t *testing.T) {
	t.Parallel()
	steps := map[string]bool{}
	for name, rollout := range goodStrategies {
		s, _, lines := manifest.Strategy(toJSON(t, rollout))
		if len(lines) > 0 {
			t.Errorf("%s:\n%s", name, strings.Join(lines, "\n"))
		}
		for _, step := range s.Steps {
			word, _, _ := strings.Cut(step.Text(), " ")
			steps[word] = true
		}
	}
	for _, step := range []v1alpha1.Step{
		{SetWeight: new(int32(1))},
		{Pause: &v1alpha1.Pause{Approval: true}},
		{Analyze: &v1alpha1.Analyze{}},
		{SetScale: &v1alpha1.Scale{Replicas: new(int32(1))}},
		{SetHeaderRoute: &v1alpha1.HeaderRoute{Matches: []v1alpha1.RequestMatch{{}}}},
		{SetMirrorRoute: &v1alpha1.MirrorRoute{}},
		{SetBaseline: new(true)},
		{Job: &v1alpha1.JobStep{}},
		{Hook: &v1alpha1.HookStep{}},
		{Notify: &v1alpha1.NotifyStep{}},
	} {
		if word, _, _ := strings.Cut(step.Text(), " "); !steps[word] {
			t.Errorf("wanted a row with a step that begins with %q, found none", word)
		}
	}
}
