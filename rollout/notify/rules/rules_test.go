package rules

import (
	"encoding/json"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"tidegate.io/tidegate/rollout/notify/news"
)

// good is a file with one sink of each kind.
const good = `
cluster: eu-1
secretName: notifications
sinks:
- name: deployments
  slack: {tokenKey: slack, channel: "#deployments"}
- name: hook
  slack: {webhookKey: slack-hook}
- name: bus
  secretName: bus
  timeout: 3s
  retries: 0
  perMinute: 600
  webhook: {url: https://events.example.com/tidegate, mode: binary, signingKey: hmac, tokenKey: token}
- name: oncall
  url: {key: pagerduty}
routes:
- name: the end
  events: [Succeeded]
  sinks: [bus]
  continue: true
- name: payments
  releases: {matchLabels: {team: payments}, matchExpressions: [{key: tier, operator: NotIn, values: [test]}]}
  namespaces: ["pay-*", ledger]
  severity: warning
  sinks: [oncall, bus]
- name: freezes are nobody's business
  codes: [TG-HOLD-POLICY]
  sinks: []
- sinks: [deployments]
`

func TestAFileIsReadWithItsDefaults(t *testing.T) {
	f, err := Parse([]byte(good))
	if err != nil {
		t.Fatal(err)
	}
	slack, bus := f.Sinks[0], f.Sinks[2]
	if slack.Timeout.Duration != 10*time.Second || *slack.Retries != 4 || slack.PerMinute != 60 || slack.SecretName != "notifications" || slack.Slack.APIURL != DefaultSlackAPI {
		t.Errorf("defaults: %+v %+v", slack, slack.Slack)
	}
	if bus.Timeout.Duration != 3*time.Second || *bus.Retries != 0 || bus.PerMinute != 600 || bus.SecretName != "bus" || bus.Webhook.Mode != Binary {
		t.Errorf("what was said: %+v", bus)
	}
	if f, err := Parse(nil); err != nil || len(f.Sinks) != 0 {
		t.Errorf("an empty file tells nobody: %+v, %v", f, err)
	}
}

func TestWhoIsTold(t *testing.T) {
	f, err := Parse([]byte(good))
	if err != nil {
		t.Fatal(err)
	}
	payments := map[string]string{"team": "payments"}
	for name, c := range map[string]struct {
		event news.Event
		told  []string
	}{
		"what nobody else takes goes to the last":       {news.Event{Kind: news.Begun, Severity: news.Info, Namespace: "shop"}, []string{"deployments"}},
		"the controller at work is told to nobody":      {news.Event{Kind: news.Held, Severity: news.Debug, Namespace: "shop"}, nil},
		"the first route goes on to the next":           {news.Event{Kind: news.Succeeded, Severity: news.Info, Namespace: "shop"}, []string{"bus", "deployments"}},
		"a team's label leads to its sinks":             {news.Event{Kind: news.Waiting, Severity: news.Warning, Namespace: "pay-eu", Labels: payments}, []string{"oncall", "bus"}},
		"a namespace by its whole name":                 {news.Event{Kind: news.Waiting, Severity: news.Warning, Namespace: "ledger", Labels: payments}, []string{"oncall", "bus"}},
		"another namespace of the team is another's":    {news.Event{Kind: news.Waiting, Severity: news.Warning, Namespace: "prepay-eu", Labels: payments}, []string{"deployments"}},
		"another team in the namespace":                 {news.Event{Kind: news.Waiting, Severity: news.Warning, Namespace: "pay-eu", Labels: map[string]string{"team": "shop"}}, []string{"deployments"}},
		"an expression leaves the team's tests out":     {news.Event{Kind: news.Waiting, Severity: news.Warning, Namespace: "pay-eu", Labels: map[string]string{"team": "payments", "tier": "test"}}, []string{"deployments"}},
		"what is not grave enough goes on":              {news.Event{Kind: news.Begun, Severity: news.Info, Namespace: "pay-eu", Labels: payments}, []string{"deployments"}},
		"a route without sinks ends the walk":           {news.Event{Kind: news.Held, Severity: news.Warning, Namespace: "shop", Code: "TG-HOLD-POLICY"}, nil},
		"a sink that two routes name is told once":      {news.Event{Kind: news.Succeeded, Severity: news.Error, Namespace: "pay-eu", Labels: payments}, []string{"bus", "oncall"}},
		"a step that names a sink is taken at its word": {news.Event{Kind: news.Notify, Severity: news.Info, Namespace: "pay-eu", Sink: "hook"}, []string{"hook"}},
		"a step that names none goes by the routes":     {news.Event{Kind: news.Notify, Severity: news.Info, Namespace: "shop"}, []string{"deployments"}},
		"a step that names what is not there does so":   {news.Event{Kind: news.Notify, Severity: news.Info, Namespace: "shop", Sink: "moon"}, []string{"deployments"}},
	} {
		t.Run(name, func(t *testing.T) {
			if told := f.Told(&c.event); !slices.Equal(told, c.told) {
				t.Errorf("wanted %v, got %v", c.told, told)
			}
		})
	}
}

func TestAMistakeIsRefusedWithWhatToDo(t *testing.T) {
	for name, c := range map[string]struct{ from, to, want string }{
		"a field that there is not":             {"channel:", "chanel:", `unknown field "sinks[0].slack.chanel"`},
		"a field twice":                         {"cluster: eu-1", "cluster: eu-1\ncluster: eu-2", `"cluster" already set`},
		"no YAML at all":                        {"sinks:\n", "sinks: [\n", "the file: wanted YAML"},
		"a cluster with a slash":                {"cluster: eu-1", "cluster: eu/1", "cluster: wanted"},
		"a sink without a name":                 {"name: oncall", "name: ''", `sinks[3].name: wanted a lower case name`},
		"two sinks of a name":                   {"name: hook", "name: bus", "sinks[bus].name: wanted a name of its own"},
		"a sink of two kinds":                   {"  url: {key: pagerduty}", "  url: {key: pagerduty}\n  slack: {webhookKey: x}", "sinks[oncall]: wanted exactly one of slack, webhook and url, found 2"},
		"a sink of no kind":                     {"  url: {key: pagerduty}", "  retries: 1", "sinks[oncall]: wanted exactly one of slack, webhook and url, found 0"},
		"a key that is none":                    {"key: pagerduty", `key: "pagerduty://k@x"`, "sinks[oncall]: wanted names of keys"},
		"no key":                                {"key: pagerduty", `key: ""`, "sinks[oncall].url.key: wanted the key"},
		"no Secret":                             {"secretName: notifications", "", `sinks[deployments].secretName: wanted the name of a Secret in the manager's namespace, found ""`},
		"the Secret of the webhook's key":       {"secretName: bus", "secretName: tidegate-webhook-cert", "found that of the webhook's private key"},
		"Slack by both ways":                    {"slack: {webhookKey: slack-hook}", "slack: {webhookKey: slack-hook, tokenKey: slack}", "sinks[hook].slack: wanted tokenKey"},
		"a bot without a channel":               {`, channel: "#deployments"`, "", "sinks[deployments].slack.channel: wanted a channel"},
		"a channel beside an incoming webhook":  {"{webhookKey: slack-hook}", "{webhookKey: slack-hook, channel: x}", "sinks[hook].slack.channel: wanted none"},
		"Slack without TLS":                     {"channel: \"#deployments\"", "channel: x, apiURL: http://slack.example.com", "sinks[deployments].slack.apiURL: wanted https"},
		"a token without TLS":                   {"https://events", "http://events", "sinks[bus].webhook.url: wanted https, since a secret goes there"},
		"a URL with a password":                 {"https://events", "https://me:hunter2@events", "sinks[bus].webhook.url: wanted a URL without user and password"},
		"a URL that is none":                    {"https://events.example.com/tidegate", "events", "sinks[bus].webhook.url: wanted a URL such as"},
		"a URL and the key of one":              {"mode: binary", "mode: binary, urlKey: x", "sinks[bus].webhook: wanted url, or urlKey"},
		"a mode that there is not":              {"mode: binary", "mode: batched", `sinks[bus].webhook.mode: wanted structured or binary, found "batched"`},
		"authorities that are none":             {"mode: binary", "mode: binary, caBundle: nonsense", "sinks[bus].webhook.caBundle: wanted certificates in PEM"},
		"an attempt that lasts too long":        {"timeout: 3s", "timeout: 3h", "sinks[bus].timeout: wanted 1s to 1m, found 3h0m0s"},
		"too many retries":                      {"retries: 0", "retries: 11", "sinks[bus].retries: wanted 0 to 10, found 11"},
		"too many a minute":                     {"perMinute: 600", "perMinute: 601", "sinks[bus].perMinute: wanted 1 to 600, found 601"},
		"an event that there is not":            {"[Succeeded]", "[Started]", `routes[the end].events: wanted some of [Begun Step`},
		"a code that is none":                   {"TG-HOLD-POLICY", "policy", `codes: wanted reason codes such as those of docs/reasons.md, found "policy"`},
		"a pattern that is none":                {`"pay-*"`, `"pay-[a-z]"`, `routes[payments].namespaces: wanted names of namespaces`},
		"a sink that there is not":              {"- sinks: [deployments]", "- sinks: [deployment]", `routes[3].sinks: wanted names of sinks of this file, found "deployment"`},
		"a severity that there is not":          {"severity: warning", "severity: bad", "routes[payments].severity: wanted one of [debug info warning error]"},
		"a selector that is none":               {"operator: NotIn", "operator: IsNot", "routes[payments].releases: wanted matchLabels or matchExpressions"},
		"everything that is wrong is said":      {"[Succeeded]", "[Started]\n  severity: bad", "routes[the end].severity"},
		"a file that is larger than it need be": {"cluster: eu-1", "cluster: eu-1 #" + strings.Repeat("x", 1<<20), "wanted at most 1 MiB"},
		"a number where a text is to be":        {"tokenKey: slack", "tokenKey: [7]", "the file: wanted YAML"},
		"more sinks than anybody has":           {"sinks:\n", "sinks:\n" + strings.Repeat("- {name: x, url: {key: k}}\n", 51), "wanted at most 50 sinks"},
	} {
		t.Run(name, func(t *testing.T) {
			text := strings.Replace(good, c.from, c.to, 1)
			if text == good {
				t.Fatal("the row changes nothing")
			}
			f, err := Parse([]byte(text))
			if err == nil || f != nil {
				t.Fatalf("it was taken")
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("wanted %q in %q", c.want, err)
			}
			if strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "pagerduty://") {
				t.Errorf("a secret is repeated: %s", err)
			}
		})
	}
}

// The chart refuses what the manager would, and takes what it takes.
func TestTheChartKnowsTheSameFields(t *testing.T) {
	text, err := os.ReadFile("../../../charts/tidegate/values.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	var values struct {
		Properties struct{ Notifications schema }
	}
	if err := json.Unmarshal(text, &values); err != nil {
		t.Fatal(err)
	}
	file := values.Properties.Notifications
	sinks, routes := file.Properties["sinks"].Items, file.Properties["routes"].Items
	for _, c := range []struct {
		name  string
		found *schema
		value any
	}{
		{"notifications", &file, File{}},
		{"sinks", sinks, Sink{}},
		{"slack", sinks.Properties["slack"], Slack{}},
		{"webhook", sinks.Properties["webhook"], Webhook{}},
		{"url", sinks.Properties["url"], URL{}},
		{"routes", routes, Route{}},
		{"releases", routes.Properties["releases"], metav1.LabelSelector{}},
	} {
		var wanted []string
		for f := range reflect.TypeOf(c.value).Fields() {
			if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "" {
				wanted = append(wanted, name)
			}
		}
		slices.Sort(wanted)
		if found := slices.Sorted(maps.Keys(c.found.Properties)); !slices.Equal(found, wanted) || c.found.Additional == nil || *c.found.Additional {
			t.Errorf("%s: wanted no more than %v, found %v", c.name, wanted, found)
		}
	}
	if found := routes.Properties["events"].Items.Enum; !slices.Equal(found, words(news.Kinds())) {
		t.Errorf("events: found %v", found)
	}
	if found := routes.Properties["severity"].Enum; !slices.Equal(found, words(news.Severities())) {
		t.Errorf("severities: found %v", found)
	}
}

// schema is what this test looks at of a JSON Schema.
type schema struct {
	Properties map[string]*schema `json:"properties"`
	Items      *schema            `json:"items"`
	Enum       []string           `json:"enum"`
	Additional *bool              `json:"additionalProperties"`
}

// UnmarshalJSON looks into objects and leaves everything else alone.
func (s *schema) UnmarshalJSON(text []byte) error {
	type plain schema
	var open struct {
		plain
		Additional any `json:"additionalProperties"`
	}
	if err := json.Unmarshal(text, &open); err != nil {
		return err
	}
	*s = schema(open.plain)
	if closed, ok := open.Additional.(bool); ok {
		s.Additional = &closed
	}
	return nil
}

func words[W ~string](list []W) []string {
	var out []string
	for _, w := range list {
		out = append(out, string(w))
	}
	return out
}
